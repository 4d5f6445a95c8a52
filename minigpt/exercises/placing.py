"""Places inside a GPT-2 that a student's function can take. Exercises build their `in_model` from them.

A place is called as place(model, function) and returns forward(ids [T], trace) -> logits [T, V]: the forward pass of
the model with the function in that place. A function for an operation replaces minigpt's own (GPT2.with_ops). One for
a larger part, or for a smaller one, computes that part's activations from those before it, by edits (trace.py).
"""

import numpy as np


class WrongResultError(Exception):
    """A function's result does not fit in its place; the message says why."""


def require_shape(result, shape):
    """Return the result. Raise WrongResultError if it does not have that shape."""
    if result.shape != shape:
        raise WrongResultError(f"it returns an array of shape {result.shape}, expected {shape}")
    return result


def operation(name, adapt=lambda function: function):
    """Return the place of an operation (ops/plain.py). adapt: makes the operation from the student's function."""

    def place(model, function):
        changed = model.with_ops(**{name: adapt(function)})
        return lambda ids, trace: changed(ids, trace=trace)

    return place


def activation_function(model, function):
    """Place the function as the MLP's activation function, whichever the model has."""
    return operation(model.config.activation_function)(model, function)


def edits(make):
    """Return a place that works by edits: make(model, function, remembered) -> {name of an activation: edit}.

    remembered: a dict in which edits keep earlier activations for later ones; at first it has only "ids".
    """

    def place(model, function):
        def forward(ids, trace):
            remembered = {"ids": ids}
            return model(ids, trace=trace, edit=make(model, function, remembered))

        return forward

    return place


def part_of_blocks(source, target, compute):
    """Return the place of a part of every block: it computes `target` from the activation source(layer).

    compute(function, x, block, n_head) calls the student's function with x, the activation `source`, and the
    parameters of the block.
    """

    def make(model, function, remembered):
        by_name, n_head = {}, model.config.n_head
        for layer, block in enumerate(model.params["h"]):
            before, after = source(layer), f"h.{layer}.{target}"
            if before not in by_name:
                by_name[before] = _remember(remembered, before)

            def edit(activation, before=before, after=after, block=block):
                computed = compute(function, remembered[before], block, n_head)
                computed = np.asarray(require_shape(computed, activation.shape), model.dtype)
                remembered[after] = computed.copy()
                return computed

            by_name[after] = edit
        return by_name

    return edits(make)


def _remember(remembered, name):
    def keep(activation):
        remembered[name] = activation.copy()
        return activation

    return keep
