"""Reading the small files of a checkpoint. Whatever is wrong with a file ends in CheckpointError."""

import contextlib
import json
from pathlib import Path

LONGEST_MESSAGE = 400  # characters
MAX_BYTES = 2**28  # of a file that is read whole: an index, a vocabulary
BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # some editors begin a file with it


class CheckpointError(ValueError):
    """A checkpoint that cannot be used: the message says what was found, what was expected and what to do.

    The message is one line. If it repeats a long value, its middle is left out.
    """

    def __init__(self, message):
        message = "".join(c if c.isprintable() else " " for c in str(message))
        if len(message) > LONGEST_MESSAGE:
            message = f"{message[: LONGEST_MESSAGE // 2]} ... {message[5 - LONGEST_MESSAGE // 2 :]}"
        super().__init__(message)


@contextlib.contextmanager
def checkpoint_errors(failure):
    """Let all that fails inside end in a CheckpointError that begins with `failure`.

    A damaged file makes libraries raise many kinds of errors. A panic of their Rust code is not even an Exception.
    """
    try:
        yield
    except CheckpointError:
        raise
    except MemoryError as error:
        raise CheckpointError(f"{failure}: there is not enough memory") from error
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise  # Ctrl-C
        raise CheckpointError(f"{failure}: {error}") from error


def require_file(path):
    """Raise CheckpointError for a folder, a pipe, a device, or a link that leads nowhere: reading one may never end."""
    if not path.is_file():
        raise CheckpointError(f"{path} is missing, or is not a file")


def read_bytes(path):
    """Return the bytes of a file without a byte order mark. Raises CheckpointError."""
    path = Path(path)
    require_file(path)
    with checkpoint_errors(f"{path} cannot be read"), open(path, "rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise CheckpointError(f"{path} is larger than {MAX_BYTES >> 20} MB, more than such a file can need")
    return data.removeprefix(BYTE_ORDER_MARK)


def read_json(path):
    """Return the JSON object in a file as a dict. Raises CheckpointError."""
    data = read_bytes(path)
    with checkpoint_errors(f"{path} is not valid JSON"):
        values = json.loads(data.decode("utf-8"))
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} must hold a JSON object, not a {type(values).__name__}")
    return values
