"""The backward of linear: BLAS's products, shared among the cores."""

import numpy as np

from minigpt.ops.jit.arrays import is_kernel_ready
from minigpt.ops.jit.parallel import parallel_for
from minigpt.training import backward as plain

GRADIENT_ROWS = 512  # rows of dweight to compute and add at a time; with fewer, BLAS is slower


def linear_backward(dy, x, weight, dweight, dbias=None):
    """dx = dy weight^T. Adds x^T dy to dweight, and the sum of dy's rows to dbias.

    Each core computes its share of the columns of dx, of dbias and of the rows of dweight, which are contiguous in
    memory; those of dweight^T are where weight is the transpose of the embeddings.
    """
    is_turned = not is_kernel_ready(dweight)
    if not (is_kernel_ready(dy) and is_kernel_ready(x) and is_kernel_ready(dweight.T if is_turned else dweight)):
        return plain.linear_backward(dy, x, weight, dweight, dbias)
    n_in, n_out = weight.shape
    dy_rows, x_rows = dy.reshape(-1, n_out), x.reshape(-1, n_in)
    dx = np.empty_like(x_rows)
    # dweight = x^T dy, or dweight^T = dy^T x
    total, left, right = (dweight.T, dy_rows, x_rows) if is_turned else (dweight, x_rows, dy_rows)

    def work(first, last):
        np.matmul(dy_rows, weight[first:last].T, out=dx[:, first:last])
        outputs = slice(first * n_out // n_in, last * n_out // n_in)
        if dbias is not None:
            dbias[outputs] += dy_rows[:, outputs].sum(axis=0)
        first, last = first * len(total) // n_in, last * len(total) // n_in
        for start in range(first, last, GRADIENT_ROWS):
            rows = slice(start, min(start + GRADIENT_ROWS, last))
            total[rows] += left[:, rows].T @ right

    parallel_for(work, n_in)
    return dx.reshape(x.shape)
