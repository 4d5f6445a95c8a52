"""A student's workbook in another process, which may crash, never end, or forge its answers."""

import contextlib
import os
import secrets
import signal
import site
import subprocess
import sys
import threading
import time
from pathlib import Path

from minigpt.classroom.limits import CALL_SECONDS, DEFINITIONS_SECONDS, STARTUP_SECONDS
from minigpt.classroom.messages import decode, encode, receive, send
from minigpt.exercises import EXERCISES
from minigpt.exercises.calling import Outcome

PROBLEMS = ("", "crash", "unwritten", "time", "minigpt", "death")  # of an Outcome
FORGED = "its process sent an answer that does not fit the question"


class ProcessLostError(Exception):
    """A process no longer answers. problem: as in calling.Outcome."""

    def __init__(self, problem, sentence):
        super().__init__(sentence)
        self.problem = problem


class TimeBudget:
    """The seconds that a submission has for all its files and calls. Only time spent waiting for it counts.

    call_seconds, definitions_seconds: limits of one call, and of the definitions of one file.
    """

    def __init__(self, seconds, call_seconds=CALL_SECONDS, definitions_seconds=DEFINITIONS_SECONDS):
        self.total = seconds
        self.left = seconds
        self.call_seconds = call_seconds
        self.definitions_seconds = definitions_seconds

    @contextlib.contextmanager
    def spend(self, max_seconds):
        """Yield the seconds that may be spent now, and subtract those that were spent.

        Raise ProcessLostError if none are left.
        """
        if self.left <= 0:
            raise ProcessLostError("time", f"the submission had already used its {self.total:g} seconds")
        start = time.monotonic()
        try:
            yield min(max_seconds, self.left)
        finally:
            self.left -= time.monotonic() - start


class RemoteWorkbook:
    """A Workbook in another process: what it defines, and calls. If the process is lost, the next call starts another.

    path: a file in `folder`, where the process may write. hidden: a folder that it must not read. budget: a TimeBudget.
    Raise OSError if no process can be started.
    """

    def __init__(self, path, folder, hidden, budget, memory_bytes):
        self.functions = []
        self.failed = {}
        self.problems = []
        self.refused = []
        self.limits = []
        self._path = path
        self._folder = folder
        self._hidden = os.path.realpath(hidden)
        self._budget = budget
        self._memory_bytes = memory_bytes
        self._process = None
        self._lost = {}  # {name: Outcome} of functions during whose call the process was lost
        self._names = []
        try:
            self._begin()
        except ProcessLostError as lost:
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
        """Return the Outcome of a call. A function during whose call the process was lost is not called again."""
        if name in self._lost:
            return self._lost[name]
        try:
            if self._process is None:
                self._begin()
            with self._budget.spend(self._budget.call_seconds) as seconds:
                answer = self._process.ask(seconds, "call", name=name, arguments=encode(arguments), uses=uses)
            return self._outcome(answer, len(arguments))
        except ProcessLostError as lost:
            self._end()
            self._lost[name] = Outcome(problem=lost.problem, message=str(lost))
            return self._lost[name]

    def _begin(self):
        self._process = WorkerProcess(self._folder)
        limits = {"memory": self._memory_bytes, "processor": self._budget.left + 10}
        try:
            begun = self._process.ask(STARTUP_SECONDS, "begin", **limits, hidden=self._hidden)
        except ProcessLostError as lost:
            raise OSError(f"a process limited to {self._memory_bytes / 1e6:g} MB does not start: {lost}") from lost
        self.limits = begun["limits"]
        with self._budget.spend(self._budget.definitions_seconds) as seconds:
            read = self._process.ask(seconds, "read", path=str(self._path))
        if "unreadable" in read:
            raise ProcessLostError("death", read["unreadable"])
        self._names = [name for name in EXERCISES if name in read["names"]]
        with self._budget.spend(self._budget.definitions_seconds) as seconds:
            defined = self._process.ask(seconds, "define")
        with _forged_if_malformed():
            self.functions = [name for name in EXERCISES if name in defined["functions"]]
            self.failed = {name: str(defined["failed"][name]) for name in EXERCISES if name in defined["failed"]}
            self.problems = [str(problem) for problem in defined["problems"]]
            self._note_refusals(defined)

    def _outcome(self, answer, n_arguments):
        with _forged_if_malformed():
            self._note_refusals(answer)
            changed = tuple(place for place in range(n_arguments) if place in answer["changed"])
            problem, message, printed = answer["problem"], answer["message"], answer["printed"]
            if problem not in PROBLEMS or not isinstance(message, str) or not isinstance(printed, str):
                raise ValueError(problem)
            return Outcome(decode(answer["value"]), problem, message, changed, printed)

    def _note_refusals(self, answer):
        events = map(str, answer["tried"][:100])
        self.refused += [event for event in dict.fromkeys(events) if event not in self.refused]

    def _end(self):
        if self._process is not None:
            self._process.end()
        self._process = None


@contextlib.contextmanager
def _forged_if_malformed():
    """Turn any error in taking an answer apart into a ProcessLostError: minigpt's worker sends no such answer."""
    try:
        yield
    except Exception as error:
        raise ProcessLostError("death", FORGED) from error


class WorkerProcess:
    """A process that runs worker.py, in a session of its own, so that ending it also ends whatever it started."""

    KEPT_VARIABLES = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "PYTHONHOME", "SYSTEMROOT")  # of our environment

    def __init__(self, folder):
        environment = {name: os.environ[name] for name in self.KEPT_VARIABLES if name in os.environ}
        # Some libraries write files into the home folder.
        environment |= dict.fromkeys(("HOME", "USERPROFILE", "TMPDIR", "TEMP", "MPLCONFIGDIR"), str(folder))
        # One core is enough for tiny inputs, and is the same for everybody.
        environment |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        # Packages in the user's home can be imported, but not from the new home, where a submission can write.
        paths = [str(Path(__file__).parents[2]), *({site.getusersitepackages()} & set(sys.path))]
        environment |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": os.pathsep.join(paths), "PYTHONUTF8": "1"}
        self._thread = None
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-s", "-m", "minigpt.classroom.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )

    def ask(self, seconds, method, **arguments):
        """Return the answer of a method of worker.Worker, a dict.

        Raise ProcessLostError if no answer comes in time, or one that does not belong to the question.
        """
        ticket, answers = secrets.token_hex(8), []

        def exchange():
            with contextlib.suppress(OSError):  # the process has ended; `receive` reports that
                send(self._child.stdin, {"ticket": ticket, "ask": method, **arguments})
            try:
                answers.append(receive(self._child.stdout))
            except (ValueError, RecursionError, MemoryError):
                answers.append("malformed")
            except OSError:
                answers.append(None)

        # In a thread, because neither sending nor receiving has to end.
        self._thread = threading.Thread(target=exchange, daemon=True)
        self._thread.start()
        self._thread.join(seconds)
        if not answers:
            raise ProcessLostError("time", f"it had not ended after {seconds:.3g} seconds: is there an endless loop?")
        if answers[0] is None:
            raise ProcessLostError("death", self._how_it_ended())
        if not isinstance(answers[0], dict) or answers[0].get("ticket") != ticket or "tried" not in answers[0]:
            raise ProcessLostError("death", FORGED)
        return answers[0]

    def end(self):
        """End the process and everything that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(self._child.pid, signal.SIGKILL)
            else:
                self._child.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(10)
        if self._thread is not None:
            self._thread.join(1)
            if self._thread.is_alive():
                return  # A process that escaped holds the pipe, so leave it open: its descriptor must not be reused.
        for pipe in (self._child.stdin, self._child.stdout):
            with contextlib.suppress(OSError):
                pipe.close()

    def _how_it_ended(self):
        try:
            code = self._child.wait(1)
        except subprocess.TimeoutExpired:
            return "it closed the pipe that carries its answers"
        if code >= 0:
            return f"its process ended, with exit code {code}"
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        return f"its process was ended by {name}"
