"""The scores of heads, against loops over the attention weights and heads whose habit is made by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from letter_models import letter_model
from reference import models

from minigpt import ContextLengthError
from minigpt.looking import edited, head_scores


@given(models(), st.integers(2, 6), st.integers(1, 3), st.integers(0, 99))
def test_scores_are_means_of_weights(model, n, n_sequences, seed):
    seen = []

    def watch(name):
        def edit(weights):
            seen.append((name, weights.copy()))
            return weights

        return edit

    config = model.config
    names = [f"h.{layer}.attn.weights" for layer in range(config.n_layer)]
    watched = edited(model, {name: watch(name) for name in names})
    scores = head_scores(watched, n, n_sequences, seed)
    assert len(seen) == config.n_layer * n_sequences
    for layer, name in enumerate(names):
        for head in range(config.n_head):
            found = [weights[0, head] for other, weights in seen if other == name]
            pairs = {
                "induction": [(t, t - n + 1) for t in range(n, 2 * n)],
                "previous_token": [(t, t - 1) for t in range(1, 2 * n)],
                "duplicate_token": [(t, t - n) for t in range(n, 2 * n)],
            }
            for score, places in pairs.items():
                expected = np.mean([np.mean([A[t, s] for t, s in places]) for A in found])
                assert abs(getattr(scores, score)[layer, head] - expected) < 1e-9


def always(places):
    """Return an edit of weights that makes every head attend to s = places(t) from each t where that exists."""

    def edit(weights):
        T = weights.shape[-1]
        weights[...] = np.eye(T)
        for t in range(T):
            if 0 <= places(t) < t:
                weights[..., t, :] = np.eye(T)[places(t)]
        return weights

    return edit


def test_a_head_with_one_habit_scores_1():
    model, n = letter_model(), 6
    for score, places in (
        ("induction", lambda t: t - n + 1),
        ("previous_token", lambda t: t - 1),
        ("duplicate_token", lambda t: t - n),
    ):
        scores = head_scores(edited(model, {"h.1.attn.weights": always(places)}), n)
        values = {name: getattr(scores, name)[1] for name in ("induction", "previous_token", "duplicate_token")}
        assert np.allclose(values.pop(score), 1) and not any(array.any() for array in values.values())


def test_a_head_that_attends_to_all_scores_as_said():
    def uniform(weights):
        T = weights.shape[-1]
        weights[...] = np.tri(T) / np.arange(1, T + 1)[:, None]
        return weights

    scores = head_scores(edited(letter_model(), {"h.0.attn.weights": uniform}), 6)
    assert np.allclose(scores.induction[0], scores.uniform) and np.allclose(scores.duplicate_token[0], scores.uniform)


def test_the_tokens_are_repeated_and_otherwise_all_different():
    model = letter_model()
    seen = []

    class Watched(type(model)):
        def __call__(self, ids, **options):
            seen.append(np.array(ids))
            return super().__call__(ids, **options)

    watched = Watched(model.config, model.params)
    first, again = head_scores(watched, 8, 3, seed=1), head_scores(watched, 8, 3, seed=1)
    assert np.array_equal(first.induction, again.induction) and len(seen) == 6
    for ids in seen:
        assert len(ids) == 16 and np.array_equal(ids[:8], ids[8:]) and len(set(ids)) == 8
    assert not np.array_equal(seen[0], seen[1])
    assert not np.array_equal(first.induction, head_scores(watched, 8, 3, seed=2).induction)


def test_scores_are_drawn(bundled):
    scores = head_scores(bundled[0], 20)
    axes = scores.plot().axes
    drawn = [one.images[0].get_array() for one in axes[:3]]
    for found, expected in zip(drawn, (scores.induction, scores.previous_token, scores.duplicate_token), strict=True):
        assert np.array_equal(found, expected)


def test_what_has_no_scores(bundled):
    model = bundled[0]
    for arguments, sentence in (
        ({"length": 129}, "length must be an integer, from 2 to 128, not 129"),
        ({"length": 1}, "length must be an integer"),
        ({"n_sequences": 0}, "n_sequences must be an integer"),
    ):
        with pytest.raises(ValueError, match=sentence) as error:
            head_scores(model, **arguments)
        assert not isinstance(error.value, ContextLengthError)
    replaced = model.with_ops(attention=lambda q, k, v: v)
    with pytest.raises(ValueError, match="does not tap its weights"):
        head_scores(replaced)
