"""Files that were damaged at random: they load, or end in CheckpointError with one short sentence.

MINIGPT_FUZZ=100000 pytest tests/test_fuzz.py damages so many; the seed of a case that fails is in the message.
"""

import contextlib
import json
import os
import random
import shutil
import struct
import warnings

import numpy as np
import pytest
from checkpoints import TINY_CONFIG, tensors_of
from reference import lively_model
from safetensors.torch import save_file

from minigpt import GPT2, Tokenizer
from minigpt.bpe import BPE, train_bpe
from weights_loader import CheckpointError

CASES = int(os.environ.get("MINIGPT_FUZZ", "2000"))
LONGEST_MESSAGE, SHOWN = 400, 10
TEXT = "Hello <|endoftext|> world's 12\n\n今 a"
VALUES = [
    None, True, False, -1, 0, 1, 7, 1.5, -0.0, 1e308, float("nan"), float("inf"), 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**32,
    2**63 - 1, 2**63, 2**64, 2**70, -(2**63) - 1, 10**400, "", "a", "Ġ", "[UNK]", "\ud800", "x" * 20_000, "../../x",
    [], {}, [[]], {"a": 1}, [1, "a", None], [0] * 10_000, {str(i): i for i in range(3000)},
]  # fmt: skip


def save_shards(folder):
    """Save a model in two files and their index."""
    model = lively_model(TINY_CONFIG, seed=0, dtype="float32")
    model.save_pretrained(folder)
    (folder / "model.safetensors").unlink()
    tensors, weight_map = tensors_of(model), {}
    for i in range(2):
        names = list(tensors)[i::2]
        save_file({name: tensors[name] for name in names}, folder / f"part{i}.safetensors")
        weight_map |= dict.fromkeys(names, f"part{i}.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def save_integers(folder):
    """Save a model in 8 bits."""
    lively_model(TINY_CONFIG, seed=0, dtype="float32").save_pretrained(folder)
    GPT2.from_pretrained(folder, quantize="int8").save_pretrained(folder)


def save_merges(folder):
    """Save a tokenizer as vocab.json and merges.txt, with all files that may stand beside them."""
    bpe = BPE(*train_bpe("hello hello world's world " * 9, 280))
    bpe.save_pretrained(folder)
    added = {str(len(bpe)): {"content": "<pad>", "special": True, "lstrip": True}}
    settings = {"add_prefix_space": False, "added_tokens_decoder": added, "unk_token": "<|endoftext|>"}
    for name, values in (("tokenizer_config", settings), ("special_tokens_map", {"eos_token": "<|endoftext|>"})):
        (folder / f"{name}.json").write_text(json.dumps(values))


def save_word_pieces(folder):
    """Save a tokenizer as vocab.txt."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"helowrd12今", "##l", "##o", "'", "hello"]
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": true, "strip_accents": null}')


def save_json(folder):
    """Save a tokenizer as tokenizer.json."""
    save_merges(folder)
    tokenizer = Tokenizer.from_pretrained(folder)
    for path in list(folder.iterdir()):
        path.unlink()
    tokenizer.save_pretrained(folder)


SAVED = {
    "model": lambda folder: lively_model(TINY_CONFIG, seed=0, dtype="float32").save_pretrained(folder),
    "shards": save_shards,
    "integers": save_integers,
    "tokenizer.json": save_json,
    "characters": lambda folder: Tokenizer.of_characters(set(TEXT)).save_pretrained(folder),
    "merges": save_merges,
    "word pieces": save_word_pieces,
}


def places(values, path=()):
    """Yield the path of everything inside a JSON value."""
    children = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for key, child in children:
        yield (*path, key)
        yield from places(child, (*path, key))


def damage_json(values, rng):
    """Return JSON values with one replaced, removed, or moved under another name."""
    paths = list(places(values))
    # What stands near the root matters more than one of a thousand entries.
    path = rng.choice([p for p in paths if len(p) <= rng.randint(1, 4)] or [()])
    if not path:
        return rng.choice(VALUES)
    parent = values
    for key in path[:-1]:
        parent = parent[key]
    kind = rng.random()
    if kind < 0.7:
        parent[path[-1]] = rng.choice(VALUES)
    elif kind < 0.85:
        del parent[path[-1]]
    elif isinstance(parent, dict):
        name = rng.choice(["", "x", "h.0.ln_1.weight", "é" * 5000, "\ud800", rng.choice(list(parent))])
        parent[name] = parent.pop(path[-1])
    return values


def damage_bytes(data, rng):
    """Return bytes with some changed, cut out, repeated, or a part of them."""
    data, kind = bytearray(data), rng.random()
    start = rng.randrange(len(data) + 1)
    end = min(len(data), start + rng.choice([1, 2, 8, 100]))
    if kind < 0.4:
        data[start:end] = rng.randbytes(end - start)
    elif kind < 0.55:
        del data[start:end]
    elif kind < 0.7:
        data[start:start] = data[start:end] * rng.choice([1, 100])
    elif kind < 0.85:
        del data[start:]
    else:
        data = bytearray(
            rng.choice([b"\xef\xbb\xbf" + data, data.replace(b"\n", b"\r\n"), b"[" * 10**5, b"", b"\0" * 99])
        )
    return bytes(data)


def put_in_its_place(path, rng):
    """Put something that is not a file where one should be."""
    path.unlink()
    kind = rng.choice(["directory", "loop", "dangling", "pipe", "device", "nothing"])
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind != "nothing":
        path.symlink_to({"loop": path.name, "dangling": "nowhere", "device": "/dev/zero"}[kind])


def damage(folder, rng):
    """Damage one file of a folder."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.is_symlink())
    if not files:
        return
    path, kind = rng.choice(files), rng.random()
    data = path.read_bytes()
    with contextlib.suppress(ValueError, RecursionError):  # damaged already
        if kind < 0.6 and path.suffix == ".json":
            path.write_text(json.dumps(damage_json(json.loads(data), rng)), encoding="utf-8")
            return
        if kind < 0.6 and path.suffix == ".safetensors" and len(data) > 8:
            size = int.from_bytes(data[:8], "little")
            header = json.dumps(damage_json(json.loads(data[8 : 8 + size]), rng)).encode()
            path.write_bytes(struct.pack("<Q", len(header)) + header + data[8 + size :])
            return
    if kind < 0.9:
        path.write_bytes(damage_bytes(data, rng))
    else:
        put_in_its_place(path, rng)


def use(folder):
    """Load what is in a folder and use it."""
    if (folder / "config.json").exists() or any(path.suffix == ".safetensors" for path in folder.iterdir()):
        GPT2.from_pretrained(str(folder), ops="plain")([1, 2])
        return
    tokenizer = Tokenizer.from_pretrained(folder)
    for text in (TEXT, "", "hello"):
        tokenizer.decode(tokenizer.encode(text, add_special_tokens=True))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    for name, save in SAVED.items():
        (folder / name).mkdir()
        save(folder / name)
    return folder


@pytest.mark.parametrize("kind", SAVED)
def test_damaged_files(saved, tmp_path, kind):
    failed = []
    for seed in range(CASES // len(SAVED) + 1):
        folder, rng = tmp_path / str(seed), random.Random(f"{kind} {seed}")
        shutil.copytree(saved / kind, folder)
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            damage(folder, rng)
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                use(folder)
            except BaseException as error:  # a panic of Rust is no Exception
                message = str(error)
                is_expected = isinstance(error, CheckpointError) or "has no token for the character" in message
                if not is_expected or "\n" in message or len(message) > LONGEST_MESSAGE:
                    failed.append((seed, f"{type(error).__name__} of {len(message)} characters: {message[:200]}"))
        shutil.rmtree(folder)
    assert not failed, f"{len(failed)} of {CASES // len(SAVED) + 1}, such as {failed[:SHOWN]}"
