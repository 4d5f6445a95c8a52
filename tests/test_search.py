"""Greedy search, sampling and streaming against transformers.generate, token for token, and their own equalities."""

import numpy as np
import pytest
import torch
from helpers import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import in_torch, lively_model, random_ids
from transformers_generation import TINY_CONFIG, compare_with_transformers, options, prompts, small_models

from minigpt import ContextLengthError, GenerationConfig, GPT2Config
from minigpt.generation import generate, stream
from minigpt.generation.sampling import log_softmax


@pytest.fixture
def model():
    return lively_model(TINY_CONFIG, seed=0)


@settings(max_examples=examples(150))
@given(small_models, st.data())
def test_greedy_equals_transformers(model, data):
    ids, mask = data.draw(prompts(model))
    choice = data.draw(options(model))
    # Transformers counts padding in n-grams. We do not: a row's text must not depend on its batch.
    choice["no_repeat_ngram_size"] = data.draw(st.integers(0, 3)) if mask.all() else 0
    compare_with_transformers(model, ids, mask, **choice)


@settings(max_examples=examples(40))
@given(small_models, st.data())
def test_sampling_from_one_token_equals_transformers(model, data):
    # With one token left by the filters, sampling is certain, and so comparable.
    ids, mask = data.draw(prompts(model))
    one = data.draw(st.sampled_from([{"top_k": 1}, {"top_p": 0.0}, {"min_p": 1.0}]))
    compare_with_transformers(model, ids, mask, **data.draw(options(model)), **one, do_sample=True, seed=0)


def test_defaults_are_those_of_transformers(model):
    ids = random_ids(model, (1, 4))
    twin = in_torch(model)
    expected = twin.generate(torch.from_numpy(ids), do_sample=False, eos_token_id=None).numpy()
    assert expected.shape == (1, 24)
    assert np.array_equal(model.generate(ids, eos_token_id=None), expected)
    assert GenerationConfig(do_sample=True).top_k == 50


@settings(max_examples=examples(30))
@given(small_models, st.data())
def test_prompts_of_any_lengths_give_what_each_gives_alone(model, data):
    rows = data.draw(st.lists(st.lists(st.integers(0, 20), min_size=1, max_size=7), min_size=2, max_size=4))
    choice = {"max_new_tokens": 8, "no_repeat_ngram_size": 2, "repetition_penalty": 1.3,
              "num_beams": data.draw(st.integers(1, 3)), "eos_token_id": None}  # fmt: skip
    together = generate(model, rows, **choice)
    longest = max(map(len, rows))
    for row, result in zip(rows, together, strict=True):
        assert result[longest - len(row) :].tolist() == generate(model, row, **choice)[0].tolist()
        assert (result[: longest - len(row)] == model.config.eos_token_id).all()


def test_generation_equals_the_uncached_forward_pass(model):
    ids = random_ids(model, (1, 3))
    text = list(ids[0])
    for _ in range(12):
        text.append(model(text)[-1].argmax())
    assert model.generate(ids, max_new_tokens=12, eos_token_id=None)[0].tolist() == text


def test_shape_type_and_no_tokens(model):
    result = model.generate([3, 4], max_new_tokens=5, eos_token_id=None)
    assert result.shape == (1, 7) and result.dtype == np.int64
    assert model.generate([[3, 4]], max_new_tokens=0).tolist() == [[3, 4]]
    assert model.generate([[3, 4]], max_new_tokens=0, num_beams=2).tolist() == [[3, 4]]


def test_the_callers_arrays_are_never_changed(model):
    array, rows = random_ids(model, (2, 5)), [[1, 2, 3], [4]]
    mask = np.array([[1] * 5, [0, 0, 1, 1, 1]])
    for a in (array, mask):
        a.flags.writeable = False
    for choice in ({}, {"num_beams": 2}, {"do_sample": True, "seed": 0, "num_return_sequences": 2}):
        choice = choice | {"max_new_tokens": 9}
        result = model.generate(array, attention_mask=mask, **choice)
        model.generate(rows, **choice)
        assert not np.shares_memory(result, array)
    assert rows == [[1, 2, 3], [4]]


def test_finished_rows_are_padded(model):
    choice = {"max_new_tokens": 8, "do_sample": True, "top_k": 0, "temperature": 3.0, "seed": 0}
    free = model.generate([[1, 2], [3, 4]], eos_token_id=None, **choice)
    end = int(free[0, 4])
    assert end not in free[1, 2:] and 49 not in free
    ended = model.generate([[1, 2], [3, 4]], eos_token_id=[end, 49], pad_token_id=7, **choice)
    n = list(free[0]).index(end) + 1
    assert ended[0].tolist() == free[0, :n].tolist() + [7] * (10 - n)
    assert np.array_equal(ended[1], free[1])
    assert (model.generate([[1, 2], [3, 4]], eos_token_id=end, **choice)[0, n:] == end).all()
    alone = model.generate([1, 2], eos_token_id=end, **choice)
    assert alone[0].tolist() == free[0, :n].tolist()


def test_stopping_criteria(model):
    free = model.generate([1, 2], max_new_tokens=10, eos_token_id=None)
    seen = []

    def after_five(sequences):
        seen.append(sequences.copy())
        return np.full(len(sequences), sequences.shape[1] >= 5)

    assert model.generate([1, 2], max_new_tokens=10, eos_token_id=None, stopping_criteria=after_five).shape == (1, 5)
    assert [sequences.shape for sequences in seen] == [(1, 3), (1, 4), (1, 5)] and np.array_equal(seen[-1], free[:, :5])
    beams = model.generate([1, 2], max_new_tokens=10, eos_token_id=None, num_beams=2, stopping_criteria=after_five)
    assert beams.shape == (1, 5)


def test_seeds_reproduce(model):
    choice = {"max_new_tokens": 15, "do_sample": True, "top_k": 0, "eos_token_id": None, "temperature": 3.0}
    one = model.generate([1, 2], seed=5, **choice)
    assert np.array_equal(one, model.generate([1, 2], seed=5, **choice))
    assert not np.array_equal(one, model.generate([1, 2], seed=6, **choice))
    assert not np.array_equal(model.generate([1, 2], **choice), model.generate([1, 2], **choice))
    many = model.generate([1, 2], seed=5, num_return_sequences=4, **choice)
    assert many.shape == (4, 17) and len({tuple(row) for row in many}) == 4
    # A row's draws do not depend on the number of rows.
    assert np.array_equal(many[:1], one)
    beams = {**choice, "num_beams": 3}
    assert np.array_equal(model.generate([1, 2], seed=5, **beams), model.generate([1, 2], seed=5, **beams))
    assert not np.array_equal(model.generate([1, 2], seed=5, **beams), model.generate([1, 2], seed=6, **beams))


def test_sampling_draws_from_the_models_distribution(model):
    logprobs = log_softmax(model([1, 2])[-1])
    n = 4000
    drawn = model.generate([1, 2], max_new_tokens=1, do_sample=True, top_k=0, num_return_sequences=n, seed=0)[:, -1]
    counts, expected = np.bincount(drawn, minlength=50), np.exp(logprobs) * n
    assert (np.abs(counts - expected) < 4.5 * np.sqrt(expected) + 1).all()


def test_returned_sequences_belong_to_their_prompts(model):
    rows = model.generate([[1, 2], [3, 4]], max_new_tokens=2, do_sample=True, num_return_sequences=3, seed=0)
    assert rows[:, :2].tolist() == [[1, 2]] * 3 + [[3, 4]] * 3


@pytest.mark.parametrize("choice", [{}, {"do_sample": True, "seed": 3}, {"repetition_penalty": 2.0}])
def test_stream_yields_what_generate_appends(model, choice):
    choice = choice | {"max_new_tokens": 10, "eos_token_id": [7, 8, 9]}
    streamed = list(model.stream([1, 2], **choice))
    assert all(type(i) is int for i in streamed)
    assert streamed == model.generate([1, 2], **choice)[0, 2:].tolist()


def test_stream_computes_as_it_goes(model):
    calls = []
    spied = model.with_ops(linear=lambda *a, **k: calls.append(1) or model.ops.linear(*a, **k))
    ids = stream(spied, [1, 2], max_new_tokens=10, eos_token_id=None)
    assert not calls
    next(ids)
    one = len(calls)
    next(ids)
    assert len(calls) == 2 * one > 0


def test_stream_refuses_at_once_what_it_cannot_do(model):
    for bad in ({"num_beams": 2}, {"num_return_sequences": 2, "do_sample": True}):
        with pytest.raises(ValueError, match="streaming is for one prompt"):
            model.stream([1, 2], **bad)
    with pytest.raises(ContextLengthError):
        model.stream([1, 2], max_new_tokens=100)


@pytest.mark.parametrize("choice", [{}, {"num_beams": 2}, {"do_sample": True, "seed": 1}])
def test_sliding_runs_on(model, choice):
    choice = choice | {"eos_token_id": None}
    n_positions = 24
    long = model.generate([[1, 2, 3], [4, 5, 6]], max_new_tokens=60, slide=True, **choice)
    assert long.shape == (2, 63)
    if "num_beams" not in choice:
        within = model.generate([[1, 2, 3], [4, 5, 6]], max_new_tokens=n_positions - 3, **choice)
        assert np.array_equal(long[:, :n_positions], within)


def test_too_long_is_refused_before_any_work(model):
    idle = model.with_ops(linear=lambda *a, **k: pytest.fail("worked"))
    with pytest.raises(
        ContextLengthError, match="20 tokens and max_new_tokens is 10: 30 together, but the model has 24"
    ):
        idle.generate([1] * 20, max_new_tokens=10)
    with pytest.raises(ContextLengthError, match="at most 4 new tokens fit"):
        idle.generate([1] * 20, max_new_tokens=10, num_beams=2)
    with pytest.raises(ContextLengthError, match="shorten the prompt"):
        idle.generate([1] * 24, max_new_tokens=1)
    assert model.generate([1] * 20, max_new_tokens=4, eos_token_id=None).shape == (1, 24)


def test_a_finished_row_needs_no_choice():
    config = GPT2Config(vocab_size=5, n_positions=16, n_embd=8, n_layer=1, n_head=2, initializer_range=0.5)
    choice = {"no_repeat_ngram_size": 1, "max_new_tokens": 4, "eos_token_id": 0}
    model = lively_model(config, seed=0)
    both = model.generate([[1, 2, 3, 4], [1, 1, 1, 1]], **choice)  # only the end is left for the first row
    assert both[0].tolist() == [1, 2, 3, 4, 0] + [0] * (both.shape[1] - 5)
    alone = model.generate([[1, 1, 1, 1]], **choice)
    assert np.array_equal(both[1:], alone) and both.shape[1] > 5


def test_damaged_weights(model):
    model.params["h"][1]["mlp"]["c_fc"]["weight"][0, 0] = np.nan
    for choice in ({}, {"do_sample": True}, {"num_beams": 2}):
        with pytest.raises(ValueError, match="not numbers .NaN.: its weights are damaged"):
            model.generate([1, 2], **choice)


@pytest.mark.parametrize(
    ("ids", "sentence"),
    [
        ([], "a prompt is empty"),
        ([[]], "a prompt is empty"),
        ([[1], []], "a prompt is empty"),
        (np.empty((0, 3), int), "a prompt is empty"),
        (5, "must be a list of integers"),
        ([1.5], "must be a list of integers, not float64"),
        (["a"], "must be a list of integers"),
        ([1, 50], "token id 50 is outside the vocabulary"),
    ],
)
def test_bad_prompts(model, ids, sentence):
    with pytest.raises(ValueError, match=sentence):
        model.generate(ids)


def test_a_mask_beside_ragged_prompts_is_refused(model):
    with pytest.raises(ValueError, match="prompts of different lengths need none"):
        model.generate([[1], [2, 3]], attention_mask=[[0, 1], [1, 1]])


def test_everything_forbidden(model):
    with pytest.raises(ValueError, match="forbid the whole vocabulary"):
        model.generate(list(range(20)), max_new_tokens=40, no_repeat_ngram_size=1, slide=True, eos_token_id=None)
