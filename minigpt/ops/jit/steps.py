"""The steps in which kernels round floats to integers."""

import numpy as np

from minigpt.ops.jit.compile import ANY_ORDER, inlined


@inlined(ANY_ORDER)
def largest_magnitude(x):
    """Return max |x|, inf or NaN if any x is.

    Without their signs, floats have the order of their bits as integers. LLVM vectorises a maximum of integers only.
    """
    bits = x.view(np.uint32)
    largest = np.uint32(0)
    for i in range(bits.size):
        largest = max(largest, bits[i] & np.uint32(0x7FFFFFFF))
    return np.uint32(largest).view(np.float32)


@inlined(ANY_ORDER)
def find_step(x, largest_integer):
    """Return the step in which the largest number of x becomes this integer, or 0 if x has none."""
    largest = largest_magnitude(x)
    if not (largest < np.float32(1e30)) or (largest > 0 and largest < np.float32(1e-30)):
        return np.float32(0)
    return largest / np.float32(largest_integer) if largest > 0 else np.float32(1)
