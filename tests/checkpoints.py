"""Checkpoint files as other programs write them."""

import json
import struct

import numpy as np
import torch
from safetensors.torch import save_file

from minigpt import GPT2Config
from minigpt.params import flatten

TINY_CONFIG = GPT2Config(vocab_size=40, n_positions=16, n_embd=12, n_layer=2, n_head=3, bos_token_id=0, eos_token_id=0)


def tensors_of(model):
    return {name: torch.from_numpy(array.copy()) for name, array in flatten(model.params).items()}


def write_config(folder, config=TINY_CONFIG, **changes):
    (folder / "config.json").write_text(json.dumps(config.to_dict() | changes))


def save_tensors(folder, tensors, **changes):
    write_config(folder, **changes)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def write_official(path, tensors):
    """As OpenAI's gpt2 file is written: no prefix, mask buffers, and data that is not aligned to 4 bytes."""
    n_positions = tensors["wpe.weight"].shape[0]
    tensors = dict(tensors)
    for name in [name for name in tensors if name.endswith("ln_1.weight")]:
        mask = np.tri(n_positions, dtype=np.float32).reshape(1, 1, n_positions, n_positions)
        tensors[name.replace("ln_1.weight", "attn.bias")] = mask
    header, start = {}, 0
    for name, array in tensors.items():
        end = start + array.size * 4
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(header).encode()
    text += b" " * ((3 - len(text)) % 4)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for array in tensors.values():
            np.asarray(array).tofile(file)
    assert (8 + len(text)) % 4 == 3


def assert_same_model(loaded, model, dtype="float32"):
    assert loaded.config == model.config
    theirs = flatten(model.params)
    ours = flatten(loaded.params)
    assert list(ours) == list(theirs)
    for name, array in ours.items():
        assert array.dtype == dtype and array.flags.aligned and array.flags.writeable
        assert array.flags.forc  # without gaps, so that a kernel or BLAS can read it as it lies
        assert np.array_equal(array, theirs[name]), name
