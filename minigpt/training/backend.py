"""Which gradients belong to which operations: formulas to formulas, kernels to kernels."""

from types import SimpleNamespace

from minigpt.training import backward
from minigpt.training.adamw import adamw_update_all
from minigpt.training.loss import cross_entropy

PLAIN_TRAINING = SimpleNamespace(
    linear_backward=backward.linear_backward,
    layer_norm_backward=backward.layer_norm_backward,
    gelu_new_backward=backward.gelu_new_backward,
    gelu_backward=backward.gelu_backward,
    relu_backward=backward.relu_backward,
    attention_backward=backward.attention_backward,
    embedding_backward=backward.embedding_backward,
    cross_entropy=cross_entropy,
    adamw_update_all=adamw_update_all,
)


def training_operations(ops):
    """Return the operations of training that belong to those of the forward pass: compiled if these are.

    Both have the functions of PLAIN_TRAINING; minigpt.training.jit has a few more.
    """
    if not ops.compiled:
        return PLAIN_TRAINING
    from minigpt.training import jit  # here, because importing Numba takes half a second

    return jit
