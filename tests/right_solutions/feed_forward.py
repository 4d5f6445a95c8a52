"""Right solutions of feed_forward, in the ways that people write it."""

import numpy as np

from right_solutions.gelu import gelu_by_elements, gelu_by_the_logistic_function, gelu_in_float32, gelu_vectorised
from right_solutions.linear import linear_by_elements, linear_in_float32


def mlp_by_elements(x, c_fc, c_proj):
    pre = linear_by_elements(x, c_fc["weight"], c_fc["bias"])
    return linear_by_elements(gelu_by_elements(pre), c_proj["weight"], c_proj["bias"])


def mlp_vectorised(x, c_fc, c_proj):
    return gelu_vectorised(x @ c_fc["weight"] + c_fc["bias"]) @ c_proj["weight"] + c_proj["bias"]


def mlp_neuron_by_neuron(x, c_fc, c_proj):
    """Every one of the F neurons adds its row of c_proj, as much as it is active."""
    out = np.zeros(x.shape) + c_proj["bias"]
    for f in range(len(c_fc["bias"])):
        active = gelu_by_the_logistic_function(x @ c_fc["weight"][:, f] + c_fc["bias"][f])
        out += active[..., None] * c_proj["weight"][f]
    return out


def mlp_in_float32(x, c_fc, c_proj):
    act = gelu_in_float32(linear_in_float32(x, **c_fc))
    return linear_in_float32(act, **c_proj)


RIGHT = [mlp_by_elements, mlp_vectorised, mlp_neuron_by_neuron, mlp_in_float32]
