"""AdamW by a kernel."""

import math

import numpy as np

from minigpt.ops.jit.arrays import is_kernel_ready
from minigpt.ops.jit.compile import FIXED_ORDER, kernel
from minigpt.ops.jit.parallel import parallel_for
from minigpt.training import adamw as plain

CHUNK_SIZE = 2**18  # numbers of a parameter that one core updates at a time


def adamw_update_all(parameters, lr, betas, eps, t):
    """One step of AdamW for every (p, g, m, v, weight_decay), in place; see minigpt/training/adamw.py.

    The cores share the parameters, large ones in chunks: waking them for each parameter would cost a small model more
    than it saves.
    """
    beta1, beta2 = betas
    chunks = []
    for p, g, m, v, weight_decay in parameters:
        arrays = _flat_views(p, g, m, v)
        if arrays is None:
            plain.adamw_update(p, g, m, v, lr, betas, eps, weight_decay, t)
            continue
        factors = (1 - beta1, beta2, 1 - lr * weight_decay, lr / (1 - beta1**t), 1 / math.sqrt(1 - beta2**t), eps)
        factors = np.array(factors, np.float32)
        for start in range(0, p.size, CHUNK_SIZE):
            chunks.append([*(array[start : start + CHUNK_SIZE] for array in arrays), factors])

    def work(first, last):
        for chunk in chunks[first:last]:
            adamw_kernel(*chunk)

    parallel_for(work, len(chunks))


def _flat_views(p, *others):
    """Return views of the arrays as vectors in memory order, or None if their orders differ or no kernel takes them."""
    if not p.flags.forc or any(p.shape != array.shape or p.strides != array.strides for array in others):
        return None
    views = [array.ravel(order="K") for array in (p, *others)]
    return views if all(is_kernel_ready(view) for view in views) else None


@kernel("void(f4[::1], f4[::1], f4[::1], f4[::1], f4[::1])", parallel=False, fastmath=FIXED_ORDER)
def adamw_kernel(p, g, m, v, factors):
    """One pass: each number is read and written once, where NumPy goes through memory with every operation."""
    new1, beta2, keep, step, correction, eps = factors
    for i in range(p.size):
        m[i] += new1 * (g[i] - m[i])
        v[i] = beta2 * v[i] + (np.float32(1) - beta2) * (g[i] * g[i])
        p[i] = keep * p[i] - step * m[i] / (np.sqrt(v[i]) * correction + eps)
