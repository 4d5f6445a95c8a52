"""gelu_new and gelu by kernels; relu stays NumPy's."""

import math

import numpy as np

from minigpt.ops import plain
from minigpt.ops.jit.arrays import is_kernel_ready
from minigpt.ops.jit.compile import FIXED_ORDER, kernel
from minigpt.ops.jit.exp import exp
from minigpt.ops.jit.parallel import parallel_for_rows

relu = plain.relu  # NumPy needs one pass over memory: there is nothing to gain.


def gelu_new(x):
    """gelu_new(x) = x/2 (1 + tanh(u)) = x / (1 + exp(-2 u)),  u = sqrt(2/pi) (x + 0.044715 x^3); any shape."""
    return _elementwise(gelu_new_kernel, x) if is_kernel_ready(x) else plain.gelu_new(x)


@kernel("void(f4[::1], f4[::1])", parallel=False, fastmath=FIXED_ORDER)
def gelu_new_kernel(x, y):
    """y = gelu_new(x) in one pass over memory, where NumPy makes nine, and without a call for exp."""
    for i in range(x.size):
        u = np.float32(0.7978845608) * (x[i] + np.float32(0.044715) * (x[i] * x[i] * x[i]))
        y[i] = x[i] / (np.float32(1) + exp(np.float32(-2) * u))


def gelu(x):
    """gelu(x) = x/2 (1 + erf(x / sqrt(2))); any shape."""
    return _elementwise(gelu_kernel, x) if is_kernel_ready(x) else plain.gelu(x)


@kernel("void(f4[::1], f4[::1])", parallel=False, fastmath=FIXED_ORDER)
def gelu_kernel(x, y):
    """y = gelu(x) with the erf of the C library; plain.gelu has only Python's, one number at a time."""
    for i in range(x.size):
        y[i] = np.float32(0.5) * x[i] * (np.float32(1) + math.erf(x[i] * np.float32(0.7071067812)))


def _elementwise(elementwise_kernel, x):
    y = np.empty_like(x)
    parallel_for_rows(elementwise_kernel, x.reshape(-1), y.reshape(-1))
    return y
