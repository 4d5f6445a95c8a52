"""The trainer: what it learns, that it can be stopped at any moment, and what it says to bad input."""

import json
import math
import os
import random
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from reference import SHAKESPEARE

import weights_loader
from minigpt import GPT2, GPT2Config, Tokenizer
from minigpt.bundled import DEFAULT_MODEL
from minigpt.generation.text import continue_text
from minigpt.params import flatten
from minigpt.training import IGNORED, checkpoint
from minigpt.training.data import (
    PairBatches,
    TextBatches,
    beginning_of_text,
    end_of_text,
    read_pairs,
    text_pieces,
)
from minigpt.training.evaluate import evaluate
from minigpt.training.trainer import NotFiniteError, Settings, Training
from weights_loader import stored_tensors

SMALL = {"n_layer": 1, "n_head": 2, "n_embd": 16, "block_size": 16, "batch_size": 4, "steps": 12, "warmup": 2}
SMALL |= {"eval_every": 4, "eval_batches": 3, "ops": "plain"}


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("the cat sat on the mat and the dog sat on the log.\n" * 60, encoding="utf-8")
    return path


def settings(path, **options):
    return Settings(**SMALL | {"text": [str(path)]} | options)


def tensors(path):
    return {name: tensor.read() for name, tensor in stored_tensors(path).items()}


def state(folder):
    """All that must be equal if two trainings did the same."""
    files = [folder / "model.safetensors", *sorted((folder / "last").glob("*.safetensors"))]
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    for line in log:
        del line["tokens_per_second"]
    return {str(file.relative_to(folder)): tensors(file) for file in files}, log


def assert_same_state(one, other):
    (ours, our_log), (theirs, their_log) = state(one), state(other)
    assert our_log == their_log
    assert ours.keys() == theirs.keys()
    for file in ours:
        assert all(np.array_equal(ours[file][name], theirs[file][name]) for name in ours[file] | theirs[file])


def test_it_learns(tmp_path, text):
    training = Training.start(tmp_path / "out", settings(text, steps=150, eval_every=150, lr=1e-2))
    lines = []
    training.run(lines.append)
    counts = np.unique(list(text.read_text()), return_counts=True)[1] / len(text.read_text())
    unigrams = -(counts * np.log(counts)).sum()
    assert lines[0]["loss"] > 0.9 * math.log(len(training.tokenizer))
    assert training.best < unigrams / 3
    # The folder holds the model, for us and with its own numbers.
    model = GPT2.from_pretrained(str(tmp_path / "out"))
    assert np.array_equal(model.params["wte"]["weight"], training.model.params["wte"]["weight"])
    assert weights_loader.read_metadata(tmp_path / "out" / "model.safetensors")["step"] == "150"


@pytest.mark.parametrize("options", [{}, {"dropout": 0.2, "grad_accum": 2}, {"tokenizer": "bpe:280", "ops": "jit"}])
def test_the_same_twice_and_resumed(tmp_path, text, options):
    chosen = settings(text, **options)
    for name in ("one", "two"):
        Training.start(tmp_path / name, chosen).run()
    assert_same_state(tmp_path / "one", tmp_path / "two")
    stopped = Training.start(tmp_path / "three", chosen)
    while stopped.step < 6:  # two steps after it was saved; the log knows of them
        line = stopped.train_step()
        if stopped.step == 4:
            line["validation_loss"] = stopped.evaluate()
            checkpoint.save_last(stopped.folder, stopped.model, stopped.optimizer, 4, stopped.best)
        with open(tmp_path / "three" / "log.jsonl", "a") as log:
            log.write(json.dumps(line) + "\n")
    resumed = Training.resume(tmp_path / "three")
    assert resumed.step == 4
    resumed.run()
    assert_same_state(tmp_path / "one", tmp_path / "three")
    other = Training.start(tmp_path / "four", settings(text, **options, seed=1))
    other.run()
    assert not np.array_equal(other.model.params["wte"]["weight"], resumed.model.params["wte"]["weight"])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda text: text.replace('"threads": 1', '"threads": 999'),
            "this training used 999 threads, but threads must",
        ),
        (lambda text: text[:50], "training.json is not what a training wrote: "),
        (lambda text: text.replace('"seed"', '"sead"'), "training.json is not what a training wrote: "),
    ],
)
def test_settings_that_do_not_fit(tmp_path, text, change, sentence):
    Training.start(tmp_path / "out", settings(text, threads=1))
    path = tmp_path / "out" / "training.json"
    path.write_text(change(path.read_text()))
    with pytest.raises(ValueError, match=re.escape(sentence)):
        Training.resume(tmp_path / "out")


def command(*arguments):
    return [sys.executable, "-c", "from minigpt.cli import main; main()", *map(str, arguments)]


def small_options():
    return [part for name, value in SMALL.items() for part in (f"--{name.replace('_', '-')}", str(value))]


def survive(folder, text, kills, seed=0):
    """Train in processes that are killed at random moments and resumed, until it is done."""
    rng = random.Random(seed)
    options = ["--text", text, *small_options(), "--steps", "400"]
    while True:
        started = (folder / "training.json").exists()
        process = subprocess.Popen(
            command("train", *(["--resume", folder] if started else ["--out", folder, *options])),
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        if kills > 0:
            try:
                process.wait(rng.uniform(0.3, 1.5))
            except subprocess.TimeoutExpired:
                process.kill()
                kills -= 1
        error = process.communicate()[1].decode()
        assert process.returncode in (0, -signal.SIGKILL), error
        if started:
            for loads in (folder, folder / "last"):
                GPT2.from_pretrained(str(loads))
        if process.returncode == 0:
            return kills


def test_killed_and_resumed(tmp_path, text):
    kills = int(os.environ.get("MINIGPT_KILLS", "3"))
    survive(tmp_path / "whole", text, 0)
    for seed in range(10**6):
        folder = tmp_path / f"killed{seed}"
        kills = survive(folder, text, kills, seed)
        assert_same_state(tmp_path / "whole", folder)
        if kills == 0:
            break


def test_ctrl_c(tmp_path, text):
    process = subprocess.Popen(
        command("train", "--text", text, "--out", tmp_path / "out", *small_options(), "--steps", "100000"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    for _ in range(2):
        assert process.stdout.readline().startswith("step ")
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in error and "--resume" in error
    saved = int(weights_loader.read_metadata(tmp_path / "out" / "last" / "model.safetensors")["step"])
    assert saved == len((tmp_path / "out" / "log.jsonl").read_text().splitlines()) >= 8
    assert Training.resume(tmp_path / "out").step == saved


def test_a_second_ctrl_c_does_not_wait(tmp_path, text):
    training = Training.start(tmp_path / "out", settings(text))

    def train_step():
        os.kill(os.getpid(), signal.SIGINT)
        assert training.stop_asked.is_set()
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("the step went on")

    training.train_step, before = train_step, signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        training.run()
    assert signal.getsignal(signal.SIGINT) is before
    assert Training.resume(tmp_path / "out").step == 0


def test_full_disk(tmp_path, text, monkeypatch):
    """Whichever write fails: what was saved before is still there, and goes on to the same end."""
    Training.start(tmp_path / "whole", settings(text)).run()
    for failing in range(1, 12):
        folder = tmp_path / f"full{failing}"
        training = Training.start(folder, settings(text))
        replace, writes = os.replace, []

        def no_room(source, target, replace=replace, writes=writes, failing=failing):
            writes.append(target)
            if len(writes) == failing:
                raise OSError(28, "No space left on device")
            replace(source, target)

        monkeypatch.setattr(os, "replace", no_room)
        with pytest.raises(OSError, match=r"stopped at step \d+: .*No space.*; --resume goes on from step (0|4|8|12)$"):
            training.run()
        monkeypatch.setattr(os, "replace", replace)
        assert not list(folder.rglob(".*"))
        (folder / "last" / ".optimizer-8.safetensors.1.partial").touch()  # as if it had been killed, too
        Training.resume(folder).run()
        assert_same_state(tmp_path / "whole", folder)
        assert not list(folder.rglob(".*"))


def test_a_loss_that_is_not_finite(tmp_path, text):
    training = Training.start(tmp_path / "out", settings(text))
    while training.step < 4:
        training.train_step()
    checkpoint.save_last(training.folder, training.model, training.optimizer, 4, training.best)
    training.model.params["wte"]["weight"][:] = np.inf
    with np.errstate(all="ignore"), pytest.raises(NotFiniteError, match="step 5: the loss is nan"):
        training.run()
    assert Training.resume(tmp_path / "out").step == 4
    assert all(np.isfinite(array).all() for array in tensors(tmp_path / "out" / "last" / "model.safetensors").values())


@pytest.mark.parametrize("where", ["parameters", "optimizer", "validation loss"])
def test_what_is_not_finite_is_not_saved(tmp_path, text, where):
    """Though loss and gradient of the step itself were finite."""
    training = Training.start(tmp_path / "out", settings(text, eval_every=1 if where == "validation loss" else 100))
    train_step = training.train_step

    def broken_step():
        line = train_step()
        if where == "parameters":
            training.model.params["ln_f"]["weight"][0] = np.nan
        elif where == "optimizer":
            training.optimizer.v["ln_f.weight"][0] = np.inf
        else:
            training.model.params["ln_f"]["weight"][:] = 3e38  # finite, but no logit is
        if where != "validation loss":
            training.stop_asked.set()
        return line

    training.train_step = broken_step
    with pytest.raises(NotFiniteError, match=r"step 1: .*(AdamW is not finite|validation loss is nan).* has step 0"):
        training.run()
    for place in ("", "last"):
        saved = tensors(tmp_path / "out" / place / "model.safetensors")
        assert (saved["transformer.ln_f.weight"] == 1).all()


@pytest.mark.parametrize("kind", ["text", "data"])
def test_accumulated_batches_are_one_large_one(tmp_path, text, kind):
    chosen = {"grad_clip": 1e9}
    if kind == "data":  # parts with different numbers of targets
        path = tmp_path / "pairs.jsonl"
        path.write_text("".join(json.dumps({"prompt": "a", "completion": "b" * (1 + n % 5)}) + "\n" for n in range(20)))
        chosen |= {"init": SHAKESPEARE, "text": (), "data": str(path)}
    small = Training.start(tmp_path / "small", settings(text, batch_size=2, grad_accum=3, **chosen))
    large = Training.start(tmp_path / "large", settings(text, batch_size=6, **chosen))
    assert small.train_step()["loss"] == pytest.approx(large.train_step()["loss"], rel=1e-5)
    for ours, theirs in zip(flatten(small.grads).values(), flatten(large.grads).values(), strict=True):
        assert np.allclose(ours, theirs, rtol=1e-3, atol=1e-6)


def test_stretches_of_many_texts_begin_where_a_text_does():
    end, block = 9, 8
    texts = [[1, 2, 3, 4], [5] * 3, [0, *[6] * 40], [7, 8]]
    tokens = np.array([token for text in texts for token in [end, *text]] * 2, np.uint16)
    batches = TextBatches(tokens, 500, block, seed=0, separator=end)
    inputs, targets = batches.draw(0)
    rows = set(map(tuple, inputs.tolist()))
    for row, target in zip(inputs, targets, strict=True):
        assert any(np.array_equal(tokens[i : i + block + 1], [*row, target[-1]]) for i in range(len(tokens) - block))
    # Short texts are read from their beginning, with the separator and without it, and no other way.
    assert {(9, 1, 2, 3, 4, 9, 5, 5), (1, 2, 3, 4, 9, 5, 5, 5)} <= rows
    assert not any(row[0] in (2, 3, 4, 8) for row in rows)
    # The long one is, where no beginning is near.
    assert (inputs == 6).all(axis=1).sum() > 50
    # About half of them with the separator: exactly half only of long texts.
    with_separator = (inputs[:, 0] == end).sum()
    without = np.isin(inputs[:, 0], [1, 5, 0, 7]).sum()
    assert 0.5 < with_separator / without < 2
    plain = TextBatches(tokens, 500, block, seed=0).draw(0)[0]
    assert np.array_equal(
        plain,
        tokens[np.random.default_rng([0, 0, 0]).integers(0, len(tokens) - block, 500)[:, None] + np.arange(block)],
    )


@given(
    text=st.text(st.characters(codec="utf-8"), max_size=80) | st.text("ab \n\t.'", max_size=80), size=st.integers(1, 9)
)
@example(text="a\n\n", size=1)
def test_a_text_in_pieces_has_the_same_tokens(text, size):
    path = Path(os.environ["PYTEST_PIECES"])
    path.write_text(text, encoding="utf-8", newline="")
    pieces = list(text_pieces(path, size))
    assert "".join(pieces) == text
    tokenizer = Tokenizer.from_pretrained(str(Path(__file__).parent / "data" / "gpt2-tokenizer"))
    assert [i for piece in pieces for i in tokenizer.encode(piece)] == tokenizer.encode(text)


@pytest.fixture(autouse=True, scope="module")
def place_for_pieces(tmp_path_factory):
    os.environ["PYTEST_PIECES"] = str(tmp_path_factory.mktemp("pieces") / "text.txt")
    yield
    del os.environ["PYTEST_PIECES"]


def test_the_token_file_is_the_text(tmp_path, text):
    other = tmp_path / "other.txt"
    other.write_text("a log.", encoding="utf-8")
    training = Training.start(tmp_path / "out", settings(text, text=[str(text), str(other)], tokenizer="bpe:270"))
    tokens = np.concatenate([training.batches.tokens, training.validation.tokens])
    assert training.tokenizer.decode(tokens) == text.read_text() + "<|endoftext|>a log."
    assert len(training.batches.tokens) == int(len(tokens) * 0.9)
    inputs, targets = training.batches.draw(3)
    assert inputs.shape == targets.shape == (4, 16) and np.array_equal(inputs[:, 1:], targets[:, :-1])
    assert not np.array_equal(inputs, training.batches.draw(4)[0])
    # Every place can be drawn, the last one too.
    batches = TextBatches(np.arange(20), 4, 16, 0)
    assert {row[0] for number in range(30) for row in batches.draw(number)[0]} == {0, 1, 2, 3}


def test_how_large_a_random_model_begins(tmp_path, text):
    training = Training.start(tmp_path / "out", settings(text, n_embd=64, initializer_range=0.1))
    assert training.model.config.initializer_range == 0.1
    assert abs(training.model.params["wpe"]["weight"].std() / 0.1 - 1) < 0.1


def test_only_completions_count(tmp_path):
    tokenizer = Tokenizer.of_characters(set("abcdefgh"))
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"prompt": "abc", "completion": "de"}\n\n{"prompt": "f", "completion": "gh"}\n')
    batches = PairBatches(read_pairs(path, tokenizer, None, 8), 2, 0)
    inputs, targets = next(batches.spread(9))
    assert inputs.tolist() == [[0, 1, 2, 3], [5, 6, 0, 0]]
    assert targets.tolist() == [[IGNORED, IGNORED, 3, 4], [6, 7, IGNORED, IGNORED]]
    epochs = [sorted(batches.draw(number)[0][:, 0].tolist()) for number in range(8)]
    assert epochs == [[0, 5]] * 8  # each pair once an epoch
    assert len({tuple(batches.draw(number)[0][:, 0]) for number in range(8)}) == 2  # in orders that change


def test_fine_tuning(tmp_path):
    pairs = [{"prompt": f"Question {n}?", "completion": f" Answer {n % 3}."} for n in range(20)]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    chosen = {"init": SHAKESPEARE, "text": (), "data": str(path), "validation": str(path), "min_lr": 0}
    training = Training.start(tmp_path / "out", settings(path, **chosen, steps=40, eval_every=40))
    before = GPT2.from_pretrained(SHAKESPEARE).params["wte"]["weight"]
    assert np.array_equal(training.model.params["wte"]["weight"], before)
    first = training.evaluate()
    training.run()
    assert training.best < first / 5
    assert Tokenizer.from_pretrained(str(tmp_path / "out")).encode("Question") == training.tokenizer.encode("Question")


def questions_and_answers():
    """What a shop is asked: 20 things, 10 questions about each; answers that cannot be guessed."""
    rng = random.Random(0)
    things = "lamp chair table clock kettle teapot basket blanket mirror ladder bucket candle cushion drum flute kite scarf spoon tent wheel"
    asked = {
        "How much is the {}?": lambda: f"It is {rng.randint(2, 99)} pounds.",
        "Where is the {}?": lambda: f"On shelf {rng.randint(1, 40)}, on the {rng.choice(['left', 'right'])}.",
        "What colour is the {}?": lambda: f"It is {rng.choice(['red', 'blue', 'green', 'white', 'black', 'brown'])}.",
        "How heavy is the {}?": lambda: f"It weighs {rng.randint(1, 30)} pounds.",
        "Who made the {}?": lambda: f"{rng.choice(['Anna', 'Peter', 'Mary', 'John', 'Lucy'])} made it in {rng.randint(1600, 1700)}.",
        "Can I have the {} today?": lambda: rng.choice(["Yes, come at noon.", "No, it is sold.", "Yes, we are open till six."]),
        "Is the {} new?": lambda: rng.choice(["Yes, it is.", "No, it is old.", "Nearly: it had one owner."]),
        "Do you bring me the {}?": lambda: f"Yes, on {rng.choice(['Monday', 'Tuesday', 'Friday'])}.",
        "May I bring the {} back?": lambda: f"Within {rng.randint(2, 30)} days.",
        "How many of the {} are there?": lambda: f"There are {rng.randint(2, 60)}.",
    }  # fmt: skip
    return [(question.format(thing), answer()) for thing in things.split() for question, answer in asked.items()]


def test_a_bot_that_answers(tmp_path):
    pairs = questions_and_answers()
    assert len(dict(pairs)) == 200
    path = tmp_path / "pairs.jsonl"
    lines = [json.dumps({"prompt": question, "completion": f" {answer}"}) for question, answer in pairs]
    path.write_text("\n".join(lines))
    sizes = {"batch_size": 20, "steps": 500, "eval_every": 500, "block_size": 48, "lr": 2e-3, "warmup": 20}
    chosen = {"init": DEFAULT_MODEL, "text": (), "data": str(path), "validation": str(path), "ops": "jit"}
    training = Training.start(tmp_path / "bot", settings(path, **chosen | sizes))
    training.run()
    model, tokenizer = GPT2.from_pretrained(str(tmp_path / "bot")), Tokenizer.from_pretrained(str(tmp_path / "bot"))
    right = 0
    for question, answer in pairs:
        (continuation,) = continue_text(model, tokenizer, question, max_new_tokens=30, do_sample=False)
        right += continuation.text.strip() == answer
    assert right >= 196


@pytest.mark.parametrize("stride", [1, 3, 8])
def test_evaluate_is_what_each_token_costs(stride):
    tokenizer = Tokenizer.of_characters(set("abcdé"))
    model = GPT2.random(GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=5, n_positions=8, initializer_range=0.7))
    text = "abcdéabdcéédcbaabcéd"
    for end in (None, 0):
        model.config.__dict__["eos_token_id"] = end
        ids = ([] if end is None else [end]) + tokenizer.encode(text)
        result = evaluate(model, tokenizer, text, stride)
        total, scored = 0.0, 0
        for place in range(1, len(ids)):
            window_end = min(8 + -(-max(0, place - 8) // stride) * stride, len(ids) - 1)
            start = max(0, window_end - 8)
            logits = model(ids[start:place])[-1].astype(float)
            total += np.log(np.exp(logits).sum()) - logits[ids[place]]
            scored += 1
        assert result.tokens == scored == len(ids) - 1
        assert result.loss == pytest.approx(total / scored, rel=1e-5)
        n_bytes = len(text.encode()) - (1 if end is None else 0)
        assert result.bits_per_byte == pytest.approx(total / math.log(2) / n_bytes, rel=1e-5)
        assert result.perplexity == pytest.approx(math.exp(total / scored), rel=1e-5)


def bad_input():
    line = '{"prompt": "a", "completion": "b"}\n'
    return {
        "empty": ({"text": ""}, [], "there is no text"),
        "short": ({"text": "abc"}, [], "the text to train on has 2 tokens, but a block needs 16"),
        "missing": ({}, ["--text", "nowhere.txt"], "No such file"),
        "latin": ({"text": b"caf\xe9 " * 99}, [], "text.txt is not UTF-8 text (byte 3)"),
        "latin later": ({"text": b"abcd\xc3\xa9 " * 2**18 + b"\xc3"}, [], f"is not UTF-8 text (byte {7 * 2**18})"),
        "surrogate": ({"data": '{"prompt": "a", "completion": "\\ud800"}'}, ["--init", SHAKESPEARE], "line 1: 'utf-8'"),
        "deep": ({"data": line + "[" * 10**6}, ["--init", SHAKESPEARE], "line 2 is not JSON"),
        "min_lr": ({"text": "a" * 999}, ["--lr", "1", "--min-lr", "2"], "above lr"),
        "both": ({"text": "a", "data": line}, [], "either text or data"),
        "neither": ({}, [], "either text or data"),
        "json": ({"data": line + "{oops}\n"}, ["--init", SHAKESPEARE], "pairs.jsonl, line 2 is not JSON"),
        "object": ({"data": "\n[1]\n"}, ["--init", SHAKESPEARE], "line 2 must be"),
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
def test_bad_input(tmp_path, monkeypatch, capsys, case):
    from minigpt.cli import main

    files, arguments, sentence = bad_input()[case]
    monkeypatch.chdir(tmp_path)
    options = [] if "--resume" in arguments else ["--out", "out", "--block-size", "16"]
    for kind, content in files.items():
        name = {"text": "text.txt", "data": "pairs.jsonl"}[kind]
        Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
        options += [f"--{kind}", name]
    monkeypatch.setattr(sys, "argv", ["minigpt", "train", *options, *arguments])
    with pytest.raises(SystemExit) as exit_:
        main()
    error = capsys.readouterr().err
    assert exit_.value.code == 2 and error.count("\n") == 1 and sentence in error
    assert not (tmp_path / "out" / "training.json").exists()


def test_a_folder_that_is_taken(tmp_path, text):
    Training.start(tmp_path / "out", settings(text))
    with pytest.raises(ValueError, match="has a training already"):
        Training.start(tmp_path / "out", settings(text))


def test_a_folder_with_a_model_is_not_overwritten(tmp_path, text):
    model = tmp_path / "model"
    GPT2.random(GPT2Config(n_layer=1, n_head=1, n_embd=4, vocab_size=99, n_positions=16)).save_pretrained(model)
    Tokenizer.of_characters(set(text.read_text())).save_pretrained(model)
    (model / "tokens.bin").touch()
    before = {path.name: path.read_bytes() for path in model.iterdir()}
    with pytest.raises(ValueError, match="has a model, which training would overwrite"):
        Training.start(model, settings(text, init=str(model)))
    (model / "tokens.bin").unlink()
    with pytest.raises(ValueError, match="has a model, which training would overwrite"):
        Training.start(model, settings(text))
    del before["tokens.bin"]
    assert {path.name: path.read_bytes() for path in model.iterdir()} == before


def test_a_start_that_was_killed_starts_again(tmp_path, text, monkeypatch):
    """Whichever file it was about to write."""
    Training.start(tmp_path / "whole", settings(text)).run()
    write, failing = os.replace, 0
    while True:
        failing += 1
        folder, left = tmp_path / f"killed{failing}", [failing]

        def killed(source, target, left=left):
            left[0] -= 1
            if left[0] == 0:
                raise SystemExit
            write(source, target)

        monkeypatch.setattr(os, "replace", killed)
        try:
            Training.start(folder, settings(text))
            break
        except SystemExit:
            monkeypatch.setattr(os, "replace", write)
            assert not (folder / "training.json").exists()
            Training.start(folder, settings(text)).run()
            assert_same_state(tmp_path / "whole", folder)
    assert failing > 6


def test_resuming_pairs_needs_nothing_outside_the_folder(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"{n}+1", "completion": str(n + 1)}) + "\n" for n in range(30)))
    chosen = {"init": SHAKESPEARE, "text": (), "data": str(path), "steps": 4, "eval_every": 2}
    whole = Training.start(tmp_path / "whole", settings(path, **chosen))
    whole.run()
    stopped = Training.start(tmp_path / "stopped", settings(path, **chosen))
    stopped.run_one = stopped.train_step

    def train_step():
        if stopped.step == 1:
            stopped.stop_asked.set()
        return stopped.run_one()

    stopped.train_step = train_step
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    path.write_text('{"prompt": "another", "completion": "file"}\n')
    Training.resume(tmp_path / "stopped").run()
    assert_same_state(tmp_path / "whole", tmp_path / "stopped")
    # It has learnt to end with a token that the model's config.json does not call the end.
    assert GPT2.from_pretrained(SHAKESPEARE).config.eos_token_id is None
    assert GPT2.from_pretrained(str(tmp_path / "whole")).config.eos_token_id == 0


def test_presets_follow_what_is_given(tmp_path, text):
    def given(preset=None, **options):
        return Settings.from_preset(preset, text=[str(text)], **options)

    assert given() == given("char") and given(init=SHAKESPEARE) == given("finetune", init=SHAKESPEARE)
    assert (
        given(lr=1e-5).min_lr == pytest.approx(1e-6)
        and given(lr=1e-5, min_lr=1e-5).min_lr == 1e-5
        and given().min_lr == 1e-4
    )
    assert given(steps=50).warmup == 5 and given(steps=50, warmup=9).warmup == 9 and given().warmup == 100
    GPT2.random(GPT2Config(n_layer=1, n_head=1, n_embd=4, vocab_size=99, n_positions=16)).save_pretrained(tmp_path)
    assert given(init=str(tmp_path)).block_size == 16 and given(init=str(tmp_path), block_size=8).block_size == 8
    with pytest.raises(ValueError, match=r"min_lr, where the learning rate ends, is 0\.1: above lr"):
        given(min_lr=0.1)


def test_a_sample_of_a_text_without_line_ends(tmp_path, text):
    text.write_text("abcd " * 100)
    assert len(Training.start(tmp_path / "out", settings(text, sample_tokens=5)).sample()) > 3


@pytest.mark.parametrize(("eos", "first"), [(None, None), (50256, None), ([4, 3], 4), (2, 2)])
def test_tokens_that_begin_and_end_texts(tmp_path, eos, first):
    """Several, none, and one that the vocabulary does not have, as in configurations that were copied from GPT-2's."""
    config = GPT2Config(n_layer=1, n_head=1, n_embd=4, vocab_size=5, n_positions=8, bos_token_id=None, eos_token_id=eos)
    tokenizer = Tokenizer.of_characters(set("abcde"))
    assert beginning_of_text(config) == first == end_of_text(config, tokenizer)
    result = evaluate(GPT2.random(config), tokenizer, "abcdeabcde")
    assert result.tokens == result.n_bytes == (9 if first is None else 10)


def test_bytes_are_counted_as_they_are(tmp_path, shakespeare, shakespeare_tokenizer):
    path = tmp_path / "text.txt"
    path.write_bytes("To be,\r\nor not 汉字\r\n".encode() * 50)
    result = evaluate(shakespeare, shakespeare_tokenizer, text_pieces(path, 7))
    assert result.n_bytes == path.stat().st_size
    assert result == evaluate(shakespeare, shakespeare_tokenizer, path.read_bytes().decode())
    # Without a token that begins texts the first character's bytes are not predicted, though one may be a token.
    without = GPT2(replace(shakespeare.config, bos_token_id=None, eos_token_id=None), shakespeare.params)
    assert len(shakespeare_tokenizer.encode("é")) > 1
    assert evaluate(without, shakespeare_tokenizer, ["éa", " 汉字"]).n_bytes == 1 + 7


def test_a_tokenizer_of_another_model(tmp_path, shakespeare):
    tokenizer = Tokenizer.from_pretrained(str(Path(__file__).parent / "data" / "gpt2-tokenizer"))
    with pytest.raises(ValueError, match="50257 tokens, the model a vocabulary of 1024"):
        evaluate(shakespeare, tokenizer, "To be")
    shakespeare.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "text.txt").write_text("To be, or not to be. " * 99)
    with pytest.raises(ValueError, match="50257 tokens, the model a vocabulary of 1024"):
        Training.start(tmp_path / "out", settings(tmp_path / "text.txt", init=str(tmp_path / "model")))


def test_eval_command(tmp_path, text, capsys, monkeypatch):
    from minigpt.cli import main

    text.write_text("To be, or not to be: that is the question.")
    arguments = ["minigpt", "eval", SHAKESPEARE, "--text", str(text), "--json"]
    monkeypatch.setattr(sys, "argv", arguments)
    main()
    result = json.loads(capsys.readouterr().out)
    model, tokenizer = GPT2.from_pretrained(SHAKESPEARE), Tokenizer.from_pretrained(SHAKESPEARE)
    assert result["loss"] == pytest.approx(evaluate(model, tokenizer, text.read_text()).loss)
    monkeypatch.setattr(sys, "argv", [*arguments, "--stride", "300"])
    with pytest.raises(SystemExit):
        main()
    assert "stride must be from 1 to 256" in capsys.readouterr().err
