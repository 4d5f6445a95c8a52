"""The maps are the attention weights that the model computed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from letter_models import axis_labels, letter_model, letter_tokenizer, random_text
from reference import models

from minigpt import Tokenizer
from minigpt.looking import attention_maps
from minigpt.looking.labels import token_label

TEXT = "Once upon a time there was a clever girl named Alice.\n"


@given(models(), st.integers(1, 16))
def test_attention_maps_are_the_weights_of_every_head(model, length):
    tokenizer, text = letter_tokenizer(model), random_text(model, length)
    maps = attention_maps(model, tokenizer, text)
    config, trace = model.config, {}
    model(tokenizer.encode(text), trace=trace)
    assert maps.tokens == list(text)
    assert maps.weights.shape == (config.n_layer, config.n_head, length, length)
    for layer in range(config.n_layer):
        assert np.array_equal(maps.weights[layer], trace[f"h.{layer}.attn.weights"][0])
    assert np.allclose(maps.weights.sum(axis=-1), 1, rtol=0, atol=1e-12) and not np.triu(maps.weights, 1).any()


def test_attention_maps_are_drawn_of_all_heads_of_a_block_and_of_one(bundled):
    maps = attention_maps(*bundled, TEXT)
    L, H, _, _ = maps.weights.shape
    every = maps.plot().axes
    assert len(every) == L * H
    assert np.array_equal(every[H + 2].images[0].get_array(), maps.weights[1, 2])
    block = [axes for axes in maps.plot(layer=2).axes if axes.axison]
    assert [axes.get_title() for axes in block] == [f"block 2, head {head}" for head in range(H)]
    (one,) = maps.plot(layer=np.int64(1), head=3).axes
    assert np.array_equal(one.images[0].get_array(), maps.weights[1, 3])
    expected = [token_label(token) for token in maps.tokens]
    assert axis_labels(one.xaxis) == axis_labels(one.yaxis) == expected
    assert expected[:2] == ["Once", "␣upon"] and expected[-1] == "↵"


@pytest.mark.parametrize(("which", "sentence"), [
    ({"layer": 4}, "layer must be an integer, from 0 to 3, not 4"),
    ({"layer": -1}, "layer must be an integer, from 0 to 3, not -1"),
    ({"layer": 0, "head": 4}, "head must be an integer, from 0 to 3, not 4"),
    ({"head": 1}, "head needs a layer"),
])  # fmt: skip
def test_a_layer_or_head_that_does_not_exist(bundled, which, sentence):
    with pytest.raises(ValueError, match=sentence):
        attention_maps(*bundled, "Once").plot(**which)


def test_an_attention_without_a_tap_has_no_maps(bundled):
    model, tokenizer = bundled
    with pytest.raises(ValueError, match="does not tap its weights"):
        attention_maps(model.with_ops(attention=lambda q, k, v: v), tokenizer, "Once")


def test_a_dollar_is_no_formula():
    tokenizer = Tokenizer.of_characters("$x_")
    figure = attention_maps(letter_model(vocab_size=3), tokenizer, "$x_$").plot(0, 0)
    assert axis_labels(figure.axes[0].xaxis) == list("$x_$")
    assert not any(label.get_parse_math() for label in figure.axes[0].get_xticklabels())


def test_many_tokens_share_few_labels(bundled):
    (one,) = attention_maps(*bundled, TEXT * 6).plot(0, 0).axes
    assert 10 < len(axis_labels(one.xaxis)) <= 60 < one.images[0].get_array().shape[0]
