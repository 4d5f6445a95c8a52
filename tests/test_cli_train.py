"""minigpt train: what it says to bad input."""

from pathlib import Path

import pytest
from helpers import fails_with, run_here
from reference import SHAKESPEARE


def bad_input():
    line = '{"prompt": "a", "completion": "b"}\n'
    return {
        "empty": ({"text": ""}, [], "there is no text"),
        "short": ({"text": "abc"}, [], "the text to train on has 2 tokens, but a block needs 16"),
        "missing": ({}, ["--text", "nowhere.txt"], "No such file"),
        "latin": ({"text": b"caf\xe9 " * 99}, [], "text.txt is not UTF-8 text (byte 3)"),
        "latin later": ({"text": b"abcd\xc3\xa9 " * 2**18 + b"\xc3"}, [], f"is not UTF-8 text (byte {7 * 2**18})"),
        "surrogate": ({"data": '{"prompt": "a", "completion": "\\ud800"}'}, ["--init", SHAKESPEARE], "line 1: text has U+D800 at character 0"),
        "deep": ({"data": line + "[" * 10**6}, ["--init", SHAKESPEARE], "line 2 is not JSON"),
        "min_lr": ({"text": "a" * 999}, ["--lr", "1", "--min-lr", "2"], "above lr"),
        "both": ({"text": "a", "data": line}, [], "either text or data"),
        "neither": ({}, [], "either text or data"),
        "json": ({"data": line + "{oops}\n"}, ["--init", SHAKESPEARE], "pairs.jsonl, line 2 is not JSON"),
        "object": ({"data": "\n1\n"}, ["--init", SHAKESPEARE], "line 2 must be"),
        "array": ({"data": f"\n[\n{line}]"}, ["--init", SHAKESPEARE], "pairs.jsonl is a JSON array: write its pairs"),
        "utf-16": ({"data": line.encode("utf-16")}, ["--init", SHAKESPEARE], "pairs.jsonl is UTF-16 text: save it as UTF-8"),
        "utf-16 text": ({"text": "abc".encode("utf-16")}, [], "text.txt is UTF-16 text: save it as UTF-8"),
        "folder": ({}, ["--text", "/"], "/ is no regular file: write the text to one"),
        "preset": ({}, ["--resume", "nothing", "--preset", "nano"], "--preset has no effect with --resume"),
        "batch of a resumed one": ({}, ["--resume", "nothing", "--steps", "9", "--batch-size", "2"], "--batch-size has no effect with --resume"),
        "empty completion": ({"data": '{"prompt": "a", "completion": ""}\n'}, ["--init", SHAKESPEARE], "line 1 must be"),
        "long": ({"data": line.replace("b", "b c d " * 99)}, ["--init", SHAKESPEARE], "17 fit into a block"),
        "pairs": ({"data": line}, [], "pairs need a model to begin with"),
        "batch size": ({"text": "a" * 999}, ["--batch-size", "0"], "batch_size must be above 0"),
        "steps": ({"text": "a" * 999}, ["--steps", "0"], "steps must be above 0"),
        "initializer": ({"text": "a" * 999}, ["--initializer-range", "0"], "initializer_range must be a positive number"),
        "initializer of init": (
            {"text": "a" * 999}, ["--init", SHAKESPEARE, "--initializer-range", "1"],
            "--initializer-range has no effect with --init",
        ),
        "dropout": ({"text": "a" * 999}, ["--dropout", "1"], "dropout must be from 0 to below 1"),
        "tokenizer": ({"text": "a" * 999}, ["--tokenizer", "bpe"], "tokenizer must be char, gpt2 or bpe:SIZE"),
        "positions": ({"text": "a" * 999}, ["--init", SHAKESPEARE, "--block-size", "9999"], "model has 256 positions"),
        "init": ({"text": "a" * 999}, ["--init", SHAKESPEARE, "--n-layer", "3"], "--n-layer has no effect with --init"),
        "not there": ({}, ["--resume", "nothing"], "has no training to resume"),
    }  # fmt: skip


@pytest.mark.parametrize("case", bad_input())
def test_bad_input(tmp_path, monkeypatch, case):
    files, arguments, sentence = bad_input()[case]
    monkeypatch.chdir(tmp_path)
    options = [] if "--resume" in arguments else ["--out", "out", "--block-size", "16"]
    for kind, content in files.items():
        name = {"text": "text.txt", "data": "pairs.jsonl"}[kind]
        Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
        options += [f"--{kind}", name]
    fails_with(sentence, "train", *options, *arguments, run=run_here)
    assert not (tmp_path / "out" / "training.json").exists()
