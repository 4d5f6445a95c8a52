"""Right solutions of attention, in the ways that people write it."""

import numpy as np

from right_solutions.attention_head import head_by_elements, head_renormalised
from right_solutions.softmax import softmax_of_columns, softmax_with_keepdims


def of_every_head(head):
    """attention by a function for one head."""

    def attention(q, k, v):
        return np.array([[head(q[b, h], k[b, h], v[b, h]) for h in range(q.shape[1])] for b in range(q.shape[0])])

    return attention


def attention_vectorised(q, k, v):
    T, K = q.shape[2:]
    scores = q @ k.transpose(0, 1, 3, 2) / np.sqrt(K)
    scores[..., ~np.tri(T, dtype=bool)] = -np.inf
    return softmax_with_keepdims(scores) @ v


def attention_by_einsum(q, k, v):
    scores = np.einsum("bhti,bhsi->bhts", q, k) / q.shape[-1] ** 0.5
    scores = scores + np.where(np.tri(q.shape[2]), 0, -1e9)
    return np.einsum("bhts,bhsi->bhti", softmax_of_columns(scores), v)


def attention_online_in_float32(q, k, v):
    """One key after the other, with the running maximum and sum of its softmax, as FlashAttention does."""
    q, k, v = (x.astype(np.float32) for x in (q, k, v))
    B, H, T, K = q.shape
    highest = np.full((B, H, T, 1), -np.inf, np.float32)
    total, heads = np.zeros_like(highest), np.zeros_like(v)
    for s in range(T):
        score = (q @ k[:, :, s, :, None]) * np.float32(K**-0.5)
        score[:, :, :s] = -np.inf
        new = np.maximum(highest, score)
        with np.errstate(invalid="ignore"):
            kept, weight = np.nan_to_num(np.exp(highest - new)), np.nan_to_num(np.exp(score - new))
        total, heads, highest = total * kept + weight, heads * kept + weight * v[:, :, s, None], new
    return heads / total


RIGHT = [
    of_every_head(head_by_elements),
    attention_vectorised,
    attention_by_einsum,
    of_every_head(head_renormalised),
    attention_online_in_float32,
]
