"""Grade what a class handed in: each submission in a process of its own, so that it cannot harm the others.

That process (worker.py) runs the definitions and answers calls; this one computes what is expected and compares.
Whatever a submission does (crash, never end, take all memory, print, exit, forge answers), only its own exercises fail.

What is defended, and how:
- Answers are compared here. The submission's process contains no expected value, and of minigpt nothing but names
  (facade.py): what an exercise may call is computed here on its request, and so every such call is seen here.
- The inputs are drawn from a secret seed, so a table of answers is of no use.
- We limit the time of a call, of an exercise and of a submission. The system limits memory, processor time and the size
  of each file (not on Windows; on macOS not the memory).
- All files are copied before the first submission runs, so none can change what another student handed in.
- Under bubblewrap (isolation.py) a submission sees no other file, no network and no other process. Everywhere, what
  Python reports to its audit hooks is refused: writing outside of its folder, starting processes, the network, and
  reading what others handed in (limits.py).

The README says what still gets through.
"""

import contextlib
import multiprocessing
import signal
import tempfile
from concurrent import futures
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from minigpt.classroom.checks import check_workbook, rename_hints, renamed_exercises
from minigpt.classroom.facade import write_facade
from minigpt.classroom.isolation import choose_isolation
from minigpt.classroom.limits import (
    CALL_SECONDS,
    DEFINITIONS_SECONDS,
    MAX_SUBMITTED_FILES,
    SUBMISSION_MEMORY_MB,
    SUBMISSION_SECONDS,
)
from minigpt.classroom.printable import one_line
from minigpt.classroom.remote import RemoteWorkbook, TimeBudget
from minigpt.exercises import EXERCISES
from minigpt.exercises.calling import UNWRITTEN
from minigpt.exercises.catalogue import ADDED, add_exercises


@dataclass
class Grade:
    """results: {exercise: Result}. remarks: sentences on all else. limits: those enforced; None if not run.

    points: {exercise: its points} of all exercises that are graded. student, student_id: as in Submission.
    """

    name: str
    results: dict = field(default_factory=dict)
    remarks: list = field(default_factory=list)
    limits: list | None = None
    points: dict = field(default_factory=lambda: dict.fromkeys(EXERCISES, 1))
    student: str = ""
    student_id: str = ""

    @property
    def score(self):
        """The points of the exercises that passed."""
        return sum(self.points[name] for name, result in self.results.items() if result.passed and name in self.points)

    @property
    def max_score(self):
        """The points of all exercises that are graded."""
        return sum(self.points.values())

    @property
    def messages(self):
        """What is wrong: a short line for each failed exercise and each remark."""
        failed = [f"{name}: {result.verdict}" for name, result in self.results.items() if not result.passed]
        return [one_line(message) for message in [*failed, *self.remarks]]


@contextlib.contextmanager
def isolated(wanted, folder):
    """Yield (Isolation of a class, why it is not bubblewrap's); see choose_isolation."""
    with tempfile.TemporaryDirectory(prefix="minigpt-") as own:
        facade = str(Path(own, "facade"))
        write_facade(facade)
        yield choose_isolation(wanted, facade, folder)


def grade_all(submissions, isolation, n_jobs, **options):
    """Yield the Grade of each submission as soon as it is known, n_jobs at a time. options: those of `grade`."""
    graded = partial(grade, isolation=isolation, **options)
    if n_jobs == 1:
        yield from map(graded, submissions)
        return
    # In processes, because comparing answers takes as long as computing them; not by fork, which hypothesis's and
    # NumPy's threads may not survive.
    spawn, others = multiprocessing.get_context("spawn"), multiprocessing.active_children()
    pool = futures.ProcessPoolExecutor(n_jobs, spawn, _begin_grading, (ADDED,))
    try:
        tasks = [pool.submit(graded, submission.with_contents()) for submission in submissions]
        for task in futures.as_completed(tasks):
            yield task.result()
    except futures.process.BrokenProcessPool as error:
        raise OSError(
            "a process that grades was ended from outside, perhaps for want of memory; with --jobs 1 grading needs less"
        ) from error
    finally:  # also after Ctrl-C
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            if process not in others:
                process.terminate()


def _begin_grading(catalogues):
    """Begin a process that grades: with the same exercises, and Ctrl-C is for the process that waits for it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for folder in catalogues:
        add_exercises(folder)


def count_what_somebody_handed_in(grades):
    """Give every grade the same points: one for each exercise that anybody handed in."""
    points = {name: 1 for name in EXERCISES if any(name in grade.results for grade in grades)}
    for grade in grades:
        grade.points = points


def grade(
    submission,
    isolation,
    seconds=SUBMISSION_SECONDS,
    memory_mb=SUBMISSION_MEMORY_MB,
    call_seconds=CALL_SECONDS,
    definitions_seconds=DEFINITIONS_SECONDS,
    seed=None,
    points=None,
):
    """Return the Grade of a submission.

    seconds: time limit of the whole submission. call_seconds, definitions_seconds: of one call, of one file's
    definitions. seed: selects the inputs, see drawn_inputs. points: {exercise: points} of those that are graded, by
    default one for each. If several files of a student have the same exercise, it is enough that one of them is right.
    """
    grade = Grade(submission.name, student=submission.student, student_id=submission.student_id)
    grade.points = points or grade.points
    budget = TimeBudget(seconds, call_seconds, definitions_seconds)
    grade.remarks += submission.remarks
    if submission.n_own:
        grade.remarks.append(f"skipped because they are minigpt's own files, unchanged: {submission.n_own}")
    if not submission.files and not grade.remarks:
        grade.remarks.append("it contains no .py or .ipynb file (links do not count)")
    if len(submission.files) > MAX_SUBMITTED_FILES:
        grade.remarks.append(f"{len(submission.files)} files; only the first {MAX_SUBMITTED_FILES} were checked")
    names, renamed = submission.files[:MAX_SUBMITTED_FILES], {}
    for number, name in enumerate(names):
        # Each file begins with a fresh folder and fresh inputs: what another one wrote could be answers.
        file_seed = None if seed is None else seed + number
        beside = Path(isolation.facade).parent
        with tempfile.TemporaryDirectory(prefix="minigpt-", dir=beside, ignore_cleanup_errors=True) as folder:
            unreadable = _restore(submission, names, Path(folder))
            if name in unreadable:
                grade.remarks.append(f"{name.name} cannot be read: {unreadable[name]}")
                continue
            prefix = f"{name.name}: " if len(names) > 1 else ""
            with RemoteWorkbook(Path(folder, name), folder, isolation, budget, memory_mb * 1_000_000) as workbook:
                _add_results(grade, workbook, prefix, file_seed)
                renamed |= renamed_exercises(workbook)
    missing = {name: function for name, function in renamed.items() if name not in grade.results}
    grade.remarks += rename_hints({name: function for name, function in missing.items() if name in grade.points})
    grade.results = {name: grade.results[name] for name in grade.points if name in grade.results}
    if not grade.results and not grade.remarks:
        grade.remarks.append("it defines no exercise" if points is None else "it defines no exercise that is graded")
    return grade


def _restore(submission, names, folder):
    """Write the copies of a submission's files into a folder. Return {name: reason} of those that cannot be read."""
    unreadable = {}
    for name in names:
        path = folder / name
        try:
            content = submission.content(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except OSError as error:
            unreadable[name] = error.strerror
    return unreadable


def _add_results(grade, workbook, prefix, seed):
    """Check a workbook. Its results and remarks go into the grade.

    Of several results one that passed counts, else the first of a function that is written.
    """
    verdicts = set()
    # Shrinking would use up the submission's time.
    for result in check_workbook(workbook, only=tuple(grade.points), shrink=False, seed=seed):
        verdicts.add(result.verdict)
        before = grade.results.get(result.exercise)
        if before is None or before.verdict == UNWRITTEN or result.passed:
            grade.results[result.exercise] = replace(result, mistake=None)  # its function cannot always be pickled
    grade.remarks += [prefix + problem for problem in workbook.problems if problem not in verdicts]
    grade.remarks += [f"{prefix}refused: {event}" for event in workbook.refused]
    grade.limits = workbook.limits
