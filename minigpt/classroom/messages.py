"""Messages between the grading process and the worker process.

A message is JSON, preceded by its length. Arrays travel as bytes with their dtype and shape, so nothing is ever
unpickled or evaluated.
"""

import base64
import json
import struct
from dataclasses import dataclass

import numpy as np

from minigpt.exercises.formatting import format_value

MAX_MESSAGE_BYTES = 1_000_000  # results of exercises take a few hundred
MAX_TEXT_CHARS = 500  # longer texts are cut off
DTYPES = {np.dtype(code).str for code in "?bhilqBHILQefdg"}  # booleans, integers, real numbers


def send(pipe, message):
    """Write a message. Raise ValueError if it is too long, before a byte of it is written."""
    content = json.dumps(message).encode()
    if len(content) > MAX_MESSAGE_BYTES:
        raise ValueError(f"a message of {len(content)} bytes")
    content = struct.pack(">I", len(content)) + content
    while content:
        content = content[pipe.write(content) :]


def receive(pipe):
    """Return the next message, or None at the end. Raise ValueError or RecursionError if it is not a message."""
    length = _read_exactly(pipe, 4)
    if length is None:
        return None
    (length,) = struct.unpack(">I", length)
    if length > MAX_MESSAGE_BYTES:
        raise ValueError(f"a message of {length} bytes")
    content = _read_exactly(pipe, length)
    return None if content is None else json.loads(content)


def _read_exactly(pipe, size):
    chunks = []
    while size:
        chunk = pipe.read(size)
        if not chunk:
            return None
        chunks.append(chunk)
        size -= len(chunk)
    return b"".join(chunks)


@dataclass(frozen=True)
class Opaque:
    """A result that cannot be sent, because it is not made of numbers and texts. Its text stands for it."""

    text: str

    def __repr__(self):
        return self.text


def encode(value):
    """Return arguments or a result in a form that JSON can express. Raise ValueError if the value is too large."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, bytes):
        return {"bytes": _base64(value)}
    if isinstance(value, list | tuple):
        return {"list" if isinstance(value, list) else "tuple": [encode(item) for item in value]}
    if isinstance(value, dict):
        return {"dict": [[encode(key), encode(item)] for key, item in value.items()]}
    if isinstance(value, int) and value.bit_length() < 10_000:
        return int(value)
    if isinstance(value, float) and not isinstance(value, np.generic):
        return float(value)
    try:
        array = np.asarray(value)
    except Exception:
        array = np.array(None)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype.str not in DTYPES:
        try:
            return {"other": format_value(value)[:MAX_TEXT_CHARS]}
        except Exception:  # the object's own __repr__ fails
            return {"other": f"a {type(value).__name__}"}
    if array.nbytes > MAX_MESSAGE_BYTES:
        raise ValueError(f"{array.nbytes} bytes")
    kind = "number" if isinstance(value, np.generic) else "array"
    return {kind: [array.dtype.str, list(array.shape), _base64(array.tobytes())]}


def _base64(content):
    return base64.b64encode(content).decode()


def decode(message):
    """Return the value that was encoded. Raise some Exception if `encode` cannot have made the message."""
    if message is None or isinstance(message, bool | str | int | float):
        return message
    ((kind, content),) = message.items()
    if kind == "bytes":
        return base64.b64decode(content)
    if kind == "list":
        return [decode(item) for item in content]
    if kind == "tuple":
        return tuple(decode(item) for item in content)
    if kind == "dict":
        return {decode(key): decode(item) for key, item in content}
    if kind == "other":
        return Opaque(content[:MAX_TEXT_CHARS])
    dtype, shape, numbers = content
    if kind not in ("array", "number") or dtype not in DTYPES:
        raise ValueError(f"{kind} of {dtype}")
    array = np.frombuffer(base64.b64decode(numbers), dtype).reshape(shape).copy()
    return array if kind == "array" else array[()]
