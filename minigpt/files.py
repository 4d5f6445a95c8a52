"""Read a text file; write a file by rename."""

from pathlib import Path

from weights_loader.files import write_file

__all__ = ["read_text", "write_file"]


def read_text(path):
    """Return the text of a UTF-8 file without a byte order mark, line ends as "\\n".

    Raises OSError, or ValueError with the first bad byte.
    """
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text (byte {error.start})") from error
