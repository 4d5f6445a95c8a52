"""linear: by kernels for a few rows, by BLAS for many."""

import numpy as np
from numba import prange

from minigpt.ops import plain
from minigpt.ops.jit.arrays import is_kernel_ready
from minigpt.ops.jit.bfloat16 import multiply_bfloat16, unpack_bfloat16
from minigpt.ops.jit.compile import ANY_ORDER, inlined, kernel
from minigpt.ops.jit.int4 import multiply_int4
from minigpt.ops.jit.int8 import multiply_int8
from minigpt.ops.jit.parallel import is_single_threaded, parallel_for, run_on_all_cores
from minigpt.ops.packed import PANEL, UNPACKED_BLOCK_SIZE, BFloat16Matrix, Int4Matrix, Int8Matrix

MAX_KERNEL_ROWS = 8  # rows of x; for more, BLAS is faster
MAX_CACHED_INPUTS = 2048  # numbers in a row of x; four such rows fill the first-level cache, 32 kB
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
    """y = x weight + bias by the kernel for the format of the weights. Return False if no kernel applies."""
    if isinstance(weight, Int8Matrix):
        return multiply_int8(x, weight, bias, y)
    if isinstance(weight, Int4Matrix):
        return multiply_int4(x, weight, bias, y)
    if isinstance(weight, BFloat16Matrix):
        return multiply_bfloat16(x, weight, bias, y)
    return len(x) <= MAX_KERNEL_ROWS and is_kernel_ready(weight.T) and multiply_float32(x, weight.T, bias, y)


def multiply_float32(x, weights, bias, y):
    """y = x weights^T + bias by multiply_kernel; wide rows, in groups of four, by multiply_wide_kernel."""
    R, n_in = x.shape
    n_wide = R // 4 * 4 if n_in > MAX_CACHED_INPUTS and len(weights) % 4 == 0 else 0
    if n_wide:
        run_on_all_cores(multiply_wide_kernel, x[:n_wide], weights, bias, y[:n_wide])
    if n_wide < R:
        run_on_all_cores(multiply_kernel, x[n_wide:], weights, bias, y[n_wide:])
    return True


@kernel("b1(f4[:,::1], f4[:,::1], f4[::1], f4[:,::1])")
def multiply_kernel(x, weights, bias, y):
    """y[r, o] = sum_i x[r, i] weights[o, i] + bias[o].

    x [R, in], weights [out, in], bias [out] or empty -> y [R, out]. The speed of memory bounds the product of a vector
    and a matrix. Reading row after row, with a share of the rows for each core, is the fastest order. Four rows of x
    at a time use each weight four times while it is in a register.
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


@inlined(ANY_ORDER)
def _four_by_four_products(x0, x1, x2, x3, w):
    """Return the products of four vectors with four rows of weights, reading each number once."""
    w0, w1, w2, w3 = w[0], w[1], w[2], w[3]
    a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = np.float32(0)
    c0 = c1 = c2 = c3 = d0 = d1 = d2 = d3 = np.float32(0)
    for i in range(x0.size):
        a0, a1, a2, a3 = a0 + x0[i] * w0[i], a1 + x0[i] * w1[i], a2 + x0[i] * w2[i], a3 + x0[i] * w3[i]
        b0, b1, b2, b3 = b0 + x1[i] * w0[i], b1 + x1[i] * w1[i], b2 + x1[i] * w2[i], b3 + x1[i] * w3[i]
        c0, c1, c2, c3 = c0 + x2[i] * w0[i], c1 + x2[i] * w1[i], c2 + x2[i] * w2[i], c3 + x2[i] * w3[i]
        d0, d1, d2, d3 = d0 + x3[i] * w0[i], d1 + x3[i] * w1[i], d2 + x3[i] * w2[i], d3 + x3[i] * w3[i]
    return (a0, a1, a2, a3), (b0, b1, b2, b3), (c0, c1, c2, c3), (d0, d1, d2, d3)


@kernel("b1(f4[:,::1], f4[:,::1], f4[::1], f4[:,::1])")
def multiply_wide_kernel(x, weights, bias, y):
    """multiply_kernel for more than MAX_CACHED_INPUTS inputs; R and out are multiples of 4.

    Four such rows of x do not fit into the first-level cache, so they are fetched again for each output, unless four
    outputs at a time share them. 3072 inputs then reach 29 GB/s in place of 18; for fewer inputs it is slower.
    """
    for group in prange(weights.shape[0] // 4):
        o = np.uint64(group) * np.uint64(4)
        for r in range(0, len(x), 4):
            sums = _four_by_four_products(x[r], x[r + 1], x[r + 2], x[r + 3], weights[o : o + np.uint64(4)])
            for i in range(4):
                for j in range(4):
                    y[r + i, o + np.uint64(j)] = sums[i][j]
    if bias.size:
        for r in range(len(x)):
            y[r] += bias
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
    rows = unpack_bfloat16(weight, block) if isinstance(weight, BFloat16Matrix) else weight.unpack(block)
    return rows.T
