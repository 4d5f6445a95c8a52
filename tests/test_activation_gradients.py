"""activation_gradients: what a small change of any activation does to any sum of logits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import TINY, models, random_ids

from minigpt.activations import activation_names
from minigpt.looking import activation_gradients, edited


@settings(max_examples=20)
@given(models(), st.integers(1, 3), st.integers(1, 6), st.integers(0, 999))
def test_by_finite_differences(model, B, T, seed):
    """For a random direction of every activation, and for the batch as for each of its rows."""
    rng, ids, step = np.random.default_rng(seed), random_ids(model, (B, T), seed), 1e-6
    dlogits, trace = rng.standard_normal((B, T, model.config.vocab_size)), {}
    model(ids, trace=trace)
    gradients = activation_gradients(model, ids, dlogits)
    assert list(gradients) == activation_names(model.config.n_layer)
    for name, gradient in gradients.items():
        direction = rng.standard_normal(gradient.shape)
        if name.endswith("attn.scores"):
            direction = np.tril(direction)  # no other score is looked at
        above, below = (
            (dlogits * model(ids, edit={name: lambda a, d=d, x=direction: a + d * x})).sum() for d in (step, -step)
        )
        assert gradient.shape == trace[name].shape
        assert (above - below) / (2 * step) == pytest.approx((gradient * direction).sum(), rel=1e-5, abs=1e-7), name
    rounding = 1e-12 * max(np.abs(gradient).max() for gradient in gradients.values())  # some gradients are nearly 0
    for row, counts, b in zip(ids, dlogits, range(B), strict=True):
        alone = activation_gradients(model, row, counts)
        for name, gradient in alone.items():
            np.testing.assert_allclose(gradient, gradients[name][b], rtol=1e-10, atol=rounding)


def test_what_has_no_gradient_is_refused(model):
    ids = random_ids(model, 4)
    dlogits = np.zeros((4, TINY.vocab_size))
    with pytest.raises(ValueError, match=rf"numbers of shape \(4, {TINY.vocab_size}\), not float64 of shape"):
        activation_gradients(model, ids, dlogits[0])
    with pytest.raises(ValueError, match="edit of 'h.0.resid'"):
        activation_gradients(edited(model, {"h.0.resid": np.tanh}), ids, dlogits)
    with pytest.raises(ValueError, match="replaced softmax"):
        activation_gradients(model.with_ops(softmax=lambda x: x), ids, dlogits)
