"""The numbers of a safetensors file, in every dtype; a file that is damaged is not read."""

import json
import struct
import sys

import numpy as np
import pytest
import torch
from checkpoints import TINY_CONFIG, assert_same_model, save_tensors, tensors_of, write_config, write_official
from reference import lively_model

from minigpt import GPT2
from minigpt.params import flatten
from weights_loader import CheckpointError, stored_tensors


@pytest.fixture
def model():
    return lively_model(TINY_CONFIG, seed=0, dtype="float32")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_dtypes(model, tmp_path, dtype):
    tensors = {name: t.to(dtype) for name, t in tensors_of(model).items()}
    tensors["wte.weight"][0, :5] = torch.tensor([0.0, -0.0, 1e-7, 3.0e4, -1.0]).to(dtype)
    loaded = flatten(GPT2.from_pretrained(save_tensors(tmp_path, tensors), dtype="float32").params)
    for name, t in tensors.items():
        assert loaded[name].dtype == np.float32
        assert np.array_equal(loaded[name].view(np.uint32), t.float().numpy().view(np.uint32)), name


def damaged(change):
    def damage(path):
        data = path.read_bytes()
        size = struct.unpack("<Q", data[:8])[0]
        header = json.loads(data[8 : 8 + size])
        path.write_bytes(change(data, size, header))

    return damage


def with_header(header, rest):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + rest


def lie_about(name, field, value):
    def change(data, size, header):
        header[name][field] = value
        return with_header(header, data[8 + size :])

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda data, size, header: b"",
        lambda data, size, header: data[:5],
        lambda data, size, header: data[: 8 + size // 2],
        lambda data, size, header: data[:-1],
        lambda data, size, header: data[: len(data) // 2],
        lambda data, size, header: data + b"more",
        lambda data, size, header: struct.pack("<Q", 2**63) + data[8:],
        lambda data, size, header: b"\x00" * len(data),
        lambda data, size, header: b"<html>not found</html>" * 100,
        lie_about("wte.weight", "shape", [40, 13]),
        lie_about("wte.weight", "shape", [2**40, 2**40]),
        lie_about("wte.weight", "data_offsets", [0, 10**9]),
        lie_about("wte.weight", "data_offsets", [8, 4]),
        lie_about("wte.weight", "dtype", "F31"),
    ],
)
def test_damaged_files(model, tmp_path, change):
    save_tensors(tmp_path, tensors_of(model))
    damaged(change)(tmp_path / "model.safetensors")
    with pytest.raises(
        CheckpointError, match=r"model.safetensors is not an intact safetensors file .*fetch or copy it again"
    ):
        GPT2.from_pretrained(tmp_path)


def is_copied(folder):
    """Return whether a tensor that is loaded twice lies in two places."""
    tensor = stored_tensors(folder / "model.safetensors")["transformer.h.0.mlp.c_fc.weight"]
    return not np.shares_memory(tensor.map(), tensor.map())


@pytest.mark.skipif(sys.platform == "win32", reason="Windows maps no files")
def test_float32_is_not_copied(model, tmp_path):
    model.save_pretrained(tmp_path)
    assert not is_copied(tmp_path)
    loaded = GPT2.from_pretrained(tmp_path)
    mapped = {id(array.base.base.obj) for array in flatten(loaded.params).values()}
    assert len(mapped) == 1  # every array is a view of the one mapped file
    assert_same_model(loaded, model)


def test_what_cannot_be_mapped_is_read(model, tmp_path, monkeypatch):
    write_official(tmp_path / "model.safetensors", flatten(model.params))  # not aligned
    write_config(tmp_path)
    assert_same_model(GPT2.from_pretrained(tmp_path), model)
    model.save_pretrained(tmp_path, half=True)
    assert is_copied(tmp_path)
    model.save_pretrained(tmp_path)
    monkeypatch.setattr(sys, "platform", "win32")
    assert is_copied(tmp_path)
    assert_same_model(GPT2.from_pretrained(tmp_path), model)


def test_editing_parameters_does_not_change_the_file(model, tmp_path):
    model.save_pretrained(tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    loaded = GPT2.from_pretrained(tmp_path)
    for array in flatten(loaded.params).values():
        array += 1
    assert (tmp_path / "model.safetensors").read_bytes() == before
    assert_same_model(GPT2.from_pretrained(tmp_path), model)


def test_a_model_in_use_keeps_its_numbers_when_its_folder_is_written(model, tmp_path):
    model.save_pretrained(tmp_path)
    in_use, edited = GPT2.from_pretrained(tmp_path), GPT2.from_pretrained(tmp_path)
    for array in flatten(edited.params).values():
        array *= 2
    edited.save_pretrained(tmp_path)
    assert_same_model(in_use, model)
    assert_same_model(GPT2.from_pretrained(tmp_path), edited)
    edited.save_pretrained(tmp_path, half=True)
    (tmp_path / "model.safetensors").unlink()
    assert_same_model(in_use, model)
