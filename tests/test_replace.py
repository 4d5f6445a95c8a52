"""Operations of a user's own in the place of minigpt's."""

import numpy as np
import pytest
from reference import TINY, assert_close, lively_model, random_ids

from minigpt import GPT2, GPT2Config, KVCache
from minigpt.activations import activation_names
from minigpt.ops import formulas, plain, replace_ops


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


def test_replace_ops_names_what_there_is():
    with pytest.raises(ValueError, match="no operation 'sofmax'; the operations are softmax"):
        replace_ops(formulas, sofmax=np.exp)


def test_a_replaced_operation_gets_its_arguments_in_order_whatever_their_order_in_the_checkpoint(model):
    expected = model([1, 2, 3])
    for block in model.params["h"]:
        for part in (block["ln_1"], block["attn"]["c_attn"], block["mlp"]["c_fc"]):
            part["weight"] = part.pop("weight")  # now the bias comes first
    own = model.with_ops(linear=plain.linear, layer_norm=plain.layer_norm)
    assert np.array_equal(own([1, 2, 3]), expected)


def test_softmax_and_attention_cannot_both_be_replaced(model):
    def softmax(x):
        return plain.softmax(x)

    def attention(q, k, v):
        return plain.attention(q, k, v)

    for first, second in (
        ({"softmax": softmax}, {"attention": attention}),
        ({"attention": attention}, {"softmax": softmax}),
    ):
        with pytest.raises(ValueError, match="softmax works inside minigpt's attention"):
            model.with_ops(**first).with_ops(**second)
    with pytest.raises(ValueError, match="softmax works inside minigpt's attention"):
        model.with_ops(softmax=softmax, attention=attention)


def test_a_replaced_operation_can_be_called_as_its_formula(model):
    own = model.with_ops(attention=attention_in_loops).ops
    q, k, v = np.random.default_rng(0).standard_normal((3, 1, 2, 4, 3))
    assert np.array_equal(own.attention(q, k, v), attention_in_loops(q, k, v))
    x = np.random.default_rng(1).standard_normal((3, 4))
    assert np.array_equal(model.with_ops(softmax=plain.softmax).ops.softmax(x, axis=0), plain.softmax(x, axis=0))
    with pytest.raises(TypeError, match="the replaced gelu_new takes no argument 'axis'"):
        model.with_ops(gelu_new=plain.gelu_new).ops.gelu_new(x, axis=0)
