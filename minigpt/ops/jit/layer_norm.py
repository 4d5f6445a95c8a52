"""layer_norm by a kernel."""

import numpy as np

from minigpt.ops import plain
from minigpt.ops.jit.arrays import is_kernel_ready
from minigpt.ops.jit.compile import kernel
from minigpt.ops.jit.parallel import parallel_for_rows


def layer_norm(x, weight, bias, eps=1e-5):
    """layer_norm(x) = (x - mean(x)) / sqrt(var(x) + eps) * weight + bias;  x [..., D], weight, bias [D] -> [..., D]."""
    if not (is_kernel_ready(x) and is_kernel_ready(weight) and is_kernel_ready(bias)):
        return plain.layer_norm(x, weight, bias, eps)
    y = np.empty_like(x)
    x_rows, y_rows = x.reshape(-1, x.shape[-1]), y.reshape(-1, x.shape[-1])
    eps = np.float32(eps)
    parallel_for_rows(lambda x, y: layer_norm_kernel(x, weight, bias, eps, y), x_rows, y_rows)
    return y


@kernel("void(f4[:,::1], f4[::1], f4[::1], f4, f4[:,::1])", parallel=False)
def layer_norm_kernel(x, weight, bias, eps, y):
    """layer_norm of every row of x [R, D] -> y [R, D].

    Three passes over each vector, which stays in the cache; NumPy makes an array of all vectors at each step.
    """
    rows, D = x.shape
    for row in range(rows):
        mean = np.float32(0)
        for i in range(D):
            mean += x[row, i]
        mean /= np.float32(D)
        variance = np.float32(0)
        for i in range(D):
            variance += (x[row, i] - mean) * (x[row, i] - mean)
        deviation = np.sqrt(variance / np.float32(D) + eps)
        for i in range(D):
            y[row, i] = (x[row, i] - mean) / deviation * weight[i] + bias[i]
