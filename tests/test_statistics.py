"""Statistics of activations, against arrays of all values at once."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from letter_models import axis_labels, letter_model, letter_tokenizer, random_text
from reference import models

from minigpt.activations import activation_names, find_activation
from minigpt.looking import activation_statistics
from minigpt.looking.statistics import StreamingTrace

TEXTS = ["Once upon a time there was a girl.", "One sunny day", "The end."]


@given(models(), st.lists(st.integers(1, 8), min_size=1, max_size=4))
def test_statistics_are_those_of_all_values(model, lengths):
    tokenizer = letter_tokenizer(model)
    texts = [random_text(model, length, seed) for seed, length in enumerate(lengths)]
    traces = []
    for text in texts:
        traces.append({})
        model(tokenizer.encode(text), trace=traces[-1])
    found = activation_statistics(model, tokenizer, texts)
    assert list(found) == activation_names(model.config.n_layer) and found.n_tokens == sum(lengths)
    for name, statistics in found.items():
        arrays = [trace[name][0] for trace in traces]
        axes = find_activation(name).axes
        if axes == "BHTS":
            visible = [(array[:, t, s]) for array in arrays for t in range(array.shape[1]) for s in range(t + 1)]
            values = np.array(visible)
        else:
            values = np.concatenate([array.swapaxes(0, 1) if axes == "BHTK" else array for array in arrays])
        largest = np.abs(values).max()
        assert statistics.count == len(values) and statistics.mean.shape == values.shape[1:]
        assert np.abs(statistics.mean - values.mean(axis=0)).max() <= 1e-12 * largest
        assert np.abs(statistics.std - values.std(axis=0)).max() <= 1e-7 * largest
        assert np.array_equal(statistics.min, values.min(axis=0))
        assert np.array_equal(statistics.max, values.max(axis=0))
        assert np.array_equal(statistics.zeros, (values == 0).mean(axis=0))
        overall = statistics.overall
        assert overall.count == values.size and (overall.min, overall.max) == (values.min(), values.max())
        assert abs(overall.mean - values.mean()) <= 1e-12 * largest
        assert abs(overall.std - values.std()) <= 1e-7 * largest
        assert abs(overall.zeros - (values == 0).mean()) < 1e-12


def test_nothing_cancels_far_from_0():
    """In float32, the mean of the squares minus the square of the mean would lose all digits here."""
    rng, sums = np.random.default_rng(0), StreamingTrace(["h.0.resid"])
    values = (1e4 + rng.normal(size=(6, 50, 3))).astype(np.float32)
    for part in values:
        sums["h.0.resid"] = part[None]
    expected = values.reshape(-1, 3).astype(float).std(axis=0)
    assert np.abs(sums.by_name["h.0.resid"].finished().std / expected - 1).max() < 1e-9


def test_dead_units_are_counted():
    model = letter_model(activation_function="relu")
    tokenizer = letter_tokenizer(model)
    model.params["h"][0]["mlp"]["c_fc"]["bias"][5] = -1e6
    found = activation_statistics(model, tokenizer, [random_text(model, 9)])["h.0.mlp.act"]
    assert found.zeros[5] == 1 and found.max[5] == 0 and 0 < found.overall.zeros < 1


def test_no_activation_is_kept(bundled):
    """A trace that kept references would hold every activation; this one holds sums of a fixed size."""
    model, tokenizer = bundled
    sums = StreamingTrace(activation_names(model.config.n_layer))
    made = []

    class Watching(dict):
        def __setitem__(self, name, activation):
            if name == "h.0.mlp.act":
                made.append(sys.getrefcount(activation))
                sums[name] = activation
                made.append(sys.getrefcount(activation))

    model(tokenizer.encode(TEXTS[0]), trace=Watching())
    assert len(made) == 2 and made[0] == made[1] and not sums


def test_some_names_and_a_single_text(bundled):
    names = ["h.2.mlp.act", "embed"]
    found = activation_statistics(*bundled, TEXTS[0], names)
    assert list(found) == names
    assert np.array_equal(found["embed"].mean, activation_statistics(*bundled, TEXTS[:1])["embed"].mean)


def test_a_table_and_a_picture(bundled):
    found = activation_statistics(*bundled, iter(TEXTS), ["embed", "h.0.resid", "h.1.resid", "h.0.attn.weights"])
    head, first, *_ = str(found).splitlines()
    assert head.split() == [str(found.n_tokens), "tokens", "mean", "std", "min", "max", "zeros"]
    assert first.split()[0] == "embed" and float(first.split()[2]) == pytest.approx(
        found["embed"].overall.std, rel=0.01
    )
    axes = found.plot().axes
    assert [one.get_title() for one in axes[:3]] == ["embed", "resid", "attn.weights"]
    assert axis_labels(axes[1].xaxis) == ["0", "1"] and axis_labels(axes[0].xaxis) == [""]
    assert len(axes[1].lines[0].get_ydata()) == 2
    assert axes[1].lines[0].get_ydata()[1] == found["h.1.resid"].overall.mean


def test_what_has_no_statistics(bundled):
    for texts, names, sentence in (
        ([], None, "there is no text"),
        (["Once", ""], None, "the text is empty"),
        (TEXTS, ["h.9.resid"], "no activation of a model of 4 blocks is called 'h.9.resid'"),
    ):
        with pytest.raises(ValueError, match=sentence):
            activation_statistics(*bundled, texts, names)
    model, tokenizer = bundled
    replaced = model.with_ops(attention=lambda q, k, v: v)
    with pytest.raises(ValueError, match=r"'h.0.attn.scores' was never made"):
        activation_statistics(replaced, tokenizer, TEXTS)
