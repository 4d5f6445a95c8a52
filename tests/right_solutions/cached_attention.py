"""Right solutions of cached_attention, in the ways that people write it."""

import math

import numpy as np

from minigpt.model import causal_mask
from minigpt.ops.plain import softmax


def cached_attention_in_numpy(q, k, v, k_cache, v_cache):
    k, v = np.concatenate([k_cache, k], axis=1), np.concatenate([v_cache, v], axis=1)
    T, S = q.shape[1], k.shape[1]
    scores = q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[2])
    scores += np.triu(np.full((T, S), -np.inf), k=S - T + 1)
    weights = np.exp(scores - scores.max(axis=2, keepdims=True))
    return weights / weights.sum(axis=2, keepdims=True) @ v, k, v


def cached_attention_in_loops(q, k, v, k_cache, v_cache):
    H, T, K = q.shape
    P = k_cache.shape[1]
    all_k, all_v = np.zeros((H, P + T, K)), np.zeros((H, P + T, K))
    heads = np.zeros((H, T, K))
    for h in range(H):
        for s in range(P + T):
            all_k[h, s] = k_cache[h, s] if s < P else k[h, s - P]
            all_v[h, s] = v_cache[h, s] if s < P else v[h, s - P]
        for t in range(T):
            scores = [float(q[h, t] @ all_k[h, s]) / math.sqrt(K) for s in range(P + t + 1)]
            weights = [math.exp(score - max(scores)) for score in scores]
            for s, weight in enumerate(weights):
                heads[h, t] += weight / sum(weights) * all_v[h, s]
    return heads, all_k, all_v


def cached_attention_with_minigpt(q, k, v, k_cache, v_cache):
    k, v = np.hstack([k_cache, k]), np.hstack([v_cache, v])
    scores = np.einsum("htk,hsk->hts", q, k) * q.shape[-1] ** -0.5
    mask = causal_mask(q.shape[1], k.shape[1])
    return np.einsum("hts,hsk->htk", softmax(np.where(mask, scores, -np.inf)), v), k, v


def cached_attention_token_by_token(q, k, v, k_cache, v_cache):
    heads = []
    for t in range(q.shape[1]):
        k_cache = np.append(k_cache, k[:, t : t + 1], axis=1)
        v_cache = np.append(v_cache, v[:, t : t + 1], axis=1)
        scores = (k_cache * q[:, t : t + 1]).sum(axis=-1) / q.shape[-1] ** 0.5
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        heads.append((weights[..., None] * v_cache).sum(axis=1) / weights.sum(axis=-1, keepdims=True))
    return np.stack(heads, axis=1), k_cache, v_cache


def cached_attention_in_float32(q, k, v, k_cache, v_cache):
    q, k, v, k_cache, v_cache = (array.astype(np.float32) for array in (q, k, v, k_cache, v_cache))
    k, v = np.append(k_cache, k, axis=1), np.append(v_cache, v, axis=1)
    visible = np.tri(q.shape[1], k.shape[1], k_cache.shape[1], dtype=bool)
    scores = np.where(visible, q @ k.mT / math.sqrt(q.shape[-1]), -np.inf)
    exp = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exp / exp.sum(axis=-1, keepdims=True) @ v, k, v


RIGHT = [
    cached_attention_in_numpy,
    cached_attention_in_loops,
    cached_attention_with_minigpt,
    cached_attention_token_by_token,
    cached_attention_in_float32,
]
