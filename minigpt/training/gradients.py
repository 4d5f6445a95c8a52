"""The loss of a batch and its gradients: forward, loss, backward."""

import numpy as np
from numpy.typing import ArrayLike

from minigpt.checks import is_number, is_one_of, require, require_number, require_type, shown
from minigpt.gpt2 import GPT2
from minigpt.model import gpt2
from minigpt.ops.auto import MIN_KERNEL_PARAMETERS
from minigpt.ops.threads import get_threads
from minigpt.params import flatten, zeros_like
from minigpt.run import ContextLengthError, Run, checked_ids
from minigpt.training.backend import step_operations, training_operations
from minigpt.training.backward import gpt2_backward
from minigpt.training.dropout import Dropout
from minigpt.training.loss import IGNORED
from minigpt.training.recording import Recording


def loss_and_grads(
    model: GPT2,
    inputs: ArrayLike,
    targets: ArrayLike,
    grads: dict | None = None,
    dropout: float = 0.0,
    rng: np.random.Generator | None = None,
    scale: float = 1.0,
    dtype: str | None = None,
) -> tuple[float, dict]:
    """Return the mean cross-entropy of the next tokens, and its gradient with respect to every parameter.

    inputs, targets [B, T] (or [T]): targets[b, t] is the token after inputs[b, t], or IGNORED. Returns the loss, a
    float, and the gradients in a tree like model.params. With grads, the tree of an earlier call, the new gradients
    times `scale` are added to it in place: gradient accumulation. The loss is not scaled. dropout: its probability,
    drawn from the numpy Generator rng. dtype: "bfloat16" rounds the factors of linear's products, forward and backward;
    by default they have the model's dtype. Raises ValueError for ids or targets that the model does not have, and for
    replaced operations, which have no backward.
    """
    require_type("model", model, GPT2, "a GPT2")
    require_type("grads", grads, dict | None, "the tree that an earlier call returned")
    require_number("scale", scale, -1e30, 1e30, "a number")
    require(is_number(dropout) and 0 <= dropout < 1, "dropout", dropout, "from 0 to below 1")
    if dropout:
        require_type("rng", rng, np.random.Generator, "a numpy Generator, as dropout draws")
    if not is_one_of(dtype, (None, "float32", "bfloat16")) or (dtype and model.dtype != np.float32):
        raise ValueError(
            f"dtype must be 'float32' or 'bfloat16', for a model in float32: not {shown(dtype)} for {model.dtype}"
        )
    inputs, targets = checked_batch(model, inputs, targets)
    if model.ops.replaced:
        raise ValueError(
            f"minigpt has no backward pass for the replaced {', '.join(model.ops.replaced)}: train without with_ops"
        )
    grads = zeros_like(model.params) if grads is None else grads
    if flatten(grads).keys() != flatten(model.params).keys():
        raise ValueError("grads must be a tree like model.params")
    count = max(1, int((targets != IGNORED).sum()))
    ops = model.ops.ready()
    forward, backward = step_operations(ops, dtype, dropout)

    def forward_and_backward(inputs, targets, grads, rng):
        recording = Recording(model.config, backward, Dropout(dropout, rng) if dropout else None)
        logits = gpt2(inputs, model.params, Run(model.config, forward, tap=recording))  # [B, T, V]
        loss, dlogits = backward.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1), count)
        if scale != 1:
            dlogits *= dlogits.dtype.type(scale)
        gpt2_backward(dlogits.reshape(logits.shape), inputs, model.params, grads, recording)
        return loss

    return over_batch(model, forward_and_backward, inputs, targets, grads, rng), grads


def over_batch(model, work, inputs, targets, grads=None, rng=None):
    """Call work(inputs, targets, grads, rng) on the batch; for a small compiled model once per core, on a share of it.

    Return the sum of the results. work also adds to grads, unless that is None.
    """
    ops = model.ops.ready()
    is_small = model.config.parameter_count() < MIN_KERNEL_PARAMETERS
    if ops.compiled and is_small and len(inputs) >= get_threads() > 1:
        return training_operations(ops).share_batch(work, inputs, targets, grads, rng)
    return work(inputs, targets, grads, rng)


def checked_batch(model, inputs, targets):
    """Return inputs and targets as arrays [B, T]. Raises ValueError."""
    if model.dtype not in (np.float32, np.float64) or any(
        not isinstance(array, np.ndarray) for array in flatten(model.params).values()
    ):
        raise ValueError("weights of 4, 8 or 16 bits cannot be trained: load the model with dtype='float32'")
    inputs = checked_ids(inputs, model.config)
    try:
        targets = np.asarray(targets)
    except ValueError as error:
        raise ValueError("targets have rows of different lengths") from error
    if not np.issubdtype(targets.dtype, np.integer):
        raise ValueError(f"targets must be integers, not {targets.dtype}")
    if inputs.shape != targets.shape:
        raise ValueError(f"inputs have shape {inputs.shape}, targets {targets.shape}")
    if inputs.shape[-1] > model.config.n_positions:
        raise ContextLengthError(
            f"{inputs.shape[-1]} tokens, but the model has {model.config.n_positions} positions: "
            "cut the text into blocks"
        )
    wrong = (targets != IGNORED) & ((targets < 0) | (targets >= model.config.vocab_size))
    if wrong.any():
        raise ValueError(f"target {targets[wrong][0]} is outside the vocabulary of {model.config.vocab_size}")
    return (inputs, targets) if inputs.ndim == 2 else (inputs[None], targets[None])
