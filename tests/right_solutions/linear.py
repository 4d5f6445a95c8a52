"""Right solutions of linear, in the ways that people write it."""

import numpy as np


def linear_by_elements(x, weight, bias):
    if x.ndim > 1:
        return np.array([linear_by_elements(row, weight, bias) for row in x])
    return np.array([bias[o] + sum(x[i] * weight[i, o] for i in range(len(x))) for o in range(len(bias))])


def linear_by_product(x, weight, bias):
    return x @ weight + bias


def linear_by_einsum(x, weight, bias):
    return np.einsum("...i,io->...o", x, weight) + bias


def linear_with_bias_as_a_weight(x, weight, bias):
    with_1 = np.concatenate([x, np.ones((*x.shape[:-1], 1))], axis=-1)
    return with_1 @ np.vstack([weight, bias])


def linear_in_float32(x, weight, bias):
    y = np.tensordot(x.astype(np.float32), weight.astype(np.float32), axes=1)
    y += bias.astype(np.float32)
    return y


RIGHT = [linear_by_elements, linear_by_product, linear_by_einsum, linear_with_bias_as_a_weight, linear_in_float32]
