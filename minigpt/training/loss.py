"""What training makes small: how surprised the model is by the next token; and its gradients."""

import numpy as np

from minigpt.model import gpt2
from minigpt.params import flatten, nest
from minigpt.training import backward
from minigpt.training.backward import Recorder, gpt2_backward

IGNORED = -100  # a target that does not count, as in PyTorch


def cross_entropy(logits, targets):
    """-log softmax(logits)[target], the mean over the targets that count;  logits [N, V], targets [N] > loss, dlogits.

    dlogits[n, v] = (softmax(logits)[n, v] - (1 if v is the target else 0)) / number of targets that count
    takes the place of the logits in their array: with a vocabulary of 50,257 a second one would be the largest array
    of all. Rows whose target is IGNORED have gradient 0. The sum is kept in float64.
    """
    counted = targets != IGNORED
    n = max(1, int(counted.sum()))
    total = 0.0
    for row, target in zip(logits, targets, strict=True):
        if target == IGNORED:
            row[:] = 0
            continue
        row -= row.max()
        logit = row[target]
        np.exp(row, out=row)
        sum_exp = row.sum()
        total += float(np.log(sum_exp) - logit)
        row /= sum_exp * n
        row[target] -= 1 / n
    return total / n, logits


def zero_grads(params):
    """A tree like params, of zeros, each laid out in memory as its parameter."""
    return nest({name: np.zeros_like(array) for name, array in flatten(params).items()})


def loss_and_grads(model, inputs, targets, grads=None, dropout=0.0, rng=None, scale=1.0):
    """The mean cross-entropy of the next tokens, and its gradient by every parameter.

    inputs, targets [B, T] (or [T]): targets[b, t] is the token after inputs[b, t], or IGNORED. Gives the loss, a float,
    and the gradients in a tree like model.params. With grads, a tree of an earlier call, they are added to it, `scale`
    times: gradient accumulation. dropout with a numpy Generator rng: see Recorder. Raises ValueError for ids or targets
    that the model does not have.
    """
    inputs, targets = checked_batch(model, inputs, targets)
    recorder = Recorder(dropout, rng)
    logits = gpt2(inputs, model.params, model.config, model.ops, tap=recorder)
    loss, dlogits = cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1))
    if scale != 1:
        dlogits *= dlogits.dtype.type(scale)
    grads = zero_grads(model.params) if grads is None else grads
    gpt2_backward(dlogits.reshape(logits.shape), inputs, model.params, grads, model.config, backward, recorder)
    return loss, grads


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
        raise ValueError(f"{inputs.shape[-1]} tokens, but the model has {model.config.n_positions} positions")
    wrong = (targets != IGNORED) & ((targets < 0) | (targets >= model.config.vocab_size))
    if wrong.any():
        raise ValueError(f"target {targets[wrong][0]} is outside the vocabulary of {model.config.vocab_size}")
    return (inputs, targets) if inputs.ndim == 2 else (inputs[None], targets[None])
