"""Running a function that somebody else wrote: it may crash, never end, change its arguments, or be minigpt's own.

It runs in a thread of its own with copies of its arguments. What it is compared with is computed only afterwards, so
there is nothing to find by looking around.

Some things cannot be ended, and are told: a single call of C code that takes for ever, such as
sum(itertools.repeat(1)), and on Python 3.12 and later loops in the handlers of loops.
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
import traceback
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minigpt.exercises.result import shortened

SWITCHED_OFF = "it calls sys.setprofile, which switches off what watches over it"
STILL_RUNS = "It still runs: start Python (in a notebook, the kernel) anew, or all that follows is slow"
TIME_LIMIT = 5.0  # seconds for one call; the inputs are tiny
HOME = str(Path(__file__).parent.parent) + os.sep  # of minigpt


@dataclass(frozen=True)
class Outcome:
    """What became of a call: its value, or a problem, in words in `message`.

    problem: "crash", "unwritten", "time" (it did not end), "minigpt" (it is minigpt's own, or hides what it calls) or
    "death" (of its process). changed: the places of the arguments that the function changed; if there are any, `given`
    are the arguments as it left them. printed: what it printed.
    """

    value: object = None
    problem: str = ""
    message: str = ""
    changed: tuple[int, ...] = ()
    printed: str = ""
    given: tuple = ()


class TimeUp(BaseException):
    """Thrown into a call that takes too long. No Exception: `except Exception` is not to catch it."""


class TimeUpForGood(TimeUp):
    """The first one. A bare `except:` catches it, and a loop around that would go on for ever. So from now on the next
    one comes with every line, in the handler already: thrown there, it leaves the loop."""

    def __init__(self):
        # A tracer, which is called with every line. It is written in C: one in Python would get the exception itself.
        again = functools.partial(THROW_AT_LINE, threading.get_ident(), TimeUp)
        frame = sys._getframe(1)
        while frame is not None and frame.f_code.co_filename != __file__:
            frame.f_trace = again
            frame = frame.f_back
        sys.settrace(again)


# PyThreadState_SetAsyncExc(thread, exception), which does not look at a tracer's arguments (frame, event, value).
THROW_AT_LINE = ctypes.PYFUNCTYPE(None, ctypes.c_ulong, *[ctypes.py_object] * 4)(
    ("PyThreadState_SetAsyncExc", ctypes.pythonapi)
)


def call(function, arguments, uses=(), seconds=TIME_LIMIT):
    """The Outcome of function(*arguments). uses: what of minigpt it may call; None: anything."""
    given, printed = copy.deepcopy(arguments), io.StringIO()
    watch, seen = (None, []) if uses is None else _watch(uses)
    outcome = Outcome(problem="time", message=f"it had not ended after {seconds:g} seconds: is there an endless loop?")

    def work():
        nonlocal outcome
        try:
            # What is not finite is reported once, in words, and not by NumPy at every operation.
            with np.errstate(all="ignore"):
                threading.setprofile(watch)  # in threads that it may start
                sys.setprofile(watch)
                try:
                    value = function(*given)
                    # An error that happens inside `watch`, such as too deep a recursion, also takes it away. But who
                    # ends with an error has no result that needs watching.
                    is_watched = (sys.getprofile(), threading.getprofile()) == (watch, watch)
                finally:
                    sys.settrace(None)
                    sys.setprofile(None)
        except TimeUp:
            return
        except NotImplementedError:
            outcome = Outcome(problem="unwritten", message="it is not written yet")
        except BaseException as error:  # SystemExit too: whatever it does, it ends here
            outcome = Outcome(problem="crash", message=error_in_words(error))
        else:
            outcome = Outcome(value) if is_watched else Outcome(problem="minigpt", message=SWITCHED_OFF)

    with contextlib.redirect_stdout(printed), _nobody_to_ask():
        worker = threading.Thread(target=work, daemon=True)
        worker.start()
        worker.join(seconds)
        for _ in range(20):
            if not worker.is_alive():
                break
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(worker.ident), ctypes.py_object(TimeUpForGood))
            worker.join(0.05)
        threading.setprofile(None)  # not in the worker, which may be thrown out at any moment
        if worker.is_alive():
            outcome = Outcome(problem="time", message=f"{outcome.message} {STILL_RUNS}")
    if seen:
        outcome = Outcome(problem="minigpt", message=seen[0])
    changed = tuple(i for i, (a, b) in enumerate(zip(arguments, given, strict=True)) if not same(a, b))
    left = given if changed else ()
    return Outcome(outcome.value, outcome.problem, outcome.message, changed, printed.getvalue(), left)


def call_own(function, arguments):
    """The Outcome of a function of minigpt's own, a reference or a known mistake: it needs no watching, and it ends."""
    try:
        with np.errstate(all="ignore"):
            return Outcome(function(*copy.deepcopy(arguments)))
    except Exception as error:
        return Outcome(problem="crash", message=error_in_words(error))


@contextlib.contextmanager
def _nobody_to_ask():
    """Inside, input() fails at once: it would wait for ever, as an endless loop does."""
    asking, builtins.input = builtins.input, _refuse_input
    try:
        yield
    finally:
        builtins.input = asking


def _refuse_input(prompt=""):
    raise EOFError("input() waits for somebody to type, but a function gets what it needs as its arguments")


def same(a, b):
    """Whether two arguments are equal in everything: type, shape, dtype, values."""
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def _watch(uses, home=HOME):
    """A profiler, and the list of what it notes: that functions of minigpt are called, but for those in `uses`.

    What minigpt calls itself, below those, does not count. The function of the student is called from this file.
    """
    seen = []

    def is_minigpts(frame):
        return frame is not None and frame.f_code.co_filename.startswith(home)

    def profile(frame, event, _):
        if event != "call" or not is_minigpts(frame) or frame.f_code in NOT_CALLED:
            return
        if is_minigpts(frame.f_back) and frame.f_back.f_code.co_filename != __file__:
            return
        name = f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}"
        if name not in uses:
            seen.append(f"it calls {name}, which is minigpt's own solution: write it yourself")

    return profile, seen


NOT_CALLED = (_refuse_input.__code__, TimeUpForGood.__init__.__code__)  # by the function itself


def error_in_words(error):
    """An error in words, with the line of the function where it happened; that of a notebook's cell with the cell."""
    lines = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(HOME)]
    inside = [f for f in lines if "site-packages" not in f.filename and not f.filename.startswith(sys.base_prefix)]
    try:
        text = shortened(str(error))  # some show whole arrays
    except BaseException:  # an exception of the student's own, which fails at this, too
        text = ""
    what = f"{type(error).__name__}: {text}" if text else type(error).__name__
    if not inside:
        return what
    last = inside[-1]
    code = (last.line or linecache.getline(last.filename, last.lineno)).strip()
    cell = f"{last.filename}, " if last.filename.startswith("cell ") else ""  # as classroom/sources.py names them
    return f"{what} ({cell}line {last.lineno}" + (f": {code})" if code else ")")
