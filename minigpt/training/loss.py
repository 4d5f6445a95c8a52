"""What training makes small: how surprised the model is by the next token; and its gradients."""

import numpy as np

from minigpt.model import ContextLengthError, gpt2
from minigpt.ops import LARGE, keep_freed_memory, ready
from minigpt.ops.threads import get_threads
from minigpt.params import flatten, zeros_like
from minigpt.training import backward
from minigpt.training.backward import IGNORED, Recorder, gpt2_backward, operations


def loss_and_grads(model, inputs, targets, grads=None, dropout=0.0, rng=None, scale=1.0):
    """The mean cross-entropy of the next tokens, and its gradient by every parameter.

    inputs, targets [B, T] (or [T]): targets[b, t] is the token after inputs[b, t], or IGNORED. Gives the loss, a float,
    and the gradients in a tree like model.params. With grads, a tree of an earlier call, they are added to it, `scale`
    times: gradient accumulation. dropout with a numpy Generator rng: see Recorder. Raises ValueError for ids or targets
    that the model does not have, and for replaced operations, whose backward is not known.
    """
    inputs, targets = checked_batch(model, inputs, targets)
    if replaced := getattr(model.ops, "replaced", ()):
        raise ValueError(
            f"{', '.join(replaced)}: replaced, and minigpt has no backward of yours; train without with_ops"
        )
    grads = zeros_like(model.params) if grads is None else grads
    count = max(1, int((targets != IGNORED).sum()))
    keep_freed_memory(all_of_it=True)
    forward = ready(model.ops)
    ops = operations(forward)
    if ops is not backward and not dropout:
        forward = ops  # the same, but for an attention that keeps only what the backward pass wants

    def part(inputs, targets, grads, rng):
        recorder = Recorder(dropout, rng)
        logits = gpt2(inputs, model.params, model.config, forward, tap=recorder)  # [B, T, V]
        loss, dlogits = ops.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1), count)
        if scale != 1:
            dlogits *= dlogits.dtype.type(scale)
        gpt2_backward(dlogits.reshape(logits.shape), inputs, model.params, grads, model.config, ops, recorder)
        return loss

    return over_batch(model, part, inputs, targets, grads, rng), grads


def over_batch(model, work, inputs, targets, grads=None, rng=None):
    """work(inputs, targets, grads, rng), a sum over the batch that also adds to grads.

    Where it pays, every core has a part of the batch.
    """
    ops = operations(ready(model.ops))
    if ops is not backward and model.config.parameter_count() < LARGE and len(inputs) >= get_threads() > 1:
        return ops.share_batch(work, inputs, targets, grads, rng)
    return work(inputs, targets, grads, rng)


def checked_batch(model, inputs, targets):
    """inputs and targets as arrays [B, T]. Raises ValueError."""
    if model.dtype not in (np.float32, np.float64) or any(
        not isinstance(array, np.ndarray) for array in flatten(model.params).values()
    ):
        raise ValueError("weights of 8 or 16 bits cannot be trained: load the model with dtype='float32'")
    inputs, targets = model.checked_ids(inputs), np.asarray(targets)
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
