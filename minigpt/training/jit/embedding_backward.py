"""The backward of the embedding by a kernel."""

import numpy as np

from minigpt.ops.jit.arrays import is_kernel_ready
from minigpt.ops.jit.compile import kernel
from minigpt.training import backward as plain


def embedding_backward(dx, ids, dwte, dwpe):
    """x[b, t] = wte[ids[b, t]] + wpe[t]. Adds to dwte and dwpe."""
    if not (is_kernel_ready(dx) and is_kernel_ready(dwte)):
        return plain.embedding_backward(dx, ids, dwte, dwpe)
    add_rows_kernel(dx.reshape(-1, dx.shape[-1]), np.ascontiguousarray(ids, np.int64).reshape(-1), dwte)
    dwpe[: ids.shape[1]] += dx.sum(axis=0)


@kernel("void(f4[:,::1], i8[::1], f4[:,::1])", parallel=False)
def add_rows_kernel(rows, ids, out):
    """out[ids[r]] += rows[r] for every r, in order: np.add.at, without its cost per number."""
    for r in range(ids.size):
        row, out_row = rows[r], out[ids[r]]
        for i in range(row.size):
            out_row[i] += row[i]
