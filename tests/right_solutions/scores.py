"""Right solutions of scores, in the ways that people write it."""

import itertools
import math

import numpy as np


def scores_by_elements(q, k):
    T, K = q.shape
    result = np.zeros((T, T))
    for t, s in itertools.product(range(T), range(T)):
        result[t, s] = sum(q[t, i] * k[s, i] for i in range(K)) / math.sqrt(K)
    return result


def scores_by_product(q, k):
    return q @ k.T / np.sqrt(q.shape[-1])


def scores_by_einsum(q, k):
    return np.einsum("ti,si->ts", q * k.shape[1] ** -0.25, k * k.shape[1] ** -0.25)


def scores_in_float32(q, k):
    q, k = q.astype("float32"), k.astype("float32")
    return (q[:, None] * k).sum(axis=-1) / np.float32(math.sqrt(q.shape[1]))


RIGHT = [scores_by_elements, scores_by_product, scores_by_einsum, scores_in_float32]
