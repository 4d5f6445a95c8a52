"""The process in which one submission runs: it defines what the file defines, and then answers calls.

submissions.py starts it and asks; questions come in by standard input, answers go out by standard output, which nobody
else gets to see. There is no expected value in it, and none of anybody else's work. Messages are JSON, each with its
length before it; numbers travel as bytes with their dtype and shape, so nothing is ever unpickled or evaluated.
"""

import base64
import contextlib
import importlib
import inspect
import json
import math
import os
import struct
import sys
import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from minigpt.exercises import EXERCISES, calling
from minigpt.exercises.result import shown
from minigpt.exercises.workbook import Workbook

MOST = 1_000_000  # bytes of a message; results have a few hundred
FILE_SIZE = 10_000_000  # of the largest file that a submission may write, in its own folder
FILES = 20  # that it may write there, so that a loop does not fill the disk
SHOWN = 500  # characters of a text


# ---------------------------------------------------------------- messages


def send(pipe, message):
    """Write a message. Raises ValueError if it is too long, before a byte of it is written."""
    content = json.dumps(message).encode()
    if len(content) > MOST:
        raise ValueError(f"a message of {len(content)} bytes")
    content = struct.pack(">I", len(content)) + content
    while content:
        content = content[pipe.write(content) :]


def receive(pipe):
    """The next message; None at the end. Raises ValueError or RecursionError for what is none."""
    length = _exactly(pipe, 4)
    if length is None:
        return None
    (length,) = struct.unpack(">I", length)
    if length > MOST:
        raise ValueError(f"a message of {length} bytes")
    content = _exactly(pipe, length)
    return None if content is None else json.loads(content)


def _exactly(pipe, size):
    pieces = []
    while size:
        piece = pipe.read(size)
        if not piece:
            return None
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


@dataclass(frozen=True)
class Other:
    """What stands for a result that is not made of numbers and texts: how it shows itself."""

    text: str

    def __repr__(self):
        return self.text


DTYPES = {np.dtype(letter).str for letter in "?bhilqBHILQefdg"}  # True and False, integers, real numbers


def packed(value):
    """Arguments or a result as what JSON can say. Raises ValueError for what is too large."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, bytes):
        return {"bytes": _text(value)}
    if isinstance(value, list | tuple):
        return {"list" if isinstance(value, list) else "tuple": [packed(item) for item in value]}
    if isinstance(value, dict):
        return {"dict": [[packed(key), packed(item)] for key, item in value.items()]}
    if isinstance(value, int) and value.bit_length() < 10_000:
        return int(value)
    if isinstance(value, float) and not isinstance(value, np.generic):
        return float(value)
    try:
        array = np.asarray(value)
    except Exception:
        array = np.array(None)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype.str not in DTYPES:
        try:
            return {"other": shown(value)[:SHOWN]}
        except Exception:  # a thing of the student's own, which cannot be shown
            return {"other": f"a {type(value).__name__}"}
    if array.nbytes > MOST:
        raise ValueError(f"{array.nbytes} bytes")
    kind = "number" if isinstance(value, np.generic) else "array"
    return {kind: [array.dtype.str, list(array.shape), _text(array.tobytes())]}


def _text(content):
    return base64.b64encode(content).decode()


def unpacked(message):
    """The value that was packed. Of what `packed` does not make some error is raised, whichever comes first."""
    if message is None or isinstance(message, bool | str | int | float):
        return message
    ((kind, content),) = message.items()
    if kind == "bytes":
        return base64.b64decode(content)
    if kind == "list":
        return [unpacked(item) for item in content]
    if kind == "tuple":
        return tuple(unpacked(item) for item in content)
    if kind == "dict":
        return {unpacked(key): unpacked(item) for key, item in content}
    if kind == "other":
        return Other(content[:SHOWN])
    dtype, shape, numbers = content
    if kind not in ("array", "number") or dtype not in DTYPES:
        raise ValueError(f"{kind} of {dtype}")
    array = np.frombuffer(base64.b64decode(numbers), dtype).reshape(shape).copy()
    return array if kind == "array" else array[()]


# ---------------------------------------------------------------- limits


def set_limits(memory, seconds):
    """Limit this process to so many bytes and seconds of the processor, for good; those limits that the system has."""
    try:
        import resource
    except ImportError:  # Windows
        return []
    wanted = {
        "memory": (resource.RLIMIT_AS, memory),
        "processor": (resource.RLIMIT_CPU, math.ceil(seconds)),
        "files": (resource.RLIMIT_FSIZE, FILE_SIZE),
        "dumps": (resource.RLIMIT_CORE, 0),
    }
    limited = []
    for name, (limit, value) in wanted.items():
        hard = resource.getrlimit(limit)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        with contextlib.suppress(ValueError, OSError):  # macOS does not limit memory
            resource.setrlimit(limit, (value, value))
            limited.append(name)
    return limited


# Whatever begins with one of these. Python tells audit hooks of it before it does it.
NO_EXERCISE_NEEDS = (
    "cpython.PyInterpreterState_", "ctypes.", "fcntl.", "gc.get_", "msvcrt.", "os.chdir", "os.exec", "os.fork",
    "os.kill", "os.posix_spawn", "os.spawn", "os.startfile", "os.system", "pty.", "resource.prlimit", "signal.",
    "socket.", "sqlite3.", "subprocess.", "sys._current_", "syslog.", "webbrowser.", "winreg.",
)  # fmt: skip
# Of these Python, or an old one, tells nobody, so they are replaced before anything of a submission runs.
UNHEARD = (
    "os.memfd_create", "os.mkfifo", "os.mknod", "os.pidfd_open", "os.sched_setaffinity", "os.sched_setparam",
    "os.sched_setscheduler", "os.setpriority", "signal.pidfd_send_signal", "_posixshmem.shm_open",
    "_posixsubprocess.fork_exec", "_thread.start_joinable_thread", "_thread.start_new", "_thread.start_new_thread",
)  # fmt: skip
# The first would come back as it was; the other reads and writes files without a word.
NOT_IMPORTED = ("_posixsubprocess", "readline")
# matplotlib starts these, looking for fonts, and does without. No student is to be told of it.
LOOKING_FOR_FONTS = ("fc-list", "system_profiler")
# These would let a function call something unseen.
HIDING = ("sys.setprofile", "sys.settrace", "sys.addaudithook")
# How many paths come first among its arguments.
CHANGING_FILES = {
    "os.chflags": 1, "os.chmod": 1, "os.chown": 1, "os.link": 2, "os.mkdir": 1, "os.remove": 1, "os.removexattr": 1,
    "os.rename": 2, "os.rmdir": 1, "os.setxattr": 1, "os.symlink": 2, "os.truncate": 1, "os.utime": 1,
}  # fmt: skip
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def refuse_what_no_exercise_needs(own, hidden):
    """From now on FILES files are written, in the folder `own`, those in `hidden` are not read, and much is refused.

    Gives a list, which receives what was tried. It rests on Python's audit events. So this is no sandbox: it stops
    accidents and simple tricks, not libraries that write files by themselves, and nobody who takes Python apart from
    inside.
    """
    tried, written = [], set()
    realpath, sep, own_id = os.path.realpath, os.sep, str(os.getpid())
    own, hidden = realpath(own), realpath(hidden)
    calling_code = [threading.Thread._bootstrap_inner.__code__]
    calling_code += [constant for constant in calling.call.__code__.co_consts if inspect.iscode(constant)]

    def is_in(path, folders):
        return any(path == folder or path.startswith(folder.rstrip(sep) + sep) for folder in folders)

    needed = [realpath(path) for path in (own, sys.prefix, sys.base_prefix, Path(__file__).parents[1])]
    needed = [path for path in needed if is_in(path, [hidden])]  # somebody may grade a folder with everything in it

    def may_be_read(path):
        process = path.split(sep)[2] if path.startswith("/proc/") else ""
        if process.isdecimal() and process != own_id:  # another one's memory
            return False
        return not is_in(path, [hidden]) or is_in(path, needed)

    def is_refused(event, arguments):
        if event in HIDING:
            return sys._getframe(2).f_code not in calling_code
        if event in ("open", "os.listdir", "os.scandir"):
            path, mode, flags = (*arguments, None, 0)[:3]
            if isinstance(path, int):
                return False
            path = realpath(os.fsdecode("." if path is None else path))
            if event == "open" and (flags & WRITING or any(letter in (mode or "") for letter in "wax+")):
                if is_in(path, [own]):
                    if len(written) < FILES:
                        written.add(path)
                    return path not in written
                return path != os.devnull
            # The descriptor of a folder is a way around all that is said here of paths.
            is_way_around = event == "open" and mode is None and os.path.isdir(path)
            return not may_be_read(path) or (is_way_around and not is_in(path, [own]))
        if event in CHANGING_FILES:
            paths = arguments[: CHANGING_FILES[event]]
            return any(isinstance(path, int) or not is_in(realpath(os.fsdecode(path)), [own]) for path in paths)
        if event == "import":
            return arguments[0] in NOT_IMPORTED
        if event.startswith("_thread.start_"):  # but through threading, where calling.py sees what is called
            return sys._getframe(2).f_code is not threading.Thread.start.__code__
        return event in UNHEARD or event.startswith(NO_EXERCISE_NEEDS)

    def hook(event, arguments):
        if is_refused(event, arguments):
            is_for_fonts = event == "subprocess.Popen" and arguments[:1] and arguments[0] in LOOKING_FOR_FONTS
            if len(tried) < 100 and not is_for_fonts:
                tried.append(event)
            raise PermissionError(f"an exercise needs no {event}")

    replace_unheard()
    sys.addaudithook(hook)
    return tried


def replace_unheard():
    """From now on the functions of UNHEARD tell audit hooks that they were called, and do nothing else."""
    for event in UNHEARD:
        name, _, function = event.partition(".")
        for module in (name, {"os": "posix", "signal": "_signal"}.get(name, name)):
            with contextlib.suppress(ImportError):  # not on this system
                module = importlib.import_module(module)
                if hasattr(module, function):
                    setattr(module, function, partial(sys.audit, event))  # no function of minigpt's: see calling.py
    sys.modules["readline"] = None  # so that importing it says that there is none, which pdb and others expect


# ---------------------------------------------------------------- the process


class Answers:
    """What is answered, by what is asked: `begin` first, then `read`, `define`, and any number of `call`."""

    def begin(self, memory, processor, hidden):
        limits = set_limits(memory, processor)
        self.tried = refuse_what_no_exercise_needs(os.getcwd(), hidden)
        return {"limits": limits}

    def read(self, path):
        sys.path.append(os.path.dirname(os.path.abspath(path)))  # where a module of the student's own may be
        try:
            self.workbook = Workbook(path)
        except (ValueError, OSError) as error:
            return {"unreadable": str(error)}
        return {"names": [name for name in self.workbook.names if name in EXERCISES]}

    def define(self):
        before = threading.active_count()
        workbook = self.workbook.define()
        if threading.active_count() > before:
            workbook.problems.insert(0, "its definitions started a thread that goes on: what it calls is not seen")
        return {
            "functions": [name for name in workbook.functions if name in EXERCISES],
            "failed": {name: text[:SHOWN] for name, text in workbook.failed.items() if name in EXERCISES},
            "problems": [text[:SHOWN] for text in workbook.problems[:100]],
        }

    def call(self, name, arguments, uses):
        # Who asks has the clock.
        before = len(self.tried)
        outcome = self.workbook.call(name, unpacked(arguments), uses, seconds=1e6)
        hiding = next((event for event in self.tried[before:] if event in HIDING), None)
        if hiding:
            outcome = calling.Outcome(problem="minigpt", message=f"it calls {hiding}, to do what is not seen")
        problem, message = outcome.problem, outcome.message[:SHOWN]
        value = None
        try:
            value = packed(outcome.value)
            if len(json.dumps(value)) > MOST // 2:
                raise ValueError("a value of so many parts")
        except (ValueError, RecursionError):
            value, problem, message = None, "crash", "its result is far too large"
        return {
            "value": value,
            "problem": problem,
            "message": message,
            "changed": outcome.changed,
            "printed": outcome.printed[:SHOWN],
        }


def main():
    # The pipes move out of the way of those who print, and of those who close what they did not open.
    requests, answers = os.fdopen(os.dup(0), "rb", 0), os.fdopen(os.dup(1), "wb", 0)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nothing, descriptor)
    answering = Answers()
    while (request := receive(requests)) is not None:
        ticket, question = request.pop("ticket"), request.pop("ask")
        answer = getattr(answering, question)(**request)
        send(answers, {"ticket": ticket, "tried": answering.tried, **answer})


if __name__ == "__main__":
    main()
