"""Speculative decoding: the model's own tokens or distribution, whoever drafts, and fewer passes where drafts are right."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from helpers import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import TINY, in_torch, lively_model, models

from minigpt import GPT2, GenerationConfig, GPT2Config
from minigpt.generation import speculative
from minigpt.generation.sampling import apply_filters
from minigpt.generation.speculative import DraftLength, PromptLookup, accept, find_repetition
from minigpt.ops.plain import softmax


@st.composite
def models_and_options(draw):
    """Draw a model, a prompt, options of any kind, and what drafts. Few tokens and eos ids, so that all occurs often."""
    model = draw(models(vocab_size=24))
    eos = draw(st.none() | st.lists(st.integers(0, 23), min_size=1, max_size=3))
    options = {
        "max_new_tokens": draw(st.integers(0, 30)),
        "repetition_penalty": draw(st.sampled_from([1.0, 1.0, 0.8, 1.3])),
        "no_repeat_ngram_size": draw(st.sampled_from([0, 0, 2, 4])),
        "eos_token_id": eos,
        "slide": True,
    }
    if draw(st.booleans()):
        last = draw(st.integers(0, 40))
        options["stopping_criteria"] = lambda sequences: np.full(len(sequences), sequences.shape[1] >= last)
    return model, draw(st.lists(st.integers(0, 23), min_size=1, max_size=12)), options


@st.composite
def drafters(draw, model):
    """Draw what drafts: the text itself, or an assistant that is much like the model, or not at all."""
    if draw(st.booleans()):
        return {
            "prompt_lookup_num_tokens": draw(st.integers(1, 12)),
            "max_matching_ngram_size": draw(st.integers(1, 4)),
        }
    config = replace(model.config, n_positions=draw(st.integers(1, 40)))
    other = lively_model(config, draw(st.integers(0, 9)))
    if draw(st.booleans()) and config.n_positions <= model.config.n_positions:
        position_table = {"weight": model.params["wpe"]["weight"][: config.n_positions]}
        other.params.update({**model.params, "wpe": position_table})
    return {"assistant_model": other}


@settings(max_examples=examples(200))
@given(models_and_options(), st.data(), st.sampled_from([None, 0, 1, 2, 7]))
def test_greedy_search_gives_the_same_tokens(case, data, always):
    model, ids, options = case
    drafter = data.draw(drafters(model))
    expected = model.generate(ids, **options)
    with pytest.MonkeyPatch.context() as patch:
        if always is not None:  # draft this many, whether they are accepted or not
            patch.setattr(DraftLength, "best", lambda self: min(always, self.n[-1]))
        assert np.array_equal(model.generate(ids, **options, **drafter), expected)
        assert list(model.stream(ids, **options, **drafter)) == expected[0, len(ids) :].tolist()


@settings(max_examples=examples(60))
@given(models_and_options(), st.integers(0, 99), st.sampled_from([0.3, 1.0]), st.integers(1, 9))
def test_sampling_with_drafts_from_the_text_gives_the_text_of_the_same_seed(case, seed, temperature, n):
    model, ids, options = case
    options = options | {"do_sample": True, "seed": seed, "temperature": temperature, "top_k": 5}
    expected = model.generate(ids, **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DraftLength, "best", lambda self: self.n[-1])
        assert np.array_equal(model.generate(ids, prompt_lookup_num_tokens=n, **options), expected)


def test_stopping_criteria_see_every_sequence_once(model):
    seen = {}
    for drafter in ({}, {"prompt_lookup_num_tokens": 5}, {"assistant_model": model}):
        rows = seen[str(drafter)] = []
        model.generate(
            [1, 2], max_new_tokens=20, stopping_criteria=lambda s, rows=rows: [rows.append(s.tolist())], **drafter
        )
    first, *others = seen.values()
    assert len(first) == 20 and all(other == first for other in others)


def test_padding_of_a_single_prompt(model):
    ids, mask = [[0, 0, 5, 6, 5]], [[0, 0, 1, 1, 1]]
    options = {"attention_mask": mask, "max_new_tokens": 40, "slide": True, "repetition_penalty": 1.2}
    expected = model.generate(ids, **options)
    for drafter in ({"prompt_lookup_num_tokens": 5}, {"assistant_model": model}):
        assert np.array_equal(model.generate(ids, **options, **drafter), expected)


def test_the_longest_and_newest_repetition_is_found():
    rng = np.random.default_rng(0)
    for _ in range(300):
        ids, most = rng.integers(0, 5, rng.integers(1, 25)), int(rng.integers(1, 5))
        found = [
            (size, end)
            for size in range(1, most + 1)
            for end in range(size, len(ids))
            if np.array_equal(ids[end - size : end], ids[len(ids) - size :])
        ]
        assert find_repetition(ids, most) == (max(found)[1] if found else None)


def test_a_draft_goes_on_where_the_last_one_was_right():
    drafter = PromptLookup(GenerationConfig(prompt_lookup_num_tokens=3))
    text = np.array([1, 2, 3, 4, 5, 6, 9, 3, 4, 7, 1, 2])
    assert drafter.draft(text, 9, None)[0].tolist() == [3]
    drafter.learn([3, 4])
    # "3, 4" stands there twice, but it is the first of them that has been followed so far.
    assert drafter.draft(np.append(text, [3, 4]), 9, None)[0].tolist()[:2] == [5, 6]
    drafter.learn([8])
    assert drafter.draft(np.append(text, [3, 4, 8]), 9, None)[0].size == 0
    loop = PromptLookup(GenerationConfig(prompt_lookup_num_tokens=7))
    loop.draft(np.array([7, 1, 2, 1, 2]), 9, None)
    assert loop.guesses.tolist() == [1, 2] * 4


def small_pair():
    """A model and an assistant with a vocabulary of 4."""
    config = GPT2Config(4, 8, n_embd=8, n_layer=2, n_head=2, initializer_range=0.4, eos_token_id=0)
    return lively_model(config, 1), lively_model(replace(config, n_layer=1), 2)


SAMPLING = {"do_sample": True, "temperature": 1.4, "top_k": 3, "repetition_penalty": 1.3, "eos_token_id": None}


def text_probabilities(model, ids, n):
    """The probability of each continuation by n tokens, by the forward pass alone: [V^n]."""
    options = GenerationConfig(**SAMPLING)
    found = []
    for continuation in product(range(4), repeat=n):
        text, probability = list(ids), 1.0
        for token in continuation:
            probability *= softmax(apply_filters(model(text)[-1:], [text], options))[0, token]
            text.append(token)
        found.append(probability)
    return np.array(found)


def surprise(counts, probabilities):
    """The probability of so large a chi-square, were the counts drawn with these probabilities."""
    if counts[probabilities == 0].any():
        return 0.0
    expected = (counts.sum() * probabilities)[probabilities > 0]
    counts = counts[probabilities > 0]
    order = np.argsort(expected)
    bins = np.cumsum(expected[order]) // 8  # bins of at least about 8 expected counts
    counts, expected = (np.array([x[order][bins == b].sum() for b in np.unique(bins)]) for x in (counts, expected))
    degrees = torch.tensor(len(counts) - 1.0, dtype=torch.float64)
    return float(torch.special.gammaincc(degrees / 2, torch.tensor(((counts - expected) ** 2 / expected).sum() / 2)))


def redraw_from_p(p, q, token, u):
    return token if u[0] * q[token] < p[token] else np.searchsorted(np.cumsum(p), u[1], side="right")


BROKEN = {"always": lambda p, q, token, u: token, "from p": redraw_from_p}


@pytest.mark.parametrize("rule", [accept, *BROKEN.values()], ids=["right", *BROKEN])
def test_sampling_with_an_assistant_keeps_the_distribution(rule, monkeypatch):
    model, assistant = small_pair()
    probabilities = text_probabilities(model, [1, 2], 4)
    monkeypatch.setattr(speculative, "accept", rule)
    monkeypatch.setattr(DraftLength, "best", lambda self: 2)  # after the first token, which is read with the prompt
    counts = np.zeros([4] * 4)
    for seed in range(700):
        counts[*model.stream([1, 2], max_new_tokens=4, assistant_model=assistant, seed=seed, **SAMPLING)] += 1
    found = surprise(counts.ravel(), probabilities)
    assert found > 1e-3 if rule is accept else found < 1e-6


def test_accept_draws_from_p():
    p, q, rng = np.array([0.1, 0.2, 0.3, 0.4, 0.0]), np.array([0.3, 0.1, 0.15, 0.05, 0.4]), np.random.default_rng(0)

    def counts(rule):
        drafted = rng.choice(5, 4000, p=q)
        return np.bincount([rule(p, q, token, rng.random(2)) for token in drafted], minlength=5)

    assert surprise(counts(accept), p) > 0.01
    for rule in BROKEN.values():
        assert surprise(counts(rule), p) < 1e-6


def test_a_rejection_by_rounding_alone_keeps_the_token():
    p = np.array([0.3, 0.7])
    q = np.array([np.nextafter(0.3, 1), 0.7])
    assert accept(p, q, 0, np.array([np.nextafter(1, 0), 0.5])) == 0


def tokens_per_pass(model):
    """Return the model with a spy, and the list of how many tokens each pass reads."""
    read = []

    def attention(q, k, v):
        read.append(q.shape[2])
        return model.ops.attention(q, k, v)

    spied = model.with_ops(attention=attention)
    return spied, lambda: read[:: model.config.n_layer]


@pytest.fixture
def wide_model():
    """A model with a context of 200."""
    return lively_model(replace(TINY, n_positions=200), seed=0)


def test_a_text_that_repeats_itself_takes_few_passes(wide_model):
    wide_model.params["wpe"]["weight"][:] = 0  # without positions, a greedy text soon goes round in circles
    options = {"max_new_tokens": 160, "eos_token_id": None}
    for n, most in ((3, 60), (7, 45), (50, 45)):
        spied, read = tokens_per_pass(wide_model)
        spied.generate([1, 2], prompt_lookup_num_tokens=n, **options)
        assert len(read()) < most and max(read()) == min(n, 7) + 1


def test_wrong_guesses_from_the_text_are_not_read(wide_model, monkeypatch):
    options = {"max_new_tokens": 190, "eos_token_id": None}
    text = wide_model.generate([1, 2], **options)[0]

    def wrong(self, ids, room, rng):
        self.source, self.guesses = len(ids), (text[len(ids) : len(ids) + 8] + 1) % 50
        return self.guesses[: min(room, self.length.best())], []

    monkeypatch.setattr(PromptLookup, "draft", wrong)
    spied, read = tokens_per_pass(wide_model)
    assert np.array_equal(spied.generate([1, 2], prompt_lookup_num_tokens=7, **options)[0], text)
    assert len(read()) == 190 and sum(read()) <= 2 + 190 + 1


def with_a_good_assistant(model):
    """The model with two more blocks that do nothing, and an assistant without them."""
    silent = {**model.params["h"][0]}
    for part, name in (("attn", "c_proj"), ("mlp", "c_proj")):
        zeros = {key: np.zeros_like(array) for key, array in silent[part][name].items()}
        silent[part] = {**silent[part], name: zeros}
    config = replace(model.config, n_layer=model.config.n_layer + 9)
    return GPT2(config, {**model.params, "h": model.params["h"] + [silent] * 9}), model


def test_a_good_assistant_saves_passes(wide_model):
    large, assistant = with_a_good_assistant(wide_model)
    spied, read = tokens_per_pass(large)
    for options in ({}, {"do_sample": True, "seed": 0, "temperature": 2.0}):
        spied.generate([1, 2], max_new_tokens=100, eos_token_id=None, assistant_model=assistant, **options)
    assert len(read()) < 2 * 35 and max(read()) == 8


def test_a_wrong_assistant_rests(wide_model):
    large, assistant = with_a_good_assistant(wide_model)
    assistant = GPT2(assistant.config, {**assistant.params, "wte": {"weight": -assistant.params["wte"]["weight"]}})
    (spied, read), (spied_assistant, drafted) = tokens_per_pass(large), tokens_per_pass(assistant)
    options = {"max_new_tokens": 190, "eos_token_id": None}
    found = spied.generate([1, 2], assistant_model=spied_assistant, **options)
    assert np.array_equal(found, large.generate([1, 2], **options))
    assert 3 <= len(drafted()) <= 6 and sum(read()) <= 2 + 190 + 6


def test_the_number_of_drafted_tokens_is_the_most_profitable():
    # Leviathan et al. 2023, table 1, has for an acceptance rate of 0.8 and free drafts (1 - 0.8^(n+1)) / 0.2 tokens.
    length = DraftLength(7, 0.4)
    for rate in np.linspace(0, 0.99, 34):
        length.right, length.counted = rate, 1.0
        speed = [(1 - rate ** (n + 1)) / (1 - rate) / (1 + 0.4 * n) for n in range(8)]
        assert length.best() == np.argmax(speed)
    length.right, length.counted = 1.0, 2.0
    for _ in range(30):
        length.count([1, 2, 3], [1, 2])
    assert length.best() == 7
    length.count([1, 2, 3], [9])
    few = length.best()
    length.count([], [9])
    assert length.best() == few < 7
    for _ in range(5):
        length.count([1], [2])
    assert length.best() == 0


@pytest.mark.parametrize("drafter", [{"prompt_lookup_num_tokens": 4}, {"assistant_model": "the model"}])
def test_only_one_sequence_can_be_drafted_for(model, drafter):
    drafter = {name: model if value == "the model" else value for name, value in drafter.items()}
    sentence = f"{next(iter(drafter))} is for one prompt and one continuation, without beams: leave it out"
    for ids, options in (
        ([[1, 2], [3, 4]], {}),
        ([1, 2], {"num_beams": 2}),
        ([1, 2], {"do_sample": True, "num_return_sequences": 2}),
    ):
        with pytest.raises(ValueError, match=sentence):
            model.generate(ids, **options, **drafter)


@pytest.mark.parametrize("run", ["generate", "stream"])
def test_what_cannot_draft_is_refused_before_any_work(model, run):
    idle = model.with_ops(linear=lambda *a, **k: pytest.fail("worked"))
    other = lively_model(replace(TINY, vocab_size=51), 0)
    for bad, sentence in (
        ({"assistant_model": other}, "assistant_model has a vocabulary of 51 tokens, the model one of 50"),
        ({"assistant_model": "stories"}, "assistant_model must be a GPT2, not str"),
        ({"assistant_model": in_torch(model)}, "assistant_model must be a GPT2, not GPT2LMHeadModel"),
        ({"assistant_model": model, "prompt_lookup_num_tokens": 3}, "both draft: give one of them"),
    ):
        with pytest.raises(ValueError, match=sentence):
            getattr(idle, run)([1, 2], **bad)
