"""The whole model: against PyTorch, and its own equalities (cached, batched, padded, traced, saved)."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import assert_close, configs, in_torch, lively_model, models, random_ids, torch_logits

from minigpt import GPT2, ContextLengthError, GPT2Config, KVCache
from minigpt.ops import plain
from minigpt.params import flatten
from minigpt.trace import activation_names

TINY = GPT2Config(vocab_size=50, n_positions=24, n_embd=12, n_layer=3, n_head=3, initializer_range=0.5, eos_token_id=0)


@pytest.fixture
def model():
    return lively_model(TINY, seed=0)


@settings(max_examples=60)
@given(models(), st.data())
def test_logits_equal_pytorch(model, data):
    ids = random_ids(model, (data.draw(st.integers(1, 3)), data.draw(st.integers(1, 16))))
    assert_close(model(ids), torch_logits(in_torch(model), ids), 1e-9)


@settings(max_examples=20)
@given(configs(reorder_and_upcast_attn=True), st.integers(0, 1000))
def test_reorder_and_upcast_is_the_same_mathematics(config, seed):
    model = lively_model(config, seed, "float32")
    twin = in_torch(model)
    twin.config._attn_implementation = "eager"  # the only path on which transformers honours the flag
    ids = random_ids(model, (2, 10))
    assert_close(model(ids), torch_logits(twin, ids), 1e-4)


@settings(max_examples=20)
@given(models(), st.data())
def test_left_padding_equals_pytorch_and_each_prompt_alone(model, data):
    lengths = data.draw(st.lists(st.integers(1, 10), min_size=1, max_size=4))
    T = max(lengths) + data.draw(st.integers(0, 3))
    ids = random_ids(model, (len(lengths), T))
    mask = np.arange(T) >= T - np.array(lengths)[:, None]
    logits = model(ids, attention_mask=mask.astype(int))
    positions = torch.from_numpy(np.maximum(mask.cumsum(1) - 1, 0))
    theirs = torch_logits(in_torch(model), ids, attention_mask=torch.from_numpy(mask), position_ids=positions)
    for row, length in enumerate(lengths):
        assert_close(logits[row, -length:], theirs[row, -length:], 1e-9)
        assert_close(logits[row, -length:], model(ids[row, -length:]), 1e-9)
    assert np.isfinite(logits).all()


@settings(max_examples=30)
@given(models(), st.lists(st.integers(1, 5), min_size=1, max_size=5), st.booleans())
def test_cached_equals_uncached(model, steps, padded):
    n = min(sum(steps), 16)
    ids = random_ids(model, (2, n))
    mask = np.arange(n) >= np.array([[0], [min(steps[0] - 1, 2)]]) if padded else None
    whole = model(ids, attention_mask=mask)
    cache, start = KVCache(model.config, batch_size=2, dtype="float64"), 0
    for step in steps:
        end = min(start + step, n)
        if start == end:
            break
        first_mask = mask[:, :end] if padded and start == 0 else None
        assert_close(model(ids[:, start:end], cache=cache, attention_mask=first_mask), whole[:, start:end], 1e-9)
        start = end
    assert cache.length == n


def test_cache_goes_on_with_selected_rows(model):
    ids = random_ids(model, (3, 6))
    for rows in ([0, 1, 2], [2, 2, 0], [1, 0], [0, 1, 2, 2, 1]):
        cache = KVCache(TINY, 3, dtype="float64")
        model(ids, cache=cache)
        cache.select(rows)
        more = random_ids(model, (len(rows), 2), seed=1)
        logits = model(more, cache=cache)
        assert_close(logits, model(np.concatenate([ids[rows], more], axis=1))[:, 6:], 1e-9)


def test_cache_keeps_each_rows_padding_through_select(model):
    ids = random_ids(model, (2, 6))
    cache = KVCache(TINY, 2, dtype="float64")
    model(ids, attention_mask=[[1] * 6, [0, 0, 1, 1, 1, 1]], cache=cache)
    cache.select([1, 1, 0])
    logits = model([[5], [6], [7]], cache=cache)
    assert_close(logits[1, -1], model([*ids[1, 2:], 6])[-1], 1e-9)
    assert_close(logits[2, -1], model([*ids[0], 7])[-1], 1e-9)


def test_a_failed_call_leaves_the_cache_as_it_was(model):
    ids = random_ids(model, (1, 5))
    cache = KVCache(TINY, dtype="float64")
    model(ids, cache=cache)
    with pytest.raises(ZeroDivisionError):
        model([[1, 2]], cache=cache, edit={"h.2.mlp.out": lambda x: 1 // 0})
    assert cache.length == 5
    assert_close(model([[3]], cache=cache)[0], model([*ids[0], 3])[-1:], 1e-9)
    cache.clear()
    assert_close(model(ids, cache=cache), model(ids), 1e-12)


def test_last_only_is_the_last_row(model):
    ids = random_ids(model, (2, 7))
    assert_close(model(ids, last_only=True), model(ids)[:, -1:], 1e-12)
    assert model(ids[0], last_only=True).shape == (1, 50)


def test_one_sequence_and_a_batch_of_one(model):
    ids = random_ids(model, (1, 7))
    assert model(ids).shape == (1, 7, 50)
    assert model(ids[0]).shape == (7, 50)
    assert np.array_equal(model(ids)[0], model(ids[0]))
    assert np.array_equal(model(list(ids[0])), model(ids[0]))
    assert np.array_equal(model(ids.astype(np.uint16)), model(ids))


def test_float32(model):
    small = GPT2(TINY, GPT2.random(TINY, seed=0, dtype="float32").params)
    ids = random_ids(small, (2, 9))
    assert small(ids).dtype == np.float32
    assert_close(small(ids), GPT2.random(TINY, seed=0, dtype="float64")(ids), 1e-5)


@pytest.mark.parametrize("activation", ["gelu_new", "gelu", "relu"])
def test_every_activation_function_of_the_config_runs(activation):
    config = GPT2Config(vocab_size=50, n_positions=8, n_embd=8, n_layer=1, n_head=2, activation_function=activation)
    assert GPT2.random(config)([1, 2]).shape == (2, 50)


# ---------------------------------------------------------------- GPT-2 small's full size


def test_gpt2_small_equals_pytorch_in_float32():
    model = lively_model(GPT2Config(initializer_range=0.04), seed=0, dtype="float32")
    ids = random_ids(model, (1, 64))
    logits = model(ids)
    assert_close(logits, torch_logits(in_torch(model), ids), 1e-4)
    assert sum(a.size for a in flatten(model.params).values()) == 124_439_808
    # The tolerance would not let a slightly wrong model pass: the exact GELU in place of the tanh formula shows.
    with pytest.raises(AssertionError):
        assert_close(model.with_ops(gelu_new=plain.gelu)(ids), logits, 1e-4)


# ---------------------------------------------------------------- trace and edit


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


def test_edits_of_keys_go_into_the_cache(model):
    ids = random_ids(model, (1, 6))
    cache = KVCache(TINY, dtype="float64")
    edit = {"h.0.attn.k": lambda k: k * 2}
    model(ids[:, :5], cache=cache, edit=edit)
    assert_close(model(ids[:, 5:], cache=cache, edit=edit), model(ids, edit=edit)[:, 5:], 1e-9)


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


# ---------------------------------------------------------------- operations replaced


def attention_in_loops(q, k, v):
    """Attention as a student writes it first."""
    B, H, T, K = q.shape
    S = k.shape[2]
    out = np.zeros_like(q)
    for b in range(B):
        for h in range(H):
            for t in range(T):
                scores = np.array([q[b, h, t] @ k[b, h, s] / K**0.5 for s in range(S - T + t + 1)])
                weights = np.exp(scores - scores.max())
                out[b, h, t] = (weights / weights.sum()) @ v[b, h, : S - T + t + 1]
    return out


def test_gpt2_runs_with_an_attention_of_ones_own(model):
    ops_before = model.ops
    ids = random_ids(model, (2, 6))
    own = model.with_ops(attention=attention_in_loops)
    assert_close(own(ids), model(ids), 1e-9)
    assert np.array_equal(own.generate(ids, max_new_tokens=5), model.generate(ids, max_new_tokens=5))
    wrong = model.with_ops(attention=lambda q, k, v: attention_in_loops(q, k, v) * 0.9)
    assert np.abs(wrong(ids) - model(ids)).max() > 1e-3
    assert model.ops is ops_before  # the original is as it was


@pytest.mark.parametrize("name", ["softmax", "gelu_new", "layer_norm", "linear", "attention"])
def test_every_replaced_operation_is_called(model, name):
    calls = []

    def spy(*args, **kwargs):
        calls.append(name)
        return getattr(plain, name)(*args, **kwargs)

    logits = model.with_ops(**{name: spy})([1, 2, 3])
    assert calls and np.array_equal(logits, model([1, 2, 3]))


def test_operations_replaced_one_after_the_other(model):
    doubled = model.with_ops(attention=lambda q, k, v: 2 * attention_in_loops(q, k, v))
    both = doubled.with_ops(gelu_new=plain.gelu)
    assert np.abs(both([1, 2, 3]) - model.with_ops(gelu_new=plain.gelu)([1, 2, 3])).max() > 1e-3
    uniform = model.with_ops(softmax=lambda x: np.isfinite(x) / np.isfinite(x).sum(-1, keepdims=True))
    trace = {}
    uniform.with_ops(linear=plain.linear)([1, 2], trace=trace)
    assert trace["h.0.attn.weights"][0, 0].tolist() == [[1, 0], [0.5, 0.5]]
    for wrong in (lambda: doubled.with_ops(softmax=plain.softmax),
                  lambda: model.with_ops(softmax=plain.softmax, attention=attention_in_loops)):  # fmt: skip
        with pytest.raises(ValueError, match="softmax works inside minigpt's attention, which is replaced"):
            wrong()
    with pytest.raises(ValueError, match="this model does not use gelu; its activation is gelu_new"):
        model.with_ops(gelu=plain.gelu)


def test_a_replaced_operation_does_not_change_the_dtype():
    model = lively_model(TINY, seed=0, dtype="float32")
    # The textbook's np.sqrt(K) is a float64, and makes float64 of all that it touches.
    own = model.with_ops(attention=lambda q, k, v: np.float64(1) * attention_in_loops(q, k, v))
    assert own([1, 2]).dtype == np.float32
    assert_close(own([1, 2]), model([1, 2]), 1e-5)


@pytest.mark.parametrize("name", ["softmax", "gelu_new", "layer_norm", "linear", "attention"])
def test_a_replaced_operation_with_a_wrong_result(model, name):
    with pytest.raises(ValueError, match=rf"the replaced {name} must return an array of shape \(.*\), not None"):
        model.with_ops(**{name: lambda *arguments: None})([1, 2])
    with pytest.raises(ValueError, match=rf"the replaced {name} must return .*, not an array of shape \(1,\)"):
        model.with_ops(**{name: lambda *arguments: np.zeros(1)})([1, 2])


def test_replaced_operations_name_their_parameters_as_they_like(model):
    own = model.with_ops(linear=lambda x, w, b: x @ w + (0 if b is None else b))
    assert_close(own([1, 2]), model([1, 2]), 1e-9)


def test_a_replaced_attention_that_cannot_serve_is_refused(model):
    own = model.with_ops(attention=attention_in_loops)
    with pytest.raises(ValueError, match="different lengths in one batch: attention must take a parameter `padding`"):
        own([[1, 2], [3, 4]], attention_mask=[[1, 1], [0, 1]])
    with pytest.raises(ValueError, match="'h.0.attn.scores' was not edited"):
        own([1, 2], edit={"h.0.attn.scores": np.copy})
    unscaled = GPT2.random(GPT2Config(vocab_size=9, n_embd=8, n_layer=1, n_head=2, scale_attn_weights=False))
    with pytest.raises(ValueError, match="must take a parameter `scale`"):
        unscaled.with_ops(attention=attention_in_loops)([1, 2])
    cache = KVCache(TINY, dtype="float64")
    with pytest.raises(ValueError, match="was not edited"):
        own([1, 2], edit={"h.0.attn.scores": np.copy}, cache=cache)
    assert cache.length == 0
    trace = {}
    own([1, 2], trace=trace)
    assert set(activation_names(3)) - set(trace) == {f"h.{i}.attn.{n}" for i in range(3) for n in ("scores", "weights")}


# ---------------------------------------------------------------- parameters


def test_random_parameters_are_drawn_as_in_the_paper():
    config = GPT2Config(vocab_size=500, n_positions=100, n_embd=64, n_layer=8, n_head=4, tie_word_embeddings=False)
    params = flatten(GPT2.random(config, seed=3).params)
    assert {name: a.shape for name, a in params.items()} == config.shapes()
    assert sum(a.size for a in params.values()) == config.parameter_count()
    for name, array in params.items():
        assert array.dtype == np.float32
        if name.endswith("bias"):
            assert (array == 0).all()
        elif array.ndim == 1:
            assert (array == 1).all()
        else:
            std = 0.02 / (2 * 8) ** 0.5 if name.endswith("c_proj.weight") else 0.02
            assert abs(array.std() / std - 1) < 0.05
            assert abs(array.mean()) < std * 4 / array.size**0.5
    again = flatten(GPT2.random(config, seed=3, dtype="float64").params)
    assert all(np.array_equal(again[name], array) for name, array in params.items())
    other = flatten(GPT2.random(config, seed=4).params)
    assert not np.array_equal(other["wte.weight"], params["wte.weight"])


@pytest.mark.parametrize(
    ("n_layer", "n_head", "n_embd", "parameters"),
    [
        (12, 12, 768, 124_439_808),
        (24, 16, 1024, 354_823_168),
        (36, 20, 1280, 774_030_080),
        (48, 25, 1600, 1_557_611_200),
        (6, 12, 768, 81_912_576),
    ],
)
def test_parameter_counts_of_the_official_models(n_layer, n_head, n_embd, parameters):
    assert GPT2Config(n_layer=n_layer, n_head=n_head, n_embd=n_embd).parameter_count() == parameters


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"n_embd": 10, "n_head": 3}, "n_embd = 10 cannot be split evenly over n_head = 3"),
        ({"n_layer": 0}, "n_layer must be a positive integer, not 0"),
        ({"n_layer": "12"}, "n_layer must be a positive integer, not '12'"),
        ({"n_positions": 1.5}, "n_positions must be a positive integer"),
        ({"n_inner": -1}, "n_inner must be a positive integer or null"),
        ({"layer_norm_epsilon": 0}, "layer_norm_epsilon must be a positive number"),
        ({"layer_norm_epsilon": float("inf")}, "layer_norm_epsilon must be a positive number"),
        ({"layer_norm_epsilon": float("nan")}, "layer_norm_epsilon must be a positive number"),
        ({"activation_function": "swish"}, "activation_function must be one of gelu_new, gelu, relu, not 'swish'"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings must be true or false"),
        ({"eos_token_id": "end"}, "eos_token_id must be an id, a list of ids or null"),
        ({"n_layer": 10**12}, "asks for .* parameters .* refuses more than 100,000,000,000"),
        ({"n_embd": 12 * 10**9}, "refuses more than"),
    ],
)
def test_impossible_configurations(fields, sentence):
    with pytest.raises(ValueError, match=sentence):
        GPT2Config(**fields)


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("ids", "sentence"),
    [
        ([], "must be integers, not float64 .no tokens at all"),
        (np.empty((2, 0), int), "at least one token"),
        ([1.0, 2.0], "must be integers, not float64"),
        ([[1, 2], [3]], "rows of different lengths: pad them at the left"),
        ([[[1]]], r"must be \[T\] or \[B, T\]"),
        ([3, 50], "token id 50 is outside the vocabulary of 50"),
        ([-1, 3], "token id -1 is outside the vocabulary"),
    ],
)
def test_bad_ids(model, ids, sentence):
    with pytest.raises(ValueError, match=sentence):
        model(ids)


def test_more_tokens_than_positions(model):
    with pytest.raises(ContextLengthError, match="25 tokens, but the model has 24 positions"):
        model([1] * 25)
    cache = KVCache(TINY, dtype="float64")
    model([1] * 20, cache=cache)
    with pytest.raises(ContextLengthError, match="25 tokens"):
        model([1] * 5, cache=cache)


def test_a_cache_that_does_not_fit(model):
    with pytest.raises(ValueError, match="cache has room for 4 tokens: 0 are taken, 5 more do not fit"):
        model([1] * 5, cache=KVCache(TINY, max_length=4, dtype="float64"))
    with pytest.raises(ValueError, match="the cache holds float32, the model float64: make it with dtype=model.dtype"):
        model([1], cache=KVCache(TINY))
    with pytest.raises(ValueError, match="cache holds 1 sequences, the input has 2"):
        model([[1], [2]], cache=KVCache(TINY, dtype="float64"))


@pytest.mark.parametrize(
    ("mask", "sentence"),
    [
        ([[1, 0]], "padding stands at the left"),
        ([[0, 0]], "padding stands at the left"),
        ([[1, 1, 1]], r"attention_mask has shape \(1, 3\), the ids have \(1, 2\)"),
    ],
)
def test_bad_attention_masks(model, mask, sentence):
    with pytest.raises(ValueError, match=sentence):
        model([[1, 2]], attention_mask=mask)


def test_a_mask_in_the_middle_of_a_cached_text_is_refused(model):
    cache = KVCache(TINY, dtype="float64")
    model([[1, 2]], cache=cache)
    with pytest.raises(ValueError, match="belongs to the first call"):
        model([[1, 2]], cache=cache, attention_mask=[[0, 1]])


def test_unknown_dtype():
    with pytest.raises(ValueError, match="dtype must be one of float32, float64, bfloat16, not 'float16'"):
        GPT2.random(TINY, dtype="float16")
