"""What a submission cannot do in its process: use up memory or the disk, touch the teacher's files, call unseen."""

import os
import re
import tempfile
import textwrap
from importlib.util import find_spec
from pathlib import Path

import pytest
from class_helpers import RIGHT, needs_limits, summary

from minigpt.classroom.copies import course_notebooks
from minigpt.classroom.grading import grade
from minigpt.classroom.limits import ABSENT_MODULES, MAX_WRITTEN_FILES
from minigpt.classroom.submissions import find_submissions

pytestmark = pytest.mark.usefixtures("few_inputs")


@pytest.mark.slow
@needs_limits
def test_memory_is_limited(graded):
    text = """
    import numpy as np
    kept = []
    def causal_mask(T):
        while True:
            kept.append(bytes(10_000_000))
    def linear(x, weight, bias):
        return np.ones((10**6, 10**6))
    """
    found = graded(textwrap.dedent(text) + RIGHT, memory_mb=600)
    assert found.limits == ["memory", "processor", "files", "dumps"]
    verdicts = summary(found)
    assert re.match("MemoryError|its process ended", verdicts["causal_mask"])
    assert re.match(".*MemoryError: Unable to allocate", verdicts["linear"])
    assert verdicts["softmax"] == verdicts["merge_heads"] == ""


def test_files_are_limited(graded):
    """The system limits their size, and we limit their number, so that a loop cannot fill the disk."""
    text = """
    import os
    def causal_mask(T):
        for number in range(10**6):
            with open(f"{number}.txt", "wb") as file:
                file.write(bytes(1000))
    def split_heads(x, n_head):
        with open("0.txt", "ab") as file:
            file.write(bytes(1000))
        raise RuntimeError(len(os.listdir()))
    def linear(x, weight, bias):
        with open("0.txt", "wb") as file:
            for _ in range(11):
                file.write(bytes(1_000_000))
    """
    found = graded(textwrap.dedent(text) + RIGHT)
    verdicts = summary(found)
    assert "PermissionError: an exercise needs no open" in verdicts["causal_mask"]
    assert f"RuntimeError: {MAX_WRITTEN_FILES + 1}" in verdicts["split_heads"]  # and its own file
    if "files" in found.limits:
        assert "OSError: [Errno 27]" in verdicts["linear"] or "SIGXFSZ" in verdicts["linear"]
    assert verdicts["softmax"] == verdicts["merge_heads"] == "" and "refused: open" in found.remarks


def test_limits_cannot_be_raised(graded):
    pytest.importorskip("resource")
    text = """
    import resource
    def causal_mask(T):
        for limit in (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE):
            hard = resource.getrlimit(limit)[1]
            if hard == resource.RLIM_INFINITY:
                raise RuntimeError("not limited")
            resource.setrlimit(limit, (hard, hard))
        resource.setrlimit(resource.RLIMIT_CPU, (10**6, 10**6))
    """
    verdict = summary(graded(text))["causal_mask"]
    if os.geteuid() != 0:  # root may raise them
        assert "not allowed to raise maximum limit" in verdict
    else:
        assert "not limited" not in verdict


def test_calls_of_minigpts_own_solutions_are_noticed(graded):
    text = """
    import sys, threading
    from minigpt.exercises import EXERCISES, check
    from minigpt.ops.plain import softmax

    solution = EXERCISES["causal_mask"].reference

    def own(name, arguments):
        return EXERCISES[name].reference(*arguments)
    def causal_mask(T):
        return solution(T)
    def scores(q, k):
        watch = sys.getprofile()
        sys.setprofile(None)
        result = own("scores", (q, k))
        sys.setprofile(watch)
        return result
    def merge_heads(x):
        results = []
        thread = threading.Thread(target=lambda: results.append(own("merge_heads", (x,))))
        thread.start()
        thread.join()
        return results[0]
    def linear(x, weight, bias):
        results = []
        def trace(*_):
            results.append(own("linear", (x, weight, bias)))
        try:
            sys.settrace(trace)
        finally:
            (lambda: 3)()
            return results[0] if results else x @ weight + bias
    def gelu(x):
        results = []
        def hook(event, _):
            if event == "mine":
                results.append(own("gelu", (x,)))
        try:
            sys.addaudithook(hook)
        finally:
            sys.audit("mine")
            return results[0] if results else x
    check("softmax", softmax)
    """
    found = graded(text)
    assert found.score == 0
    for name, sentence in {
        "softmax": "it calls minigpt.ops.plain.softmax, which is minigpt's own solution",
        "scores": "it calls minigpt.exercises.catalogue.EXERCISES",
        "merge_heads": "it calls minigpt.exercises.catalogue.EXERCISES",
        "linear": "it calls minigpt.exercises.catalogue.EXERCISES",
        "gelu": "it calls minigpt.exercises.catalogue.EXERCISES",
        "causal_mask": "it calls minigpt.exercises.catalogue.EXERCISES",
    }.items():
        assert re.match(sentence, found.results[name].verdict), (name, found.results[name].verdict)


ATTEMPTS = """
open({file!r}, "w")
open({file!r}, "a")
open({file!r}, "r+")
open({new!r}, "x")
io.FileIO({file!r}, "w")
pathlib.Path({file!r}).write_text("x")
np.save({new!r}, 3)
np.ones(3).tofile({new!r})
np.memmap({file!r}, mode="r+")
os.open({file!r}, os.O_WRONLY)
os.open({file!r}, os.O_RDONLY | os.O_TRUNC)
os.open({file!r}.encode(), os.O_RDWR)
os.open({empty!r}, os.O_RDONLY)
os.remove({file!r})
os.unlink("../../../../../../../../../../.." + {file!r})
os.rename({file!r}, "mine")
os.replace("mine.txt", {file!r})
os.link({file!r}, "mine")
os.symlink("x", {new!r})
os.mkdir({new!r})
os.rmdir({empty!r})
os.truncate({file!r}, 0)
os.chmod({file!r}, 0)
os.utime({file!r})
os.chmod(os.open({outside!r}, os.O_RDONLY), 0)
os.chmod(os.getcwd(), 0)
os.rmdir(os.getcwd())
os.open(os.getcwd(), os.O_RDONLY)
shutil.rmtree({folder!r})
shutil.move({file!r}, "mine")
shutil.copy("mine.txt", {file!r})
os.symlink({file!r}, "link")
os.symlink("mine.txt", "link")
open(Lie({file!r}), "w")
io.FileIO(Lie({other!r}))
os.remove(Lie({file!r}))
open({other!r})
open({notebook!r})
open({parallel!r})
open("/dev/tty")
open("/proc/self/root" + {other!r})
os.listdir({folder!r})
list(os.scandir({folder!r}))
list(pathlib.Path({folder!r}).iterdir())[0]
os.chdir({folder!r})
os.system("true")
os.fork()
os.execv("/bin/true", ["true"])
os.posix_spawn("/bin/true", ["true"], {{}})
os.popen("true")
subprocess.run(["true"])
multiprocessing.get_context("spawn").Process(target=print).start()
multiprocessing.get_context("fork").Process(target=print).start()
importlib.import_module(sys.modules.pop("_posixsubprocess").__name__)
importlib.util.module_from_spec(importlib.util.spec_from_file_location("_common", shutil.copy(np.random._common.__file__, "mine.so")))
_posixshmem.shm_open("/mine", os.O_RDWR | os.O_CREAT)
os.mkfifo({new!r})
os.mknod({new!r})
os.memfd_create("mine")
os.chroot({folder!r})
os.pidfd_open(os.getppid())
signal.pidfd_send_signal(3, signal.SIGCONT)
os.sched_setaffinity(os.getppid(), [0])
os.setpriority(os.PRIO_PROCESS, os.getppid(), 1)
resource.prlimit(os.getppid(), resource.RLIMIT_FSIZE)
_thread.start_new_thread(print, ())
os.kill(os.getppid(), signal.SIGTERM)
os.killpg(0, signal.SIGCONT)
socket.socket()
socket.create_connection(("127.0.0.1", 9))
urllib.request.urlopen("http://127.0.0.1:9")
sqlite3.connect({new!r})
ctypes.CDLL(None)
ctypes.pythonapi.PyEval_SetProfile
open(f"/proc/{{os.getppid()}}/mem", "rb")
open(f"/proc/{{os.getppid()}}/environ", "rb")
gc.get_objects()
sys._current_frames()
"""


@needs_limits
def test_the_teachers_files_are_not_touched(tmp_path, snapshot, monkeypatch, isolation):
    (tmp_path / "class").mkdir()
    (tmp_path / "class" / "notes.txt").write_text("on Anna")
    (tmp_path / "outside.txt").write_text("outside of the class")
    (tmp_path / "empty").mkdir()
    parallel = tempfile.mkdtemp(dir=Path(isolation.facade).parent)  # as another submission that is being graded
    names = {
        "file": tmp_path / "class" / "anna.py", "other": tmp_path / "class" / "notes.txt", "folder": tmp_path / "class",
        "new": tmp_path / "new", "empty": tmp_path / "empty", "outside": tmp_path / "outside.txt",
        "notebook": course_notebooks()[0], "parallel": parallel,
    }  # fmt: skip
    attempts = ATTEMPTS.format(**{name: str(path) for name, path in names.items()}).strip().splitlines()
    attempts += [
        f"sys.modules.pop({name!r}) or importlib.import_module({name!r})" for name in ABSENT_MODULES if find_spec(name)
    ]
    text = f"""
import _posixshmem, _thread, ctypes, gc, importlib.util, io, multiprocessing, os, pathlib, resource, shutil, signal
import socket, sqlite3, subprocess, sys, urllib.request
import numpy as np

done = []

class Lie(str):
    def __getitem__(self, place):
        return "mine.txt"[place]
    def startswith(self, *_):
        return False
    def partition(self, _):
        return "mine.txt", "", ""

def causal_mask(T):
    if done:
        return np.tri(T, dtype=bool)
    done.append(T)
    open("mine.txt", "w").write("here it is allowed")
    assert open("mine.txt").read() == "here it is allowed" and open({str(names["outside"])!r}).read()
    try:
        import multiprocessing.synchronize, tkinter
    except ImportError:  # what others handle
        pass
    for attempt in {attempts!r}:
        try:
            eval(attempt)
        except (OSError, ImportError) as error:
            if "an exercise needs no" in str(error) or "None in sys.modules" in str(error):
                continue
            raise RuntimeError(f"{{attempt}} failed for another reason: {{error}}")
        raise RuntimeError(f"{{attempt}} was possible")
    return np.tri(T, dtype=bool)
"""
    (tmp_path / "class" / "anna.py").write_text(text)
    before = snapshot()
    monkeypatch.chdir(tmp_path)
    (anna,) = find_submissions("class")
    found = grade(anna, isolation, seconds=600)
    assert found.results["causal_mask"].passed, found.results["causal_mask"]
    assert snapshot() == before
    assert {"refused: open", "refused: os.fork", "refused: socket.__new__", "refused: ctypes.dlopen"} <= set(
        found.remarks
    )
