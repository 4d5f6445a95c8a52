"""The backward of layer_norm by a kernel."""

import numpy as np

from minigpt.ops.jit.arrays import is_kernel_ready
from minigpt.ops.jit.compile import kernel
from minigpt.ops.jit.parallel import parallel_for_rows
from minigpt.training import backward as plain


def layer_norm_backward(dy, x, weight, dweight, dbias, eps=1e-5):
    """dx = (dn - mean(dn) - n mean(dn n)) / s, dn = dy weight. Adds the sum of dy n to dweight, of dy to dbias."""
    if not (is_kernel_ready(dy) and is_kernel_ready(x) and is_kernel_ready(weight)):
        return plain.layer_norm_backward(dy, x, weight, dweight, dbias, eps)
    dx = np.empty_like(x)
    rows = [array.reshape(-1, x.shape[-1]) for array in (dy, x, dx)]
    sums = {}  # Each core has its own; they are added in the order of the rows, so that the result is always the same.

    def work(dy, x, dx, places):
        sums[places[0]] = np.zeros((2, x.shape[1]), np.float32)
        layer_norm_backward_kernel(dy, x, weight, np.float32(eps), dx, sums[places[0]])

    parallel_for_rows(work, *rows, np.arange(len(rows[0])))
    for first in sorted(sums):
        dweight += sums[first][0]
        dbias += sums[first][1]
    return dx


@kernel("void(f4[:,::1], f4[:,::1], f4[::1], f4, f4[:,::1], f4[:,::1])", parallel=False)
def layer_norm_backward_kernel(dy, x, weight, eps, dx, sums):
    """Four passes over each vector, which stays in the cache. Adds to sums [2, D], those of dweight and of dbias."""
    rows, D = x.shape
    dweight, dbias = sums[0], sums[1]
    for row in range(rows):
        mean = variance = np.float32(0)
        for i in range(D):
            mean += x[row, i]
        mean /= np.float32(D)
        for i in range(D):
            variance += (x[row, i] - mean) * (x[row, i] - mean)
        s = np.sqrt(variance / np.float32(D) + eps)
        mean_dn = mean_dn_n = np.float32(0)
        for i in range(D):
            n = (x[row, i] - mean) / s
            dweight[i] += dy[row, i] * n
            dbias[i] += dy[row, i]
            mean_dn += dy[row, i] * weight[i]
            mean_dn_n += dy[row, i] * weight[i] * n
        mean_dn /= np.float32(D)
        mean_dn_n /= np.float32(D)
        for i in range(D):
            n = (x[row, i] - mean) / s
            dx[row, i] = (dy[row, i] * weight[i] - mean_dn - n * mean_dn_n) / s
