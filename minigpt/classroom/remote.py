"""A student's workbook in another process, which may crash, never end, or forge its answers."""

import contextlib
import importlib
import math
import os
import queue
import secrets
import signal
import subprocess
import threading
import time
from collections import Counter

import numpy as np

from minigpt.classroom.limits import (
    CALL_SECONDS,
    DEFINITIONS_SECONDS,
    EXERCISE_SECONDS,
    MAX_PROBLEMS,
    STARTUP_SECONDS,
    little_memory,
)
from minigpt.classroom.messages import MAX_TEXT_CHARS, decode, encode, receive, send
from minigpt.classroom.printable import one_line
from minigpt.exercises import EXERCISES
from minigpt.exercises.calling import Outcome, call_unwatched

PROBLEMS = ("", "crash", "unwritten", "time", "minigpt", "limit", "death")  # of an Outcome
MAX_HELPER_NUMBERS = 20_000  # in the arguments of a function that we call for a submission: bounds its time
MAX_HELPER_LENGTH = 1000  # a number among these arguments, which may be a length
NUMBERS = int | float | np.number | np.ndarray
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

    path: a file in `folder`, which has all files of the submission. isolation: an Isolation, for the process. budget: a
    TimeBudget. Raise OSError if no process can be started.
    """

    def __init__(self, path, folder, isolation, budget, memory_bytes):
        self.functions = []
        self.failed = {}
        self.problems = []
        self.refused = []
        self.limits = []
        self._path = path
        self._folder = folder
        self._isolation = isolation
        self._budget = budget
        self._memory_bytes = memory_bytes
        self._process = None
        self._lost = {}  # {(name, helpers): Outcome} of functions during whose call the process was lost
        self._spent = Counter()  # seconds, by name
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
        return self.call_with_right_helpers(name, arguments, uses, (), set())

    def call_with_right_helpers(self, name, arguments, uses, helpers, called):
        """Call a function with right ones in the place of these helpers; those that it calls go into `called`."""
        key = name, tuple(helpers)
        if key in self._lost:
            return self._lost[key]
        if self._spent[name] > EXERCISE_SECONDS:
            return Outcome(problem="time", message=f"its calls take more than {EXERCISE_SECONDS} seconds altogether")
        answering = Answering(uses, helpers, called)
        start = time.monotonic()
        try:
            if self._process is None:
                self._begin(again=True)
            with self._budget.spend(self._budget.call_seconds) as seconds:
                request = {"name": name, "arguments": encode(arguments), "helpers": list(helpers)}
                answer = self._process.ask(seconds, "call", answering, **request)
            if answering.refused:
                text = f"it calls {answering.refused}, which is minigpt's own solution: write it yourself"
                return Outcome(problem="minigpt", message=text)
            return self._outcome(answer, len(arguments))
        except ProcessLostError as lost:
            self._end()
            self._lost[key] = Outcome(problem=lost.problem, message=str(lost))
            return self._lost[key]
        finally:
            self._spent[name] += time.monotonic() - start

    def _begin(self, again=False):
        """Start a process. again: in the submission's time, and by the submission's fault if it does not start."""
        limits = {"memory": self._memory_bytes, "processor": self._budget.left + 10}
        limits["processes"] = self._isolation.max_processes
        with self._budget.spend(STARTUP_SECONDS) if again else contextlib.nullcontext():
            try:
                self._process = WorkerProcess(self._folder, self._isolation)
                begun = self._process.ask(STARTUP_SECONDS, "begin", **limits, hidden=self._isolation.hidden)
            except (OSError, ProcessLostError) as error:
                sentence = f"a process limited to {self._memory_bytes / 1e6:g} MB does not start: {error}"
                raise (ProcessLostError("death", sentence) if again else OSError(sentence)) from error
        self.limits = begun["limits"]
        path = self._isolation.path(self._path, self._folder)
        with self._budget.spend(self._budget.definitions_seconds) as seconds:
            read = self._process.ask(seconds, "read", path=path, exercises=list(EXERCISES))
        if "unreadable" in read:
            raise ProcessLostError("death", read["unreadable"])
        self._names = [name for name in EXERCISES if name in read["names"]]
        with self._budget.spend(self._budget.definitions_seconds) as seconds:
            defined = self._process.ask(seconds, "define")
        with _forged_if_malformed():
            self.functions = [_text(name) for name in defined["functions"][: len(EXERCISES) + MAX_PROBLEMS]]
            self.failed = {name: _text(defined["failed"][name]) for name in EXERCISES if name in defined["failed"]}
            self.problems = [_text(problem) for problem in defined["problems"][:MAX_PROBLEMS]]
            self._note_refusals(defined)

    def _outcome(self, answer, n_arguments):
        with _forged_if_malformed():
            self._note_refusals(answer)
            changed = tuple(place for place in range(n_arguments) if place in answer["changed"])
            problem, message, printed = answer["problem"], answer["message"], answer["printed"]
            if problem not in PROBLEMS or not isinstance(message, str) or not isinstance(printed, str):
                raise ValueError(problem)
            return Outcome(decode(answer["value"]), problem, _text(message), changed, _text(printed))

    def _note_refusals(self, answer):
        events = map(_text, answer["tried"][:MAX_PROBLEMS])
        self.refused += [event for event in dict.fromkeys(events) if event not in self.refused]

    def _end(self):
        if self._process is not None:
            self._process.end()
        self._process = None


class Answering:
    """Answers a submission's questions for results of minigpt's functions, during one request.

    uses: names of the functions that it may call. helpers: names of exercises whose right functions it gets; those that
    it asks for go into the set `called`. refused: the first other function that it asked for.
    """

    def __init__(self, uses=(), helpers=(), called=None, is_call=True):
        self._uses, self._helpers, self._called, self._is_call = uses, helpers, called, is_call
        self.refused = ""

    def answer(self, question):
        """Return {"value": encoded}, or {"error": sentence}. Raise some Exception for what no worker asks."""
        name = str(question["function"])
        if not self._is_call:  # a definition may make what it likes: nothing of it counts
            return {"value": None}
        if name in self._helpers:
            self._called.add(name)
            function = EXERCISES[name].reference
        elif name in self._uses:
            module, _, attribute = name.rpartition(".")
            function = getattr(importlib.import_module(module), attribute)
        else:
            self.refused = self.refused or one_line(name)
            return {"error": f"it calls {name}, which is minigpt's own solution"}
        arguments, options = decode(question["arguments"]), decode(question["options"])
        given = [*arguments, *options.values()]
        lengths = [abs(float(a)) for a in given if isinstance(a, NUMBERS) and np.ndim(a) == 0]
        if sum(map(_size, given)) > MAX_HELPER_NUMBERS or max(lengths, default=0) > MAX_HELPER_LENGTH:
            return {"error": f"{name} is called with far more numbers than an exercise has"}
        with little_memory():
            outcome = call_unwatched(lambda *given: function(*given, **options), arguments)
        return {"error": outcome.message} if outcome.problem else {"value": encode(outcome.value)}


def _size(value):
    """Return how many numbers or characters a value has; an array without numbers may still have many rows."""
    if isinstance(value, list | tuple):
        return 1 + sum(map(_size, value))
    if isinstance(value, dict):
        return 1 + sum(map(_size, value.values()))
    if isinstance(value, np.ndarray):
        return math.prod(max(1, length) for length in value.shape)
    return len(value) if isinstance(value, str | bytes) else 1


def _text(value):
    """Return what a process says as a text, which it may have made longer than it should be."""
    return str(value)[:MAX_TEXT_CHARS]


@contextlib.contextmanager
def _forged_if_malformed():
    """Turn any error in taking an answer apart into a ProcessLostError: minigpt's worker sends no such answer."""
    try:
        yield
    except Exception as error:
        raise ProcessLostError("death", FORGED) from error


class WorkerProcess:
    """A process that runs worker.py, in a session of its own, so that ending it also ends whatever it started."""

    def __init__(self, folder, isolation):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "bufsize": 0}
        self._child = isolation.start(["-m", "minigpt.classroom.worker"], folder, **pipes)
        self._in_bwrap = isolation.name == "bwrap"
        self._requests, self._answers = queue.SimpleQueue(), queue.SimpleQueue()
        # Neither sending nor receiving has to end, so a thread does both.
        self._thread = threading.Thread(target=self._converse, daemon=True)
        self._thread.start()

    def ask(self, seconds, method, answering=None, **arguments):
        """Return the answer of a method of worker.Worker, a dict. answering: an Answering, for what it asks itself.

        Raise ProcessLostError if no answer comes in time, or one that does not belong to the question.
        """
        ticket = secrets.token_hex(8)
        self._requests.put((answering or Answering(is_call=False), {"ticket": ticket, "ask": method, **arguments}))
        try:
            answer = self._answers.get(timeout=seconds)
        except queue.Empty:
            sentence = f"it had not ended after {seconds:.3g} seconds: is there an endless loop?"
            raise ProcessLostError("time", sentence) from None
        if answer is None:
            raise ProcessLostError("death", self._how_it_ended())
        if not isinstance(answer, dict) or answer.get("ticket") != ticket or "tried" not in answer:
            raise ProcessLostError("death", FORGED)
        return answer

    def _converse(self):
        while (request := self._requests.get()) is not None:
            self._answers.put(self._exchange(*request))

    def _exchange(self, answering, request):
        """Send a request and return the answer: what was received, None if the process has ended."""
        with contextlib.suppress(OSError):  # the process has ended; `receive` reports that
            send(self._child.stdin, request)
        try:
            while True:
                answer = receive(self._child.stdout)
                if (
                    not isinstance(answer, dict)
                    or "question" not in answer
                    or answer.get("ticket") != request["ticket"]
                ):
                    return answer
                send(self._child.stdin, answering.answer(answer["question"]))
        except OSError:
            return None
        except Exception:  # also RecursionError, MemoryError, and whatever a question can raise that no worker asks
            return "malformed"

    def end(self):
        """End the process and everything that it started."""
        self._requests.put(None)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(self._child.pid, signal.SIGKILL)
            else:
                self._child.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(10)
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
        if self._in_bwrap and code > 128:
            code = 128 - code  # bubblewrap reports a signal in this way
        if code >= 0:
            return f"its process ended, with exit code {code}"
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        return f"its process was ended by {name}"
