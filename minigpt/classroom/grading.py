"""Grade what a class handed in: each submission in a process of its own, so that it cannot harm the others.

That process (worker.py) runs the definitions and answers calls; this one computes what is expected and compares.
Whatever a submission does (crash, never end, take all memory, print, exit, forge answers), only its own exercises fail.

What is defended, and how:
- Answers are compared here, and the submission's process contains no expected value.
- The usual ways of calling minigpt's own functions are noticed, as in `check` (calling.py).
- We limit the time of a call and of a submission. The system limits memory, processor time and the size of each file
  (not on Windows; on macOS not the memory).
- All files are copied before the first submission runs, so none can change what another student handed in.
- Writing outside of its folder, starting processes, the network, and reading what others handed in are refused, as far
  as Python reports these to its audit hooks (limits.py).

What is not: libraries that write files by themselves, native code, reading whatever else the teacher can read, and
people who tamper with Python's internals. This is no sandbox: for submissions of strangers use a container. Pasting
minigpt's source passes, as does writing the same code; and the inputs are always the same.
"""

import csv
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from minigpt.classroom.limits import (
    CALL_SECONDS,
    DEFINITIONS_SECONDS,
    MAX_SUBMITTED_FILES,
    SUBMISSION_MEMORY_MB,
    SUBMISSION_SECONDS,
)
from minigpt.classroom.printable import one_line
from minigpt.classroom.remote import RemoteWorkbook, TimeBudget
from minigpt.classroom.workbook import check_workbook
from minigpt.exercises import EXERCISES
from minigpt.files import write_file

FORMULA_STARTS = ("=", "+", "-", "@")  # a spreadsheet reads a text that starts with one of these as a formula


@dataclass
class Grade:
    """results: {exercise: Result}. remarks: sentences on all else. limits: those enforced; None if not run."""

    name: str
    results: dict = field(default_factory=dict)
    remarks: list = field(default_factory=list)
    limits: list | None = None

    @property
    def score(self):
        """The number of exercises that passed."""
        return sum(result.passed for result in self.results.values())

    @property
    def messages(self):
        """What is wrong: a short line for each failed exercise and each remark."""
        failed = [f"{name}: {result.verdict}" for name, result in self.results.items() if not result.passed]
        return [one_line(message) for message in [*failed, *self.remarks]]


def grade(
    submission,
    seconds=SUBMISSION_SECONDS,
    memory_mb=SUBMISSION_MEMORY_MB,
    call_seconds=CALL_SECONDS,
    definitions_seconds=DEFINITIONS_SECONDS,
):
    """Return the Grade of a submission.

    seconds: time limit of the whole submission. call_seconds, definitions_seconds: of one call, of one file's
    definitions. If several files of a student have the same exercise, it is enough that one of them is right.
    """
    grade = Grade(submission.name)
    budget = TimeBudget(seconds, call_seconds, definitions_seconds)
    if submission.n_own:
        grade.remarks.append(f"skipped because they are minigpt's own files, unchanged: {submission.n_own}")
    if not submission.files and not submission.n_own:
        grade.remarks.append("it contains no .py or .ipynb file (links do not count)")
    if len(submission.files) > MAX_SUBMITTED_FILES:
        grade.remarks.append(f"{len(submission.files)} files; only the first {MAX_SUBMITTED_FILES} were checked")
    with tempfile.TemporaryDirectory(prefix="minigpt-", ignore_cleanup_errors=True) as folder:
        paths = _restore(submission, Path(folder), grade.remarks)
        for path in paths:
            prefix = f"{path.name}: " if len(paths) > 1 else ""
            with RemoteWorkbook(path, folder, submission.folder, budget, memory_mb * 1_000_000) as workbook:
                _add_results(grade, workbook, prefix)
    grade.results = {name: grade.results[name] for name in EXERCISES if name in grade.results}
    if not grade.results and not grade.remarks:
        grade.remarks.append("it defines no exercise")
    return grade


def _restore(submission, folder, remarks):
    """Write the copies of a submission's files into a folder, and return their paths there."""
    paths = []
    for name in submission.files[:MAX_SUBMITTED_FILES]:
        path = folder / name
        try:
            content = submission.copies.content(submission.folder / name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            paths.append(path)
        except OSError as error:
            remarks.append(f"{name.name} cannot be read: {error.strerror}")
    return paths


def _add_results(grade, workbook, prefix):
    """Check a workbook. Its results and remarks go into the grade; a result that passed is not replaced."""
    verdicts = set()
    for result in check_workbook(workbook, shrink=False):  # shrinking would use up the submission's time
        verdicts.add(result.verdict)
        if result.passed or result.exercise not in grade.results:
            grade.results[result.exercise] = result
    grade.remarks += [prefix + problem for problem in workbook.problems if problem not in verdicts]
    grade.remarks += [f"{prefix}refused: {event}" for event in workbook.refused]
    grade.limits = workbook.limits


def as_table(grades):
    """Return a text: each submission with its score and its first message, then how many passed each exercise."""
    names = [one_line(grade.name, max_chars=40) for grade in grades]
    width = max(map(len, names))
    lines = [
        f"{name:{width}}  {f'{grade.score} / {len(grade.results)}':>7}  {next(iter(grade.messages), '')}".rstrip()
        for name, grade in zip(names, grades, strict=True)
    ]
    by_exercise = {name: [g.results[name].passed for g in grades if name in g.results] for name in EXERCISES}
    if any(by_exercise.values()):
        lines += ["", "passed / handed in, by exercise:"]
    for name, passed in by_exercise.items():
        if passed:
            lines.append(f"  {name:24}{f'{sum(passed)} / {len(passed)}':>7}")
    return "\n".join(lines)


def write_csv(grades, path):
    """Write a row for each grade: 1 or 0 for each exercise, nothing if it is missing; the score; the messages.

    An apostrophe keeps a spreadsheet from reading a text as a formula: students choose the names of their files.
    """

    def write(partial):
        with open(partial, "w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(["submission", *EXERCISES, "score", "messages"])
            for grade in grades:
                passed = [int(grade.results[name].passed) if name in grade.results else "" for name in EXERCISES]
                texts = one_line(grade.name), " | ".join(grade.messages)
                name, messages = (f"'{text}" if text.startswith(FORMULA_STARTS) else text for text in texts)
                table.writerow([name, *passed, grade.score, messages])

    write_file(Path(path), write)


def require_writable(path):
    """Raise OSError or ValueError if a file cannot be written.

    Call it before grading, so that a bad path fails at once.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder: give a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error.strerror}") from error
