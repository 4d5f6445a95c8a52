"""attention: by a kernel for one query per sequence; for more, in blocks that fit in the CPU cache."""

import math
from functools import partial

import numpy as np
from numba import carray, prange, types
from numba.extending import intrinsic

from minigpt.ops import plain
from minigpt.ops.jit.arrays import FLOAT32, view_of
from minigpt.ops.jit.compile import ANY_ORDER, inlined, kernel
from minigpt.ops.jit.parallel import forked, is_single_threaded, parallel_for, run_on_all_cores
from minigpt.ops.jit.softmax import causal_softmax_kernel, softmax_in_place

QUERY_BLOCK = 128  # queries whose scores are computed together
CACHE_NUMBERS = 2**17  # float32 numbers that fill half of a core's own cache


def attention(q, k, v, scale=None, padding=None, tap=plain.untapped):
    """attention(q, k, v) = softmax(q k^T scale + mask) v;  q [B, H, T, K], k, v [B, H, S, K] -> [B, H, T, K].

    One query per sequence takes one pass over the keys and one over the values of each head. More queries are computed
    in blocks, whose scores stay in the cache: the products by BLAS, the masked softmax between them by a kernel.
    """
    B, H, T, K = q.shape
    float32 = q.dtype is k.dtype is v.dtype is FLOAT32
    if tap is not plain.untapped or forked.is_set() or not float32 or not q.size:
        return plain.attention(q, k, v, scale, padding, tap)
    scale = np.float32(K**-0.5 if scale is None else scale)
    padding = np.zeros(B, np.int64) if padding is None else padding
    heads = np.empty((B, T, H, K), np.float32).swapaxes(1, 2)  # in the memory order that merge_heads needs
    if T == 1 and not is_single_threaded():
        q, k, v = _with_contiguous_heads(q), _with_contiguous_heads(k), _with_contiguous_heads(v)
        run_on_all_cores(attend_one_query_kernel, q, k, v, padding, scale, heads)
    else:
        parallel_for(partial(attend_in_blocks, q, k, v, heads, padding, scale), B * H)
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
        for start in range(0, T, step):
            stop = min(start + step, T)
            seen = S - T + stop  # keys that the block's last query sees
            queries, keys = (*group, slice(start, stop)), (*group, slice(0, seen))
            scores = view_of(buffer, (*n, stop - start, seen))
            np.matmul(q[queries], k[keys].swapaxes(-1, -2), out=scores)
            causal_softmax_kernel(scores.reshape(-1, *scores.shape[2:]), S - T + start, n_padding, scale)
            np.matmul(scores, v[keys], out=heads[queries])


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


def _with_contiguous_heads(x):
    """Return x [B, H, S, K], or a copy, such that each head's rows [S, K] are contiguous in memory and writable."""
    is_contiguous = x.strides[2:] == (4 * x.shape[3], 4) and x.flags.aligned and x.flags.writeable
    return x if is_contiguous else x.copy()


@intrinsic
def _pointer(typing_context, address):
    def to_pointer(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.float32)(address), to_pointer


@inlined(ANY_ORDER)
def _rows(x, b, h):
    """Return x[b, h] as an array [S, K] that the compiler knows to be contiguous: only then does it vectorise."""
    return carray(_pointer(x[b, h].ctypes.data), (x.shape[2], x.shape[3]))


@kernel("void(f4[:,:,:,:], f4[:,:,:,:], f4[:,:,:,:], i8[::1], f4, f4[:,:,:,:])")
def attend_one_query_kernel(q, k, v, padding, scale, heads):
    """heads = softmax(q k^T scale) v for one query per head, which sees all keys but padding.

    q [B, H, 1, K], k, v [B, H, S, K] -> heads [B, H, 1, K]. Keys and values are read once, in order; everything else
    is small.
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
        n_padding = min(padding[b], S - 1)
        weights[:n_padding] = 0
        softmax_in_place(weights[n_padding:], scale)
        for s in range(S):
            for i in range(K):
                out[i] += weights[s] * values[s, i]
        heads[b, h, 0] = out
