"""Grades, their table and CSV file, and the command `minigpt exercises grade`."""

import contextlib
import csv
import multiprocessing
import os
import subprocess
import sys
import textwrap
import time
from dataclasses import replace

import click
import pytest
from class_helpers import CRASH, RIGHT, SOFTMAX, WorkerInThisProcess, open_text, passed, summary, verdicts
from helpers import fails_with, notebook, run, run_here

from minigpt.classroom import grading, remote
from minigpt.classroom.checks import check_workbook
from minigpt.classroom.reports import require_writable, write_csv
from minigpt.exercises import EXERCISES

pytestmark = pytest.mark.usefixtures("few_inputs")


@pytest.mark.parametrize("name", ["anna.py", "anna.ipynb"])
def test_grading_gives_the_results_of_a_check(graded, name, tmp_path):
    text = RIGHT + "\ndef scores(q, k):\n    return q @ k.T\n\ndef linear(x, weight, bias):\n    x += 1\n    return x\n"
    text += "def causal_mask(T):\n    print('hello')\n    raise ValueError(T)\ncheck('softmax', softmax)\n" + CRASH
    text = notebook(text) if name.endswith("ipynb") else text
    found = graded(text, name)
    (tmp_path / "here").mkdir()
    book = open_text(tmp_path / "here" / name, text)
    results = (replace(result, mistake=None) for result in check_workbook(book, shrink=False))
    expected = {result.exercise: result for result in results}
    assert found.results == expected and list(found.results) == list(expected)
    assert passed(found.results.values()) == ["merge_heads", "softmax"] and found.score == 2
    assert found.remarks == [] and [line.partition(":")[0] for line in found.messages] == ["causal_mask", "scores", "linear"]  # fmt: skip


def test_the_type_of_a_result_matters_no_more_than_in_a_check(graded, tmp_path):
    text = """
    import numpy as np
    def causal_mask(T):
        return [[s <= t for s in range(T)] for t in range(T)]
    def merge_heads(x):
        B, H, T, K = x.shape
        return np.asfortranarray(x.swapaxes(1, 2).reshape(B, T, H * K)).astype(">f8")
    def bpe_merge(ids, pair, new_id):
        return {1j}
    def softmax(x):
        return x + 1j
    def scores(q, k):
        return [[1], [1, 2]]
    def linear(x, weight, bias):
        return "2"
    """
    found = summary(graded(text))
    assert found["causal_mask"] == found["merge_heads"] == ""
    expected = verdicts(open_text(tmp_path / "anna.py", textwrap.dedent(text)))
    for name in ("bpe_merge", "scores", "linear"):
        assert found[name] == expected[name] and "must be" in found[name]
    assert "must be an array of numbers" in found["softmax"]


@pytest.mark.parametrize(
    ("text", "remark"),
    [
        (b"", "it defines no exercise"),
        (b"def softmax(x:", "SyntaxError: '(' was never closed (line 1: def softmax(x:)"),
        (b"\x00\x01\x02", "anna.py is not Python"),
        ("def é(x)".encode("latin-1"), "anna.py is not a text in UTF-8"),
        (b"import torch_of_yesterday", "ModuleNotFoundError: No module named 'torch_of_yesterday' (line 1"),
        (b"class A:\n    1 / 0", "ZeroDivisionError: division by zero (line 2: 1 / 0)"),
        (b"class A:\n    import os\n    os._exit(0)\ndef softmax(x):\n    pass", "its process ended, with exit code 0"),
        (b"class A:\n    import sys\n    sys.exit(5)", "SystemExit: 5 (line 3: sys.exit(5))"),
    ],
)
def test_a_file_that_cannot_be_read_or_defined_is_explained(graded, monkeypatch, text, remark):
    if b"exit" not in text:
        monkeypatch.setattr(remote, "WorkerProcess", WorkerInThisProcess)
    found = graded(text)
    assert found.score == 0 and len(found.messages) == 1
    assert remark in found.messages[0], found.messages
    # A function with the name of an exercise counts as handed in.
    assert list(found.results) == (["softmax"] if b"softmax" in text else [])


def test_a_thread_that_still_runs_is_reported_and_what_matplotlib_does_is_not(graded):
    text = """
    import os, subprocess
    from pathlib import Path
    class Pool:
        import threading, time
        threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    def causal_mask(T):
        Path(os.environ["MPLCONFIGDIR"]).mkdir(parents=True, exist_ok=True)
        try:
            subprocess.check_output(["fc-list", "--format=%{file}"])
        except OSError:
            return [[s <= t for s in range(T)] for t in range(T)]
    """
    found = graded(text)
    assert found.score == 1
    assert found.messages == ["its definitions started a thread that still runs: calls in it are not checked"]


def test_the_command_grade(tmp_path, snapshot):
    folder, out = tmp_path / "class", tmp_path / "new" / "grades.csv"
    folder.mkdir()
    (folder / "anna.py").write_text(RIGHT)
    (folder / "=ben.py").write_text(
        f"import numpy as np\n{SOFTMAX}\ndef scores(q, k):\n    '''\x1b[2J'''\n    return q @ k.T\n"
    )
    (folder / "carl.ipynb").write_text(notebook("class A:\n    raise ValueError('\x1b[2J, \"=1+1\" | \\n' * 100)"))
    strange = os.fsdecode(b"d\xffra.py")
    (folder / strange).write_text("def softmax(x):\n    import os\n    os._exit(1)\n")
    (folder / "eve").mkdir()
    for name in ("smith.zip", "lee.ipynb.txt", ".hidden"):
        (folder / name).touch()
    before = snapshot()
    result = run_here("exercises", "grade", folder, "--csv", out, "--time", 300, "--memory", 1500, "--jobs", 1)
    assert result.returncode == 0, result
    assert result.stderr.endswith("minigpt: ignored: lee.ipynb.txt\n")
    assert {name: file for name, file in snapshot().items() if "new" not in name} == before
    with open(out, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["submission", *EXERCISES, "score", "out of", "messages"]
    assert [row["submission"] for row in rows] == ["'=ben.py", "anna.py", "carl.ipynb", "d�ra.py", "eve", "smith.zip"]
    assert [row["score"] for row in rows] == ["1", "2", "0", "0", "0", "0"]
    assert {row["out of"] for row in rows} == {"3"}  # somebody has handed in each of them
    assert [row["softmax"] for row in rows] == ["1", "1", "", "0", "", ""]
    assert [row["scores"] for row in rows] == ["0", "", "", "", "", ""]
    assert rows[5]["messages"] == "smith.zip was not unpacked: File is not a zip file"
    assert all(
        row[name] == "" for row in rows for name in EXERCISES if name not in ("softmax", "scores", "merge_heads")
    )
    assert rows[1]["messages"] == "" and rows[0]["messages"].startswith("scores: You do not divide q k^T by sqrt(K)")
    assert rows[3]["messages"] == "softmax: its process ended, with exit code 1"
    assert len(rows[2]["messages"]) < 250 and "\x1b" not in out.read_text() + result.stdout
    lines = result.stdout.splitlines()
    assert [line.split()[:4] for line in lines[:2]] == [["=ben.py", "1", "/", "3"], ["anna.py", "2", "/", "3"]]
    assert "  softmax                   2 / 3" in lines and lines[-1] == f"the grades are in {out}"
    assert os.listdir(out.parent) == ["grades.csv"]


def test_the_csv_file_has_what_was_graded_before_an_interruption(tmp_path, monkeypatch):
    from minigpt.cli import cli

    def stopped(submission, *_, **options):
        if submission.name == "ben.py":
            raise KeyboardInterrupt
        return grading.Grade(submission.name)

    for name in ("anna.py", "ben.py", "carl.py"):
        (tmp_path / name).touch()
    monkeypatch.setattr(grading, "grade", stopped)
    with pytest.raises(click.Abort):
        cli(
            ["exercises", "grade", str(tmp_path), "--csv", str(tmp_path / "out.csv"), "--jobs", "1"],
            standalone_mode=False,
        )
    with open(tmp_path / "out.csv", encoding="utf-8") as file:
        assert [row["submission"] for row in csv.DictReader(file)] == ["anna.py"]


class EndsItsProcess:
    """A submission that ends the process that is to grade it."""

    def with_contents(self):
        return self

    def __reduce__(self):
        return os._exit, (1,)


def test_grading_ends_with_a_sentence_if_a_process_that_grades_is_ended():
    other = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(600,))
    other.start()
    try:
        with pytest.raises(OSError, match="^a process that grades was ended from outside"):
            list(grading.grade_all([EndsItsProcess()] * 3, None, 2))
        other.join(1)
        assert other.is_alive()  # it is not one of the pool's
    finally:
        other.kill()


def test_grade_shows_its_progress(tmp_path):
    pty, termios = pytest.importorskip("pty"), pytest.importorskip("termios")
    (tmp_path / "anna.py").touch()
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    options = {"capture_output": False, "stdout": subprocess.PIPE, "stderr": theirs}
    result = run("exercises", "grade", tmp_path, "--csv", tmp_path / "out.csv", **options)
    os.close(theirs)
    progress = ""
    with contextlib.suppress(OSError):  # reading from a terminal ends with an error
        while piece := os.read(ours, 10_000).decode():
            progress += piece
    os.close(ours)
    assert result.returncode == 0 and "0/1 [" in progress and "1/1 [" in progress and "1/1" not in result.stdout


def test_grade_reports_bad_arguments_before_it_starts(tmp_path):
    (tmp_path / "anna.py").write_text("class A:\n    while True: pass")
    (tmp_path / "empty").mkdir()
    (tmp_path / "sub").mkdir()
    fails_with("is a folder: give a file", "exercises", "grade", tmp_path, "--csv", tmp_path / "sub", run=run_here)
    nowhere = tmp_path / "anna.py" / "out.csv"
    fails_with(f"{nowhere} cannot be written: ", "exercises", "grade", tmp_path, "--csv", nowhere, run=run_here)
    fails_with(
        "there are no submissions in",
        "exercises",
        "grade",
        tmp_path / "empty",
        "--csv",
        tmp_path / "out.csv",
        run=run_here,
    )
    fails_with(
        "does not exist", "exercises", "grade", tmp_path / "nowhere", "--csv", tmp_path / "out.csv", run=run_here
    )
    fails_with("is a file", "exercises", "grade", tmp_path / "anna.py", "--csv", tmp_path / "out.csv", run=run_here)
    fails_with("give --csv, --moodle, --canvas", "exercises", "grade", tmp_path, run=run_here)
    if sys.platform == "linux":  # where not even root may write
        fails_with(
            "/proc/out.csv cannot be written: ", "exercises", "grade", tmp_path, "--csv", "/proc/out.csv", run=run_here
        )


def test_an_old_csv_file_stays_until_the_new_one_is_complete(tmp_path):
    out = tmp_path / "grades.csv"
    out.write_text("the old one")
    require_writable(out)
    assert out.read_text() == "the old one"

    class Interrupted:
        @property
        def results(self):
            assert out.read_text() == "the old one"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_csv([Interrupted()], out)
    assert out.read_text() == "the old one" and os.listdir(tmp_path) == ["grades.csv"]
    write_csv([], out)
    assert out.read_text().startswith("submission,bpe_merge")
