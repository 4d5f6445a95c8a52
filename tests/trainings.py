"""Small trainings, and how to tell whether two of them did the same."""

import json

import numpy as np

from minigpt.training.settings import Settings
from weights_loader import stored_tensors

# One thread: with so little to do, a second one costs time. test_the_same_twice_and_resumed has the default.
SMALL_SETTINGS = {"n_layer": 1, "n_head": 2, "n_embd": 16, "block_size": 16, "batch_size": 4, "steps": 12, "warmup": 2}
SMALL_SETTINGS |= {"eval_every": 4, "eval_batches": 3, "ops": "plain", "threads": 1}


def small_settings(path, **options):
    """Return settings for a training on a text that takes moments, some of them replaced."""
    return Settings(**SMALL_SETTINGS | {"text": [str(path)]} | options)


def write_pairs(path, pairs):
    """Write pairs of prompt and completion as a file to train on."""
    lines = [json.dumps({"prompt": prompt, "completion": completion}) for prompt, completion in pairs]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def tensors(path):
    """Return the arrays of a safetensors file by name."""
    return {name: tensor.read() for name, tensor in stored_tensors(path).items()}


def assert_same_state(one, other):
    """Assert that two folders hold the same training: weights, optimizer and log."""
    (ours, our_log), (theirs, their_log) = state(one), state(other)
    assert our_log == their_log
    assert ours.keys() == theirs.keys()
    for file in ours:
        assert all(np.array_equal(ours[file][name], theirs[file][name]) for name in ours[file] | theirs[file])


def state(folder):
    """Return all that must be equal if two trainings did the same."""
    files = [folder / "model.safetensors", *sorted((folder / "last").glob("*.safetensors"))]
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    for line in log:
        del line["tokens_per_second"]
    return {str(file.relative_to(folder)): tensors(file) for file in files}, log
