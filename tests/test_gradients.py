"""Gradients by hand against PyTorch's, and against what they mean: how the loss changes with a parameter."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import assert_close, in_torch, lively_model, models, random_ids

from minigpt import GPT2, GPT2Config
from minigpt.params import flatten
from minigpt.training import IGNORED, loss_and_grads


def torch_loss_and_grads(model, inputs, targets):
    twin = in_torch(model)
    logits = twin(torch.from_numpy(inputs)).logits
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.from_numpy(targets).flatten())
    loss.backward()
    grads = {name.removeprefix("transformer."): p.grad for name, p in twin.named_parameters()}
    return loss.item(), {name: grads[name] for name in flatten(model.params)}


@settings(deadline=None)
@given(model=models(), B=st.integers(1, 3), T=st.integers(1, 16), masked=st.floats(0, 0.9), seed=st.integers(0, 99))
def test_gradients_equal_pytorch(model, B, T, masked, seed):
    inputs, targets = random_ids(model, (2, B, T), seed)
    targets[np.random.default_rng(seed).random(targets.shape) < masked] = IGNORED
    targets[0, -1] = 1  # PyTorch's loss of no targets at all is NaN
    loss, grads = loss_and_grads(model, inputs, targets)
    expected_loss, expected = torch_loss_and_grads(model, inputs, targets)
    assert loss == pytest.approx(expected_loss, rel=1e-9)
    largest = max(gradient.abs().max() for gradient in expected.values())
    for name, gradient in flatten(grads).items():
        # A small gradient is a difference of large terms, whose rounding stays. That of the keys' bias is 0 but for
        # rounding, because softmax does not see what all scores share.
        difference = np.abs(gradient - expected[name].numpy()).max()
        assert difference <= 1e-9 * float(expected[name].abs().max()) + 1e-12 * float(largest), name


CONFIG = {"n_layer": 2, "n_head": 2, "n_embd": 6, "vocab_size": 11, "n_positions": 8, "initializer_range": 0.5}


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("activation", ["gelu_new", "gelu", "relu"])
def test_gradients_are_how_the_loss_changes(activation, dropout, tied):
    model = lively_model(GPT2Config(**CONFIG, tie_word_embeddings=tied, activation_function=activation), 0)
    inputs, targets = random_ids(model, (2, 2, 5))

    def loss_and_gradients():
        return loss_and_grads(model, inputs, targets, dropout=dropout, rng=np.random.default_rng(3))

    gradients = flatten(loss_and_gradients()[1])
    rng, step = np.random.default_rng(1), 1e-5
    for name, array in flatten(model.params).items():
        direction = rng.standard_normal(array.shape)
        before = array.copy()
        array += step * direction
        above, _ = loss_and_gradients()
        array[:] = before - step * direction
        below, _ = loss_and_gradients()
        array[:] = before
        assert (above - below) / (2 * step) == pytest.approx((gradients[name] * direction).sum(), rel=1e-5, abs=1e-8)


def test_gradients_of_parts_add_up_to_those_of_the_whole():
    model = lively_model(GPT2Config(**CONFIG), 0)
    inputs, targets = random_ids(model, (2, 4, 6))
    _, whole = loss_and_grads(model, inputs, targets)
    grads = None
    for some in (slice(2), slice(2, 4)):
        _, grads = loss_and_grads(model, inputs[some], targets[some], grads, scale=0.5)
    for name, gradient in flatten(grads).items():
        assert_close(gradient, flatten(whole)[name], 1e-9 if "attn.c_attn.bias" not in name else 1e-8)


def test_no_target_counts_gives_no_gradient():
    model = lively_model(GPT2Config(**CONFIG), 0)
    loss, grads = loss_and_grads(model, [1, 2, 3], [IGNORED] * 3)
    assert loss == 0 and not any(gradient.any() for gradient in flatten(grads).values())


def test_float32():
    model = lively_model(GPT2Config(**CONFIG | {"n_embd": 32, "vocab_size": 100}), 0, "float32")
    inputs, targets = random_ids(model, (2, 2, 8))
    loss, grads = loss_and_grads(model, inputs, targets)
    expected_loss, expected = torch_loss_and_grads(model, inputs, targets)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    largest = max(gradient.abs().max() for gradient in expected.values())
    for name, gradient in flatten(grads).items():
        assert gradient.dtype == np.float32
        assert np.abs(gradient - expected[name].numpy()).max() < 1e-5 * largest


@pytest.mark.parametrize(
    "inputs, targets, sentence",
    [
        ([1, 2], [1], "inputs have shape"),
        ([1, 2], [1, 11], "target 11 is outside"),
        ([1, 2], [1, -1], "target -1 is outside"),
        ([1] * 9, [1] * 9, "9 tokens, but the model has 8"),
    ],
)
def test_bad_input(inputs, targets, sentence):
    with pytest.raises(ValueError, match=sentence):
        loss_and_grads(GPT2.random(GPT2Config(**CONFIG)), inputs, targets)


def test_packed_weights_are_not_trained():
    with pytest.raises(ValueError, match="cannot be trained"):
        loss_and_grads(GPT2.random(GPT2Config(**CONFIG), dtype="bfloat16"), [1, 2], [2, 3])


def test_replaced_operations_are_not_trained():
    model = GPT2.random(GPT2Config(**CONFIG)).with_ops(attention=lambda q, k, v: v).with_ops(gelu_new=np.tanh)
    with pytest.raises(ValueError, match="^minigpt has no backward pass for the replaced attention, gelu_new: "):
        loss_and_grads(model, [1, 2], [2, 3])


def test_the_formulas_need_no_numba():
    code = """if True:
        import sys
        sys.modules["numba"] = None
        from minigpt import GPT2, GPT2Config
        from minigpt.training import AdamW, loss_and_grads

        model = GPT2.random(GPT2Config(vocab_size=5, n_positions=4, n_layer=1, n_head=2, n_embd=4), ops="plain")
        before = model.params["wte"]["weight"].copy()
        AdamW(model.params).step(loss_and_grads(model, [1, 2], [2, 3])[1])
        assert (model.params["wte"]["weight"] != before).any()
    """
    subprocess.run([sys.executable, "-c", code], check=True)
