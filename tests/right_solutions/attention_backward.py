"""Right solutions of attention_backward, in the ways that people write it."""

import math

import numpy as np

from minigpt.ops.plain import softmax
from minigpt.training.backward import softmax_backward


def attention_backward_with_minigpt(dheads, q, k, v):
    T, K = q.shape[2:]
    scores = q @ k.transpose(0, 1, 3, 2) / np.sqrt(K)
    weights = softmax(np.where(np.tril(np.ones((T, T), bool)), scores, -np.inf))
    dv = weights.transpose(0, 1, 3, 2) @ dheads
    dscores = softmax_backward(dheads @ v.transpose(0, 1, 3, 2), weights) / np.sqrt(K)
    return dscores @ k, dscores.transpose(0, 1, 3, 2) @ q, dv


def attention_backward_with_einsum(dheads, q, k, v):
    T, K = q.shape[2:]
    scores = np.einsum("bhtk,bhsk->bhts", q, k) / K**0.5 + np.triu(np.full((T, T), -1e30), 1)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    dweights = np.einsum("bhtk,bhsk->bhts", dheads, v)
    # sum_s weights dweights is heads dheads: what the softmax takes away.
    heads = np.einsum("bhts,bhsk->bhtk", weights, v)
    dscores = weights * (dweights - (heads * dheads).sum(-1, keepdims=True)) / K**0.5
    return (
        np.einsum("bhts,bhsk->bhtk", dscores, k),
        np.einsum("bhts,bhtk->bhsk", dscores, q),
        np.einsum("bhts,bhtk->bhsk", weights, dheads),
    )


def attention_backward_in_loops(dheads, q, k, v):
    B, H, T, K = q.shape
    dq, dk, dv = np.zeros(q.shape), np.zeros(q.shape), np.zeros(q.shape)
    for b in range(B):
        for h in range(H):
            for t in range(T):
                scores = [sum(q[b, h, t] * k[b, h, s]) / math.sqrt(K) for s in range(t + 1)]
                exp = [math.exp(score - max(scores)) for score in scores]
                weights = [e / sum(exp) for e in exp]
                dweights = [sum(dheads[b, h, t] * v[b, h, s]) for s in range(t + 1)]
                common = sum(w * dw for w, dw in zip(weights, dweights, strict=True))
                for s in range(t + 1):
                    dscore = weights[s] * (dweights[s] - common) / math.sqrt(K)
                    dq[b, h, t] += dscore * k[b, h, s]
                    dk[b, h, s] += dscore * q[b, h, t]
                    dv[b, h, s] += weights[s] * dheads[b, h, t]
    return dq, dk, dv


def attention_backward_in_float32(dheads, q, k, v):
    return attention_backward_with_einsum(*(array.astype(np.float32) for array in (dheads, q, k, v)))


RIGHT = [
    attention_backward_with_minigpt,
    attention_backward_with_einsum,
    attention_backward_in_loops,
    attention_backward_in_float32,
]
