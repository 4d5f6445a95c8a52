"""The lens against layer norm and head, written out; its last row against the model's logits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from letter_models import axis_labels, letter_tokenizer, random_text
from reference import assert_close, models

from minigpt import GPT2
from minigpt.bundled import DEFAULT_MODEL
from minigpt.looking import logit_lens
from minigpt.looking.labels import token_label
from minigpt.ops import plain

TEXT = "Once upon a time there was a clever girl named Alice.\n"


@given(models(), st.integers(1, 12))
def test_the_lens_is_layer_norm_and_head_of_every_stream(model, length):
    tokenizer, text = letter_tokenizer(model), random_text(model, length)
    lens = logit_lens(model, tokenizer, text)
    trace = {}
    logits = model(tokenizer.encode(text), trace=trace)
    assert np.array_equal(lens.logits[-1], logits)
    params = model.params
    head = params.get("lm_head", params["wte"])["weight"]
    streams = [trace["embed"], *(trace[f"h.{layer}.resid"] for layer in range(model.config.n_layer))]
    assert len(lens.logits) == len(streams)
    for row, x in zip(lens.logits, streams, strict=True):
        expected = plain.layer_norm(x[0], **params["ln_f"], eps=model.config.layer_norm_epsilon) @ head.T
        assert_close(row, expected, 1e-12)


@pytest.mark.parametrize("kind", ["plain", "jit"])
def test_the_lens_ends_exactly_with_the_logits_of_the_bundled_model(kind, bundled):
    model, tokenizer = GPT2.from_pretrained(DEFAULT_MODEL, ops=kind), bundled[1]
    trace = {}
    model(tokenizer.encode(TEXT), trace=trace)
    assert np.array_equal(logit_lens(model, tokenizer, TEXT).logits[-1], trace["logits"][0])


def test_the_lens_names_the_most_probable_tokens(bundled):
    model, tokenizer = bundled
    lens = logit_lens(model, tokenizer, TEXT)
    for row, best in zip(lens.logits, lens.top(3), strict=True):
        probs = plain.softmax(row[-1])
        ids = np.argsort(-probs)[:3]
        assert best == [(tokenizer.decode([i]), float(probs[i])) for i in ids]
    assert lens.top(2, position=0)[0] == [(tokenizer.decode([i]), p) for i, p in two_best(lens.logits[0, 0])]
    axes = lens.plot(last=4).axes[0]
    assert axis_labels(axes.xaxis) == [token_label(token) for token in lens.tokens[-4:]]
    written = [text.get_text() for text in axes.texts]
    assert written[-1] == token_label(lens.top()[-1][0][0])[:10] and len(written) == 4 * len(lens.logits)


def two_best(logits):
    probs = plain.softmax(logits)
    return [(i, float(probs[i])) for i in np.argsort(-probs)[:2]]
