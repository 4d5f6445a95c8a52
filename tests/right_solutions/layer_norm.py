"""Right solutions of layer_norm, in the ways that people write it."""

import math

import numpy as np


def norm_by_elements(x, weight, bias, eps):
    if x.ndim > 1:
        return np.array([norm_by_elements(row, weight, bias, eps) for row in x])
    mean = sum(x) / len(x)
    variance = sum((value - mean) ** 2 for value in x) / len(x)
    return np.array([(x[i] - mean) / math.sqrt(variance + eps) * weight[i] + bias[i] for i in range(len(x))])


def norm_with_var(x, weight, bias, eps):
    mean, variance = x.mean(axis=-1, keepdims=True), x.var(axis=-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + eps) * weight + bias


def norm_by_mean_of_squares(x, weight, bias, eps):
    """var(x) = mean(x^2) - mean(x)^2"""
    mean = np.mean(x, -1)[..., None]
    variance = np.mean(x * x, -1)[..., None] - mean**2
    return weight * (x - mean) * (variance + eps) ** -0.5 + bias


def norm_by_product(x, weight, bias, eps):
    """The mean subtracted by a matrix, as it is linear."""
    D = x.shape[-1]
    centred = x @ (np.eye(D) - np.full((D, D), 1 / D))
    length = np.sqrt(np.einsum("...d,...d->...", centred, centred) / D + eps)
    return np.einsum("...d,...,d->...d", centred, 1 / length, weight) + bias


def norm_in_float32(x, weight, bias, eps):
    x, weight, bias = (array.astype(np.float32) for array in (x, weight, bias))
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + np.float32(eps)) * weight + bias


RIGHT = [norm_by_elements, norm_with_var, norm_by_mean_of_squares, norm_by_product, norm_in_float32]
