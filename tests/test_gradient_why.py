"""The terms of every number of a gradient sum to it; the gradients are those of training, and what the loss does."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from letter_models import letter_model, letter_tokenizer, random_text
from reference import models

from minigpt import GPT2, GPT2Config
from minigpt.activations import ACTIVATIONS, activation_names
from minigpt.looking import gradient_steps
from minigpt.params import flatten
from minigpt.training import loss_and_grads

NAMES = [activation.name for activation in ACTIVATIONS]
PARAMETERS = sorted({name.removeprefix("h.0.") for name in GPT2Config(n_layer=1, tie_word_embeddings=False).shapes()})
TEXT = "Once upon a time there was a clever girl named Alice.\n"


def draw_place(data, steps, name, n_layer):
    """Draw a block, if the name is a block's, and an index; return the full name and the index."""
    if name not in steps.gradients:
        name = f"h.{data.draw(st.integers(0, n_layer - 1))}.{name}"
    return name, tuple(data.draw(st.integers(0, size - 1)) for size in steps.gradients[name].shape)


def assert_sums(why, steps, tolerance):
    assert why.kind == "gradient" and why.value == steps.gradients[why.name][why.index]
    assert all(term.factors for term in why.terms) and "formula gives" not in why.note
    # Derivatives of a layer norm and of a softmax are differences, which can cancel within one factor.
    magnitude = sum(abs(term.value) for term in why.terms)
    largest = max((abs(f.value) for term in why.terms for f in term.factors if f.kind == "gradient"), default=0)
    difference = abs(sum(term.value for term in why.terms) - why.value)
    assert difference <= tolerance * (magnitude + largest), f"{why.name}{why.index}: {difference} of {magnitude}"


def assert_factors_are_in(why, steps, model, trace):
    params = flatten(model.params)
    for term in why.terms:
        for factor in term.factors:
            if factor.kind == "gradient":
                assert factor.value == steps.gradients[factor.name][factor.index]
            elif factor.kind == "activation":
                assert factor.value == pytest.approx(trace[factor.name][0][factor.index], rel=1e-9, abs=1e-12)
            elif factor.kind == "parameter":
                assert factor.value == params[factor.name][factor.index]
        assert term.value == pytest.approx(np.prod([factor.value for factor in term.factors]), rel=1e-12)


@pytest.mark.parametrize("name", [*NAMES, *PARAMETERS])
@given(model=models(min_head_size=2), length=st.integers(2, 8), data=st.data())
def test_terms_sum_to_the_gradient(name, model, length, data):
    if name == "lm_head.weight" and model.config.tie_word_embeddings:
        return
    text = random_text(model, length)
    steps = gradient_steps(model, letter_tokenizer(model), text)
    name, index = draw_place(data, steps, name, model.config.n_layer)
    why = steps.why(name, *index)
    assert_sums(why, steps, 1e-10)
    trace = {}
    model(letter_tokenizer(model).encode(text)[:-1], trace=trace)
    assert_factors_are_in(why, steps, model, trace)


@given(models(), st.integers(2, 8))
def test_gradients_of_parameters_are_those_of_training(model, length):
    """Training's own are compared with PyTorch's in test_gradients.py."""
    text = random_text(model, length)
    steps = gradient_steps(model, letter_tokenizer(model), text)
    ids = letter_tokenizer(model).encode(text)
    loss, grads = loss_and_grads(model, ids[:-1], ids[1:])
    assert steps.loss == pytest.approx(loss, rel=1e-12)
    for name, gradient in flatten(grads).items():
        assert np.array_equal(steps.gradients[name], gradient), name
    assert set(steps.gradients) == {*activation_names(model.config.n_layer), *flatten(grads)}


@pytest.mark.parametrize("options", [{}, {"activation_function": "gelu", "tie_word_embeddings": False}])
def test_gradients_of_activations_are_how_the_loss_changes(options):
    """Every activation is edited in a drawn direction, a little up and a little down."""
    model = letter_model(n_layer=2, **options)
    tokenizer, text = letter_tokenizer(model), "decade"
    steps, ids = gradient_steps(model, tokenizer, text), tokenizer.encode(text)

    def loss(edit):
        logits = model(ids[:-1], edit=edit)
        logits = logits - logits.max(axis=-1, keepdims=True)
        logprobs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
        return -logprobs[np.arange(len(ids) - 1), ids[1:]].mean()

    assert steps.loss == pytest.approx(loss({}), rel=1e-12)
    rng, step = np.random.default_rng(0), 1e-5
    for name in activation_names(2):
        gradient = steps.gradients[name]
        direction = rng.standard_normal(gradient.shape)
        above, below = (loss({name: lambda a, d=d, x=direction: a + d * x}) for d in (step, -step))
        assert (above - below) / (2 * step) == pytest.approx((gradient * direction).sum(), rel=1e-6, abs=1e-9), name


def test_one_number_of_every_activation_by_finite_differences(bundled):
    """What `why` explains is what the loss does when this one number changes."""
    model, tokenizer = GPT2.from_pretrained("stories", dtype="float64", ops="plain"), bundled[1]
    text = "Once upon a time"
    steps, ids = gradient_steps(model, tokenizer, text), tokenizer.encode(text)

    def loss(name, index, change):
        def edit(activation):
            activation[0][index] += change
            return activation

        logits = model(ids[:-1], edit={name: edit})
        return np.mean([np.log(np.exp(row).sum()) - row[target] for row, target in zip(logits, ids[1:], strict=True)])

    rng = np.random.default_rng(0)
    for name in NAMES:
        name = name if name in steps.gradients else f"h.{rng.integers(4)}.{name}"
        gradient = steps.gradients[name]
        index = np.unravel_index(np.abs(gradient).argmax(), gradient.shape)
        why = steps.why(name, *index)
        change = (loss(name, index, 1e-5) - loss(name, index, -1e-5)) / 2e-5
        assert sum(term.value for term in why.terms) == pytest.approx(change, rel=1e-5, abs=1e-8), name
        assert_sums(why, steps, 1e-11)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 1e-5)])
def test_the_bundled_model_in_float32(dtype, tolerance, bundled):
    steps = gradient_steps(GPT2.from_pretrained("stories", dtype=dtype), bundled[1], TEXT)
    rng = np.random.default_rng(0)
    for name in [*NAMES, *PARAMETERS]:
        if name == "lm_head.weight":
            continue
        name = name if name in steps.gradients else f"h.{rng.integers(4)}.{name}"
        index = tuple(int(rng.integers(size)) for size in steps.gradients[name].shape)
        assert_sums(steps.why(name, *index), steps, tolerance)


@given(models(min_head_size=2), st.integers(2, 6), st.data())
def test_the_way_ends_at_the_logits(model, length, data):
    text = random_text(model, length)
    steps = gradient_steps(model, letter_tokenizer(model), text)
    ids = letter_tokenizer(model).encode(text)
    name, index = draw_place(
        data, steps, data.draw(st.sampled_from([*NAMES, "wte.weight", "mlp.c_fc.weight"])), model.config.n_layer
    )
    end = steps.why(name, *index).path()[-1]
    if not end.terms:  # a hidden key, or a token that is not in the text
        assert "has no effect" in end.note
        return
    assert end.name == "logits"
    t, v = end.index
    logits = model(ids[:-1])[t]
    p = np.exp(logits[v] - logits.max()) / np.exp(logits - logits.max()).sum()
    assert end.value == pytest.approx((p - (v == ids[t + 1])) / (length - 1), rel=1e-9, abs=1e-15)
    assert len(end.terms) == 1 + (v == ids[t + 1])
    with pytest.raises(ValueError, match="was not computed in this pass"):
        end.terms[0].why()


@pytest.mark.parametrize("tied", [True, False])
def test_every_row_of_the_embedding(tied):
    """Tokens that are read, that are predicted, both, or neither."""
    model = letter_model(tie_word_embeddings=tied)
    steps = gradient_steps(model, letter_tokenizer(model), "decade")
    for name in ("wte.weight", "wte.weight" if tied else "lm_head.weight"):
        for v in range(model.config.vocab_size):
            why = steps.why(name, v, 3)
            assert_sums(why, steps, 1e-11)
    assert len(steps.why("wte.weight", 4, 3).terms) == (6 if tied else 1)  # e is read once, by 5 positions predicted


def test_a_factor_that_is_an_activation_has_the_arithmetic_of_the_forward_pass():
    model = letter_model()
    steps = gradient_steps(model, letter_tokenizer(model), "decade")
    term = steps.why("h.1.mlp.c_fc.weight", 3, 2).terms[0]
    assert (term.why().kind, term.why().name) == ("gradient", "h.1.mlp.pre")
    assert (term.why(0).kind, term.why(0).name) == ("activation", "h.1.ln_2")
    assert term.token == steps.tokens[term.position]


def test_what_has_no_effect():
    model = letter_model(tie_word_embeddings=False)
    steps = gradient_steps(model, letter_tokenizer(model), "decade")
    for place, sentence in (
        ("wte.weight[25, 3]", "The model did not read this token"),
        ("wpe.weight[5, 3]", "The text is shorter"),
        ("h.1.attn.scores[0, 1, 3]", "the mask hides it"),
    ):
        why = steps.why(place)
        assert (why.value, why.terms) == (0, []) and sentence in why.note and "has no effect" in why.note


def test_gradients_are_shown(bundled):
    steps = gradient_steps(*bundled, TEXT)
    assert str(steps).startswith(f"loss {steps.loss:.4f}, the mean over {len(steps.tokens)} tokens; gradients by 59 ")
    assert steps.targets[:-1] == steps.tokens[1:]
    rng = np.random.default_rng(0)
    for name, gradient in steps.gradients.items():
        why = steps.why(name, *(int(rng.integers(size)) for size in gradient.shape))
        assert str(why).startswith(f"d loss / d {name}[") and max(map(len, str(why).split("\n"))) <= 80
        page = why._repr_html_()
        assert page.count("<div") == page.count("</div>") and why.to_dict()["kind"] == "gradient"


def test_bad_input(bundled):
    model, tokenizer = letter_model(), letter_tokenizer(letter_model())
    for arguments, sentence in (
        ((model, tokenizer, "a"), "the text is one token: a loss needs at least two"),
        ((model, tokenizer, ""), "the text is empty"),
        ((model, tokenizer, "a" * 18), "17 tokens to read, but the model has 16 positions"),
        ((model.with_ops(gelu_new=np.tanh), tokenizer, "abc"), "no backward pass for the replaced gelu_new"),
    ):
        with pytest.raises(ValueError, match=sentence):
            gradient_steps(*arguments)
    steps = gradient_steps(model, tokenizer, "a" * 17)
    for place, sentence in (
        ("h.0.attn", "no activation or parameter of a model of 3 blocks is called 'h.0.attn'"),
        ("wte.weight[30, 0]", r"wte.weight\[v, d\] has 30 by 8 numbers: v must be an integer from 0 to 29, not 30"),
        ("h.0.mlp.c_fc.bias[1, 2]", r"h.0.mlp.c_fc.bias\[o\] takes 1 indices \(32\), not 2"),
        ("h.0.mlp.c_fc.weight[1]", r"h.0.mlp.c_fc.weight\[i, o\] takes 2 indices"),
    ):
        with pytest.raises(ValueError, match=sentence):
            steps.why(place)
    assert steps.why("wte.weight", -1, -1).index == (29, 7)
