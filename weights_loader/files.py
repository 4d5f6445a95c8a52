"""Write a file so that a reader sees the old one or the whole new one, never a part."""

import os
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError


def write_file(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file by rename: `write(partial)` writes it at a temporary path, which then gets its name.

    A symbolic link stays one: the file that it leads to is replaced. Raises OSError, also for a device or a folder,
    which a rename would replace or not reach.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        raise OSError(f"{path} is not a file: choose another name")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.touch()
        mode = partial.stat().st_mode
        write(partial)
        partial.chmod(mode)  # safetensors makes its files readable by the owner alone
        with open(partial, "r+b") as file:  # Windows flushes only what is open for writing
            os.fsync(file.fileno())  # without it, a power cut after the rename could leave an empty file
        os.replace(partial, path)
    except SafetensorError as error:  # the package's own error for a full disk
        raise OSError(f"{path} could not be written: {error}") from error
    except OSError as error:
        if error.filename is None:  # as when the disk is full
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        partial.unlink(missing_ok=True)
