"""Right solutions of merge_heads, in the ways that people write it."""

import numpy as np


def merge_by_elements(x):
    B, H, T, K = x.shape
    out = np.zeros((B, T, H * K))
    for b, h, t, k in np.ndindex(*x.shape):
        out[b, t, h * K + k] = x[b, h, t, k]
    return out


def merge_by_reshape(x):
    B, H, T, K = x.shape
    return x.transpose(0, 2, 1, 3).reshape(B, T, H * K)


def merge_by_concatenation(x):
    return np.concatenate([x[:, h] for h in range(x.shape[1])], axis=-1)


def merge_in_float32(x):
    return np.array([[np.hstack(token) for token in np.moveaxis(text, 1, 0)] for text in x], dtype=np.float32)


RIGHT = [merge_by_elements, merge_by_reshape, merge_by_concatenation, merge_in_float32]
