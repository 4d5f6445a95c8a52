"""safetensors files as NumPy arrays: what a file holds, and one tensor of it at a time."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

# NumPy has no bfloat16. Its 16 bits are the upper half of a float32; this dtype says that a number is such a half.
BFLOAT16 = np.dtype([("bfloat16", "<u2")])
# The stored types that hold weights; I8 only together with its scale.
STORED_DTYPES = {"F32": "<f4", "F16": "<f2", "BF16": BFLOAT16, "F64": "<f8", "I8": "<i1"}


class CheckpointError(ValueError):
    """A checkpoint that cannot be used: the sentence says what was found, what was expected and what to do."""


@dataclass(frozen=True)
class StoredTensor:
    """Where one tensor lies."""

    name: str
    path: Path
    dtype: str
    shape: tuple[int, ...]
    start: int  # its first byte in the file
    scale: "StoredTensor | None" = None  # integers times their scale, [m, 1] or [1, n], are the weights [m, n]

    def read(self, dtype="float32"):
        """The weights as a fresh, aligned, writable array of float32 or float64."""
        array = self.read_stored()
        if array.dtype == BFLOAT16:
            array = array.view("<u2").astype("<u4")
            array <<= 16
            array = array.view("<f4")
        array = array.astype(dtype, copy=False)
        return array if self.scale is None else array * self.scale.read(dtype)

    def read_stored(self):
        """The numbers as they are stored; bfloat16 as BFLOAT16."""
        if self.dtype not in STORED_DTYPES:
            raise CheckpointError(
                f"{self.path}: tensor {self.name!r} has dtype {self.dtype}; "
                f"dtypes that can be read: {', '.join(STORED_DTYPES)}. Convert the checkpoint to one of them"
            )
        count = math.prod(self.shape)
        array = np.fromfile(self.path, STORED_DTYPES[self.dtype], count, offset=self.start)
        if array.size != count:
            raise CheckpointError(f"{self.path}: the file changed while it was read")
        return array.reshape(self.shape)


def read_metadata(path):
    """The texts in the header of a safetensors file. Raises CheckpointError."""
    stored_tensors(path)
    with safe_open(path, framework="numpy") as file:
        return file.metadata() or {}


def stored_tensors(path):
    """What a safetensors file holds: {name: StoredTensor}. Reads the header only.

    Raises CheckpointError for a file that is damaged, cut off, or does not hold what its header says.
    """
    path = Path(path)
    try:
        with safe_open(path, framework="numpy"):  # checks dtypes, shapes and offsets against the file's length
            pass
    except SafetensorError as error:
        raise CheckpointError(
            f"{path} is no intact safetensors file ({error}); it may be cut off or damaged: fetch or copy it again"
        ) from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    # The package does not tell where a tensor lies. We ask, to read each straight into its own array: its memory map
    # would keep every page it touched, a second copy of the model, and old files are not aligned in it.
    with open(path, "rb") as file:
        header_size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(header_size))
    header.pop("__metadata__", None)
    data = 8 + header_size
    return {
        name: StoredTensor(name, path, entry["dtype"], tuple(entry["shape"]), data + entry["data_offsets"][0])
        for name, entry in header.items()
    }
