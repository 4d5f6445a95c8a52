"""Running a function that somebody else wrote: it may crash, never end, change its arguments, or be minigpt's own.

It runs in a thread of its own with copies of its arguments. What it is compared with is computed only afterwards, so
there is nothing to find by looking around.
"""

import contextlib
import copy
import ctypes
import io
import linecache
import os
import sys
import threading
import traceback
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SWITCHED_OFF = "it calls sys.setprofile, which switches off what watches over it"
TIME_LIMIT = 5.0  # seconds for one call; the inputs are tiny
HOME = str(Path(__file__).parent.parent) + os.sep  # of minigpt


@dataclass(frozen=True)
class Outcome:
    """What became of a call: its value, or a problem, in words in `message`.

    problem: "crash", "unwritten", "time" (it did not end), "minigpt" (it is minigpt's own, or hides what it calls) or
    "death" (of its process). changed: the places of the arguments that the function changed. printed: what it printed.
    """

    value: object = None
    problem: str = ""
    message: str = ""
    changed: tuple[int, ...] = ()
    printed: str = ""


class TimeUp(BaseException):
    """Thrown into a call that takes too long. No Exception: `except Exception` is not to catch it."""


def call(function, arguments, uses=(), seconds=TIME_LIMIT):
    """The Outcome of function(*arguments). uses: what of minigpt it may call; None: anything."""
    given, found, printed = copy.deepcopy(arguments), [], io.StringIO()
    outcome = Outcome(problem="time", message=f"it had not ended after {seconds:g} seconds: is there an endless loop?")

    def work():
        nonlocal outcome
        try:
            # What is not finite is reported once, in words, and not by NumPy at every operation.
            with np.errstate(all="ignore"):
                watch = None if uses is None else _watch(uses, found)
                threading.setprofile(watch)  # in threads that it may start
                sys.setprofile(watch)
                try:
                    value = function(*given)
                finally:
                    if (sys.getprofile(), threading.getprofile()) != (watch, watch):
                        found.append(SWITCHED_OFF)
                    sys.setprofile(None)
                    threading.setprofile(None)
        except TimeUp:
            return
        except NotImplementedError:
            outcome = Outcome(problem="unwritten", message="it is not written yet")
        except BaseException as error:  # SystemExit too: whatever it does, it ends here
            outcome = Outcome(problem="crash", message=error_in_words(error))
        else:
            outcome = Outcome(value)

    with contextlib.redirect_stdout(printed):
        worker = threading.Thread(target=work, daemon=True)
        worker.start()
        worker.join(seconds)
        for _ in range(20):
            if not worker.is_alive():
                break
            # A loop that catches everything gets it again.
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(worker.ident), ctypes.py_object(TimeUp))
            worker.join(0.05)
    if found:
        outcome = Outcome(problem="minigpt", message=found[0])
    changed = tuple(i for i, (a, b) in enumerate(zip(arguments, given, strict=True)) if not same(a, b))
    return Outcome(outcome.value, outcome.problem, outcome.message, changed, printed.getvalue())


def same(a, b):
    """Whether two arguments are equal in everything: type, shape, dtype, values."""
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def _watch(uses, found):
    """A profiler that notes the functions of minigpt that are called, but for those in `uses` and what these call."""
    allowed = None  # the frame of a call that is allowed

    def profile(frame, event, _):
        nonlocal allowed
        if event == "return" and frame is allowed:
            allowed = None
        elif event == "call" and allowed is None and frame.f_code.co_filename.startswith(HOME):
            name = f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}"
            if name in uses:
                allowed = frame
            else:
                found.append(f"it calls {name}, which is minigpt's own solution: write it yourself")

    return profile


def error_in_words(error):
    """An error in words, with the line of the function where it happened; that of a notebook's cell with the cell."""
    lines = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(HOME)]
    inside = [f for f in lines if "site-packages" not in f.filename and not f.filename.startswith(sys.base_prefix)]
    try:
        text = str(error)
    except BaseException:  # an exception of the student's own, which fails at this, too
        text = ""
    what = f"{type(error).__name__}: {text}" if text else type(error).__name__
    if not inside:
        return what
    last = inside[-1]
    code = (last.line or linecache.getline(last.filename, last.lineno)).strip()
    cell = f"{last.filename}, " if last.filename.startswith("cell ") else ""  # as workbook.py names them
    return f"{what} ({cell}line {last.lineno}" + (f": {code})" if code else ")")
