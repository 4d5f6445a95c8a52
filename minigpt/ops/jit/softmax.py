"""softmax by a kernel: of any array, and of attention's scores with their causal mask."""

import numpy as np

from minigpt.ops import plain
from minigpt.ops.jit.arrays import is_kernel_ready
from minigpt.ops.jit.compile import ANY_ORDER, inlined, kernel
from minigpt.ops.jit.exp import exp


def softmax(x, axis=-1):
    """softmax(x)_i = exp(x_i) / sum_j exp(x_j) along an axis; any shape."""
    if not is_kernel_ready(x) or axis not in (-1, x.ndim - 1) or not x.size:
        return plain.softmax(x, axis)
    y = x.copy()
    causal_softmax_kernel(y.reshape(1, -1, x.shape[-1]), x.shape[-1], 0, np.float32(1))  # every row sees all of itself
    return y


@inlined(ANY_ORDER | {"nnan"})  # A row with a NaN may get any result, because its softmax is NaN anyway.
def _largest(x):
    largest = np.float32(-np.inf)
    for i in range(x.size):
        largest = max(largest, x[i])
    return largest


@inlined(ANY_ORDER)
def softmax_in_place(x, scale):
    """x = softmax(x scale) of one vector, in place. Return max(x scale) and sum(exp(x scale - max))."""
    for i in range(x.size):
        x[i] *= scale
    largest = _largest(x)
    total = np.float32(0)
    for i in range(x.size):
        power = exp(x[i] - largest)
        x[i] = power
        total += power
    for i in range(x.size):
        x[i] /= total
    return largest, total


@kernel("void(f4[:,:,::1], i8, i8, f4)", parallel=False)
def causal_softmax_kernel(scores, first, padding, scale):
    """softmax(scores scale + mask) in place;  scores [H, T, S], the queries at positions first, first + 1, ...

    The mask costs nothing: a query's loops leave out the keys that it does not see.
    """
    for h in range(scores.shape[0]):
        for t in range(scores.shape[1]):
            seen = min(first + t + 1, scores.shape[2])
            start = min(padding, seen - 1)  # a padding position sees itself
            x = scores[h, t]
            x[:start] = 0
            softmax_in_place(x[start:seen], scale)
            x[seen:] = 0
