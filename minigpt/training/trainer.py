"""Pre-training and fine-tuning: the loop, which can be stopped at any step and resumed.

A training is its settings and its folder (checkpoint.py). Everything random in step s, its batch and its dropout, is
drawn from a generator seeded with the settings' seed and s: a resumed training does what an uninterrupted one does,
bit for bit.
"""

import contextlib
import json
import math
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from minigpt.checks import is_number, require, require_path
from minigpt.gpt2 import GPT2
from minigpt.ops import get_threads, tune_process
from minigpt.params import flatten, zeros_like
from minigpt.tokenizer import Tokenizer
from minigpt.training import checkpoint
from minigpt.training.data import require_matching_vocabulary
from minigpt.training.evaluate import mean_loss
from minigpt.training.gradients import loss_and_grads
from minigpt.training.initial import initial_model
from minigpt.training.loss import IGNORED
from minigpt.training.optimizer import AdamW, clip_by_global_norm
from minigpt.training.schedule import learning_rate
from minigpt.training.settings import Settings
from minigpt.training.stored_data import has_data, open_batches, store_data

__all__ = ["NotFiniteError", "Settings", "Training"]

DROPOUT_STREAM = 1  # second number of the dropout generator's seed; that of the batches is 0


class NotFiniteError(ValueError):
    """The loss or its gradient became infinite or NaN."""


class Training:
    """A training under way: `start` or `resume` one, then `run` it."""

    def __init__(self, folder, settings, model, tokenizer):
        require_matching_vocabulary(tokenizer, model.config)
        self.folder = Path(folder)
        self.settings = settings
        self.model = model
        self.tokenizer = tokenizer
        betas = (0.9, settings.beta2)
        self.optimizer = AdamW(model.params, settings.lr, betas, weight_decay=settings.weight_decay, ops=model.ops)
        self.grads = zeros_like(model.params)
        self.batches, self.validation = open_batches(self.folder, settings, model, tokenizer)
        self.step = 0
        self.best = math.inf
        self.changed = {}
        self.stop_requested = threading.Event()

    @classmethod
    def start(cls, folder: str | Path, settings: Settings) -> "Training":
        """Start a training in a folder that has none. Raises ValueError, OSError, weights_loader.CheckpointError."""
        require_path("folder", folder)
        require(str(folder), "folder", folder, "a folder's name")
        folder = Path(folder)
        for path in filter(None, (*settings.text, settings.data, settings.validation)):
            if Path(path).exists() and not Path(path).is_file():
                raise ValueError(f"{path} is no regular file: write the text to one, as it is read more than once")
        if checkpoint.has_training(folder):
            raise ValueError(f"{folder} has a training already: resume it, or choose another folder")
        # A training killed during its start has stored its data before its model, so the model is its own.
        killed_start = has_data(folder) and not _is_folder(settings.init, folder)
        if (folder / "config.json").exists() and not killed_start:
            raise ValueError(f"{folder} has a model, which training would overwrite: choose another folder")
        folder.mkdir(parents=True, exist_ok=True)
        with checkpoint.locked(folder):
            return cls._start(folder, settings)

    @classmethod
    def _start(cls, folder, settings):
        tune_process(settings.threads, training=True)
        settings = replace(settings, threads=get_threads())
        model, tokenizer = initial_model(settings)
        store_data(folder, settings, model, tokenizer)
        training = cls(folder, settings, model, tokenizer)
        for part in (folder, folder / "last"):
            tokenizer.save_pretrained(part)
        (folder / "log.jsonl").unlink(missing_ok=True)
        checkpoint.save_best(folder, model, 0, math.inf)
        checkpoint.save_last(folder, model, training.optimizer, 0, math.inf)
        checkpoint.save_settings(folder, settings)
        return training

    @classmethod
    def resume(cls, folder: str | Path, *, steps: int | None = None, lr: float | None = None) -> "Training":
        """Return the training of a folder as it was last saved.

        steps: make it as long as this, also a finished one. lr: another highest learning rate, with a tenth of it at
        the end. The schedule is then that of a training with these settings from the beginning; AdamW's state stays.
        The log's next line has "changed", a dict of the old and new values. Raises ValueError, OSError,
        weights_loader.CheckpointError.
        """
        require_path("folder", folder)
        folder = Path(folder)
        before = checkpoint.load_settings(folder)
        changes = {} if steps is None else {"steps": steps}
        changes |= {} if lr is None else {"lr": lr, "min_lr": lr / 10 if is_number(lr) else lr}
        settings = replace(before, **changes)
        with checkpoint.locked(folder):
            training = cls._resume(folder, settings)
            changed = {name: [getattr(before, name), value] for name, value in changes.items()}
            training.changed = {name: values for name, values in changed.items() if values[0] != values[1]}
            if training.changed:
                checkpoint.save_settings(folder, settings)
        return training

    @classmethod
    def _resume(cls, folder, settings):
        try:
            tune_process(settings.threads, training=True)
        except ValueError as error:
            other = f'with another "threads" in {folder / checkpoint.SETTINGS_FILE} it continues, but not bit for bit'
            raise ValueError(f"this training used {settings.threads} threads, but {error}; {other}") from error
        model = GPT2.from_pretrained(str(folder / "last"), ops=settings.ops, dtype="float32")
        training = cls(folder, settings, model, Tokenizer.from_pretrained(str(folder / "last")))
        training.step, training.best = checkpoint.load_last(folder, model, training.optimizer)
        if settings.steps < training.step:
            raise ValueError(f"steps must be at least {training.step}, which are done, not {settings.steps}")
        checkpoint.remove_partial_files(folder)
        checkpoint.truncate_log(folder, training.step)
        return training

    def run(self, report: Callable[[dict], object] = lambda line: None) -> None:
        """Train to the last step. Calls report(line) with every line of the log, a dict.

        Ctrl-C, or a signal to end, stops it after the current step, which is saved; a second one stops it at once.
        Raises NotFiniteError, KeyboardInterrupt, OSError, and ValueError while another process trains in the folder.
        """
        # Each step checks for numbers that are not finite, so NumPy need not warn of them.
        lock = checkpoint.locked(self.folder)
        with lock, self._delayed_signals(), np.errstate(all="ignore"), open(self.folder / "log.jsonl", "a") as log:
            try:
                self._run(log, report)
            except OSError as error:
                saved, _ = checkpoint.saved_step(self.folder)
                raise OSError(f"stopped at step {self.step}: {error}; --resume continues from step {saved}") from error

    def _run(self, log, report):
        s = self.settings
        while self.step < s.steps:
            line = self.train_step()
            if self.step % s.eval_every == 0 or self.step == s.steps:
                line["validation_loss"] = self.evaluate()
            if self.changed:
                line["changed"], self.changed = self.changed, {}
            log.write(json.dumps(line) + "\n")
            log.flush()  # before the checkpoint: to resume, the log must have all lines up to the saved step
            if "validation_loss" in line or self.stop_requested.is_set():
                self.save()
            report(line)
            if self.stop_requested.is_set() and self.step < s.steps:
                raise KeyboardInterrupt

    def train_step(self) -> dict:
        """Do one step: batch, loss and gradients, clipping, AdamW. Return the line of the log, a dict."""
        s, started, loss = self.settings, time.perf_counter(), 0.0
        grads = flatten(self.grads)
        for gradient in grads.values():
            gradient.fill(0)
        inputs, targets = self.batches.draw(self.step)
        n_targets = (targets != IGNORED).sum()
        parts = zip(np.split(inputs, s.grad_accum), np.split(targets, s.grad_accum), strict=True)
        for part, (some_inputs, some_targets) in enumerate(parts):
            share = float((some_targets != IGNORED).sum() / n_targets)
            rng = np.random.default_rng([s.seed, DROPOUT_STREAM, self.step, part])
            mean, _ = loss_and_grads(self.model, some_inputs, some_targets, self.grads, s.dropout, rng, share, s.dtype)
            loss += share * mean
        norm = clip_by_global_norm(grads, s.grad_clip)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise self._not_finite(self.step + 1, f"the loss is {loss:.4g}, the gradient's norm {norm:.4g}")
        lr = learning_rate(self.step, s.steps, s.lr, s.min_lr, s.warmup)
        self.optimizer.step(grads, lr)
        self.step += 1
        speed = round(inputs.size / (time.perf_counter() - started))
        return {"step": self.step, "loss": loss, "lr": lr, "grad_norm": norm, "tokens_per_second": speed}

    def evaluate(self) -> float:
        """Return the mean loss on the validation data. If it is the lowest so far, save the model as the best."""
        loss = mean_loss(self.model, self.validation.spread(self.settings.eval_batches))
        if not math.isfinite(loss):
            raise self._not_finite(self.step, f"the validation loss is {loss}")
        if loss < self.best:
            self.best = loss
            checkpoint.save_best(self.folder, self.model, self.step, loss)
        return loss

    def save(self) -> None:
        """Make this step the one to resume from. Raises NotFiniteError, OSError."""
        for arrays in (flatten(self.model.params), self.optimizer.m, self.optimizer.v):
            for name, array in arrays.items():
                if not np.isfinite(array).all():
                    raise self._not_finite(self.step, f"{name} or its AdamW state is not finite")
        checkpoint.save_last(self.folder, self.model, self.optimizer, self.step, self.best)

    def sample(self) -> str:
        """Return a text by the model as it is, always from the same seed."""
        config = self.model.config
        first = config.first_in_vocabulary(config.beginning_token_id, self.tokenizer.token_id("\n"), 0)
        n_new = min(self.settings.sample_tokens, config.n_positions - 1)
        ids = self.model.generate([first], max_new_tokens=n_new, do_sample=True, top_k=50, seed=self.settings.seed)
        return self.tokenizer.decode(ids[0], skip_special_tokens=True)

    def _not_finite(self, step, what):
        last = self.folder / "last"
        saved, _ = checkpoint.saved_step(self.folder)
        return NotFiniteError(
            f"step {step}: {what}; stopped. {last} has step {saved}, before it; a smaller lr may help: --init {last} "
            "trains it anew"
        )

    @contextlib.contextmanager
    def _delayed_signals(self):
        """Let the first Ctrl-C, SIGTERM or SIGHUP only request a stop. Only the main thread can handle signals."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def request_stop(*_):
            self.stop_requested.set()
            for each, handler in before.items():
                signal.signal(each, handler)

        signals = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
        before = {each: signal.getsignal(each) for each in signals}
        before = {each: handler for each, handler in before.items() if handler not in (signal.SIG_IGN, None)}  # nohup
        for each in before:
            signal.signal(each, request_stop)
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)


def _is_folder(name, folder):
    """Return whether a model's name is this folder."""
    return name is not None and Path(name).is_dir() and folder.resolve() == Path(name).resolve()
