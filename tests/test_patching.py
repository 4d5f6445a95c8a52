"""Ablation and patching, against models whose weights are changed and blocks that are run by hand."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from letter_models import LETTERS, axis_labels, letter_tokenizer, random_text
from reference import configs, lively_model, models, random_ids

from minigpt.activations import activation_names
from minigpt.generation.sampling import log_softmax
from minigpt.looking import ablate_heads, patch
from minigpt.looking.patching import copy_from
from minigpt.model import transformer_block
from minigpt.ops import plain
from minigpt.run import Run

TEXT = "Once upon a time there was a clever girl named Alice.\n"


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
    assert abs(ablation.logprob - before) < 1e-9
    layer, head = data.draw(st.integers(0, config.n_layer - 1)), data.draw(st.integers(0, config.n_head - 1))
    K = config.head_size
    model.params["h"][layer]["attn"]["c_proj"]["weight"][head * K : (head + 1) * K] = 0
    assert abs(ablation.effect[layer, head] - (logprob() - before)) < 1e-9 * max(1, abs(before))


def test_ablation_is_drawn(bundled):
    ablation = ablate_heads(*bundled, TEXT, "She")
    axes = ablation.plot().axes[0]
    assert np.array_equal(axes.images[0].get_array(), ablation.effect)
    assert axes.texts[5].get_text() == f"{ablation.effect[1, 1]:.2f}"


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
    ):
        with pytest.raises(ValueError, match=sentence):
            patch(*bundled, *others)
