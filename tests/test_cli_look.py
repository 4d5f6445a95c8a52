"""minigpt info and tokenize, as a person runs them."""

import json

from helpers import run
from reference import SHAKESPEARE


def test_info():
    shown = run("info").stdout
    assert "stories: 1,029,888 parameters" in shown and "n_layer" in shown and "model.safetensors" in shown
    fields = json.loads(run("info", SHAKESPEARE, "--json").stdout)
    assert fields["parameters"] == 957_184 and fields["config"]["n_embd"] == 128
    assert fields["memory"]["float32"] == 4 * 957_184
    # Keys and values of 4 layers, 256 positions and 128 numbers each, in float32.
    assert fields["memory"]["full_cache"] == 2 * 4 * 256 * 128 * 4
    assert fields["files"]["model.safetensors"] < 3e6


def test_tokenize(shakespeare_tokenizer):
    shown = run("tokenize", "ROMEO: 🤖", "--model", SHAKESPEARE).stdout.splitlines()
    ids = shakespeare_tokenizer.encode("ROMEO: 🤖")
    assert [int(line.split()[0]) for line in shown[:-1]] == ids
    assert shown[-1] == f"{len(ids)} tokens, 8 characters"
    fields = json.loads(run("tokenize", "-", "--json", "--model", SHAKESPEARE, stdin="To be\n").stdout)
    assert fields["ids"] == shakespeare_tokenizer.encode("To be") and len(fields["pieces"]) == len(fields["ids"])
