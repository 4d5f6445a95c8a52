"""Products with weights in bfloat16: half the bytes of float32."""

import numpy as np
from numba import prange

from minigpt.ops.jit.compile import ANY_ORDER, inlined, kernel
from minigpt.ops.jit.parallel import run_on_all_cores


def multiply_bfloat16(x, weight, bias, y):
    """y = x weight + bias, weight a BFloat16Matrix. Return False if the kernel does not apply."""
    if not weight.is_transposed or len(weight) % 2:
        return False
    pairs = weight.stored.view(np.uint32)
    return run_on_all_cores(multiply_bfloat16_kernel, x, pairs, bias, y)


@inlined(ANY_ORDER)
def _upper(pair):
    return np.uint32(pair & np.uint32(0xFFFF0000)).view(np.float32)


@inlined(ANY_ORDER)
def _lower(pair):
    return np.uint32(pair << np.uint32(16)).view(np.float32)


@kernel("b1(f4[:,::1], u4[:,::1], f4[::1], f4[:,::1])")
def multiply_bfloat16_kernel(vectors, weights, bias, y):
    """multiply_kernel for bfloat16: vectors [R, in], weights [out, in / 2] of pairs, bias [out] or empty -> y [R, out].

    A shift and a mask split a pair in a register. The vectors' even and odd elements are separated once, beforehand.
    """
    R, n_pairs = len(vectors), weights.shape[1]
    x = np.empty((R, 2, n_pairs), np.float32)
    for r in range(R):
        for i in range(n_pairs):
            x[r, 0, i], x[r, 1, i] = vectors[r, 2 * i], vectors[r, 2 * i + 1]
    for o in prange(weights.shape[0]):
        w = weights[o]
        b = bias[o] if bias.size else np.float32(0)
        for r in range(0, R - R % 4, 4):
            x0, x1, x2, x3 = x[r], x[r + 1], x[r + 2], x[r + 3]
            s0 = s1 = s2 = s3 = np.float32(0)
            for i in range(n_pairs):
                low, high = _lower(w[i]), _upper(w[i])
                s0 += x0[0, i] * low + x0[1, i] * high
                s1 += x1[0, i] * low + x1[1, i] * high
                s2 += x2[0, i] * low + x2[1, i] * high
                s3 += x3[0, i] * low + x3[1, i] * high
            y[r, o], y[r + 1, o], y[r + 2, o], y[r + 3, o] = s0 + b, s1 + b, s2 + b, s3 + b
        for r in range(R - R % 4, R):
            s = np.float32(0)
            for i in range(n_pairs):
                s += x[r, 0, i] * _lower(w[i]) + x[r, 1, i] * _upper(w[i])
            y[r, o] = s + b
    return True


@kernel("void(u2[:,::1], f4[:,::1])", parallel=False)
def unpack_bfloat16_kernel(stored, out):
    """Set out[o, i] to the float32 whose upper half is stored[o, i], in one pass over memory."""
    for o in range(stored.shape[0]):
        for i in range(stored.shape[1]):
            out[o, i] = np.uint32(np.uint32(stored[o, i]) << np.uint32(16)).view(np.float32)
