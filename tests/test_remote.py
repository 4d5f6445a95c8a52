"""Submissions in a process of their own: endless loops, crashes, and forged answers cost nobody else anything."""

import os
import re
import signal
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from class_helpers import MERGE_HEADS, RIGHT, WorkerInThisProcess, needs_limits, summary

from minigpt.classroom import remote
from minigpt.classroom.limits import STARTUP_SECONDS
from minigpt.classroom.messages import encode
from minigpt.classroom.remote import FORGED, RemoteWorkbook, TimeBudget, WorkerProcess
from minigpt.exercises import EXERCISES, checking

pytestmark = pytest.mark.usefixtures("few_inputs")


@pytest.mark.slow
def test_an_endless_loop_among_the_definitions_fails_the_submission(graded):
    found = graded(
        "class A:\n    while True:\n        try:\n            pass\n        except BaseException:\n            pass\n"
        + RIGHT,
        definitions_seconds=2.0,
    )
    sentence = "its definitions cannot be run: it had not ended after 2 seconds: is there an endless loop?"
    assert summary(found) == {"softmax": sentence, "merge_heads": sentence} and len(found.messages) == 2


@pytest.mark.slow
def test_an_endless_loop_fails_only_its_exercise(graded):
    text = """
    def causal_mask(T):
        while True:
            try:
                while True:
                    pass
            except BaseException:
                pass

    def linear(x, weight, bias):
        import time
        while True:
            time.sleep(1000)

    def scores(q, k):
        return 7 ** 7 ** 7 ** 7  # without a moment for any other thread
    """
    began = time.monotonic()
    found = summary(graded(textwrap.dedent(text) + RIGHT, call_seconds=3.0))
    sentence = "it had not ended after 3 seconds: is there an endless loop?"
    looped = dict.fromkeys(("causal_mask", "linear", "scores"), sentence)
    assert found == looped | {"softmax": "", "merge_heads": ""}
    assert time.monotonic() - began < 300


@pytest.mark.slow
def test_the_time_of_a_submission_is_limited(graded):
    found = graded("import time\ndef softmax(x):\n    time.sleep(0.5)\n    return x\n" + MERGE_HEADS, seconds=2)
    assert summary(found)["merge_heads"] == "the submission had already used its 2 seconds"
    assert not found.results["softmax"].passed


def test_printing_has_no_effect(graded, capfd):
    text = """
    import os, sys
    class Noise:
        print("rubbish" * 1000)
    def noise():
        print("x" * 1_000_000)
        sys.stderr.write("x" * 1_000_000)
        sys.__stdout__.write("x" * 1_000_000)
        os.write(0, b"x")
        os.write(1, b"x" * 1_000_000)
        os.write(2, b"x" * 1_000_000)
    """
    text = textwrap.dedent(text) + RIGHT.replace("    B, H", "    noise()\n    B, H")
    found = graded(text + "\ndef causal_mask(T):\n    print('y' * 10**6)\n    return T\n")
    verdicts = summary(found)
    assert verdicts["merge_heads"] == verdicts["softmax"] == ""
    assert dict(found.results["causal_mask"].details)["it printed"] == "y" * 500
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_every_way_to_end_the_process_fails_only_its_exercise(graded):
    text = """
    import os, sys, signal
    def embeddings(ids, wte, wpe):
        os._exit(0)
    def causal_mask(T):
        sys.exit(7)
    def scores(q, k):
        os.abort()
    def attention_head(q, k, v):
        os.closerange(0, 1000)
    def split_heads(x, n_head):
        sys.setrecursionlimit(10**9)
        def deeper(n):
            return [deeper(n + 1) for _ in range(2)]
        return deeper(0)
    def linear(x, weight, bias):
        signal.raise_signal(signal.SIGKILL)
    def gelu(x):
        os.kill(os.getpid(), signal.SIGKILL)
    def layer_norm(x, weight, bias, eps):
        class Bad(BaseException):
            def __str__(self):
                raise Bad
        raise Bad
    """
    found = graded(textwrap.dedent(text) + RIGHT)
    verdicts = summary(found)
    assert verdicts["softmax"] == verdicts["merge_heads"] == ""
    for name, sentence in {
        "embeddings": "its process ended, with exit code 0",
        "causal_mask": r"SystemExit: 7 \(line 6: sys.exit\(7\)\)",
        "scores": "its process was ended by SIGABRT",
        "attention_head": "its process ended, with exit code|it closed the pipe|its process was ended by",
        "split_heads": "its process was ended by SIGSEGV|RecursionError|MemoryError|its process ended|it had not ended",
        "linear": "its process was ended by SIGKILL",
        "gelu": "PermissionError: an exercise needs no os.kill",
        "layer_norm": "Bad",
    }.items():
        assert re.match(sentence, verdicts[name]), (name, verdicts[name])
    assert found.remarks == ["refused: os.kill"]


def test_a_function_that_ended_its_process_is_not_called_again(graded, monkeypatch):
    begun = []

    class Counted(WorkerProcess):
        def __init__(self, folder, isolation):
            begun.append(folder)
            super().__init__(folder, isolation)

    monkeypatch.setattr(remote, "WorkerProcess", Counted)
    text = """
    import os
    calls = []
    def causal_mask(T):
        calls.append(T)
        return 3 if len(calls) < 3 else os._exit(0)
    """
    found = graded(textwrap.dedent(text) + RIGHT)
    # Shrinking an input would call it some dozens of times.
    assert len(begun) == 2 and len(set(begun)) == 1
    assert not found.results["causal_mask"].passed and found.score == 2


FORGERS = """
import json, os, struct
import numpy as np

def tell(message):
    content = json.dumps(message).encode()
    for descriptor in range(3, 50):
        try:
            os.write(descriptor, struct.pack(">I", len(content)) + content)
        except OSError:
            pass

def causal_mask(T):
    answer = {"value": {"list": [{"list": [True]}]}, "problem": "", "message": "", "changed": [], "printed": "", "tried": []}
    tell({"ticket": "0123456789abcdef", **answer})
    return np.tri(T, dtype=bool)

def scores(q, k):
    for descriptor in range(3, 50):
        try:
            os.write(descriptor, b"\\xff" * 100_000)
        except OSError:
            pass

def linear(x, weight, bias):
    for descriptor in range(3, 50):
        try:
            os.write(descriptor, b"\\x00\\x00\\xff\\xff" + b"[" * 65535)
        except OSError:
            pass

def gelu(x):
    return np.broadcast_to(1.0, (1000, 1000, 1000))

def layer_norm(x, weight, bias, eps):
    endless = []
    endless.append(endless)
    return endless

def split_heads(x, n_head):
    return [0.5] * 300_000
"""


@pytest.mark.slow
def test_answers_cannot_be_forged_and_are_limited_in_size(graded):
    found = summary(graded(FORGERS + RIGHT))
    assert found["softmax"] == found["merge_heads"] == ""
    assert found["causal_mask"] == found["scores"] == found["linear"] == FORGED
    assert found["gelu"] == found["layer_norm"] == found["split_heads"] == "its result is far too large"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("problem", "none"), ("message", 3), ("printed", None), ("changed", None), ("tried", 3),
        ("value", {"pickle": ""}), ("value", {"array": ["O", [1], ""]}),
    ],
)  # fmt: skip
def test_a_malformed_answer_with_the_right_ticket_is_a_forgery(monkeypatch, tmp_path, isolation, field, value):
    """A submission may find out the ticket."""
    monkeypatch.setattr(remote, "WorkerProcess", WorkerInThisProcess)
    path = tmp_path / "anna.py"
    path.write_text(RIGHT)
    with RemoteWorkbook(path, tmp_path, isolation, TimeBudget(600), 10**9) as book:
        ask = book._process.ask
        monkeypatch.setattr(book._process, "ask", lambda *args, **about: ask(*args, **about) | {field: value})
        outcome = book.call("softmax", (np.zeros(3),), ())
        assert (outcome.problem, outcome.message) == ("death", FORGED)
        # The next call has a new process.
        assert book.call("merge_heads", (np.zeros((1, 1, 1, 1)),), ()).problem == ""


def test_what_a_process_says_is_cut_off(monkeypatch, tmp_path, isolation):
    """Its worker says little, but a submission may speak in its place."""

    class Talker(WorkerInThisProcess):
        def ask(self, seconds, method, answering=None, **arguments):
            answer = super().ask(seconds, method, answering, **arguments)
            many = ["x" * 10_000] * 10_000
            return answer | {"functions": ["softmax", *many], "problems": many, "failed": {"gelu": "x" * 10**6}} | {
                "problem": "crash", "message": "x" * 10**6, "printed": "x" * 10**6, "tried": ["x" * 10**6],
            }  # fmt: skip

    monkeypatch.setattr(remote, "WorkerProcess", Talker)
    (tmp_path / "anna.py").write_text(RIGHT)
    with RemoteWorkbook(tmp_path / "anna.py", tmp_path, isolation, TimeBudget(600), 10**9) as book:
        outcome = book.call("softmax", (np.zeros(3),), ())
        said = [*book.functions, *book.problems, *book.failed.values(), *book.refused, outcome.message, outcome.printed]
    assert len(said) < 300 and max(map(len, said)) == 500


HUGE_REQUESTS = {
    "a long mask": ("minigpt.model.causal_mask", [10**9, 1], {}),
    "by name": ("minigpt.model.causal_mask", [], {"T": 30_000, "S": 30_000}),
    "a NumPy integer": ("minigpt.model.causal_mask", [np.int64(30_000), np.array(30_000)], {}),
    "a float": ("minigpt.model.causal_mask", [3e4, 3e4], {}),
    "rows without numbers": ("minigpt.ops.plain.softmax", [np.zeros((10**9, 0))], {}),
    "a large product": ("minigpt.ops.plain.linear", [np.ones((9000, 1)), np.ones((1, 9000)), np.ones((999, 1, 1))], {}),
}


@needs_limits
@pytest.mark.parametrize("name", HUGE_REQUESTS)
def test_a_helper_is_not_asked_for_too_much(name):
    function, arguments, options = HUGE_REQUESTS[name]
    question = {"function": function, "arguments": encode(arguments), "options": encode(options)}
    error = remote.Answering([function]).answer(question)["error"]
    assert re.search("is called with far more numbers than an exercise has|MemoryError: Unable to allocate", error)


def test_starting_again_is_the_submissions_time_and_risk(monkeypatch, tmp_path, isolation):
    class Mortal(WorkerInThisProcess):
        def ask(self, seconds, method, answering=None, **arguments):
            if method == "call":
                raise remote.ProcessLostError("death", "it died")
            return super().ask(seconds, method, answering, **arguments)

    budget = TimeBudget(600)
    granted, spend = [], budget.spend
    budget.spend = lambda seconds: granted.append(seconds) or spend(seconds)
    monkeypatch.setattr(remote, "WorkerProcess", Mortal)
    (tmp_path / "anna.py").write_text(RIGHT)
    with RemoteWorkbook(tmp_path / "anna.py", tmp_path, isolation, budget, 10**9) as book:
        assert book.call("softmax", (), ()).message == "it died" and STARTUP_SECONDS not in granted
        assert book.call("merge_heads", (), ()).message == "it died" and granted.count(STARTUP_SECONDS) == 1

        def fail(*_):
            raise FileNotFoundError("its folder is gone")

        monkeypatch.setattr(remote, "WorkerProcess", fail)
        outcome = book.call("gelu", (), ())
        assert outcome.problem == "death" and outcome.message.endswith("does not start: its folder is gone")


@needs_limits
def test_ending_a_process_ends_what_it_started(tmp_path, monkeypatch, isolation):
    python, started = tmp_path / "python", tmp_path / "started"
    python.write_text(f'#!/bin/sh\nsleep 1000 &\necho $! > {started}\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    process = WorkerProcess(tmp_path, isolation)
    assert "limits" in process.ask(120, "begin", memory=10**9, processor=100, processes=None, hidden=[])
    sleeping = int(started.read_text())
    os.kill(sleeping, 0)
    process.end()
    for _ in range(100):
        if not Path(f"/proc/{sleeping}").exists() or ") Z " in Path(f"/proc/{sleeping}/stat").read_text():
            return
        time.sleep(0.1)
    os.kill(sleeping, signal.SIGKILL)
    pytest.fail("it still runs")


def test_a_process_that_does_not_start_is_not_the_submissions_fault(graded, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(
        OSError, match="a process limited to 512 MB does not start: its process ended, with exit code 1"
    ):
        graded(RIGHT, memory_mb=512)


def test_the_process_does_not_see_our_environment_variables(graded, monkeypatch):
    monkeypatch.setenv("SECRET", "1")
    found = graded("import os\ndef causal_mask(T):\n    raise RuntimeError(sorted(os.environ), os.getcwd())")
    verdict = summary(found)["causal_mask"]
    assert "PATH" in verdict and "SECRET" not in verdict and f"{os.sep}minigpt-" in verdict


def test_only_inputs_are_sent_to_the_process(graded, monkeypatch):
    sent = []
    send = remote.send
    monkeypatch.setattr(remote, "send", lambda pipe, message: sent.append(message) or send(pipe, message))
    found = graded(RIGHT.replace("merge_heads", "nothing"))
    inputs = [encode(arguments) for _, arguments in checking.drawn_inputs(EXERCISES["softmax"])]
    assert summary(found) == {"softmax": ""}
    assert [message["ask"] for message in sent] == ["begin", "read", "define", *["call"] * len(inputs)]
    assert [message["arguments"] for message in sent[3:]] == inputs
    # Also if the function is wrong: shrinking its input would use up the time of the other exercises.
    sent.clear()
    assert graded("def softmax(x):\n    return x").score == 0 and len(sent) == 3 + len(inputs)
    graded(RIGHT.replace("merge_heads", "nothing"))
    del sent[: 3 + len(inputs)]
    for message in sent[3:]:
        assert message.keys() == {"ticket", "ask", "name", "arguments", "helpers"}
        assert message["name"] == "softmax" and message["helpers"] == []
