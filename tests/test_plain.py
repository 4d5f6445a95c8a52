"""Every operation against PyTorch, float64 to 1e-9 and float32 to 1e-5, on drawn shapes and values."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from reference import assert_close

from minigpt import model
from minigpt.ops import plain

DTYPES = {"float64": 1e-9, "float32": 1e-5}


def arrays(dtype, shape, low=-50, high=50):
    return hnp.arrays(dtype, shape, elements=st.floats(low, high, width=32))


any_shape = hnp.array_shapes(min_dims=1, max_dims=4, max_side=6)


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_softmax(dtype, data):
    x = data.draw(arrays(dtype, data.draw(any_shape), -1e4, 1e4))
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    y = plain.softmax(x, axis)
    assert y.dtype == dtype
    assert_close(y, F.softmax(torch.from_numpy(x), axis), DTYPES[dtype])
    assert_close(y.sum(axis), np.ones(y.sum(axis).shape), 1e-6)


def test_softmax_of_huge_and_forbidden_entries():
    assert plain.softmax(np.array([1e308, 1e308, -np.inf])).tolist() == [0.5, 0.5, 0.0]
    assert plain.softmax(np.array([-1e308, -np.inf])).tolist() == [1.0, 0.0]


ACTIVATIONS = {
    "gelu_new": lambda x: F.gelu(x, approximate="tanh"),
    "gelu": F.gelu,
    "relu": F.relu,
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
@given(data=st.data())
def test_activations(name, dtype, data):
    x = data.draw(arrays(dtype, data.draw(any_shape)))
    y = getattr(plain, name)(x)
    assert y.dtype == dtype
    # Against the size of x: below -5, where 1 + tanh cancels, what is left is rounding.
    assert (np.abs(y - ACTIVATIONS[name](torch.from_numpy(x)).numpy()) <= DTYPES[dtype] * np.abs(x)).all()


def test_the_two_gelus_differ():
    # By up to 4.7e-4, near x = 2.7: a test that could not tell them apart would be worth nothing.
    x = np.linspace(-5, 5, 1001)
    difference = np.abs(plain.gelu(x) - plain.gelu_new(x)).max()
    assert 4e-4 < difference < 5e-4


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data(), eps=st.sampled_from([1e-5, 1e-3, 0.1]))
def test_layer_norm(dtype, data, eps):
    D = data.draw(st.integers(1, 9))
    # From -2 to 2: where the variance is near eps, its place in the formula shows. A constant added to the vector
    # takes digits away from float32's, in PyTorch's as in ours.
    x = data.draw(arrays(dtype, (*data.draw(any_shape), D), -2, 2))
    weight, bias = data.draw(arrays(dtype, D)), data.draw(arrays(dtype, D))
    y = plain.layer_norm(x, weight, bias, eps)
    assert y.dtype == dtype
    theirs = F.layer_norm(*map(torch.from_numpy, (x,)), (D,), torch.from_numpy(weight), torch.from_numpy(bias), eps)
    scale = max(np.abs(weight).max(), np.abs(bias).max())  # where the two cancel, what is left is rounding
    assert np.abs(y - theirs.numpy()).max() <= DTYPES[dtype] * 10 * scale


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data(), n_in=st.integers(1, 9), n_out=st.integers(1, 9), with_bias=st.booleans())
def test_linear(dtype, data, n_in, n_out, with_bias):
    x = data.draw(arrays(dtype, (*data.draw(any_shape), n_in)))
    weight = data.draw(arrays(dtype, (n_in, n_out)))
    bias = data.draw(arrays(dtype, n_out)) if with_bias else None
    y = plain.linear(x, weight, bias)
    assert y.dtype == dtype
    theirs = F.linear(torch.from_numpy(x), torch.from_numpy(weight.T), None if bias is None else torch.from_numpy(bias))
    # Against the size of the terms: a sum of terms that cancel is rounding.
    size = np.abs(x) @ np.abs(weight) + (0 if bias is None else np.abs(bias))
    assert (np.abs(y - theirs.numpy()) <= DTYPES[dtype] * size).all()


@st.composite
def attention_inputs(draw, dtype="float64"):
    B, H, K = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 8))
    S = draw(st.integers(1, 9))
    T = draw(st.integers(1, S))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    q, k, v = (rng.normal(0, 1, (B, H, n, K)).astype(dtype) for n in (T, S, S))
    padding = draw(st.none() | hnp.arrays(np.int64, B, elements=st.integers(0, S - 1)))
    return q, k, v, draw(st.none() | st.floats(0.1, 2)), padding


def torch_attention(q, k, v, scale, padding):
    (B, _, T, _), S = q.shape, k.shape[2]
    # Position by position, straight from the words of the definition.
    mask = torch.zeros(B, 1, T, S, dtype=torch.bool)
    for b in range(B):
        first = 0 if padding is None else padding[b]
        for t in range(T):
            position = S - T + t
            for s in range(S):
                mask[b, 0, t, s] = (first <= s <= position) or s == position
    q, k, v = map(torch.from_numpy, (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_attention(dtype, data):
    q, k, v, scale, padding = data.draw(attention_inputs(dtype))
    y = plain.attention(q, k, v, scale, padding)
    assert y.dtype == dtype
    # Against the size of the values: a mean of values that cancel is rounding.
    difference = np.abs(y - torch_attention(q, k, v, scale, padding).numpy())
    assert difference.max() <= DTYPES[dtype] * np.abs(v).max()


@given(attention_inputs())
def test_attention_shows_its_scores_and_weights(inputs):
    q, k, v, scale, padding = inputs
    seen = {}

    def tap(name, x):
        seen[name] = x
        return x

    heads = plain.attention(q, k, v, scale, padding, tap)
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    assert_close(seen["scores"], np.einsum("bhtk,bhsk->bhts", q, k) * scale, 1e-9)
    assert_close(seen["weights"].sum(-1), np.ones(q.shape[:3]), 1e-12)
    assert_close(heads, np.einsum("bhts,bhsk->bhtk", seen["weights"], v), 1e-9)


@settings(max_examples=20)
@given(attention_inputs(), st.integers(0, 2**32))
def test_no_operation_changes_its_arguments(inputs, seed):
    q, k, v, scale, padding = inputs
    rng = np.random.default_rng(seed)
    x, w, b = rng.normal(size=(3, 4, 4)), rng.normal(size=(4, 4)), rng.normal(size=4)
    for array in (q, k, v, x, w, b, *([] if padding is None else [padding])):
        array.flags.writeable = False  # any write would raise
    plain.attention(q, k, v, scale, padding)
    plain.layer_norm(x, b, b)
    plain.linear(x, w, b)
    for f in (plain.softmax, plain.gelu, plain.gelu_new, plain.relu):
        f(x)


def masked_off_by_one(q, k, v, scale, padding, future):
    mask = np.tri(q.shape[2], k.shape[2], k.shape[2] - q.shape[2] + future, dtype=bool)
    scores = np.where(mask, q @ k.swapaxes(-1, -2) * q.shape[-1] ** -0.5, -1e30)
    return plain.softmax(scores) @ v


WRONG_ATTENTIONS = {
    "scaled by the size, not its root": lambda q, k, v: plain.attention(q, k, v, 1 / q.shape[-1]),
    "scaled by the width of all heads": lambda q, k, v: plain.attention(q, k, v, (q.shape[1] * q.shape[-1]) ** -0.5),
    "sees one token of the future": lambda q, k, v: masked_off_by_one(q, k, v, None, None, 1),
    "masked with a number that is too small": lambda q, k, v: (
        plain.softmax(q @ k.swapaxes(-1, -2) * q.shape[-1] ** -0.5 - 8.0 * ~model.causal_mask(q.shape[2], k.shape[2]))
        @ v
    ),
    "softmax over the queries": lambda q, k, v: (
        plain.softmax(
            np.where(model.causal_mask(q.shape[2], k.shape[2]), q @ k.swapaxes(-1, -2) * q.shape[-1] ** -0.5, -1e30), -2
        )
        @ v
    ),
}


@pytest.mark.parametrize("name", WRONG_ATTENTIONS)
def test_the_tolerance_tells_a_wrong_attention(name):
    q, k, v = np.random.default_rng(0).normal(size=(3, 2, 2, 6, 4))
    with pytest.raises(AssertionError):
        assert_close(WRONG_ATTENTIONS[name](q, k, v), torch_attention(q, k, v, None, None), 1e-3)


WRONG_NORMS = {
    "eps outside the root": lambda x, eps: (x - x.mean(-1, keepdims=True)) / (x.std(-1, keepdims=True) + eps),
    "unbiased variance": lambda x, eps: (
        (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True, ddof=1) + eps)
    ),
    "no eps": lambda x, eps: (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True),
}


@pytest.mark.parametrize("name", WRONG_NORMS)
def test_the_tolerance_tells_a_wrong_layer_norm(name):
    x = np.random.default_rng(0).normal(size=(4, 8))
    with pytest.raises(AssertionError):
        assert_close(WRONG_NORMS[name](x, 1e-5), F.layer_norm(torch.from_numpy(x), (8,), eps=1e-5), 1e-9)
