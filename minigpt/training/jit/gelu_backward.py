"""The backward of gelu_new and gelu by kernels; that of relu stays NumPy's."""

import math

import numpy as np

from minigpt.ops.jit.arrays import is_kernel_ready
from minigpt.ops.jit.compile import FIXED_ORDER, kernel
from minigpt.ops.jit.exp import exp
from minigpt.ops.jit.parallel import parallel_for_rows
from minigpt.training import backward as plain

relu_backward = plain.relu_backward  # NumPy needs one pass over memory: there is nothing to gain.


def gelu_new_backward(dy, x):
    """y = x g with g = (1 + tanh(u))/2 = 1 / (1 + exp(-2 u));  dx = dy (g + x 2 g (1 - g) u')."""
    if not (is_kernel_ready(dy) and is_kernel_ready(x)):
        return plain.gelu_new_backward(dy, x)
    return _elementwise(gelu_new_backward_kernel, dy, x)


@kernel("void(f4[::1], f4[::1], f4[::1])", parallel=False, fastmath=FIXED_ORDER)
def gelu_new_backward_kernel(dy, x, dx):
    """One pass over memory, without a call for exp, where NumPy makes an array of every step."""
    for i in range(x.size):
        square = x[i] * x[i]
        u = np.float32(0.7978845608) * x[i] * (np.float32(1) + np.float32(0.044715) * square)
        slope = np.float32(0.7978845608) * (np.float32(1) + np.float32(0.134145) * square)
        g = np.float32(1) / (np.float32(1) + exp(np.float32(-2) * u))
        dx[i] = dy[i] * (g + x[i] * np.float32(2) * g * (np.float32(1) - g) * slope)


def gelu_backward(dy, x):
    """y = x P(x);  dx = dy (P(x) + x p(x)), P the normal distribution and p its density."""
    if not (is_kernel_ready(dy) and is_kernel_ready(x)):
        return plain.gelu_backward(dy, x)
    return _elementwise(gelu_backward_kernel, dy, x)


@kernel("void(f4[::1], f4[::1], f4[::1])", parallel=False, fastmath=FIXED_ORDER)
def gelu_backward_kernel(dy, x, dx):
    """One pass over memory, with the erf of the C library; NumPy has none."""
    for i in range(x.size):
        below = np.float32(0.5) * (np.float32(1) + math.erf(x[i] * np.float32(0.7071067812)))
        density = np.float32(0.3989422804) * exp(np.float32(-0.5) * x[i] * x[i])
        dx[i] = dy[i] * (below + x[i] * density)


def _elementwise(elementwise_kernel, dy, x):
    dx = np.empty_like(x)
    parallel_for_rows(elementwise_kernel, dy.reshape(-1), x.reshape(-1), dx.reshape(-1))
    return dx
