"""Limit what a submission can do in its process: its resources, the files that it can touch, and starting processes.

The system enforces the limits on memory, processor time and the size of files. The rest relies on Python's audit
events, so this is no sandbox: it stops accidents and simple tricks. It does not stop libraries that write files by
themselves, native code, or code that changes this module or Python's own from inside the process.
"""

import contextlib
import importlib
import math
import os
import sys
import threading
from functools import partial
from pathlib import Path

from minigpt.exercises import calling

# All limits of grading, those that other modules enforce included.
SUBMISSION_SECONDS = 120  # of a whole submission, by default
SUBMISSION_MEMORY_MB = 2048  # of each process, by default
CALL_SECONDS = calling.CALL_SECONDS  # of one call of a student's function, as in `check`
EXERCISE_SECONDS = 20  # of all calls of one exercise; a solution in plain Python takes a tenth of that
DEFINITIONS_SECONDS = 30  # of reading a file, and again of running its definitions
STARTUP_SECONDS = 120  # of starting Python and NumPy; not part of a submission's time
MAX_SUBMITTED_FILES = 50  # files of a submission that are checked
MAX_SUBMITTED_FILE_BYTES = 50_000_000  # of each of them
MAX_WRITTEN_FILES = 20  # files that a submission may write in its own folder, so that a loop does not fill the disk
MAX_WRITTEN_FILE_BYTES = 10_000_000  # of each of them
MAX_PROBLEMS = 100  # that are reported, as many refused accesses, and as many functions that are no exercise
HELPER_MEMORY_BYTES = 500_000_000  # that a function may take which the grading process calls for a submission


def limit_resources(memory_bytes, cpu_seconds, processes=None):
    """Limit this process permanently. Return the names of the limits that this system enforces.

    processes: how many processes and threads its user may have; None if others may run under the same user.
    """
    try:
        import resource
    except ImportError:  # Windows
        return []
    wanted = {
        "memory": (resource.RLIMIT_AS, memory_bytes),
        "processor": (resource.RLIMIT_CPU, math.ceil(cpu_seconds)),
        "files": (resource.RLIMIT_FSIZE, MAX_WRITTEN_FILE_BYTES),
        "dumps": (resource.RLIMIT_CORE, 0),
    }
    if processes is not None:
        wanted["processes"] = (resource.RLIMIT_NPROC, processes)
    enforced = []
    for name, (limit, value) in wanted.items():
        hard = resource.getrlimit(limit)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        with contextlib.suppress(ValueError, OSError):  # macOS does not limit memory
            resource.setrlimit(limit, (value, value))
            enforced.append(name)
    return enforced


@contextlib.contextmanager
def little_memory():
    """Let this process take HELPER_MEMORY_BYTES more, as long as the context lasts; on Linux."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (ImportError, OSError):
        yield
        return
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    limit = pages * resource.getpagesize() + HELPER_MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


# Every audit event that begins with one of these is refused. Python raises the event before it acts.
REFUSED_PREFIXES = (
    "cpython.PyInterpreterState_", "ctypes.", "fcntl.", "gc.get_", "msvcrt.", "os.chdir", "os.exec", "os.fork",
    "os.kill", "os.posix_spawn", "os.spawn", "os.startfile", "os.symlink", "os.system", "pty.", "resource.prlimit",
    "signal.", "socket.", "sqlite3.", "subprocess.", "sys._current_", "syslog.", "webbrowser.", "winreg.",
)  # fmt: skip
# Python (or an old version) raises no audit event for these, so we replace them before anything of a submission runs.
UNAUDITED_FUNCTIONS = (
    "os.chroot", "os.memfd_create", "os.mkfifo", "os.mknod", "os.pidfd_open", "os.sched_setaffinity",
    "os.sched_setparam", "os.sched_setscheduler", "os.setns", "os.setpriority", "os.unshare",
    "signal.pidfd_send_signal", "_posixshmem.shm_open",
    "_posixsubprocess.fork_exec", "_thread.start_joinable_thread", "_thread.start_new", "_thread.start_new_thread",
)  # fmt: skip
# Modules that access files or start processes without an event. Importing one raises ImportError, which others handle.
ABSENT_MODULES = ("_cffi_backend", "_dbm", "_gdbm", "_multiprocessing", "_tkinter", "readline")
# Importing _posixsubprocess again would bring back its original function.
REFUSED_IMPORTS = ("_posixsubprocess", *ABSENT_MODULES)
HARMLESS_DEVICES = ("/dev/null", "/dev/random", "/dev/urandom", "/dev/zero")  # the others are terminals and disks
# matplotlib runs these to find fonts and works without them; refusing them is not reported.
FONT_COMMANDS = ("fc-list", "system_profiler")
# How many paths each event has as its first arguments.
N_PATHS_OF_CHANGES = {
    "os.chflags": 1, "os.chmod": 1, "os.chown": 1, "os.link": 2, "os.mkdir": 1, "os.remove": 1, "os.removexattr": 1,
    "os.rename": 2, "os.rmdir": 1, "os.setxattr": 1, "os.truncate": 1, "os.utime": 1,
}  # fmt: skip
# A subclass could name one file to Python and another one to us.
TYPES_OF_PATHS = (str, bytes, type(Path()), os.DirEntry)
WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def refuse_system_access(own_folder, hidden_folders):
    """From now on, refuse what no exercise needs. Return a list that receives the name of each refused event.

    The process may write MAX_WRITTEN_FILES files in its own folder and none elsewhere. It may not read the hidden
    folders, except for those inside them that it needs, start processes, or use the network.
    """
    refused, written = [], set()
    realpath, sep, own_process, modules = os.path.realpath, os.sep, str(os.getpid()), sys.modules
    own_folder, hidden_folders = realpath(own_folder), [realpath(folder) for folder in hidden_folders]

    # A hidden folder may itself contain Python or our own folder, and these may contain a hidden one.
    needed = [realpath(path) for path in (own_folder, sys.prefix, sys.base_prefix, Path(__file__).parents[2])]

    def is_in(path, folder):
        return path == folder or path.startswith(folder.rstrip(sep) + sep)

    def real(path):
        path = os.fspath(path) if type(path) in TYPES_OF_PATHS else None
        return realpath(os.fsdecode(path)) if type(path) in (str, bytes) else None

    def may_read(path):
        process = path.split(sep)[2] if path.startswith("/proc/") else ""
        if process.isdecimal() and process != own_process:  # the memory of another process
            return False
        if path.startswith("/dev/"):
            return path in HARMLESS_DEVICES
        nearest = max((folder for folder in hidden_folders + needed if is_in(path, folder)), key=len, default="")
        return nearest not in hidden_folders

    def may_write(path):
        if not is_in(path, own_folder):
            return path == os.devnull
        if len(written) < MAX_WRITTEN_FILES:
            written.add(path)
        return path in written

    def may_open(event, path, mode=None, flags=0):
        if isinstance(path, int):  # a descriptor that is open already
            return True
        path = real("." if path is None else path)
        if path is None:
            return False
        if event == "open" and (flags & WRITE_FLAGS or any(letter in (mode or "") for letter in "wax+")):
            return may_write(path)
        # The descriptor of a folder allows opening files in it without their full paths.
        return may_read(path) and not (event == "open" and mode is None and os.path.isdir(path))

    def may_change(path):
        path = real(path)
        return path is not None and path != own_folder and is_in(path, own_folder)

    def is_refused(event, arguments):
        if event in ("open", "os.listdir", "os.scandir"):
            return not may_open(event, *arguments[:3])
        if event == "os.mkdir" and real(arguments[0]) == own_folder:
            return False  # it exists: libraries make sure of it
        if event in N_PATHS_OF_CHANGES:
            return not all(map(may_change, arguments[: N_PATHS_OF_CHANGES[event]]))
        if event == "import":  # a compiled module comes with its file
            name, file = arguments[:2]
            return (name in REFUSED_IMPORTS and name not in modules) or (file is not None and may_change(file))
        if event.startswith("_thread.start_"):  # threading.Thread is allowed, because calling.py watches such threads
            return sys._getframe(2).f_code is not threading.Thread.start.__code__
        return event in UNAUDITED_FUNCTIONS or event.startswith(REFUSED_PREFIXES)

    def hook(event, arguments):
        if is_refused(event, arguments):
            is_for_fonts = event == "subprocess.Popen" and arguments[:1] and arguments[0] in FONT_COMMANDS
            if len(refused) < MAX_PROBLEMS and not is_for_fonts:
                refused.append(event)
            raise PermissionError(f"an exercise needs no {event}")

    replace_unaudited_functions()
    sys.addaudithook(hook)
    return refused


def replace_unaudited_functions():
    """Replace the UNAUDITED_FUNCTIONS: from now on they raise an audit event and do nothing else."""
    for event in UNAUDITED_FUNCTIONS:
        name, _, function = event.partition(".")
        for module in (name, {"os": "posix", "signal": "_signal"}.get(name, name)):
            with contextlib.suppress(ImportError):  # not on this system
                module = importlib.import_module(module)
                if hasattr(module, function):
                    setattr(module, function, partial(sys.audit, event))
    sys.modules |= dict.fromkeys(ABSENT_MODULES)
