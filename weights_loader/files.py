"""Writing a file so that readers see the old one or the whole new one, never a part."""

import os

from safetensors import SafetensorError


def write_file(path, write):
    """Write a file that appears whole, by rename: `write(partial)` writes it at a temporary path. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.touch()
        mode = partial.stat().st_mode
        write(partial)
        partial.chmod(mode)  # safetensors makes its files readable by the owner alone
        with open(partial, "rb") as file:
            os.fsync(file.fileno())  # on the disk before it has the name: else a power cut leaves the name and no file
        os.replace(partial, path)
    except SafetensorError as error:  # the package reports a full disk in its own way
        raise OSError(f"{path} could not be written: {error}") from error
    finally:
        partial.unlink(missing_ok=True)
