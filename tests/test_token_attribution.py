"""What the tokens add to a logit is the gradient times the embedding, in a model whose nonlinear parts are constants."""

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from letter_models import axis_labels, letter_model, letter_tokenizer, random_text
from reference import models

import minigpt
from minigpt import GPT2
from minigpt.params import flatten

TEXT = "Once upon a time there was a little girl called Julia. She lived with"


def sum_of(attribution):
    return attribution.by_token.sum() + attribution.bias + attribution.rest


def magnitude_of(attribution):
    return np.abs(attribution.by_token).sum() + abs(attribution.bias)


def assert_sums(attribution, tolerance):
    magnitude = magnitude_of(attribution)
    assert sum_of(attribution) == pytest.approx(attribution.logit, abs=1e-12 * magnitude)
    assert abs(attribution.rest) <= tolerance * magnitude
    assert not attribution.by_token[attribution.position + 1 :].any()


def assert_edges_are_in(attribution, steps):
    """Every edge leads from its token to a later one, with the weight that is there."""
    assert len(attribution.edges) == len(steps.tokens)
    assert not any(attribution.edges[attribution.position :])
    for source, edge in enumerate(attribution.edges):
        if edge is not None:
            assert source < edge.query <= attribution.position
            assert edge.weight == steps[f"h.{edge.layer}.attn.weights"].array[0, edge.head, edge.query, source]


@given(models(), st.integers(1, 8), st.data())
def test_tokens_and_biases_sum_to_the_logit(model, length, data):
    steps = minigpt.step(model, letter_tokenizer(model), random_text(model, length))
    V = model.config.vocab_size
    token, other = data.draw(st.integers(0, V - 1)), data.draw(st.none() | st.integers(0, V - 1))
    position = data.draw(st.integers(-length, length - 1))
    attribution = steps.token_attribution(token, other, position)
    logits = steps["logits"].array[0, position]
    assert attribution.logit == logits[token] - (0 if other is None else logits[other])
    assert attribution.position == position % length and attribution.by_token.shape == (length,)
    assert_sums(attribution, 1e-12)
    assert_edges_are_in(attribution, steps)


def in_frozen_torch(model, ids, token, other, position):
    """The forward pass in PyTorch, with constants for all that is not linear, and its gradients times what they are of.

    Returns by_token [T], bias, and what every connection of attention adds, [L, H, query, key].
    """
    config, T = model.config, len(ids)
    params = {
        name: torch.tensor(np.asarray(array), requires_grad=True) for name, array in flatten(model.params).items()
    }
    passed = []

    def linear(x, name):
        return x @ params[f"{name}.weight"].detach() + params[f"{name}.bias"]

    def norm(x, name):
        s = (x.var(-1, unbiased=False, keepdim=True) + config.layer_norm_epsilon).sqrt().detach()
        weight = params[f"{name}.weight"].detach()
        return (x - x.mean(-1, keepdim=True)) / s * weight + params[f"{name}.bias"]

    def attention(x, layer):
        q, k, v = (
            part.reshape(T, config.n_head, -1).transpose(0, 1)
            for part in linear(x, f"h.{layer}.attn.c_attn").chunk(3, -1)
        )
        scores = q @ k.transpose(-1, -2) * config.attention_scale(layer)
        weights = scores.masked_fill(~torch.ones(T, T).tril().bool(), -torch.inf).softmax(-1).detach()
        passed.append(weights[..., None] * v[:, None])  # [H, query, key, K]
        passed[-1].retain_grad()
        return linear(passed[-1].sum(2).transpose(0, 1).reshape(T, -1), f"h.{layer}.attn.c_proj")

    function = {"gelu_new": partial(F.gelu, approximate="tanh"), "gelu": F.gelu, "relu": F.relu}
    embed = (params["wte.weight"][ids] + params["wpe.weight"][:T]).detach().requires_grad_()
    x = embed
    for layer in range(config.n_layer):
        x = x + attention(norm(x, f"h.{layer}.ln_1"), layer)
        pre = linear(norm(x, f"h.{layer}.ln_2"), f"h.{layer}.mlp.c_fc")
        act = function[config.activation_function](pre)
        x = x + linear((act / pre).detach() * pre, f"h.{layer}.mlp.c_proj")
    head = params["wte.weight" if config.tie_word_embeddings else "lm_head.weight"].detach()
    logits = norm(x, "ln_f")[position] @ head.T
    (logits[token] - (0 if other is None else logits[other])).backward()
    biases = [array for name, array in params.items() if name.endswith("bias")]
    edges = [(values * values.grad).sum(-1) for values in passed]
    by_token, bias = (embed * embed.grad).sum(-1), sum((array * array.grad).sum() for array in biases)
    return by_token.detach().numpy(), bias.item(), torch.stack(edges).detach().numpy()


@given(models(), st.integers(1, 7), st.data())
def test_against_gradients_of_pytorch(model, length, data):
    tokenizer, text = letter_tokenizer(model), random_text(model, length)
    V = model.config.vocab_size
    token, other = data.draw(st.integers(0, V - 1)), data.draw(st.none() | st.integers(0, V - 1))
    position = data.draw(st.integers(0, length - 1))
    attribution = minigpt.step(model, tokenizer, text).token_attribution(token, other, position)
    by_token, bias, passed = in_frozen_torch(model, tokenizer.encode(text), token, other, position)
    tolerance = 1e-11 * magnitude_of(attribution)
    assert np.allclose(attribution.by_token, by_token, rtol=0, atol=tolerance)
    assert attribution.bias == pytest.approx(bias, abs=tolerance)
    for source, edge in enumerate(attribution.edges):
        later = np.abs(passed[:, :, source + 1 :, source])
        if edge is None:
            assert not later.size or later.max() <= tolerance
        else:
            assert edge.value == pytest.approx(passed[edge.layer, edge.head, edge.query, source], abs=tolerance)
            assert abs(edge.value) >= later.max() - tolerance


@pytest.mark.parametrize(
    ("options", "tolerance"),
    [({"dtype": "float64"}, 1e-12), ({}, 1e-6), ({"quantize": "int4"}, 1e-6), ({"dtype": "bfloat16"}, 1e-6)],
)
def test_the_bundled_model(options, tolerance):
    steps = minigpt.step(GPT2.from_pretrained("stories", ops="plain", **options), TEXT)
    for arguments in ((" her",), (" her", " his"), (" girl", None, 6)):
        attribution = steps.token_attribution(*arguments)
        assert_sums(attribution, tolerance)
        assert_edges_are_in(attribution, steps)
    her = steps.token_attribution(" her", " his")
    girl = steps.tokens.index(" girl")
    assert her.by_token.argmax() == girl and her.edges[girl].weight > 0.5
    assert steps.tokens[her.edges[girl].query] == " with"


def test_a_checkpoint_in_half_precision(tmp_path, bundled):
    model, tokenizer = bundled
    model.save_pretrained(tmp_path, half=True)
    half = GPT2.from_pretrained(str(tmp_path))
    assert_sums(minigpt.step(half, tokenizer, TEXT).token_attribution(" her"), 1e-6)


def test_a_difference_is_the_difference(bundled):
    steps = minigpt.step(*bundled, TEXT)
    her, his, both = (steps.token_attribution(*names) for names in ((" her",), (" his",), (" her", " his")))
    assert np.allclose(both.by_token, her.by_token - his.by_token, atol=1e-4)
    assert both.bias == pytest.approx(her.bias - his.bias, abs=1e-4)
    turned = steps.token_attribution(" his", " her")
    assert np.array_equal(turned.by_token, -both.by_token)
    assert [edge and edge[:4] for edge in turned.edges] == [edge and edge[:4] for edge in both.edges]
    ids = [bundled[1].encode(token)[0] for token in (" her", " his")]
    assert str(steps.token_attribution(*ids)) == str(both)


def shifted(x):
    return x + np.arange(x.shape[-1])


def shifted_weights(weights):
    return np.tril(shifted(weights))


# The tokens begin with an edited embed; the others are held, or what is held follows from them.
EXPLAINED = ("embed", "h.1.attn.q", "h.1.attn.k", "h.1.attn.scores", "h.1.attn.weights", "h.1.mlp.act")
UNEXPLAINED = (
    "h.1.ln_1",
    "h.1.attn.v",
    "h.1.attn.heads",
    "h.1.resid_mid",
    "h.1.mlp.pre",
    "h.1.resid",
    "ln_f",
    "logits",
)


@pytest.mark.parametrize("name", [*EXPLAINED, *UNEXPLAINED])
def test_an_edit_goes_to_the_rest_unless_it_changes_what_is_held(name):
    model = letter_model()
    edit = {name: shifted_weights if name.endswith("weights") else shifted}
    attribution = minigpt.step(model, letter_tokenizer(model), "face", edit=edit).token_attribution("c")
    assert sum_of(attribution) == pytest.approx(attribution.logit)
    if name in EXPLAINED:
        assert_sums(attribution, 1e-12)
    else:
        assert abs(attribution.rest) > 0.01 * magnitude_of(attribution)


def test_a_replaced_operation_goes_to_the_rest():
    model = letter_model()
    for replaced in ({"gelu_new": shifted}, {"softmax": lambda x: np.exp(x) / 9}):  # held
        steps = minigpt.step(model.with_ops(**replaced), letter_tokenizer(model), "face")
        assert_sums(steps.token_attribution("a"), 1e-12)
    replaced = model.with_ops(layer_norm=lambda x, weight, bias, eps: np.tanh(x))
    attribution = minigpt.step(replaced, letter_tokenizer(model), "face").token_attribution("a")
    assert sum_of(attribution) == pytest.approx(attribution.logit) and abs(attribution.rest) > 1e-3


def test_neurons_that_are_zero():
    """0 / 0 is no gate; whatever it is, it adds nothing."""
    model = letter_model(activation_function="relu")
    model.params["h"][1]["mlp"]["c_fc"]["weight"][:] = 0
    model.params["h"][1]["mlp"]["c_fc"]["bias"][:] = 0
    assert_sums(minigpt.step(model, letter_tokenizer(model), "face").token_attribution("a"), 1e-12)


def test_an_attribution_is_shown(bundled):
    attribution = minigpt.step(*bundled, TEXT).token_attribution(" her", " his")
    lines = str(attribution).split("\n")
    assert lines[0] == f'logit of "␣her" minus that of "␣his" after 14 "␣with": {attribution.logit:.6g}'
    time = next(line for line in lines if "␣time" in line)
    edge = attribution.edges[3]
    assert time.split() == [
        *(f"{attribution.by_token[3]:+.4g}", "3", '"␣time"'),
        *("most", "by", f"h.{edge.layer}", "head", f"{edge.head},", "to", f"{edge.query}", '"␣girl"'),
    ]
    assert [line.split()[1] for line in lines[-2:]] == ["biases", "rest"]
    shown = [float(line.split()[0]) for line in lines[2:]]
    assert sum(shown) == pytest.approx(attribution.logit, rel=1e-3)
    assert max(map(len, lines)) <= 80
    (axes,) = attribution.plot().axes
    heights = [bar.get_height() for bar in axes.patches]
    assert np.allclose(heights, [*attribution.by_token, attribution.bias])
    assert axis_labels(axes.xaxis)[-2:] == ["␣with", "biases"]
    assert attribution.plot()._repr_png_().startswith(b"\x89PNG")


def test_bad_arguments(bundled):
    steps = minigpt.step(*bundled, "Once upon a time")
    for arguments, sentence in (
        (("She ran",), "token must be one token, but 'She ran' is 2"),
        (("She", 10**6), "other must be an integer, from 0 to"),
        (("She", None, 4), "position must be an integer, from -4 to 3, not 4"),
    ):
        with pytest.raises(ValueError, match=sentence):
            steps.token_attribution(*arguments)
    model = letter_model()
    steps = minigpt.step(model.with_ops(attention=lambda q, k, v: v), letter_tokenizer(model), "face")
    with pytest.raises(ValueError, match="the replaced attention does not tap its weights"):
        steps.token_attribution("a")
