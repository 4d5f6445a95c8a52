"""Functions in their place inside a GPT-2."""

import time

import numpy as np
import pytest
from exercise_helpers import right_softmax, spoilt
from right_solutions import RIGHT

from minigpt.exercises import EXERCISES, check, in_model

PLACES = [name for name, exercise in EXERCISES.items() if exercise.in_model]


@pytest.fixture
def short_speech(monkeypatch):
    """Let the model say 12 tokens, which takes a second, in place of 40."""
    monkeypatch.setattr(in_model, "MAX_NEW_TOKENS", 12)


@pytest.mark.parametrize("name", PLACES)
def test_right_solutions_speak(name, short_speech):
    assert_that_it_speaks(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", PLACES)
def test_right_solutions_speak_at_length(name):
    assert_that_it_speaks(name)


def assert_that_it_speaks(name):
    result = check.in_model(name, RIGHT[name][1])
    assert result.passed, result
    assert dict(result.details)["text"].startswith("Once upon a time") and len(dict(result.details)["text"]) > 40


@pytest.mark.parametrize("name", PLACES)
def test_wrong_solutions_are_found_in_the_model(name):
    right = RIGHT[name][1]

    def wrong(*arguments):
        result = right(*arguments)
        return (spoilt(result[0]), *result[1:]) if isinstance(result, tuple) else spoilt(result)

    result = check.in_model(name, wrong)
    assert not result.passed and "differs" in result.verdict, result


def test_the_first_difference_has_layer_head_and_position():
    calls = []

    def attention(q, k, v):
        heads = np.array(RIGHT["attention"][0](q, k, v), copy=True)
        calls.append(1)
        if len(calls) == 3:  # in the third block, one head, one position
            heads[0, 1, 4] += 1
        return heads

    verdict = check.in_model("attention", attention).verdict
    assert verdict.startswith("h.2.attn.heads is the first activation that differs: layer 2, head 1, position 4:")


def test_what_is_right_for_short_texts_only_is_found_in_the_model(capsys):
    def short_mask(T):
        return np.tri(12, dtype=bool)[:T, :T]

    def short_softmax(x):
        print("hello")
        return right_softmax(x) if x.shape[-1] < 12 else np.full(x.shape, np.nan)

    assert "shape (12, 12), expected (13, 13)" in check.in_model("causal_mask", short_mask).verdict
    result = check.in_model("softmax", short_softmax)
    assert not result.passed and "h.0.attn" in result.verdict and "nan" in result.verdict
    assert capsys.readouterr().out == ""

    def crashes(x):
        return right_softmax(x) if x.shape[-1] < 12 else undefined  # noqa: F821

    assert check.in_model("softmax", crashes).verdict.startswith("NameError: name 'undefined'")


@pytest.mark.parametrize("name", PLACES)
def test_what_does_not_fit_into_the_model_is_told(name):
    for wrong, words in ((None, "returns None"), (np.zeros(1), "shape (1,)|must return 3 values"), ("text", "")):
        result = check.in_model(name, lambda *arguments, wrong=wrong: wrong)
        assert not result.passed and any(word in result.verdict for word in words.split("|")), result
        assert len(result.verdict) < 300


def test_results_with_one_axis_more_do_not_fit():
    right = RIGHT["gpt2"][1]
    for wrong in (lambda *a: right(*a)[None], lambda *a: right(*a)[-1]):
        assert "it returns an array of shape" in check.in_model("gpt2", wrong).verdict
    broadcast = check.in_model("scores", lambda q, k: np.zeros((1, len(k))))
    assert broadcast.verdict == "it returns an array of shape (1, 8), expected (8, 8)"


def test_lists_and_functions_that_write_into_their_arguments_speak(short_speech):
    def layer_norm(x, weight, bias, eps):
        x -= x.mean(-1, keepdims=True)
        x /= np.sqrt(x.var(-1, keepdims=True) + eps)
        return x * weight + bias

    assert check.in_model("layer_norm", layer_norm).passed
    assert check.in_model("softmax", lambda x: right_softmax(x).tolist()).passed
    assert check.in_model("causal_mask", lambda T: [[s <= t for s in range(T)] for t in range(T)]).passed
    assert "must be a function" in check.in_model("softmax", 3).verdict


def test_what_has_no_place_in_the_model():
    with pytest.raises(ValueError, match="adamw has no place in the forward pass"):
        check.in_model("adamw", RIGHT["adamw"][0])


def test_a_function_cannot_change_the_model():
    def feed_forward(x, c_fc, c_proj):
        c_fc["weight"] *= 0
        return x

    assert "read-only" in check.in_model("feed_forward", feed_forward).verdict


@pytest.mark.parametrize("endless_from", [0, 9])
def test_an_endless_loop_ends_as_soon_as_in_a_check(endless_from, monkeypatch):
    monkeypatch.setattr(in_model, "CALL_SECONDS", 1)

    def softmax(x):
        while x.shape[-1] > endless_from:
            pass
        return right_softmax(x)

    began = time.monotonic()
    verdict = check.in_model("softmax", softmax).verdict
    assert "is there an endless loop?" in verdict and time.monotonic() - began < 15


def test_many_slow_calls_are_no_endless_loop(monkeypatch, short_speech):
    monkeypatch.setattr(in_model, "CALL_SECONDS", 0.5)
    monkeypatch.setattr(in_model, "MAX_NEW_TOKENS", 1)

    def softmax(x):
        time.sleep(0.2)
        return right_softmax(x)

    assert check.in_model("softmax", softmax).passed
