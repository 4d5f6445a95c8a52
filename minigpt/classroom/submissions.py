"""Find what a class handed in, and copy it before any of it runs, so that no submission can change another one."""

import hashlib
import os
import re
import shutil
import stat
import tempfile
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from minigpt.classroom.archives import OTHER_ARCHIVES, read_zip
from minigpt.classroom.copies import PACKAGE, course_notebooks
from minigpt.classroom.limits import MAX_SUBMITTED_FILE_BYTES, MAX_SUBMITTED_FILES

SUFFIXES = (".py", ".ipynb")
ARCHIVES = (".zip", *OTHER_ARCHIVES)


class FileCopies:
    """Files as they were before any of them ran. They are stored in one temporary file without a path."""

    def __init__(self):
        self._file = tempfile.TemporaryFile()  # noqa: SIM115, it is open as long as the copies are needed
        self._stored = {}  # {path: (offset, length), or the OSError of reading it}

    def add(self, path, content=None):
        """Copy a file, or its content if that is given. If that is impossible, `content` raises the error."""
        self._stored[path] = self._copy(path, content)

    def _copy(self, path, content):
        offset = self._file.seek(0, os.SEEK_END)
        if content is not None:
            return offset, self._file.write(content)
        try:
            if path.stat().st_size > MAX_SUBMITTED_FILE_BYTES:
                raise OSError(0, f"it has {path.stat().st_size:,} bytes")
            with open(path, "rb") as original:
                shutil.copyfileobj(original, self._file)
            return offset, self._file.tell() - offset
        except OSError as error:
            return error

    def content(self, path):
        """Return the bytes of a file. Raise OSError if it could not be read."""
        stored = self._stored[path]
        if isinstance(stored, OSError):
            raise stored
        offset, length = stored
        self._file.seek(offset)
        return self._file.read(length)


# How learning platforms name what they hand to a teacher. Moodle: "Anna Li_123_assignsubmission_file_", a folder or the
# beginning of a file's name; 123 is the participant. Canvas: "lianna_123_456_mine.py", where 123 is the student.
MOODLE = re.compile(r"(?P<student>.+?)_(?P<id>\d+)_assignsubmission_[a-z]+_")
CANVAS = re.compile(r"(?P<student>[^_\W\d]+)_(LATE_)?(?P<id>\d+)_\d+_")


class Contents(dict):
    """{path: bytes, or the OSError of reading it}: copies in memory."""

    def content(self, path):
        """Return the bytes of a file. Raise OSError if it could not be read."""
        if isinstance(self[path], OSError):
            raise self[path]
        return self[path]


@dataclass(frozen=True)
class Submission:
    """What one student handed in: files or a folder in `folder`.

    files: the student's, relative to `folder`; the first MAX_SUBMITTED_FILES of them are copied. n_own: how many files
    were skipped because they are minigpt's own, unchanged. remarks: sentences on archives that were not unpacked.
    student, student_id: of whom, as Moodle and Canvas name it; empty if they did not.
    """

    name: str
    folder: Path
    files: tuple[Path, ...]
    copies: FileCopies = field(repr=False, compare=False)
    n_own: int = 0
    remarks: tuple[str, ...] = ()
    student: str = ""
    student_id: str = ""

    @classmethod
    def of(cls, name, folder, paths, copies):
        """Return the submission of these files, and copy them. Archives among them are unpacked."""
        contents, files, remarks = {}, [], []
        bytes_left = MAX_SUBMITTED_FILE_BYTES  # for all archives together
        for path in sorted(paths):
            if path.suffix.lower() == ".zip":
                try:
                    unpacked = read_zip(folder / path, _is_wanted, MAX_SUBMITTED_FILES, bytes_left)
                except ValueError as error:
                    remarks.append(f"{path.name} was not unpacked: {error}")
                    continue
                bytes_left -= sum(map(len, unpacked.values()))
                contents |= {path.with_suffix("") / inner: content for inner, content in unpacked.items()}
            elif path.suffix.lower() in OTHER_ARCHIVES:
                remarks.append(f"{path.name} was not unpacked: of all archives only .zip is")
            else:
                files.append(path)
        students = [path for path in files if not _is_minigpts_own(folder / path)]
        students += [path for path, content in contents.items() if not _is_one_of_minigpts(path.name, content)]
        for path in sorted(students)[:MAX_SUBMITTED_FILES]:
            copies.add(folder / path, contents.get(path))
        n_own = len(files) + len(contents) - len(students)
        match = _of_platform(paths[0].parts[0] if paths else name)
        student = match.group("student", "id") if match else ("", "")
        return cls(name, folder, tuple(sorted(students)), copies, n_own, tuple(remarks), *student)

    def content(self, path):
        """Return the bytes of one of the files. Raise OSError if it could not be read."""
        return self.copies.content(self.folder / path)

    def with_contents(self):
        """Return the submission with the contents of its own files alone, which can be sent to another process."""
        contents = {}
        for path in self.files[:MAX_SUBMITTED_FILES]:
            try:
                contents[self.folder / path] = self.content(path)
            except OSError as error:
                contents[self.folder / path] = error
        return replace(self, copies=Contents(contents))


def find_submissions(folder):
    """Return the submissions in a folder: each .py, .ipynb or .zip file in it, and each folder with all files below.

    Files that Moodle or Canvas name as those of one student are one submission. They are copied at once, so that later
    changes have no effect. Hidden files, what Python and Jupyter leave behind, and links are ignored: a link would lead
    to somebody else's work. Raise ValueError if there are no submissions.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder")
    found = {}  # {name: paths}
    for path in sorted(folder.iterdir()):
        if _is_clutter(path.name):
            continue
        if path.is_dir() and not path.is_symlink():
            found[path.name] = list(_files_below(path, folder))
        elif path.suffix.lower() in (*SUFFIXES, *ARCHIVES):
            match = _of_platform(path.name)
            name = "_".join(match.group("student", "id")) if match else path.name
            found.setdefault(name, []).extend([Path(path.name)] if _is_regular_file(path) else [])
    if not found:
        raise ValueError(f"there are no submissions in {folder}: neither folders nor .py, .ipynb or .zip files")
    copies = FileCopies()
    return [Submission.of(name, folder, paths, copies) for name, paths in sorted(found.items())]


def _of_platform(name):
    """Return how Moodle's or Canvas's name of a file or folder begins, as a match; None for other names."""
    return MOODLE.match(name) or CANVAS.match(name)


def whole_folder(folder):
    """Return a list of one submission: all files below a folder, as Gradescope lays them down."""
    folder = Path(folder).absolute()
    return [Submission.of(folder.name, folder, list(_files_below(folder, folder)), FileCopies())]


def ignored_files(folder, tables):
    """Return the names of all other files in a folder, except those that grading writes."""
    paths = [path for path in Path(folder).iterdir() if path.is_symlink() or not path.is_dir()]
    suffixes, tables = (*SUFFIXES, *ARCHIVES), {Path(table).resolve() for table in tables}
    others = [path for path in paths if path.suffix.lower() not in suffixes and not _is_clutter(path.name)]
    return sorted(path.name for path in others if path.resolve() not in tables)


def _files_below(folder, root):
    for parent, folders, files in os.walk(folder):
        if "pyvenv.cfg" in files:  # a virtual environment: thousands of files, and none is the student's
            folders.clear()
            continue
        folders[:] = [name for name in folders if not _is_clutter(name)]
        paths = [Path(parent, name) for name in files if not _is_clutter(name)]
        for path in paths:
            if path.suffix.lower() in (*SUFFIXES, *ARCHIVES) and _is_regular_file(path):
                yield path.relative_to(root)


def _is_wanted(path):
    """Return whether a path in an archive is a file that a student writes."""
    return path.suffix.lower() in SUFFIXES and not any(map(_is_clutter, path.parts))


def _is_clutter(name):
    return name.startswith((".", "__pycache__", "__MACOSX"))  # also .ipynb_checkpoints, ._file


def _is_regular_file(path):
    return stat.S_ISREG(path.lstat().st_mode)  # reading from a pipe would never end


def _is_minigpts_own(path):
    """Return whether a file is one of minigpt's, unchanged: some students hand in the whole project with their work."""
    try:
        return path.stat().st_size <= MAX_SUBMITTED_FILE_BYTES and _is_one_of_minigpts(path.name, path.read_bytes())
    except OSError:  # it cannot be read; FileCopies reports that
        return False


def _is_one_of_minigpts(name, content):
    digests = _digests_of_minigpt().get(name)
    return bool(digests) and _digest(content) in digests


@cache
def _digests_of_minigpt():
    """Return {name: digests of minigpt's files of that name}."""
    digests = {}
    for path in (*PACKAGE.rglob("*.py"), *course_notebooks()):
        digests.setdefault(path.name, set()).add(_digest(path.read_bytes()))
    return digests


def _digest(content):
    return hashlib.sha256(content.replace(b"\r\n", b"\n")).digest()
