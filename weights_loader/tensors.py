"""safetensors files as NumPy arrays: list the tensors of a file, read one at a time, write a file."""

import json
import math
import mmap
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, TensorSpec, safe_open, serialize_file

from weights_loader.files import write_file
from weights_loader.reading import CheckpointError, checkpoint_errors, require_file

# NumPy has no bfloat16. Its 16 bits are the upper half of a float32; this dtype marks an array of such halves.
BFLOAT16 = np.dtype([("bfloat16", "<u2")])
# The stored types that weights can have; I8 and U8, two integers of 4 bits, need a scale beside them.
STORED_DTYPES = {"F32": "<f4", "F16": "<f2", "BF16": BFLOAT16, "F64": "<f8", "I8": "<i1", "U8": "<u1"}


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a file: its description and its place. Its numbers are read only on request."""

    name: str
    path: Path
    dtype: str
    shape: tuple[int, ...]
    start: int  # its first byte in the file
    mapped_file: mmap.mmap | None  # copy-on-write; None on Windows
    scale: "StoredTensor | None" = None  # integers times their scale, [m, 1] or [1, n], are the weights [m, n]
    is_turned: bool = False  # the file has the transpose, as torch.nn.Linear and so nanoGPT store it
    packed_axis: int | None = None  # the axis of groups of 32 integers of 4 bits, in 16 bytes, with one scale

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """The shape in the file: that of the weights, or of their transpose; integers of 4 bits have another."""
        if self.packed_axis is None:
            return self.shape[::-1] if self.is_turned else self.shape
        return tuple(16 * size if axis == self.packed_axis else size for axis, size in enumerate(self.scale.shape))

    def read(self, dtype: str = "float32") -> np.ndarray:
        """Return the weights as a fresh, aligned, writable array of float32 or float64. Raises CheckpointError."""
        array = self.read_stored()
        if array.dtype == BFLOAT16:
            array = array.view("<u2").astype("<u4")
            array <<= 16
            array = array.view("<f4")
        if self.packed_axis is not None:
            return self._unpacked(array, self.scale.read(dtype))
        array = array.astype(dtype, copy=False)
        if self.is_turned:
            return np.ascontiguousarray(array.T)
        return array if self.scale is None else array * self.scale.read(dtype)

    def _unpacked(self, pairs, scales):
        """Return weights of 4-bit integers: in 16 bytes the lower halves, then the upper ones; 0 to 15 mean -8 to 7."""
        if self.packed_axis == 0:
            pairs, scales = pairs.T, scales.T
        pairs = pairs.reshape(*scales.shape, 16)
        integers = np.concatenate([pairs & 15, pairs >> 4], axis=2).astype(scales.dtype) - 8
        weights = (integers * scales[:, :, None]).reshape(len(scales), -1)
        m, n = self.shape
        return np.ascontiguousarray((weights.T if self.packed_axis == 0 else weights)[:m, :n])

    def map(self) -> np.ndarray:
        """Return the weights as a writable float32 array, without a copy if the file has them so.

        The array is then a view of the mapped file: its pages are read when they are used, and a page that is written
        to is copied, so that the file never changes. Other dtypes, and numbers that are not aligned, are read. Raises
        CheckpointError.
        """
        is_aligned = self.start % np.dtype(np.float32).alignment == 0
        if self.mapped_file is None or self.dtype != "F32" or not is_aligned or self.is_turned:
            return self.read()
        count = math.prod(self.shape)
        return np.frombuffer(self.mapped_file, STORED_DTYPES["F32"], count, self.start).reshape(self.shape)

    def read_stored(self) -> np.ndarray:
        """Return the numbers as they are stored; bfloat16 as BFLOAT16. Raises CheckpointError."""
        if self.dtype not in STORED_DTYPES:
            raise CheckpointError(
                f"{self.path}: tensor {self.name!r} has dtype {self.dtype}; "
                f"dtypes that can be read: {', '.join(STORED_DTYPES)}. Convert the checkpoint to one of them"
            )
        count = math.prod(self.stored_shape)
        array = np.fromfile(self.path, STORED_DTYPES[self.dtype], count, offset=self.start)
        if array.size != count:
            raise CheckpointError(f"{self.path}: the file changed while it was read")
        return array.reshape(self.stored_shape)


def read_metadata(path: str | Path) -> dict[str, str]:
    """Return the texts in the header of a safetensors file. Raises CheckpointError."""
    stored_tensors(path)
    with checkpoint_errors(f"{path} cannot be read"), safe_open(path, framework="numpy") as file:
        return file.metadata() or {}


def stored_tensors(path: str | Path) -> dict[str, StoredTensor]:
    """Return the tensors of a safetensors file by name. Only the header is read.

    Raises CheckpointError for a file that is damaged, cut off, or does not hold what its header says.
    """
    path = Path(path)
    require_file(path)
    with checkpoint_errors(f"{path} cannot be read"):
        try:
            with safe_open(path, framework="numpy"):  # checks dtypes, shapes and offsets against the file's length
                pass
        except SafetensorError as error:
            raise CheckpointError(
                f"{path} is not an intact safetensors file ({error}); "
                "it may be cut off or damaged: fetch or copy it again"
            ) from error
        return _listed_tensors(path)


def _listed_tensors(path):
    # We read the header ourselves, because the package does not report where a tensor begins. A tensor can then be read
    # straight into its own array, or be a view of the file, which the package's are not.
    with open(path, "rb") as file:
        header_size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(header_size))
        # Windows could not replace a file that is mapped, as saving a trained model into its own folder does.
        mapped = None if sys.platform == "win32" else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    header.pop("__metadata__", None)
    data = 8 + header_size
    return {
        name: StoredTensor(name, path, entry["dtype"], tuple(entry["shape"]), data + entry["data_offsets"][0], mapped)
        for name, entry in header.items()
    }


def write_tensors(path: Path, arrays: dict[str, np.ndarray], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file of named arrays, by rename: the same content gives the same bytes. Raises OSError.

    metadata: texts for its header.
    """
    specs, contiguous = {}, []
    for name, array in arrays.items():
        array = np.ascontiguousarray(array)
        contiguous.append(array)  # keeps it alive until it is written: a TensorSpec holds only the address
        dtype = "bfloat16" if array.dtype == BFLOAT16 else array.dtype.name
        specs[name] = TensorSpec(dtype=dtype, shape=array.shape, data_ptr=array.ctypes.data, data_len=array.nbytes)

    def write(partial):
        serialize_file(specs, partial, {"format": "pt"} | (metadata or {}))
        _sort_metadata(partial)

    write_file(path, write)


def _sort_metadata(path):
    """Give the metadata in a file's header a fixed order: safetensors writes them in an order that varies."""
    with open(path, "r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        if len(text) <= size:  # the numbers begin right after
            file.seek(8)
            file.write(text.ljust(size))
