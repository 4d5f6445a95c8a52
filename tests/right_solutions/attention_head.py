"""Right solutions of attention_head, in the ways that people write it."""

import math

import numpy as np

from right_solutions.softmax import softmax_by_logarithms, softmax_in_float32, softmax_with_keepdims


def head_by_elements(q, k, v):
    T, K = q.shape
    rows = []
    for t in range(T):
        scores = [sum(q[t, i] * k[s, i] for i in range(K)) / math.sqrt(K) for s in range(t + 1)]
        weights = [math.exp(score - max(scores)) for score in scores]
        rows.append([sum(w * v[s, i] for s, w in enumerate(weights)) / sum(weights) for i in range(K)])
    return np.array(rows)


def head_with_where(q, k, v):
    T, K = q.shape
    scores = np.where(np.tri(T, dtype=bool), q @ k.T / np.sqrt(K), -np.inf)
    return softmax_with_keepdims(scores) @ v


def head_with_added_mask(q, k, v):
    scores = np.einsum("ti,si->ts", q, k) * q.shape[1] ** -0.5 + np.triu(np.full((len(q), len(q)), -1e10), 1)
    return np.einsum("ts,si->ti", softmax_by_logarithms(scores), v)


def head_renormalised(q, k, v):
    """Masked after the exp, and divided by what is left: the same fraction."""
    scores = q @ k.T / np.sqrt(q.shape[1])
    highest = np.maximum.accumulate(scores, axis=1).diagonal()[:, None]  # of each row's visible scores
    exps = np.exp(np.minimum(scores - highest, 0)) * np.tri(len(q))
    return exps @ v / exps.sum(axis=1, keepdims=True)


def head_row_by_row_in_float32(q, k, v):
    q, k, v = (x.astype(np.float32) for x in (q, k, v))
    heads = np.empty_like(v)
    for t in range(len(q)):
        heads[t] = softmax_in_float32(k[: t + 1] @ q[t] / np.float32(np.sqrt(q.shape[1]))) @ v[: t + 1]
    return heads


RIGHT = [head_by_elements, head_with_where, head_with_added_mask, head_renormalised, head_row_by_row_in_float32]
