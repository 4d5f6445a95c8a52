"""linear and its backward with factors in bfloat16: products by the processor's own instructions for them.

A product y += a b takes the rows of a and panels of b (packed.py), both rounded and with pairs of numbers next to each
other. Where the pairs of a matrix lie in two rows, it is rounded as the other factor would be, and transposed.

                  pairs in a row of memory     pairs in two rows
    a [M, K]      round_kernel                 pack_kernel, transposed
    b [K, N]      round_kernel, transposed     pack_kernel
"""

import numpy as np

from minigpt.ops.jit import amx
from minigpt.ops.jit.arrays import is_kernel_ready
from minigpt.ops.jit.bfloat16 import round_kernel, round_number
from minigpt.ops.jit.compile import kernel
from minigpt.ops.jit.parallel import parallel_for
from minigpt.ops.jit.registers import HAS_BFLOAT16_PRODUCTS, add_bfloat16_products, float_zeros
from minigpt.ops.jit.tile import LARGE_TILE, make_multiply_large_tile
from minigpt.ops.packed import GROUPS, PANEL, aligned_zeros
from minigpt.training import bfloat16 as plain

PACKED_BLOCK_SIZE = 2**19  # numbers packed at a time: 1 MB, which stay in the cache until the product has used them
SHARES = 2**20  # parts of the work that the cores share


def linear(x, weight, bias=None):
    """linear(x) = round(x) round(weight) + bias;  x [..., in], weight [in, out], bias [out] -> [..., out]."""
    if not _is_ready(x, weight):
        return plain.linear(x, weight, bias)
    y = np.empty((x.size // x.shape[-1], weight.shape[1]), np.float32)

    def begin(start, stop):
        columns = slice(start * PANEL, stop * PANEL)
        y[:, columns] = 0 if bias is None else bias[columns]

    _run([Product(x.reshape(len(y), -1), weight, y, begin)])
    return y.reshape(*x.shape[:-1], y.shape[1])


def linear_backward(dy, x, weight, dweight, dbias=None):
    """dx = round(dy) round(weight)^T. Adds round(x)^T round(dy) to dweight, and the sum of dy's rows to dbias."""
    if not (_is_ready(dy, weight) and _is_ready(x, dweight)):
        return plain.linear_backward(dy, x, weight, dweight, dbias)
    dy_rows, x_rows = dy.reshape(-1, dy.shape[-1]), x.reshape(-1, x.shape[-1])
    dx = np.zeros_like(x_rows)
    is_turned = not is_kernel_ready(dweight)  # the rows of its transpose are contiguous
    dw = Product(dy_rows.T, x_rows, dweight.T) if is_turned else Product(x_rows.T, dy_rows, dweight)
    _run([Product(dy_rows, weight.T, dx), dw])
    if dbias is not None:
        dbias += dy_rows.sum(axis=0)
    return dx.reshape(x.shape)


def _is_ready(x, weight):
    return HAS_BFLOAT16_PRODUCTS and is_kernel_ready(x) and (is_kernel_ready(weight) or is_kernel_ready(weight.T))


class Product:
    """y += round(a) round(b);  a [M, K], b [K, N], each or its transpose contiguous, y [M, N] contiguous.

    begin(start, stop): what to do before with the columns of y in the panels from start to stop.
    """

    def __init__(self, a, b, y, begin=lambda start, stop: None):
        self.a = a
        self.b = b
        self.y = y
        self.begin = begin
        self.n_blocks, self.n_panels = -(-len(a) // PANEL), -(-b.shape[1] // PANEL)  # of 64 rows, of 64 columns
        self.groups = -(-len(b) // (2 * GROUPS)) * GROUPS
        self.rows = aligned_zeros((self.n_blocks * PANEL, self.groups), np.uint32)

    def round_rows(self, start, stop):
        """Set rows [M, groups] to the pairs of numbers of a, rounded, in the blocks from start to stop."""
        if is_kernel_ready(self.a):
            return round_kernel(self.a, self.rows.view(np.uint16), start * PANEL, min(stop * PANEL, len(self.a)))
        for first, panels in self._empty_panels(start, stop):
            pack_kernel(self.a.T, panels, first)
            for p, panel in enumerate(panels, first):
                transpose_kernel(panel, self.rows[p * PANEL : (p + 1) * PANEL])

    def add_columns(self, start, stop):
        """y += rows b in the columns of the panels from start to stop, as many at a time as fit in the cache."""
        self.begin(start, stop)
        for first, panels in self._empty_panels(start, stop):
            self._pack(panels, first)
            add_products_kernel(self.rows.view(np.uint8), panels.view(np.uint8).reshape(len(panels), -1), self.y, first)

    def _empty_panels(self, start, stop):
        """Yield (first, panels [P, groups, 64]) for P panels at a time; what is never written into them is 0."""
        step = min(max(1, PACKED_BLOCK_SIZE // (2 * self.groups * PANEL)), max(1, stop - start))
        panels = aligned_zeros((step, self.groups, PANEL), np.uint32)
        for first in range(start, stop, step):
            yield first, panels[: min(step, stop - first)]

    def _pack(self, panels, first):
        """Set panels to the pairs of numbers of b, rounded, from its panel `first` on."""
        if is_kernel_ready(self.b):
            return pack_kernel(self.b, panels, first)
        rows = np.zeros((PANEL, self.groups), np.uint32)
        for p, panel in enumerate(panels, first):
            some = self.b.T[p * PANEL : (p + 1) * PANEL]
            round_kernel(some, rows.view(np.uint16), 0, len(some))
            transpose_kernel(rows, panel)


def _run(products):
    """Compute products; each core rounds its share of all rows, then computes its share of all columns.

    Each panel of b is rounded by the core that multiplies with it, just before: then it is in that core's cache.
    """

    def round_rows(start, stop):
        for product in products:
            product.round_rows(product.n_blocks * start // SHARES, product.n_blocks * stop // SHARES)

    def add_columns(start, stop):
        for product in products:
            product.add_columns(product.n_panels * start // SHARES, product.n_panels * stop // SHARES)

    parallel_for(round_rows, SHARES)
    parallel_for(add_columns, SHARES)


@kernel("void(f4[:,::1], u4[:,:,::1], i8)", parallel=False)
def pack_kernel(b, panels, first):
    """panels[p, g, o] = b[2 g, c], b[2 g + 1, c] with c = 64 (first + p) + o;  b [K, N], panels [P, groups, 64]."""
    K, N = b.shape
    for g in range(K // 2):
        for p in range(len(panels)):
            columns = slice((first + p) * PANEL, min((first + p + 1) * PANEL, N))
            pairs, even, odd = panels[p, g], b[2 * g, columns], b[2 * g + 1, columns]
            for o in range(even.size):
                low = np.uint32(round_number(even[o]) >> np.uint32(16))
                pairs[o] = low | np.uint32(round_number(odd[o]) & np.uint32(0xFFFF0000))
    if K % 2:
        for p in range(len(panels)):
            columns = slice((first + p) * PANEL, min((first + p + 1) * PANEL, N))
            pairs, even = panels[p, K // 2], b[K - 1, columns]
            for o in range(even.size):
                pairs[o] = np.uint32(round_number(even[o]) >> np.uint32(16))


@kernel("void(u4[:,::1], u4[:,::1])", parallel=False)
def transpose_kernel(matrix, result):
    """result = matrix^T, in blocks of 16 x 16, whose cache lines are all used at once; both sizes multiples of 16."""
    for i in range(0, matrix.shape[0], 16):
        for j in range(0, matrix.shape[1], 16):
            for k in range(16):
                for n in range(16):
                    result[np.uint64(j + k), np.uint64(i + n)] = matrix[np.uint64(i + n), np.uint64(j + k)]


_multiply_large_tile = make_multiply_large_tile(float_zeros, add_bfloat16_products, amx.add_bfloat16_products)


@kernel("void(u1[:,::1], u1[:,::1], f4[:,::1], i8)", parallel=False)
def add_products_kernel(rows, panels, y, first):
    """y[r, 64 (first + p) + o] += sum_i rows[r, i] panels[p, o, i], in float32;  rows [M, bytes], panels [P, bytes]."""
    M, N = y.shape
    sums = np.empty((LARGE_TILE, PANEL), np.float32)
    for tile in range(0, M, LARGE_TILE):
        for p in range(len(panels)):
            _multiply_large_tile(rows[tile : tile + LARGE_TILE], panels[p], sums)
            start = np.uint64(first + p) * np.uint64(PANEL)
            for r in range(min(LARGE_TILE, M - tile)):
                row, out = sums[r], y[tile + r]
                for o in range(min(np.uint64(PANEL), np.uint64(N) - start)):
                    out[start + o] += row[o]
