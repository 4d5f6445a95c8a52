"""The operations of plain.py, compiled by Numba for float32: the same names, arguments and results.

Two kinds of work take the time. A new token multiplies one vector with every matrix: each weight is read from memory
once and used once, so the memory sets the pace and the kernels read the weights in order, in as few bits as they are
stored in. A long prompt multiplies hundreds of vectors: arithmetic sets the pace, and BLAS, which NumPy calls, is
nearest to what the processor can do; kernels do there what lies between the products.

What the kernels are not made for (float64, a trace, an array laid out otherwise) the formulas of plain.py compute.
Importing this module compiles the kernels, or reads them from Numba's cache on disk.
"""

import itertools
import math
import os
import threading
from concurrent import futures
from functools import partial

import numba
import numpy as np
from numba import carray, prange, types
from numba.extending import intrinsic

from minigpt.ops import plain
from minigpt.ops.packed import BLOCK, BFloat16Matrix, Int8Matrix, PackedMatrix
from minigpt.ops.plain import untapped
from minigpt.ops.threads import blas_on_one_thread, get_threads

SKINNY = 8  # rows; beyond, BLAS is faster
WIDE = 2048  # inputs; four rows of them fill the first cache, 32 kB
SMALL = 2**18  # numbers; below, waking another thread costs more than it saves
COLUMNS = 1024  # of a product at a time: for 50,257 at once OpenBLAS takes twice as long
QUERIES = 128  # of attention in one block
CACHED = 2**17  # numbers: half of a core's own cache

relu = plain.relu  # one pass over memory: nothing to gain

# Sums are vectorised only if their terms may be reordered. NaN and inf keep their meaning.
EXACT = {"nsz", "contract"}
FAST = EXACT | {"reassoc"}


def inlined(fastmath):
    """A part of kernels. Division by zero gives inf, as NumPy's does: a check for it would prevent vectorising."""
    return numba.njit(fastmath=fastmath, error_model="numpy")


def kernel(signature, parallel=True, fastmath=FAST):
    """Compile a function for the one signature that it is called with, and keep it on disk where that is possible."""

    def compiled(function):
        if not threading.main_thread().is_alive():
            raise ImportError("the program ends: nothing more is compiled")
        options = {"parallel": parallel, "fastmath": fastmath, "nogil": True, "error_model": "numpy"}
        try:
            return numba.njit(signature, cache=True, **options)(function)
        except (RuntimeError, OSError):  # nowhere to write, or no room: compile for this process alone
            return numba.njit(signature, **options)(function)

    return compiled


# ---------------------------------------------------------------- running kernels


_one_at_a_time = threading.Lock()  # each uses all cores: two at once would only get in each other's way
forked = threading.Event()  # the threads of a kernel do not survive a fork: a child computes with the plain operations
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forked.set)


class _OfThread(threading.local):
    threads = None  # Numba keeps its number of threads per Python thread
    alone = False  # whether it computes by itself what others share


_of_thread = _OfThread()


def _run(compiled, *arguments):
    with _one_at_a_time:
        if _of_thread.threads != get_threads():
            numba.set_num_threads(min(get_threads(), numba.config.NUMBA_NUM_THREADS))
            _of_thread.threads = get_threads()
        return compiled(*arguments)


_workers = futures.ThreadPoolExecutor(os.cpu_count())  # which starts threads only when there is work for them


def share_out(work, n):
    """work(start, stop) for parts of range(n), a part for every core; for work in which BLAS computes.

    The threads of BLAS itself stay out of it: after a product they spin for a tenth of a second, waiting for the next
    one, on the cores that the kernels want. A new token after a prompt took up to eight times as long.
    """
    if _of_thread.alone or not n:
        return work(0, n)
    with _one_at_a_time, blas_on_one_thread() as threads:
        bounds = [n * i // threads for i in range(threads + 1)]
        parts = [(start, stop) for start, stop in itertools.pairwise(bounds) if start < stop]
        others = [_workers.submit(work, *part) for part in parts[1:]]
        try:
            work(*parts[0])
        finally:
            futures.wait(others)
        for other in others:
            other.result()


def share_out_whole(work, n):
    """share_out for work that is made of operations: within a part, they share nothing."""

    def alone(start, stop):
        _of_thread.alone = True
        try:
            work(start, stop)
        finally:
            _of_thread.alone = False

    share_out(alone, n)


def by_rows(work, x):
    """work(rows) for all the rows of x, shared out if they are many."""
    if x.size < SMALL:
        work(slice(None))
    else:
        share_out(lambda start, stop: work(slice(start, stop)), len(x))


FLOAT32 = np.dtype(np.float32)


def suits(array):
    """Whether kernels can take an array: float32 in the usual order, aligned, and not read-only."""
    return array.dtype is FLOAT32 and array.flags.carray and not forked.is_set()


# ---------------------------------------------------------------- exp


@inlined(EXACT)  # without reassoc, which would cancel `+ ROUND - ROUND`
def exp(x):
    """exp(x) = 2^n exp(r) with n = round(x / log 2) and |r| <= log(2) / 2: exp(r) by a polynomial, 2^n by its bits.

    Unlike a call of the C library it is vectorised. Error below 2 units in the last place; results below 1e-38 are 0.
    Coefficients: Moshier, Cephes (expf).
    """
    ROUND = np.float32(12582912)  # 1.5 * 2^23: adding it leaves the rounded number in the lowest bits
    shifted = np.float32(x * np.float32(1.44269504) + ROUND)
    n = shifted - ROUND
    r = x - n * np.float32(0.693359375) - n * np.float32(-2.12194440e-4)  # log 2 in two parts, the first one exact
    p = np.float32(1.9875691500e-4)
    p = p * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    p = np.float32(p * (r * r) + r + np.float32(1))
    bits = np.uint32((shifted.view(np.uint32) + np.uint32(127)) << np.uint32(23))
    result = np.float32(p * bits.view(np.float32))
    if x > np.float32(88.3):
        result = np.float32(np.inf)
    if x < np.float32(-87.3):
        result = np.float32(0)
    return result


# ---------------------------------------------------------------- linear


def linear(x, weight, bias=None):
    """linear(x) = x weight + bias;  x [..., in], weight [in, out], bias [out] > [..., out].

    Up to 8 rows of x: one pass over the weights. More: BLAS, which packed weights are unpacked for.
    """
    n_in, n_out = weight.shape
    x_rows = x.reshape(-1, n_in)
    bias_row = _NO_BIAS if bias is None else bias
    if not (suits(x_rows) and suits(bias_row)):
        return plain.linear(x, weight, bias)
    y = np.empty((len(x_rows), n_out), np.float32)
    if len(x_rows) > SKINNY or _of_thread.alone:
        share_out(lambda start, stop: _product(x_rows, weight, bias, y, start, stop), n_out)
        return y.reshape(*x.shape[:-1], n_out)
    done = False
    if isinstance(weight, Int8Matrix):
        limit = min(32767, (2**31 - 1) // max(1, weight.largest_sum))
        if weight.turned and limit >= 127:
            done = _run(_multiply_int8, x_rows, weight.stored, weight.scales, bias_row, limit, y)
    elif isinstance(weight, BFloat16Matrix):
        if weight.turned and n_in % 2 == 0:
            done = _run(_multiply_bfloat16, x_rows, weight.stored.view(np.uint32), bias_row, y)
    elif isinstance(weight, np.ndarray) and suits(weight.T):
        fours = len(x_rows) // 4 * 4 if n_in > WIDE and n_out % 4 == 0 else 0
        done = not fours or _run(_multiply_wide, x_rows[:fours], weight.T, bias_row, y[:fours])
        if fours < len(x_rows):
            done = _run(_multiply, x_rows[fours:], weight.T, bias_row, y[fours:])
    return y.reshape(*x.shape[:-1], n_out) if done else plain.linear(x, weight, bias)


_NO_BIAS = np.empty(0, np.float32)


@kernel("b1(f4[:,::1], f4[:,::1], f4[::1], f4[:,::1])")
def _multiply(x, weights, bias, y):
    """y[r, o] = sum_i x[r, i] weights[o, i] + bias[o];  x [R, in], weights [out, in], bias [out] or empty > y [R, out].

    A product of vectors is bound by reading the weights. Row after row, each core its own share of them, is the order
    in which memory is fastest; four rows of x at a time use each weight four times while it is in a register.
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


@inlined(FAST)
def _four_products(x0, x1, x2, x3, w):
    """The products of four vectors with four rows of weights, each number of either read once."""
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
def _multiply_wide(x, weights, bias, y):
    """_multiply for more than WIDE inputs, R and out multiples of 4.

    Four such rows of x do not fit into the first cache, so they too have to be fetched, for each output again: four
    outputs at a time share them. That is half as fast again (3072 inputs: 29 GB/s in place of 18), and slower for less.
    """
    for group in prange(weights.shape[0] // 4):
        o = np.uint64(group) * np.uint64(4)
        for r in range(0, len(x), 4):
            sums = _four_products(x[r], x[r + 1], x[r + 2], x[r + 3], weights[o : o + np.uint64(4)])
            for i in range(4):
                for j in range(4):
                    y[r + i, o + np.uint64(j)] = sums[i][j]
    if bias.size:
        for r in range(len(x)):
            y[r] += bias
    return True


@inlined(FAST)
def _upper(pair):
    return np.uint32(pair & np.uint32(0xFFFF0000)).view(np.float32)


@inlined(FAST)
def _lower(pair):
    return np.uint32(pair << np.uint32(16)).view(np.float32)


@kernel("b1(f4[:,::1], u4[:,::1], f4[::1], f4[:,::1])")
def _multiply_bfloat16(vectors, weights, bias, y):
    """_multiply for bfloat16, half the bytes of float32: vectors [R, in], weights [out, in / 2] of pairs.

    A pair is taken apart in a register by a shift and a mask; even and odd places of the vectors are sorted apart once.
    """
    R, n_pairs = len(vectors), weights.shape[1]
    x = np.empty((R, 2, n_pairs), np.float32)
    for r in range(R):
        for i in range(n_pairs):
            x[r, 0, i], x[r, 1, i] = vectors[r, 2 * i], vectors[r, 2 * i + 1]
    for o in prange(weights.shape[0]):
        w = weights[o]
        b = bias[o] if bias.size else np.float32(0)
        for r in range(0, R - R % 4, 4):
            x0, x1, x2, x3 = x[r], x[r + 1], x[r + 2], x[r + 3]
            s0 = s1 = s2 = s3 = np.float32(0)
            for i in range(n_pairs):
                low, high = _lower(w[i]), _upper(w[i])
                s0 += x0[0, i] * low + x0[1, i] * high
                s1 += x1[0, i] * low + x1[1, i] * high
                s2 += x2[0, i] * low + x2[1, i] * high
                s3 += x3[0, i] * low + x3[1, i] * high
            y[r, o], y[r + 1, o], y[r + 2, o], y[r + 3, o] = s0 + b, s1 + b, s2 + b, s3 + b
        for r in range(R - R % 4, R):
            s = np.float32(0)
            for i in range(n_pairs):
                s += x[r, 0, i] * _lower(w[i]) + x[r, 1, i] * _upper(w[i])
            y[r, o] = s + b
    return True


@inlined(FAST)
def _as_integers(x, limit, integers):
    """integers = round(x / step); returns the step with which the largest |x| becomes limit, 0 if there is none."""
    largest = np.float32(0)
    total = np.float32(0)  # inf or NaN if any x is: a comparison alone would pass over NaN
    for i in range(x.size):
        largest = max(largest, abs(x[i]))
        total += abs(x[i])
    if not (total < np.float32(1e30)) or (total > 0 and largest < np.float32(1e-30)):
        return np.float32(0)
    step = largest / limit if largest > 0 else np.float32(1)
    for i in range(x.size):
        integers[i] = np.int16(np.rint(x[i] / step))
    return step


@kernel("b1(f4[:,::1], i1[:,::1], f4[::1], f4[::1], i8, f4[:,::1])")
def _multiply_int8(x, weights, scales, bias, limit, y):
    """y[r, o] = scales[o] step[r] sum_i integer(x[r, i]) weights[o, i] + bias[o]: a quarter of the bytes of float32.

    The processor multiplies 16-bit integers twice as fast as it could turn the weights into float32, and no slower
    than memory delivers them. So x becomes integers of 16 bits, or of as many as the 32-bit sums can hold: |integer|
    <= limit. That rounding is some hundred times finer than that of the weights. Returns whether x was finite.
    """
    R, n_in = x.shape
    integers, steps = np.empty((R, n_in), np.int16), np.empty(R, np.float32)
    for r in range(R):
        steps[r] = _as_integers(x[r], limit, integers[r])
        if steps[r] == 0:
            return False
    for o in prange(weights.shape[0]):
        w = weights[o]
        b = bias[o] if bias.size else np.float32(0)
        for r in range(0, R - R % 4, 4):
            x0, x1, x2, x3 = integers[r], integers[r + 1], integers[r + 2], integers[r + 3]
            s0 = s1 = s2 = s3 = np.int32(0)
            for i in range(n_in):
                s0 = np.int32(s0 + np.int32(x0[i]) * np.int32(w[i]))
                s1 = np.int32(s1 + np.int32(x1[i]) * np.int32(w[i]))
                s2 = np.int32(s2 + np.int32(x2[i]) * np.int32(w[i]))
                s3 = np.int32(s3 + np.int32(x3[i]) * np.int32(w[i]))
            y[r, o] = np.float32(s0) * (scales[o] * steps[r]) + b
            y[r + 1, o] = np.float32(s1) * (scales[o] * steps[r + 1]) + b
            y[r + 2, o] = np.float32(s2) * (scales[o] * steps[r + 2]) + b
            y[r + 3, o] = np.float32(s3) * (scales[o] * steps[r + 3]) + b
        for r in range(R - R % 4, R):
            s = np.int32(0)
            for i in range(n_in):
                s = np.int32(s + np.int32(integers[r, i]) * np.int32(w[i]))
            y[r, o] = np.float32(s) * (scales[o] * steps[r]) + b
    return True


def _product(x, weight, bias, y, start, stop):
    """y = x weight + bias by BLAS, in the columns from start to stop; x [R, in], weight [in, out] > y [R, out]."""
    columns = slice(start, stop)
    if isinstance(weight, PackedMatrix) and weight.turned:
        step = max(1, BLOCK // len(weight))
        buffer = np.empty((min(step, stop - start), len(weight)), np.float32)  # written again for every block
        for first in range(start, stop, step):
            block = slice(first, min(first + step, stop))
            rows = buffer[: block.stop - first]
            if isinstance(weight, Int8Matrix):
                _unpack_int8(weight.stored[block], weight.scales[block], rows)
            else:
                _unpack_bfloat16(weight.stored[block], rows)
            np.matmul(x, rows.T, out=y[:, block])
    else:
        weight = np.asarray(weight)
        for first in range(start, stop, COLUMNS):
            block = slice(first, min(first + COLUMNS, stop))
            np.matmul(x, weight[:, block], out=y[:, block])
    if bias is not None:
        y[:, columns] += bias[columns]


@kernel("void(i1[:,::1], f4[::1], f4[:,::1])", parallel=False)
def _unpack_int8(stored, scales, out):
    """out[o, i] = scales[o] stored[o, i], in one pass."""
    for o in range(stored.shape[0]):
        for i in range(stored.shape[1]):
            out[o, i] = scales[o] * np.float32(stored[o, i])


@kernel("void(u2[:,::1], f4[:,::1])", parallel=False)
def _unpack_bfloat16(stored, out):
    """out[o, i] = the float32 whose upper half is stored[o, i], in one pass."""
    for o in range(stored.shape[0]):
        for i in range(stored.shape[1]):
            out[o, i] = np.uint32(np.uint32(stored[o, i]) << np.uint32(16)).view(np.float32)


# ---------------------------------------------------------------- layer norm


def layer_norm(x, weight, bias, eps=1e-5):
    """layer_norm(x) = (x - mean(x)) / sqrt(var(x) + eps) * weight + bias;  x [..., D], weight, bias [D] > [..., D]."""
    if not (suits(x) and suits(weight) and suits(bias)):
        return plain.layer_norm(x, weight, bias, eps)
    y = np.empty_like(x)
    x_rows, y_rows = x.reshape(-1, x.shape[-1]), y.reshape(-1, x.shape[-1])
    eps = np.float32(eps)
    by_rows(lambda some: _layer_norm(x_rows[some], weight, bias, eps, y_rows[some]), x_rows)
    return y


@kernel("void(f4[:,::1], f4[::1], f4[::1], f4, f4[:,::1])", parallel=False)
def _layer_norm(x, weight, bias, eps, y):
    """Three passes over each vector, which stays in the cache, where NumPy makes an array of each step."""
    rows, D = x.shape
    for row in range(rows):
        mean = np.float32(0)
        for i in range(D):
            mean += x[row, i]
        mean /= np.float32(D)
        variance = np.float32(0)
        for i in range(D):
            variance += (x[row, i] - mean) * (x[row, i] - mean)
        deviation = np.sqrt(variance / np.float32(D) + eps)
        for i in range(D):
            y[row, i] = (x[row, i] - mean) / deviation * weight[i] + bias[i]


# ---------------------------------------------------------------- activations


def gelu_new(x):
    """gelu_new(x) = x/2 (1 + tanh(u)) = x / (1 + exp(-2 u)),  u = sqrt(2/pi) (x + 0.044715 x^3)."""
    return _elementwise(_gelu_new, x) if suits(x) else plain.gelu_new(x)


@kernel("void(f4[::1], f4[::1])", parallel=False, fastmath=EXACT)
def _gelu_new(x, y):
    """One pass over memory in place of seven, and exp without a call."""
    for i in range(x.size):
        u = np.float32(0.7978845608) * (x[i] + np.float32(0.044715) * (x[i] * x[i] * x[i]))
        y[i] = x[i] / (np.float32(1) + exp(np.float32(-2) * u))


def gelu(x):
    """gelu(x) = x/2 (1 + erf(x / sqrt(2)))."""
    return _elementwise(_gelu, x) if suits(x) else plain.gelu(x)


@kernel("void(f4[::1], f4[::1])", parallel=False, fastmath=EXACT)
def _gelu(x, y):
    """The C library's erf, compiled in: plain has only Python's, one number at a time."""
    for i in range(x.size):
        y[i] = np.float32(0.5) * x[i] * (np.float32(1) + math.erf(x[i] * np.float32(0.7071067812)))


def _elementwise(compiled, x):
    y = np.empty_like(x)
    x_flat, y_flat = x.reshape(-1), y.reshape(-1)
    by_rows(lambda some: compiled(x_flat[some], y_flat[some]), x_flat)
    return y


# ---------------------------------------------------------------- attention


def softmax(x, axis=-1):
    """softmax(x)_i = exp(x_i) / sum_j exp(x_j) along an axis; any shape."""
    if not suits(x) or axis not in (-1, x.ndim - 1) or not x.size:
        return plain.softmax(x, axis)
    y = x.copy()
    causal_softmax(y.reshape(1, -1, x.shape[-1]), x.shape[-1], 0, np.float32(1))
    return y


def attention(q, k, v, scale=None, padding=None, tap=untapped):
    """attention(q, k, v) = softmax(q k^T scale + mask) v;  q [B, H, T, K], k, v [B, H, S, K] > [B, H, T, K].

    One query per sequence: every head in one pass over its keys and one over its values. More: a block of queries at a
    time, so that the scores stay in the cache; their products by BLAS, the softmax and its mask in between by a kernel.
    """
    B, H, T, K = q.shape
    float32 = q.dtype is k.dtype is v.dtype is FLOAT32
    if tap is not untapped or forked.is_set() or not float32 or not q.size:
        return plain.attention(q, k, v, scale, padding, tap)
    scale = np.float32(K**-0.5 if scale is None else scale)
    padding = np.zeros(B, np.int64) if padding is None else padding
    heads = np.empty((B, T, H, K), np.float32).swapaxes(1, 2)  # as merge_heads wants them
    if T == 1 and not _of_thread.alone:
        _run(_attend, _with_whole_rows(q), _with_whole_rows(k), _with_whole_rows(v), padding, scale, heads)
        return heads
    share_out(partial(_attend_in_blocks, q, k, v, heads, padding, scale), B * H)
    return heads


def _attend_in_blocks(q, k, v, heads, padding, scale, first, last):
    """Attention of the heads from first to last, counted through the batch.

    A block of queries at a time: their scores stay in the cache, and what a block does not see is not computed.
    """
    (_, H, T, _), S = q.shape, k.shape[2]
    step = min(T, QUERIES)
    for some in heads_at_a_time(first, last, H, step * S, together=not padding.any()):
        n, hidden = heads[some].shape[:2], int(padding[some[0].start])
        buffer = np.empty(math.prod(n) * step * S, np.float32)
        for start in range(0, T, step):
            stop = min(start + step, T)
            queries, keys = (
                (*some, slice(start, stop)),
                (*some, slice(0, S - T + stop)),
            )  # as far as the last query sees
            scores = part_of(buffer, (*n, stop - start, S - T + stop))
            np.matmul(q[queries], k[keys].swapaxes(-1, -2), out=scores)
            causal_softmax(scores.reshape(-1, *scores.shape[2:]), S - T + start, hidden, scale)
            np.matmul(scores, v[keys], out=heads[queries])


def heads_at_a_time(first, last, H, scores, together=True):
    """Slices of the batch and of its heads that make up the heads from first to last, counted through the batch.

    As many together as there is room in the cache for, where each has so many scores: with small heads there is less to
    do for Python.
    """
    room = max(1, CACHED // scores)
    while first < last:
        b, h = divmod(first, H)
        sequences = min(room, last - first) // H if together and h == 0 else 0
        n = min(H - h, last - first, room)
        yield (slice(b, b + sequences), slice(0, H)) if sequences else (slice(b, b + 1), slice(h, h + n))
        first += sequences * H or n


def part_of(buffer, shape):
    """The beginning of a buffer as an array of this shape."""
    return buffer[: math.prod(shape)].reshape(shape)


def _with_whole_rows(x):
    """x [B, H, S, K] with the rows [S, K] of every head one after the other in memory; writable."""
    whole = x.strides[2:] == (4 * x.shape[3], 4) and x.flags.aligned and x.flags.writeable
    return x if whole else x.copy()


@intrinsic
def _pointer(typing_context, address):
    def to_pointer(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.float32)(address), to_pointer


@inlined(FAST)
def _rows(x, b, h):
    """x[b, h] as an array [S, K] of which the compiler knows that it has no gaps: only then it vectorises."""
    return carray(_pointer(x[b, h].ctypes.data), (x.shape[2], x.shape[3]))


@inlined(FAST | {"nnan"})  # with a NaN any result will do: the softmax is NaN all the same
def _largest(x):
    largest = np.float32(-np.inf)
    for i in range(x.size):
        largest = max(largest, x[i])
    return largest


@inlined(FAST)
def softmax_in_place(x, scale):
    """x = softmax(x scale), one vector, in place; returns the largest x scale and the sum of exp(x scale - largest)."""
    for i in range(x.size):
        x[i] *= scale
    largest = _largest(x)
    total = np.float32(0)
    for i in range(x.size):
        power = exp(x[i] - largest)
        x[i] = power
        total += power
    for i in range(x.size):
        x[i] /= total
    return largest, total


@kernel("void(f4[:,:,:,:], f4[:,:,:,:], f4[:,:,:,:], i8[::1], f4, f4[:,:,:,:])")
def _attend(q, k, v, padding, scale, heads):
    """heads = softmax(q k^T scale) v for one query per head, which sees all keys but padding.

    q [B, H, 1, K], k, v [B, H, S, K]: keys and values are read once, in order, and nothing else is large.
    """
    B, H, S, K = k.shape
    for head in prange(B * H):
        b, h = head // H, head % H
        query, keys, values, out = _rows(q, b, h)[0], _rows(k, b, h), _rows(v, b, h), np.zeros(K, np.float32)
        weights = np.empty(S, np.float32)
        for s in range(S):
            score = np.float32(0)
            for i in range(K):
                score += query[i] * keys[s, i]
            weights[s] = score
        hidden = min(padding[b], S - 1)
        weights[:hidden] = 0
        softmax_in_place(weights[hidden:], scale)
        for s in range(S):
            for i in range(K):
                out[i] += weights[s] * values[s, i]
        heads[b, h, 0] = out


@kernel("void(f4[:,:,::1], i8, i8, f4)", parallel=False)
def causal_softmax(scores, first, padding, scale):
    """softmax(scores scale + mask) in place; scores [H, T, S], the queries at positions first, first + 1, ...

    What a query does not see is never looked at, so the mask costs nothing.
    """
    for h in range(scores.shape[0]):
        for t in range(scores.shape[1]):
            seen = min(first + t + 1, scores.shape[2])
            start = min(padding, seen - 1)  # a padding position sees itself
            x = scores[h, t]
            x[:start] = 0
            softmax_in_place(x[start:seen], scale)
            x[seen:] = 0
