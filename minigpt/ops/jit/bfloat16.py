"""Products with weights in bfloat16: half the bytes of float32."""

import numpy as np
from numba import prange

from minigpt.ops.jit.compile import ANY_ORDER, inlined, kernel
from minigpt.ops.jit.parallel import run_on_all_cores
from minigpt.ops.jit.registers import (
    HAS_BFLOAT16_PRODUCTS,
    add_bfloat16_products,
    add_products,
    float_zeros,
    load,
    lower,
    repeat_float,
    store,
    upper,
)
from minigpt.ops.jit.tile import MAX_FINE_ROWS, TILE, make_multiply_tile
from minigpt.ops.packed import PANEL


def multiply_bfloat16(x, weight, bias, y):
    """y = x weight + bias, weight a BFloat16Matrix. Return False if no kernel applies."""
    if not weight.is_transposed:
        return False
    panels = weight.panels.array.view(np.uint8).reshape(len(weight.panels.array), -1)
    if len(x) <= MAX_FINE_ROWS:
        return run_on_all_cores(multiply_few_bfloat16_kernel, x, panels, bias, y)
    if not (weight.rounds_inputs and HAS_BFLOAT16_PRODUCTS):
        return False  # BLAS is faster
    return run_on_all_cores(multiply_bfloat16_kernel, x, panels, bias, y)


@inlined(ANY_ORDER)
def _multiply_row(x, panel, sums):
    """sums[o] = sum_i x[i] w[o, i] of a row of float32 with a panel; x [in], in even -> sums [64]."""
    a, b, c, d = float_zeros(), float_zeros(), float_zeros(), float_zeros()
    for i in range(0, x.size, 2):
        even, odd = repeat_float(x, i), repeat_float(x, i + 1)
        group = 2 * PANEL * i
        w = load(panel, group)
        a = add_products(add_products(a, even, lower(w)), odd, upper(w))
        w = load(panel, group + 64)
        b = add_products(add_products(b, even, lower(w)), odd, upper(w))
        w = load(panel, group + 128)
        c = add_products(add_products(c, even, lower(w)), odd, upper(w))
        w = load(panel, group + 192)
        d = add_products(add_products(d, even, lower(w)), odd, upper(w))
    store(sums, 0, a)
    store(sums, 16, b)
    store(sums, 32, c)
    store(sums, 48, d)


@inlined(ANY_ORDER)
def _write_outputs(sums, first, bias, y):
    """y[o] = sums[o] + bias[o] for the outputs of a panel, from `first` on. Unsigned indices: see int8.py."""
    first = np.uint64(first)
    for j in range(min(PANEL, y.size - first)):
        o = first + np.uint64(j)
        y[o] = sums[j] + (bias[o] if bias.size else np.float32(0))


@kernel("b1(f4[:,::1], u1[:,::1], f4[::1], f4[:,::1])")
def multiply_few_bfloat16_kernel(x, panels, bias, y):
    """y[r, o] = sum_i x[r, i] weights[o, i] + bias[o];  x [R, in], bias [out] or empty -> y [R, out].

    A shift and a mask make float32 of a pair of weights in a register. A second row of x finds the panel
    in the cache.
    """
    R, n_in = x.shape
    rows = np.zeros((R, n_in + n_in % 2), np.float32)
    rows[:, :n_in] = x
    for p in prange(len(panels)):
        sums = np.empty(PANEL, np.float32)
        for r in range(R):
            _multiply_row(rows[r], panels[p], sums)
            _write_outputs(sums, p * PANEL, bias, y[r])
    return True


@inlined(ANY_ORDER)
def _round(x, rounded):
    """Round float32 to the nearest bfloat16, ties to even; NaN stays NaN."""
    bits = x.view(np.uint32)
    for i in range(x.size):
        nearest = (bits[i] + np.uint32(0x7FFF) + ((bits[i] >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
        rounded[i] = nearest if x[i] == x[i] else (bits[i] >> np.uint32(16)) | np.uint32(0x40)


_multiply_tile = make_multiply_tile(float_zeros, add_bfloat16_products)


@kernel("b1(f4[:,::1], u1[:,::1], f4[::1], f4[:,::1])")
def multiply_bfloat16_kernel(x, panels, bias, y):
    """multiply_few_bfloat16_kernel for many rows: x is rounded to bfloat16, too, as the weights were.

    The processor then multiplies twice as many numbers in an instruction as in float32, and adds them up in float32.
    """
    R = len(x)
    rows = np.zeros((-(-R // TILE) * TILE, panels.shape[1] // PANEL), np.uint8)
    for r in prange(R):
        _round(x[r], rows[r].view(np.uint16))
    for p in prange(len(panels)):
        sums = np.empty((TILE, PANEL), np.float32)
        for r in range(R):
            if r % TILE == 0:
                _multiply_tile(rows[r : r + TILE], panels[p], sums)
            _write_outputs(sums[r % TILE], p * PANEL, bias, y[r])
    return True
