"""Attention that records its weights, and its backward: products by BLAS with kernels between them."""

import math
from functools import partial

import numpy as np

from minigpt.ops import jit
from minigpt.ops.jit.arrays import FLOAT32, view_of
from minigpt.ops.jit.attention import QUERY_BLOCK, head_groups
from minigpt.ops.jit.compile import kernel
from minigpt.ops.jit.parallel import forked, parallel_for
from minigpt.ops.jit.softmax import causal_softmax_kernel
from minigpt.ops.operations import untapped
from minigpt.training import backward as plain


def attention(q, k, v, scale=None, padding=None, tap=untapped):
    """Compute attention, and hand the weights of a short text to the tap, for the backward pass.

    Reading the weights of a long text from memory costs more than computing them again.
    """
    B, H, T, K = q.shape
    if T > QUERY_BLOCK or forked.is_set() or q.dtype != FLOAT32:
        return jit.attention(q, k, v, scale, padding)
    scale = np.float32(K**-0.5 if scale is None else scale)
    weights = np.empty((B, H, T, T), np.float32)
    heads = _empty_heads(q)

    def work(first, last):
        for group in head_groups(first, last, H, T * T):
            np.matmul(q[group], k[group].swapaxes(-1, -2), out=weights[group])
            causal_softmax_kernel(_by_head(weights[group]), 0, 0, scale)
            np.matmul(weights[group], v[group], out=heads[group])

    parallel_for(work, B * H)
    tap("weights", weights)
    return heads


def attention_backward(dheads, q, k, v, scale, weights=None, dropout_mask=None):
    """dq, dk, dv of heads = softmax(q k^T scale + mask) v;  each [B, H, T, K].

    Work on a block of queries at a time, whose weights stay in the cache, and leave out the keys after the block.
    """
    B, H, T, _ = q.shape
    recorded = weights is not None
    float32 = dheads.dtype == q.dtype == FLOAT32
    if dropout_mask is not None or forked.is_set() or not float32 or (recorded and T > QUERY_BLOCK):
        return plain.attention_backward(dheads, q, k, v, scale, weights, dropout_mask)
    dq, dk, dv = (_empty_heads(q) for _ in range(3))
    parallel_for(partial(_attend_backward, dheads, q, k, v, np.float32(scale), weights, dq, dk, dv), B * H)
    return dq, dk, dv


def _attend_backward(dheads, q, k, v, scale, recorded, dq, dk, dv, first, last):
    """Compute attention_backward of heads first to last, numbered through the batch."""
    H, T = q.shape[1:3]
    step = min(T, QUERY_BLOCK)
    for group in head_groups(first, last, H, 2 * step * T):
        n = dq[group].shape[:2]
        buffers = np.empty((2, math.prod(n) * step * T), np.float32)
        for start in reversed(range(0, T, step)):
            stop = min(start + step, T)  # the block's last query sees the keys before this one
            queries, keys = (*group, slice(start, stop)), (*group, slice(0, stop))
            weights, dscores = (view_of(buffer, (*n, stop - start, stop)) for buffer in buffers)
            if recorded is None:
                np.matmul(q[queries], k[keys].swapaxes(-1, -2), out=weights)
                causal_softmax_kernel(_by_head(weights), start, 0, scale)
            else:
                weights = recorded[group]
            np.matmul(dheads[queries], v[keys].swapaxes(-1, -2), out=dscores)  # dweights, until the next line
            softmax_backward_kernel(_by_head(dscores), _by_head(weights), start, scale)
            np.matmul(dscores, k[keys], out=dq[queries])
            if stop == T:  # The last block sees all keys, so it sets their gradients; the other blocks add to them.
                np.matmul(dscores.swapaxes(-1, -2), q[queries], out=dk[keys])
                np.matmul(weights.swapaxes(-1, -2), dheads[queries], out=dv[keys])
            else:
                dk[keys] += dscores.swapaxes(-1, -2) @ q[queries]
                dv[keys] += weights.swapaxes(-1, -2) @ dheads[queries]


@kernel("void(f4[:,:,::1], f4[:,:,::1], i8, f4)", parallel=False)
def softmax_backward_kernel(dy, y, first, scale):
    """dy = y (dy - sum_j dy_j y_j) scale in place;  dy, y [H, T, S], the queries at positions first, first + 1, ..."""
    for h in range(dy.shape[0]):
        for t in range(dy.shape[1]):
            seen = min(first + t + 1, dy.shape[2])
            dy_row, y_row = dy[h, t, :seen], y[h, t, :seen]
            common = np.float32(0)
            for s in range(dy_row.size):
                common += dy_row[s] * y_row[s]
            for s in range(dy_row.size):
                dy_row[s] = y_row[s] * (dy_row[s] - common) * scale
            dy[h, t, seen:] = 0


def _by_head(scores):
    """[B, H, T, S] -> [B H, T, S]."""
    return scores.reshape(-1, *scores.shape[2:])


def _empty_heads(q):
    """Return an array [B, H, T, K] in the memory order that merge_heads needs."""
    B, H, T, K = q.shape
    return np.empty((B, T, H, K), np.float32).swapaxes(1, 2)
