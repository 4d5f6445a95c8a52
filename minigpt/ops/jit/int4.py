"""Products with weights in 4 bits: a seventh of the bytes of float32, unpacked in registers and multiplied as integers.

The inputs become integers, too, of 8 bits and with a step for each group of 32: that costs far less accuracy than the
rounding of the weights, and takes half as many instructions as the 16 bits of int8.py. The processor multiplies
unsigned bytes by signed ones. Here the weights are the unsigned ones, from 0 to 15 in place of -8 to 7: the sum over a
group of x (w - 8) is that of x w, less eight times that of x, which is the same for all outputs.
"""

import numpy as np
from numba import prange

from minigpt.ops.jit.compile import ANY_ORDER, inlined, kernel
from minigpt.ops.jit.parallel import FINE, parallel_for, run_on_all_cores
from minigpt.ops.jit.registers import (
    add_byte_products,
    add_products,
    high_nibbles,
    load,
    load_floats,
    low_nibbles,
    lower,
    multiply,
    repeat,
    repeat_float,
    store,
    to_floats,
    upper,
)
from minigpt.ops.jit.steps import find_step
from minigpt.ops.jit.tile import MAX_FINE_ROWS, fetch
from minigpt.ops.packed import PANEL, SCALE_GROUP

GROUP_BYTES = PANEL * SCALE_GROUP // 2  # of a group of inputs in a panel
MAX_TILE_ROWS = 8  # rows whose integers and sums stay in the first-level cache


def multiply_int4(x, weight, bias, y):
    """y = x weight + bias, weight an Int4Matrix. Return False if the kernels do not apply. Threads: see int8.py."""
    if not weight.is_transposed:
        return False
    scales = weight.scales.panels.array.view(np.uint8)
    weights = weight.panels.array.reshape(len(scales), -1), scales.reshape(len(scales), -1)
    if len(x) <= MAX_FINE_ROWS:
        return run_on_all_cores(multiply_few_int4_kernel, x, *weights, bias, y)
    n = len(x) * weights[0].shape[1] // GROUP_BYTES
    inputs = np.zeros(n * SCALE_GROUP, np.int8), np.empty(n, np.int32), np.empty(n, np.float32)
    parallel_for(lambda start, stop: write_integers_kernel(x, *inputs, start, stop), len(x))
    if not inputs[2].all():
        return False
    parallel_for(lambda start, stop: multiply_int4_kernel(*inputs, *weights, bias, y, start, stop), len(scales), FINE)
    return True


@inlined(ANY_ORDER)
def write_integers(x, r, integers, corrections, steps):
    """Round row r of x [R, in] to integers from -127 to 127, a group at a time.

    The inputs of all rows for a group lie together, then those for the next one: integers [groups R 32], corrections
    and steps [groups R]. x = step integer is off by half a step at most; a step is 0 if a group has none. corrections
    are -8 times the sum of a group's integers.
    """
    R, n_in = x.shape
    for g in range(steps.size // R):
        first, place = g * SCALE_GROUP, g * R + r
        step = find_step(x[r, first : first + SCALE_GROUP], 127)
        inverse = np.float32(1) / step if step else np.float32(0)
        total = np.int32(0)
        for i in range(first, min(first + SCALE_GROUP, n_in)):
            integer = np.int32(np.rint(x[r, i] * inverse))
            integers[place * SCALE_GROUP + i - first] = integer
            total += integer
        corrections[place], steps[place] = np.int32(-8) * total, step


@inlined(ANY_ORDER)
def _unpack(panel, i):
    """Return the weights of 16 outputs in a group of inputs, from panel[i] on: those of four inputs in a register."""
    a, b, c, d = load(panel, i), load(panel, i + 256), load(panel, i + 512), load(panel, i + 768)
    return (
        (low_nibbles(a), low_nibbles(b), low_nibbles(c), low_nibbles(d)),
        (high_nibbles(a), high_nibbles(b), high_nibbles(c), high_nibbles(d)),
    )


@inlined(ANY_ORDER)
def _add_half_group(total, x, i, w):
    """Return total[o] + sum over n < 16 of x[i + n] w[o, n], for 16 outputs."""
    total = add_byte_products(total, w[0], repeat(x, i))
    total = add_byte_products(total, w[1], repeat(x, i + 4))
    total = add_byte_products(total, w[2], repeat(x, i + 8))
    return add_byte_products(total, w[3], repeat(x, i + 12))


@inlined(ANY_ORDER)
def _add_group(integers, corrections, steps, place, w, scale, first, sums):
    """sums[r, o] += the products of a group of inputs, for 16 outputs of a panel, from `first` on;  sums [rows 64].

    The weights are in registers, and are multiplied with all rows. place: that of row 0 of the group among the inputs.
    """
    for r in range(sums.size // PANEL):
        i = (place + r) * SCALE_GROUP
        total = _add_half_group(repeat(corrections, place + r), integers, i, w[0])
        total = _add_half_group(total, integers, i + SCALE_GROUP // 2, w[1])
        product = multiply(to_floats(total), repeat_float(steps, place + r))
        j = r * PANEL + first
        store(sums, j, add_products(load_floats(sums, j), product, scale))


@inlined(ANY_ORDER)
def multiply_panel(integers, corrections, steps, start, panel, scales, sums):
    """sums[r, o] += sum_i x[start + r, i] weights[o, i] for a panel and some rows. Scales lie in pairs of groups."""
    n_groups = panel.size // GROUP_BYTES
    R = steps.size // n_groups
    for g in range(0, n_groups, 2):
        even, odd = g * R + start, (g + 1) * R + start
        for q in range(0, PANEL, 16):
            fetch(panel, GROUP_BYTES * g + q * SCALE_GROUP, 16 * SCALE_GROUP)  # a quarter of two groups
            scale = load(scales, 2 * PANEL * g + 4 * q)
            w = _unpack(panel, GROUP_BYTES * g + 4 * q)
            _add_group(integers, corrections, steps, even, w, lower(scale), q, sums)
            w = _unpack(panel, GROUP_BYTES * (g + 1) + 4 * q)
            _add_group(integers, corrections, steps, odd, w, upper(scale), q, sums)


@inlined(ANY_ORDER)
def _write_outputs(sums, bias, start, first, y):
    """y[start + r, o] = sums[r, o] + bias[o] for the outputs of a panel, from `first` on. Unsigned: see int8.py."""
    first = np.uint64(first)
    for r in range(sums.size // PANEL):
        for j in range(min(PANEL, y.shape[1] - first)):
            o = first + np.uint64(j)
            y[start + r, o] = sums[r * PANEL + j] + (bias[o] if bias.size else np.float32(0))


@kernel("void(f4[:,::1], i1[::1], i4[::1], f4[::1], i8, i8)", parallel=False)
def write_integers_kernel(x, integers, corrections, steps, start, stop):
    """Write the integers of the rows of x from start to stop."""
    for r in range(start, stop):
        write_integers(x, r, integers, corrections, steps)


@kernel("void(i1[::1], i4[::1], f4[::1], u1[:,::1], u1[:,::1], f4[::1], f4[:,::1], i8, i8)", parallel=False)
def multiply_int4_kernel(integers, corrections, steps, panels, scales, bias, y, start, stop):
    """y[r, o] = sum_i x[r, i] weights[o, i] + bias[o], for the panels from start to stop, some rows at a time."""
    for p in range(start, stop):
        for r in range(0, len(y), MAX_TILE_ROWS):
            sums = np.zeros(min(MAX_TILE_ROWS, len(y) - r) * PANEL, np.float32)
            multiply_panel(integers, corrections, steps, r, panels[p], scales[p], sums)
            _write_outputs(sums, bias, r, p * PANEL, y)


@kernel("b1(f4[:,::1], u1[:,::1], u1[:,::1], f4[::1], f4[:,::1])")
def multiply_few_int4_kernel(x, panels, scales, bias, y):
    """The two kernels above on all cores. Return False if a group of inputs has no step."""
    n = len(x) * panels.shape[1] // GROUP_BYTES
    integers, corrections, steps = np.zeros(n * SCALE_GROUP, np.int8), np.empty(n, np.int32), np.empty(n, np.float32)
    write_integers_kernel(x, integers, corrections, steps, 0, len(x))
    if not steps.all():
        return False
    for p in prange(len(panels)):
        multiply_int4_kernel(integers, corrections, steps, panels, scales, bias, y, p, p + 1)
    return True
