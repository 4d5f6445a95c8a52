"""Call functions that somebody else wrote. They may crash, never end, change their arguments, or be minigpt's own.

A function runs in a thread of its own with copies of its arguments. The expected value is computed only afterwards, so
the function cannot find it in a caller's frame.

Some calls cannot be ended, and the message says so: one that stays inside C code, such as sum(itertools.repeat(1)),
and, on Python 3.12 and later, a loop inside the exception handler of a loop.
"""

import builtins
import contextlib
import copy
import ctypes
import functools
import io
import linecache
import os
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minigpt.exercises.formatting import truncate

UNWRITTEN = "it is not written yet"
SWITCHED_OFF = "it calls sys.setprofile, which switches off the check of what it calls"
STILL_RUNS = "It still runs: restart Python (in a notebook, the kernel), or everything that follows is slow"
CALL_SECONDS = 5  # time limit of one call; the inputs are tiny
PACKAGE = str(Path(__file__).parent.parent) + os.sep  # the folder of minigpt


@dataclass(frozen=True)
class Outcome:
    """The value of a call, or the problem with it.

    problem: "crash", "unwritten", "time" (it did not end), "minigpt" (it is minigpt's own, or hides what it calls),
    "limit" (of memory, or of the size of its result) or "death" (of its process). message: the problem in words.
    changed: the indices of the arguments that the function changed; if there are any, `given` has all arguments after
    the call. printed: what it printed.
    """

    value: object = None
    problem: str = ""
    message: str = ""
    changed: tuple[int, ...] = ()
    printed: str = ""
    given: tuple = ()


class TimeUpError(BaseException):
    """Thrown into a call that takes too long. Not an Exception, so that `except Exception` does not catch it."""


class TimeUpForGoodError(TimeUpError):
    """The first exception that is thrown. It makes every later line of the call raise TimeUpError again.

    A bare `except:` catches the first one, and a loop around it would continue for ever. The next one is raised in the
    handler, and so it leaves the loop.
    """

    def __init__(self):
        # This tracer runs at every line. It is written in C: a tracer in Python would receive the exception itself.
        again = functools.partial(THROW_AT_LINE, threading.get_ident(), TimeUpError)
        frame = sys._getframe(1)
        while frame is not None and frame.f_code.co_filename != __file__:
            frame.f_trace = again
            frame = frame.f_back
        sys.settrace(again)


# PyThreadState_SetAsyncExc(thread, exception), which ignores the arguments of a tracer (frame, event, value).
THROW_AT_LINE = ctypes.PYFUNCTYPE(None, ctypes.c_ulong, *[ctypes.py_object] * 4)(
    ("PyThreadState_SetAsyncExc", ctypes.pythonapi)
)


def call(function, arguments, uses=(), seconds=CALL_SECONDS, pulse=None):
    """Return the Outcome of function(*arguments). uses: functions of minigpt that it may call; None: all of them.

    seconds: the time limit; None if somebody else enforces one, which needs no thread. pulse: an object whose
    is_late() says that the function will not end, although there is time left.
    """
    given, printed = _copy(arguments), io.StringIO()
    profile, seen = (None, []) if uses is None else _watch(uses)
    limit = f"after {seconds} seconds" if pulse is None else "in time"
    outcome = Outcome(problem="time", message=f"it had not ended {limit}: is there an endless loop?")

    def work():
        nonlocal outcome
        try:
            # A result that is not finite is reported once, in words. NumPy would warn at every operation.
            with np.errstate(all="ignore"):
                threading.setprofile(profile)  # for threads that the function may start
                sys.setprofile(profile)
                try:
                    value = function(*given)
                    # An error inside the profiler, such as a RecursionError, also removes it. But a function that ends
                    # with an error has no result that needs watching.
                    is_watched = profile is None or (sys.getprofile(), threading.getprofile()) == (profile, profile)
                finally:
                    sys.settrace(None)
                    sys.setprofile(None)
        except TimeUpError:
            return
        except NotImplementedError:
            outcome = Outcome(problem="unwritten", message=UNWRITTEN)
        except BaseException as error:  # SystemExit too: no function may end the check
            outcome = Outcome(problem="crash", message=describe_error(error))
        else:
            outcome = Outcome(value) if is_watched else Outcome(problem="minigpt", message=SWITCHED_OFF)

    with contextlib.redirect_stdout(printed), _without_input():
        if seconds is None:
            work()
        elif _still_runs(work, seconds, pulse):
            outcome = Outcome(problem="time", message=f"{outcome.message} {STILL_RUNS}")
        threading.setprofile(None)  # not in the worker, which an exception can end at any moment
    if seen:
        outcome = Outcome(problem="minigpt", message=seen[0])
    changed = tuple(i for i, (a, b) in enumerate(zip(arguments, given, strict=True)) if not are_identical(a, b))
    left = given if changed else ()
    return Outcome(outcome.value, outcome.problem, outcome.message, changed, printed.getvalue(), left)


def _still_runs(work, seconds, pulse):
    """Run work() in a thread, end it if it takes longer, and return whether that failed."""
    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    if pulse is None:
        worker.join(seconds)
    else:
        deadline = time.monotonic() + seconds
        while worker.is_alive() and time.monotonic() < deadline and not pulse.is_late():
            worker.join(0.05)
    for _ in range(20):
        if not worker.is_alive():
            break
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(worker.ident), ctypes.py_object(TimeUpForGoodError))
        worker.join(0.05)
    return worker.is_alive()


def call_unwatched(function, arguments):
    """Return the Outcome of a reference or a known mistake, which needs no watching and always ends."""
    try:
        with np.errstate(all="ignore"):
            return Outcome(function(*_copy(arguments)))
    except Exception as error:
        return Outcome(problem="crash", message=describe_error(error))


def _copy(value):
    """Return a deep copy, much faster than copy.deepcopy for the usual types of arguments."""
    if type(value) is np.ndarray:
        return value.copy()
    if type(value) in (tuple, list):
        return type(value)(map(_copy, value))
    if type(value) is dict:
        return {key: _copy(item) for key, item in value.items()}
    return copy.deepcopy(value)


@contextlib.contextmanager
def in_place(namespace, helpers):
    """Put functions into a namespace for as long as the context lasts."""
    own = {name: namespace[name] for name in helpers if name in namespace}
    namespace.update(helpers)
    try:
        yield
    finally:
        for name in helpers:
            del namespace[name]
        namespace.update(own)


@contextlib.contextmanager
def _without_input():
    """Make input() fail at once. It would wait for ever, like an endless loop."""
    original, builtins.input = builtins.input, _refuse_input
    try:
        yield
    finally:
        builtins.input = original


def _refuse_input(prompt=""):
    raise EOFError("input() waits for somebody to type, but a function gets what it needs as its arguments")


def are_identical(a, b):
    """Return whether two arguments have the same type, shape, dtype and values."""
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(are_identical(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(are_identical, a, b))
    return type(a) is type(b) and a == b


def _watch(uses, package=PACKAGE):
    """Return a profiler, and the list to which it adds each call of a minigpt function that is not in `uses`.

    Calls from inside minigpt do not count, except those from this file, which calls the student's function.
    """
    seen = []

    def is_minigpts(frame):
        return frame is not None and frame.f_code.co_filename.startswith(package)

    def profile(frame, event, _):
        if event != "call" or not is_minigpts(frame) or frame.f_code in NOT_CALLED_BY_STUDENTS:
            return
        if is_minigpts(frame.f_back) and frame.f_back.f_code.co_filename != __file__:
            return
        name = f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}"
        if name not in uses:
            seen.append(f"it calls {name}, which is minigpt's own solution: write it yourself")

    return profile, seen


NOT_CALLED_BY_STUDENTS = (_refuse_input.__code__, TimeUpForGoodError.__init__.__code__)


def describe_error(error):
    """Return an error in words, with the line of the student's code where it happened, and the cell in a notebook."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(PACKAGE)]
    inside = [f for f in frames if "site-packages" not in f.filename and not f.filename.startswith(sys.base_prefix)]
    try:
        text = truncate(str(error))  # some errors show whole arrays
    except BaseException:  # the student's own exception class, whose __str__ fails
        text = ""
    what = f"{type(error).__name__}: {text}" if text else type(error).__name__
    if not inside:
        return what
    last = inside[-1]
    code = (last.line or linecache.getline(last.filename, last.lineno)).strip()
    if isinstance(error, TypeError) and "Python scalars" in text and "math." in code:
        what += "; functions of math take a single number, those of NumPy an array"
    cell = f"{last.filename}, " if last.filename.startswith("cell ") else ""  # as classroom/sources.py names them
    return f"{what} ({cell}line {last.lineno}" + (f": {code})" if code else ")")
