"""linear and its backward with factors in bfloat16, which processors multiply faster.

bfloat16 is a float32 without the lower half of its bits: the same range, 8 bits of precision. Only what is multiplied
is rounded. The products are added up in float32, and parameters, gradients, activations and the optimizer's state keep
all bits: a step of AdamW is often smaller than the steps between two numbers in bfloat16 (Micikevicius et al. 2018,
section 3.1).
"""

import numpy as np

from minigpt.ops import plain
from minigpt.ops.packed import bfloat16_bits
from minigpt.training import backward


def rounded(x):
    """Return the bfloat16 nearest to each number of a float32 array, as float32."""
    return (bfloat16_bits(x).astype(np.uint32) << 16).view(np.float32)


def linear(x, weight, bias=None):
    """linear(x) = round(x) round(weight) + bias;  x [..., in], weight [in, out], bias [out] -> [..., out]."""
    return plain.linear(rounded(x), rounded(weight), bias)


def linear_backward(dy, x, weight, dweight, dbias=None):
    """dx = round(dy) round(weight)^T. Adds round(x)^T round(dy) to dweight, and the sum of dy's rows to dbias."""
    if dbias is not None:
        dbias += dy.reshape(-1, dy.shape[-1]).sum(axis=0)
    return backward.linear_backward(rounded(dy), rounded(x), rounded(weight), dweight)
