"""Products with weights in bfloat16: half the bytes of float32."""

import numpy as np
from numba import prange

from minigpt.ops.jit import amx
from minigpt.ops.jit.compile import ANY_ORDER, inlined, kernel
from minigpt.ops.jit.parallel import FINE, parallel_for, run_on_all_cores
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
from minigpt.ops.jit.tile import LARGE_TILE, MAX_FINE_ROWS, ROW_BLOCK, fetch, make_multiply_large_tile
from minigpt.ops.packed import PANEL, aligned_zeros


def multiply_bfloat16(x, weight, bias, y):
    """y = x weight + bias, weight a BFloat16Matrix. Return False if no kernel applies."""
    if not weight.is_transposed:
        return False
    panels = weight.panels.array.view(np.uint8).reshape(len(weight.panels.array), -1)
    if len(x) <= MAX_FINE_ROWS:
        return run_on_all_cores(multiply_few_bfloat16_kernel, x, panels, bias, y)
    if not (weight.rounds_inputs and HAS_BFLOAT16_PRODUCTS):
        return False  # BLAS is faster
    rows = aligned_zeros((-(-len(x) // LARGE_TILE) * LARGE_TILE, panels.shape[1] // PANEL // 2), np.uint16)
    parallel_for(lambda start, stop: round_kernel(x, rows, start, stop), len(x))
    rows = rows.view(np.uint8)
    parallel_for(lambda start, stop: multiply_bfloat16_kernel(rows, panels, bias, y, start, stop), len(panels), FINE)
    return True


@inlined(ANY_ORDER)
def _multiply_row(x, panel, sums):
    """sums[o] = sum_i x[i] w[o, i] of a row of float32 with a panel; x [in], in even -> sums [64]."""
    a, b, c, d = float_zeros(), float_zeros(), float_zeros(), float_zeros()
    for i in range(0, x.size, 2):
        even, odd = repeat_float(x, i), repeat_float(x, i + 1)
        group = 2 * PANEL * i
        fetch(panel, group, 4 * PANEL)
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
def round_number(x):
    """Return the nearest bfloat16, ties to even, as the upper half of 32 bits; NaN stays NaN."""
    bits = np.float32(x).view(np.uint32)
    is_odd = np.uint32(np.uint32(bits >> np.uint32(16)) & np.uint32(1))
    nearest = np.uint32(bits + np.uint32(np.uint32(0x7FFF) + is_odd))  # Numba would go on in 64 bits, half as fast
    return nearest if x == x else np.uint32(bits | np.uint32(0x400000))


@kernel("void(f4[:,::1], u2[:,::1], i8, i8)", parallel=False)
def round_kernel(x, rounded, start, stop):
    """Round rows of float32 [R, in] to the nearest bfloat16."""
    for r in range(start, stop):
        row, rounded_row = x[r], rounded[r]
        for i in range(row.size):
            rounded_row[i] = np.uint32(round_number(row[i]) >> np.uint32(16))


_multiply_large_tile = make_multiply_large_tile(float_zeros, add_bfloat16_products, amx.add_bfloat16_products)


@kernel("void(u1[:,::1], u1[:,::1], f4[::1], f4[:,::1], i8, i8)", parallel=False)
def multiply_bfloat16_kernel(rows, panels, bias, y, start, stop):
    """multiply_few_bfloat16_kernel for many rows, rounded to bfloat16, for the panels from start to stop.

    The processor multiplies twice as many numbers in an instruction as in float32, and adds them up in float32.
    """
    sums = np.empty((LARGE_TILE, PANEL), np.float32)
    for first in range(0, len(y), ROW_BLOCK):
        for p in range(start, stop):
            for r in range(first, min(first + ROW_BLOCK, len(y))):
                if r % LARGE_TILE == 0:
                    _multiply_large_tile(rows[r : r + LARGE_TILE], panels[p], sums)
                _write_outputs(sums[r % LARGE_TILE], p * PANEL, bias, y[r])


def unpack_bfloat16(weight, block):
    """Return the rows of some outputs of a BFloat16Matrix, whole panels, as float32; as weight.unpack, but faster."""
    panels = weight.panels.array[block.start // PANEL : -(-block.stop // PANEL)]
    rows = np.empty((len(panels) * PANEL, 2 * panels.shape[1]), np.float32)
    unpack_bfloat16_kernel(panels.view(np.uint32)[..., 0], rows)
    return rows[: block.stop - block.start, : weight.panels.shape[1]]


@kernel("void(u4[:,:,:], f4[:,::1])", parallel=False)
def unpack_bfloat16_kernel(pairs, out):
    """Set out [64 P, 2 G] to the float32 whose upper halves are in pairs [P, G, 64]."""
    for p in range(pairs.shape[0]):
        for o in range(PANEL):
            row = out[p * PANEL + o]
            for g in range(pairs.shape[1]):
                pair = pairs[p, g, o]
                row[2 * g] = np.uint32(pair << np.uint32(16)).view(np.float32)
                row[2 * g + 1] = np.uint32(pair & np.uint32(0xFFFF0000)).view(np.float32)
