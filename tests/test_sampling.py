"""The filters against transformers' logits processors, number for number, and the draws against their distributions."""

import numpy as np
import pytest
import torch
from helpers import examples
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from transformers.generation import logits_process as hf

from minigpt.generation import GenerationConfig, forbidding, sampling
from minigpt.ops.plain import softmax


@st.composite
def scores(draw, min_vocabulary=2):
    """Draw scores [N, V], all different within a row: the order of ties is not specified."""
    N, V = draw(st.integers(1, 3)), draw(st.integers(min_vocabulary, 40))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    return (rng.normal(size=(N, V)) * draw(st.sampled_from([0.1, 1.0, 5.0]))).astype(np.float32)


probabilities = st.floats(0, 1)
min_keeps = st.integers(1, 3)


def torch_process(processor, x, ids=None):
    return processor(None if ids is None else torch.from_numpy(ids), torch.from_numpy(x.copy())).numpy()


@settings(max_examples=examples(100))
@given(scores(), st.integers(1, 50), min_keeps)
def test_top_k(x, k, keep):
    expected = torch_process(hf.TopKLogitsWarper(k, min_tokens_to_keep=keep), x)
    assert np.array_equal(sampling.top_k(x, k, keep), expected)


def test_top_k_keeps_ties():
    kept = sampling.top_k(np.array([[1.0, 3.0, 3.0, 2.0, 3.0]]), 2)
    assert kept.tolist() == [[-np.inf, 3.0, 3.0, -np.inf, 3.0]]


def near_a_boundary(mass, boundary):
    """Return whether float32 sums, added in another order, could fall on the other side."""
    return np.abs(mass - boundary).min() < 1e-5


@settings(max_examples=examples(100))
@given(scores(), probabilities, min_keeps)
def test_top_p(x, p, keep):
    assume(not near_a_boundary(np.cumsum(np.sort(softmax(x.astype(np.float64)))), 1 - p))
    expected = torch_process(hf.TopPLogitsWarper(p, min_tokens_to_keep=keep), x)
    assert np.array_equal(sampling.top_p(x, p, keep), expected)


def test_top_p_keeps_the_crossing_token_and_stops_at_p_exactly():
    x = np.log([[0.5, 0.25, 0.125, 0.125]])
    n_kept = {p: int(np.isfinite(sampling.top_p(x, p)).sum()) for p in (0, 0.3, 0.6, 0.76, 0.99)}
    assert n_kept == {0: 1, 0.3: 1, 0.6: 2, 0.76: 4 - 1, 0.99: 4}
    exact = np.array([[np.log(2.0), 0.0, 0.0]], np.float32)  # 1/2, 1/4, 1/4
    assert np.isfinite(sampling.top_p(exact, 0.5)).sum() == 1


@settings(max_examples=examples(100))
@given(scores(), probabilities, min_keeps)
def test_min_p(x, p, keep):
    probs = softmax(x.astype(np.float64))
    assume(not near_a_boundary(probs / probs.max(-1, keepdims=True), p) or p == 1)
    expected = torch_process(hf.MinPLogitsWarper(p, min_tokens_to_keep=keep), x)
    assert np.array_equal(sampling.min_p(x, p, keep), expected)


@settings(max_examples=examples(100))
@given(scores(), st.floats(0.01, 0.99), min_keeps)
def test_typical_p(x, mass, keep):
    logp = sampling.log_softmax(x.astype(np.float64))
    distance = np.sort(np.abs(-logp + (np.exp(logp) * logp).sum(-1, keepdims=True)))
    order = np.argsort(np.abs(-logp + (np.exp(logp) * logp).sum(-1, keepdims=True)))
    assume(not near_a_boundary(np.cumsum(np.take_along_axis(np.exp(logp), order, -1), -1), mass))
    assume(np.diff(distance).min() > 1e-5)
    expected = torch_process(hf.TypicalLogitsWarper(mass, min_tokens_to_keep=keep), x)
    assert np.array_equal(sampling.typical_p(x, mass, keep), expected)


@settings(max_examples=examples(50))
@given(scores(), st.data(), st.floats(0.2, 5))
def test_repetition_penalty(x, data, penalty):
    N, V = x.shape
    ids = np.array(data.draw(st.lists(st.integers(0, V - 1), min_size=1, max_size=12)) * N).reshape(N, -1)
    expected = torch_process(hf.RepetitionPenaltyLogitsProcessor(penalty), x, ids)
    assert np.array_equal(sampling.repetition_penalty(x, ids, penalty), expected)


def test_repetition_penalty_counts_a_token_once():
    x = np.array([[2.0, -2.0, 1.0]])
    assert sampling.repetition_penalty(x, [np.array([0, 0, 1, 0, 1])], 2.0).tolist() == [[1.0, -4.0, 1.0]]


@settings(max_examples=examples(100))
@given(scores(), st.data(), st.integers(1, 4))
def test_no_repeat_ngram(x, data, n):
    N, V = x.shape
    # Only a few different tokens, so that n-grams repeat.
    ids = [data.draw(st.lists(st.integers(0, min(V - 1, 2)), min_size=8, max_size=8)) for _ in range(N)]
    ids = np.array(ids)[:, : data.draw(st.integers(1, 8))]
    expected = torch_process(hf.NoRepeatNGramLogitsProcessor(n), x, ids)
    assert np.array_equal(forbidding.no_repeat_ngram(x, ids, n), expected)


@settings(max_examples=examples(100))
@given(scores(min_vocabulary=4), st.data())
def test_bad_words_and_suppressed_tokens(x, data):
    N, V = x.shape
    few = st.integers(0, min(V - 1, 3))
    ids = np.array([data.draw(st.lists(few, min_size=3, max_size=3)) for _ in range(N)])
    words = data.draw(st.lists(st.lists(few, min_size=1, max_size=5), min_size=1, max_size=6))
    expected = torch_process(hf.NoBadWordsLogitsProcessor(words), x, ids)
    assert np.array_equal(forbidding.bad_words(x, ids, words), expected)
    tokens = data.draw(st.lists(few, max_size=4))
    expected = torch_process(hf.SuppressTokensLogitsProcessor(tokens), x, ids)
    assert np.array_equal(forbidding.suppress_tokens(x, tokens), expected)


@settings(max_examples=examples(100))
@given(scores(), st.floats(1e-5, 0.9), min_keeps)
def test_epsilon_and_eta_cutoff(x, epsilon, keep):
    probabilities = torch.from_numpy(x).softmax(-1).numpy()
    expected = torch_process(hf.EpsilonLogitsWarper(epsilon, min_tokens_to_keep=keep), x)
    assume(abs(probabilities / epsilon - 1).min() > 1e-5)
    assert np.array_equal(sampling.epsilon_cutoff(x, epsilon, keep), expected)
    eta = hf.EtaLogitsWarper(epsilon, min_tokens_to_keep=keep)
    entropy = torch.distributions.Categorical(logits=torch.from_numpy(x)).entropy().numpy()[:, None]
    assume(abs(probabilities / np.minimum(epsilon, np.sqrt(epsilon) * np.exp(-entropy)) - 1).min() > 1e-5)
    assert np.array_equal(sampling.eta_cutoff(x, epsilon, keep), torch_process(eta, x))
    assert np.isfinite(expected).sum(-1).min() >= min(keep, x.shape[1])


@settings(max_examples=examples(100))
@given(
    scores(min_vocabulary=6),
    st.floats(0.3, 3),
    st.integers(0, 20),
    st.floats(0, 1),
    st.none() | st.floats(0, 1),
    st.none() | st.floats(0.05, 1),
    st.floats(0.5, 2),
    st.integers(0, 2),
    min_keeps,
)
def test_all_filters_in_order(x, temperature, top_k, top_p, min_p, typical_p, penalty, ngram, keep):
    ids = np.tile(np.array([1, 2, 1, 0]), (len(x), 1))
    options = GenerationConfig(
        do_sample=True, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, typical_p=typical_p,
        repetition_penalty=penalty, no_repeat_ngram_size=ngram,
    )  # fmt: skip
    processors = hf.LogitsProcessorList()
    if penalty != 1:
        processors.append(hf.RepetitionPenaltyLogitsProcessor(penalty))
    if ngram:
        processors.append(hf.NoRepeatNGramLogitsProcessor(ngram))
    processors.append(hf.TemperatureLogitsWarper(temperature))
    if top_k:
        processors.append(hf.TopKLogitsWarper(top_k, min_tokens_to_keep=keep))
    if top_p < 1:
        processors.append(hf.TopPLogitsWarper(top_p, min_tokens_to_keep=keep))
    if min_p is not None:
        processors.append(hf.MinPLogitsWarper(min_p, min_tokens_to_keep=keep))
    if typical_p is not None and typical_p < 1:
        processors.append(hf.TypicalLogitsWarper(typical_p, min_tokens_to_keep=keep))
    expected = torch_process(processors, x, ids)
    ours = sampling.apply_filters(x, ids, options, keep)
    # A token whose mass is within float32's last digits of a boundary may differ, but no other one of its row.
    differs = np.isfinite(ours) != np.isfinite(expected)
    assert np.array_equal(ours[~differs], expected[~differs])
    if differs.any():
        widened = [
            sampling.apply_filters(
                x, ids, GenerationConfig(**{**vars(options), name: np.clip(value * (1 + d), 0, 1)}), keep
            )
            for name in ("top_p", "min_p", "typical_p")
            if (value := getattr(options, name)) is not None
            for d in (-1e-5, 1e-5)
        ]
        assert any(np.array_equal(np.isfinite(w), np.isfinite(expected)) for w in widened)


def test_greedy_uses_no_sampling_filter():
    x = np.array([[1.0, 2.0, 3.0]])
    options = GenerationConfig(temperature=0.1, top_k=1, top_p=0.1, min_p=0.9, typical_p=0.1)
    assert np.array_equal(sampling.apply_filters(x, [np.array([0])], options), x)


@given(scores())
def test_filters_do_not_change_their_input(x):
    x.flags.writeable = False
    ids = np.zeros((len(x), 3), int)
    for result in (
        sampling.repetition_penalty(x, ids, 2.0), forbidding.no_repeat_ngram(x, ids, 1), sampling.temperature(x, 2.0),
        sampling.top_k(x, 1), sampling.top_p(x, 0.5), sampling.min_p(x, 0.5), sampling.typical_p(x, 0.5),
        sampling.epsilon_cutoff(x, 0.1), sampling.eta_cutoff(x, 0.1), forbidding.bad_words(x, ids, [[0, 1]]),
        forbidding.suppress_tokens(x, [1]),
    ):  # fmt: skip
        assert result.dtype == np.float32 and result.shape == x.shape


def test_draw_has_the_probabilities_of_the_softmax():
    x = np.log([[0.1, 0.2, 0.0001, 0.6, 0.0999]])
    rng = np.random.default_rng(0)
    n = 20_000
    counts = np.bincount(sampling.draw_tokens(np.repeat(x, n, axis=0), [rng] * n), minlength=5)
    expected = np.exp(x[0]) * n
    assert (np.abs(counts - expected) < 4 * np.sqrt(expected) + 1).all()


def test_draw_never_takes_a_forbidden_token():
    x = np.array([[-np.inf, 0.0, -np.inf, -800.0, -np.inf]])

    class Extreme:
        def __init__(self, value):
            self.value = value

        def random(self):
            return self.value

    assert sampling.draw_tokens(np.repeat(x, 2, axis=0), [Extreme(0.0), Extreme(1 - 2**-53)]).tolist() == [1, 1]


def test_draw_without_replacement_has_the_probabilities_of_drawing_one_after_the_other():
    p = np.array([0.5, 0.3, 0.15, 0.05])
    rng = np.random.default_rng(0)
    n = 20_000
    counts = np.zeros((4, 4))
    for _ in range(n):
        first, second = sampling.draw_without_replacement(np.log(p), 2, rng)
        counts[first, second] += 1
    for first in range(4):
        for second in range(4):
            expected = 0 if first == second else n * p[first] * p[second] / (1 - p[first])
            assert abs(counts[first, second] - expected) < 4 * np.sqrt(expected) + 1


def test_draw_without_replacement_takes_forbidden_tokens_last():
    scores = np.array([-np.inf, 0.0, -np.inf, 1.0, -np.inf])
    for seed in range(20):
        drawn = sampling.draw_without_replacement(scores, 3, np.random.default_rng(seed)).tolist()
        assert set(drawn[:2]) == {1, 3} and drawn[2] in (0, 2, 4)
        assert set(sampling.draw_without_replacement(scores, 2, np.random.default_rng(seed))) == {1, 3}


def test_nothing_left_to_choose():
    with pytest.raises(ValueError, match="forbid the whole vocabulary"):
        sampling.require_candidates(np.array([[0.0, 1.0], [-np.inf, -np.inf]]))
