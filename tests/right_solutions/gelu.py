"""Right solutions of gelu, in the ways that people write it."""

import math

import numpy as np


def gelu_by_elements(x):
    out = np.empty(x.shape)
    for place, value in np.ndenumerate(x):
        u = math.sqrt(2 / math.pi) * (value + 0.044715 * value**3)
        out[place] = value / 2 * (1 + math.tanh(u))
    return out


def gelu_vectorised(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * np.power(x, 3))))


def gelu_by_the_logistic_function(x):
    """(1 + tanh(u)) / 2 = 1 / (1 + exp(-2 u))"""
    return x / (1 + np.exp(-2 * np.sqrt(2 / np.pi) * x * (1 + 0.044715 * x * x)))


def gelu_in_float32(x):
    x = x.astype(np.float32)
    return np.float32(0.5) * x * (1 + np.tanh(np.float32(0.7978846) * (x + np.float32(0.044715) * x * x * x)))


RIGHT = [gelu_by_elements, gelu_vectorised, gelu_by_the_logistic_function, gelu_in_float32]
