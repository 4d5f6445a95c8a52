"""The arrays that kernels take."""

import math

import numpy as np

from minigpt.ops.jit.parallel import forked

FLOAT32 = np.dtype(np.float32)


def is_kernel_ready(array):
    """Return whether kernels can take an array: float32, C-contiguous, aligned and writable, in an unforked process."""
    return array.dtype == FLOAT32 and array.flags.carray and not forked.is_set()


def view_of(buffer, shape):
    """Return the beginning of a buffer as an array of this shape."""
    return buffer[: math.prod(shape)].reshape(shape)
