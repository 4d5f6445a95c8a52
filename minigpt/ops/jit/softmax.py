"""softmax by a kernel: of any array, and of attention's scores with their causal mask."""

import numpy as np
from numba import types
from numba.extending import intrinsic

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


@intrinsic
def _larger(typing_context, a, b):
    """Return the larger of two floats, or any number if one is NaN. LLVM vectorises this, but not Numba's max."""

    def generate(context, builder, signature, arguments):
        is_larger = builder.fcmp_ordered(">", *arguments, flags=("nnan", "nsz"))
        return builder.select(is_larger, *arguments, flags=("nnan", "nsz"))

    return types.float32(types.float32, types.float32), generate


@inlined(ANY_ORDER)  # A row with a NaN may get any result, because its softmax is NaN anyway.
def _largest(x):
    largest = np.float32(-np.inf)
    for i in range(x.size):
        largest = _larger(largest, x[i])
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


@inlined(ANY_ORDER)
def causal_softmax_row(x, position, padding, scale):
    """x = softmax(x scale + mask) of one query's scores, in place. The query stands at `position` among the keys.

    The mask costs nothing: the loops leave out the keys that the query does not see.
    """
    seen = min(position + 1, x.size)
    start = min(padding, seen - 1)  # a padding position sees itself
    x[:start] = 0
    softmax_in_place(x[start:seen], scale)
    x[seen:] = 0


@kernel("void(f4[:,:,::1], i8, i8, f4)", parallel=False)
def causal_softmax_kernel(scores, first, padding, scale):
    """softmax(scores scale + mask) in place;  scores [H, T, S], the queries at positions first, first + 1, ..."""
    for h in range(scores.shape[0]):
        for t in range(scores.shape[1]):
            causal_softmax_row(scores[h, t], first + t, padding, scale)
