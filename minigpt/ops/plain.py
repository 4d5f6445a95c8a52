"""The operations of GPT-2 as formulas.

Everything the forward pass computes is one of these functions. They take and return NumPy arrays, never change their
arguments, and keep the dtype of their input (float32 or float64). Letters as in model.py.
"""

import math

import numpy as np

from minigpt import model
from minigpt.ops.operations import AttentionRun, untapped


def softmax(x, axis=-1):
    """softmax(x)_i = exp(x_i) / sum_j exp(x_j) along an axis; any shape.

    An entry of -inf gets probability 0; a row must have at least one entry above -inf.
    """
    # Subtracting the maximum changes nothing (it cancels) but keeps exp from overflowing.
    exp_x = np.exp(x - x.max(axis=axis, keepdims=True))
    return exp_x / exp_x.sum(axis=axis, keepdims=True)


def gelu_new(x):
    """GELU, approximated with tanh: GPT-2 was trained with this approximation; any shape.

    gelu_new(x) = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))        Hendrycks and Gimpel 2016, section 2
    """
    # x * x * x, because NumPy's x**3 is many times slower.
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x))))


def gelu(x):
    """GELU itself: x times the probability that a standard normal variable is below x; any shape.

    gelu(x) = x/2 (1 + erf(x / sqrt(2)))                               Hendrycks and Gimpel 2016, section 2
    """
    erf = np.frompyfunc(math.erf, 1, 1)  # NumPy has no erf; Python's takes one number at a time
    return 0.5 * x * (1 + np.asarray(erf(x / math.sqrt(2)), x.dtype))


def relu(x):
    """relu(x) = max(x, 0); any shape."""
    return np.maximum(x, 0)


def layer_norm(x, weight, bias, eps=1e-5):
    """Shift every vector to mean 0, scale it to variance 1, then apply the learnt weight and bias.

    layer_norm(x) = (x - mean(x)) / sqrt(var(x) + eps) * weight + bias              Ba, Kiros and Hinton 2016

    x [..., D], weight [D], bias [D] -> [..., D]. Mean and variance (with 1/D) are over the last axis.
    """
    x = x - x.mean(axis=-1, keepdims=True)
    variance = np.square(x).mean(axis=-1, keepdims=True)  # [..., 1]
    # eps inside the root keeps a constant vector, whose variance is 0, from dividing by 0.
    return x / np.sqrt(variance + eps) * weight + bias


def linear(x, weight, bias=None):
    """linear(x) = x weight + bias;  x [..., in], weight [in, out], bias [out] -> [..., out]."""
    # One matrix product for all rows of the batch reads the weights once, not once per sequence.
    y = (x.reshape(-1, x.shape[-1]) @ weight).reshape(*x.shape[:-1], weight.shape[1])
    return y if bias is None else y + bias


def attention(q, k, v, scale=None, padding=None, tap=untapped):
    """Causal attention of every head: the formula of minigpt.model.attention, with arguments in place of a run.

    attention(q, k, v) = softmax(q k^T scale + mask) v              Vaswani et al. 2017, section 3.2.1

    q [B, H, T, K] are the last T of S positions; k, v [B, H, S, K] -> [B, H, T, K]. scale defaults to 1/sqrt(K): for
    independent q and k of variance 1 the scores then have variance 1, whatever K is. padding [B]: see causal_mask. tap
    receives "scores" (before the mask) and "weights", both [B, H, T, S], see minigpt/trace.py.
    """
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    return model.attention(q, k, v, AttentionRun(scale, padding, softmax, tap))
