"""Find what a class handed in, and copy it before any of it runs, so that no submission can change another one."""

import hashlib
import os
import shutil
import stat
import tempfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from minigpt.classroom.copies import PACKAGE, course_notebooks
from minigpt.classroom.limits import MAX_SUBMITTED_FILE_BYTES, MAX_SUBMITTED_FILES

SUFFIXES = (".py", ".ipynb")


class FileCopies:
    """Files as they were before any of them ran. They are stored in one temporary file without a path."""

    def __init__(self):
        self._file = tempfile.TemporaryFile()  # noqa: SIM115, it is open as long as the copies are needed
        self._stored = {}  # {path: (offset, length), or the OSError of reading it}

    def add(self, path):
        """Copy a file. If that is impossible, `content` raises the error."""
        offset = self._file.seek(0, os.SEEK_END)
        try:
            if path.stat().st_size > MAX_SUBMITTED_FILE_BYTES:
                raise OSError(0, f"it has {path.stat().st_size:,} bytes")
            with open(path, "rb") as original:
                shutil.copyfileobj(original, self._file)
            self._stored[path] = offset, self._file.tell() - offset
        except OSError as error:
            self._stored[path] = error

    def content(self, path):
        """Return the bytes of a file. Raise OSError if it could not be read."""
        stored = self._stored[path]
        if isinstance(stored, OSError):
            raise stored
        offset, length = stored
        self._file.seek(offset)
        return self._file.read(length)


@dataclass(frozen=True)
class Submission:
    """What one student handed in: a file or a folder in `folder`.

    files: the student's, relative to `folder`; the first MAX_SUBMITTED_FILES of them are copied. n_own: how many files
    were skipped because they are minigpt's own, unchanged.
    """

    name: str
    folder: Path
    files: tuple[Path, ...]
    copies: FileCopies = field(repr=False, compare=False)
    n_own: int = 0

    @classmethod
    def of(cls, name, folder, files, copies):
        """Return the submission of these files, and copy them."""
        students = tuple(path for path in sorted(files) if not _is_minigpts_own(folder / path))
        for path in students[:MAX_SUBMITTED_FILES]:
            copies.add(folder / path)
        return cls(name, folder, students, copies, len(files) - len(students))


def find_submissions(folder):
    """Return the submissions in a folder: each .py and .ipynb file in it, and each folder with all files below.

    They are copied at once, so that later changes have no effect. Hidden files, what Python and Jupyter leave behind,
    and links are ignored: a link would lead to somebody else's work. Raise ValueError if there are no submissions.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder")
    submissions, copies = [], FileCopies()
    for path in sorted(folder.iterdir()):
        if _is_clutter(path.name):
            continue
        if path.is_dir() and not path.is_symlink():
            submissions.append(Submission.of(path.name, folder, list(_files_below(path, folder)), copies))
        elif path.suffix.lower() in SUFFIXES:
            files = [Path(path.name)] if _is_regular_file(path) else []
            submissions.append(Submission.of(path.name, folder, files, copies))
    if not submissions:
        raise ValueError(f"there are no submissions in {folder}: neither folders nor .py or .ipynb files")
    return submissions


def ignored_files(folder, table):
    """Return the names of all other files in a folder, except the table: perhaps somebody handed in an archive."""
    paths = [path for path in Path(folder).iterdir() if path.is_symlink() or not path.is_dir()]
    others = [path for path in paths if path.suffix.lower() not in SUFFIXES and not _is_clutter(path.name)]
    return sorted(path.name for path in others if path.resolve() != Path(table).resolve())


def _files_below(folder, root):
    for parent, folders, files in os.walk(folder):
        if "pyvenv.cfg" in files:  # a virtual environment: thousands of files, and none is the student's
            folders.clear()
            continue
        folders[:] = [name for name in folders if not _is_clutter(name)]
        paths = [Path(parent, name) for name in files if not _is_clutter(name)]
        for path in paths:
            if path.suffix.lower() in SUFFIXES and _is_regular_file(path):
                yield path.relative_to(root)


def _is_clutter(name):
    return name.startswith((".", "__pycache__", "__MACOSX"))  # also .ipynb_checkpoints, ._file


def _is_regular_file(path):
    return stat.S_ISREG(path.lstat().st_mode)  # reading from a pipe would never end


def _is_minigpts_own(path):
    """Return whether a file is one of minigpt's, unchanged: some students hand in the whole project with their work."""
    digests = _digests_of_minigpt().get(path.name)
    try:
        return bool(digests) and path.stat().st_size <= MAX_SUBMITTED_FILE_BYTES and _digest(path) in digests
    except OSError:  # it cannot be read; FileCopies reports that
        return False


@cache
def _digests_of_minigpt():
    """Return {name: digests of minigpt's files of that name}."""
    digests = {}
    for path in (*PACKAGE.rglob("*.py"), *course_notebooks()):
        digests.setdefault(path.name, set()).add(_digest(path))
    return digests


def _digest(path):
    return hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).digest()
