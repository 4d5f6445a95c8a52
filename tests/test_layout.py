"""Every layout of a checkpoint that occurs loads to the same parameters; what contradicts its configuration is named."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from checkpoints import TINY_CONFIG, assert_same_model, save_tensors, tensors_of, write_config, write_official
from reference import assert_close, in_torch, lively_model, random_ids, torch_logits
from safetensors.torch import save_file

import weights_loader
from minigpt import GPT2, GPT2Config
from minigpt.params import flatten
from weights_loader import CheckpointError


@pytest.fixture
def model():
    return lively_model(TINY_CONFIG, seed=0, dtype="float32")


def test_the_official_layout(model, tmp_path):
    write_config(tmp_path)
    write_official(tmp_path / "model.safetensors", flatten(model.params))
    assert_same_model(GPT2.from_pretrained(tmp_path), model)
    assert_same_model(GPT2.from_pretrained(str(tmp_path), dtype="float64"), model, "float64")


def test_with_prefix_and_mask_buffers(model, tmp_path):
    tensors = {f"transformer.{name}": t for name, t in tensors_of(model).items()}
    tensors["transformer.h.0.attn.bias"] = torch.ones(1, 1, 16, 16, dtype=torch.uint8)
    tensors["transformer.h.0.attn.masked_bias"] = torch.tensor(-1e4)
    assert_same_model(GPT2.from_pretrained(save_tensors(tmp_path, tensors)), model)


def test_shards(model, tmp_path):
    tensors = tensors_of(model)
    names, weight_map = list(tensors), {}
    for i in range(3):
        file = f"model-{i + 1:05}-of-00003.safetensors"
        save_file({n: tensors[n] for n in names[i::3]}, tmp_path / file)
        weight_map |= dict.fromkeys(names[i::3], file)
    write_config(tmp_path)
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert_same_model(GPT2.from_pretrained(tmp_path), model)

    (tmp_path / "model-00002-of-00003.safetensors").rename(tmp_path / "elsewhere")
    missing = "model.safetensors.index.json, but not model-00002-of-00003.safetensors, which it names"
    with pytest.raises(CheckpointError, match=missing):
        GPT2.from_pretrained(tmp_path)
    (tmp_path / "elsewhere").rename(tmp_path / "model-00002-of-00003.safetensors")
    index["weight_map"]["wte.weight"] = "../../model-00001-of-00003.safetensors"
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="must have a weight_map of tensor names to shards in the same folder"):
        GPT2.from_pretrained(tmp_path)
    index["weight_map"]["wte.weight"] = "model-00002-of-00003.safetensors"
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="says that model-00002-of-00003.safetensors has tensor 'wte.weight'"):
        GPT2.from_pretrained(tmp_path)


def test_the_index_alone_says_which_files_are_shards(model, tmp_path):
    tensors = tensors_of(model)
    files = ["part_b.safetensors", "model-00007-of-00002.safetensors"]
    weight_map = {name: files[i % 2] for i, name in enumerate(tensors)}
    for file in files:
        save_file({name: tensors[name] for name in tensors if weight_map[name] == file}, tmp_path / file)
    save_file({"leftover": torch.zeros(3)}, tmp_path / "model-00001-of-00009.safetensors")  # of an earlier save
    write_config(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert_same_model(GPT2.from_pretrained(tmp_path), model)


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "module._orig_mod.", "_orig_mod.transformer."])
def test_names_under_the_prefixes_of_frameworks(model, tmp_path, prefix):
    tensors = {prefix + name: tensor for name, tensor in tensors_of(model).items()}
    assert_same_model(GPT2.from_pretrained(save_tensors(tmp_path, tensors)), model)
    tensors[f"transformer.{min(tensors_of(model))}"] = torch.zeros(1)
    with pytest.raises(CheckpointError, match="twice, under names with different prefixes"):
        GPT2.from_pretrained(save_tensors(tmp_path, tensors))


def test_a_model_without_biases(model, tmp_path):
    tensors = tensors_of(model)
    for name, tensor in tensors.items():
        if name.endswith(".bias"):
            tensor.zero_()
    without = {name: tensor for name, tensor in tensors.items() if not name.endswith(".bias")}
    whole = GPT2.from_pretrained(save_tensors(tmp_path, tensors))
    with pytest.warns(UserWarning, match="has no biases: all of them are zero") as said:
        loaded = GPT2.from_pretrained(save_tensors(tmp_path, without))
    assert len(said) == 1
    assert_same_model(loaded, whole)
    with pytest.warns(UserWarning):
        assert GPT2.from_pretrained(tmp_path, dtype="float64").params["ln_f"]["bias"].dtype == np.float64
    without["ln_f.bias"] = tensors["ln_f.bias"]  # some have been lost
    with pytest.raises(CheckpointError, match="tensor 'h.0.ln_1.bias' and 11 more is missing"):
        GPT2.from_pretrained(save_tensors(tmp_path, without))


@pytest.mark.parametrize("options", [{}, {"dtype": "float64"}, {"dtype": "bfloat16"}, {"quantize": "int8"}])
def test_the_layers_of_nanogpt_are_transposed(model, tmp_path, options):
    tensors = tensors_of(model)
    expected = GPT2.from_pretrained(save_tensors(tmp_path, tensors), **options)
    turned = {n: t.T.contiguous() if n.startswith("h.") and t.ndim == 2 else t for n, t in tensors.items()}
    turned = {f"_orig_mod.transformer.{name}": tensor for name, tensor in turned.items()}
    loaded = GPT2.from_pretrained(save_tensors(tmp_path, turned), **options)
    for name, array in flatten(expected.params).items():
        assert np.array_equal(np.asarray(flatten(loaded.params)[name]), np.asarray(array)), name


def test_heads(model, tmp_path):
    tensors = tensors_of(model)
    head = tensors["wte.weight"].clone()
    stored_twice = tensors | {"lm_head.weight": head}
    assert_same_model(GPT2.from_pretrained(save_tensors(tmp_path, stored_twice)), model)
    only_head = {("lm_head.weight" if n == "wte.weight" else n): t for n, t in tensors.items()}
    assert_same_model(GPT2.from_pretrained(save_tensors(tmp_path, only_head)), model)

    ids = random_ids(model, (1, 8))
    other = tensors | {"lm_head.weight": head + 1}
    for tied in (True, False):  # whatever the configuration says, the file has its own head
        loaded = GPT2.from_pretrained(save_tensors(tmp_path, other, tie_word_embeddings=tied))
        assert loaded.config.tie_word_embeddings is False
        assert np.array_equal(loaded.params["lm_head"]["weight"], other["lm_head.weight"].numpy())
        assert_close(loaded(ids), torch_logits(in_torch(loaded), ids), 1e-5)


def test_what_transformers_saves(model, tmp_path):
    for tied in (True, False):
        config = GPT2Config(**{**vars(TINY_CONFIG), "tie_word_embeddings": tied})
        model = lively_model(config, seed=1, dtype="float32")
        in_torch(model).save_pretrained(tmp_path)
        assert_same_model(GPT2.from_pretrained(tmp_path), model)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_transformers_loads_what_we_save(tmp_path, tied, dtype):
    model = lively_model(GPT2Config(**{**vars(TINY_CONFIG), "tie_word_embeddings": tied, "n_inner": 20}), 2, dtype)
    model.params["wte"]["weight"] = np.asfortranarray(model.params["wte"]["weight"])  # the memory order does not matter
    folder = tmp_path / "a" / "b"
    model.save_pretrained(folder)
    twin, report = transformers.GPT2LMHeadModel.from_pretrained(
        folder, dtype=getattr(torch, dtype), output_loading_info=True
    )
    assert not report["missing_keys"] and not report["unexpected_keys"]
    ids = random_ids(model, (2, 9))
    assert_close(torch_logits(twin.eval(), ids).numpy(), model(ids), 1e-5 if dtype == "float32" else 1e-9)
    again = GPT2.from_pretrained(folder, dtype=dtype)
    assert np.array_equal(again(ids), model(ids)) and again.config == model.config
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert (folder / "model.safetensors").stat().st_mode == (folder / "config.json").stat().st_mode


def test_half_precision(model, tmp_path):
    for folder, half in (("half", True), ("whole", False)):
        model.save_pretrained(tmp_path / folder, half=half)
    small, large = ((tmp_path / folder / "model.safetensors").stat().st_size - 8 * 1024 for folder in ("half", "whole"))
    assert small < 0.52 * large
    rounded = flatten(GPT2.from_pretrained(tmp_path / "half").params)
    for name, array in flatten(model.params).items():
        assert np.array_equal(rounded[name], array.astype(np.float16).astype(np.float32))
    twin = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "half", dtype=torch.float32)
    ids = random_ids(model, (2, 9))
    assert_close(torch_logits(twin.eval(), ids).numpy(), GPT2.from_pretrained(tmp_path / "half")(ids), 1e-5)

    large = lively_model(TINY_CONFIG, seed=1, dtype="float32")
    large.params["wte"]["weight"][3, 1] = -7e4
    with pytest.raises(ValueError, match="wte.weight has numbers beyond 65504.0, the largest in float16"):
        large.save_pretrained(tmp_path / "half", half=True)
    assert_same_model(GPT2.from_pretrained(tmp_path / "whole"), model)


def drop(*names):
    return lambda tensors: {n: t for n, t in tensors.items() if n not in names}


def add(name, tensor):
    return lambda tensors: tensors | {name: tensor}


def rename_all(tensors):
    return {f"gpt_neox.{n}": t for n, t in tensors.items()}


def with_extra_layer(tensors):
    return tensors | {n.replace("h.1.", "h.2."): t.clone() for n, t in tensors.items() if n.startswith("h.1.")}


@pytest.mark.parametrize(
    ("change", "config", "sentence"),
    [
        (drop("h.1.mlp.c_fc.bias"), {}, "tensor 'h.1.mlp.c_fc.bias' is missing"),
        (drop("ln_f.weight", "ln_f.bias"), {}, "tensor 'ln_f.weight' and 1 more is missing"),
        (drop(), {"tie_word_embeddings": False}, "tensor 'lm_head.weight' is missing"),
        (
            add("wpe.weight", torch.zeros(17, 12)),
            {},
            r"'wpe.weight' has shape \[17, 12\], but config.json requires \[16, 12\]",
        ),
        (add("h.0.mlp.c_fc.weight", torch.zeros(48, 12)), {}, "it seems transposed"),
        (add("lm_head.weight", torch.zeros(41, 12)), {}, r"lm_head.weight has shape \[41, 12\]"),
        (with_extra_layer, {}, "says n_layer = 2, but the tensors form 3 blocks"),
        (drop(), {"n_layer": 3}, "says n_layer = 3, but the tensors form 2 blocks"),
        (drop(), {"vocab_size": 50}, r"'wte.weight' has shape \[40, 12\], but config.json requires \[50, 12\]"),
        (drop(), {"n_inner": 24}, "but config.json requires"),
        (drop(), {"n_embd": 12 * 10**9}, "config.json: the configuration asks for .* refuses more than"),
        (drop(), {"n_positions": 10**9}, r"but config.json requires \[1000000000, 12\]"),
        (drop(), {"n_layer": 10**5}, "or 10,000 layers"),
        (drop(), {"n_head": 5}, "config.json: n_embd = 12 cannot be split evenly"),
        (drop(), {"n_embd": None}, "config.json: n_embd must be a positive integer, not None"),
        (drop(), {"model_type": "llama"}, "this is a model of type 'llama', not a GPT-2"),
        (
            drop(),
            {"add_cross_attention": True},
            "unknown setting 'add_cross_attention': True; minigpt does not honour it",
        ),
        (drop(), {"quantization_config": {"bits": 8}}, "unknown setting 'quantization_config'"),
        (drop(), {"activation_function": "silu"}, "activation_function must be one of gelu_new, gelu, relu"),
        (add("score.weight", torch.zeros(2, 12)), {}, "tensor 'score.weight' has no place in a GPT-2"),
        (rename_all, {}, "is not a GPT-2"),
        (
            add("wte.weight", torch.zeros(40, 12, dtype=torch.int64)),
            {},
            "'wte.weight' has dtype I64; dtypes that can be read",
        ),
        (add("transformer.wte.weight", torch.zeros(40, 12)), {}, "tensor 'wte.weight' twice"),
    ],
)
def test_contradictions(model, tmp_path, change, config, sentence):
    save_tensors(tmp_path, change(tensors_of(model)), **config)
    with pytest.raises(CheckpointError, match=sentence):
        GPT2.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "config.json is not valid JSON"),
        ("[1]", "config.json must hold a JSON object, not a list"),
        ("[" * 100_000, "config.json is not valid JSON"),
        ("", "config.json is not valid JSON"),
    ],
)
def test_bad_json(model, tmp_path, text, sentence):
    save_tensors(tmp_path, tensors_of(model))
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=sentence):
        GPT2.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ([], "has no weights: expected model.safetensors, or model.safetensors.index.json and its shards"),
        (
            ["config.json", "pytorch_model.bin"],
            "only as pytorch_model.bin, which minigpt does not open .*save_pretrained",
        ),
        *(
            (["config.json", file], f"only as {file}, which minigpt does not open")
            for file in ("tf_model.h5", "flax_model.msgpack", "model.ckpt", "model.pt", "model.pth")
        ),
        (["adapter_config.json", "adapter_model.safetensors"], "has LoRA adapters, which change another model"),
        (["model.safetensors"], "has no config.json"),
        (["config.json", "model.safetensors.index.json"], "must have a weight_map"),
    ],
)
def test_missing_files(tmp_path, files, sentence):
    for file in files:
        (tmp_path / file).write_bytes(b"{}")
    with pytest.raises(CheckpointError, match=sentence):
        GPT2.from_pretrained(tmp_path)


def test_nothing_is_unpickled(tmp_path):
    # A pickle that would create a file when it is opened, under every name that a loader might open.
    trap = tmp_path / "sprung"
    (tmp_path / "config.json").write_text(json.dumps(TINY_CONFIG.to_dict()))
    evil = b"cos\nsystem\n(S'touch " + str(trap).encode() + b"'\ntR."
    for name in ("pytorch_model.bin", "model.safetensors"):
        (tmp_path / name).write_bytes(evil)
        with pytest.raises(CheckpointError):
            GPT2.from_pretrained(tmp_path)
    assert not trap.exists()


@pytest.mark.slow  # it makes, saves and loads a GPT-2 small
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
@pytest.mark.parametrize("is_aligned", [True, False])
def test_loading_gpt2_small_peaks_under_1_3_times_its_parameters(tmp_path, is_aligned):
    model = GPT2.random(GPT2Config(), seed=0, ops="plain")
    if is_aligned:
        model.save_pretrained(tmp_path)
    else:
        write_config(tmp_path, model.config)
        write_official(tmp_path / "model.safetensors", flatten(model.params))
    ids = random_ids(model, (1, 8))
    logits = model(ids)
    del model
    script = f"""
import re
import numpy as np
from minigpt import GPT2, GPT2Config
import weights_loader, safetensors, tokenizers
def peak():  # the peak of this process with mapped files; getrusage would include the parent
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
before = peak()
model = GPT2.from_pretrained({str(tmp_path)!r}, ops="plain")
logits = model({ids.tolist()})
print(peak() - before, flush=True)
np.save({str(tmp_path / "logits.npy")!r}, logits)
"""
    one_thread = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # as here: the last digits can depend on it
    result = subprocess.run([sys.executable, "-c", script], env=one_thread, capture_output=True, text=True, check=True)
    parameters = 4 * 124_439_808
    assert 0.9 * parameters < int(result.stdout) < 1.3 * parameters
    assert np.array_equal(np.load(tmp_path / "logits.npy"), logits)


def test_weights_loader_does_not_import_minigpt():
    source = Path(weights_loader.__file__).parent
    assert not any("import minigpt" in p.read_text() or "from minigpt" in p.read_text() for p in source.glob("*.py"))
