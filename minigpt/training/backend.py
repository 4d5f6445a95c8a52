"""Which operations a training step computes with: formulas or kernels, with products in float32 or bfloat16."""

from types import SimpleNamespace

from minigpt.ops.operations import Operations
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


def step_operations(ops, dtype, dropout):
    """Return the operations of a step's forward pass and of its backward pass. dtype: that of the products' factors.

    The kernels have an attention for training, which keeps the weights for the backward pass where that is faster.
    """
    operations = training_operations(ops)
    forward, backward = ops.functions(), {name: getattr(operations, name) for name in vars(PLAIN_TRAINING)}
    if ops.compiled and not dropout:
        forward["attention"] = operations.attention
    if dtype == "bfloat16":
        products = bfloat16_products(ops)
        forward["linear"], backward["linear_backward"] = products.linear, products.linear_backward
    return Operations("training", forward, ops.compiled), SimpleNamespace(**backward)


def bfloat16_products(ops):
    """Return the module with linear and linear_backward whose factors are in bfloat16, compiled if ops are."""
    if ops.compiled:
        from minigpt.training.jit import bfloat16  # here, because importing Numba takes half a second
    else:
        from minigpt.training import bfloat16
    return bfloat16
