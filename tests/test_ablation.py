"""Ablation, against models whose weights are changed by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from letter_models import LETTERS, axis_labels, letter_tokenizer, random_text
from reference import models

from minigpt.generation.sampling import log_softmax
from minigpt.looking import ablate_heads, ablate_layers

TEXT = "Once upon a time there was a clever girl named Alice.\n"


def drawn_part(model, data):
    """Draw a block and a head."""
    config = model.config
    return data.draw(st.integers(0, config.n_layer - 1)), data.draw(st.integers(0, config.n_head - 1))


@given(models(), st.integers(1, 8), st.data())
def test_ablating_a_head_equals_zeroing_its_rows_of_c_proj(model, length, data):
    tokenizer, text = letter_tokenizer(model), random_text(model, length)
    ids, config = tokenizer.encode(text), model.config
    answer = data.draw(st.sampled_from(LETTERS[: config.vocab_size]))
    ablation = ablate_heads(model, tokenizer, text, answer)

    def logprob():
        return log_softmax(model(ids)[-1])[tokenizer.token_id(answer)]

    before = logprob()
    assert ablation.effect.shape == (config.n_layer, config.n_head)
    assert abs(ablation.baseline - before) < 1e-9
    (layer, head), K = drawn_part(model, data), config.head_size
    model.params["h"][layer]["attn"]["c_proj"]["weight"][head * K : (head + 1) * K] = 0
    assert abs(ablation.effect[layer, head] - (logprob() - before)) < 1e-9 * max(1, abs(before))


@given(models(), st.integers(1, 8), st.data())
def test_a_mean_ablated_head_adds_a_constant_instead(model, length, data):
    """Its rows of c_proj become 0, and what they make of the mean goes into the bias."""
    tokenizer, text, others = letter_tokenizer(model), random_text(model, length), [random_text(model, 5, 1), "ab"]
    (layer, head), K = drawn_part(model, data), model.config.head_size
    vectors = []
    for other in others:
        trace = {}
        model(tokenizer.encode(other), trace=trace)
        vectors.extend(trace[f"h.{layer}.attn.heads"][0, head])

    def metric(logits):
        return logits[0, 1] + 2 * logits[-1, 2]

    before = metric(model(tokenizer.encode(text)))
    ablation = ablate_heads(model, tokenizer, text, metric=metric, mean_over=others)
    c_proj, rows = model.params["h"][layer]["attn"]["c_proj"], slice(head * K, (head + 1) * K)
    c_proj["bias"] += np.mean(vectors, axis=0) @ c_proj["weight"][rows]
    c_proj["weight"][rows] = 0
    after = metric(model(tokenizer.encode(text)))
    assert abs(ablation.effect[layer, head] - (after - before)) < 1e-9 * max(1, abs(before), abs(after))


@given(models(), st.integers(1, 8), st.data())
def test_ablating_a_layer_equals_zeroing_its_c_proj(model, length, data):
    tokenizer, text = letter_tokenizer(model), random_text(model, length)
    ids, config = tokenizer.encode(text), model.config
    ablation = ablate_layers(model, tokenizer, text, "c")

    def logprob():
        return log_softmax(model(ids)[-1])[tokenizer.token_id("c")]

    before = logprob()
    assert ablation.effect.shape == (config.n_layer, 2) and ablation.columns == ("attn.out", "mlp.out")
    layer, column = data.draw(st.integers(0, config.n_layer - 1)), data.draw(st.integers(0, 1))
    c_proj = model.params["h"][layer]["attn" if column == 0 else "mlp"]["c_proj"]
    c_proj["weight"][...] = c_proj["bias"][...] = 0
    assert abs(ablation.effect[layer, column] - (logprob() - before)) < 1e-9 * max(1, abs(before))


@given(models(), st.integers(2, 8))
def test_a_mean_ablated_layer_adds_its_mean(model, length):
    tokenizer, text, other = letter_tokenizer(model), random_text(model, length), random_text(model, 6, 1)
    trace = {}
    model(tokenizer.encode(other), trace=trace)

    def metric(logits):
        return logits[0, 1] - logits[-1, 2]

    ablation = ablate_layers(model, tokenizer, text, metric=metric, mean_over=other)
    before = metric(model(tokenizer.encode(text)))
    for column, name in enumerate(("attn", "mlp")):
        c_proj = model.params["h"][0][name]["c_proj"]
        kept = {key: array.copy() for key, array in c_proj.items()}
        c_proj["weight"][...], c_proj["bias"][...] = 0, trace[f"h.0.{name}.out"][0].mean(axis=0)
        after = metric(model(tokenizer.encode(text)))
        assert abs(ablation.effect[0, column] - (after - before)) < 1e-9 * max(1, abs(before), abs(after))
        c_proj.update(kept)


def test_a_model_that_is_mean_ablated_over_the_text_itself_of_one_token_is_unchanged(bundled):
    ablation = ablate_layers(*bundled, "Once", " upon", mean_over=["Once"])
    assert np.abs(ablation.effect).max() < 1e-5


def test_ablation_is_drawn(bundled):
    ablation = ablate_heads(*bundled, TEXT, "She")
    axes, bar = ablation.plot().axes
    assert np.array_equal(axes.images[0].get_array(), ablation.effect)
    assert axes.texts[5].get_text() == f"{ablation.effect[1, 1]:.2f}"
    assert bar.get_ylabel() == "change of log P('She')"
    of_layers = ablate_layers(*bundled, TEXT, metric=np.max)
    axes, bar = of_layers.plot().axes
    assert np.array_equal(axes.images[0].get_array(), of_layers.effect)
    assert axis_labels(axes.xaxis) == ["attn.out", "mlp.out"] and bar.get_ylabel() == "change of the metric"


@pytest.mark.parametrize("ablate", [ablate_heads, ablate_layers])
def test_what_cannot_be_measured(ablate, bundled):
    for arguments, sentence in (
        ({}, "nothing says what to measure: give answer, or a metric"),
        ({"answer": "She", "metric": np.max}, "give answer, or a metric, not both"),
        ({"answer": "She ran"}, "answer must be one token"),
        ({"metric": lambda logits: logits[-1]}, r"one finite number for the logits \[T, V\], not array"),
        ({"metric": lambda logits: np.nan}, "one finite number .* not nan"),
        ({"answer": "She", "mean_over": []}, "there is no text"),
    ):
        with pytest.raises(ValueError, match=sentence):
            ablate(*bundled, TEXT, **arguments)
