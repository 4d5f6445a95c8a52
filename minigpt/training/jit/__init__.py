"""The operations of training, compiled by Numba for float32: the same names, arguments and results as the formulas.

BLAS computes the products, shared among the cores; kernels do the work between them in one pass over memory. Where the
kernels do not apply (float64, dropout), the formulas compute: backward.py, loss.py, adamw.py. The package also has
an attention for the forward pass that records its weights, and share_batch, which gives each core a part of a batch.
bfloat16.py has another linear, forward and backward.
"""

from minigpt.training.jit.adamw import adamw_update_all
from minigpt.training.jit.attention_backward import attention, attention_backward
from minigpt.training.jit.batch import share_batch
from minigpt.training.jit.embedding_backward import embedding_backward
from minigpt.training.jit.gelu_backward import gelu_backward, gelu_new_backward, relu_backward
from minigpt.training.jit.layer_norm_backward import layer_norm_backward
from minigpt.training.jit.linear_backward import linear_backward
from minigpt.training.jit.loss import cross_entropy

__all__ = [
    "adamw_update_all",
    "attention",
    "attention_backward",
    "cross_entropy",
    "embedding_backward",
    "gelu_backward",
    "gelu_new_backward",
    "layer_norm_backward",
    "linear_backward",
    "relu_backward",
    "share_batch",
]
