"""Pre-training and fine-tuning: the loop, and what it needs to be stopped at any step and resumed.

A training is its settings and its folder (checkpoint.py). Everything random in step s, its batch and its dropout, is
drawn from a generator seeded with the settings' seed and s: a resumed training does what an uninterrupted one does,
bit for bit.
"""

import contextlib
import json
import math
import shutil
import signal
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from minigpt.config import GPT2Config
from minigpt.model import GPT2
from minigpt.ops.threads import get_threads, set_threads
from minigpt.params import flatten, zeros_like
from minigpt.training import checkpoint
from minigpt.training.data import (
    PairBatches,
    TextBatches,
    beginning_of_text,
    check_fit,
    end_of_text,
    read_pairs,
    read_tokens,
    text_pieces,
    write_tokens,
)
from minigpt.training.evaluate import mean_loss
from minigpt.training.gradients import loss_and_grads
from minigpt.training.loss import IGNORED
from minigpt.training.optimizer import AdamW, clip_by_global_norm
from minigpt.training.schedule import learning_rate
from weights_loader import write_file

SETTINGS = "training.json"
DATA = ("tokens.bin", "data.jsonl")  # one of them
DROPOUT = 1  # its generator's place beside that of the batches, which is 0


@dataclass(frozen=True)
class Settings:
    """What a training does. The defaults are nanoGPT's CPU run on the works of Shakespeare, see its README."""

    text: tuple[str, ...] = ()
    data: str | None = None  # pairs of prompt and completion, in place of text
    validation: str | None = None  # a file of the same kind; None: the last tenth
    init: str | None = None  # the model to begin with; None: a random one
    tokenizer: str = "char"
    n_layer: int = 4
    n_head: int = 4
    n_embd: int = 128
    initializer_range: float = 0.02  # GPT-2's, for a width of 768; a narrow model learns sooner with 1/sqrt(n_embd)
    block_size: int = 64
    batch_size: int = 12
    steps: int = 2000
    lr: float = 1e-3
    min_lr: float = 1e-4
    warmup: int = 100
    beta2: float = 0.99
    weight_decay: float = 0.1
    grad_clip: float = 1.0
    grad_accum: int = 1
    dropout: float = 0.0
    eval_every: int = 250
    eval_batches: int = 20
    sample_tokens: int = 0
    seed: int = 0
    threads: int | None = None
    ops: str = "jit"

    def __post_init__(self):
        if bool(self.text) == bool(self.data):
            raise ValueError("a training needs either text or data, pairs of prompt and completion")
        positive = ("n_layer", "n_head", "n_embd", "block_size", "batch_size", "steps", "grad_accum", "eval_every")
        for name in (*positive, "eval_batches", "lr", "grad_clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        for name in ("min_lr", "warmup", "weight_decay", "sample_tokens", "seed"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be below 0, not {getattr(self, name)}")
        for name in ("dropout", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be from 0 to below 1, not {getattr(self, name)}")
        if self.min_lr > self.lr:
            raise ValueError(f"min_lr, where the learning rate ends, is {self.min_lr}: above lr, {self.lr}")

    @classmethod
    def from_preset(cls, preset=None, **options):
        """The settings of a preset with some of them replaced. Without a name: finetune with init, else char.

        What options leave open follows them: of a given lr the end is a tenth, of given steps the warm-up a tenth at
        most, and a block is no longer than the context of the model to begin with.
        """
        values = PRESETS[preset or ("finetune" if options.get("init") else "char")] | options
        if "lr" in options:
            values["min_lr"] = options.get("min_lr", values["lr"] / 10)
        settings = cls(**values)
        if "warmup" not in options:
            settings = replace(settings, warmup=min(settings.warmup, settings.steps // 10))
        if "block_size" not in options and settings.init:
            n_positions = GPT2Config.from_pretrained(settings.init).n_positions
            settings = replace(settings, block_size=min(settings.block_size, n_positions))
        return settings


PRESETS = {
    "nano": {"n_layer": 2, "n_embd": 64, "block_size": 32, "batch_size": 16, "steps": 1000, "lr": 2e-3},
    "char": {},
    "gpt2": {
        "tokenizer": "gpt2", "n_layer": 12, "n_head": 12, "n_embd": 768, "block_size": 1024, "batch_size": 4,
        "grad_accum": 8, "lr": 6e-4, "min_lr": 6e-5, "warmup": 200, "beta2": 0.95,
    },
    # A trained model is near its best: small steps, and few.
    "finetune": {
        "block_size": 128, "batch_size": 4, "steps": 200, "lr": 5e-5, "min_lr": 5e-6, "warmup": 10, "eval_every": 50,
        "beta2": 0.95,
    },
}  # fmt: skip


class NotFiniteError(ValueError):
    """The loss or its gradient became infinite or NaN."""


class Training:
    """A training under way: `start` or `resume` one, then `run` it."""

    def __init__(self, folder, settings, model, tokenizer):
        self.folder, self.settings, self.model, self.tokenizer = Path(folder), settings, model, tokenizer
        betas = (0.9, settings.beta2)
        check_fit(tokenizer, model.config)
        self.optimizer = AdamW(model.params, settings.lr, betas, weight_decay=settings.weight_decay, ops=model.ops)
        self.grads = zeros_like(model.params)
        self.batches, self.validation = _batches(self.folder, settings, model, tokenizer)
        self.step, self.best = 0, math.inf
        self.stop_asked = threading.Event()

    @classmethod
    def start(cls, folder, settings):
        """A new training in a folder that has none. Raises ValueError, OSError, weights_loader.CheckpointError."""
        folder = Path(folder)
        if (folder / SETTINGS).exists():
            raise ValueError(f"{folder} has a training already: resume it, or choose another folder")
        # Of a training that was killed as it started, the data are there before a model is.
        own = any((folder / name).exists() for name in DATA) and not _is_same(folder, settings.init)
        if (folder / "config.json").exists() and not own:
            raise ValueError(f"{folder} has a model, which training would overwrite: choose another folder")
        folder.mkdir(parents=True, exist_ok=True)
        set_threads(settings.threads)
        settings = replace(settings, threads=get_threads())
        model, tokenizer = _initial(settings)
        if settings.text:
            write_tokens(settings.text, tokenizer, end_of_text(model.config, tokenizer), folder / "tokens.bin")
            if settings.validation:
                write_tokens([settings.validation], tokenizer, None, folder / "validation.bin")
        else:
            _copy(settings.data, folder / "data.jsonl")
            if settings.validation:
                _copy(settings.validation, folder / "validation.jsonl")
        training = cls(folder, settings, model, tokenizer)
        for place in (folder, folder / "last"):
            tokenizer.save_pretrained(place)
        (folder / "log.jsonl").unlink(missing_ok=True)
        checkpoint.save_best(folder, model, 0, math.inf)
        checkpoint.save_last(folder, model, training.optimizer, 0, math.inf)
        text = json.dumps(asdict(settings), indent=2) + "\n"
        write_file(folder / SETTINGS, lambda path: path.write_text(text, encoding="utf-8"))
        return training

    @classmethod
    def resume(cls, folder):
        """The training of a folder, as it was when it was last saved.

        Raises ValueError, OSError, weights_loader.CheckpointError.
        """
        from minigpt.tokenizer import Tokenizer

        folder = Path(folder)
        if not (folder / SETTINGS).exists():
            raise ValueError(f"{folder} has no training to resume: there is no {SETTINGS}")
        try:
            settings = Settings(**json.loads((folder / SETTINGS).read_text(encoding="utf-8")))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{folder / SETTINGS} is not what a training wrote: {error}") from error
        try:
            set_threads(settings.threads)
        except ValueError as error:
            other = f'with another "threads" in {folder / SETTINGS} it goes on, but not bit for bit'
            raise ValueError(f"this training used {settings.threads} threads, but {error}; {other}") from error
        model = GPT2.from_pretrained(str(folder / "last"), ops=settings.ops, dtype="float32")
        training = cls(folder, settings, model, Tokenizer.from_pretrained(str(folder / "last")))
        training.step, training.best = checkpoint.load_last(folder, model, training.optimizer)
        checkpoint.remove_partial_files(folder)
        _keep_lines(folder / "log.jsonl", training.step)
        return training

    def run(self, report=lambda line: None):
        """Train to the last step; report(line) is called with every line of the log, a dict.

        Ctrl-C ends it after the step under way, which is saved; a second one at once. Raises NotFiniteError,
        KeyboardInterrupt, OSError.
        """
        # What is not finite is looked for where it matters: NumPy need not warn of each number.
        with self._ctrl_c_waits(), np.errstate(all="ignore"), open(self.folder / "log.jsonl", "a") as log:
            try:
                self._run(log, report)
            except OSError as error:
                saved, _ = checkpoint.saved_step(self.folder)
                raise OSError(f"stopped at step {self.step}: {error}; --resume goes on from step {saved}") from error

    def _run(self, log, report):
        s = self.settings
        while self.step < s.steps:
            line = self.train_step()
            if self.step % s.eval_every == 0 or self.step == s.steps:
                line["validation_loss"] = self.evaluate()
            log.write(json.dumps(line) + "\n")
            log.flush()  # before the checkpoint that counts on it
            if "validation_loss" in line or self.stop_asked.is_set():
                self.save()
            report(line)
            if self.stop_asked.is_set() and self.step < s.steps:
                raise KeyboardInterrupt

    def save(self):
        """Make this step the one to resume from. Raises NotFiniteError, OSError."""
        for arrays in (flatten(self.model.params), self.optimizer.m, self.optimizer.v):
            for name, array in arrays.items():
                if not np.isfinite(array).all():
                    raise self._not_finite(self.step, f"{name} or its AdamW is not finite")
        checkpoint.save_last(self.folder, self.model, self.optimizer, self.step, self.best)

    def _not_finite(self, step, what):
        last, (saved, _) = self.folder / "last", checkpoint.saved_step(self.folder)
        return NotFiniteError(
            f"step {step}: {what}; stopped. {last} has step {saved}, before it; a smaller lr may help: --init {last} "
            "trains it anew"
        )

    def train_step(self):
        """One step: batch, loss and gradients, clipping, AdamW. Gives the line of the log."""
        s, began, loss = self.settings, time.perf_counter(), 0.0
        for gradient in flatten(self.grads).values():
            gradient.fill(0)
        inputs, targets = self.batches.draw(self.step)
        counted = (targets != IGNORED).sum()
        parts = zip(np.split(inputs, s.grad_accum), np.split(targets, s.grad_accum), strict=True)
        for part, (some_inputs, some_targets) in enumerate(parts):
            share = float((some_targets != IGNORED).sum() / counted)  # of the targets that count
            rng = np.random.default_rng([s.seed, DROPOUT, self.step, part])
            mean, _ = loss_and_grads(self.model, some_inputs, some_targets, self.grads, s.dropout, rng, scale=share)
            loss += share * mean
        norm = clip_by_global_norm(self.grads, s.grad_clip)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise self._not_finite(self.step + 1, f"the loss is {loss:.4g}, the gradient's norm {norm:.4g}")
        lr = learning_rate(self.step, s.steps, s.lr, s.min_lr, s.warmup)
        self.optimizer.step(self.grads, lr)
        self.step += 1
        speed = round(inputs.size / (time.perf_counter() - began))
        return {"step": self.step, "loss": loss, "lr": lr, "grad_norm": norm, "tokens_per_second": speed}

    def evaluate(self):
        """The mean loss on the validation text; if it is the lowest so far, the model is saved as the best."""
        loss = mean_loss(self.model, self.validation.spread(self.settings.eval_batches))
        if not math.isfinite(loss):
            raise self._not_finite(self.step, f"the validation loss is {loss}")
        if loss < self.best:
            self.best = loss
            checkpoint.save_best(self.folder, self.model, self.step, loss)
        return loss

    def sample(self):
        """A text by the model as it is, always from the same seed."""
        beginning, newline = beginning_of_text(self.model.config), self.tokenizer.token_id("\n")
        first = next((i for i in (beginning, newline) if i is not None), 0)
        most = min(self.settings.sample_tokens, self.model.config.n_positions - 1)
        ids = self.model.generate([first], max_new_tokens=most, do_sample=True, top_k=50, seed=self.settings.seed)
        return self.tokenizer.decode(ids[0], skip_special_tokens=True)

    @contextlib.contextmanager
    def _ctrl_c_waits(self):
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def ask(*_):
            self.stop_asked.set()
            signal.signal(signal.SIGINT, signal.default_int_handler)

        before = signal.signal(signal.SIGINT, ask)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


def _initial(settings):
    """The model and the tokenizer to begin with."""
    from minigpt.tokenizer import Tokenizer

    if settings.init:
        model = GPT2.from_pretrained(settings.init, ops=settings.ops, dtype="float32", threads=settings.threads)
        tokenizer = Tokenizer.from_pretrained(settings.init)
        if settings.block_size > model.config.n_positions:
            raise ValueError(f"block size {settings.block_size}: the model has {model.config.n_positions} positions")
        end = end_of_text(model.config, tokenizer)
        if settings.data and end is not None and end not in model.config.eos_token_ids:
            # It learns to end with this token: whoever generates is to stop there.
            model.config = replace(model.config, eos_token_id=end)
        return model, tokenizer
    tokenizer = _new_tokenizer(settings)
    end = tokenizer.token_id("<|endoftext|>")
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=settings.block_size,
        n_layer=settings.n_layer,
        n_head=settings.n_head,
        n_embd=settings.n_embd,
        initializer_range=settings.initializer_range,
        bos_token_id=end,
        eos_token_id=end,
    )
    return GPT2.random(config, settings.seed, ops=settings.ops), tokenizer


def _new_tokenizer(settings):
    from minigpt.bpe import BPE, train_bpe
    from minigpt.tokenizer import Tokenizer

    kind, _, size = settings.tokenizer.partition(":")
    if kind == "gpt2":
        return Tokenizer.from_pretrained("gpt2")
    if kind not in ("char", "bpe") or (kind == "bpe") != size.isdecimal():
        raise ValueError(f"tokenizer must be char, gpt2 or bpe:SIZE, not {settings.tokenizer!r}")
    if not settings.text:
        raise ValueError("pairs need a model to begin with (init), or the tokenizer gpt2")
    if kind == "char":
        characters = set()
        for path in settings.text:
            for piece in text_pieces(path):
                characters.update(piece)
        if not characters:
            raise ValueError(f"{', '.join(settings.text)}: there is no text")
        return Tokenizer.of_characters(characters)
    with tempfile.TemporaryDirectory() as folder:
        BPE(*train_bpe([Path(path) for path in settings.text], int(size))).save_pretrained(folder)
        return Tokenizer.from_pretrained(folder)


def _batches(folder, settings, model, tokenizer):
    """What to train on and what to measure on."""
    s = settings
    step_size = s.batch_size * s.grad_accum
    if s.data:
        end, beginning = end_of_text(model.config, tokenizer), beginning_of_text(model.config)

        def pairs_of(copy, original):
            return read_pairs(folder / copy, tokenizer, end, s.block_size, beginning, called=original)

        pairs = pairs_of("data.jsonl", s.data)
        if s.validation:
            held_out = pairs_of("validation.jsonl", s.validation)
        else:
            n = max(1, len(pairs) // 10)
            pairs, held_out = pairs[:-n], pairs[-n:]
        return PairBatches(pairs, step_size, s.seed), PairBatches(held_out, s.batch_size, s.seed)
    tokens = read_tokens(folder / "tokens.bin", tokenizer)
    if s.validation:
        held_out = read_tokens(folder / "validation.bin", tokenizer)
    else:
        n = int(len(tokens) * 0.9)
        tokens, held_out = tokens[:n], tokens[n:]
    end = end_of_text(model.config, tokenizer)
    return (
        TextBatches(tokens, step_size, s.block_size, s.seed, "the text to train on", end),
        TextBatches(held_out, s.batch_size, s.block_size, s.seed, "the text to measure on", end),
    )


def _is_same(folder, name):
    return name is not None and Path(name).is_dir() and folder.resolve() == Path(name).resolve()


def _copy(source, target):
    """Training goes on with the pairs as they are now, wherever and whenever it is resumed."""
    write_file(target, lambda partial: shutil.copyfile(source, partial))


def _keep_lines(path, step):
    """Drop what the log says of steps after the one that was saved."""
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").splitlines()[:step]
    write_file(path, lambda partial: partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8"))
