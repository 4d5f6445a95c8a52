"""Recording and editing activations: traced = untraced, edits reach the logits and nothing else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import TINY, assert_close, lively_model, models, random_ids

from minigpt import Trace
from minigpt.activations import activation_names
from minigpt.ops import plain
from minigpt.params import flatten


@settings(max_examples=20)
@given(models(), st.booleans())
def test_a_traced_run_is_the_same_run(model, padded):
    ids = random_ids(model, (2, 6))
    mask = [[1] * 6, [0, 1, 1, 1, 1, 1]] if padded else None
    trace = {}
    logits = model(ids, attention_mask=mask, trace=trace)
    assert np.array_equal(logits, model(ids, attention_mask=mask))
    assert np.array_equal(logits, trace["logits"])
    assert list(trace) == activation_names(model.config.n_layer)


def test_trace_holds_the_activations_it_names(model):
    ids = random_ids(model, (2, 6))
    trace = {}
    model(ids, trace=trace)
    c, p = TINY, model.params
    heads = (2, c.n_head, 6, c.head_size)
    shapes = {name.removeprefix("h.1."): a.shape for name, a in trace.items() if name.startswith("h.1.")}
    assert shapes == {
        "ln_1": (2, 6, 12), "attn.q": heads, "attn.k": heads, "attn.v": heads, "attn.scores": (2, 3, 6, 6),
        "attn.weights": (2, 3, 6, 6), "attn.heads": heads, "attn.out": (2, 6, 12), "resid_mid": (2, 6, 12),
        "ln_2": (2, 6, 12), "mlp.pre": (2, 6, 48), "mlp.act": (2, 6, 48), "mlp.out": (2, 6, 12), "resid": (2, 6, 12),
    }  # fmt: skip
    assert_close(trace["embed"], p["wte"]["weight"][ids] + p["wpe"]["weight"][:6], 1e-12)
    before = trace["embed"]
    for i, block in enumerate(p["h"]):
        at = {name.removeprefix(f"h.{i}."): a for name, a in trace.items() if name.startswith(f"h.{i}.")}
        assert_close(at["ln_1"], plain.layer_norm(before, **block["ln_1"]), 1e-12)
        qkv = at["ln_1"] @ block["attn"]["c_attn"]["weight"] + block["attn"]["c_attn"]["bias"]
        for j, name in enumerate("qkv"):
            for h in range(c.n_head):
                columns = slice(j * 12 + h * c.head_size, j * 12 + (h + 1) * c.head_size)
                assert_close(at[f"attn.{name}"][:, h], qkv[:, :, columns], 1e-12)
        assert (at["attn.weights"][..., ~np.tri(6, dtype=bool)] == 0).all()
        assert_close(at["resid_mid"], before + at["attn.out"], 1e-12)
        assert_close(at["mlp.act"], plain.gelu_new(at["mlp.pre"]), 1e-12)
        assert_close(at["resid"], at["resid_mid"] + at["mlp.out"], 1e-12)
        before = at["resid"]
    assert_close(trace["logits"], trace["ln_f"] @ p["wte"]["weight"].T, 1e-12)


def test_editing_with_its_own_value_changes_nothing(model):
    ids = random_ids(model, (2, 6))
    trace = {}
    logits = model(ids, trace=trace)
    for name in activation_names(TINY.n_layer):
        assert np.array_equal(model(ids, edit={name: lambda x, name=name: trace[name]}), logits), name


def test_every_edit_reaches_the_logits(model):
    ids = random_ids(model, (2, 6))
    logits = model(ids)
    for name in activation_names(TINY.n_layer):
        trace = {}

        def shaken(x):
            return x * np.linspace(0.5, 1.5, x.size).reshape(x.shape)

        assert np.abs(model(ids, edit={name: shaken}, trace=trace) - logits).max() > 1e-6, name
        assert not np.array_equal(trace["logits"], logits)


def test_patching_a_residual_stream_gives_the_other_run(model):
    one, other = random_ids(model, (1, 6), 1), random_ids(model, (1, 6), 2)
    trace = {}
    expected = model(other, trace=trace)
    assert np.array_equal(model(one, edit={"h.1.resid": lambda x: trace["h.1.resid"]}), expected)


def test_an_edit_cannot_reach_into_the_model(model):
    ids = random_ids(model, (2, 6))
    before = {name: array.copy() for name, array in flatten(model.params).items()}
    logits = model(ids)

    def zero_in_place(x):
        x[:] = 0
        return x

    for name in activation_names(TINY.n_layer):
        model(ids, edit={name: zero_in_place})
    assert np.array_equal(model(ids), logits)
    assert all(np.array_equal(before[name], array) for name, array in flatten(model.params).items())


def test_an_edit_keeps_the_models_dtype_and_the_rest_of_the_trace():
    model = lively_model(TINY, seed=0, dtype="float32").with_ops(gelu_new=lambda x: x)  # act is the very array pre
    ids = random_ids(model, (1, 6))

    def double_in_place(x):
        x *= 2
        return x.astype(np.float64)

    trace, edited = {}, {}
    model(ids, trace=trace)
    assert model(ids, trace=edited, edit={"h.0.mlp.act": double_in_place}).dtype == np.float32
    assert np.array_equal(edited["h.0.mlp.pre"], trace["h.0.mlp.pre"])
    assert np.array_equal(edited["h.0.mlp.act"], 2 * trace["h.0.mlp.act"])


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        ({"h.9.attn.out": np.copy}, "no activation of a model of 3 blocks is called 'h.9.attn.out'"),
        ({"h.0.attn.out": lambda x: None}, "must return an array of shape .* not None"),
        (
            {"h.0.attn.out": lambda x: x[0]},
            r"must return an array of shape \(1, 2, 12\), not an array of shape \(2, 12\)",
        ),
    ],
)
def test_bad_edits(model, edit, sentence):
    with pytest.raises(ValueError, match=sentence):
        model([1, 2], edit=edit)


def test_a_trace_of_some_names_receives_these_alone(model):
    ids = random_ids(model, (2, 6))
    every, some = {}, Trace("h.1.attn.weights", "*.resid", "logits")
    logits = model(ids, trace=every)
    assert np.array_equal(model(ids, trace=some), logits)
    assert list(some) == ["h.0.resid", "h.1.attn.weights", "h.1.resid", "h.2.resid", "logits"]
    assert all(np.array_equal(some[name], every[name]) for name in some)
    edits = {"h.0.mlp.out": np.zeros_like}
    model(ids, trace=(edited := Trace("h.0.mlp.out")), edit=edits)
    assert not edited["h.0.mlp.out"].any()


def test_a_trace_of_unknown_names_is_refused(model):
    trace = Trace("logits", "h.9.*")
    with pytest.raises(ValueError, match="no activation of a model of 3 blocks is called 'h.9.\\*'"):
        model([1, 2], trace=trace)
    assert not trace
    with pytest.raises(ValueError, match="needs the names"):
        Trace()


def test_generation_traces_every_step(model):
    """The steps together are a single run over the whole text; each prompt is read once for all its continuations."""
    prompts, n_new = random_ids(model, (2, 3)), 4
    options = {"max_new_tokens": n_new, "eos_token_id": None, "do_sample": True, "seed": 1}
    every, some, edit = {}, Trace("*.resid"), {"h.0.attn.out": lambda x: 0.5 * x}
    sequences = model.generate(prompts, num_return_sequences=2, trace=every, edit=edit, **options)
    model.generate(prompts, num_return_sequences=2, trace=some, edit=edit, **options)
    assert list(every) == activation_names(TINY.n_layer)
    assert list(some) == ["h.0.resid", "h.1.resid", "h.2.resid"]
    whole = {}
    model(sequences[:, :-1], trace=whole, edit=edit)
    assert [len(steps) for steps in every.values()] == [n_new] * len(every)
    for name in ("embed", "h.0.resid", "h.1.mlp.pre", "ln_f", "logits"):
        first, *later = every[name]
        assert_close(np.concatenate([np.repeat(first, 2, axis=0), *later], axis=1), whole[name], 1e-12)
    for t, weights in enumerate(every["h.1.attn.weights"][1:], 3):
        assert_close(weights[:, :, 0], whole["h.1.attn.weights"][:, :, t, : t + 1], 1e-12)
    for options in ({"num_beams": 2}, {"prompt_lookup_num_tokens": 2}):
        with pytest.raises(ValueError, match="greedy search and sampling only"):
            model.generate(prompts[0], trace={}, **options)
