"""The parameter tree of a GPT-2, under the names of the official files."""

import math

import numpy as np

from minigpt.checks import is_one_of, require
from minigpt.ops.packed import BFloat16Matrix, Int4Matrix, Int8Matrix, PackedMatrix, transposed_copy

DTYPES = ("float32", "float64", "bfloat16")
QUANTIZED = ("int8", "int4")
ACTIVATIONS = ("bfloat16", "int8")
PACKED_FORMATS = {"bfloat16": BFloat16Matrix, "int8": Int8Matrix, "int4": Int4Matrix}
STORED_FORMATS = {"BF16": "bfloat16", "I8": "int8", "U8": "int4"}  # by the dtype in the file; others become float32


def random_params(config, seed=0, dtype="float32"):
    """Return a parameter tree as it is before training (Radford et al. 2019, section 2.3).

    Matrices and embeddings are drawn from N(0, initializer_range^2), biases are 0 and layer norms the identity. The two
    projections of each block that add to the residual stream are scaled by 1/sqrt(2 n_layer), so that the stream's
    variance does not grow with depth. The same seed gives the same values in every dtype, except bfloat16's rounding.
    """
    rng = np.random.default_rng(seed)
    arrays = {}
    for name, shape in config.shapes().items():
        if name.endswith("bias"):
            array = np.zeros(shape, np.float32)
        elif len(shape) == 1:
            array = np.ones(shape, np.float32)
        else:
            std = config.initializer_range
            if name.endswith("c_proj.weight"):
                std /= math.sqrt(2 * config.n_layer)
            array = np.float32(std) * rng.standard_normal(shape, np.float32)
        arrays[name] = _in_format(name, array, dtype)
    return nest(arrays)


def read_params(folder, config, dtype=None, quantize=None, activations=None):
    """Return the parameter tree of a checkpoint in a folder, see GPT2.from_pretrained.

    Raises weights_loader.CheckpointError.
    """
    import weights_loader

    def convert(tensor):
        stored = STORED_FORMATS.get(tensor.dtype, "float32")
        form = quantize or dtype or stored
        if form == "float32":
            return tensor.map()
        if form == stored and form in QUANTIZED and _has_scales_of_outputs(tensor):
            return _as_stored(tensor)
        return _in_format(tensor.name, tensor.read("float64" if form == "float64" else "float32"), form)

    arrays = weights_loader.read_parameters(folder, config.shapes(), convert)
    if activations:
        matrices = [array for array in arrays.values() if isinstance(array, PACKED_FORMATS[activations])]
        if not matrices:
            raise ValueError(f"activations in {activations} need weights in {activations}: choose these, too")
        for matrix in matrices:
            matrix.rounds_inputs = True
    return nest(arrays)


def write_params(folder, config, params, metadata=None, half=False):
    """Write a checkpoint, see GPT2.save_pretrained; packed matrices stay packed. Raises ValueError."""
    import weights_loader

    arrays = {}
    for name, array in flatten(params).items():
        if isinstance(array, Int8Matrix):
            scales = array.scales[:, None]
            arrays[f"{name}_scale"] = scales.T if array.is_transposed else scales
        if isinstance(array, Int4Matrix):
            scales = array.scales.stored.view(weights_loader.BFLOAT16)
            arrays[f"{name}_scale"] = scales.T if array.is_transposed else scales
        if isinstance(array, PackedMatrix):
            array = array.stored.T if array.is_transposed else array.stored
            array = array.view(weights_loader.BFLOAT16) if array.dtype == np.uint16 else array
        elif half:
            if abs(array).max() > np.finfo(np.float16).max:
                raise ValueError(f"{name} has numbers beyond {np.finfo(np.float16).max}, the largest in float16")
            array = array.astype(np.float16)
        arrays[name] = array
    weights_loader.write_checkpoint(folder, config.to_dict(), arrays, metadata)


def checked_format(dtype, quantize=None, activations=None):
    """Return dtype, by its name or None, and quantize, if the three can be combined. Raises ValueError."""
    name = dtype if dtype is None else str(getattr(dtype, "__name__", dtype))  # "float32", np.float32, np.dtype(...)
    require(name in (None, *DTYPES), "dtype", name, f"one of {', '.join(DTYPES)}")
    require(is_one_of(quantize, (None, *QUANTIZED)), "quantize", quantize, f"None, {' or '.join(QUANTIZED)}")
    if quantize and name not in (None, "float32"):  # integers are computed in float32
        raise ValueError(f"quantize and dtype say different things: choose {quantize} or {name}")
    is_valid = is_one_of(activations, (None, *ACTIVATIONS))
    require(is_valid, "activations", activations, f"None, {' or '.join(ACTIVATIONS)}")
    return name, quantize


def format_of(array):
    """Return the name of the format that the numbers of an array are kept in: one of DTYPES or QUANTIZED."""
    return next((name for name, kind in PACKED_FORMATS.items() if isinstance(array, kind)), array.dtype.name)


def _has_scales_of_outputs(tensor):
    """Return whether each output of a tensor of integers has scales of its own, as the packed matrices need them."""
    axis = 0 if _is_embedding(tensor.name) else 1
    return tensor.scale.shape[axis] == tensor.shape[axis]


def _as_stored(tensor):
    """Return the packed matrix of a tensor of integers, without unpacking it."""
    integers, scales = tensor.read_stored(), tensor.scale.read()
    turned = not _is_embedding(tensor.name)
    if turned:
        integers, scales = transposed_copy(integers), scales.T
    if tensor.dtype == "I8":
        matrix = Int8Matrix.of_rows(integers, scales.ravel())
    else:
        matrix = Int4Matrix.of_rows(integers, scales, tensor.shape[0 if turned else 1])
    return matrix.T if turned else matrix


def _in_format(name, array, form):
    """Return an array of the official shape as the model keeps it: float32, float64, or in one of PACKED_FORMATS.

    Vectors and positions are small and are never packed. A packed matrix has the weights of an output together.
    """
    if form not in PACKED_FORMATS or array.ndim < 2 or name == "wpe.weight":
        return array.astype("float64" if form == "float64" else "float32", copy=False)
    pack = PACKED_FORMATS[form].pack
    return pack(array) if _is_embedding(name) else pack(transposed_copy(array)).T


def _is_embedding(name):
    return name in ("wte.weight", "lm_head.weight")  # [V, D]: one row per token. All other matrices are [in, out]


def nest(arrays):
    """Turn {"h.0.ln_1.weight": a, ...} into the tree {"h": [{"ln_1": {"weight": a}}], ...}."""
    tree = {}
    for name, array in arrays.items():
        *path, last = name.split(".")
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[last] = array
    blocks = tree["h"]
    tree["h"] = [blocks[str(i)] for i in range(len(blocks))]
    return tree


def flatten(tree, prefix=""):
    """Return {"h.0.ln_1.weight": a, ...}: the reverse of nest."""
    if not isinstance(tree, dict | list):
        return {prefix: tree}
    children = tree.items() if isinstance(tree, dict) else enumerate(tree)
    arrays = {}
    for name, child in children:
        arrays |= flatten(child, f"{prefix}.{name}" if prefix else str(name))
    return arrays


def zeros_like(tree):
    """Return a tree like this one, nested dicts and lists, of zeros; each array keeps its layout in memory."""
    if isinstance(tree, dict):
        return {name: zeros_like(child) for name, child in tree.items()}
    if isinstance(tree, list):
        return [zeros_like(child) for child in tree]
    # np.zeros_like would write the zeros; np.zeros gets memory that the system has zeroed already.
    return np.zeros(tree.shape, tree.dtype, order="F" if tree.flags.fnc else "C")
