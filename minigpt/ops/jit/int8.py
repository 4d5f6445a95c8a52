"""Products with weights in 8 bits: a quarter of the bytes of float32."""

import numpy as np
from numba import prange

from minigpt.ops.jit.compile import ANY_ORDER, inlined, kernel
from minigpt.ops.jit.parallel import run_on_all_cores


def multiply_int8(x, weight, bias, y):
    """y = x weight + bias, weight an Int8Matrix. Return False if the kernel does not apply."""
    limit = min(32767, (2**31 - 1) // max(1, weight.max_row_sum))  # of |x| as an integer: sums fit into 32 bits
    if not weight.is_transposed or limit < 127:
        return False
    return run_on_all_cores(multiply_int8_kernel, x, weight.stored, weight.scales, bias, limit, y)


@inlined(ANY_ORDER)
def _to_integers(x, limit, integers):
    """integers = round(x / step). Return the step, with which the largest |x| becomes limit, or 0 if there is none."""
    largest = np.float32(0)
    total = np.float32(0)  # not finite if any x is not; `largest` alone would miss a NaN
    for i in range(x.size):
        largest = max(largest, abs(x[i]))
        total += abs(x[i])
    if not (total < np.float32(1e30)) or (total > 0 and largest < np.float32(1e-30)):
        return np.float32(0)
    step = largest / limit if largest > 0 else np.float32(1)
    for i in range(x.size):
        integers[i] = np.int16(np.rint(x[i] / step))
    return step


@kernel("b1(f4[:,::1], i1[:,::1], f4[::1], f4[::1], i8, f4[:,::1])")
def multiply_int8_kernel(x, weights, scales, bias, limit, y):
    """y[r, o] = scales[o] step[r] sum_i integer(x[r, i]) weights[o, i] + bias[o];  |integer(x)| <= limit.

    The processor multiplies 16-bit integers twice as fast as it could turn the weights into float32, and as fast as
    memory delivers them. So x becomes integers of 16 bits, or of fewer if 32-bit sums would overflow. That is some
    hundred times finer than the rounding of the weights. Return False if a row of x has no step.
    """
    R, n_in = x.shape
    integers, steps = np.empty((R, n_in), np.int16), np.empty(R, np.float32)
    for r in range(R):
        steps[r] = _to_integers(x[r], limit, integers[r])
        if steps[r] == 0:
            return False
    for o in prange(weights.shape[0]):
        w = weights[o]
        b = bias[o] if bias.size else np.float32(0)
        for r in range(0, R - R % 4, 4):
            x0, x1, x2, x3 = integers[r], integers[r + 1], integers[r + 2], integers[r + 3]
            s0 = s1 = s2 = s3 = np.int32(0)
            for i in range(n_in):
                s0 = np.int32(s0 + np.int32(x0[i]) * np.int32(w[i]))
                s1 = np.int32(s1 + np.int32(x1[i]) * np.int32(w[i]))
                s2 = np.int32(s2 + np.int32(x2[i]) * np.int32(w[i]))
                s3 = np.int32(s3 + np.int32(x3[i]) * np.int32(w[i]))
            y[r, o] = np.float32(s0) * (scales[o] * steps[r]) + b
            y[r + 1, o] = np.float32(s1) * (scales[o] * steps[r + 1]) + b
            y[r + 2, o] = np.float32(s2) * (scales[o] * steps[r + 2]) + b
            y[r + 3, o] = np.float32(s3) * (scales[o] * steps[r + 3]) + b
        for r in range(R - R % 4, R):
            s = np.int32(0)
            for i in range(n_in):
                s = np.int32(s + np.int32(integers[r, i]) * np.int32(w[i]))
            y[r, o] = np.float32(s) * (scales[o] * steps[r]) + b
    return True


@kernel("void(i1[:,::1], f4[::1], f4[:,::1])", parallel=False)
def unpack_int8_kernel(stored, scales, out):
    """out[o, i] = scales[o] stored[o, i], in one pass over memory."""
    for o in range(stored.shape[0]):
        for i in range(stored.shape[1]):
            out[o, i] = scales[o] * np.float32(stored[o, i])
