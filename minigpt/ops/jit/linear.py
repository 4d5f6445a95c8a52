"""linear: by kernels for a few rows, by BLAS for many."""

import numpy as np
from numba import prange

from minigpt.ops import plain
from minigpt.ops.jit.arrays import is_kernel_ready
from minigpt.ops.jit.compile import ANY_ORDER, inlined, kernel
from minigpt.ops.jit.parallel import is_single_threaded, parallel_for, run_on_all_cores
from minigpt.ops.jit.registers import (
    add,
    add_products,
    float_zeros,
    load_floats,
    multiply,
    prefetch,
    repeat_float,
    store,
)
from minigpt.ops.packed import PANEL, UNPACKED_BLOCK_SIZE, BFloat16Matrix, Int4Matrix, Int8Matrix
from minigpt.ops.threads import get_threads

MAX_KERNEL_ROWS = 8  # rows of x; for more, BLAS is faster
INPUTS, OUTPUTS = 8, 16  # rows of weights, and numbers of each in a register, that are multiplied together
BLAS_COLUMNS = 1024  # columns computed at a time; OpenBLAS takes twice as long for 50,257 at once

NO_BIAS = np.empty(0, np.float32)


def linear(x, weight, bias=None):
    """linear(x) = x weight + bias;  x [..., in], weight [in, out], bias [out] -> [..., out].

    The kernels take all products with packed weights, and of float32 those of up to MAX_KERNEL_ROWS rows of x, in one
    pass over the weights. BLAS takes the others; packed weights without a kernel are unpacked for it.
    """
    n_in, n_out = weight.shape
    x_rows = x.reshape(-1, n_in)
    bias_row = NO_BIAS if bias is None else bias
    if not (is_kernel_ready(x_rows) and is_kernel_ready(bias_row)):
        return plain.linear(x, weight, bias)
    y = np.empty((len(x_rows), n_out), np.float32)
    if is_single_threaded() or not multiply_by_kernel(x_rows, weight, bias_row, y):
        parallel_for(lambda start, stop: multiply_by_blas(x_rows, weight, bias, y, start, stop), -(-n_out // PANEL))
    return y.reshape(*x.shape[:-1], n_out)


def multiply_by_kernel(x, weight, bias, y):
    """y = x weight + bias by the kernel for the format of the weights. Return False if no kernel applies.

    The kernels of a packed format are imported, and so compiled, with its first product: most people use one format.
    """
    if isinstance(weight, Int8Matrix):
        from minigpt.ops.jit.int8 import multiply_int8

        return multiply_int8(x, weight, bias, y)
    if isinstance(weight, Int4Matrix):
        from minigpt.ops.jit.int4 import multiply_int4

        return multiply_int4(x, weight, bias, y)
    if isinstance(weight, BFloat16Matrix):
        from minigpt.ops.jit.bfloat16 import multiply_bfloat16

        return multiply_bfloat16(x, weight, bias, y)
    return len(x) <= MAX_KERNEL_ROWS and multiply_float32(x, weight, bias, y)


def multiply_float32(x, weight, bias, y):
    """y = x weight + bias by the kernel for the order of the weights in memory. Return False if there is none."""
    n_in, n_out = weight.shape
    if is_kernel_ready(weight) and n_in % INPUTS == n_out % OUTPUTS == 0:
        height = -(-n_in // INPUTS // get_threads()) * INPUTS
        return run_on_all_cores(multiply_kernel, x, weight, bias, y, height)
    return is_kernel_ready(weight.T) and run_on_all_cores(multiply_rows_kernel, x, weight.T, bias, y)


@inlined(ANY_ORDER)
def _add_row(x, weights, y):
    """y += sum_i x[i] weights[i] for one row of x, whose 8 inputs stay in registers;  weights [8, out], y [out]."""
    x0, x1, x2, x3 = repeat_float(x, 0), repeat_float(x, 1), repeat_float(x, 2), repeat_float(x, 3)
    x4, x5, x6, x7 = repeat_float(x, 4), repeat_float(x, 5), repeat_float(x, 6), repeat_float(x, 7)
    for o in range(0, y.size, OUTPUTS):
        _fetch_next_block(weights, o)
        a = add_products(load_floats(y, o), x0, load_floats(weights[0], o))
        a = add_products(a, x1, load_floats(weights[1], o))
        a = add_products(a, x2, load_floats(weights[2], o))
        a = add_products(a, x3, load_floats(weights[3], o))
        b = multiply(x4, load_floats(weights[4], o))
        b = add_products(b, x5, load_floats(weights[5], o))
        b = add_products(b, x6, load_floats(weights[6], o))
        b = add_products(b, x7, load_floats(weights[7], o))
        store(y, o, add(a, b))


@inlined(ANY_ORDER)
def _fetch_next_block(weights, o):
    """Have memory deliver the 8 rows that follow weights [8, out], from output o on; see fetch in tile.py."""
    for i in range(INPUTS):
        prefetch(weights[INPUTS + i], o)


@inlined(ANY_ORDER)
def _add_block(x, weights, y, o):
    """y[r, o:] += sum_i x[r, i] weights[i, o:] for 8 inputs and 16 outputs;  x [R, 8], weights [8, out], y [R, out]."""
    w0, w1 = load_floats(weights[0], o), load_floats(weights[1], o)
    w2, w3 = load_floats(weights[2], o), load_floats(weights[3], o)
    w4, w5 = load_floats(weights[4], o), load_floats(weights[5], o)
    w6, w7 = load_floats(weights[6], o), load_floats(weights[7], o)
    _fetch_next_block(weights, o)
    for r in range(len(x)):
        a = add_products(load_floats(y[r], o), repeat_float(x[r], 0), w0)
        a = add_products(a, repeat_float(x[r], 1), w1)
        a = add_products(a, repeat_float(x[r], 2), w2)
        a = add_products(a, repeat_float(x[r], 3), w3)
        b = add_products(float_zeros(), repeat_float(x[r], 4), w4)
        b = add_products(b, repeat_float(x[r], 5), w5)
        b = add_products(b, repeat_float(x[r], 6), w6)
        b = add_products(b, repeat_float(x[r], 7), w7)
        store(y[r], o, add(a, b))


@kernel("b1(f4[:,::1], f4[:,::1], f4[::1], f4[:,::1], i8)")
def multiply_kernel(x, weights, bias, y, height):
    """y[r, o] = sum_i x[r, i] weights[i, o] + bias[o].

    x [R, in], weights [in, out], bias [out] or empty -> y [R, out]; in is a multiple of 8, out of 16. The speed of
    memory bounds the product of a vector and a matrix. Each core adds up the products of `height` rows of weights, 8 at
    a time: it reads one stretch of memory from end to end, each weight once, for all rows of x. What the cores have
    added up is added in the end.
    """
    n_parts = -(-x.shape[1] // height)
    parts = np.zeros((n_parts, y.shape[0], y.shape[1]), np.float32)  # they stay in the cache
    for part in prange(n_parts):
        for i in range(part * height, min((part + 1) * height, x.shape[1]), INPUTS):
            inputs, block = x[:, i : i + INPUTS], weights[i : i + INPUTS]
            if len(x) == 1:
                _add_row(inputs[0], block, parts[part, 0])
            else:
                for o in range(0, y.shape[1], OUTPUTS):
                    _add_block(inputs, block, parts[part], o)
    for r in range(len(y)):
        for o in range(y.shape[1]):
            total = bias[o] if bias.size else np.float32(0)
            for part in range(n_parts):
                total += parts[part, r, o]
            y[r, o] = total
    return True


@kernel("b1(f4[:,::1], f4[:,::1], f4[::1], f4[:,::1])")
def multiply_rows_kernel(x, weights, bias, y):
    """multiply_kernel for weights [out, in], as the embeddings are when they serve as the head.

    Four rows of x at a time use each weight four times while it is in a register.
    """
    R, n_in = x.shape
    for o in prange(weights.shape[0]):
        w = weights[o]
        b = bias[o] if bias.size else np.float32(0)
        for r in range(0, R - R % 4, 4):
            x0, x1, x2, x3 = x[r], x[r + 1], x[r + 2], x[r + 3]
            s0 = s1 = s2 = s3 = np.float32(0)
            for i in range(n_in):
                s0 += x0[i] * w[i]
                s1 += x1[i] * w[i]
                s2 += x2[i] * w[i]
                s3 += x3[i] * w[i]
            y[r, o], y[r + 1, o], y[r + 2, o], y[r + 3, o] = s0 + b, s1 + b, s2 + b, s3 + b
        for r in range(R - R % 4, R):
            s = np.float32(0)
            for i in range(n_in):
                s += x[r, i] * w[i]
            y[r, o] = s + b
    return True


def multiply_by_blas(x, weight, bias, y, start, stop):
    """y = x weight + bias by BLAS, in the columns of the panels from start to stop; x [R, in], weight [in, out] -> y.

    Packed weights are unpacked a block at a time, which BLAS then reads from the cache.
    """
    start, stop = start * PANEL, min(stop * PANEL, y.shape[1])
    step = BLAS_COLUMNS
    if not isinstance(weight, np.ndarray):
        step = max(1, UNPACKED_BLOCK_SIZE // len(weight) // PANEL) * PANEL
    for first in range(start, stop, step):
        block = slice(first, min(first + step, stop))
        np.matmul(x, columns_of(weight, block), out=y[:, block])
    if bias is not None:
        y[:, start:stop] += bias[start:stop]


def columns_of(weight, block):
    """Return some columns of weights [in, out], whole panels, as float32."""
    if isinstance(weight, np.ndarray):
        return weight[:, block]
    if not weight.is_transposed:
        return np.asarray(weight)[:, block]
    if isinstance(weight, BFloat16Matrix):
        from minigpt.ops.jit.bfloat16 import unpack_bfloat16

        return unpack_bfloat16(weight, block).T
    return weight.unpack(block).T
