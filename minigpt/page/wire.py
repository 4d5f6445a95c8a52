"""An answer as bytes, as web/source.js reads it, and an error as a sentence."""

import json
import logging
import math

import numpy as np

logger = logging.getLogger(__name__)
NO_MEMORY = "there is not enough memory for this"
FAULT = "something went wrong in minigpt; the program's own output says what"
ALIGNMENT = 8  # bytes: a Float64Array in the browser must begin at a multiple of them


def encode_answer(head: dict, arrays: list[np.ndarray]) -> bytes:
    """Return a head, which JSON can hold, and arrays of float32, float64 or int32 as the bytes of one answer.

    uint32 n, n bytes of JSON (the head with the arrays' shapes and dtypes), the numbers of every array; all
    little-endian, everything padded to ALIGNMENT.
    """
    described = [{"shape": list(array.shape), "dtype": array.dtype.name} for array in arrays]
    text = json.dumps(finite(head | {"arrays": described}), ensure_ascii=False, allow_nan=False).encode()
    text += b" " * (-(4 + len(text)) % ALIGNMENT)
    parts = [len(text).to_bytes(4, "little"), text]
    for array in arrays:
        numbers = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        parts += [numbers, bytes(-len(numbers) % ALIGNMENT)]
    return b"".join(parts)


def finite(value):
    """Return the value with null for numbers that JSON cannot hold: a change can make a run infinite."""
    if isinstance(value, dict):
        return {name: finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def answer_bytes(session, question: object) -> tuple[bytes, str | None]:
    """Return the answer to a question and None, or nothing and a sentence for the person at the page.

    Only the sentence of a ValueError goes to the page, where it says what was wrong with the question. Other errors
    are faults of the program: they are logged, which shows them in the terminal.
    """
    try:
        return encode_answer(*session.answer(question)), None
    except ValueError as error:
        return b"", " ".join(str(error).split()) or "this is no question"
    except MemoryError:
        return b"", NO_MEMORY
    except Exception:
        logger.exception("a question could not be answered")
        return b"", FAULT
