"""Right solutions of induction_score, in the ways that people write it."""

import numpy as np


def induction_score_by_index(weights):
    n = weights.shape[-1] // 2
    return weights[:, np.arange(n, 2 * n), np.arange(1, n + 1)].mean(-1)


def induction_score_in_loops(weights):
    H, T, _ = weights.shape
    scores = []
    for h in range(H):
        total = 0.0
        for t in range(T // 2, T):
            total += weights[h, t, t - T // 2 + 1]
        scores.append(total / (T // 2))
    return scores


def induction_score_by_diagonal(weights):
    n = weights.shape[1] // 2
    return np.diagonal(weights[:, n:, 1:], axis1=1, axis2=2)[:, :n].mean(axis=1)


def induction_score_by_diagonal_with_offset(weights):
    n = weights.shape[1] // 2
    return weights.diagonal(1 - n, 1, 2)[:, 1:].mean(axis=1)


def induction_score_by_mask_in_float32(weights):
    T = weights.shape[1]
    stripe = np.eye(T, k=1 - T // 2, dtype=np.float32)
    stripe[: T // 2] = 0
    return np.einsum("hts,ts->h", weights.astype(np.float32), stripe) / np.float32(T // 2)


RIGHT = [
    induction_score_by_index,
    induction_score_in_loops,
    induction_score_by_diagonal,
    induction_score_by_diagonal_with_offset,
    induction_score_by_mask_in_float32,
]
