"""The operations of training, compiled by Numba for float32: the same names, arguments and results as the formulas.

BLAS computes the products, shared among the cores; kernels do the work between them in one pass over memory. Where the
kernels do not apply (float64, dropout), the formulas compute: backward.py, cross_entropy.py, optimizer.py. The
forward's operations are those of minigpt/ops/jit, except for an attention that records its weights.
"""

from minigpt.ops.jit import gelu, gelu_new, layer_norm, linear, relu
from minigpt.training.jit.activations_backward import gelu_backward, gelu_new_backward, relu_backward
from minigpt.training.jit.adamw import adamw_update_all
from minigpt.training.jit.attention_backward import attention, attention_backward
from minigpt.training.jit.batch import share_batch
from minigpt.training.jit.cross_entropy import cross_entropy
from minigpt.training.jit.embedding_backward import embedding_backward
from minigpt.training.jit.layer_norm_backward import layer_norm_backward
from minigpt.training.jit.linear_backward import linear_backward

__all__ = [
    "adamw_update_all",
    "attention",
    "attention_backward",
    "cross_entropy",
    "embedding_backward",
    "gelu",
    "gelu_backward",
    "gelu_new",
    "gelu_new_backward",
    "layer_norm",
    "layer_norm_backward",
    "linear",
    "linear_backward",
    "relu",
    "relu_backward",
    "share_batch",
]
