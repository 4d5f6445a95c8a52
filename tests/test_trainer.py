"""The trainer: what it learns, and that it can be stopped at any moment and resumed."""

import json
import math
import os
import random
import signal
import subprocess

import numpy as np
import pytest
from helpers import MINIGPT
from reference import SHAKESPEARE
from trainings import SMALL_SETTINGS, assert_same_state, small_settings, tensors, write_pairs

import weights_loader
from minigpt import GPT2, Tokenizer
from minigpt.bundled import DEFAULT_MODEL
from minigpt.generation.text import continue_text
from minigpt.params import flatten
from minigpt.training import checkpoint
from minigpt.training.trainer import NotFiniteError, Training


def test_it_learns(tmp_path, training_text):
    training = Training.start(tmp_path / "out", small_settings(training_text, steps=150, eval_every=150, lr=1e-2))
    lines = []
    training.run(lines.append)
    counts = np.unique(list(training_text.read_text()), return_counts=True)[1] / len(training_text.read_text())
    unigrams = -(counts * np.log(counts)).sum()
    assert lines[0]["loss"] > 0.9 * math.log(len(training.tokenizer))
    assert training.best < unigrams / 3
    # The folder holds the model, for us and with its own numbers.
    model = GPT2.from_pretrained(str(tmp_path / "out"))
    assert np.array_equal(model.params["wte"]["weight"], training.model.params["wte"]["weight"])
    assert weights_loader.read_metadata(tmp_path / "out" / "model.safetensors")["step"] == "150"


@pytest.mark.parametrize(
    "options", [{}, {"dropout": 0.2, "grad_accum": 2}, {"tokenizer": "bpe:280", "ops": "jit", "dtype": "bfloat16"}]
)
def test_the_same_twice_and_resumed(tmp_path, training_text, options):
    options |= {"threads": None}  # several, as by default
    chosen = small_settings(training_text, **options)
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
    other = Training.start(tmp_path / "four", small_settings(training_text, **options, seed=1))
    other.run()
    assert not np.array_equal(other.model.params["wte"]["weight"], resumed.model.params["wte"]["weight"])


def options_of(settings):
    return [part for name, value in settings.items() for part in (f"--{name.replace('_', '-')}", str(value))]


def resume_until_done(folder, text, kills, rng):
    """Train in processes that are killed at random moments and resumed. Return the number of kills that are left."""
    options = ["--text", text, *options_of(SMALL_SETTINGS | {"steps": 400})]
    while True:
        started = (folder / "training.json").exists()
        process = subprocess.Popen(
            [*MINIGPT, "train", *(["--resume", folder] if started else ["--out", folder, *options])],
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
            for part in (folder, folder / "last"):
                GPT2.from_pretrained(str(part))
        if process.returncode == 0:
            return kills


@pytest.mark.slow
def test_killed_at_any_moment_and_resumed(tmp_path, training_text):
    kills = int(os.environ.get("MINIGPT_KILLS", "10"))
    Training.start(tmp_path / "whole", small_settings(training_text, steps=400)).run()
    for seed in range(10**6):
        folder = tmp_path / f"killed{seed}"
        kills = resume_until_done(folder, training_text, kills, random.Random(seed))
        assert_same_state(tmp_path / "whole", folder)
        if kills == 0:
            break


def test_killed_and_resumed(tmp_path, training_text):
    Training.start(tmp_path / "whole", small_settings(training_text, steps=100)).run()
    killed, options = tmp_path / "killed", options_of(SMALL_SETTINGS | {"steps": 100})
    arguments = ["--text", training_text, "--out", killed, *options]
    process = subprocess.Popen([*MINIGPT, "train", *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    for _ in range(3):
        assert process.stdout.readline().startswith(b"step ")
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    for part in (killed, killed / "last"):
        GPT2.from_pretrained(str(part))
    resumed = Training.resume(killed)
    assert 12 <= resumed.step < 100
    resumed.run()
    assert_same_state(tmp_path / "whole", killed)


def test_ctrl_c(tmp_path, training_text):
    options = options_of(SMALL_SETTINGS | {"steps": 100_000})
    process = subprocess.Popen(
        [*MINIGPT, "train", "--text", training_text, "--out", tmp_path / "out", *options],
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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_to_end_save_the_step(tmp_path, training_text, number, request):
    before = signal.signal(number, signal.SIG_DFL)  # under nohup, SIGHUP is ignored
    request.addfinalizer(lambda: signal.signal(number, before))
    training = Training.start(tmp_path / "out", small_settings(training_text))
    step, handlers = training.train_step, [signal.getsignal(each) for each in (signal.SIGINT, number)]

    def train_step():
        if training.step == 1:
            os.kill(os.getpid(), number)
        return step()

    training.train_step = train_step
    with pytest.raises(KeyboardInterrupt):
        training.run()
    assert handlers == [signal.getsignal(each) for each in (signal.SIGINT, number)]
    assert Training.resume(tmp_path / "out").step == 2


def test_nohup_stays(tmp_path, training_text):
    training = Training.start(tmp_path / "out", small_settings(training_text, steps=1))
    step, before = training.train_step, signal.signal(signal.SIGHUP, signal.SIG_IGN)
    training.train_step = lambda: os.kill(os.getpid(), signal.SIGHUP) or step()
    try:
        training.run()
    finally:
        assert signal.signal(signal.SIGHUP, before) is signal.SIG_IGN
    assert training.step == 1 and not training.stop_requested.is_set()


def test_two_trainings_in_one_folder(tmp_path, training_text):
    folder, options = tmp_path / "out", options_of(SMALL_SETTINGS | {"steps": 100_000})
    arguments = ["--text", training_text, "--out", folder, *options]
    process = subprocess.Popen([*MINIGPT, "train", *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout.readline().startswith(b"step ")
    with pytest.raises(ValueError, match="another training is running in .*out: wait for it, or stop it"):
        Training.resume(folder)
    process.kill()
    process.communicate()
    Training.resume(folder)  # the lock of a killed one is gone with it


def test_a_finished_training_goes_on(tmp_path, training_text):
    Training.start(tmp_path / "short", small_settings(training_text, min_lr=1e-3)).run()
    longer = Training.resume(tmp_path / "short", steps=20)
    assert longer.step == 12 and longer.optimizer.t == 12 and longer.changed == {"steps": [12, 20]}
    longer.run()
    # With a constant learning rate it is the training that was as long from the beginning.
    Training.start(tmp_path / "long", small_settings(training_text, min_lr=1e-3, steps=20)).run()
    log = (tmp_path / "short" / "log.jsonl").read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    assert lines[12].pop("changed") == {"steps": [12, 20]} and not any("changed" in line for line in lines)
    (tmp_path / "short" / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert_same_state(tmp_path / "short", tmp_path / "long")
    assert Training.resume(tmp_path / "short").settings.steps == 20
    other = Training.resume(tmp_path / "short", steps=24, lr=1e-4)
    assert other.changed == {"steps": [20, 24], "lr": [1e-3, 1e-4], "min_lr": [1e-3, 1e-5]}
    assert other.train_step()["lr"] < 1e-4
    with pytest.raises(ValueError, match="steps must be at least 20, which are done, not 5"):
        Training.resume(tmp_path / "short", steps=5)


def test_the_separator_is_one_token_of_characters(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("ab<|endoftext|>ba<|end " * 5000 + "<|endoftext|>", encoding="utf-8-sig")
    training = Training.start(tmp_path / "out", small_settings(path))
    assert sorted(training.tokenizer.get_vocab()) == sorted({*"ab<|end ", "<|endoftext|>"})
    end = training.tokenizer.eos_token_id
    assert (np.concatenate([training.batches.tokens, training.validation.tokens]) == end).sum() == 5001
    assert training.model.config.eos_token_id == end == training.batches.tokens[2]


@pytest.mark.parametrize("name", ["text", "validation", "data"])
def test_a_pipe_is_refused(tmp_path, training_text, name):
    os.mkfifo(tmp_path / "pipe")
    settings = {
        "text": [str(training_text)],
        name: [str(tmp_path / "pipe")] if name == "text" else str(tmp_path / "pipe"),
    }
    settings |= {"text": ()} if name == "data" else {}
    with pytest.raises(
        ValueError, match="pipe is no regular file: write the text to one, as it is read more than once"
    ):
        Training.start(tmp_path / "out", small_settings(training_text, **settings))
    with pytest.raises(ValueError, match="folder must be a folder's name, not ''"):
        Training.start("", small_settings(training_text))


def test_a_second_ctrl_c_does_not_wait(tmp_path, training_text):
    training = Training.start(tmp_path / "out", small_settings(training_text))

    def train_step():
        os.kill(os.getpid(), signal.SIGINT)
        assert training.stop_requested.is_set()
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("the step went on")

    training.train_step, before = train_step, signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        training.run()
    assert signal.getsignal(signal.SIGINT) is before
    assert Training.resume(tmp_path / "out").step == 0


def test_a_loss_that_is_not_finite(tmp_path, training_text):
    training = Training.start(tmp_path / "out", small_settings(training_text))
    while training.step < 4:
        training.train_step()
    checkpoint.save_last(training.folder, training.model, training.optimizer, 4, training.best)
    training.model.params["wte"]["weight"][:] = np.inf
    with np.errstate(all="ignore"), pytest.raises(NotFiniteError, match="step 5: the loss is nan"):
        training.run()
    assert Training.resume(tmp_path / "out").step == 4
    assert all(np.isfinite(array).all() for array in tensors(tmp_path / "out" / "last" / "model.safetensors").values())


@pytest.mark.parametrize("where", ["parameters", "optimizer", "validation loss"])
def test_what_is_not_finite_is_not_saved(tmp_path, training_text, where):
    """Though loss and gradient of the step itself were finite."""
    training = Training.start(
        tmp_path / "out", small_settings(training_text, eval_every=1 if where == "validation loss" else 100)
    )
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
            training.stop_requested.set()
        return line

    training.train_step = broken_step
    with pytest.raises(
        NotFiniteError, match=r"step 1: .*(AdamW state is not finite|validation loss is nan).* has step 0"
    ):
        training.run()
    for place in ("", "last"):
        saved = tensors(tmp_path / "out" / place / "model.safetensors")
        assert (saved["transformer.ln_f.weight"] == 1).all()


@pytest.mark.parametrize("kind", ["text", "data"])
def test_accumulated_batches_are_one_large_one(tmp_path, training_text, kind):
    chosen = {"grad_clip": 1e9}
    if kind == "data":  # parts with different numbers of targets
        path = write_pairs(tmp_path / "pairs.jsonl", [("a", "b" * (1 + n % 5)) for n in range(20)])
        chosen |= {"init": SHAKESPEARE, "text": (), "data": str(path)}
    small = Training.start(tmp_path / "small", small_settings(training_text, batch_size=2, grad_accum=3, **chosen))
    large = Training.start(tmp_path / "large", small_settings(training_text, batch_size=6, **chosen))
    assert small.train_step()["loss"] == pytest.approx(large.train_step()["loss"], rel=1e-5)
    for ours, theirs in zip(flatten(small.grads).values(), flatten(large.grads).values(), strict=True):
        assert np.allclose(ours, theirs, rtol=1e-3, atol=1e-6)


def test_fine_tuning(tmp_path):
    path = write_pairs(tmp_path / "pairs.jsonl", [(f"Question {n}?", f" Answer {n % 3}.") for n in range(20)])
    chosen = {"init": SHAKESPEARE, "text": (), "data": str(path), "validation": str(path), "min_lr": 0}
    training = Training.start(tmp_path / "out", small_settings(path, **chosen, steps=40, eval_every=40))
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


@pytest.mark.slow
def test_a_bot_that_answers(tmp_path):
    pairs = questions_and_answers()
    assert len(dict(pairs)) == 200
    path = write_pairs(tmp_path / "pairs.jsonl", [(question, f" {answer}") for question, answer in pairs])
    sizes = {"batch_size": 20, "steps": 500, "eval_every": 500, "block_size": 48, "lr": 2e-3, "warmup": 20}
    chosen = {
        "init": DEFAULT_MODEL,
        "text": (),
        "data": str(path),
        "validation": str(path),
        "ops": "jit",
        "threads": None,
    }
    training = Training.start(tmp_path / "bot", small_settings(path, **chosen | sizes))
    training.run()
    model, tokenizer = GPT2.from_pretrained(str(tmp_path / "bot")), Tokenizer.from_pretrained(str(tmp_path / "bot"))
    right = 0
    for question, answer in pairs:
        (continuation,) = continue_text(model, tokenizer, question, max_new_tokens=30, do_sample=False)
        right += continuation.text.strip() == answer
    assert right >= 196


def test_a_folder_that_is_taken(tmp_path, training_text):
    Training.start(tmp_path / "out", small_settings(training_text))
    with pytest.raises(ValueError, match="has a training already"):
        Training.start(tmp_path / "out", small_settings(training_text))


def test_a_sample_of_a_text_without_line_ends(tmp_path, training_text):
    training_text.write_text("abcd " * 100)
    assert len(Training.start(tmp_path / "out", small_settings(training_text, sample_tokens=5)).sample()) > 3
