"""A training in its folder, so that it can be killed at any moment and resumed.

    FOLDER/config.json, tokenizer.json, model.safetensors    the best model so far: a checkpoint like any other
    FOLDER/training.json                                     the settings; written last: from then on it can be resumed
    FOLDER/tokens.bin, validation.bin                        the texts as ids, or
    FOLDER/data.jsonl, validation.jsonl                      copies of the pairs (stored_data.py)
    FOLDER/training.lock                                     locked while a process trains here
    FOLDER/log.jsonl                                         one line per step
    FOLDER/last/                                             the model as it was last saved
    FOLDER/last/optimizer-STEP.safetensors                   the state of its AdamW

Every file appears by rename, and the header of last/model.safetensors says which step it belongs to: until it is
renamed, the old pair of model and optimizer is valid, from then on the new one.
"""

import contextlib
import json
from dataclasses import asdict
from pathlib import Path

from filelock import FileLock, Timeout

from minigpt.files import write_file
from minigpt.training.settings import Settings
from weights_loader import CheckpointError, read_metadata, stored_tensors, write_tensors

SETTINGS_FILE, LOCK_FILE = "training.json", "training.lock"


@contextlib.contextmanager
def locked(folder):
    """Let no other process train in this folder meanwhile. Raises ValueError if one does.

    The system holds the lock, so that of a killed training is gone with it.
    """
    try:
        lock = FileLock(Path(folder) / LOCK_FILE).acquire(timeout=0)
    except Timeout as error:
        raise ValueError(f"another training is running in {folder}: wait for it, or stop it") from error
    with lock:
        yield


def has_training(folder):
    """Return whether the folder has a training that can be resumed."""
    return (Path(folder) / SETTINGS_FILE).exists()


def save_settings(folder, settings):
    """Write the settings. From now on the training can be resumed."""
    text = json.dumps(asdict(settings), indent=2) + "\n"
    write_file(Path(folder) / SETTINGS_FILE, lambda path: path.write_text(text, encoding="utf-8"))


def load_settings(folder):
    """Return the settings of the training in the folder. Raises ValueError."""
    if not has_training(folder):
        raise ValueError(f"{folder} has no training to resume: there is no {SETTINGS_FILE}")
    path = Path(folder) / SETTINGS_FILE
    try:
        return Settings(**json.loads(path.read_text(encoding="utf-8")))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} is not what a training wrote: {error}") from error


def save_best(folder, model, step, loss):
    """Write the model as the best one so far."""
    model.save_pretrained(folder, {"step": str(step), "validation_loss": repr(loss)})


def save_last(folder, model, optimizer, step, best):
    """Write the model and its optimizer as the last ones; best: the lowest validation loss so far."""
    last = Path(folder) / "last"
    moments = {f"m.{name}": array for name, array in optimizer.m.items()}
    moments |= {f"v.{name}": array for name, array in optimizer.v.items()}
    write_tensors(_optimizer_file(last, step), moments)
    model.save_pretrained(last, {"step": str(step), "best": repr(best)})
    for other in last.glob("optimizer-*.safetensors"):
        if other != _optimizer_file(last, step):
            other.unlink()


def load_last(folder, model, optimizer):
    """Load the optimizer's state from FOLDER/last. Return the step and the best loss.

    Raises CheckpointError.
    """
    last = Path(folder) / "last"
    step, best = saved_step(folder)
    stored = stored_tensors(_optimizer_file(last, step))
    for prefix, moments in (("m", optimizer.m), ("v", optimizer.v)):
        for name, array in moments.items():
            tensor = stored.get(f"{prefix}.{name}")
            if tensor is None or tensor.shape != array.shape:
                raise CheckpointError(f"{_optimizer_file(last, step)} does not fit the model: {prefix}.{name}")
            array[...] = tensor.read()
    optimizer.t = step
    return step, best


def saved_step(folder):
    """Return the step to resume from, and the lowest validation loss so far. Raises CheckpointError."""
    path = Path(folder) / "last" / "model.safetensors"
    metadata = read_metadata(path)
    if "step" not in metadata or "best" not in metadata:
        raise CheckpointError(f"{path} does not say which step it belongs to")
    return int(metadata["step"]), float(metadata["best"])


def truncate_log(folder, step):
    """Drop the log's lines after the step that was saved."""
    path = Path(folder) / "log.jsonl"
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").splitlines()[:step]
    write_file(path, lambda partial: partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8"))


def remove_partial_files(folder):
    """Remove the partial files of a killed training: they can be as large as the model."""
    for part in (Path(folder), Path(folder) / "last"):
        for path in part.glob(".*.partial"):
            path.unlink()


def _optimizer_file(last, step):
    return last / f"optimizer-{step}.safetensors"
