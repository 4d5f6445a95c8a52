"""Matrices of weights in fewer bits than float32, because decoding waits for memory to deliver the weights.

A packed matrix takes the place of a NumPy array of float32: it has `shape`, `T` and `dtype`, m[ids] are float32 rows,
and x @ m works. The model's products unpack it a block at a time; those in ops/jit do not unpack it at all.

Its numbers lie in panels, in the order in which a product reads them. A panel has 64 outputs. The inputs are taken in
groups of 32 bits, four numbers of 8 bits or two of 16: so much is multiplied and added up in one place of a register.

    panels [P, G, 64, n]          w[64 p + o, n g + i] = panels[p, g, o, i]

                   output 0    output 1          output 63
    inputs 0 to 3  [0 1 2 3]   [0 1 2 3]   ...   [0 1 2 3]     <- 256 bytes, one after the other in memory:
    inputs 4 to 7  [4 5 6 7]   [4 5 6 7]   ...   [4 5 6 7]        four registers of 16 outputs each
    ...

The groups of a panel are a multiple of 16. Outputs and inputs that the matrix does not have are zeros. Int4Matrix has
two numbers of 4 bits in each byte.
"""

import copy
import math

import numpy as np

PANEL = 64  # outputs
GROUPS = 16  # the largest registers hold so many, of 16 outputs each: see ops/jit/amx.py
SCALE_GROUP = 32  # inputs of an output that share a scale in Int4Matrix
UNPACKED_BLOCK_SIZE = 2**21  # numbers unpacked at a time: 8 MB, which stay in the cache until the product reads them


def transposed_copy(matrix):
    """Return a C-contiguous copy of the transpose."""
    result = np.empty(matrix.shape[::-1], matrix.dtype)
    # In strips that fit in the CPU cache: NumPy's own transposed copy jumps through memory.
    for start in range(0, len(matrix), 64):
        result[:, start : start + 64] = matrix[start : start + 64].T
    return result


def aligned_zeros(shape, dtype):
    """Return np.zeros that begins where a cache line does, so that a register of 64 bytes never lies in two of them."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    memory = np.zeros(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(dtype).reshape(shape)


def blocks(shape):
    """Return slices of the rows [out, in] of a matrix, whole panels, each small enough to be unpacked at once."""
    n, step = shape[0], max(PANEL, UNPACKED_BLOCK_SIZE // max(1, shape[1]) // PANEL * PANEL)
    return [slice(start, min(start + step, n)) for start in range(0, n, step)]


def bfloat16_bits(x):
    """Return the nearest bfloat16 of every number of a float32 array, ties to even, as uint16. NaN stays NaN."""
    bits = np.ascontiguousarray(x).view(np.uint32)
    rounded = bits + 0x7FFF + ((bits >> 16) & 1) >> 16
    # Rounding up would turn the NaNs with the highest bits into other numbers.
    return np.where(np.isnan(x), bits >> 16 | 0x40, rounded).astype(np.uint16)


class Panels:
    """Numbers [out, in] of 8 or 16 bits in panels, as above. `array`: panels [P, G, 64, n]; `shape`: (out, in)."""

    def __init__(self, shape, dtype):
        n = 4 // np.dtype(dtype).itemsize
        self.shape = tuple(shape)
        groups = -(-shape[1] // (n * GROUPS)) * GROUPS
        self.array = aligned_zeros((-(-shape[0] // PANEL), groups, PANEL, n), dtype)

    @classmethod
    def of_rows(cls, rows):
        """Return rows [out, in] in panels."""
        panels = cls(rows.shape, rows.dtype)
        for block in blocks(rows.shape):
            panels[block] = rows[block]
        return panels

    def __setitem__(self, block, rows):
        """Store rows; block is a slice that starts with a panel, and ends with one or with the matrix."""
        some = self.array[block.start // PANEL : -(-block.stop // PANEL)]
        P, G, _, n = some.shape
        padded = np.zeros((P * PANEL, G * n), some.dtype)
        padded[: len(rows), : rows.shape[1]] = rows
        some[...] = padded.reshape(P, PANEL, G, n).swapaxes(1, 2)

    def __getitem__(self, rows):
        """Return some rows [..., in]; rows is a slice or an array of indices."""
        if isinstance(rows, slice):
            start, stop, step = rows.indices(self.shape[0])
            first = start // PANEL
            some = self.array[first : -(-stop // PANEL)].swapaxes(1, 2)
            some = some.reshape(-1, self.array.shape[1] * self.array.shape[3])
            return some[start - first * PANEL : stop - first * PANEL : step, : self.shape[1]]
        rows = np.asarray(rows)
        outside = (rows < -self.shape[0]) | (rows >= self.shape[0])
        if outside.any():
            raise IndexError(f"a matrix of {self.shape[0]} rows has no row {rows[outside][0]}")
        panel, output = np.divmod(rows % self.shape[0], PANEL)
        return self.array[panel, :, output].reshape(*rows.shape, -1)[..., : self.shape[1]]


class PackedMatrix:
    """The base of the packed formats. `panels` holds the weights [out, in] of every output.

    The matrix is [out, in] (the embeddings: a token's row is also its output in the head) or, if `is_transposed`, its
    transpose [in, out], which linear takes. `rounds_inputs`: whether a product with many rows may round these to as few
    bits as the weights have, which is faster.
    """

    __array_ufunc__ = None  # This makes NumPy leave x @ m to __rmatmul__.
    dtype = np.dtype("float32")  # of the results; the weights are stored in fewer bits
    ndim = 2

    rounds_inputs = False

    def __init__(self, panels):
        self.panels = panels
        self.is_transposed = False

    @property
    def stored(self):
        """The numbers as a file has them, [out, in]."""
        return self.panels[:]

    def unpack(self, rows):
        """Return some rows [..., in] as float32; rows is a slice or an array of indices."""
        raise NotImplementedError

    @property
    def packed_shape(self):
        """(out, in)."""
        return self.panels.shape

    @property
    def shape(self):
        return self.packed_shape[::-1] if self.is_transposed else self.packed_shape

    @property
    def T(self):
        matrix = copy.copy(self)
        matrix.is_transposed = not self.is_transposed
        return matrix

    @property
    def nbytes(self):
        return self.panels.array.nbytes

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, ids):
        return np.asarray(self)[ids] if self.is_transposed else self.unpack(ids)

    def __array__(self, dtype=None, copy=None):
        if copy is False:
            raise ValueError("a packed matrix cannot become an array without a copy, because it must be unpacked")
        whole = self.unpack(slice(None))
        return np.asarray(whole.T if self.is_transposed else whole, dtype)

    def __rmatmul__(self, x):
        """Return x @ m;  x [..., in] -> [..., out], float32."""
        if not self.is_transposed:
            return x @ np.asarray(self)
        y = np.empty((*x.shape[:-1], self.shape[1]), self.dtype)
        for block in self.blocks():
            y[..., block] = x @ self.unpack(block).T
        return y

    def blocks(self):
        """Return slices of the outputs, each small enough to be unpacked at once."""
        return blocks(self.packed_shape)


class BFloat16Matrix(PackedMatrix):
    """bfloat16 is the upper half of a float32: its range, with 8 bits of precision. stored: uint16 [out, in]."""

    @classmethod
    def pack(cls, matrix):
        """Round float32 [out, in] to the nearest bfloat16."""
        panels = Panels(matrix.shape, np.uint16)
        for block in blocks(matrix.shape):
            panels[block] = bfloat16_bits(matrix[block])
        return cls(panels)

    def unpack(self, rows):
        return (self.panels[rows].astype(np.uint32) << 16).view(np.float32)


class Int8Matrix(PackedMatrix):
    """w[o, i] = scales[o] stored[o, i], stored an int8 from -127 to 127;  stored [out, in], scales float32 [out].

    All weights of an output have one scale, so that a product is a sum of integers, multiplied by the scale once.
    """

    def __init__(self, panels, scales):
        super().__init__(panels)
        self.scales = scales
        self.sums = panels.array.sum(axis=(1, 3), dtype=np.int32).ravel()  # of the integers of each output, [64 P]

    @classmethod
    def of_rows(cls, stored, scales):
        """Return the matrix of integers [out, in] and scales [out], as a file has them."""
        return cls(Panels.of_rows(stored), scales)

    @classmethod
    def pack(cls, matrix):
        """Scale every row of float32 [out, in] so that its largest weight becomes 127, and round. Raises ValueError."""
        panels, scales = Panels(matrix.shape, np.int8), np.empty(len(matrix), np.float32)
        for block in blocks(matrix.shape):
            largest = np.abs(matrix[block]).max(axis=1, initial=0)
            if not np.isfinite(largest).all():
                raise ValueError("weights that are not finite cannot be quantized: the model is damaged")
            # Denormal scales have too few bits: quotients by them could leave the range of an int8.
            scales[block] = np.maximum(largest / 127, np.finfo(np.float32).tiny)
            panels[block] = np.rint(matrix[block] / scales[block, None])
        return cls(panels, scales)

    def unpack(self, rows):
        return self.panels[rows] * self.scales[rows][..., None]

    @property
    def nbytes(self):
        return super().nbytes + self.scales.nbytes


class Int4Matrix(PackedMatrix):
    """w[o, i] = scales[o, g] (integer[o, i] - 8), an integer from 0 to 15; every group g of 32 inputs has a scale.

    stored: bytes [out, 16 groups]. The 16 of a group have its first 16 integers in their lower halves and its last 16
    in their upper halves, so that a mask, or a shift and a mask, unpacks a whole register. scales: a BFloat16Matrix
    [out, groups]. The number of groups is even, because in its panels two scales lie side by side.
    """

    def __init__(self, panels, scales, n_in):
        super().__init__(panels)
        self.scales = scales
        self.n_in = n_in

    @classmethod
    def of_rows(cls, stored, scales, n_in):
        """Return the matrix of bytes [out, 16 groups] and scales [out, groups], as a file has them."""
        return cls(Panels.of_rows(stored), BFloat16Matrix.pack(scales), n_in)

    @classmethod
    def pack(cls, matrix):
        """Round float32 [out, in] to multiples of the scales that find_scales finds. Raises ValueError."""
        n_out, n_in = matrix.shape
        n_groups = -(-n_in // (2 * SCALE_GROUP)) * 2
        panels = Panels((n_out, n_groups * SCALE_GROUP // 2), np.uint8)
        scales = np.empty((n_out, n_groups), np.float32)
        for start in range(0, n_out, PANEL):  # one panel at a time stays in the CPU cache
            block = slice(start, min(start + PANEL, n_out))
            if not np.isfinite(matrix[block]).all():
                raise ValueError("weights that are not finite cannot be quantized: the model is damaged")
            groups = np.zeros((block.stop - start, n_groups, SCALE_GROUP), np.float32)
            groups.reshape(len(groups), -1)[:, :n_in] = matrix[block]
            scales[block] = BFloat16Matrix.pack(find_scales(groups)).unpack(slice(None))
            integers = (rounded(groups, inverses(scales[block])[..., None]) + 8).astype(np.uint8)
            panels[block] = (integers[..., :16] | integers[..., 16:] << 4).reshape(len(groups), -1)
        return cls(panels, BFloat16Matrix.pack(scales), n_in)

    @property
    def packed_shape(self):
        return self.panels.shape[0], self.n_in

    def unpack(self, rows):
        pairs, scales = self.panels[rows], self.scales.unpack(rows)
        pairs = pairs.reshape(*scales.shape, SCALE_GROUP // 2)
        integers = np.concatenate([pairs & 15, pairs >> 4], axis=-1).astype(np.float32)
        integers -= 8
        integers *= scales[..., None]
        return integers.reshape(*pairs.shape[:-2], pairs.shape[-2] * SCALE_GROUP)[..., : self.n_in]

    @property
    def nbytes(self):
        return super().nbytes + self.scales.nbytes


def find_scales(groups):
    """Return scales with which the weights of groups, as multiples from -8 to 7, are off least;  [..., 32] -> [...].

    For given integers n, sum (w - scale n)^2 is least at scale = sum w n / sum n^2, where it is sum w^2 less scale
    sum w n. The integers tried are those that come of scaling the largest weight to about -8. Against a scale that
    makes it -8, the error becomes 6 % smaller.
    """
    places = np.abs(groups).argmax(axis=-1)[..., None]
    largest = np.take_along_axis(groups, places, axis=-1)[..., 0]
    relative = groups * inverses(largest)[..., None]  # from -1 to 1
    best_scales, best_gains = np.zeros((2, *largest.shape), np.float32)
    integers = np.empty_like(relative)
    for smallest in (-7, -7.5, -8, -8.5, -9):
        rounded(relative, np.float32(smallest), integers)
        products = np.einsum("...i,...i", relative, integers)
        scales = products * inverses(np.einsum("...i,...i", integers, integers))
        is_better = products * scales > best_gains
        best_gains = np.where(is_better, products * scales, best_gains)
        best_scales = np.where(is_better, scales, best_scales)
    return best_scales * largest


def inverses(numbers):
    """Return 1 / numbers, and 0 for those that are 0 or have an inverse beyond float32."""
    return np.divide(1, numbers, out=np.zeros_like(numbers), where=np.abs(numbers) >= np.finfo(np.float32).tiny)


def rounded(numbers, factors, out=None):
    """Return the integers from -8 to 7, as floats, nearest to numbers times factors."""
    out = np.multiply(numbers, factors, out=out)
    return np.clip(np.rint(out, out=out), -8, 7, out=out)
