"""Right solutions of softmax, in the ways that people write it."""

import math

import numpy as np


def softmax_by_elements(x):
    if x.ndim > 1:
        return np.array([softmax_by_elements(row) for row in x])
    highest = max(x)
    exps = [math.exp(value - highest) for value in x]
    return np.array([value / sum(exps) for value in exps])


def softmax_with_keepdims(x):
    shifted = x - np.max(x, axis=-1, keepdims=True)
    return np.exp(shifted) / np.sum(np.exp(shifted), axis=-1, keepdims=True)


def softmax_by_logarithms(x):
    return np.exp(x - np.logaddexp.reduce(x, axis=-1)[..., None])


def softmax_of_columns(x):
    columns = np.moveaxis(x, -1, 0)
    exps = np.exp(columns - columns.max(axis=0))
    return np.moveaxis(exps / exps.sum(axis=0), 0, -1)


def softmax_in_float32(x):
    x = x.astype(np.float32)
    exps = np.exp(x - x.max(-1, keepdims=True))
    return exps / exps.sum(-1, keepdims=True)


def softmax_by_logarithms_in_float32(x):
    return softmax_by_logarithms(x.astype(np.float32))


def softmax_by_differences(x):
    """1 / sum_j exp(x_j - x_i): one fraction less, and every exp that overflows gives 1 / inf = 0."""
    with np.errstate(invalid="ignore"):
        differences = x[..., None, :] - x[..., :, None]
    differences = np.where(np.isneginf(x)[..., :, None], np.inf, differences)
    return 1 / np.exp(differences).sum(axis=-1)


RIGHT = [
    softmax_by_elements,
    softmax_with_keepdims,
    softmax_by_logarithms,
    softmax_by_logarithms_in_float32,
    softmax_of_columns,
    softmax_by_differences,
    softmax_in_float32,
]
