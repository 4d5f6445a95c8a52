"""The exponential function, for use inside kernels."""

import numpy as np

from minigpt.ops.jit.compile import FIXED_ORDER, inlined


@inlined(FIXED_ORDER)  # "reassoc" would cancel `+ ROUND - ROUND`.
def exp(x):
    """exp(x) = 2^n exp(r) with n = round(x / log 2) and |r| <= log(2) / 2: exp(r) by a polynomial, 2^n by its bits.

    Unlike the C library's, it can be vectorised. The error is below 2 units in the last place; results below 1e-38
    are 0. Coefficients: Moshier, Cephes (expf).
    """
    ROUND = np.float32(12582912)  # 1.5 * 2^23: adding it leaves the rounded number in the lowest bits
    shifted = np.float32(x * np.float32(1.44269504) + ROUND)
    n = shifted - ROUND
    r = x - n * np.float32(0.693359375) - n * np.float32(-2.12194440e-4)  # log 2 in two parts, the first one exact
    p = np.float32(1.9875691500e-4)
    p = p * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    p = np.float32(p * (r * r) + r + np.float32(1))
    bits = np.uint32((shifted.view(np.uint32) + np.uint32(127)) << np.uint32(23))
    result = np.float32(p * bits.view(np.float32))
    if x > np.float32(88.3):
        result = np.float32(np.inf)
    if x < np.float32(-87.3):
        result = np.float32(0)
    return result
