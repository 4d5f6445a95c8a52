"""Steering, against the difference of means and a stream that is changed by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from letter_models import letter_tokenizer, random_text
from reference import models

from minigpt import ContextLengthError
from minigpt.generation.sampling import log_softmax
from minigpt.looking import steer, steering_direction

GIRLS = [f"Once upon a time there was a {word} girl named Alice." for word in ("clever", "little", "shy")]
BOYS = [f"Once upon a time there was a {word} boy named Tom." for word in ("brave", "little")]


@given(models(), st.data())
def test_the_direction_is_the_difference_of_the_means_over_all_tokens(model, data):
    tokenizer, layer = letter_tokenizer(model), data.draw(st.integers(0, model.config.n_layer - 1))
    sides = [[random_text(model, length, seed) for seed, length in enumerate(side)] for side in ((3, 5), (4, 2, 6))]
    sides[1] = [text[::-1] for text in sides[1]]
    streams = []
    for texts in sides:
        traces = [{} for _ in texts]
        for text, trace in zip(texts, traces, strict=True):
            model(tokenizer.encode(text), trace=trace)
        streams.append([trace[f"h.{layer}.resid"][0] for trace in traces])
    means = [np.concatenate(rows).mean(axis=0) for rows in streams]
    direction = steering_direction(model, tokenizer, *sides, layer)
    assert direction.name == f"h.{layer}.resid"
    assert np.abs(direction.vector - (means[0] - means[1])).max() < 1e-9 * max(1, np.abs(means).max())
    for places, rows, mean, n in zip((direction.positive, direction.negative), streams, (1, 0), (2, 3), strict=True):
        assert len(places) == n
        tokens = [len(row) for row in rows]
        assert abs(np.average(places, weights=tokens) - mean) < 1e-6  # so the mean of each set is at 1, or at 0


@given(models(), st.integers(-2, 1))
def test_the_direction_may_be_that_of_one_token_of_each_text(model, position):
    tokenizer, streams = letter_tokenizer(model), []
    texts = [random_text(model, length, length) for length in (2, 4, 5, 3)]
    for text in texts:
        trace = {}
        model(tokenizer.encode(text), trace=trace)
        streams.append(trace["h.0.resid"][0, position])
    expected = np.mean(streams[:2], axis=0) - np.mean(streams[2:], axis=0)
    direction = steering_direction(model, tokenizer, texts[:2], texts[2:], 0, position)
    assert np.abs(direction.vector - expected).max() < 1e-9 * max(1, np.abs(streams).max())
    assert abs(direction.positive.mean() - 1) < 1e-6 and abs(direction.negative.mean()) < 1e-6


@given(models(), st.floats(-3, 3), st.data())
def test_steering_adds_the_vector_to_prompt_and_new_tokens(model, strength, data):
    tokenizer, layer = letter_tokenizer(model), data.draw(st.integers(0, model.config.n_layer - 1))
    direction = steering_direction(model, tokenizer, random_text(model, 4, 0), random_text(model, 5, 1), layer)
    text = random_text(model, 3, 2)
    steering = steer(model, tokenizer, text, direction, strength, max_new_tokens=4, eos_token_id=None)

    def next_logits(ids, factor):
        return model(ids, edit={f"h.{layer}.resid": lambda x: x + factor * direction.vector})[-1]

    for factor, found, logprobs in (
        (0, steering.text, steering.logprobs),
        (strength, steering.steered_text, steering.steered_logprobs),
    ):
        ids = tokenizer.encode(text)
        assert np.abs(logprobs - log_softmax(next_logits(ids, factor))).max() < 1e-9 * max(1, np.abs(logprobs).max())
        for _ in range(4):
            ids.append(int(next_logits(ids, factor).argmax()))
        assert found == tokenizer.decode(ids)


def test_girls_and_boys(bundled):
    direction = steering_direction(*bundled, GIRLS, BOYS, layer=2, position=-1)
    assert direction.positive.min() > direction.negative.max()
    text = "Once upon a time there was a clever boy named Max."
    steering = steer(*bundled, text, direction, 2, max_new_tokens=5)
    before, after = np.exp(steering.logprobs), np.exp(steering.steered_logprobs)
    he, she = (bundled[1].encode(word)[0] for word in (" He", " She"))
    assert before[he] > 0.5 > before[she] and after[she] > 0.5 > after[he]
    assert steering.text.startswith(text + " He") and steering.steered_text.startswith(text + " She")
    changes = [abs(after - before) for _, before, after in steering.top(4)]
    assert changes == sorted(changes, reverse=True) and len(changes) == 4
    assert len(steering.plot(3).axes[0].patches) == 6
    dots = direction.plot().axes[0].lines
    assert [line.get_xdata().tolist() for line in dots] == [direction.negative.tolist(), direction.positive.tolist()]


def test_strength_0_changes_nothing(bundled):
    direction = steering_direction(*bundled, GIRLS, BOYS, 1)
    steering = steer(*bundled, "Once upon a time", direction, 0, max_new_tokens=3)
    assert np.array_equal(steering.logprobs, steering.steered_logprobs) and steering.text == steering.steered_text


def test_what_cannot_steer(bundled):
    for arguments, sentence in (
        ((GIRLS, GIRLS, 1), "the same mean"),
        ((GIRLS, [], 1), "there is no text"),
        ((GIRLS, [""], 1), "the text is empty"),
        ((GIRLS, BOYS, 1, 20), "position must be an integer, from -12 to 11, not 20"),
        ((GIRLS, BOYS, 4), "layer must be an integer, from 0 to 3, not 4"),
    ):
        with pytest.raises(ValueError, match=sentence):
            steering_direction(*bundled, *arguments)
    direction = steering_direction(*bundled, GIRLS, BOYS, 1)
    with pytest.raises(ValueError, match="the text is empty"):
        steer(*bundled, "", direction)
    with pytest.raises(ContextLengthError):
        steer(*bundled, "Once", direction, max_new_tokens=300)
