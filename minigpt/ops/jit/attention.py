"""attention: by a kernel for a few queries per sequence; for more, in blocks that fit in the CPU cache."""

import math
from functools import partial

import numpy as np
from numba import prange

from minigpt.ops import plain
from minigpt.ops.jit.arrays import FLOAT32, view_of
from minigpt.ops.jit.compile import ANY_ORDER, inlined, kernel
from minigpt.ops.jit.parallel import FINE, forked, is_single_threaded, parallel_for, run_on_all_cores
from minigpt.ops.jit.registers import (
    HAS_FLOAT16,
    add_products,
    float_zeros,
    load_row,
    prefetch,
    repeat_float,
    store,
    sum_of,
)
from minigpt.ops.jit.softmax import causal_softmax_kernel, causal_softmax_row

HEAD_SIZE = 64  # of every GPT-2 of OpenAI; BLAS takes others
MAX_FEW_QUERIES = 8  # for more, BLAS is faster
QUERY_BLOCK = 128  # queries whose scores are computed together
CACHE_NUMBERS = 2**17  # float32 numbers that fill half of a core's own cache
AHEAD = 32  # keys or values between the one that is computed with and the one that is fetched from memory
CACHE_LINE = 64  # bytes that are fetched together
FLOAT16 = np.dtype(np.float16)


def attention(q, k, v, scale=None, padding=None, tap=plain.untapped):
    """attention(q, k, v) = softmax(q k^T scale + mask) v;  q [B, H, T, K], k, v [B, H, S, K] -> [B, H, T, K].

    A few queries per sequence take one pass over the keys and one over the values of each head, in float32 or float16.
    More queries are computed in blocks, whose scores stay in the cache: the products by BLAS, the masked softmax
    between them by a kernel.
    """
    B, H, T, K = q.shape
    has_kernels = q.dtype == FLOAT32 and k.dtype == v.dtype and k.dtype in (FLOAT32, FLOAT16)
    if tap is not plain.untapped or forked.is_set() or not has_kernels or not q.size:
        return plain.attention(q, k, v, scale, padding, tap)
    scale = np.float32(K**-0.5 if scale is None else scale)
    padding = np.zeros(B, np.int64) if padding is None else padding
    heads = np.empty((B, T, H, K), np.float32).swapaxes(1, 2)  # in the memory order that merge_heads needs
    if T <= MAX_FEW_QUERIES and K == HEAD_SIZE and (k.dtype == FLOAT32 or HAS_FLOAT16) and not is_single_threaded():
        q, k, v = _with_contiguous_rows(q), _with_contiguous_rows(k), _with_contiguous_rows(v)
        run_on_all_cores(attend_few_queries_kernel, q, _bits(k), _bits(v), padding, scale, heads)
    else:
        parallel_for(partial(attend_in_blocks, q, k, v, heads, padding, scale), B * H, FINE)
    return heads


def attend_in_blocks(q, k, v, heads, padding, scale, first, last):
    """Compute the attention of heads first to last, numbered through the batch.

    Work on a block of queries at a time: their scores stay in the cache, and keys after the block are left out.
    """
    (_, H, T, _), S = q.shape, k.shape[2]
    step = min(T, QUERY_BLOCK)
    for group in head_groups(first, last, H, step * S, across_batch=not padding.any()):
        n, n_padding = heads[group].shape[:2], int(padding[group[0].start])
        buffer = np.empty(math.prod(n) * step * S, np.float32)
        keys, values = (x[group].astype(np.float32, copy=False) for x in (k, v))
        for start in range(0, T, step):
            stop = min(start + step, T)
            seen = S - T + stop  # keys that the block's last query sees
            queries = (*group, slice(start, stop))
            scores = view_of(buffer, (*n, stop - start, seen))
            np.matmul(q[queries], keys[:, :, :seen].swapaxes(-1, -2), out=scores)
            causal_softmax_kernel(scores.reshape(-1, *scores.shape[2:]), S - T + start, n_padding, scale)
            np.matmul(scores, values[:, :, :seen], out=heads[queries])


def head_groups(first, last, H, n_scores, across_batch=True):
    """Yield pairs of slices, of the batch and of its heads, that cover the heads from first to last.

    A group has as many heads as fit in the CPU cache, `n_scores` numbers each: fewer Python calls when heads are small.
    """
    room = max(1, CACHE_NUMBERS // n_scores)
    while first < last:
        b, h = divmod(first, H)
        sequences = min(room, last - first) // H if across_batch and h == 0 else 0
        n = min(H - h, last - first, room)
        yield (slice(b, b + sequences), slice(0, H)) if sequences else (slice(b, b + 1), slice(h, h + n))
        first += sequences * H or n


def _with_contiguous_rows(x):
    """Return x [B, H, S, K], or a copy, such that each row [K] is contiguous in memory, aligned and writable."""
    is_contiguous = x.strides[3] == x.itemsize and x.flags.aligned and x.flags.writeable
    return x if is_contiguous else x.copy()


def _bits(x):
    """Return float16 as uint16, because Numba knows no float16."""
    return x.view(np.uint16) if x.dtype == FLOAT16 else x


@inlined(ANY_ORDER)
def _row(x, s):
    """Return x[s] in four registers;  x [S, 64]."""
    return load_row(x, s, 0), load_row(x, s, 16), load_row(x, s, 32), load_row(x, s, 48)


@inlined(ANY_ORDER)
def _four_rows(x, first):
    """Return four rows of x [S, 64], the last one again at the end, and have later ones fetched."""
    for s in range(first + AHEAD, first + AHEAD + 4):
        for i in range(0, HEAD_SIZE, CACHE_LINE // x.itemsize):
            prefetch(x[s], i)
    last = len(x) - 1
    return _row(x, first), _row(x, min(first + 1, last)), _row(x, min(first + 2, last)), _row(x, min(first + 3, last))


@inlined(ANY_ORDER)
def _product(x, y):
    """Return x y of two rows, each in four registers."""
    total = add_products(add_products(float_zeros(), x[0], y[0]), x[1], y[1])
    return sum_of(add_products(add_products(total, x[2], y[2]), x[3], y[3]))


@inlined(ANY_ORDER)
def _add_row(total, weight, x):
    """Return total + weight x of rows in four registers, the weight sixteen times in one."""
    return (
        add_products(total[0], weight, x[0]),
        add_products(total[1], weight, x[1]),
        add_products(total[2], weight, x[2]),
        add_products(total[3], weight, x[3]),
    )


@inlined(ANY_ORDER)
def _score_keys(queries, keys, scores):
    """scores[t, s] = queries[t] keys[s];  queries [T, 64], keys [S, 64], scores flat, S rounded up to fours."""
    T = len(queries)
    width = scores.size // T
    for s in range(0, len(keys), 4):
        k0, k1, k2, k3 = _four_rows(keys, s)
        for t in range(T):
            query, place = _row(queries, t), t * width + s
            scores[place] = _product(query, k0)
            scores[place + 1] = _product(query, k1)
            scores[place + 2] = _product(query, k2)
            scores[place + 3] = _product(query, k3)


@inlined(ANY_ORDER)
def _add_values(weights, values, heads):
    """heads[t] += sum_s weights[t, s] values[s];  weights flat as the scores, values [S, 64], heads [T, 64]."""
    T = len(heads)
    width = weights.size // T
    for s in range(0, len(values), 4):
        v0, v1, v2, v3 = _four_rows(values, s)
        for t in range(T):
            head, place = _row(heads, t), t * width + s
            head = _add_row(head, repeat_float(weights, place), v0)
            head = _add_row(head, repeat_float(weights, place + 1), v1)
            head = _add_row(head, repeat_float(weights, place + 2), v2)
            head = _add_row(head, repeat_float(weights, place + 3), v3)
            store(heads, HEAD_SIZE * t, head[0])
            store(heads, HEAD_SIZE * t + 16, head[1])
            store(heads, HEAD_SIZE * t + 32, head[2])
            store(heads, HEAD_SIZE * t + 48, head[3])


FLOAT32_SIGNATURE = "void(f4[:,:,:,:], f4[:,:,:,:], f4[:,:,:,:], i8[::1], f4, f4[:,:,:,:])"
FLOAT16_SIGNATURE = "void(f4[:,:,:,:], u2[:,:,:,:], u2[:,:,:,:], i8[::1], f4, f4[:,:,:,:])"


@kernel([FLOAT32_SIGNATURE, FLOAT16_SIGNATURE] if HAS_FLOAT16 else [FLOAT32_SIGNATURE])
def attend_few_queries_kernel(q, k, v, padding, scale, heads):
    """heads = softmax(q k^T scale + mask) v for a few queries per head, the last ones of the text.

    q [B, H, T, K], k, v [B, H, S, K] -> heads [B, H, T, K]; K is HEAD_SIZE. Keys and values are read once, in
    order, each for all queries; everything else is small.
    """
    (B, H, T, K), S = q.shape, k.shape[2]
    width = -(-S // 4) * 4
    for head in prange(B * H):
        b, h = head // H, head % H
        queries, keys, values = q[b, h], k[b, h], v[b, h]
        weights, out = np.zeros(T * width, np.float32), np.zeros((T, K), np.float32)
        _score_keys(queries, keys, weights)
        for t in range(T):
            causal_softmax_row(weights[t * width : (t + 1) * width], S - T + t, padding[b], scale)
        _add_values(weights, values, out)
        for t in range(T):
            for i in range(K):  # an assignment of arrays would take the compiler seconds
                heads[b, h, t, i] = out[t, i]
