"""Submissions for the tests of minigpt.classroom, and short forms of what becomes of them."""

import sys

import pytest

from minigpt.classroom.checks import check_workbook, open_workbook
from minigpt.classroom.worker import Worker

SOFTMAX = """
def softmax(x):
    exp_x = np.exp(x - x.max(axis=-1, keepdims=True))
    return exp_x / exp_x.sum(axis=-1, keepdims=True)
"""
MERGE_HEADS = """
def merge_heads(x):
    B, H, T, K = x.shape
    return x.swapaxes(1, 2).reshape(B, T, H * K)
"""
RIGHT = f"import numpy as np\n{SOFTMAX}{MERGE_HEADS}"
CRASH = 'raise RuntimeError("this line was run")\n'

needs_limits = pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux")


def open_text(path, text):
    """Write a file with this text, and return its workbook, whose definitions have run."""
    path.write_text(text, encoding="utf-8")
    return open_workbook(path)


def verdicts(workbook):
    """Return {exercise: verdict}."""
    return {result.exercise: result.verdict for result in check_workbook(workbook)}


def passed(results):
    """Return the names of the exercises that passed, sorted."""
    return sorted(result.exercise for result in results if result.passed)


def summary(grade):
    """Return {exercise: "" if it passed, else the verdict}."""
    return {name: "" if result.passed else result.verdict for name, result in grade.results.items()}


class WorkerInThisProcess:
    """Stands for a WorkerProcess, without a process and without limits, where only the answers matter: it is faster."""

    def __init__(self, folder, isolation):
        self._worker = Worker()

    def ask(self, seconds, method, answering=None, **arguments):
        answer = {"limits": []} if method == "begin" else getattr(self._worker, method)(**arguments)
        return {"tried": [], **answer}

    def end(self):
        pass
