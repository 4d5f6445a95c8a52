"""Grading what a class handed in: every submission in a process of its own, which costs nobody else anything.

That process (answering.py) defines what the file defines and answers calls; what is expected is computed and compared
here. So a submission may crash, never end, take all memory, print, exit, close or forge what it answers with: its
exercises fail, and the next submission is none the worse.

What is defended, and how:
- Answers are compared here, and there is no expected value in the process.
- The usual ways of calling minigpt's own functions are seen, as in `check` (calling.py).
- Time, by the clock, of a call and of a submission; memory, the processor's time and the size of each file, by limits
  that the system holds (not on Windows; on macOS not the memory).
- Everything is copied before the first submission runs, so none can change what another one handed in.
- Writing outside of its folder, starting processes, the network, and reading what others handed in are refused, as far
  as Python tells its audit hooks of it (answering.py).

What is not: libraries that write files by themselves, native code, reading whatever else the teacher can read, and
those who take Python apart from inside. This is no sandbox: for submissions of strangers use a container. Somebody who
pastes minigpt's source passes, as does anybody who writes it; and the inputs are always the same.
"""

import contextlib
import csv
import hashlib
import os
import secrets
import shutil
import signal
import site
import stat
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from minigpt.exercises import EXERCISES
from minigpt.exercises.answering import packed, receive, send, unpacked
from minigpt.exercises.calling import TIME_LIMIT, Outcome
from minigpt.exercises.workbook import PACKAGE, notebooks, results

START = 120  # seconds that Python and NumPy may take to begin; they count for nobody
DEFINITIONS = 30  # seconds that reading a file may take, and as many to run its definitions
LARGEST = 50_000_000  # bytes of a submitted file
SEVERAL = 50  # files of one submission
SUFFIXES = (".py", ".ipynb")
PROBLEMS = ("", "crash", "unwritten", "time", "minigpt", "death")


# ---------------------------------------------------------------- what was handed in


class Copies:
    """Files as they were before any of them ran. They lie in one file without a name, so no path leads there."""

    def __init__(self):
        self._file, self._places = tempfile.TemporaryFile(), {}  # noqa: SIM115, it is there as long as they are

    def add(self, path):
        start = self._file.seek(0, os.SEEK_END)
        try:
            if path.stat().st_size > LARGEST:
                raise OSError(0, f"it has {path.stat().st_size:,} bytes")
            with open(path, "rb") as original:
                shutil.copyfileobj(original, self._file)
            self._places[path] = start, self._file.tell() - start
        except OSError as error:
            self._places[path] = error

    def content(self, path):
        """The bytes of a file. Raises OSError if it could not be read."""
        place = self._places[path]
        if isinstance(place, OSError):
            raise place
        self._file.seek(place[0])
        return self._file.read(place[1])


@dataclass(frozen=True)
class Submission:
    """What one student handed in: a file in `folder`, or a folder there.

    files: those that count, relative to it; copies has the first SEVERAL. own: how many are minigpt's own, unchanged.
    """

    name: str
    folder: Path
    files: tuple[Path, ...]
    copies: Copies = field(repr=False, compare=False)
    own: int = 0

    @classmethod
    def of(cls, name, folder, files, copies):
        counting = tuple(path for path in sorted(files) if not _is_minigpts_own(folder / path))
        for path in counting[:SEVERAL]:
            copies.add(folder / path)
        return cls(name, folder, counting, copies, len(files) - len(counting))


def find_submissions(folder):
    """The submissions in a folder: each .py and .ipynb in it is one, and each folder in it, with all that is below.

    They are copied at once, so what is graded later is what is there now. Not looked at are hidden files and what
    Python and Jupyter leave behind, and links: they would lead to somebody else's work. Raises ValueError if there are
    no submissions.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder")
    found, copies = [], Copies()
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink() and not _is_left_behind(path.name):
            found.append(Submission.of(path.name, folder, list(_files_below(path, folder)), copies))
        elif path.suffix.lower() in SUFFIXES and not _is_left_behind(path.name):
            files = [Path(path.name)] if _is_file(path) else []
            found.append(Submission.of(path.name, folder, files, copies))
    if not found:
        raise ValueError(f"there are no submissions in {folder}: neither folders nor .py or .ipynb files")
    return found


def not_looked_at(folder, table):
    """The names of what else is in a folder of submissions but the table: perhaps somebody handed in an archive."""
    paths = [path for path in Path(folder).iterdir() if path.is_symlink() or not path.is_dir()]
    others = [path for path in paths if path.suffix.lower() not in SUFFIXES and not _is_left_behind(path.name)]
    return sorted(path.name for path in others if path.resolve() != Path(table).resolve())


def _files_below(folder, root):
    for parent, folders, files in os.walk(folder):
        if "pyvenv.cfg" in files:  # an environment: thousands of files, and none of the student's
            folders.clear()
            continue
        folders[:] = [name for name in folders if not _is_left_behind(name)]
        paths = [Path(parent, name) for name in files if not _is_left_behind(name)]
        yield from (path.relative_to(root) for path in paths if path.suffix.lower() in SUFFIXES and _is_file(path))


def _is_left_behind(name):
    return name.startswith((".", "__pycache__", "__MACOSX"))  # also .ipynb_checkpoints, ._file


def _is_file(path):
    return stat.S_ISREG(path.lstat().st_mode)  # reading from a pipe would never end


def _is_minigpts_own(path):
    """Whether a file is one of minigpt's, unchanged: some hand in the whole project with their work in it."""
    digests = _minigpts_own().get(path.name)
    try:
        return bool(digests) and path.stat().st_size <= LARGEST and _digest(path) in digests
    except OSError:  # it cannot be read: copying says so
        return False


@cache
def _minigpts_own():
    """{name: digests of the files of that name}."""
    digests = {}
    for path in (*PACKAGE.rglob("*.py"), *notebooks()):
        digests.setdefault(path.name, set()).add(_digest(path))
    return digests


def _digest(path):
    return hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).digest()


# ---------------------------------------------------------------- grading


@dataclass
class Grade:
    """results: {exercise: Result} of those handed in. remarks: on all else. limits: what was limited, if it ran."""

    name: str
    results: dict = field(default_factory=dict)
    remarks: list = field(default_factory=list)
    limits: list | None = None

    @property
    def score(self):
        return sum(result.passed for result in self.results.values())

    @property
    def messages(self):
        """What is wrong, each in a short line."""
        failed = [f"{name}: {result.verdict}" for name, result in self.results.items() if not result.passed]
        return [printable(message) for message in [*failed, *self.remarks]]


def printable(text, most=200):
    """A text of a student's as one short line, in which nothing moves the cursor or is not Unicode."""
    line = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in " ".join(text.split()))
    return line if len(line) <= most else f"{line[:most]} ..."


def grade(submission, seconds=120, memory=2048):
    """The Grade of a submission. seconds: for all of it, by the clock; memory: in MB.

    Of it a call has at most TIME_LIMIT and the definitions DEFINITIONS seconds. If several files of a student have the
    same exercise, it is enough that one of them is right.
    """
    grade = Grade(submission.name)
    clock = Clock(seconds)
    if submission.own:
        grade.remarks.append(f"minigpt's own files, unchanged, were not looked at: {submission.own}")
    if not submission.files and not submission.own:
        grade.remarks.append("there is no file in it that is .py or .ipynb and no link")
    if len(submission.files) > SEVERAL:
        grade.remarks.append(f"{len(submission.files)} files; only the first {SEVERAL} were looked at")
    with tempfile.TemporaryDirectory(prefix="minigpt-", ignore_cleanup_errors=True) as folder:
        copies = []
        for path in submission.files[:SEVERAL]:
            try:
                content, copy = submission.copies.content(submission.folder / path), Path(folder) / path
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(content)
                copies.append(copy)
            except OSError as error:
                grade.remarks.append(f"{path.name} cannot be read: {error.strerror}")
        for copy in copies:
            prefix, said = f"{copy.name}: " if len(copies) > 1 else "", set()
            with RemoteWorkbook(copy, folder, submission.folder, clock, memory * 1_000_000) as workbook:
                for result in results(workbook, shrink=False):  # its time is for what counts
                    said.add(result.verdict)
                    if result.passed or result.exercise not in grade.results:
                        grade.results[result.exercise] = result
                grade.remarks += [prefix + problem for problem in workbook.problems if problem not in said]
                grade.remarks += [f"{prefix}refused: {event}" for event in workbook.refused]
                grade.limits = workbook.limits
    grade.results = {name: grade.results[name] for name in EXERCISES if name in grade.results}
    if not grade.results and not grade.remarks:
        grade.remarks.append("it defines no exercise")
    return grade


def as_table(grades):
    """How each submission did and what is wrong first, and how many had each exercise right: a text."""
    names = [printable(grade.name, 40) for grade in grades]
    width = max(map(len, names))
    lines = [
        f"{name:{width}}  {f'{grade.score} / {len(grade.results)}':>7}  {next(iter(grade.messages), '')}".rstrip()
        for name, grade in zip(names, grades, strict=True)
    ]
    by_exercise = {name: [g.results[name].passed for g in grades if name in g.results] for name in EXERCISES}
    if any(by_exercise.values()):
        lines += ["", "passed / handed in, by exercise:"]
    for name, passed in by_exercise.items():
        lines += [f"  {name:24}{f'{sum(passed)} / {len(passed)}':>7}"] if passed else []
    return "\n".join(lines)


def write_csv(grades, path):
    """A row for each grade: 1 or 0 for each exercise, nothing if it is not there; the score; what is wrong.

    A text that a spreadsheet would take for a formula has an apostrophe before it: students choose names of files.
    """
    from weights_loader import write_file

    def write(partial):
        with open(partial, "w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(["submission", *EXERCISES, "score", "messages"])
            for grade in grades:
                passed = [int(grade.results[name].passed) if name in grade.results else "" for name in EXERCISES]
                texts = printable(grade.name), " | ".join(grade.messages)
                name, messages = (f"'{text}" if text.startswith(tuple("=+-@")) else text for text in texts)
                table.writerow([name, *passed, grade.score, messages])

    write_file(Path(path), write)


def require_writable(path):
    """Raises OSError or ValueError if a file cannot be written there. Better before the work than after it."""
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder: give a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error.strerror}") from error


# ---------------------------------------------------------------- the process


class Lost(Exception):
    """A process that does not answer any more. problem: see calling.Outcome."""

    def __init__(self, problem, sentence):
        super().__init__(sentence)
        self.problem = problem


class Clock:
    """The time that a submission has, all its files and calls together. Only waiting for it counts."""

    def __init__(self, seconds):
        self.seconds = self.left = seconds

    @contextlib.contextmanager
    def running(self, most):
        """Inside it runs; gives the time that there is, at most `most`. Raises Lost if there is none."""
        if self.left <= 0:
            raise Lost("time", f"the submission had used its {self.seconds:g} seconds before")
        began = time.monotonic()
        try:
            yield min(most, self.left)
        finally:
            self.left -= time.monotonic() - began


class RemoteWorkbook:
    """A Workbook in another process: what it defines, and its call. When a process is lost, the next call gets one.

    path: a file in `folder`, where the process may do as it likes. hidden: a folder that it must not read. memory: in
    bytes.
    """

    def __init__(self, path, folder, hidden, clock, memory):
        self.functions, self.failed, self.problems, self.refused, self.limits = [], {}, [], [], []
        self._path, self._folder, self._hidden = path, folder, os.path.realpath(hidden)
        self._clock, self._memory = clock, memory
        self._process, self._lost, self._names = None, {}, []
        try:
            self._begin()
        except Lost as lost:
            self._end()
            self.failed = dict.fromkeys(self._names, f"its definitions cannot be run: {lost}")
            self.problems.append(f"its definitions cannot be run: {lost}")
        except BaseException:
            self._end()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._end()

    def call(self, name, arguments, uses):
        """The Outcome of a call. The function that a process is lost in is not called again."""
        if name in self._lost:
            return self._lost[name]
        try:
            if self._process is None:
                self._begin()
            with self._clock.running(TIME_LIMIT) as seconds:
                answer = self._process.ask(seconds, "call", name=name, arguments=packed(arguments), uses=uses)
            return self._outcome(answer, len(arguments))
        except Lost as lost:
            self._end()
            self._lost[name] = Outcome(problem=lost.problem, message=str(lost))
            return self._lost[name]

    def _begin(self):
        self._process = Process(self._folder)
        try:
            seconds = self._clock.left + 10
            begun = self._process.ask(START, "begin", memory=self._memory, processor=seconds, hidden=self._hidden)
        except Lost as lost:
            raise OSError(f"a process of {self._memory / 1e6:g} MB does not begin: {lost}") from lost
        self.limits = begun["limits"]
        with self._clock.running(DEFINITIONS) as seconds:
            read = self._process.ask(seconds, "read", path=str(self._path))
        if "unreadable" in read:
            raise Lost("death", read["unreadable"])
        self._names = [name for name in EXERCISES if name in read["names"]]
        with self._clock.running(DEFINITIONS) as seconds:
            defined = self._process.ask(seconds, "define")
        with _only_what_was_agreed():
            self.functions = [name for name in EXERCISES if name in defined["functions"]]
            self.failed = {name: str(defined["failed"][name]) for name in EXERCISES if name in defined["failed"]}
            self.problems = [str(problem) for problem in defined["problems"]]
            self._note(defined)

    def _outcome(self, answer, n_arguments):
        with _only_what_was_agreed():
            self._note(answer)
            changed = tuple(place for place in range(n_arguments) if place in answer["changed"])
            problem, message, printed = answer["problem"], answer["message"], answer["printed"]
            if problem not in PROBLEMS or not isinstance(message, str) or not isinstance(printed, str):
                raise ValueError(problem)
            return Outcome(unpacked(answer["value"]), problem, message, changed, printed)

    def _note(self, answer):
        tried = map(str, answer["tried"][:100])
        self.refused += [event for event in dict.fromkeys(tried) if event not in self.refused]

    def _end(self):
        if self._process is not None:
            self._process.end()
        self._process = None


FORGED = "its process answered what was not asked"


@contextlib.contextmanager
def _only_what_was_agreed():
    """Inside an answer is taken apart: whatever goes wrong, it was forged."""
    try:
        yield
    except Exception as error:
        raise Lost("death", FORGED) from error


class Process:
    """The process that answers (answering.py), in a session of its own, so that it ends with all that it started."""

    KEPT = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "PYTHONHOME", "SYSTEMROOT")  # of the environment

    def __init__(self, folder):
        environment = {name: os.environ[name] for name in self.KEPT if name in os.environ}
        # Some libraries keep files in the home folder. One core is enough for tiny inputs, and fair.
        environment |= dict.fromkeys(("HOME", "USERPROFILE", "TMPDIR", "TEMP", "MPLCONFIGDIR"), str(folder))
        environment |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        # The packages of the user's home, too; but nothing of the new home, where a submission can write.
        paths = [str(Path(__file__).parents[2]), *({site.getusersitepackages()} & set(sys.path))]
        environment |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": os.pathsep.join(paths), "PYTHONUTF8": "1"}
        self._worker = None
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-s", "-m", "minigpt.exercises.answering"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )

    def ask(self, seconds, question, **about):
        """The answer, a dict. Raises Lost if none comes in time, or none that belongs to the question."""
        ticket, answers = secrets.token_hex(8), []

        def exchange():
            with contextlib.suppress(OSError):  # nobody is there: reading tells
                send(self._child.stdin, {"ticket": ticket, "ask": question, **about})
            try:
                answers.append(receive(self._child.stdout))
            except (ValueError, RecursionError, MemoryError):
                answers.append("nonsense")
            except OSError:
                answers.append(None)

        # In a thread, as neither sending nor receiving need ever end.
        self._worker = threading.Thread(target=exchange, daemon=True)
        self._worker.start()
        self._worker.join(seconds)
        if not answers:
            raise Lost("time", f"it had not ended after {seconds:.3g} seconds: is there an endless loop?")
        if answers[0] is None:
            raise Lost("death", self._end_in_words())
        if not isinstance(answers[0], dict) or answers[0].get("ticket") != ticket or "tried" not in answers[0]:
            raise Lost("death", FORGED)
        return answers[0]

    def end(self):
        """End it, and everything that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, signal.SIGKILL) if hasattr(os, "killpg") else self._child.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(10)
        if self._worker is not None:
            self._worker.join(1)
            if self._worker.is_alive():  # somebody who escaped holds the pipe; its number must not be reused
                return
        for pipe in (self._child.stdin, self._child.stdout):
            with contextlib.suppress(OSError):
                pipe.close()

    def _end_in_words(self):
        try:
            code = self._child.wait(1)
        except subprocess.TimeoutExpired:
            return "it closed the line that its answers come by"
        if code >= 0:
            return f"its process ended, with exit code {code}"
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        return f"its process was ended by {name}"
