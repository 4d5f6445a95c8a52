"""Training with products in bfloat16: what is rounded, and that nothing else is."""

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st
from reference import lively_model, random_ids
from trainings import small_settings

from minigpt import GPT2, GPT2Config
from minigpt.cli.train import train
from minigpt.params import flatten
from minigpt.training import bfloat16 as plain
from minigpt.training import loss_and_grads
from minigpt.training.jit import bfloat16 as compiled
from minigpt.training.trainer import Training


def round_in_torch(x):
    return torch.from_numpy(np.array(x)).bfloat16().double().numpy()


def assert_sum_of_products(ours, left, right, start=0.0):
    """Equal to start + left right but for the rounding of float32, which grows with the number of products."""
    expected, size = start + left @ right, np.abs(start) + np.abs(left) @ np.abs(right)
    assert ours.dtype == np.float32 and ours.shape == expected.shape
    assert (np.abs(ours - expected) <= (left.shape[1] / 2 + 8) * 2.0**-24 * size).all()


@pytest.mark.parametrize("module", [plain, compiled])
@pytest.mark.parametrize("order", ["C", "F"])
@given(shape=st.tuples(*[st.integers(1, 9)] * 2), n_in=st.integers(1, 150), n_out=st.integers(1, 150))
@example(shape=(2, 65), n_in=1000, n_out=1300)  # more panels than are packed at a time
def test_products_of_rounded_factors(module, order, shape, n_in, n_out):
    rng = np.random.default_rng(n_in + n_out)
    x, dy = rng.standard_normal((*shape, n_in), np.float32), rng.standard_normal((*shape, n_out), np.float32)
    weight, bias = rng.standard_normal((n_in, n_out), np.float32), rng.standard_normal(n_out, np.float32)
    weight = np.asarray(weight, order=order)
    # In float64 their products are exact.
    rows, dy_rows, rounded = (round_in_torch(array.reshape(-1, array.shape[-1])) for array in (x, dy, weight))

    y = module.linear(x, weight, bias)
    assert y.shape == (*shape, n_out)
    assert_sum_of_products(y.reshape(-1, n_out), rows, rounded, bias.astype(float))

    dweight, dbias = np.full((n_in, n_out), 3, np.float32, order=order), np.full(n_out, 3, np.float32)
    dx = module.linear_backward(dy, x, weight, dweight, dbias)
    assert dx.shape == x.shape
    assert_sum_of_products(dx.reshape(-1, n_in), dy_rows, rounded.T)
    assert_sum_of_products(dweight, rows.T, dy_rows, 3.0)
    assert_sum_of_products(
        dbias[None], np.ones((1, len(rows))), dy.reshape(-1, n_out).astype(float), 3.0
    )  # not rounded


@pytest.mark.parametrize("number", [np.inf, -np.inf, np.nan, np.finfo(np.float32).max])
def test_numbers_that_are_not_finite_stay_so(number):
    """The trainer stops at them. The largest float32 becomes infinite by rounding."""
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((20, 7), np.float32), rng.standard_normal((7, 70), np.float32)
    x[3, 4] = weight[5, 66] = number
    with np.errstate(all="ignore"):
        ours, formula = compiled.linear(x, weight), plain.linear(x, weight)
    assert np.array_equal(np.isfinite(ours), np.isfinite(formula)) and np.isfinite(ours).sum() == 19 * 69


def test_without_the_instructions_the_formula_computes(monkeypatch):
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((30, 40), np.float32), rng.standard_normal((40, 50), np.float32)
    monkeypatch.setattr(compiled, "HAS_BFLOAT16_PRODUCTS", False)
    monkeypatch.setattr(compiled, "_run", None)
    assert np.array_equal(compiled.linear(x, weight), plain.linear(x, weight))
    ours, theirs = np.zeros((40, 50), np.float32), np.zeros((40, 50), np.float32)
    y = compiled.linear(x, weight)
    assert np.array_equal(compiled.linear_backward(y, x, weight, ours), plain.linear_backward(y, x, weight, theirs))
    assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("ops", ["plain", "jit"])
@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize("tied", [True, False])
def test_gradients_are_those_of_float32_but_for_the_rounding(ops, dropout, tied):
    config = GPT2Config(n_layer=2, n_head=2, n_embd=48, vocab_size=70, n_positions=32, tie_word_embeddings=tied)
    model = GPT2(config, lively_model(config, 0, "float32").params, ops)
    inputs, targets = random_ids(model, (2, 3, 32))

    def gradients(dtype):
        rng = np.random.default_rng(5)
        loss, grads = loss_and_grads(model, inputs, targets, dropout=dropout, rng=rng, dtype=dtype)
        return loss, flatten(grads)

    (exact_loss, exact), (loss, grads) = gradients("float32"), gradients("bfloat16")
    assert 0 < abs(loss - exact_loss) < 2e-3 * exact_loss
    largest = max(np.abs(gradient).max() for gradient in exact.values())
    for name, gradient in grads.items():
        difference = np.abs(gradient - exact[name]).max()
        assert gradient.dtype == np.float32
        assert 0 < difference <= 0.03 * np.abs(exact[name]).max() + 1e-3 * largest, name


@pytest.mark.parametrize("ops", ["plain", "jit"])
def test_gradients_of_one_token_are_products_of_two_bfloat16(ops):
    """The product of two numbers of 8 bits has 16, so that the last 8 of the 24 bits of a float32 are 0."""
    config = GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=70, n_positions=4, tie_word_embeddings=False)
    model = GPT2(config, lively_model(config, 0, "float32").params, ops)

    def last_bits(dtype):
        grads = flatten(loss_and_grads(model, [3], [5], dtype=dtype)[1])
        # One token sees only itself, whatever q and k are: they have no gradient.
        matrices = [grads[name] for name in grads if name.endswith("weight") and not name.startswith("w")]
        return [np.ascontiguousarray(m).view(np.uint32) & 0xFF for m in matrices if m.ndim == 2]

    assert len(last_bits("bfloat16")) == 5
    assert all(bits.any() for bits in last_bits("float32"))
    assert not any(bits.any() for bits in last_bits("bfloat16"))


@pytest.mark.parametrize(("dtype", "model_dtype"), [("bfloat16", "float64"), ("float16", "float32")])
def test_dtypes_that_are_refused(dtype, model_dtype):
    model = lively_model(GPT2Config(n_layer=1, n_head=1, n_embd=4, vocab_size=9, n_positions=8), 0, model_dtype)
    with pytest.raises(ValueError, match=f"dtype must be .* not '{dtype}' for {model_dtype}"):
        loss_and_grads(model, [1, 2], [2, 3], dtype=dtype)


def test_a_training_in_bfloat16_differs_and_stays_near(tmp_path, training_text):
    losses = {}
    for dtype in ("float32", "bfloat16"):
        training = Training.start(tmp_path / dtype, small_settings(training_text, dtype=dtype, steps=40, lr=1e-2))
        training.run()
        losses[dtype] = training.best
        assert all(array.dtype == np.float32 for array in flatten(training.model.params).values())
        assert all(
            array.dtype == np.float32 for array in [*training.optimizer.m.values(), *training.grads["ln_f"].values()]
        )
    assert losses["float32"] != losses["bfloat16"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], abs=0.03)


def test_a_resumed_training_keeps_its_dtype(tmp_path, training_text):
    Training.start(tmp_path / "out", small_settings(training_text, dtype="bfloat16"))
    assert Training.resume(tmp_path / "out").settings.dtype == "bfloat16"
    refused = CliRunner().invoke(train, ["--resume", str(tmp_path / "out"), "--dtype", "float32"])
    assert refused.exit_code == 2 and "--dtype has no effect with --resume" in refused.output
    # A training from before there was this setting.
    path = tmp_path / "out" / "training.json"
    path.write_text(path.read_text().replace('"dtype": "bfloat16",', ""))
    assert Training.resume(tmp_path / "out").settings.dtype == "float32"
