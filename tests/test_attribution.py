"""The parts of an attribution sum to the logit, and each is what the logit loses without it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from letter_models import axis_labels, letter_model, letter_tokenizer, random_text
from reference import models

import minigpt
from minigpt import GPT2

TEXT = "Once upon a time there was a clever girl named Alice.\n"


def assert_sums(attribution, tolerance):
    parts = attribution.parts()
    magnitude = sum(map(abs, parts.values()))
    assert sum(parts.values()) == pytest.approx(attribution.logit, abs=1e-12 * magnitude)
    assert abs(attribution.rest) <= tolerance * magnitude
    assert np.allclose(attribution.by_token.sum(axis=-1), attribution.heads, rtol=0, atol=10 * tolerance * magnitude)
    assert not attribution.by_token[..., attribution.position + 1 :].any()


@given(models(), st.integers(1, 8), st.data())
def test_parts_sum_to_the_logit(model, length, data):
    steps = minigpt.step(model, letter_tokenizer(model), random_text(model, length))
    V, H, L = model.config.vocab_size, model.config.n_head, model.config.n_layer
    token, other = data.draw(st.integers(0, V - 1)), data.draw(st.none() | st.integers(0, V - 1))
    position = data.draw(st.integers(-length, length - 1))
    attribution = steps.attribution(token, other, position)
    logits = steps["logits"].array[0, position]
    assert attribution.logit == logits[token] - (0 if other is None else logits[other])
    assert attribution.position == position % length
    assert attribution.heads.shape == (L, H) and attribution.by_token.shape == (L, H, length)
    assert attribution.mlps.shape == attribution.attn_biases.shape == (L,)
    assert len(attribution.parts()) == L * (H + 2) + 4
    assert_sums(attribution, 1e-12)


@given(models(min_head_size=2), st.integers(1, 6), st.data())
def test_a_part_is_what_the_logit_loses_without_it(model, length, data):
    """The stream without the part goes through ln_f by hand, with the mean and variance of the part taken apart."""
    steps = minigpt.step(model, letter_tokenizer(model), random_text(model, length))
    token, layer = (
        data.draw(st.integers(0, model.config.vocab_size - 1)),
        data.draw(st.integers(0, model.config.n_layer - 1)),
    )
    head, source = data.draw(st.integers(0, model.config.n_head - 1)), data.draw(st.integers(0, length - 1))
    attribution = steps.attribution(token)
    ln_f, table = model.params["ln_f"], model.params.get("lm_head", model.params["wte"])["weight"]
    x = steps[f"h.{model.config.n_layer - 1}.resid"].array[0, -1]
    s = np.sqrt(x.var() + model.config.layer_norm_epsilon)

    def added(part):
        return ((part - part.mean()) / s * ln_f["weight"]) @ table[token]

    K = model.config.head_size
    c_proj = model.params["h"][layer]["attn"]["c_proj"]
    rows = c_proj["weight"][head * K : (head + 1) * K]
    v, weights = (steps[f"h.{layer}.attn.{name}"].array[0, head] for name in ("v", "weights"))
    expected = {
        "head": (attribution.heads[layer, head], steps[f"h.{layer}.attn.heads"].array[0, head, -1] @ rows),
        "token": (attribution.by_token[layer, head, source], weights[-1, source] * v[source] @ rows),
        "bias": (attribution.attn_biases[layer], c_proj["bias"]),
        "mlp": (attribution.mlps[layer], steps[f"h.{layer}.mlp.out"].array[0, -1]),
        "wpe": (attribution.wpe, model.params["wpe"]["weight"][length - 1]),
    }
    magnitude = sum(map(abs, attribution.parts().values()))
    for name, (value, part) in expected.items():
        assert value == pytest.approx(added(part), abs=1e-11 * magnitude), name
    assert attribution.ln_f_bias == pytest.approx(ln_f["bias"] @ table[token])


@pytest.mark.parametrize(
    ("options", "tolerance"), [({"dtype": "float64"}, 1e-12), ({}, 2e-6), ({"quantize": "int8"}, 2e-6)]
)
def test_the_bundled_model(options, tolerance):
    model = GPT2.from_pretrained("stories", ops="plain", **options)
    steps = minigpt.step(model, TEXT)
    assert_sums(steps.attribution("She"), tolerance)
    assert_sums(steps.attribution("She", "He"), tolerance)
    assert_sums(steps.attribution(" time", position=2), tolerance)


def test_an_edit_goes_to_the_rest():
    model = letter_model()
    steps = minigpt.step(model, letter_tokenizer(model), "face", edit={"h.1.resid": lambda x: x + np.arange(8)})
    attribution = steps.attribution("a")
    assert abs(attribution.rest) > 1e-3
    assert sum(attribution.parts().values()) == pytest.approx(attribution.logit)


def test_the_sign_of_a_difference(bundled):
    steps = minigpt.step(*bundled, TEXT)
    she, he = steps.attribution("She"), steps.attribution("He")
    difference = steps.attribution("She", other="He")
    assert np.allclose(difference.heads, she.heads - he.heads, atol=1e-5)
    assert difference.logit > 0 and difference.other == "He" and she.other is None
    ids = [bundled[1].token_id(token) for token in ("She", "He")]
    assert str(steps.attribution(*ids)) == str(difference)


def test_an_attribution_is_shown(bundled):
    attribution = minigpt.step(*bundled, TEXT).attribution("She", "He", position=-1)
    text = str(attribution)
    assert text.startswith(
        f'logit of "She" minus that of "He" after {attribution.position} "↵": {attribution.logit:.6g}'
    )
    largest = max(attribution.parts().items(), key=lambda part: abs(part[1]))
    assert f"{largest[1]:+.4g} {largest[0]}" in text.split("\n")[2]
    assert max(map(len, text.split("\n"))) <= 80
    figure = attribution.plot()
    left, right = figure.axes[:2]
    assert np.array_equal(left.images[0].get_array()[:, :4], attribution.heads)
    assert np.array_equal(left.images[0].get_array()[:, 5], attribution.mlps)
    assert np.array_equal(right.images[0].get_array(), attribution.by_token.sum(axis=1))
    assert axis_labels(left.xaxis) == ["head 0", "head 1", "head 2", "head 3", "bias", "MLP"]
    assert axis_labels(right.xaxis)[:2] == ["Once", "␣upon"] and axis_labels(left.yaxis)[0] == "block 0"
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_bad_arguments(bundled):
    steps = minigpt.step(*bundled, "Once upon a time")
    for arguments, sentence in (
        (("She ran",), "token must be one token, but 'She ran' is 2"),
        (("She", "He ran"), "other must be one token"),
        ((10**6,), "token must be an integer, from 0 to"),
        ((1.5,), "token must be the text of a token or an id, not 1.5"),
        (("She", None, 4), "position must be an integer, from -4 to 3, not 4"),
    ):
        with pytest.raises(ValueError, match=sentence):
            steps.attribution(*arguments)
    model = letter_model()
    steps = minigpt.step(model.with_ops(attention=lambda q, k, v: v), letter_tokenizer(model), "face")
    with pytest.raises(ValueError, match="the replaced attention does not tap its weights"):
        steps.attribution("a")
