"""The compiled operations against the formulas: drawn shapes, layouts and values."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
from drawn_arrays import LAYOUTS, assert_same, draw_array, kinds, laid_out, quiet
from hypothesis import given
from hypothesis import strategies as st
from reference import configs, lively_model, random_ids

from minigpt import GPT2, KVCache
from minigpt.ops import jit, plain
from minigpt.ops.jit import compile as compile_module
from minigpt.ops.jit.attention import HEAD_SIZE, MAX_FEW_QUERIES
from minigpt.ops.jit.int8 import MAX_FINE_ROWS, MAX_INPUTS
from minigpt.ops.jit.parallel import MIN_PARALLEL_SIZE
from minigpt.ops.jit.registers import BYTE_PRODUCT, HAS_BFLOAT16_PRODUCTS
from minigpt.ops.packed import SCALE_GROUP, BFloat16Matrix, Int4Matrix, Int8Matrix


def test_the_package_exports_operations():
    # Modules of the package have the names of operations, too; the functions must take their place.
    assert all(callable(getattr(jit, name)) and callable(getattr(plain, name)) for name in jit.__all__)
    assert len(jit.__all__) == 7


@given(data=st.data(), kind=kinds, activation=st.sampled_from(("gelu_new", "gelu", "relu")))
def test_activations(data, kind, activation):
    x = draw_array(data, data.draw(st.sampled_from([(1,), (3, 5), (2, 3, 17), (1, 1000), (0, 4)])), kind)
    assert_same(getattr(jit, activation)(x), quiet(getattr(plain, activation), x), np.abs(x))


def test_activations_over_the_whole_range_and_in_parallel():
    x = np.linspace(-100, 100, MIN_PARALLEL_SIZE + 3, dtype=np.float32).reshape(-1, 1)
    for name in ("gelu_new", "gelu"):
        assert_same(getattr(jit, name)(x), getattr(plain, name)(x), np.abs(x) * 0.2)
    assert np.abs(jit.gelu_new(x) - plain.gelu(x)).max() > 1e-4  # the test tells the two formulas apart


def test_exp():
    x = np.linspace(-87, 0, 100_001, dtype=np.float32)
    got = jit.softmax(np.stack([x, np.zeros_like(x)], axis=-1))
    exact = np.exp(x.astype(float)) / (1 + np.exp(x.astype(float)))
    assert (np.abs(got[:, 0] - exact) <= 3e-7 * exact).all()


@given(data=st.data(), kind=kinds)
def test_softmax(data, kind):
    x = draw_array(data, data.draw(st.sampled_from([(1,), (4, 7), (2, 3, 33), (1, 1000)])), kind)
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    assert_same(jit.softmax(x, axis), quiet(plain.softmax, x, axis), 1)


@given(data=st.data(), kind=kinds, eps=st.sampled_from([1e-5, 0.1]))
def test_layer_norm(data, kind, eps):
    D = data.draw(st.sampled_from([1, 2, 7, 64, 768]))
    x = draw_array(data, (data.draw(st.sampled_from([1, 3, 400])), D), kind)
    weight, bias = draw_array(data, D), draw_array(data, D)
    scale = np.abs(weight) * np.sqrt(D) + np.abs(bias)
    assert_same(jit.layer_norm(x, weight, bias, eps), quiet(plain.layer_norm, x, weight, bias, eps), scale)


SIZES = st.sampled_from([1, 2, 3, 16, 33, 130])


@given(data=st.data(), kind=kinds, rows=st.integers(0, 10), n_in=SIZES, n_out=SIZES, bias=st.booleans())
def test_linear(data, kind, rows, n_in, n_out, bias):
    x, weight = draw_array(data, (rows, n_in), kind), draw_array(data, (n_in, n_out))
    b = draw_array(data, n_out) if bias else None
    with np.errstate(all="ignore"):
        scale = np.abs(x).astype(float) @ np.abs(weight) + 10
    theirs = quiet(plain.linear, x, weight, b)
    if kind in ("inf", "NaN"):  # BLAS itself may make NaN of inf, and inf of NaN, by the order of its sums
        assert np.array_equal(np.isfinite(jit.linear(x, weight, b)), np.isfinite(theirs))
    else:
        assert_same(jit.linear(x, weight, b), theirs, scale)


@given(
    seed=st.integers(0, 2**32),
    rows=st.integers(1, 10),
    n_in=st.sampled_from([8, 40, 3072, 20]),
    n_out=st.sampled_from([16, 48, 80, 1040, 20]),
    bias=st.booleans(),
    turned=st.booleans(),
)
def test_linear_as_a_model_calls_it(seed, rows, n_in, n_out, bias, turned):
    # Contiguous arrays, the weights as files have them or, turned, as the head has them.
    rng = np.random.default_rng(seed)
    x, weight = rng.standard_normal((rows, n_in), np.float32), rng.standard_normal((n_in, n_out), np.float32)
    weight = np.asfortranarray(weight) if turned else weight
    b = rng.standard_normal(n_out, np.float32) if bias else None
    scale = np.abs(x) @ np.abs(weight)
    exact = x.astype(float) @ weight + (b if bias else 0)
    assert (np.abs(jit.linear(x, weight, b) - exact) <= 1e-6 * scale).all()


@pytest.mark.parametrize("form", [BFloat16Matrix, Int8Matrix, Int4Matrix])
@given(
    data=st.data(),
    rows=st.integers(0, 20),
    n_in=SIZES,
    n_out=SIZES,
    rounds_inputs=st.booleans(),
)
def test_linear_with_packed_weights(form, data, rows, n_in, n_out, rounds_inputs):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    matrix = rng.standard_normal((n_out, n_in)).astype(np.float32)
    weight, bias = form.pack(matrix).T, rng.standard_normal(n_out).astype(np.float32)
    weight.rounds_inputs = rounds_inputs
    x = draw_array(data, (rows, n_in))
    dense = np.asarray(weight)
    assert dense.shape == weight.shape == (n_in, n_out) and dense.dtype == np.float32
    assert_same(x @ weight, x @ dense, np.abs(x) @ np.abs(dense))
    scale = np.abs(x) @ np.abs(dense) + np.abs(bias)
    is_rounded = rounds_inputs and rows > MAX_FINE_ROWS
    if form is Int4Matrix:  # x is rounded to integers, each group with a step of its own
        error = np.abs(jit.linear(x, weight, bias) - (x.astype(float) @ dense + bias))
        for start in range(0, n_in, SCALE_GROUP):
            group = slice(start, start + SCALE_GROUP)
            half_step = np.abs(x[:, group]).max(axis=1, keepdims=True, initial=0) / 127 / 2
            error -= half_step * np.abs(dense[group]).sum(axis=0) * 1.001
        assert (error <= 4e-6 * scale).all()
    elif form is Int8Matrix:  # x is rounded to integers; each is off by half a step at most
        bits = BYTE_PRODUCT.bits * (1 if is_rounded else 2)
        half_step = np.abs(x).max(axis=1, keepdims=True, initial=0) / (2 ** (bits - 1) - 1) / 2
        error = np.abs(jit.linear(x, weight, bias) - (x.astype(float) @ dense + bias))
        assert (error <= half_step * np.abs(dense).sum(axis=0) * 1.001 + 4e-6 * scale).all()
    else:
        if HAS_BFLOAT16_PRODUCTS and is_rounded:
            x = np.asarray(BFloat16Matrix.pack(x))
        assert_same(jit.linear(x, weight, bias), plain.linear(x, dense, bias), scale)


@pytest.mark.parametrize("rounds_inputs", [False, True])
def test_inputs_are_rounded_on_request_only(rounds_inputs):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((MAX_FINE_ROWS + 1, 768)).astype(np.float32)
    for form, coarse, fine in ((Int8Matrix, 2e-3, 3e-5), (BFloat16Matrix, 5e-4, 1e-6)):
        weight = form.pack(rng.standard_normal((64, 768)).astype(np.float32)).T
        weight.rounds_inputs = rounds_inputs
        exact = x.astype(float) @ np.asarray(weight)
        error = np.abs(jit.linear(x, weight) - exact).max() / np.abs(exact).max()
        is_coarse = rounds_inputs and (form is Int8Matrix or HAS_BFLOAT16_PRODUCTS)
        assert coarse < error < 20 * coarse if is_coarse else error < 20 * fine


@pytest.mark.parametrize("form", [Int8Matrix, Int4Matrix])
@pytest.mark.parametrize("kind", ["inf", "NaN", "denormal"])
def test_linear_in_integers_of_values_without_a_scale(kind, form):
    x = np.ones((2, 8), np.float32)
    x[0, 3] = {"inf": np.inf, "NaN": np.nan, "denormal": 1e-40}[kind]
    x[1] = x[0] if kind != "denormal" else 1e-40
    weight = form.pack(np.random.default_rng(0).standard_normal((5, 8)).astype(np.float32)).T
    assert_same(jit.linear(x, weight), quiet(plain.linear, x, weight), np.abs(x).max())


@pytest.mark.parametrize("n_in", [MAX_INPUTS, 2**17])  # the most that the kernel takes; more go to BLAS
@pytest.mark.parametrize("sign", [1, -1])
def test_sums_in_8_bits_never_overflow(n_in, sign):
    weight = Int8Matrix.pack(np.full((3, n_in), sign, np.float32)).T
    assert jit.linear(np.ones((1, n_in), np.float32), weight)[0].tolist() == pytest.approx([sign * n_in] * 3, rel=1e-4)


@pytest.mark.parametrize("rows", [1, 2 * MAX_FINE_ROWS + 1])
def test_sums_in_4_bits_never_overflow(rows):
    """Where everything has its largest size and one sign, in a group or in all of them."""
    for n_in in (SCALE_GROUP, 65 * SCALE_GROUP):
        for sign in (1, -1):
            weight = Int4Matrix.pack(np.full((3, n_in), sign, np.float32)).T
            x = np.full((rows, n_in), -0.3, np.float32)
            expected = x @ np.asarray(weight)
            assert np.abs(jit.linear(x, weight) - expected).max() <= 1e-5 * np.abs(expected).max()


@given(data=st.data(), kind=kinds, K=st.sampled_from([1, 8, HEAD_SIZE]), T=st.sampled_from([1, 2, 9, 130, 300]))
def test_attention(data, kind, K, T):
    S = T + data.draw(st.sampled_from([0, 0, 1, 7]))
    check_attention(data, kind, T, S, K)


@given(data=st.data(), T=st.integers(1, MAX_FEW_QUERIES), past=st.integers(0, 70))
def test_attention_of_a_few_queries(data, T, past):
    check_attention(data, "normal", T, T + past, HEAD_SIZE)


def check_attention(data, kind, T, S, K):
    B, H = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    q, k, v = (draw_array(data, (B, H, n, K), kind) for n in (T, S, S))
    padding = data.draw(st.none() | st.lists(st.integers(0, S - 1), min_size=B, max_size=B).map(np.array))
    if kind in ("inf", "NaN", "huge"):
        k = np.ones_like(k)  # q k^T in plain would otherwise be inf - inf by the order of its sums
    if data.draw(st.booleans()):
        k, v = (laid_out(quiet(x.astype, np.float16), data.draw(st.sampled_from(LAYOUTS))) for x in (k, v))
    theirs = quiet(plain.attention, q, k.astype(np.float32), v.astype(np.float32), None, padding)
    ours = jit.attention(q, k, v, None, padding)
    if kind in ("inf", "NaN", "huge"):
        return assert_finite_where_finite(ours, theirs, padding, q, v)
    # A score is rounded by some 1e-7 of the sum of its terms, and its weight by as much.
    sharpness = 1 + np.abs(q).max() * np.abs(k).max() * K**0.5
    assert_same(ours, theirs, np.abs(v).max() * sharpness)


def assert_finite_where_finite(ours, theirs, padding, q, v):
    # plain multiplies hidden values by weights of 0, which turns inf into NaN; the kernels leave them out.
    assert ours.shape == theirs.shape
    assert np.isfinite(ours)[np.isfinite(theirs)].all()
    if np.isfinite(v).all():
        assert np.array_equal(np.isfinite(ours), np.isfinite(theirs))


@given(config=configs(), seed=st.integers(0, 99), form=st.sampled_from(["float32", "bfloat16"]))
def test_models(config, seed, form):
    model = lively_model(config, seed=seed, dtype=form)
    fast, slow = (GPT2(model.config, model.params, ops) for ops in ("jit", "plain"))
    ids = random_ids(model, (2, 9))
    mask = np.arange(9) >= np.array([[0], [3]])
    logits = slow(ids, attention_mask=mask)
    assert np.abs(fast(ids, attention_mask=mask) - logits)[mask].max() <= 1e-4 * np.abs(logits).max()
    cache = KVCache(config, 2)
    fast(ids[:, :5], attention_mask=mask[:, :5], cache=cache)
    for t in range(5, 9):
        step = fast(ids[:, t : t + 1], cache=cache)
    assert np.abs(step[:, 0] - logits[:, -1]).max() <= 1e-4 * np.abs(logits).max()


def test_a_damaged_cache_is_not_used(tmp_path, monkeypatch):
    # MINIGPT_DOT_PRODUCT may force kernels that are not cached.
    monkeypatch.setattr(compile_module.dot_products, "follows_from_the_processor", lambda: True)
    path = tmp_path / "doubling.py"
    path.write_text(
        "from minigpt.ops.jit.compile import kernel\n\n"
        '@kernel("f4(f4)", parallel=False)\n'
        "def double(x):\n    return x + x\n"
    )

    def load():
        spec = importlib.util.spec_from_file_location("doubling", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.double(np.float32(3))

    assert load() == 6
    files = sorted((tmp_path / "__pycache__").glob("*.nb?"))
    assert [file.suffix for file in files] == [".nbc", ".nbi"]
    for file in files:
        content = file.read_bytes()
        for damaged in (b"", content[: len(content) // 2], b"nothing"):
            file.write_bytes(damaged)
            compile_module._warn_of_damage.cache_clear()
            with pytest.warns(UserWarning, match="are damaged and not used: delete that folder"):
                assert load() == 6
            file.write_bytes(content)
    assert load() == 6


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no /proc on this system")
@pytest.mark.slow
def test_without_a_writable_cache():
    script = """
import minigpt.ops.jit as jit, numpy as np
assert jit.gelu_new(np.ones(3, np.float32)).shape == (3,)
"""
    environment = {**os.environ, "NUMBA_CACHE_DIR": "/proc/no/place"}
    result = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
