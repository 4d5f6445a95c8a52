"""The terms of every number of a forward pass sum to it, have the factors that they name, and lead back to a token."""

import json
from functools import partial

import numpy as np
import pytest
from helpers import fails_with, run_here
from hypothesis import given
from hypothesis import strategies as st
from letter_models import letter_model, letter_tokenizer, random_text
from reference import models

import minigpt
from minigpt import GPT2, GPT2Config
from minigpt.activations import ACTIVATIONS, activation_names
from minigpt.bundled import DEFAULT_MODEL
from minigpt.looking.why.display import MAX_TERMS
from minigpt.params import flatten

NAMES = [activation.name for activation in ACTIVATIONS]
TEXT = "Once upon a time there was a clever girl named Alice.\n"


def draw_place(data, steps, name):
    """Draw a block, if the activation is a block's, and an index; return the full name and the index."""
    if name not in ("embed", "ln_f", "logits"):
        name = f"h.{data.draw(st.integers(0, steps.n_layer - 1))}.{name}"
    return name, tuple(data.draw(st.integers(0, size - 1)) for size in steps[name].array[0].shape)


def random_place(rng, steps, name):
    if name not in ("embed", "ln_f", "logits"):
        name = f"h.{rng.integers(steps.n_layer)}.{name}"
    return name, tuple(int(rng.integers(size)) for size in steps[name].array[0].shape)


def assert_sums(why, value, tolerance):
    """The terms sum to the number, up to rounding, and none of them stands for a difference."""
    assert why.value == value and why.terms == sorted(why.terms, key=lambda term: -abs(term.value))
    assert all(term.factors for term in why.terms) and "formula gives" not in why.note
    magnitude = sum(abs(term.value) for term in why.terms)
    assert abs(sum(term.value for term in why.terms) - value) <= tolerance * magnitude + np.finfo(float).tiny


def assert_factors_are_in(why, steps, model):
    """Every factor has the number that the trace or the parameters have there, and the term is their product."""
    params = flatten(model.params)
    for term in why.terms:
        for factor in term.factors:
            if factor.kind == "activation":
                assert factor.value == steps[factor.name].array[0][factor.index]
            elif factor.kind == "parameter":
                assert factor.value == np.asarray(params[factor.name])[factor.index]
            else:
                assert factor.kind == "constant" and factor.index is None
        if not why.name.endswith("attn.weights"):
            assert term.value == pytest.approx(np.prod([factor.value for factor in term.factors]), rel=1e-6)
    for factor in why.also:
        assert factor.kind == "constant" or factor.value == steps[factor.name].array[0][factor.index]


@pytest.mark.parametrize("name", NAMES)
@given(model=models(), length=st.integers(1, 8), data=st.data())
def test_terms_sum_to_the_number(name, model, length, data):
    steps = minigpt.step(model, letter_tokenizer(model), random_text(model, length))
    name, index = draw_place(data, steps, name)
    why = steps.why(name, *index)
    assert (why.name, why.index) == (name, index)
    assert_sums(why, steps[name].array[0][index], 1e-12)
    assert_factors_are_in(why, steps, model)
    json.dumps(why.to_dict())


def test_every_number_of_a_small_pass_is_explained():
    model = letter_model(n_layer=2, n_embd=4, n_inner=3, vocab_size=7)
    steps = minigpt.step(model, letter_tokenizer(model), "face")
    for step in steps:
        for index in np.ndindex(step.array[0].shape):
            assert_sums(steps.why(step.name, *index), step.array[0][index], 1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 2e-6), ("bfloat16", 2e-6)])
def test_the_bundled_model(dtype, tolerance):
    model = GPT2.from_pretrained(DEFAULT_MODEL, dtype=dtype, ops="plain")
    steps, rng = minigpt.step(model, TEXT), np.random.default_rng(0)
    for name in NAMES:
        for _ in range(3):
            place, index = random_place(rng, steps, name)
            why = steps.why(place, *index)
            if name == "attn.weights":  # exp makes a relative error of the error of its argument
                tolerance = max(tolerance, 1e-5 if model.dtype == np.float32 else 0)
            assert_sums(why, steps[place].array[0][index], tolerance)
            assert_factors_are_in(why, steps, model)


@pytest.mark.parametrize("ops", ["plain", "jit"])
@pytest.mark.parametrize("form", ["int8", "int4"])
def test_weights_in_integers(form, ops):
    """The kernels round the input of such a product, so the sum is less exact there; it is not called an edit."""
    model = GPT2.from_pretrained(DEFAULT_MODEL, quantize=form, ops=ops)
    steps, rng = minigpt.step(model, "Once upon a time"), np.random.default_rng(0)
    for name in NAMES:
        place, index = random_place(rng, steps, name)
        tolerance = {"int8": 1e-3, "int4": 1e-2}[form] if ops == "jit" else 1e-5
        assert_sums(steps.why(place, *index), steps[place].array[0][index], tolerance)


@pytest.mark.parametrize("form", ["int8", "int4"])
def test_the_rounding_of_kernels_is_no_difference(form):
    """One large number makes the steps coarse in which the kernel rounds the others."""
    model = GPT2.from_pretrained(DEFAULT_MODEL, quantize=form, ops="jit")
    weights = np.asarray(model.params["h"][0]["mlp"]["c_fc"]["weight"])

    def edit(x):
        x[..., 0] = 300
        return x

    steps = minigpt.step(model, "Once upon a time", edit={"h.0.ln_2": edit})
    whys = [steps.why("h.0.mlp.pre", 3, f) for f in np.abs(weights[0]).argsort()[:5]]
    assert not any(why.note for why in whys)
    errors = [abs(sum(t.value for t in why.terms) - why.value) / sum(abs(t.value) for t in why.terms) for why in whys]
    assert max(errors) > 1e-4


@given(models(), st.integers(1, 6), st.data())
def test_the_largest_terms_lead_to_a_row_of_wte(model, length, data):
    tokenizer, text = letter_tokenizer(model), random_text(model, length)
    steps = minigpt.step(model, tokenizer, text)
    name, index = draw_place(data, steps, data.draw(st.sampled_from(NAMES)))
    path = steps.why(name, *index).path()
    names = activation_names(model.config.n_layer)
    order = [names.index(why.name) for why in path]
    assert order == sorted(order, reverse=True) and path[0].name == name
    if not path[-1].terms:  # a hidden key
        return
    assert path[-1].name == "embed"
    (row,) = [term for term in path[-1].terms if term.factors[0].name == "wte.weight"]
    token_id, d = row.factors[0].index
    assert token_id == tokenizer.encode(text)[row.position] and d == path[-1].index[1]
    assert row.token == tokenizer.decode([token_id]) == steps.tokens[row.position]
    with pytest.raises(ValueError, match=r"wte.weight\[\d+, \d+\] was not computed in this pass"):
        row.why()


def test_which_factor_is_asked(bundled):
    steps = minigpt.step(*bundled, TEXT)
    score = steps.why("h.1.attn.scores", 2, 5, 3)
    term = score.terms[0]
    (_, t, k), (_, s, _) = (factor.index for factor in term.factors[:2])
    assert (t, s) == (5, 3) and term.token == steps.tokens[3]
    assert term.why().name == "h.1.attn.k" and term.why().index == (2, 3, k)
    assert term.why(0).name == "h.1.attn.q" and term.why(0).index == (2, 5, k)
    assert [term.token for term in steps.why("h.1.attn.weights", 2, 5, 3).terms] == [steps.tokens[3]]
    head = steps.why("h.1.attn.heads", 2, 5, 3)
    assert len(head.terms) == 6 and {term.token for term in head.terms} == set(steps.tokens[:6])
    assert head.terms[0].why().name == "h.1.attn.v" and head.terms[0].why(0).name == "h.1.attn.weights"
    with pytest.raises(ValueError, match="has 2 factors that can be asked, not a number 2"):
        head.terms[0].why(2)


def test_negative_indices_count_from_the_end(bundled):
    steps = minigpt.step(*bundled, TEXT)
    T, V = steps["logits"].array[0].shape
    assert steps.why("logits", -1, -2).index == (T - 1, V - 2)
    assert str(steps.why("logits", -1, -2)) == str(steps.why(f"logits[-1, {V - 2}]"))


def test_what_a_number_depends_on_without_adding():
    model = letter_model()
    steps = minigpt.step(model, letter_tokenizer(model), "face")
    weight = steps.why("h.1.attn.weights", 0, 2, 1)
    assert [factor.index for factor in weight.also] == [(0, 2, 0), (0, 2, 2)] and len(weight.terms) == 1
    assert weight.terms[0].label == "exp(attn.scores[0, 2, 1] - max) / sum"
    norm = steps.why("h.1.ln_1", 2, 3)
    stream = steps["h.0.resid"].array[0, 2]
    assert [factor.name for factor in norm.also[:2]] == ["mean", "variance"]
    assert np.allclose([factor.value for factor in norm.also], [stream.mean(), stream.var(), *stream])


def test_a_hidden_key():
    model = letter_model()
    steps = minigpt.step(model, letter_tokenizer(model), "face")
    why = steps.why("h.1.attn.weights", 0, 1, 3)
    assert (why.value, why.terms, why.also) == (0, [], [])
    assert why.note == "Token 3 comes after token 1: the mask hides it, so that its weight is 0."
    score = steps.why("h.1.attn.scores", 0, 1, 3)
    assert len(score.terms) == 4 and "its weight is 0" in score.note


@pytest.mark.parametrize("name", NAMES)
def test_an_edit_is_told(name):
    """At the number that was edited, and there alone."""
    model = letter_model()
    step = partial(minigpt.step, model, letter_tokenizer(model), "face")
    place, index = random_place(np.random.default_rng(1), step(), name)

    def edit(activation):
        activation[0][index] += 0.1
        return activation

    steps = step(edit={place: edit})
    why = steps.why(place, *index)
    assert f"{place} was edited: the formula gives" in why.note and "the formula gives" in str(why)
    (difference,) = [term for term in why.terms if not term.factors]
    assert difference.label == "edited" and difference.value == pytest.approx(0.1)
    assert sum(term.value for term in why.terms) == pytest.approx(why.value)
    with pytest.raises(ValueError, match="edited was not computed in this pass"):
        difference.why()
    other = (index[0], (index[1] + 1) % steps[place].array.shape[2], *index[2:])
    assert "edited" not in steps.why(place, *other).note


def test_an_edit_of_the_stream_is_told_further_on():
    model = letter_model()
    steps = minigpt.step(model, letter_tokenizer(model), "face", edit={"h.1.resid_mid": lambda x: x + 1})
    assert steps.why("h.0.resid", 2, 3).note == "" and "edited" in steps.why("h.1.resid_mid", 2, 3).note
    later = steps.why("h.2.resid", 2, 3)
    assert "The stream was edited at h.1.resid_mid: the formula gives" in later.note
    assert [term.value for term in later.terms if term.label == "edited"] == [pytest.approx(1)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_score_of_minus_infinity(dtype):
    """An edit that hides a key: its weight is exp(-inf) = 0, as the formula says."""
    model = GPT2.random(letter_model().config, dtype=dtype)

    def hide(scores):
        scores[..., 1] = -np.inf
        return scores

    steps = minigpt.step(model, letter_tokenizer(model), "face", edit={"h.1.attn.scores": hide})
    for t in (2, 3):
        for s in range(4):
            why = steps.why("h.1.attn.weights", 0, t, s)
            assert "formula gives" not in why.note and (why.value == 0) == (s == 1 or s > t)
    assert "h.1.attn.scores was edited" in steps.why("h.1.attn.scores", 0, 2, 1).note


def test_a_replaced_attention_is_told():
    model = letter_model()
    steps = minigpt.step(model.with_ops(attention=lambda q, k, v: 2 * v), letter_tokenizer(model), "face")
    why = steps.why("h.1.attn.heads", 1, 2, 3)
    assert [(term.label, term.value) for term in why.terms] == [("replaced", why.value)]
    assert "does not tap its weights" in why.note and "The operation attention was replaced" in why.note
    with pytest.raises(ValueError, match="h.1.attn.scores was not recorded: the replaced attention does not tap it"):
        steps.why("h.1.attn.scores", 0, 0, 0)
    assert steps.why("h.1.attn.out", 1, 2).note == ""
    steps = minigpt.step(model.with_ops(gelu_new=lambda x: 2 * x), letter_tokenizer(model), "face")
    assert "The operation gelu_new was replaced" in steps.why("h.1.mlp.act", 1, 2).note


BAD_PLACES = [
    ("h.3.attn.q", (0, 0, 0), "no activation of a model of 3 blocks is called 'h.3.attn.q'"),
    ("attn.q", (0, 0, 0), "no activation of a model of 3 blocks is called 'attn.q'"),
    ("h.0.attn.q", (0, 0), r"h.0.attn.q[h, t, k] takes 3 indices (2 by 4 by 4), not 2"),
    ("h.0.attn.q", (), r"takes 3 indices (2 by 4 by 4), not 0"),
    ("h.0.attn.q", (2, 0, 0), "h must be an integer from 0 to 1, not 2"),
    ("h.0.attn.scores", (0, -5, 0), "t must be an integer from 0 to 3, not -5"),
    ("logits", (0, 1.5), "v must be an integer from 0 to 29, not 1.5"),
    ("logits", (True, 1), "t must be an integer from 0 to 3, not True"),
    ("logits[1", (), "a place is a name and integers in brackets, as in h.0.attn.q[1, 5, 3], not 'logits[1'"),
    ("logits[1, x]", (), "a place is a name and integers in brackets"),
    ("logits[]", (), "a place is a name and integers in brackets"),
    (3, (), "the name must be a string"),
]


@pytest.mark.parametrize(("name", "index", "sentence"), BAD_PLACES)
def test_bad_places(name, index, sentence):
    model = letter_model()
    steps = minigpt.step(model, letter_tokenizer(model), "face")
    with pytest.raises(ValueError) as caught:
        steps.why(name, *index)
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["Once <b> upon\n", TEXT])
def test_a_why_is_shown(text, bundled):
    steps, rng = minigpt.step(*bundled, text), np.random.default_rng(0)
    for name in NAMES:
        place, index = random_place(rng, steps, name)
        why = steps.why(place, *index)
        shown = str(why)
        assert shown.startswith(f"{place}{list(index)} = {why.value:.6g}\n")
        assert max(map(len, shown.split("\n"))) <= 80
        assert all(term.label[:40] in shown for term in why.terms[:MAX_TERMS])
        if len(why.terms) > MAX_TERMS:
            rest = sum(term.value for term in why.terms[MAX_TERMS:])
            assert f"and {len(why.terms) - MAX_TERMS} more, together" in shown and f"{rest:+.4g}" in shown
        page = why._repr_html_()
        assert page.count("<div") == page.count("</div>") and page.count("<tr") == page.count("</tr>")
        assert page.count("<tr") == page.count("<tr style='background:none'>"), (
            "dark on dark in JupyterLab's dark theme"
        )
        assert "<b>" not in page.replace("<b><code>", "")
    if "<" in text:
        assert "&lt;" in steps.why("embed", steps.tokens.index("<"), 0)._repr_html_()


def test_long_labels_fit_in_80_columns():
    config = GPT2Config(n_layer=12, n_head=2, n_embd=4, vocab_size=60, n_positions=128, n_inner=1200)
    model = GPT2.random(config, dtype="float64")
    steps = minigpt.step(model, letter_tokenizer(model), random_text(model, 120))
    for name in ("h.11.attn.scores[1, 119, 118]", "h.11.resid[119, 3]", "h.11.mlp.out[119, 3]", "ln_f[119, 3]"):
        assert max(map(len, str(steps.why(name)).split("\n"))) <= 80


def test_the_command():
    steps = minigpt.step(DEFAULT_MODEL, "Once upon a time")
    place = "h.2.attn.scores[1,3,-2]"
    assert run_here("step", "Once upon a time", "--why", place).stdout == f"{steps.why(place)}\n"
    fields = json.loads(run_here("step", "Once upon a time", "--why", place, "--json").stdout)
    assert fields.pop("model") == DEFAULT_MODEL and fields.pop("tokens") == steps.tokens
    assert fields == {"why": json.loads(json.dumps(steps.why(place).to_dict()))}
    for place, sentence in (
        ("h.4.attn.q[0,0,0]", "no activation of a model of 4 blocks is called 'h.4.attn.q'"),
        ("h.0.attn.q[0,0]", "h.0.attn.q[h, t, k] takes 3 indices (4 by 4 by 32), not 2"),
        ("h.0.attn.q[0,0,32]", "k must be an integer from 0 to 31, not 32"),
        ("h.0.attn.q[0,0", "a place is a name and integers in brackets"),
        ("h.0.attn.q", "takes 3 indices"),
    ):
        fails_with(sentence, "step", "Once upon a time", "--why", place, run=run_here)
