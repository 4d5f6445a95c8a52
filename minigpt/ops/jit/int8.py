"""Products with weights in 8 bits: a quarter of the bytes of float32, multiplied as integers."""

import numpy as np
from numba import prange

from minigpt.ops.jit.compile import ANY_ORDER, inlined, kernel
from minigpt.ops.jit.parallel import run_on_all_cores
from minigpt.ops.jit.registers import BYTE_PRODUCT, add_byte_products, integer_zeros
from minigpt.ops.jit.tile import TILE, make_multiply_tile
from minigpt.ops.packed import PANEL

BITS = BYTE_PRODUCT.bits  # of a byte of x
MIDDLE = 2 ** (BITS - 1)  # bytes have no sign: this one stands for 0
MAX_INPUTS = (2**31 - 1) // (2**BITS * 127)  # for more of them, a sum might not fit into 32 bits
MAX_FINE_ROWS = 8  # rows of x; memory sets the pace of so few, and two bytes cost nothing more
MIN_PARALLEL_ROWS = 16  # for fewer, it takes longer to wake another thread than to write the bytes


_multiply_tile = make_multiply_tile(integer_zeros, add_byte_products)


def multiply_int8(x, weight, bias, y):
    """y = x weight + bias, weight an Int8Matrix. Return False if the kernel does not apply."""
    if not weight.is_transposed or x.shape[1] > MAX_INPUTS:
        return False
    panels = weight.panels.array.reshape(len(weight.panels.array), -1)
    rows_of_bytes = 1 if weight.rounds_inputs and len(x) > MAX_FINE_ROWS else 2
    return run_on_all_cores(multiply_int8_kernel, x, rows_of_bytes, panels, weight.scales, weight.sums, bias, y)


@inlined(ANY_ORDER)
def write_bytes(x, rows):
    """Round x to integers, as one row of bytes or two, the high bytes and the low ones. Return the step, 0 if x has none.

    x = step (byte - MIDDLE), or step (2^BITS (high - MIDDLE) + low), is off by half a step at most.
    """
    largest = np.float32(0)
    total = np.float32(0)  # not finite if any x is not; `largest` alone would miss a NaN
    for i in range(x.size):
        largest = max(largest, abs(x[i]))
        total += abs(x[i])
    if not (total < np.float32(1e30)) or (total > 0 and largest < np.float32(1e-30)):
        return np.float32(0)
    zero = MIDDLE << BITS if len(rows) == 2 else MIDDLE
    step = largest / np.float32(zero - 1) if largest > 0 else np.float32(1)
    inverse = np.float32(1) / step  # dividing by the step would take three times as long
    first, last = rows[0], rows[-1]
    for i in range(x.size):
        integer = np.int32(np.rint(x[i] * inverse)) + np.int32(zero)
        first[i] = np.uint8(integer >> (BITS if len(rows) == 2 else 0))
        last[i] = np.uint8(integer & np.int32(2**BITS - 1))
    return step


@inlined(ANY_ORDER)
def _scale(sums, weight_sums, step, scales, y):
    """y = step and scales times what the sums of one row stand for; sums [1 or 2, outputs], those of its bytes."""
    high, low = sums[0], sums[-1]
    if len(sums) == 2:
        for o in range(y.size):
            upper = np.float32(high[o] - np.int32(MIDDLE) * weight_sums[o]) * np.float32(2**BITS)
            y[o] = (upper + np.float32(low[o])) * (scales[o] * step)
    else:
        for o in range(y.size):
            y[o] = np.float32(high[o] - np.int32(MIDDLE) * weight_sums[o]) * (scales[o] * step)


@kernel("b1(f4[:,::1], i8, i1[:,::1], f4[::1], i4[::1], f4[::1], f4[:,::1])")
def multiply_int8_kernel(x, n_bytes, panels, scales, weight_sums, bias, y):
    """y[r, o] = scales[o] step[r] sum_i integer(x[r, i]) weights[o, i] + bias[o];  x [R, in] -> y [R, out].

    Each row of x becomes integers of n_bytes bytes, which are rows of their own in a product: two rows of x fill a tile, or
    four. Two bytes are some hundred times finer than the rounding of the weights. weight_sums[o]: what to subtract
    MIDDLE times, because the bytes have no sign. Return False if a row of x has no step.
    """
    R, n_out = y.shape
    rows = np.zeros((-(-R * n_bytes // TILE) * TILE, panels.shape[1] // PANEL), np.uint8)
    steps = np.empty(R, np.float32)
    if R < MIN_PARALLEL_ROWS:
        for r in range(R):
            steps[r] = write_bytes(x[r], rows[r * n_bytes : (r + 1) * n_bytes])
    else:
        for r in prange(R):
            steps[r] = write_bytes(x[r], rows[r * n_bytes : (r + 1) * n_bytes])
    if not steps.all():
        return False
    for p in prange(len(panels)):
        outputs = slice(p * PANEL, min((p + 1) * PANEL, n_out))
        sums = np.empty((TILE, PANEL), np.int32)
        for r in range(R):
            row = r * n_bytes % TILE
            if row == 0:
                _multiply_tile(rows[r * n_bytes : r * n_bytes + TILE], panels[p], sums)
            _scale(sums[row : row + n_bytes], weight_sums[outputs], steps[r], scales[outputs], y[r, outputs])
            if bias.size:
                y[r, outputs] += bias[outputs]
    return True
