"""The files of a GPT-2 checkpoint: their names, the tensors in them, and errors that say what is wrong with them."""

import json
import re
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from weights_loader.files import write_file
from weights_loader.reading import CheckpointError, checkpoint_errors, read_json
from weights_loader.tensors import StoredTensor, stored_tensors, write_tensors

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
# In model.safetensors, transformers would take the integers for weights.
INT4_WEIGHTS, INT8_WEIGHTS = "model.int4.safetensors", "model.int8.safetensors"
INTEGERS = {"I8": (8, "row or column"), "U8": (4, "32 of them")}  # bits, and which of them have a scale
INDEX = "model.safetensors.index.json"
# What frameworks put before the names: transformers, torch.compile, DistributedDataParallel.
PREFIXES = re.compile(r"(transformer\.|_orig_mod\.|module\.)*")
MASK_BUFFER = re.compile(r"h\.\d+\.attn\.(masked_)?bias")  # old files store the causal masks, too
TOKENIZER_FILES = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("vocab.txt",))  # in order of preference
TOKENIZER_EXTRAS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")


def weight_files(names, source):
    """Return the names of the files that a model needs, out of all file names of a folder or repository.

    source: what to call that folder or repository in an error. Raises CheckpointError if a file is missing, naming
    what was found instead.
    """
    names = set(names)
    _refuse_adapters(names, source)
    whole = [name for name in (WEIGHTS, INT8_WEIGHTS, INT4_WEIGHTS) if name in names]
    if whole:
        weights = whole[:1]
    elif INDEX in names:
        weights = [INDEX, *_shards(names, source)]
    else:
        pickles = sorted(n for n in names if n.endswith((".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack")))
        if pickles:
            raise CheckpointError(
                f"{source} has weights only as {pickles[0]}, which minigpt does not open (a pickle can run any code). "
                "Where transformers is installed, convert it: "
                "AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(NEW_FOLDER)"
            )
        raise CheckpointError(f"{source} has no weights: expected {WEIGHTS}, or {INDEX} and its shards")
    return [*config_files(names, source), *weights]


def config_files(names, source):
    """Return the name of the configuration file, see weight_files. Raises CheckpointError."""
    _refuse_adapters(names, source)
    if CONFIG not in names:
        raise CheckpointError(f"{source} has no {CONFIG}, which says what kind of model the tensors form")
    return [CONFIG]


def _refuse_adapters(names, source):
    if "adapter_config.json" in names and not {CONFIG, WEIGHTS, INDEX} & set(names):
        raise CheckpointError(
            f"{source} has LoRA adapters, which change another model, and no model. Where peft is installed, apply "
            "them: AutoPeftModelForCausalLM.from_pretrained(FOLDER).merge_and_unload().save_pretrained(NEW_FOLDER)"
        )


def tokenizer_files(names, source):
    """Return the names of the files that a tokenizer needs, see weight_files. Raises CheckpointError."""
    for files in TOKENIZER_FILES:
        if set(files) <= set(names):
            # The extras come first, because a download that was cut short must not look complete without them.
            return [*(name for name in TOKENIZER_EXTRAS if name in names), *files]
    raise CheckpointError(
        f"{source} has no tokenizer: expected tokenizer.json, or vocab.json and merges.txt, or vocab.txt"
    )


def _shards(names, source):
    """Return the names of the shards: those that the index in a folder names; of a repository, all that may be some."""
    if not isinstance(source, Path):
        return sorted(name for name in names if name.endswith(".safetensors"))
    shards = sorted(set(_weight_map(source).values()))
    missing = [name for name in shards if name not in names]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise CheckpointError(f"{source} has {INDEX}, but not {missing[0]}{more}, which it names")
    return shards


def _weight_map(folder):
    """Return {tensor name: file name} of the index in a folder. Raises CheckpointError."""
    weight_map = read_json(folder / INDEX).get("weight_map")
    is_valid = isinstance(weight_map, dict) and all(
        isinstance(file, str) and Path(file).name == file and file.endswith(".safetensors")
        for file in weight_map.values()
    )
    if not is_valid or not weight_map:
        raise CheckpointError(f"{folder / INDEX} must have a weight_map of tensor names to shards in the same folder")
    return weight_map


def read_config(folder: str | Path) -> dict:
    """Return config.json as a dict. Raises CheckpointError."""
    return read_json(Path(folder) / CONFIG)


def read_parameters(
    folder: str | Path, shapes: dict[str, tuple[int, ...]], convert: Callable[[StoredTensor], Any] = StoredTensor.read
) -> dict[str, Any]:
    """Return the parameters of the checkpoint in a folder: {official name: array}, exactly those in `shapes`.

    Names come without the prefixes of frameworks, matrices as [in, out], whichever way the file has them. A file
    without a single bias, as nanoGPT's with bias=False, gets zeros and a warning. lm_head.weight is added if the file
    has a head that differs from wte. convert(tensor) turns each StoredTensor, under its official name, into the array
    to keep. Two are converted at a time, so memory peaks at the parameters and two tensors. Raises CheckpointError
    before anything is read if the files do not hold these names and shapes.
    """
    folder = Path(folder)
    with checkpoint_errors(str(folder)):
        return _read_parameters(folder, shapes, convert)


def _read_parameters(folder, shapes, convert):
    files = weight_files((path.name for path in folder.iterdir()), folder)
    stored = _stored_in_shards(folder) if INDEX in files else stored_tensors(folder / files[-1])
    stored = _with_scales(_official_names(stored, folder), shapes, folder)
    head = None if "lm_head.weight" in shapes else stored.pop("lm_head.weight", None)
    if head and "wte.weight" not in stored:  # tied, but saved under the head's name
        stored["wte.weight"] = replace(head, name="wte.weight")
    absent = {} if any(map(_is_bias, stored)) else {name: shape for name, shape in shapes.items() if _is_bias(name)}
    in_file = {name: shape for name, shape in shapes.items() if name not in absent}
    stored = _turned(stored, in_file)
    _require_shapes(stored, in_file, folder)

    wanted = [stored[name] for name in in_file]
    if head:
        if head.shape != shapes["wte.weight"]:
            raise CheckpointError(
                f"{folder}: lm_head.weight has shape {list(head.shape)}, wte.weight {list(shapes['wte.weight'])}"
            )
        if not np.array_equal(head.read(), stored["wte.weight"].read()):
            wanted.append(head)
    pool = ThreadPoolExecutor(2)  # one tensor is converted while the next one is read
    try:
        arrays = dict(zip((tensor.name for tensor in wanted), pool.map(convert, wanted), strict=True))
    finally:
        pool.shutdown(cancel_futures=True)
    if absent:
        warnings.warn(f"{folder} has no biases: all of them are zero", stacklevel=5)
    return arrays | {name: np.zeros(shape, arrays["ln_f.weight"].dtype) for name, shape in absent.items()}


def _turned(stored, shapes):
    """Return the tensors in GPT-2's order [in, out], if they are those of a model with layers of torch.nn.Linear."""
    name = "h.0.attn.c_attn.weight"  # never square
    if name not in stored or stored[name].shape != shapes[name][::-1] or stored[name].dtype in INTEGERS:
        return stored
    return {
        name: replace(tensor, shape=tensor.shape[::-1], is_turned=True)
        if name.startswith("h.") and len(tensor.shape) == 2
        else tensor
        for name, tensor in stored.items()
    }


def _is_bias(name):
    return name.endswith(".bias")


def _stored_in_shards(folder):
    """Return the StoredTensors of all shards by name, as the index assigns them. Raises CheckpointError."""
    weight_map = _weight_map(folder)
    shards = {file: stored_tensors(folder / file) for file in sorted(set(weight_map.values()))}
    for name, file in weight_map.items():
        if name not in shards[file]:
            raise CheckpointError(f"{folder / INDEX} says that {file} has tensor {name!r}, but it does not")
    return {name: shards[file][name] for name, file in weight_map.items()}


def _official_names(stored, folder):
    """Return the tensors by their names without a prefix, and without the causal masks. Raises CheckpointError."""
    tensors = {}
    for name, tensor in stored.items():
        official = PREFIXES.sub("", name, count=1)
        if official in tensors:
            raise CheckpointError(f"{folder} has tensor {official!r} twice, under names with different prefixes")
        if not MASK_BUFFER.fullmatch(official):
            tensors[official] = replace(tensor, name=official)
    return tensors


def _with_scales(stored, shapes, folder):
    """Give each tensor of integers its scales, which the file stores as NAME_scale. Raises CheckpointError."""
    tensors = dict(stored)
    for name, tensor in stored.items():
        if tensor.dtype in INTEGERS:
            bits, per = INTEGERS[tensor.dtype]
            tensors[name] = _with_scale(tensor, tensors.pop(f"{name}_scale", None), shapes.get(name))
            if tensors[name] is None:
                raise CheckpointError(
                    f"{folder}: tensor {name!r} has {bits}-bit integers, but no {name}_scale of one number per {per}"
                )
    return tensors


def _with_scale(tensor, scale, shape):
    """Return a tensor of integers with its scale, and with its shape as weights. Return None if the scale does not fit.

    shape: the required one. 4-bit integers are filled up to a multiple of 64 inputs.
    """
    if scale is None or len(tensor.shape) != 2 or len(scale.shape) != 2:
        return None
    m, n = tensor.shape
    if tensor.dtype == "I8":
        return replace(tensor, scale=scale) if scale.shape in ((1, n), (m, 1)) else None
    axis = {(16 * scale.shape[0], scale.shape[1]): 0, (scale.shape[0], 16 * scale.shape[1]): 1}.get(tensor.shape)
    if axis is None:
        return None
    found = tuple(2 * size if i == axis else size for i, size in enumerate(tensor.shape))
    filled_up = shape and tuple(-(-size // 64) * 64 if i == axis else size for i, size in enumerate(shape))
    return replace(tensor, scale=scale, packed_axis=axis, shape=shape if found == filled_up else found)


def _require_shapes(stored, shapes, folder):
    """Raise CheckpointError unless the stored tensors have exactly the names and shapes of `shapes`."""
    if not any(name in stored for name in ("wte.weight", "wpe.weight", "h.0.ln_1.weight")):
        some = ", ".join(sorted(stored)[:3]) or "none at all"
        raise CheckpointError(f"{folder} is not a GPT-2: there is no wte.weight, no h.0...; its tensors are {some} ...")
    n_found, n_expected = _block_count(stored), _block_count(shapes)
    if n_found != n_expected:
        raise CheckpointError(
            f"{folder}: config.json says n_layer = {n_expected}, but the tensors form {n_found} blocks"
        )
    missing = [name for name in shapes if name not in stored]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise CheckpointError(f"{folder}: tensor {missing[0]!r}{more} is missing; the checkpoint is incomplete")
    extra = sorted(set(stored) - set(shapes))
    if extra:
        more = f" and {len(extra) - 1} more" if len(extra) > 1 else ""
        raise CheckpointError(
            f"{folder}: tensor {extra[0]!r}{more} has no place in a GPT-2; this is another kind of model"
        )
    for name, shape in shapes.items():
        found = stored[name].shape
        if found != shape:
            turned = "; it seems transposed: GPT-2 files store [in, out]" if found == shape[::-1] else ""
            raise CheckpointError(
                f"{folder}: tensor {name!r} has shape {list(found)}, but config.json requires {list(shape)}{turned}"
            )


def _block_count(names):
    return len({name.split(".")[1] for name in names if re.match(r"h\.\d+\.", name)})


def write_checkpoint(
    folder: str | Path, config: dict, arrays: dict[str, np.ndarray], metadata: dict[str, str] | None = None
) -> None:
    """Write a checkpoint, config.json and model.safetensors, in the layout that transformers writes.

    Arrays of dtype BFLOAT16 are written as bfloat16. With unsigned bytes among them, pairs of 4-bit integers, the file
    is model.int4.safetensors; with signed ones alone, model.int8.safetensors. metadata: texts for the file's header.
    Each file appears by rename. Raises OSError.
    """
    folder = Path(folder)
    tensors = {name if name.startswith("lm_head.") else f"transformer.{name}": array for name, array in arrays.items()}
    dtypes = {array.dtype.name for array in arrays.values()}
    written = INT4_WEIGHTS if "uint8" in dtypes else INT8_WEIGHTS if "int8" in dtypes else WEIGHTS
    write_tensors(folder / written, tensors, metadata)
    for other in {WEIGHTS, INT8_WEIGHTS, INT4_WEIGHTS} - {written}:
        (folder / other).unlink(missing_ok=True)
    text = json.dumps(config, indent=2) + "\n"
    write_file(folder / CONFIG, lambda path: path.write_text(text, encoding="utf-8"))
