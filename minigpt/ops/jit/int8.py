"""Products with weights in 8 bits: a quarter of the bytes of float32, multiplied as integers."""

import numpy as np
from numba import prange

from minigpt.ops.jit import amx
from minigpt.ops.jit.compile import ANY_ORDER, inlined, kernel
from minigpt.ops.jit.parallel import FINE, parallel_for, run_on_all_cores
from minigpt.ops.jit.registers import BYTE_PRODUCT, add_byte_products, integer_zeros
from minigpt.ops.jit.steps import find_step
from minigpt.ops.jit.tile import (
    LARGE_TILE,
    MAX_FINE_ROWS,
    ROW_BLOCK,
    TILE,
    make_multiply_large_tile,
    make_multiply_tile,
)
from minigpt.ops.packed import PANEL, aligned_zeros

BITS = BYTE_PRODUCT.bits  # of a byte of x
MIDDLE = 2 ** (BITS - 1)  # bytes have no sign: this one stands for 0
MAX_INPUTS = (2**31 - 1) // (2**BITS * 127)  # for more of them, a sum might not fit into 32 bits

_multiply_tile = make_multiply_tile(integer_zeros, add_byte_products)
_multiply_large_tile = make_multiply_large_tile(integer_zeros, add_byte_products, amx.add_byte_products)


def multiply_int8(x, weight, bias, y):
    """y = x weight + bias, weight an Int8Matrix. Return False if the kernels do not apply.

    A few rows go to Numba's threads, which start sooner. Many go to our own: Numba's spin for a while after their work,
    which would slow down the operations between the products of a prompt.
    """
    is_few = len(x) <= MAX_FINE_ROWS
    n_bytes = 2 if is_few or not weight.rounds_inputs else 1
    is_slow = n_bytes == 2 and not is_few and not BYTE_PRODUCT.is_fast  # BLAS is faster
    if not weight.is_transposed or x.shape[1] > MAX_INPUTS or is_slow:
        return False
    panels = weight.panels.array.reshape(len(weight.panels.array), -1)
    weights = panels, weight.scales, weight.sums
    if is_few:
        return run_on_all_cores(multiply_few_int8_kernel, x, *weights, bias, y)
    rows = aligned_zeros((-(-len(x) * n_bytes // LARGE_TILE) * LARGE_TILE, panels.shape[1] // PANEL), np.uint8)
    steps = np.empty(len(x), np.float32)
    parallel_for(lambda start, stop: write_bytes_kernel(x, n_bytes, rows, steps, start, stop), len(x))
    if not steps.all():
        return False
    parallel_for(
        lambda start, stop: multiply_int8_kernel(n_bytes, rows, steps, *weights, bias, y, start, stop),
        len(panels),
        FINE,
    )
    return True


@inlined(ANY_ORDER)
def write_bytes(x, rows):
    """Round x to integers, as one row of bytes or two, high and low ones. Return the step, 0 if x has none.

    x = step (byte - MIDDLE), or step (2^BITS (high - MIDDLE) + low), is off by half a step at most.
    """
    zero = np.int32(MIDDLE << BITS if len(rows) == 2 else MIDDLE)
    step = find_step(x, zero - 1)
    if not step:
        return step
    inverse = np.float32(1) / step  # dividing by the step would take three times as long
    for i in range(x.size):
        integer = np.int32(np.rint(x[i] * inverse)) + zero
        if len(rows) == 2:
            rows[0, i], rows[1, i] = np.uint8(integer >> BITS), np.uint8(integer & np.int32(2**BITS - 1))
        else:
            rows[0, i] = np.uint8(integer)
    return step


@inlined(ANY_ORDER)
def _write_outputs(sums, n_bytes, first, weight_sums, step, scales, bias, y):
    """y[o] = step scales[o] times what the sums stand for + bias[o], for the outputs of a panel, from `first` on.

    sums: of the one or two rows of bytes of a row of x. Unsigned indices, because a negative one would be counted from
    the end, and looking at the sign takes five times as long as the sums.
    """
    first = np.uint64(first)
    for j in range(min(PANEL, y.size - first)):
        o = first + np.uint64(j)
        total = np.float32(sums[0, j] - np.int32(MIDDLE) * weight_sums[o])
        if n_bytes == 2:
            total = total * np.float32(2**BITS) + np.float32(sums[1, j])
        y[o] = total * (scales[o] * step) + (bias[o] if bias.size else np.float32(0))


def _make_multiply_rows(multiply_tile, n_rows):
    @inlined(ANY_ORDER)
    def multiply_rows(n_bytes, rows, steps, panel, scales, weight_sums, bias, y, first):
        """multiply_int8_kernel for one panel, whose first output is `first`."""
        sums = np.empty((n_rows, PANEL), np.int32)
        for r in range(len(y)):
            row = r * n_bytes % n_rows
            if row == 0:
                multiply_tile(rows[r * n_bytes : r * n_bytes + n_rows], panel, sums)
            _write_outputs(sums[row:], n_bytes, first, weight_sums, steps[r], scales, bias, y[r])

    return multiply_rows


multiply_few_rows = _make_multiply_rows(_multiply_tile, TILE)
multiply_many_rows = _make_multiply_rows(_multiply_large_tile, LARGE_TILE)


@kernel("void(f4[:,::1], i8, u1[:,::1], f4[::1], i8, i8)", parallel=False)
def write_bytes_kernel(x, n_bytes, rows, steps, start, stop):
    """Write the bytes and the steps of the rows of x from start to stop;  x [R, in], rows [R n_bytes, in]."""
    for r in range(start, stop):
        steps[r] = write_bytes(x[r], rows[r * n_bytes : (r + 1) * n_bytes])


@kernel("void(i8, u1[:,::1], f4[::1], i1[:,::1], f4[::1], i4[::1], f4[::1], f4[:,::1], i8, i8)", parallel=False)
def multiply_int8_kernel(n_bytes, rows, steps, panels, scales, weight_sums, bias, y, start, stop):
    """y[r, o] = scales[o] step[r] sum_i integer[r, i] weights[o, i] + bias[o], for the panels from start to stop.

    The integers of a row of x have n_bytes bytes; high and low bytes are rows of their own in the product, because the
    processor multiplies bytes. Two of them are some hundred times finer than the rounding of the weights.
    weight_sums[o]: what to subtract MIDDLE times, because the bytes have no sign.
    """
    for first in range(0, len(y), ROW_BLOCK):
        some = slice(first, first + ROW_BLOCK)
        bytes_of_some = rows[first * n_bytes :]
        for p in range(start, stop):
            multiply_many_rows(
                n_bytes, bytes_of_some, steps[some], panels[p], scales, weight_sums, bias, y[some], p * PANEL
            )


@kernel("b1(f4[:,::1], i1[:,::1], f4[::1], i4[::1], f4[::1], f4[:,::1])")
def multiply_few_int8_kernel(x, panels, scales, weight_sums, bias, y):
    """write_bytes_kernel and multiply_int8_kernel on all cores, with two bytes. Return False if a row has no step.

    Rows of bytes that do not fit in a small tile go through a large one together, so that a panel is read once.
    """
    tile = TILE if 2 * len(x) <= TILE else LARGE_TILE
    rows = np.zeros((-(-len(x) * 2 // tile) * tile, panels.shape[1] // PANEL), np.uint8)
    steps = np.empty(len(x), np.float32)
    for r in range(len(x)):
        steps[r] = write_bytes(x[r], rows[2 * r : 2 * r + 2])
    if not steps.all():
        return False
    for p in prange(len(panels)):
        if tile == TILE:
            multiply_few_rows(2, rows, steps, panels[p], scales, weight_sums, bias, y, p * PANEL)
        else:
            multiply_many_rows(2, rows, steps, panels[p], scales, weight_sums, bias, y, p * PANEL)
    return True
