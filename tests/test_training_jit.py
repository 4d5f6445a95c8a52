"""The compiled operations of training against the formulas in float64."""

import numpy as np
import pytest
from drawn_arrays import draw_array
from hypothesis import example, given, settings
from hypothesis import strategies as st
from reference import configs, lively_model, random_ids

from minigpt import GPT2
from minigpt.ops import plain
from minigpt.ops.jit.attention import QUERY_BLOCK
from minigpt.params import flatten, zeros_like
from minigpt.training import IGNORED, adamw, backward, loss_and_grads
from minigpt.training import jit as training
from minigpt.training.loss import cross_entropy as plain_cross_entropy


def test_the_package_exports_operations():
    assert all(callable(getattr(training, name)) for name in training.__all__)


def in_float64(*arrays):
    return [array.astype(np.float64) for array in arrays]


def assert_near(ours, exact, tolerance=2e-6):
    """Equal to the result of the formulas in float64, except for float32's rounding of numbers of size 1 and more."""
    assert ours.dtype == np.float32 and exact.dtype == np.float64 and ours.shape == exact.shape
    assert np.abs(ours - exact).max() <= tolerance * max(1, np.abs(exact).max())


@given(
    data=st.data(),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 700)),
    few=st.integers(1, 40),
    many=st.integers(1, 3000),
    turned=st.booleans(),
    in_any_layout=st.booleans(),
)
def test_linear_backward(data, shape, few, many, turned, in_any_layout):
    # Many rows of dweight or, if it is turned as the head's gradient is, of its transpose.
    n_in, n_out = (few, many) if turned else (many, few)
    rng = np.random.default_rng(many)
    dy, x = (
        draw_array(data, size) if in_any_layout else rng.standard_normal(size).astype(np.float32)
        for size in ((*shape, n_out), (*shape, n_in))
    )
    weight = draw_array(data, (n_in, n_out))
    before = [np.ones((n_in, n_out), np.float32), np.ones(n_out, np.float32)]
    dweight, dbias = before[0].copy(order="F" if turned else "C"), before[1].copy()
    dx = training.linear_backward(dy, x, weight, dweight, dbias)
    exact = in_float64(*before)
    assert_near(dx, backward.linear_backward(*in_float64(dy, x, weight), *exact))
    assert_near(dweight, exact[0], 1e-5)
    assert_near(dbias, exact[1], 1e-5)


@given(data=st.data(), rows=st.integers(1, 9), D=st.integers(1, 300))
@example(data=None, rows=1100, D=300)  # in parallel
def test_layer_norm_backward(data, rows, D):
    def draw(*shape):
        return draw_array(data, shape) if data else np.random.default_rng(D).standard_normal(shape).astype(np.float32)

    dy, x, weight = draw(rows, D), draw(rows, D), draw(D)
    sums, exact = [np.ones(D, np.float32), np.ones(D, np.float32)], [np.ones(D), np.ones(D)]
    dx = training.layer_norm_backward(dy, x, weight, *sums, 1e-3)
    expected = backward.layer_norm_backward(*in_float64(dy, x, weight), *exact, 1e-3)
    # The parts of dn along n and the constant vector cancel: the rounding is that of dn / s.
    size = np.abs(dy * weight).max(axis=-1, keepdims=True) / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-3)
    assert (np.abs(dx - expected) <= 4e-6 * size + 1e-30).all()
    for ours, sum_ in zip(sums, exact, strict=True):
        assert_near(ours, sum_, 1e-5)


@pytest.mark.parametrize("name", ["gelu_new", "gelu", "relu"])
def test_gelu_backward(name):
    x = np.concatenate([np.linspace(-12, 12, 400_000), [-1e20, -200, -0.0, 0.0, 200, 1e20, 1e-30]]).astype(np.float32)
    dy = np.linspace(-2, 3, x.size).astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        ours = getattr(training, f"{name}_backward")(dy, x)
        exact = getattr(backward, f"{name}_backward")(*in_float64(dy, x))
    far = np.abs(x) > 1e9  # where the formula itself has inf - inf
    assert_near(ours[~far], exact[~far], 2e-6)


@given(data=st.data(), B=st.integers(1, 5), H=st.integers(1, 3), T=st.integers(1, 300), K=st.integers(1, 9))
def test_attention_backward(data, B, H, T, K):
    dheads, q, k, v = (draw_array(data, (B, T, H, K)).swapaxes(1, 2) for _ in range(4))
    recorded = {}
    heads = training.attention(q, k, v, 0.7, None, recorded.__setitem__)
    assert_near(heads, plain.attention(*in_float64(q, k, v), 0.7))
    assert (T <= QUERY_BLOCK) == bool(recorded)
    expected = backward.attention_backward(*in_float64(dheads, q, k, v), 0.7)
    for weights in (None, recorded.get("weights")):  # computed again, and recorded
        ours = training.attention_backward(dheads, q, k, v, 0.7, weights)
        for gradient, exact in zip(ours, expected, strict=True):
            assert_near(gradient, exact, 2e-5)


@given(data=st.data(), N=st.integers(1, 40), V=st.integers(1, 70))
@example(data=None, N=600, V=500)  # in parallel
def test_cross_entropy(data, N, V):
    rng = np.random.default_rng(N * V)
    logits = draw_array(data, (N, V)) if data else rng.standard_normal((N, V)).astype(np.float32)
    logits = logits.copy() * 20
    targets = np.where(rng.random(N) < 0.3, IGNORED, rng.integers(0, V, N))
    exact_loss, exact = plain_cross_entropy(logits.astype(np.float64), targets, 7)
    loss, dlogits = training.cross_entropy(logits, targets, 7)
    assert dlogits is logits
    assert loss == pytest.approx(exact_loss, rel=1e-6, abs=1e-6)
    assert np.abs(dlogits - exact).max() <= 1e-6


@given(data=st.data(), shapes=st.lists(st.sampled_from([(5,), (7, 3), (2**18 + 1,), (2**19,)]), max_size=4))
def test_adamw_update(data, shapes):
    parameters, expected = [], []
    for shape in shapes:
        p, g, m = (draw_array(data, shape) for _ in range(3))
        p, m, v = p.copy(order="K"), m.copy(order="K"), np.square(draw_array(data, shape))  # orders differ: p's counts
        decay = data.draw(st.sampled_from([0, 0.1]))
        parameters.append((p, g, m, v, decay))
        expected.append((*in_float64(p, g, m, v), decay))
    training.adamw_update_all(parameters, 0.1, (0.9, 0.99), 1e-8, 3)
    adamw.adamw_update_all(expected, 0.1, (0.9, 0.99), 1e-8, 3)
    for ours, exact in zip(parameters, expected, strict=True):
        for array, exact_array in zip(ours[:4], exact[:4], strict=True):
            assert_near(array, exact_array)


def test_adamw_refuses_a_gradient_of_another_shape():
    p, m, v = np.zeros((3, 4), np.float32)
    for size in (2, 8):
        with pytest.raises(ValueError, match="broadcast"):
            training.adamw_update_all([(p, np.ones(size, np.float32), m, v, 0.1)], 0.1, (0.9, 0.99), 1e-8, 3)


@settings(deadline=None)
@given(
    config=configs(min_head_size=8, initializer_range=0.1),
    B=st.integers(1, 5),
    dropout=st.sampled_from([0, 0.2]),
    seed=st.integers(0, 99),
)
def test_loss_and_grads(config, B, dropout, seed):
    """Compiled, in float32, on two threads, they equal those of the formulas in float64."""
    exact = lively_model(config, seed)
    compiled = GPT2(config, lively_model(config, seed, "float32").params, "jit")
    ids = random_ids(exact, (2, B, min(9, config.n_positions)), seed)
    if dropout:  # each part of a batch would draw its own masks: one part
        ids = ids[:, :1]
    rngs = [np.random.default_rng(seed) for _ in range(2)]
    ours = zeros_like(compiled.params)
    loss, same = loss_and_grads(compiled, *ids, grads=ours, dropout=dropout, rng=rngs[0])
    assert same is ours
    expected_loss, expected = loss_and_grads(exact, *ids, dropout=dropout, rng=rngs[1])
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    largest = max(np.abs(gradient).max() for gradient in flatten(expected).values())
    for gradient, other in zip(flatten(ours).values(), flatten(expected).values(), strict=True):
        assert np.abs(gradient - other).max() <= 2e-5 * largest
