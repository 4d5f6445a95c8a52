"""Patching, against blocks that are run by hand and runs in which heads are mixed by hand."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from letter_models import axis_labels, letter_tokenizer, random_text
from reference import configs, lively_model, models, random_ids

from minigpt.activations import activation_names
from minigpt.looking import patch, patch_heads
from minigpt.looking.patching import copy_from
from minigpt.model import transformer_block
from minigpt.ops import plain
from minigpt.run import Run

TEXT = "Once upon a time there was a clever girl named Alice.\n"


@given(models(), st.integers(2, 7), st.data())
def test_patching_replaces_the_stream_and_continues(model, length, data):
    """The expected logits come from the blocks after the patch, called one by one."""
    tokenizer, config = letter_tokenizer(model), model.config
    clean, corrupted = random_text(model, length, 0), random_text(model, length, 1)
    traces = {clean: {}, corrupted: {}}
    for text, trace in traces.items():
        model(tokenizer.encode(text), trace=trace)
    at_clean, at_corrupted = (
        traces[text]["logits"][0, -1, 2] - traces[text]["logits"][0, -1, 5] for text in (clean, corrupted)
    )
    assume(at_clean != at_corrupted)
    result = patch(model, tokenizer, clean, corrupted, *map(tokenizer.decode, ([2], [5])))
    assert result.effect.shape == (config.n_layer, length)
    assert (result.clean_difference, result.corrupted_difference) == (at_clean, at_corrupted)
    assert np.array_equal(result.effect, (result.difference - at_corrupted) / (at_clean - at_corrupted))

    layer, t = data.draw(st.integers(0, config.n_layer - 1)), data.draw(st.integers(0, length - 1))
    x = traces[corrupted][f"h.{layer}.resid"].copy()
    x[0, t] = traces[clean][f"h.{layer}.resid"][0, t]
    for i in range(layer + 1, config.n_layer):
        x = transformer_block(x, **model.params["h"][i], run=Run(config).in_block(i))
    x = plain.layer_norm(x[0, -1], **model.params["ln_f"], eps=config.layer_norm_epsilon)
    logits = model.params.get("lm_head", model.params["wte"])["weight"] @ x
    assert abs(result.difference[layer, t] - (logits[2] - logits[5])) < 1e-9 * np.abs(logits).max()


@given(configs(), st.integers(0, 10**6), st.data())
def test_patching_a_run_with_its_own_value_changes_nothing(config, seed, data):
    """Not even the last bit changes, in either precision."""
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    model = lively_model(config, seed, dtype)
    ids, trace = random_ids(model, 6, seed), {}
    logits = model(ids, trace=trace)
    name = data.draw(st.sampled_from(activation_names(config.n_layer)))
    position = data.draw(st.integers(0, 5) | st.just(slice(None)))
    assert np.array_equal(model(ids, edit={name: copy_from(trace[name], position)}), logits)


BLOCK_ACTIVATIONS = [name.removeprefix("h.0.") for name in activation_names(1) if name.startswith("h.0.")]


@pytest.mark.parametrize("activation", BLOCK_ACTIVATIONS)
def test_patching_before_the_first_difference_has_no_effect(activation, bundled):
    """There the two runs have the same values, so the effect is exactly 0. At the first difference it is not."""
    corrupted = TEXT.replace("girl", "boy")
    result = patch(*bundled, TEXT, corrupted, "She", "He", activation)
    first = result.clean_tokens.index(" girl")
    assert not result.effect[:, :first].any() and np.abs(result.effect[0, first:]).max() > 1e-5
    assert result.clean_difference > 0 > result.corrupted_difference


@given(models(), st.integers(2, 7), st.integers(0, 10**6))
def test_the_whole_clean_stream_of_any_block_gives_the_clean_logits(model, length, seed):
    clean, corrupted = random_ids(model, length, seed), random_ids(model, length, seed + 1)
    trace = {}
    logits = model(clean, trace=trace)
    for layer in range(model.config.n_layer):
        name = f"h.{layer}.resid"
        assert np.array_equal(model(corrupted, edit={name: copy_from(trace[name], slice(None))}), logits)


def test_the_answer_depends_on_the_last_stream_of_the_last_token_alone(bundled):
    result = patch(*bundled, TEXT, TEXT.replace("girl", "boy"), "She", "He")
    assert result.effect[-1, -1] == 1 and result.difference[-1, -1] == result.clean_difference
    assert not result.effect[-1, :-1].any()
    axes = result.plot().axes[0]
    assert np.array_equal(axes.images[0].get_array(), result.effect)
    assert "␣girl/␣boy" in axis_labels(axes.xaxis) and "␣Alice" in axis_labels(axes.xaxis)
    assert axis_labels(axes.yaxis) == [f"h.{layer}.resid" for layer in range(4)]


HEAD_ACTIVATIONS = ["attn.q", "attn.k", "attn.v", "attn.scores", "attn.weights", "attn.heads"]


@given(models(), st.integers(2, 7), st.sampled_from(HEAD_ACTIVATIONS), st.data())
def test_patching_a_head_replaces_it_at_all_positions(model, length, activation, data):
    """The expected logits come from a run with the whole activation replaced, that of one head by the clean one's."""
    tokenizer, config = letter_tokenizer(model), model.config
    clean, corrupted = random_text(model, length, 0), random_text(model, length, 1)
    traces = {clean: {}, corrupted: {}}
    for text, trace in traces.items():
        model(tokenizer.encode(text), trace=trace)

    def metric(logits):
        return logits[:, 3].sum() - logits[0, 4]

    values = [metric(trace["logits"][0]) for trace in traces.values()]
    assume(values[0] != values[1])
    result = patch_heads(model, tokenizer, clean, corrupted, activation=activation, metric=metric)
    assert result.effect.shape == (config.n_layer, config.n_head) and result.activation == activation
    assert [result.clean_difference, result.corrupted_difference] == values
    assert np.array_equal(result.effect, (result.difference - values[1]) / (values[0] - values[1]))

    layer, head = data.draw(st.integers(0, config.n_layer - 1)), data.draw(st.integers(0, config.n_head - 1))
    name = f"h.{layer}.{activation}"
    mixed = np.stack([traces[clean if h == head else corrupted][name][:, h] for h in range(config.n_head)], axis=1)
    logits = model(tokenizer.encode(corrupted), edit={name: lambda _: mixed})
    assert result.difference[layer, head] == metric(logits)


def test_the_head_that_copies_names_restores_the_name(bundled):
    """Notebook 11 finds it, head 0 of block 3, by looking, by ablation and by patching whole blocks."""
    clean = (
        "One sunny morning Anna and her friend Tom found a red ball in the forest. It lay under a tree. "
        '"I saw it first," said Anna. "No, it is mine," said'
    )
    result = patch_heads(*bundled, clean, clean.replace("Tom", "Ben"), " Tom", " Ben")
    assert np.unravel_index(result.effect.argmax(), result.effect.shape) == (3, 0) and result.effect[3, 0] > 0.5
    axes = result.plot().axes[0]
    assert np.array_equal(axes.images[0].get_array(), result.effect)
    assert axis_labels(axes.yaxis)[3] == "block 3" and axis_labels(axes.xaxis)[0] == "head 0"


def test_a_metric_of_ones_own_takes_the_place_of_the_difference(bundled):
    model, tokenizer = bundled
    she, he = tokenizer.encode("She")[0], tokenizer.encode("He")[0]
    texts = TEXT, TEXT.replace("girl", "boy")
    by_words = patch(model, tokenizer, *texts, "She", "He")
    by_metric = patch(model, tokenizer, *texts, metric=lambda logits: logits[-1, she] - logits[-1, he])
    assert np.array_equal(by_words.effect, by_metric.effect)


def test_what_cannot_be_patched(bundled):
    clean = "Once upon a time there was a girl"
    for others, sentence in (
        ((clean, f"{clean}.", "She", "He"), r"clean has \d+ tokens, corrupted \d+"),
        ((clean, clean, "She", "He"), "clean and corrupted have the same difference"),
        ((clean, clean, "She ran", "He"), "answer must be one token, but 'She ran' is 2: 'She', ' ran'"),
        ((clean, clean, "She", ""), "wrong must be one token, but '' is 0: nothing$"),
        ((clean, clean, "She", "She"), "answer and wrong are the same token"),
        ((clean, clean, "aunt", "He"), "answer must be one token.*; ' aunt', with the space before it, is one"),
        ((clean, clean, "She", "He", "residual"), "activation must be one of a block's, ln_1, attn.q.*not 'residual'"),
        (("", "", "She", "He"), "the text is empty"),
        ((clean, clean, "She"), "nothing says what to measure: give answer and wrong, or a metric"),
    ):
        with pytest.raises(ValueError, match=sentence):
            patch(*bundled, *others)
    with pytest.raises(ValueError, match="activation must be one of a block's heads, attn.q.*not 'resid'"):
        patch_heads(*bundled, clean, clean, "She", "He", "resid")
    with pytest.raises(ValueError, match="give answer and wrong, or a metric, not both"):
        patch(*bundled, clean, clean, "She", metric=np.max)
