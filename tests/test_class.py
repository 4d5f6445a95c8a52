"""Exercises for a class: the student's copies, checking files, and grading what some students hand in."""

import contextlib
import csv
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import click
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minigpt.exercises import EXERCISES, checking, submissions, workbook
from minigpt.exercises.answering import FILES, Other, packed, unpacked
from minigpt.exercises.calling import same
from minigpt.exercises.submissions import find_submissions, grade

MINIGPT = [sys.executable, "-m", "minigpt.cli"]

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


@pytest.fixture(scope="module", autouse=True)
def few_inputs():
    """How good the inputs are is not what is tested here."""
    drawn = checking.drawn_inputs
    checking.drawn_inputs = lambda exercise: drawn(exercise)[::8]
    yield
    checking.drawn_inputs = drawn


def run(*args, **options):
    options = {"text": True, "encoding": "utf-8", "timeout": 300, "capture_output": True, **options}
    return subprocess.run([*MINIGPT, "exercises", *map(str, args)], **options)


def fails_with(sentence, *args, **options):
    result = run(*args, **options)
    assert result.returncode == 2 and result.stdout == "", result
    assert result.stderr.startswith("minigpt: ") and result.stderr.count("\n") == 1, result.stderr
    assert sentence in result.stderr, result.stderr


def notebook(*cells):
    """A notebook file's text. A cell is its code, or a dict of its fields."""
    cells = [cell if isinstance(cell, dict) else {"source": cell} for cell in cells]
    empty = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    return json.dumps({"cells": [empty | cell for cell in cells], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def defined(path, text):
    """The workbook of a file with that text, defined."""
    path.write_text(text, encoding="utf-8")
    return workbook.defined(path)


def verdicts(book):
    return {result.exercise: result.verdict for result in workbook.results(book)}


def passed(results):
    return sorted(result.exercise for result in results if result.passed)


# ---------------------------------------------------------------- the student's copies

SOLVED = '''def softmax(x):
    """e^x, over its sum."""
    def helper(y):
        return y
    ### BEGIN SOLUTION
    secret = helper(x)
    return secret
    ### END SOLUTION


def twice(x):
    if x:
        ### BEGIN SOLUTION
        return "secret"
        ### END SOLUTION
'''
UNSOLVED = '''def softmax(x):
    """e^x, over its sum."""
    def helper(y):
        return y
    raise NotImplementedError("write softmax")


def twice(x):
    if x:
        raise NotImplementedError("write twice")'''
OUTPUT = [{"output_type": "stream", "name": "stdout", "text": ["42\n"]}]


@pytest.fixture
def teachers(tmp_path, monkeypatch):
    """A folder in which minigpt believes its notebooks to be."""
    folder = tmp_path / "minigpt" / "notebooks"
    folder.mkdir(parents=True)
    monkeypatch.setattr(workbook, "PACKAGE", folder.parent)
    return folder


def test_a_copy_has_no_solutions_and_no_outputs_that_need_them():
    ran = {"outputs": OUTPUT, "execution_count": 7}
    meta = {"nbgrader": {"grade_id": "softmax", "solution": True, "grade": False, "locked": False, "schema_version": 3}}
    original = json.loads(
        notebook(
            {"cell_type": "markdown", "source": ["### BEGIN SOLUTION is a marker"]},
            {"source": ["print(42)\n", "softmaxes = 1"], **ran},
            {"source": SOLVED.splitlines(keepends=True), "metadata": meta, "id": "exercise-softmax", **ran},
            {"source": 'check("softmax", softmax)', **ran},
            {"source": 'print("softmax")', **ran},
            {"source": '%time check.in_model("softmax", softmax)', **ran},
            {"source": "print(twice(3))", **ran},
        )
    )
    before = json.dumps(original)
    copy = workbook.without_solutions(original)
    assert json.dumps(original) == before
    cells = copy["cells"]
    assert "".join(cells[2]["source"]) == UNSOLVED and "secret" not in json.dumps(copy)
    assert cells[2]["metadata"] == meta and cells[2]["id"] == "exercise-softmax"
    for n in (0, 1, 4):
        assert cells[n] == original["cells"][n]
    for n in (2, 3, 5, 6):
        assert cells[n]["outputs"] == [] and cells[n]["execution_count"] is None
        assert n == 2 or "".join(cells[n]["source"]) == original["cells"][n]["source"]
    assert {name: value for name, value in copy.items() if name != "cells"} == {"metadata": {}, "nbformat": 4, "nbformat_minor": 5}  # fmt: skip


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("def f():\n    ### BEGIN SOLUTION\n    return 1", "without .*END SOLUTION"),
        ("def f():\n    return 1\n    ### END SOLUTION", "without .*BEGIN SOLUTION"),
        ("def f():\n    ### BEGIN SOLUTION\n    ### BEGIN SOLUTION\n    ### END SOLUTION", "once before"),
        ("### BEGIN SOLUTION\nx = 1\n### END SOLUTION", "must stand in a function"),
    ],
)
def test_a_marker_without_its_counterpart_gives_no_solution_away(source, sentence):
    with pytest.raises(ValueError, match=f"cell 2: .*{sentence}"):
        workbook.without_solutions(json.loads(notebook("x = 1", source)))


def test_start_never_overwrites(teachers, tmp_path):
    for name in ("01_a", "02_b", "03_c"):
        (teachers / f"{name}.ipynb").write_text(notebook(SOLVED, "café = '\u2028'"), encoding="utf-8")
    folder = tmp_path / "not" / "there"
    assert workbook.start(folder) == (["01_a.ipynb", "02_b.ipynb", "03_c.ipynb"], [])
    assert "café" in (folder / "01_a.ipynb").read_text(encoding="utf-8")
    (folder / "01_a.ipynb").write_text("my work")
    (folder / "02_b.ipynb").unlink()
    (folder / "03_c.ipynb").unlink()
    (folder / "03_c.ipynb").symlink_to("my work on another disk")
    assert workbook.start(folder) == (["02_b.ipynb"], ["01_a.ipynb", "03_c.ipynb"])
    assert (folder / "01_a.ipynb").read_text() == "my work" and (folder / "03_c.ipynb").is_symlink()
    assert sorted(path.name for path in folder.iterdir()) == ["01_a.ipynb", "02_b.ipynb", "03_c.ipynb"]


def test_start_says_what_is_wrong(teachers, tmp_path):
    with pytest.raises(ValueError, match="there are no notebooks in .*install minigpt again"):
        workbook.start(tmp_path / "new")
    (teachers / "01_a.ipynb").write_text(notebook(SOLVED))
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="is a file: give a folder"):
        workbook.start(tmp_path / "file")
    (teachers / "01_a.ipynb").write_text("{}")
    with pytest.raises(ValueError, match="01_a.ipynb is not a notebook"):
        workbook.start(tmp_path / "new")


def test_notebooks_lie_in_the_package_or_in_the_checkout(teachers):
    assert workbook.notebooks() == []
    beside = teachers.parent.parent / "notebooks"
    beside.mkdir()
    (beside / "02_b.ipynb").write_text(notebook())
    assert workbook.notebooks() == []  # some other package's
    (beside.parent / "pyproject.toml").touch()
    assert workbook.notebooks() == [beside / "02_b.ipynb"]
    (teachers / "01_a.ipynb").write_text(notebook())
    assert workbook.notebooks() == [teachers / "01_a.ipynb"]


def test_places_are_where_a_check_is_graded(teachers):
    graded = {"metadata": {"nbgrader": {"grade": True}}}
    (teachers / "01_a.ipynb").write_text(
        notebook('check("softmax", f)', {"source": 'check("scores", scores)', **graded})
    )
    (teachers / "02_b.ipynb").write_text(notebook({"source": 'check("scores", s)\ncheck("gelu", gelu)', **graded}))
    assert workbook.places(["softmax", "scores", "gelu"]) == {"01_a": ["scores"], "02_b": ["gelu"], "": ["softmax"]}


REAL = [path for path in workbook.notebooks() if "### BEGIN SOLUTION" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_the_notebooks_pass_and_their_copies_wait_to_be_written(path, tmp_path):
    original = json.loads(path.read_text(encoding="utf-8"))
    solved = verdicts(workbook.defined(path))
    assert solved and all(verdict.startswith("right, on") for verdict in solved.values()), solved
    copy = tmp_path / path.name
    copy.write_text(json.dumps(workbook.without_solutions(original)), encoding="utf-8")
    assert verdicts(workbook.defined(copy)) == dict.fromkeys(solved, "it is not written yet")
    for cell in json.loads(copy.read_text())["cells"]:
        if "nbgrader" in cell["metadata"]:
            assert cell["outputs"] == [] and cell["execution_count"] is None


def test_start_and_list_as_commands(tmp_path):
    result = run("start", tmp_path / "mine")
    names = sorted(path.name for path in (tmp_path / "mine").iterdir())
    assert result.returncode == 0 and f"{len(names)} notebooks are in" in result.stdout and names[0] in result.stdout
    assert names == [path.name for path in workbook.notebooks()]
    again = run("start", tmp_path / "mine")
    assert again.returncode == 0 and again.stdout == f"kept as they are: {', '.join(names)}\n"
    (tmp_path / "file").touch()
    fails_with("is a file: give a folder", "start", tmp_path / "file")
    listed = run("list").stdout
    assert [line.strip() for line in listed.splitlines() if re.match(r"    \S", line)] == [
        EXERCISES[name].signature for names in workbook.places(EXERCISES).values() for name in names
    ]


# ---------------------------------------------------------------- what is read and what is run


def test_only_definitions_run(tmp_path):
    book = defined(
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
    assert passed(workbook.results(book)) == ["gelu", "merge_heads", "softmax"]


def test_constants_are_whatever_only_computes(tmp_path):
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
    book = defined(tmp_path / "mine.py", text)
    assert book.problems == [] and book.failed == {}
    assert passed(workbook.results(book)) == ["causal_mask", "gelu", "linear", "scores", "softmax"]
    for line in (
        "y = train()",
        "y = model.train()",
        "y = [train() for i in range(3)]",
        "y = {0: train}[0]()",
        "train()",
    ):
        book = defined(tmp_path / "mine.py", f"import model\nmodel = 3\ndef train():\n    {CRASH}\n{line}\n{RIGHT}")
        assert not [problem for problem in book.problems if "this line was run" in problem], line


def test_what_is_handed_in_and_does_not_run_says_so(tmp_path):
    why = "would set it, but is not run, as it is no definition"
    text = "for i in range(1):\n    def softmax(x):\n        return x\n"
    assert verdicts(defined(tmp_path / "a.py", text)) == {"softmax": f"it is not defined: line 1 {why}"}
    text = "from mine import jit\nsoftmax = jit(3)\nscores = jit(4)\ncheck('softmax', softmax)\n"
    (tmp_path / "mine.py").write_text("def jit(x): pass")
    assert verdicts(defined(tmp_path / "b.py", text)) == {"softmax": f"it is not defined: line 2 {why}"}
    # A variable that happens to be named like an exercise is nothing that is handed in.
    text = RIGHT + "scores = compute(3)\nfor i in range(1):\n    def softmax(x):\n        return x\n"
    assert passed(workbook.results(defined(tmp_path / "c.py", text))) == ["merge_heads", "softmax"]


def test_what_cannot_be_judged_costs_itself(tmp_path, monkeypatch):
    examine = workbook.examine

    def failing(exercise, *args, **options):
        if exercise.name == "softmax":
            raise AttributeError("'tuple' object has no attribute 'shape'")
        return examine(exercise, *args, **options)

    monkeypatch.setattr(workbook, "examine", failing)
    results = verdicts(defined(tmp_path / "mine.py", RIGHT))
    assert results["softmax"].startswith("it could not be judged: AttributeError: 'tuple' object has no attribute")
    assert results["merge_heads"].startswith("right, on")


def test_a_lambda_is_a_function_and_the_last_definition_counts(tmp_path):
    wrong = "merge_heads = lambda x: 0\n"
    assert passed(workbook.results(defined(tmp_path / "a.py", wrong + RIGHT))) == ["merge_heads", "softmax"]
    assert passed(workbook.results(defined(tmp_path / "b.py", RIGHT + wrong))) == ["softmax"]
    # A number of that name takes no function away.
    assert passed(workbook.results(defined(tmp_path / "c.py", f"{RIGHT}\nmerge_heads = 3"))) == [
        "merge_heads",
        "softmax",
    ]
    reference = verdicts(defined(tmp_path / "d.py", "from minigpt.ops import plain\nsoftmax = plain.softmax"))
    assert "minigpt's own solution" in reference["softmax"]


def test_magics_and_other_languages_do_not_run(tmp_path):
    book = defined(
        tmp_path / "mine.ipynb",
        notebook(
            "%matplotlib inline\nimport numpy as np\n!rm -rf mine\nfiles = !ls\nlater = %time 3\nnp.exp?",
            f"%%time\n{SOFTMAX}",
            "%%bash\nif then: else",
            "%timeit softmax(3)",
            "def scores(q, k):\n    %time s = q @ k.T\n    !date\n    text = '''\n%s\n''' % 3\n    return s / np.sqrt(q.shape[1])",
            'def merge_heads(x):\n    """\n    %time is of no concern\n    """\n    return (x\n    % 10**9).swapaxes(1, 2).reshape(*x.shape[::2], -1)',
        ),
    )
    assert book.problems == []
    results = verdicts(book)
    assert sorted(results) == ["merge_heads", "scores", "softmax"]
    assert results["softmax"].startswith("right, on")
    assert "name 's' is not defined" in results["scores"] and "(cell 5, line 7" in results["scores"]


def test_a_cell_that_is_not_python_costs_what_it_defines(tmp_path):
    path = tmp_path / "mine.ipynb"
    broken = "x = 1\ndef scores(q, k:\n    return q"
    text = {"cell_type": "markdown", "source": "not code"}
    book = defined(path, notebook("import numpy as np", text, "", SOFTMAX, broken, MERGE_HEADS, "y = '\0'"))
    results = verdicts(book)
    assert passed(workbook.results(book)) == ["merge_heads", "softmax"] and sorted(results) == ["merge_heads", "scores", "softmax"]  # fmt: skip
    assert results["scores"] == "SyntaxError: '(' was never closed (cell 3, line 2: def scores(q, k:)"
    assert len(book.problems) == 2 and "cell 5" in book.problems[1]
    # Jupyter would keep what it has, too.
    assert passed(workbook.results(defined(path, notebook(f"import numpy as np{SOFTMAX}", "def softmax(x:")))) == [
        "softmax"
    ]


def test_a_definition_that_fails_costs_itself(tmp_path):
    book = defined(
        tmp_path / "mine.ipynb",
        notebook(
            f"import torch_of_yesterday\n{RIGHT}",
            "H = model.config.n_head\ndef scores(q, k, h=H):\n    return q",
            "class linear:\n    sys.exit(3)",
            "def gelu(x):\n    return\nreturn",
            # What a page shows, where only its definitions run.
            "trace = {}\nmodel(trace)\nwidth = trace['x'].shape\ndef show(x=H):\n    pass\ndef twice(x=show):\n    pass",
            "def causal_mask(T):\n    return twice(width)",
        ),
    )
    results = verdicts(book)
    assert passed(workbook.results(book)) == ["merge_heads", "softmax"]
    assert book.problems[0].startswith(
        "ModuleNotFoundError: No module named 'torch_of_yesterday' (cell 1, line 1: import"
    )
    assert results["scores"].startswith("NameError: name 'H' is not defined (cell 2, line 2: def scores(q, k, h=H):)")
    assert results["scores"].endswith("cell 2, line 1 would set it, but is not run, as it is no definition")
    assert results["linear"].startswith("NameError") and "(cell 3, line 2: sys.exit(3))" in results["linear"]
    assert results["gelu"].startswith("it returns None")
    assert results["causal_mask"].startswith(
        "NameError: name 'twice' is not defined (cell 6, line 2: return twice(width))"
    )
    assert (
        ": cell 5, line 6 would set it, but fails: NameError: name 'show' is not defined (cell 5, line 6"
        in results["causal_mask"]
    )
    assert len(book.problems) == 3


def test_what_is_nested_too_deeply_costs_itself(tmp_path):
    for terms in (700, 2000, 100_000):
        cell = f"x = {' + '.join(['1'] * terms)}"
        book = defined(tmp_path / "mine.ipynb", notebook(RIGHT, cell))
        assert passed(workbook.results(book)) == ["merge_heads", "softmax"]
        assert all("cell 2" in problem for problem in book.problems)


def test_messages_name_cell_and_line(tmp_path):
    source = "import numpy as np\n\ndef softmax(x):\n    y = np.exp(x)\n    return y / z"
    book = defined(tmp_path / "mine.ipynb", notebook("import numpy as np", "z = train(3)", source))
    verdict = verdicts(book)["softmax"]
    assert verdict.startswith("NameError: name 'z' is not defined (cell 3, line 5: return y / z)")
    assert "cell 2, line 1 would set it, but is not run" in verdict
    verdict = verdicts(defined(tmp_path / "mine.py", f"z = train(3)\n{source}"))["softmax"]
    assert verdict.startswith("NameError: name 'z' is not defined (line 6: return y / z): line 1 would set it")


def test_what_is_imported_to_be_used_is_not_handed_in(tmp_path):
    from_minigpt = "import numpy as np\nfrom minigpt.ops.plain import softmax, gelu_new as gelu\n"
    checks = 'from minigpt.exercises import check\ncheck("softmax", softmax)\ncheck.in_model("softmax", softmax)\n'
    head = "def attention_head(q, k, v):\n    s = np.where(np.tri(len(q)), q @ k.T / q.shape[1]**.5, -np.inf)\n    return softmax(s) @ v\n"
    results = verdicts(defined(tmp_path / "a.py", from_minigpt + checks + head))
    assert sorted(results) == ["attention_head", "gelu"] and results["attention_head"].startswith("right, on")
    results = verdicts(defined(tmp_path / "b.py", from_minigpt + checks))
    assert (
        results["softmax"] == "it calls minigpt.ops.plain.softmax, which is minigpt's own solution: write it yourself"
    )
    results = verdicts(defined(tmp_path / "c.py", from_minigpt + RIGHT))
    assert results["softmax"].startswith("right, on")


def test_modules_next_to_the_file_are_found(tmp_path):
    (tmp_path / "my_softmax.py").write_text(RIGHT)
    assert passed(workbook.results(defined(tmp_path / "mine.py", "from my_softmax import softmax"))) == ["softmax"]


def test_check_as_a_command(tmp_path):
    good, half = tmp_path / "good.py", tmp_path / "half.ipynb"
    good.write_text(RIGHT)
    result = run("check", good)
    assert result.returncode == 0 and result.stderr == ""
    assert re.findall(r"^. (\w+) +(\S+)", result.stdout, re.M) == [("softmax", "right,"), ("merge_heads", "right,")]
    assert result.stdout.splitlines()[-1].startswith("not in the file: bpe_merge, bpe_train, embeddings, causal_mask,")
    assert "softmax," not in result.stdout.splitlines()[-1]

    half.write_text(notebook(RIGHT, "def scores(q, k):\n    return q @ k.T", "def linear(x, y:\n", "def f(:"))
    result = run("check", half)
    assert result.returncode == 1 and result.stderr == ""
    assert [line[0] for line in result.stdout.splitlines()[:4]] == ["✓", "✗", "✓", "✗"]
    assert "smallest input:\n        q = " in result.stdout and result.stdout.count("cell 3, line 1") == 1
    assert "\nSyntaxError: invalid syntax (cell 4, line 1: def f(:)\n" in result.stdout
    half.write_text(notebook(RIGHT, "def linear(x, weight, bias=" + "no + " * 30 + "no):\n    pass"))
    lines = run("check", half).stdout.splitlines()
    # What the table cuts off is below.
    assert lines[2].endswith(" ...") and lines[4].startswith("✗ linear: NameError") and "+ no):)" in lines[4]
    half.write_text(notebook(RIGHT, "def scores(q, k):\n    return q @ k.T", "def linear(x, y:\n", "def f(:"))
    assert run("check", half, "--only", "softmax").returncode == 0
    result = run("check", half, "--only", "scores", "--only", "softmax")
    assert result.returncode == 1 and "merge_heads" not in result.stdout

    fails_with("half.ipynb does not define gelu", "check", half, "--only", "gelu")
    fails_with("is a directory", "check", tmp_path)
    fails_with("does not exist", "check", tmp_path / "nowhere.py")


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("empty.py", b"", "empty.py defines no exercise; `minigpt exercises list`"),
        ("broken.py", b"def f(:", "broken.py defines no exercise; SyntaxError: invalid syntax (line 1: def f(:)"),
        ("latin.py", "x = 'é'".encode("latin-1"), "latin.py is not a text in UTF-8"),
        ("mine.txt", b"", "mine.txt is neither a Python file (.py) nor a notebook (.ipynb)"),
        ("old.ipynb", b'{"worksheets": []}', "old.ipynb is not a notebook"),
        ("deep.ipynb", b"[" * 100_000, "deep.ipynb is not a notebook"),
        ("list.ipynb", b'{"cells": [{"cell_type": "code", "source": 3}]}', "list.ipynb is not a notebook"),
        ("latin.ipynb", b'{"cells": [], "\xff": 3}', "latin.ipynb is not a notebook"),
    ],
)
def test_what_is_no_workbook(tmp_path, name, content, sentence):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(sentence)):
        workbook.defined(tmp_path / name)


def test_only_what_exists_can_be_asked_for(tmp_path):
    (tmp_path / "mine.py").write_text(RIGHT)
    assert workbook.defined(tmp_path / "mine.py", ["softmax"]).failed == {}
    with pytest.raises(ValueError, match="no exercise 'softmx'; did you mean 'softmax'?"):
        workbook.defined(tmp_path / "mine.py", ["softmx"])
    with pytest.raises(ValueError, match="mine.py does not define gelu"):
        workbook.defined(tmp_path / "mine.py", ["softmax", "gelu"])


# ---------------------------------------------------------------- messages between processes

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | hnp.arrays(st.sampled_from(list("?bhilqBHILQefdg")), hnp.array_shapes(min_dims=0, min_side=0))
    | st.integers(-9, 9).map(np.int64)
    | st.floats(width=32, allow_nan=False).map(np.float32),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text() | st.integers(), inner),
)


@given(VALUES)
def test_values_travel_as_they_are(value):
    assert same(unpacked(json.loads(json.dumps(packed(value)))), value)


def test_what_is_no_number_travels_as_a_picture_of_it():
    class Hostile:
        def __repr__(self):
            raise RuntimeError("not today")

        def __array__(self, *_, **__):
            raise RuntimeError("not today")

    for value, text in ((1j, "1j"), (np.array(["a"]), "[a]   shape (1,)"), ({1}, "{1}"), (len, "<built-in function len>"), (Hostile(), "a Hostile")):  # fmt: skip
        assert isinstance(unpacked(packed(value)), Other) and text in repr(unpacked(packed(value)))
    assert unpacked(packed(range(3))).tolist() == [0, 1, 2]
    assert same(unpacked(packed(np.array([1, 2], ">i4"))), np.array([1, 2], "i4"))
    assert np.isnan(unpacked(json.loads(json.dumps(packed(np.nan)))))
    with pytest.raises(ValueError, match="bytes"):
        packed(np.broadcast_to(np.float64(1), (10**6, 10**6)))


@pytest.mark.parametrize(
    "message",
    [
        {"array": ["O", [1], "AAAAAAAAAAA="]},
        {"array": ["|V8", [1], "AAAAAAAAAAA="]},
        {"array": ["<M8[s]", [1], "AAAAAAAAAAA="]},
        {"array": ["<f8", [2], "AAAAAAAAAAA="]},
        {"array": ["<f8", [10**15], ""]},
        {"pickle": "gASVCgAAAAAAAACMBnN5c3RlbZQu"},
        {"dict": [[{"list": []}, 1]]},
        {"tuple": 3},
        {},
        {"list": [], "tuple": []},
    ],
)
def test_nothing_else_is_unpacked(message):
    with pytest.raises((ValueError, TypeError, KeyError)):
        unpacked(message)


# ---------------------------------------------------------------- grading


@pytest.fixture
def graded(tmp_path):
    """A function that grades a text as if it were handed in: graded(text, name of the file)."""

    def graded(text, name="anna.py", **limits):
        folder = tmp_path / "class"
        folder.mkdir(exist_ok=True)
        path = folder / name
        path.write_bytes(text if isinstance(text, bytes) else textwrap.dedent(text).encode())
        (submission,) = find_submissions(folder)
        return grade(submission, **{"seconds": 600, **limits})

    return graded


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(submissions, "TIME_LIMIT", 3.0)
    monkeypatch.setattr(submissions, "DEFINITIONS", 3.0)


def summary(grade):
    """{exercise: "" if it passed, or else the verdict}."""
    return {name: "" if result.passed else result.verdict for name, result in grade.results.items()}


@pytest.mark.parametrize("name", ["anna.py", "anna.ipynb"])
def test_a_good_submission_has_the_results_of_a_check(graded, name, tmp_path):
    text = RIGHT + "\ndef scores(q, k):\n    return q @ k.T\n\ndef linear(x, weight, bias):\n    x += 1\n    return x\n"
    text += "def causal_mask(T):\n    print('hello')\n    raise ValueError(T)\ncheck('softmax', softmax)\n" + CRASH
    text = notebook(text) if name.endswith("ipynb") else text
    found = graded(text, name)
    (tmp_path / "here").mkdir()
    expected = {
        result.exercise: result for result in workbook.results(defined(tmp_path / "here" / name, text), shrink=False)
    }
    assert found.results == expected and list(found.results) == list(expected)
    assert passed(found.results.values()) == ["merge_heads", "softmax"] and found.score == 2
    assert found.remarks == [] and [line.partition(":")[0] for line in found.messages] == ["causal_mask", "scores", "linear"]  # fmt: skip


def test_types_of_results_do_not_matter_more_than_in_a_check(graded, tmp_path):
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
    expected = verdicts(defined(tmp_path / "anna.py", textwrap.dedent(text)))
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
def test_what_cannot_be_read_or_defined_says_why(graded, text, remark):
    found = graded(text)
    assert found.score == 0 and len(found.messages) == 1
    assert remark in found.messages[0], found.messages
    # If it is a function that was to be written, it counts as handed in.
    assert list(found.results) == (["softmax"] if b"softmax" in text else [])


def test_an_endless_loop_among_the_definitions_costs_the_submission(graded, impatient):
    found = graded(
        "class A:\n    while True:\n        try:\n            pass\n        except BaseException:\n            pass\n"
        + RIGHT
    )
    sentence = "its definitions cannot be run: it had not ended after 3 seconds: is there an endless loop?"
    assert summary(found) == {"softmax": sentence, "merge_heads": sentence} and len(found.messages) == 2


def test_an_endless_loop_costs_its_exercise(graded, impatient):
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
    found = summary(graded(textwrap.dedent(text) + RIGHT))
    sentence = "it had not ended after 3 seconds: is there an endless loop?"
    looped = dict.fromkeys(("causal_mask", "linear", "scores"), sentence)
    assert found == looped | {"softmax": "", "merge_heads": ""}
    assert time.monotonic() - began < 300


def test_a_submission_has_an_end(graded):
    found = graded("import time\ndef softmax(x):\n    time.sleep(1)\n    return x\n" + MERGE_HEADS, seconds=4)
    assert summary(found)["merge_heads"] == "the submission had used its 4 seconds before"
    assert not found.results["softmax"].passed


needs_limits = pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux")


@needs_limits
def test_memory_has_a_limit(graded):
    text = """
    import numpy as np
    kept = []
    def causal_mask(T):
        while True:
            kept.append(bytes(10_000_000))
    def linear(x, weight, bias):
        return np.ones((10**6, 10**6))
    """
    found = graded(textwrap.dedent(text) + RIGHT, memory=600)
    assert found.limits == ["memory", "processor", "files", "dumps"]
    verdicts = summary(found)
    assert re.match("MemoryError|its process ended", verdicts["causal_mask"])
    assert re.match(".*MemoryError: Unable to allocate", verdicts["linear"])
    assert verdicts["softmax"] == verdicts["merge_heads"] == ""


def test_files_have_a_limit(graded):
    """Of their size by the system, of their number by us: together a loop cannot fill the disk."""
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
    assert f"RuntimeError: {FILES + 1}" in verdicts["split_heads"]  # and its own file
    if "files" in found.limits:
        assert "OSError: [Errno 27]" in verdicts["linear"] or "SIGXFSZ" in verdicts["linear"]
    assert verdicts["softmax"] == verdicts["merge_heads"] == "" and "refused: open" in found.remarks


def test_limits_cannot_be_lifted(graded):
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


def test_printing_costs_nothing(graded, capfd):
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


def test_every_way_to_die_costs_one_exercise(graded):
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
        "attention_head": "its process ended, with exit code|it closed the line|its process was ended by",
        "split_heads": "its process was ended by SIGSEGV|RecursionError|MemoryError|its process ended|it had not ended",
        "linear": "its process was ended by SIGKILL",
        "gelu": "PermissionError: an exercise needs no os.kill",
        "layer_norm": "Bad",
    }.items():
        assert re.match(sentence, verdicts[name]), (name, verdicts[name])
    assert found.remarks == ["refused: os.kill"]


def test_what_ended_a_process_is_not_tried_again(graded, monkeypatch):
    begun = []

    class Counted(submissions.Process):
        def __init__(self, folder):
            begun.append(folder)
            super().__init__(folder)

    monkeypatch.setattr(submissions, "Process", Counted)
    text = """
    import os
    calls = []
    def causal_mask(T):
        calls.append(T)
        return 3 if len(calls) < 3 else os._exit(0)
    """
    found = graded(textwrap.dedent(text) + RIGHT)
    # Looking for the smallest input that goes wrong would try some dozens of those.
    assert len(begun) == 2 and len(set(begun)) == 1
    assert not found.results["causal_mask"].passed and found.score == 2


def test_minigpts_own_solutions_are_found(graded):
    text = """
    import sys, threading
    from minigpt.exercises import EXERCISES, check
    from minigpt.ops.plain import softmax
    from minigpt.exercises.attention import causal_mask as solution

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
    def split_heads(x, n_head):
        try:
            sys.setprofile(None)
        except Exception:
            pass
        B, T, D = x.shape
        return x.reshape(B, T, n_head, D // n_head).swapaxes(1, 2)
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
    def layer_norm(x, weight, bias, eps):
        threading.setprofile(None)
        return (x - x.mean(-1, keepdims=True)) / (x.var(-1, keepdims=True) + eps) ** 0.5 * weight + bias
    check("softmax", softmax)
    """
    found = graded(text)
    assert found.score == 0
    for name, sentence in {
        "softmax": "it calls minigpt.ops.plain.softmax, which is minigpt's own solution",
        "causal_mask": "it calls minigpt.ops.plain.causal_mask, which is|it calls minigpt.exercises.attention.",
        "scores": "it calls sys.setprofile",
        "split_heads": "it calls sys.setprofile",
        "merge_heads": "it calls minigpt.",
        "linear": "it calls sys.settrace",
        "gelu": "it calls sys.addaudithook",
        "layer_norm": "it calls sys.setprofile",
    }.items():
        assert re.match(sentence, found.results[name].verdict), (name, found.results[name].verdict)


@pytest.fixture
def snapshot(tmp_path):
    """A function that gives all files below a folder: names, contents, modes, times."""

    def snapshot():
        return {
            str(path): (path.read_bytes() if path.is_file() else b"", path.stat().st_mode, path.stat().st_mtime_ns)
            for path in sorted(tmp_path.rglob("*"))
        }

    return snapshot


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
shutil.rmtree({folder!r})
shutil.move({file!r}, "mine")
shutil.copy("mine.txt", {file!r})
(os.symlink({file!r}, "link"), open("link", "w"))
(os.symlink({folder!r}, "folder"), open("folder/new", "w"))
open({other!r})
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
sys.modules.pop("readline") or importlib.import_module("readline")
_posixshmem.shm_open("/mine", os.O_RDWR | os.O_CREAT)
os.mkfifo({new!r})
os.mknod({new!r})
os.memfd_create("mine")
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
def test_the_files_of_the_teacher_are_not_touched(tmp_path, snapshot, monkeypatch):
    (tmp_path / "class").mkdir()
    (tmp_path / "class" / "notes.txt").write_text("on Anna")
    (tmp_path / "outside.txt").write_text("outside of the class")
    (tmp_path / "empty").mkdir()
    names = {
        "file": tmp_path / "class" / "anna.py", "other": tmp_path / "class" / "notes.txt", "folder": tmp_path / "class",
        "new": tmp_path / "new", "empty": tmp_path / "empty", "outside": tmp_path / "outside.txt",
    }  # fmt: skip
    attempts = ATTEMPTS.format(**{name: str(path) for name, path in names.items()}).strip().splitlines()
    text = f"""
import _posixshmem, _thread, ctypes, gc, importlib, io, multiprocessing, os, pathlib, resource, shutil, signal, socket
import sqlite3, subprocess, sys, urllib.request
import numpy as np

done = []

def causal_mask(T):
    if done:
        return np.tri(T, dtype=bool)
    done.append(T)
    open("mine.txt", "w").write("here it is allowed")
    assert open("mine.txt").read() == "here it is allowed" and open({str(names["outside"])!r}).read()
    for attempt in {attempts!r}:
        for name in ("link", "folder"):
            if os.path.islink(name):
                os.rename(name, f"old{{len(os.listdir('.'))}}")
        try:
            eval(attempt)
        except OSError as error:
            if "an exercise needs no" in str(error):
                continue
            raise RuntimeError(f"{{attempt}} failed for another reason: {{error}}")
        raise RuntimeError(f"{{attempt}} was possible")
    return np.tri(T, dtype=bool)
"""
    (tmp_path / "class" / "anna.py").write_text(text)
    before = snapshot()
    monkeypatch.chdir(tmp_path)
    (anna,) = find_submissions("class")
    found = grade(anna, seconds=600)
    assert found.results["causal_mask"].passed, found.results["causal_mask"]
    assert snapshot() == before
    assert {"refused: open", "refused: os.fork", "refused: socket.__new__", "refused: ctypes.dlopen"} <= set(
        found.remarks
    )


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


def test_answers_cannot_be_forged_and_have_a_size(graded):
    found = summary(graded(FORGERS + RIGHT))
    assert found["softmax"] == found["merge_heads"] == ""
    assert found["causal_mask"] == found["scores"] == found["linear"] == submissions.FORGED
    assert found["gelu"] == found["layer_norm"] == found["split_heads"] == "its result is far too large"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("problem", "none"), ("message", 3), ("printed", None), ("changed", None), ("tried", 3),
        ("value", {"pickle": ""}), ("value", {"array": ["O", [1], ""]}),
    ],
)  # fmt: skip
def test_an_answer_with_the_ticket_that_was_not_agreed_upon(monkeypatch, tmp_path, field, value):
    """As of somebody who has found the ticket."""
    path = tmp_path / "anna.py"
    path.write_text(RIGHT)
    with submissions.RemoteWorkbook(path, tmp_path, tmp_path / "x", submissions.Clock(600), 10**9) as book:
        ask = book._process.ask
        monkeypatch.setattr(book._process, "ask", lambda *args, **about: ask(*args, **about) | {field: value})
        outcome = book.call("softmax", (np.zeros(3),), ())
        assert (outcome.problem, outcome.message) == ("death", submissions.FORGED)
        # The next one has a process that answers.
        assert book.call("merge_heads", (np.zeros((1, 1, 1, 1)),), ()).problem == ""


@needs_limits
def test_what_a_process_started_ends_with_it(tmp_path, monkeypatch):
    python, started = tmp_path / "python", tmp_path / "started"
    python.write_text(f'#!/bin/sh\nsleep 1000 &\necho $! > {started}\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    process = submissions.Process(tmp_path)
    assert "limits" in process.ask(120, "begin", memory=10**9, processor=100, hidden="/nowhere")
    sleeping = int(started.read_text())
    os.kill(sleeping, 0)
    process.end()
    for _ in range(100):
        if not Path(f"/proc/{sleeping}").exists() or ") Z " in Path(f"/proc/{sleeping}/stat").read_text():
            return
        time.sleep(0.1)
    os.kill(sleeping, signal.SIGKILL)
    pytest.fail("it went on")


def test_a_process_that_cannot_begin_is_no_fault_of_the_submission(graded, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(OSError, match="a process of 512 MB does not begin: its process ended, with exit code 1"):
        graded(RIGHT, memory=512)


def test_the_process_has_the_environment_of_nobody(graded, monkeypatch):
    monkeypatch.setenv("SECRET", "1")
    found = graded("import os\ndef causal_mask(T):\n    raise RuntimeError(sorted(os.environ), os.getcwd())")
    verdict = summary(found)["causal_mask"]
    assert "PATH" in verdict and "SECRET" not in verdict and f"{os.sep}minigpt-" in verdict


def test_remarks_are_on_what_a_teacher_should_know(graded):
    text = """
    import subprocess
    class Pool:
        import threading, time
        threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    def causal_mask(T):
        try:
            subprocess.check_output(["fc-list", "--format=%{file}"])  # as matplotlib does
        except OSError:
            return [[s <= t for s in range(T)] for t in range(T)]
    """
    found = graded(text)
    assert found.score == 1
    assert found.messages == ["its definitions started a thread that goes on: what it calls is not seen"]


def test_a_submission_is_what_was_there_at_first(tmp_path):
    (tmp_path / "anna.py").write_text(RIGHT)
    (tmp_path / "ben").mkdir()
    (tmp_path / "ben" / "mine.py").write_text(RIGHT)
    anna, ben = find_submissions(tmp_path)
    (tmp_path / "anna.py").write_text("")  # by a library that writes files by itself
    (tmp_path / "ben" / "mine.py").unlink()
    assert grade(anna).score == grade(ben).score == 2


def test_what_is_not_the_students_own_is_not_looked_at(tmp_path):
    anna = tmp_path / "anna"
    (anna / "minigpt" / "ops").mkdir(parents=True)
    (anna / "env" / "lib").mkdir(parents=True)
    (anna / "env" / "pyvenv.cfg").touch()
    (anna / "env" / "lib" / "a.py").write_text(RIGHT)
    plain = (workbook.PACKAGE / "ops" / "plain.py").read_bytes()
    (anna / "minigpt" / "ops" / "plain.py").write_bytes(plain.replace(b"\n", b"\r\n"))
    (anna / "plain.py").write_text(SOFTMAX)
    (submission,) = find_submissions(tmp_path)
    assert [path.as_posix() for path in submission.files] == ["anna/plain.py"]
    (anna / "plain.py").unlink()
    (submission,) = find_submissions(tmp_path)
    assert grade(submission).messages == ["minigpt's own files, unchanged, were not looked at: 1"]


def test_nothing_but_inputs_goes_to_the_process(graded, monkeypatch):
    sent = []
    send = submissions.send
    monkeypatch.setattr(submissions, "send", lambda pipe, message: sent.append(message) or send(pipe, message))
    found = graded(RIGHT.replace("merge_heads", "nothing"))
    inputs = [packed(arguments) for _, arguments in checking.drawn_inputs(EXERCISES["softmax"])]
    assert summary(found) == {"softmax": ""}
    assert [message["ask"] for message in sent] == ["begin", "read", "define", *["call"] * len(inputs)]
    assert [message["arguments"] for message in sent[3:]] == inputs
    # Nor for the smallest input that goes wrong: this would use up the time of those that are right.
    sent.clear()
    assert graded("def softmax(x):\n    return x").score == 0 and len(sent) == 3 + len(inputs)
    graded(RIGHT.replace("merge_heads", "nothing"))
    del sent[: 3 + len(inputs)]
    for message in sent[3:]:
        assert message.keys() == {"ticket", "ask", "name", "arguments", "uses"}
        assert message["name"] == "softmax" and message["uses"] == ()


def test_a_folder_is_a_submission_and_the_best_counts(tmp_path):
    anna = tmp_path / "anna"
    (anna / "week 1" / ".ipynb_checkpoints").mkdir(parents=True)
    (anna / "week 1" / ".ipynb_checkpoints" / "a.ipynb").write_text(notebook("def gelu(x): return x"))
    (anna / "__pycache__").mkdir()
    (anna / "__pycache__" / "b.py").write_text("def gelu(x): return x")
    (anna / "._b.py").write_text("def gelu(x): return x")
    (anna / "week 1" / "a.ipynb").write_text(notebook(RIGHT, "def scores(q, k:"))
    (anna / "week 1" / "my_softmax.py").write_text(
        "from numpy import exp\nf = lambda x: exp(x) / exp(x).sum(-1, keepdims=True)"
    )
    (anna / "Z.PY").write_text("def softmax(x):\n    raise NotImplementedError\n\ndef causal_mask(T):\n    pass\n")
    (anna / "week 1" / "b.py").write_text("from my_softmax import f as softmax")
    (tmp_path / "ben").mkdir()
    (tmp_path / "ben" / "softmax.py").symlink_to(anna / "week 1" / "a.ipynb")
    (tmp_path / "carl.PY").symlink_to(anna / "Z.PY")
    os.mkfifo(tmp_path / "dora.py")
    (tmp_path / "grades.csv").touch()
    (tmp_path / ".git").mkdir()
    found = find_submissions(tmp_path)
    assert [one.name for one in found] == ["anna", "ben", "carl.PY", "dora.py"]
    assert [path.as_posix() for path in found[0].files] == [
        "anna/Z.PY", "anna/week 1/a.ipynb", "anna/week 1/b.py", "anna/week 1/my_softmax.py",
    ]  # fmt: skip
    result = grade(found[0], seconds=600)
    verdicts = summary(result)
    assert list(verdicts) == ["softmax", "causal_mask", "scores", "merge_heads"]
    assert verdicts["softmax"] == verdicts["merge_heads"] == "" and "SyntaxError" in verdicts["scores"]
    assert verdicts["causal_mask"].startswith("it returns None") and result.remarks == []
    for one in found[1:]:
        assert grade(one).messages == ["there is no file in it that is .py or .ipynb and no link"]


def test_grade_as_a_command(tmp_path, snapshot):
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
    result = run("grade", folder, "--csv", out, "--time", 300, "--memory", 1500)
    assert result.returncode == 0, result
    assert result.stderr.endswith("minigpt: not looked at: lee.ipynb.txt, smith.zip\n")
    assert {name: file for name, file in snapshot().items() if "new" not in name} == before
    with open(out, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["submission", *EXERCISES, "score", "messages"]
    assert [row["submission"] for row in rows] == ["'=ben.py", "anna.py", "carl.ipynb", "d�ra.py", "eve"]
    assert [row["score"] for row in rows] == ["1", "2", "0", "0", "0"]
    assert [row["softmax"] for row in rows] == ["1", "1", "", "0", ""]
    assert [row["scores"] for row in rows] == ["0", "", "", "", ""]
    assert all(
        row[name] == "" for row in rows for name in EXERCISES if name not in ("softmax", "scores", "merge_heads")
    )
    assert rows[1]["messages"] == "" and rows[0]["messages"].startswith("scores: Your scores are q k^T and not divided")
    assert rows[3]["messages"] == "softmax: its process ended, with exit code 1"
    assert len(rows[2]["messages"]) < 250 and "\x1b" not in out.read_text() + result.stdout
    lines = result.stdout.splitlines()
    assert [line.split()[:4] for line in lines[:2]] == [["=ben.py", "1", "/", "2"], ["anna.py", "2", "/", "2"]]
    assert "  softmax                   2 / 3" in lines and lines[-1] == f"the table is in {out}"
    assert os.listdir(out.parent) == ["grades.csv"]


def test_the_table_has_what_was_graded_when_it_is_stopped(tmp_path, monkeypatch):
    from minigpt.cli import cli

    def stopped(submission, *_):
        if submission.name == "ben.py":
            raise KeyboardInterrupt
        return submissions.Grade(submission.name)

    for name in ("anna.py", "ben.py", "carl.py"):
        (tmp_path / name).touch()
    monkeypatch.setattr(submissions, "grade", stopped)
    with pytest.raises(click.Abort):
        cli(["exercises", "grade", str(tmp_path), "--csv", str(tmp_path / "out.csv")], standalone_mode=False)
    with open(tmp_path / "out.csv", encoding="utf-8") as file:
        assert [row["submission"] for row in csv.DictReader(file)] == ["anna.py"]


def test_grade_shows_how_far_it_is(tmp_path):
    pty, termios = pytest.importorskip("pty"), pytest.importorskip("termios")
    (tmp_path / "anna.py").touch()
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    options = {"capture_output": False, "stdout": subprocess.PIPE, "stderr": theirs}
    result = run("grade", tmp_path, "--csv", tmp_path / "out.csv", **options)
    os.close(theirs)
    shown = ""
    with contextlib.suppress(OSError):  # which is how a terminal ends
        while piece := os.read(ours, 10_000).decode():
            shown += piece
    os.close(ours)
    assert result.returncode == 0 and "0/1 [" in shown and "1/1 [" in shown and "1/1" not in result.stdout


def test_grade_says_what_is_wrong_before_the_work(tmp_path):
    (tmp_path / "anna.py").write_text("class A:\n    while True: pass")
    (tmp_path / "empty").mkdir()
    (tmp_path / "sub").mkdir()
    fails_with("is a folder: give a file", "grade", tmp_path, "--csv", tmp_path / "sub")
    nowhere = tmp_path / "anna.py" / "out.csv"
    fails_with(f"{nowhere} cannot be written: ", "grade", tmp_path, "--csv", nowhere)
    fails_with("there are no submissions in", "grade", tmp_path / "empty", "--csv", tmp_path / "out.csv")
    fails_with("does not exist", "grade", tmp_path / "nowhere", "--csv", tmp_path / "out.csv")
    fails_with("is a file", "grade", tmp_path / "anna.py", "--csv", tmp_path / "out.csv")
    fails_with("Missing option '--csv'", "grade", tmp_path)
    if sys.platform == "linux":  # where not even root may write
        fails_with("/proc/out.csv cannot be written: ", "grade", tmp_path, "--csv", "/proc/out.csv")


def test_an_old_table_stays_until_the_new_one_is_there(tmp_path):
    out = tmp_path / "grades.csv"
    out.write_text("the old one")
    submissions.require_writable(out)
    assert out.read_text() == "the old one"

    class Interrupted:
        @property
        def results(self):
            assert out.read_text() == "the old one"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        submissions.write_csv([Interrupted()], out)
    assert out.read_text() == "the old one" and os.listdir(tmp_path) == ["grades.csv"]
    submissions.write_csv([], out)
    assert out.read_text().startswith("submission,bpe_merge")


def test_help_is_fast():
    code = "import sys, minigpt.cli; print([m for m in ('numpy', 'hypothesis', 'minigpt.exercises', 'tqdm') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
    result = run("--help")
    assert result.returncode == 0 and all(name in result.stdout for name in ("start", "list", "check", "grade"))
