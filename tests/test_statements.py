"""Which statements of a student's file run: definitions, and nothing else."""

import pytest
from class_helpers import CRASH, RIGHT, open_text, passed, verdicts
from helpers import notebook

from minigpt.classroom.checks import check_workbook

pytestmark = pytest.mark.usefixtures("few_inputs")


def test_only_definitions_run(tmp_path):
    book = open_text(
        tmp_path / "mine.py",
        f'''"""Mine."""
from __future__ import annotations

import math, numpy as np
from minigpt.exercises import check

ROOT: float = np.sqrt(2 / math.pi)
A, B = 0.5, 0.044715
N = int
here, there = [], {{}}

@np.vectorize
def gelu(x: anything) -> anything:
    return A * x * (1 + Half.one * 2 * np.tanh(ROOT * (x + B * x**3)))

class Half:
    one = 1 / 2

{RIGHT}
check("softmax", softmax)
print({CRASH!r})
for i in range(3):
    {CRASH}
while True:
    {CRASH}
with open("nowhere"):
    pass
{CRASH}
model = train()
numbers = [train() for i in range(3)]
here[0] = train()
if __name__ == "__main__":
    {CRASH}
''',
    )
    assert book.problems == [] and book.failed == {}
    assert passed(check_workbook(book)) == ["gelu", "merge_heads", "softmax"]


def test_a_constant_may_call_only_what_has_no_side_effects(tmp_path):
    text = """
try:
    import numpy as np
except ImportError:
    raise SystemExit("pip install numpy")
from functools import partial
from math import pi, sqrt
import numpy.random as draw
C = sqrt(2 / pi)
NEG = float("-inf")
MASK = np.tri(64).astype(bool)
NOISE = draw.default_rng(0)
SHIFT = NOISE.normal() * 0
SQUARES = {n: n**2 for n in range(3)}
EXACT = True if sum(SQUARES.values()) == 5 else False
def _softmax(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)
softmax = partial(_softmax, axis=-1)
def gelu(x):
    return 0.5 * x * (1 + np.tanh(C * (x + 0.044715 * x**3))) + SHIFT
def causal_mask(T):
    return MASK[:T, :T]
def scores(q, k):
    return q @ k.T / sqrt(q.shape[1]) if NEG < 0 else None
if EXACT:
    def linear(x, weight, bias):
        return x @ weight + bias
else:
    linear = None
"""
    book = open_text(tmp_path / "mine.py", text)
    assert book.problems == [] and book.failed == {}
    assert passed(check_workbook(book)) == ["causal_mask", "gelu", "linear", "scores", "softmax"]
    for line in (
        "y = train()",
        "y = model.train()",
        "y = [train() for i in range(3)]",
        "y = {0: train}[0]()",
        "train()",
    ):
        book = open_text(tmp_path / "mine.py", f"import model\nmodel = 3\ndef train():\n    {CRASH}\n{line}\n{RIGHT}")
        assert not [problem for problem in book.problems if "this line was run" in problem], line


def test_an_exercise_in_a_statement_that_does_not_run_is_reported(tmp_path):
    why = "would set it, but does not run, because it is not a definition"
    text = "for i in range(1):\n    def softmax(x):\n        return x\n"
    assert verdicts(open_text(tmp_path / "a.py", text)) == {"softmax": f"it is not defined: line 1 {why}"}
    text = "from mine import jit\nsoftmax = jit(3)\nscores = jit(4)\ncheck('softmax', softmax)\n"
    (tmp_path / "mine.py").write_text("def jit(x): pass")
    assert verdicts(open_text(tmp_path / "b.py", text)) == {"softmax": f"it is not defined: line 2 {why}"}
    # A variable that happens to have the name of an exercise is not handed in.
    text = RIGHT + "scores = compute(3)\nfor i in range(1):\n    def softmax(x):\n        return x\n"
    assert passed(check_workbook(open_text(tmp_path / "c.py", text))) == ["merge_heads", "softmax"]


def test_an_imported_function_that_is_used_is_not_handed_in(tmp_path):
    from_minigpt = "import numpy as np\nfrom minigpt.ops.plain import softmax, gelu_new as gelu\n"
    checks = 'from minigpt.exercises import check\ncheck("softmax", softmax)\ncheck.in_model("softmax", softmax)\n'
    head = "def attention_head(q, k, v):\n    s = np.where(np.tri(len(q)), q @ k.T / q.shape[1]**.5, -np.inf)\n    return softmax(s) @ v\n"
    results = verdicts(open_text(tmp_path / "a.py", from_minigpt + checks + head))
    assert sorted(results) == ["attention_head", "gelu"] and results["attention_head"].startswith("right, on")
    results = verdicts(open_text(tmp_path / "b.py", from_minigpt + checks))
    assert (
        results["softmax"] == "it calls minigpt.ops.plain.softmax, which is minigpt's own solution: write it yourself"
    )
    results = verdicts(open_text(tmp_path / "c.py", from_minigpt + RIGHT))
    assert results["softmax"].startswith("right, on")


def test_nesting_that_is_too_deep_fails_only_its_statement(tmp_path):
    for terms in (700, 2000, 100_000):
        cell = f"x = {' + '.join(['1'] * terms)}"
        book = open_text(tmp_path / "mine.ipynb", notebook(RIGHT, cell))
        assert passed(check_workbook(book)) == ["merge_heads", "softmax"]
        assert all("cell 2" in problem for problem in book.problems)
