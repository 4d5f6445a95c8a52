"""What all functions of looking have in common."""

from functools import partial

import numpy as np
import pytest

import minigpt
from minigpt import ContextLengthError
from minigpt.looking import (
    ablate_heads,
    ablate_layers,
    activation_statistics,
    attention_maps,
    beam_tree,
    logit_lens,
    patch,
    patch_heads,
)
from minigpt.params import flatten

TEXT = "Once upon a time there was a clever girl named Alice.\n"


@pytest.mark.parametrize("look", [
    attention_maps,
    logit_lens,
    partial(ablate_heads, answer="She"),
    partial(ablate_layers, answer="She"),
    partial(patch, corrupted=TEXT * 30, answer="She", wrong="He"),
    partial(patch_heads, corrupted=TEXT * 30, answer="She", wrong="He"),
    lambda model, tokenizer, text: activation_statistics(model, tokenizer, [text]),
    beam_tree,
    minigpt.step,
])  # fmt: skip
def test_no_text_and_too_long_a_text(look, bundled):
    with pytest.raises(ValueError, match="the text is empty"):
        look(*bundled, "")
    with pytest.raises(ContextLengthError, match="256 positions"):
        look(*bundled, TEXT * 30)


def test_looking_leaves_the_model_as_it_was(bundled):
    model, tokenizer = bundled
    before = {name: array.copy() for name, array in flatten(model.params).items()}
    operations, logits = model.ops, model(tokenizer.encode(TEXT))
    logit_lens(model, tokenizer, TEXT)
    ablate_heads(model, tokenizer, TEXT, "She")
    patch(model, tokenizer, TEXT, TEXT.replace("girl", "boy"), "She", "He")
    assert all(np.array_equal(array, before[name]) for name, array in flatten(model.params).items())
    assert np.array_equal(model(tokenizer.encode(TEXT)), logits) and model.ops is operations
