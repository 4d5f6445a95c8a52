"""Beam search against transformers.generate, token for token, and its own equalities."""

import numpy as np
import pytest
import torch
from helpers import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from reference import lively_model, random_ids
from transformers import GenerationMixin
from transformers_generation import TINY_CONFIG, compare_with_transformers, options, prompts, small_models

from minigpt import GenerationConfig, GPT2Config
from minigpt.generation import beams
from minigpt.generation.sampling import log_softmax


@pytest.fixture
def model():
    return lively_model(TINY_CONFIG, seed=0)


@settings(max_examples=examples(300))
@given(small_models, st.data())
def test_beams_equal_transformers(model, data):
    ids, mask = data.draw(prompts(model))
    num_beams = data.draw(st.integers(2, 4))
    # Many eos ids and long texts: one prompt is finished while others continue, and better ends come after worse ones.
    ends = st.lists(st.integers(1, model.config.vocab_size - 1), min_size=3, max_size=8, unique=True)
    often_ending = {"eos_token_id": data.draw(ends), "max_new_tokens": data.draw(st.integers(8, 20))}
    choice = (
        data.draw(options(model))
        | data.draw(st.sampled_from([{}, often_ending]))
        | {
            "num_beams": num_beams,
            "num_return_sequences": data.draw(st.integers(1, num_beams)),
            "length_penalty": data.draw(st.sampled_from([1.0, 0.0, -1.0, 2.0])),
            "early_stopping": data.draw(st.sampled_from([False, True, "never"])),
        }
    )
    compare_with_transformers(model, ids, mask, **choice)


@given(st.data(), st.integers(1, 3), st.integers(1, 4), st.sampled_from([1, 2, 50, 128, 500]))
def test_the_best_extensions_are_the_highest_sums(data, B, beams_, V):
    # Of few values, so that sums tie, and some tokens are forbidden.
    values = st.sampled_from([0.0, -1.0, -2.0, -3.0, -np.inf])
    logprobs = data.draw(hnp.arrays(np.float32, (B, beams_, V), elements=values))
    running = data.draw(hnp.arrays(float, (B, beams_), elements=st.sampled_from([0.0, -1.0, -1.5])))
    n = data.draw(st.integers(1, min(beams_ * V, 8)))
    beam, token, scores = beams.best_extensions(logprobs, running, n)
    sums = (logprobs + running[:, :, None]).reshape(B, -1)
    expected = np.argsort(-sums, axis=1, kind="stable")[:, :n]
    assert np.array_equal(beam * V + token, expected)
    assert np.array_equal(scores, np.take_along_axis(sums, expected, axis=1))


@settings(max_examples=examples(60))
@given(st.data(), st.sampled_from([False, True, "never"]), st.sampled_from([-1.0, -0.3, 0.0, 0.5, 2.0]))
def test_the_search_ends_where_that_of_transformers_does(data, early_stopping, length_penalty):
    # Step by step, on drawn scores: few complete searches reach the cases that matter here.
    B, num_beams, max_new_tokens, n_prompt = 2, 3, 20, 4
    config = GenerationConfig(
        early_stopping=early_stopping, length_penalty=length_penalty, max_new_tokens=max_new_tokens
    )
    finished = beams.FinishedBeams(np.zeros((B, num_beams, n_prompt + max_new_tokens), int), n_prompt, config)
    theirs = torch.ones(B, 1, dtype=torch.bool)
    running, length = np.zeros(B), 0
    while length < max_new_tokens:
        length += data.draw(st.integers(1, 4))
        scores = np.sort(running[:, None] - data.draw(hnp.arrays(float, (B, 2 * num_beams), elements=st.floats(0, 3))))
        ends = data.draw(hnp.arrays(bool, (B, 2 * num_beams)))
        candidates = np.zeros((B, 2 * num_beams, n_prompt + max_new_tokens), int)
        finished.add(candidates, scores[:, ::-1], ends, length)
        running = running - data.draw(st.floats(0, 2))
        theirs = GenerationMixin._check_early_stop_heuristic(
            theirs, torch.from_numpy(running)[:, None], torch.from_numpy(finished.scores), torch.from_numpy(finished.filled),
            length + n_prompt, max_new_tokens + n_prompt, n_prompt, early_stopping, length_penalty,
        )  # fmt: skip
        more = GenerationMixin._beam_search_has_unfinished_sequences(
            theirs, torch.from_numpy(finished.filled), torch.zeros(1, dtype=torch.bool), early_stopping
        )
        assert finished.is_done(running, length) == (not more)
        assert np.array_equal(finished.improvable, theirs[:, 0].numpy())


@settings(max_examples=examples(40))
@given(small_models, st.data())
def test_beams_without_repeated_ngrams_equal_transformers(model, data):
    ids = random_ids(model, (2, data.draw(st.integers(1, 6))), data.draw(st.integers(0, 1000)))
    choice = {"max_new_tokens": 8, "num_beams": 3, "no_repeat_ngram_size": data.draw(st.integers(1, 3)),
              "num_return_sequences": 3, "eos_token_id": None, "pad_token_id": 1}  # fmt: skip
    compare_with_transformers(model, ids, np.ones_like(ids), **choice)


@pytest.mark.parametrize(("eos", "n"), [(None, 2), (7, 2), ([7, 8], 3), ([7, 8, 9], 4)])
def test_beam_sampling_keeps_as_many_tokens_as_transformers(model, monkeypatch, eos, n):
    left = []
    apply_filters = beams.apply_filters

    def spy(*arguments):
        left.append(np.isfinite(scores := apply_filters(*arguments)).sum(axis=-1))
        return scores

    monkeypatch.setattr(beams, "apply_filters", spy)
    choice = {"max_new_tokens": 3, "num_beams": 2, "do_sample": True, "eos_token_id": eos, "seed": 0}
    for one in ({"top_k": 1}, {"top_p": 0.0}, {"min_p": 1.0}, {"typical_p": 0.0}):
        left.clear()
        model.generate([1, 2], **choice, **one)
        assert (np.concatenate(left) == n).all()


def test_beam_search_with_room_for_everything_finds_the_most_probable_text():
    config = GPT2Config(vocab_size=5, n_positions=8, n_embd=8, n_layer=2, n_head=2, initializer_range=0.5)
    model = lively_model(config, seed=1)
    first = log_softmax(model([1])[-1])
    logprobs = {(a, b): first[a] + log_softmax(model([1, a])[-1])[b] for a in range(5) for b in range(5)}
    expected = sorted(logprobs, key=logprobs.get, reverse=True)[:5]
    found = model.generate([1], max_new_tokens=2, num_beams=5, num_return_sequences=5, eos_token_id=None)
    assert [tuple(row[1:]) for row in found] == expected


def test_beam_sampling_varies_and_beams_beat_greedy(model):
    choice = {"max_new_tokens": 6, "eos_token_id": None}

    def logprob(row):
        logprobs = log_softmax(model(row))
        return sum(logprobs[i - 1, row[i]] for i in range(2, len(row)))

    greedy, searched = (model.generate([1, 2], num_beams=n, **choice)[0] for n in (1, 4))
    assert logprob(searched) >= logprob(greedy)
    sampled = {tuple(model.generate([1, 2], num_beams=3, do_sample=True, seed=s, **choice)[0]) for s in range(8)}
    assert len(sampled) > 3
    best = model.generate([1, 2], num_beams=3, do_sample=True, top_k=0, temperature=1e-4, seed=0, **choice)
    assert best.shape == (1, 8)


def test_beams_of_equal_prompts_are_drawn_apart(model):
    choice = {"max_new_tokens": 6, "num_beams": 2, "do_sample": True, "top_k": 0, "temperature": 3.0, "seed": 0}
    rows = model.generate([[1, 2]] * 8, eos_token_id=None, **choice)
    assert len({tuple(row) for row in rows}) > 6
