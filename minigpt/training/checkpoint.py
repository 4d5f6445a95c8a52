"""A training in its folder, so that it can be killed at any moment.

    FOLDER/config.json, tokenizer.json, model.safetensors    the best model so far: a checkpoint like any other
    FOLDER/training.json                                     the settings; written last: now the training can be resumed
    FOLDER/tokens.bin, validation.bin                        the text as ids; of pairs copies:
    FOLDER/data.jsonl, validation.jsonl                      resuming looks at nothing outside the folder
    FOLDER/log.jsonl                                         a line a step
    FOLDER/last/                                             the model as it was last saved, and
    FOLDER/last/optimizer-STEP.safetensors                   its AdamW

Every file appears by rename, and the header of last/model.safetensors says which step it belongs to: until it is
renamed the old pair counts, from then on the new one.
"""

from pathlib import Path

from weights_loader import CheckpointError, read_metadata, stored_tensors, write_tensors


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
    """Give the optimizer its state from the folder that the model was loaded from; returns step and best loss."""
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
    """The step to resume from, and the lowest validation loss until then."""
    path = Path(folder) / "last" / "model.safetensors"
    metadata = read_metadata(path)
    if "step" not in metadata or "best" not in metadata:
        raise CheckpointError(f"{path} does not say which step it belongs to")
    return int(metadata["step"]), float(metadata["best"])


def remove_partial_files(folder):
    """What a killed training was about to write, as large as the model each time."""
    for place in (Path(folder), Path(folder) / "last"):
        for path in place.glob(".*.partial"):
            path.unlink()


def _optimizer_file(last, step):
    return last / f"optimizer-{step}.safetensors"
