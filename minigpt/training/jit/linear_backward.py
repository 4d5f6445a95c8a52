"""The backward of linear: BLAS's products, shared among the cores."""

import numpy as np

from minigpt.ops.jit.arrays import is_kernel_ready
from minigpt.ops.jit.parallel import parallel_for
from minigpt.training import backward as plain

GRADIENT_ROWS = 512  # rows of dweight^T to compute and add at a time; with fewer, BLAS is slower


def linear_backward(dy, x, weight, dweight, dbias=None):
    """dx = dy weight^T. Adds x^T dy to dweight, and the sum of dy's rows to dbias.

    Each core computes its share of the columns of dx and of the rows of dweight^T, which are contiguous in memory.
    """
    if not (is_kernel_ready(dy) and is_kernel_ready(x) and is_kernel_ready(weight.T) and is_kernel_ready(dweight.T)):
        return plain.linear_backward(dy, x, weight, dweight, dbias)
    n_in, n_out = weight.shape
    dy_rows, x_rows = dy.reshape(-1, n_out), x.reshape(-1, n_in)
    dx = np.empty_like(x_rows)

    def work(first, last):
        np.matmul(dy_rows, weight[first:last].T, out=dx[:, first:last])
        first, last = first * n_out // n_in, last * n_out // n_in
        for start in range(first, last, GRADIENT_ROWS):
            rows = slice(start, min(start + GRADIENT_ROWS, last))
            dweight.T[rows] += dy_rows[:, rows].T @ x_rows
        if dbias is not None:
            dbias[first:last] += dy_rows[:, first:last].sum(axis=0)

    parallel_for(work, n_in)
    return dx.reshape(x.shape)
