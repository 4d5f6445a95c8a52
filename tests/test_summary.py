"""What a model shows of itself, and copies of it."""

import copy
import pickle

import numpy as np
import pytest
from reference import random_ids

from minigpt import GPT2, GPT2Config
from minigpt.ops.auto import AutoOperations

CONFIG = GPT2Config(vocab_size=96, n_positions=16, n_embd=64, n_layer=2, n_head=4, eos_token_id=0)


def test_repr_shows_what_the_model_is_made_of():
    model = GPT2.from_pretrained("stories", ops="plain")
    text = repr(model)
    assert text.splitlines()[0] == "GPT2 'stories': 1,029,888 parameters in float32, operations: plain"
    counted = [int(line[26:40].replace(",", "")) for line in text.splitlines()[1:]]
    assert sum(counted) == model.num_parameters() == model.config.parameter_count()
    assert max(map(len, text.splitlines())) <= 120 and "gelu_new" in text and "also the head" in text
    html = model._repr_html_()
    assert html.startswith("<table>") and html.count("<tr>") == 5 and f"{counted[2]:,}" in html


def test_repr_names_what_differs_from_the_plain_model(tmp_path):
    model = GPT2.random(CONFIG, ops="plain").with_ops(gelu_new=lambda x: x)
    model.name = "<b>"
    assert "gelu_new of your own" in repr(model) and "<b>" in repr(model) and "<b>" not in model._repr_html_()
    model.save_pretrained(tmp_path)
    assert "parameters in int8," in repr(GPT2.from_pretrained(tmp_path, quantize="int8"))
    assert "parameters in bfloat16," in repr(GPT2.from_pretrained(tmp_path, dtype="bfloat16"))


def double(x):
    return 2 * x


def slow_attention(q, k, v, scale, padding):
    scores = np.where(np.tri(q.shape[2]), q @ k.swapaxes(-1, -2) * scale, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ v


@pytest.mark.parametrize("ops", ["plain", "jit", "auto"])
@pytest.mark.parametrize("options", [{}, {"dtype": "bfloat16"}, {"quantize": "int8"}, {"quantize": "int4"}])
@pytest.mark.parametrize("replaced", [{}, {"gelu_new": double}, {"attention": slow_attention, "linear": np.matmul}])
def test_a_model_can_be_copied_and_pickled(tmp_path, ops, options, replaced):
    GPT2.random(CONFIG, ops="plain").save_pretrained(tmp_path)
    ops = AutoOperations(CONFIG) if ops == "auto" else ops
    model = GPT2.from_pretrained(tmp_path, ops=ops, **options)
    if "linear" in replaced:
        replaced = replaced | {"linear": lambda_free_linear}
    model = model.with_ops(**replaced) if replaced else model
    ids = random_ids(model, (2, 5))
    expected = model(ids)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        # "auto" may go over to the kernels between the two, which round inputs: to 8 bits where weights have 4, to 16
        # where they have 8.
        rounding = {"int4": 0.02, "int8": 1e-4}.get(options.get("quantize"), 1e-5)
        tolerance = rounding if isinstance(ops, AutoOperations) else 1e-5
        np.testing.assert_allclose(twin(ids), expected, rtol=1e-5, atol=tolerance)
        assert twin.ops.name == model.ops.name and twin.ops.replaced == model.ops.replaced
        assert repr(twin) == repr(model)
        assert not np.shares_memory(twin.params["ln_f"]["weight"], model.params["ln_f"]["weight"])


def lambda_free_linear(x, weight, bias):
    return x @ np.asarray(weight) + (0 if bias is None else bias)


def test_equal_models_have_equal_files(tmp_path):
    model = GPT2.random(CONFIG, ops="plain")
    metadata = {f"key {i}": f"value \u00e9\n\x1f{i}" for i in range(20)}
    files = []
    for name in "abcdef":
        model.save_pretrained(tmp_path / name, metadata=metadata)
        files.append((tmp_path / name / "model.safetensors").read_bytes())
    assert len(set(files)) == 1
    from safetensors import safe_open

    with safe_open(tmp_path / "a" / "model.safetensors", "np") as file:
        assert file.metadata() == metadata | {"format": "pt"}
