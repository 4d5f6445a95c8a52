"""Arguments of any kind in the public face: a call works, or a TypeError or ValueError names the argument."""

import copy
import datetime
import os
import random
import re
import warnings
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from checkpoints import TINY_CONFIG
from reference import lively_model

import minigpt
from minigpt import GPT2, ContextLengthError, GenerationConfig, GPT2Config, KVCache, Tokenizer, generate_text
from minigpt.bpe import BPE, train_bpe
from minigpt.training import AdamW, clip_by_global_norm, loss_and_grads
from minigpt.training.settings import Settings
from weights_loader import CheckpointError

CALLS = int(os.environ.get("MINIGPT_FUZZ", "2000"))
VALUES = [
    None, True, False, 0, 1, -1, 2, 300, 0.5, -0.0, 5.9, 1e300, float("nan"), float("inf"), 2**31, 2**63, 2**70,
    10**400, 1j, "", "x", "float32", "\ud800", "a" * 10_000, b"x", [], [[]], [1], [-1], [5.9], [2**70], [1e400], ["a"], [None],
    [[1, 2], [3]], [[1, 2], [3, 4]], (1, 2), {}, {"a": 1}, {1: 2}, set(), {1}, range(3), object(), object, len, lambda: 1, lambda x: x,
    lambda *a, **k: None, Path("x"), datetime.date(2020, 1, 1), iter([1]), np.nan, np.float16(1), np.int8(1), np.bool_(True),
    np.array(1), np.array([1, 2]), np.array([1.5]), np.array(["a", "b"]), np.array([np.nan]), np.array([None]), np.array([], int),
    np.array([[1, 0]]), np.zeros((1, 2, 3), int), np.array([1 + 1j]), np.array(["2020"], "M8[s]"), np.array([2**63], np.uint64),
]  # fmt: skip
CONFIG = {field.name: field.default for field in fields(GPT2Config)} | vars(TINY_CONFIG)
OPTIONS = {field.name: field.default for field in fields(GenerationConfig)} | {"max_new_tokens": 3}
GENERATE = {name: value for name, value in OPTIONS.items() if not isinstance(value, tuple)}
GENERATE |= dict.fromkeys(
    ("attention_mask", "assistant_model", "stopping_criteria", "stop_strings", "streamer", "watch")
)
SETTINGS = {field.name: field.default for field in fields(Settings)} | {"text": ("a.txt",)}


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    """Return {name: (function, its arguments by name)}: each call works as it stands."""
    model, folder = lively_model(TINY_CONFIG, seed=0, dtype="float32"), tmp_path_factory.mktemp("calls")
    Tokenizer.of_characters("abcdefghij klmnopqrstuvwxyz").save_pretrained(folder)
    model.save_pretrained(folder)
    tokenizer, params = Tokenizer.from_pretrained(folder), model.params
    vocab, merges = train_bpe("aaaa", 258)

    def select(rows):
        cache = KVCache(TINY_CONFIG, 2)
        model([[1, 2], [3, 4]], cache=cache)
        cache.select(rows)
        return model([[1], [1]], cache=cache) if len(rows) == 2 else None

    def crop(length):
        cache = KVCache(TINY_CONFIG)
        model([1, 2], cache=cache)
        cache.crop(length)
        return model([1], cache=cache)

    load = {"name": str(folder), "revision": None, "local_files_only": True}
    return {
        "GPT2": (GPT2, {"config": TINY_CONFIG, "params": params, "ops": "plain", "name": None}),
        "random": (GPT2.random, {"config": TINY_CONFIG, "seed": 0, "dtype": "float32", "ops": "plain"}),
        "from_pretrained": (GPT2.from_pretrained, load | {"ops": "plain", "quantize": None, "dtype": None, "activations": None, "threads": None}),
        "model": (model.__call__, {"ids": [1, 2], "attention_mask": None, "cache": None, "trace": None, "edit": None, "last_only": False}),
        "generate": (model.generate, {"ids": [1, 2], **GENERATE}),
        "sample": (model.generate, {"ids": [[1, 2], [3]], **GENERATE, "do_sample": True}),
        "stream": (lambda **options: list(model.stream(**options)), {"ids": [1, 2], "max_new_tokens": 3, "eos_token_id": None}),
        "with_ops": (lambda **ops: model.with_ops(**ops)([1, 2]), {"softmax": model.ops.softmax}),
        "save": (model.save_pretrained, {"folder": folder / "copy", "metadata": None, "half": False}),
        "GPT2Config": (GPT2Config, CONFIG),
        "from_dict": (GPT2Config.from_dict, {"values": CONFIG}),
        "config": (GPT2Config.from_pretrained, load),
        "KVCache": (KVCache, {"config": TINY_CONFIG, "batch_size": 1, "max_length": 3, "dtype": "float32"}),
        "select": (select, {"rows": [0, 1]}),
        "crop": (crop, {"length": 1}),
        "GenerationConfig": (GenerationConfig, OPTIONS),
        "tokenizer": (Tokenizer.from_pretrained, load),
        "of_characters": (Tokenizer.of_characters, {"characters": "abc"}),
        "tokens": (tokenizer, {"text": "abc", "add_special_tokens": False}),
        "encode": (tokenizer.encode, {"text": "abc", "add_special_tokens": False}),
        "tokenize": (tokenizer.tokenize, {"text": "abc"}),
        "decode": (tokenizer.decode, {"ids": [1, 2], "skip_special_tokens": False}),
        "batch_decode": (tokenizer.batch_decode, {"rows": [[1, 2], [3]], "skip_special_tokens": False}),
        "convert": (tokenizer.convert_ids_to_tokens, {"ids": [1, 2]}),
        "token_id": (tokenizer.token_id, {"piece": "a"}),
        "save tokenizer": (tokenizer.save_pretrained, {"folder": folder / "copy"}),
        "stream ids": (lambda token_id: tokenizer.text_stream().add(token_id), {"token_id": 1}),
        "generate_text": (generate_text, {"prompt": "abc", "max_length": 6, "top_k": 50, "top_p": 0.9, "num_return_sequences": 1, "model": str(folder), "assistant_model": None, "stop": ()}),
        "step": (minigpt.step, {"model": model, "tokenizer": tokenizer, "text": "abc", "edit": None}),
        "Settings": (Settings, SETTINGS),
        "loss_and_grads": (loss_and_grads, {"model": model, "inputs": [1, 2], "targets": [2, 3], "grads": None, "dropout": 0.0, "rng": None, "scale": 1.0, "dtype": None}),
        "AdamW": (lambda **options: AdamW(**options).step({"w": np.ones(2)}), {"params": {"w": np.ones(2)}, "lr": 0.1, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.0}),
        "clip": (clip_by_global_norm, {"grads": {"w": np.ones(2)}, "max_norm": 1.0}),
        "train_bpe": (train_bpe, {"text_or_path": "aaaa", "vocab_size": 258, "special_tokens": ("<|endoftext|>",), "ties": "bytes"}),
        "BPE": (BPE, {"vocab": vocab, "merges": merges, "special_tokens": None}),
        "BPE.encode": (BPE(vocab, merges).encode, {"text": "abc"}),
        "BPE.decode": (BPE(vocab, merges).decode, {"ids": [65]}),
    }  # fmt: skip


# A message may call an argument by what it is.
ALSO = {
    "ids": "prompt|token id|rows of different", "inputs": "token id|rows of different", "targets": "target", "params": "parameter",
    "text": "character", "rows": "ids", "model": "vocabulary", "prompt": "text|character", "folder": "surrogates", "special_tokens": "special token",
}  # fmt: skip


def fault_of(function, arguments, name):
    """Return what is wrong with how a call ends, or None."""
    value = arguments.get(name)
    try:
        function(**arguments)
    except (CheckpointError, ContextLengthError, MemoryError):  # a name that no model has; too long, too large
        return None
    except (TypeError, ValueError) as error:
        message = str(error)
        if not re.search(f"{name}|{ALSO.get(name, name)}", message) or len(message) > 400:
            is_its_own = callable(value)  # it takes, or returns, something else
            return None if is_its_own else f"{type(error).__name__}: {message[:150]}"
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:150]}"
    return None


def test_each_call_works(calls):
    for name, (function, arguments) in calls.items():
        assert fault_of(function, arguments, "") is None, name


def test_an_argument_of_any_kind(calls, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # some values are the names of folders
    rng, failed = random.Random(0), {}
    places = [(call, argument) for call, (_, arguments) in calls.items() for argument in arguments]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for _ in range(CALLS):
            (call, argument), value = rng.choice(places), rng.choice(VALUES)
            function, arguments = calls[call]
            if (call, argument) == ("random", "config") and value is None:
                continue  # all of GPT-2 small
            value = value if callable(value) else copy.copy(value)  # a trace is filled
            if fault := fault_of(function, arguments | {argument: value}, argument):
                failed.setdefault((call, argument), f"{repr(value)[:50]}: {fault}")
    assert not failed, "\n".join([f"{len(failed)} kinds of {CALLS} calls", *(f"{k} {v}" for k, v in failed.items())])
