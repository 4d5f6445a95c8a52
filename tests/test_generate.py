"""Generation against transformers.generate, token for token, and its own equalities."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from reference import assert_close, in_torch, lively_model, models, random_ids
from transformers import GenerationMixin

import minigpt.generate
from minigpt import ContextLengthError, GenerationConfig, GPT2Config
from minigpt.generate import _Finished, generate, stream
from minigpt.sampling import log_softmax

# Heads of four numbers at least: a stream of one or two numbers knows so little that many texts tie.
small_models = models("float32", n_positions=32, min_head_size=4)
TINY = GPT2Config(vocab_size=50, n_positions=24, n_embd=12, n_layer=3, n_head=3, initializer_range=0.5, eos_token_id=0)


@pytest.fixture
def model():
    return lively_model(TINY, seed=0)


@st.composite
def prompts(draw, model):
    """ids [B, T] and an attention mask: rows of different lengths, filled at the left."""
    lengths = draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
    T = max(lengths)
    ids = random_ids(model, (len(lengths), T), draw(st.integers(0, 1000)))
    return ids, (np.arange(T) >= T - np.array(lengths)[:, None]).astype(np.int64)


@st.composite
def options(draw, model):
    V = model.config.vocab_size
    # Several ends, so that texts do end.
    eos = draw(st.none() | st.lists(st.integers(1, V - 1), min_size=1, max_size=5, unique=True))
    return {
        "max_new_tokens": draw(st.integers(1, 12)),
        "repetition_penalty": draw(st.sampled_from([1.0, 1.0, 0.7, 1.8])),
        "eos_token_id": eos,
        "pad_token_id": draw(st.integers(1, V - 1)),
    }


class ClosestCall:
    """The smallest difference between two scores that generate chose between.

    Where it is below what float32 can tell apart, two implementations may both be right and yet differ.
    """

    def __init__(self, monkeypatch):
        self.difference = np.inf
        highest = minigpt.generate._highest
        monkeypatch.setattr(minigpt.generate, "_highest", lambda x, n: self.look(x, n + 1) or highest(x, n))
        monkeypatch.setattr(minigpt.generate, "check_choice_is_left", lambda x: self.look(x, 2))

    def look(self, scores, n):
        best = np.sort(scores.reshape(len(scores), -1), axis=1)[:, -n:]
        if n > 2:
            best = np.where(best < -1e6, np.arange(best.shape[1]) * -1e9, best)  # no candidates: their order is nothing
        with np.errstate(invalid="ignore"):
            self.difference = np.nanmin(np.append(np.abs(np.diff(best)), self.difference))

    def is_clear(self):
        return self.difference > 1e-4


def compare_with_transformers(model, ids, mask, **choice):
    with pytest.MonkeyPatch.context() as monkeypatch:
        call = ClosestCall(monkeypatch)
        ours = generate(model, ids, attention_mask=mask, **choice)
    assume(call.is_clear())
    sampling = {} if "do_sample" in choice else {"do_sample": False}
    choice.pop("seed", None)
    theirs = in_torch(model).generate(
        torch.from_numpy(ids), attention_mask=torch.from_numpy(mask), **sampling, **choice
    )
    assert np.array_equal(ours, theirs.numpy())


@settings(max_examples=150)
@given(small_models, st.data())
def test_greedy_equals_transformers(model, data):
    ids, mask = data.draw(prompts(model))
    choice = data.draw(options(model))
    # Transformers counts filling among the runs of tokens; we do not, or a batch would change what its rows say.
    choice["no_repeat_ngram_size"] = data.draw(st.integers(0, 3)) if mask.all() else 0
    compare_with_transformers(model, ids, mask, **choice)


@settings(max_examples=300)
@given(small_models, st.data())
def test_beams_equal_transformers(model, data):
    ids, mask = data.draw(prompts(model))
    num_beams = data.draw(st.integers(2, 4))
    # Many ends and long texts: one prompt is finished while others go on, and better ends come after worse ones.
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


@settings(max_examples=60)
@given(st.data(), st.sampled_from([False, True, "never"]), st.sampled_from([-1.0, -0.3, 0.0, 0.5, 2.0]))
def test_the_end_of_the_search_is_that_of_transformers(data, early_stopping, length_penalty):
    # Step by step, on drawn scores: whole searches seldom come to where all this matters.
    B, beams, max_new_tokens, n_prompt = 2, 3, 20, 4
    config = GenerationConfig(
        early_stopping=early_stopping, length_penalty=length_penalty, max_new_tokens=max_new_tokens
    )
    done = _Finished(np.zeros((B, beams, n_prompt + max_new_tokens), int), n_prompt, config)
    theirs = torch.ones(B, 1, dtype=torch.bool)
    running, length = np.zeros(B), 0
    while length < max_new_tokens:
        length += data.draw(st.integers(1, 4))
        scores = np.sort(running[:, None] - data.draw(hnp.arrays(float, (B, 2 * beams), elements=st.floats(0, 3))))
        ends = data.draw(hnp.arrays(bool, (B, 2 * beams)))
        candidates = np.zeros((B, 2 * beams, n_prompt + max_new_tokens), int)
        done.add(candidates, scores[:, ::-1], ends, length)
        running = running - data.draw(st.floats(0, 2))
        theirs = GenerationMixin._check_early_stop_heuristic(
            theirs, torch.from_numpy(running)[:, None], torch.from_numpy(done.scores), torch.from_numpy(done.filled),
            length + n_prompt, max_new_tokens + n_prompt, n_prompt, early_stopping, length_penalty,
        )  # fmt: skip
        more = GenerationMixin._beam_search_has_unfinished_sequences(
            theirs, torch.from_numpy(done.filled), torch.zeros(1, dtype=torch.bool), early_stopping
        )
        assert done.is_final(running, length) == (not more)
        assert np.array_equal(done.improvable, theirs[:, 0].numpy())


@settings(max_examples=40)
@given(small_models, st.data())
def test_beams_without_repeated_runs_equal_transformers(model, data):
    ids = random_ids(model, (2, data.draw(st.integers(1, 6))), data.draw(st.integers(0, 1000)))
    choice = {"max_new_tokens": 8, "num_beams": 3, "no_repeat_ngram_size": data.draw(st.integers(1, 3)),
              "num_return_sequences": 3, "eos_token_id": None, "pad_token_id": 1}  # fmt: skip
    compare_with_transformers(model, ids, np.ones_like(ids), **choice)


@settings(max_examples=40)
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


# ---------------------------------------------------------------- batches and lengths


@settings(max_examples=30)
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


def test_finished_rows_are_filled(model):
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


def test_filling_is_always_an_id_of_the_vocabulary():
    # As in Chinese GPT-2: ids of the English one in the config, beyond a smaller vocabulary.
    config = GPT2Config(vocab_size=50, n_positions=24, n_embd=12, n_layer=1, n_head=3, initializer_range=0.5)
    assert config.eos_token_id == 50256
    model = lively_model(config, seed=0)
    assert model.generate([[1, 2], [3]], max_new_tokens=3)[1, 0] == 0
    end = int(model.generate([1, 2], max_new_tokens=1)[0, -1])
    ended = model.generate([[1, 2], [3, 4]], max_new_tokens=9, eos_token_id=[50256, end], do_sample=True, seed=1)
    assert ended.max() < 50
    with pytest.raises(ValueError, match="pad_token_id must be an id in the vocabulary of 50, not 50256"):
        model.generate([1, 2], pad_token_id=50256)


def test_stopping_criteria(model):
    free = model.generate([1, 2], max_new_tokens=10, eos_token_id=None)
    seen = []

    def after_five(texts):
        seen.append(texts.copy())
        return np.full(len(texts), texts.shape[1] >= 5)

    assert model.generate([1, 2], max_new_tokens=10, eos_token_id=None, stopping_criteria=after_five).shape == (1, 5)
    assert [t.shape for t in seen] == [(1, 3), (1, 4), (1, 5)] and np.array_equal(seen[-1], free[:, :5])
    beams = model.generate([1, 2], max_new_tokens=10, eos_token_id=None, num_beams=2, stopping_criteria=after_five)
    assert beams.shape == (1, 5)


# ---------------------------------------------------------------- sampling


def test_seeds_reproduce(model):
    choice = {"max_new_tokens": 15, "do_sample": True, "top_k": 0, "eos_token_id": None, "temperature": 3.0}
    one = model.generate([1, 2], seed=5, **choice)
    assert np.array_equal(one, model.generate([1, 2], seed=5, **choice))
    assert not np.array_equal(one, model.generate([1, 2], seed=6, **choice))
    assert not np.array_equal(model.generate([1, 2], **choice), model.generate([1, 2], **choice))
    many = model.generate([1, 2], seed=5, num_return_sequences=4, **choice)
    assert many.shape == (4, 17) and len({tuple(row) for row in many}) == 4
    # A row's draws are its own, however many there are.
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


@pytest.mark.parametrize(("eos", "n"), [(None, 2), (7, 2), ([7, 8], 3), ([7, 8, 9], 4)])
def test_beam_sampling_keeps_as_many_tokens_as_transformers(model, monkeypatch, eos, n):
    left = []
    original = minigpt.generate.process

    def spy(*arguments):
        left.append(np.isfinite(scores := original(*arguments)).sum(axis=-1))
        return scores

    monkeypatch.setattr(minigpt.generate, "process", spy)
    choice = {"max_new_tokens": 3, "num_beams": 2, "do_sample": True, "eos_token_id": eos, "seed": 0}
    for one in ({"top_k": 1}, {"top_p": 0.0}, {"min_p": 1.0}, {"typical_p": 0.0}):
        left.clear()
        model.generate([1, 2], **choice, **one)
        assert (np.concatenate(left) == n).all()


def test_beam_search_with_room_for_everything_finds_the_most_probable_text():
    config = GPT2Config(vocab_size=5, n_positions=8, n_embd=8, n_layer=2, n_head=2, initializer_range=0.5)
    model = lively_model(config, seed=1)
    first = log_softmax(model([1])[-1])
    texts = {(a, b): first[a] + log_softmax(model([1, a])[-1])[b] for a in range(5) for b in range(5)}
    expected = sorted(texts, key=texts.get, reverse=True)[:5]
    found = model.generate([1], max_new_tokens=2, num_beams=5, num_return_sequences=5, eos_token_id=None)
    assert [tuple(row[1:]) for row in found] == expected


def test_beam_sampling_varies_and_beams_beat_greedy(model):
    choice = {"max_new_tokens": 6, "eos_token_id": None}

    def logprob(row):
        logprobs = log_softmax(model(row))
        return sum(logprobs[i - 1, row[i]] for i in range(2, len(row)))

    greedy, beams = (model.generate([1, 2], num_beams=n, **choice)[0] for n in (1, 4))
    assert logprob(beams) >= logprob(greedy)
    sampled = {tuple(model.generate([1, 2], num_beams=3, do_sample=True, seed=s, **choice)[0]) for s in range(8)}
    assert len(sampled) > 3
    best = model.generate([1, 2], num_beams=3, do_sample=True, top_k=0, temperature=1e-4, seed=0, **choice)
    assert best.shape == (1, 8)


# ---------------------------------------------------------------- streaming and sliding


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


def test_sliding_sees_the_newest_tokens_only(model):
    text = [1, 2, 3]
    window = text
    for _ in range(60):
        if len(window) > 24:
            window = window[-12:]
        text = [*text, int(model(window)[-1].argmax())]
        window = [*window, text[-1]]
    slid = model.generate([1, 2, 3], max_new_tokens=60, eos_token_id=None, slide=True)
    assert slid[0].tolist() == text
    # A prompt that is longer than the window.
    assert model.generate([1] * 30 + [2], max_new_tokens=1, slide=True)[0, -1] == model([1] * 11 + [2])[-1].argmax()


def test_sliding_with_padding_still_in_the_window(model):
    long = [int(i) for i in random_ids(model, 20)]
    both = model.generate([[1, 2, 3], long], max_new_tokens=30, eos_token_id=None, slide=True)
    for row, padding in zip(both, (17, 0), strict=True):
        text, dropped = list(row[:20]), 0
        for _ in range(30):
            if len(text) - dropped > 24:
                dropped = len(text) - 12  # at first 13: four of the short row's 17 columns of padding remain
            text.append(int(model(text[max(padding, dropped) :])[-1].argmax()))
        assert row.tolist() == text


def test_beams_of_equal_prompts_are_drawn_apart(model):
    choice = {"max_new_tokens": 6, "num_beams": 2, "do_sample": True, "top_k": 0, "temperature": 3.0, "seed": 0}
    rows = model.generate([[1, 2]] * 8, eos_token_id=None, **choice)
    assert len({tuple(row) for row in rows}) > 6


def test_sliding_memory_does_not_grow(model):
    from minigpt.generate import Reader

    reader = Reader(model, 1, 10_000, None, slide=True)
    assert reader.cache.max_length == 24


# ---------------------------------------------------------------- bad input


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


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        ({"max_new_tokens": -1}, "max_new_tokens must be an integer, at least 0, not -1"),
        ({"max_new_tokens": 2.0}, "max_new_tokens must be an integer"),
        (
            {"temperature": 0.0},
            "temperature must be a number from 1e-6 to 1e6 .greedy search is do_sample=False., not 0.0",
        ),
        ({"temperature": float("nan")}, "temperature must be a number from"),
        ({"top_k": -1}, "top_k must be an integer, at least 0"),
        ({"top_p": 1.5}, "top_p must be a number from 0 to 1"),
        ({"min_p": -0.1}, "min_p must be a number from 0 to 1"),
        ({"typical_p": "x"}, "typical_p must be a number from 0 to 1"),
        ({"repetition_penalty": 0}, "repetition_penalty must be a number from 0.01 to 100"),
        ({"no_repeat_ngram_size": -1}, "no_repeat_ngram_size must be an integer"),
        ({"num_beams": 0}, "num_beams must be an integer, at least 1"),
        ({"early_stopping": "always"}, "early_stopping must be True, False or"),
        ({"length_penalty": float("inf")}, "length_penalty must be a number from -10 to 10"),
        ({"seed": -1}, "seed must be an integer, at least 0, or None"),
        ({"do_sample": "no"}, "do_sample must be True or False, not 'no'"),
        ({"eos_token_id": "abc"}, "eos_token_id must be an id, a list of ids or None"),
        ({"eos_token_id": [1.5]}, "eos_token_id must be an id, a list of ids or None"),
        ({"pad_token_id": 1.7}, "pad_token_id must be an id, not 1.7"),
        ({"num_return_sequences": 2}, "greedy search has one result"),
        ({"num_return_sequences": 3, "num_beams": 2}, "num_return_sequences = 3 needs as many beams"),
        (
            {"num_return_sequences": 3, "num_beams": 2, "do_sample": True},
            "num_return_sequences = 3 needs as many beams",
        ),
        ({"num_beams": 60, "eos_token_id": list(range(50))}, "too much for 50 tokens"),
    ],
)
def test_bad_options(model, bad, sentence):
    with pytest.raises(ValueError, match=sentence):
        model.generate([1, 2], **bad)


def test_a_finished_row_needs_no_choice():
    config = GPT2Config(vocab_size=5, n_positions=16, n_embd=8, n_layer=1, n_head=2, initializer_range=0.5)
    choice = {"no_repeat_ngram_size": 1, "max_new_tokens": 4, "eos_token_id": 0}
    model = lively_model(config, seed=0)
    both = model.generate([[1, 2, 3, 4], [1, 1, 1, 1]], **choice)  # the first row has nothing left but the end
    assert both[0].tolist() == [1, 2, 3, 4, 0] + [0] * (both.shape[1] - 5)
    alone = model.generate([[1, 1, 1, 1]], **choice)
    assert np.array_equal(both[1:], alone) and both.shape[1] > 5


def test_ids_of_ends_may_be_an_array(model):
    ended = model.generate([1, 2], max_new_tokens=9, eos_token_id=np.arange(50))
    assert ended.shape == (1, 3)


def test_damaged_weights(model):
    model.params["h"][1]["mlp"]["c_fc"]["weight"][0, 0] = np.nan
    for options in ({}, {"do_sample": True}, {"num_beams": 2}):
        with pytest.raises(ValueError, match="not numbers .NaN.: its weights are damaged"):
            model.generate([1, 2], **options)


def test_an_unknown_option_is_named(model):
    with pytest.raises(TypeError, match="top_kk"):
        model.generate([1, 2], top_kk=3)


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
    with pytest.raises(ValueError, match="forbids the whole vocabulary"):
        model.generate(list(range(20)), max_new_tokens=40, no_repeat_ngram_size=1, slide=True, eos_token_id=None)


def test_reader_reads_every_token_once(model):
    from minigpt.generate import Reader

    read = []
    spied = model.with_ops(attention=lambda q, k, v: read.append(q.shape[2]) or model.ops.attention(q, k, v))
    reader = Reader(spied, 1, 10, None, slide=False)
    text = random_ids(model, (1, 10))
    for length in (4, 5, 8):
        assert_close(reader.next_logits(text[:, :length]), model(text[:, :length])[:, -1], 1e-9)
    assert read[:: TINY.n_layer] == [4, 1, 3]
