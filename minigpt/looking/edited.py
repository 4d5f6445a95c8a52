"""A model with edits that stay: every call applies them, so it can generate, and be looked at, with them in place."""

from collections.abc import Callable

import numpy as np

from minigpt.gpt2 import GPT2

Edit = Callable[[np.ndarray], np.ndarray]


class EditedGPT2(GPT2):
    """A GPT2 that applies the same edits in every call. Use `edited` to make one.

    The edits of a call come after these. Training does not apply them: their gradients are unknown.
    """

    def __init__(self, model: GPT2, edit: dict[str, Edit]):
        super().__init__(model.config, model.params, model.ops, model.name)
        self.edit = in_sequence(getattr(model, "edit", {}), edit)

    def __call__(self, ids, *, edit=None, **options):
        return super().__call__(ids, edit=in_sequence(self.edit, edit or {}), **options)

    def with_ops(self, **functions):
        return EditedGPT2(super().with_ops(**functions), self.edit)


def edited(model: GPT2, edit: dict[str, Edit]) -> EditedGPT2:
    """Return the same model with edits that every call applies: edited(model, {"h.3.attn.out": np.zeros_like}).

    It generates with them, and all functions of looking take it. With a cache, an edit gets the new tokens alone, so
    an edit for generation must do the same at every position.                        TransformerLens: model.add_hook
    """
    return EditedGPT2(model, edit)


def in_sequence(first, second):
    """Return the edits of both dicts; where both edit a name, the second one gets what the first one returns."""
    both = {name: _one_after_the_other(first[name], second[name]) for name in first.keys() & second.keys()}
    return {**first, **second, **both}


def _one_after_the_other(first, second):
    return lambda activation: second(first(activation))
