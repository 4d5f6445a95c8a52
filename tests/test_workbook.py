"""What a student's file defines, checking it, and the command `minigpt exercises check`."""

import re
import subprocess
import sys

import pytest
from class_helpers import RIGHT, open_text, passed, verdicts
from helpers import fails_with, notebook, run, run_here

from minigpt.classroom import checks
from minigpt.classroom.checks import check_workbook, open_workbook
from minigpt.classroom.copies import start_course
from minigpt.classroom.progress import progress

pytestmark = pytest.mark.usefixtures("few_inputs")


def test_a_lambda_is_a_function_and_the_last_definition_counts(tmp_path):
    wrong = "merge_heads = lambda x: 0\n"
    assert passed(check_workbook(open_text(tmp_path / "a.py", wrong + RIGHT))) == ["merge_heads", "softmax"]
    assert passed(check_workbook(open_text(tmp_path / "b.py", RIGHT + wrong))) == ["softmax"]
    # A number of the same name does not replace the function.
    assert passed(check_workbook(open_text(tmp_path / "c.py", f"{RIGHT}\nmerge_heads = 3"))) == [
        "merge_heads",
        "softmax",
    ]
    reference = verdicts(open_text(tmp_path / "d.py", "from minigpt.ops import plain\nsoftmax = plain.softmax"))
    assert "minigpt's own solution" in reference["softmax"]


def test_a_definition_that_fails_does_not_stop_the_others(tmp_path):
    book = open_text(
        tmp_path / "mine.ipynb",
        notebook(
            f"import torch_of_yesterday\n{RIGHT}",
            "H = model.config.n_head\ndef scores(q, k, h=H):\n    return q",
            "class linear:\n    sys.exit(3)",
            "def gelu(x):\n    return\nreturn",
            # A cell that shows something and needs cells that do not run.
            "trace = {}\nmodel(trace)\nwidth = trace['x'].shape\ndef show(x=H):\n    pass\ndef twice(x=show):\n    pass",
            "def causal_mask(T):\n    return twice(width)",
        ),
    )
    results = verdicts(book)
    assert passed(check_workbook(book)) == ["merge_heads", "softmax"]
    assert book.problems[0].startswith(
        "ModuleNotFoundError: No module named 'torch_of_yesterday' (cell 1, line 1: import"
    )
    assert results["scores"].startswith("NameError: name 'H' is not defined (cell 2, line 2: def scores(q, k, h=H):)")
    assert results["scores"].endswith("cell 2, line 1 would set it, but does not run, because it is not a definition")
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


def test_an_error_in_one_check_does_not_stop_the_others(tmp_path, monkeypatch):
    examine = checks.examine

    def failing(exercise, *args, **options):
        if exercise.name == "softmax":
            raise AttributeError("'tuple' object has no attribute 'shape'")
        return examine(exercise, *args, **options)

    monkeypatch.setattr(checks, "examine", failing)
    results = verdicts(open_text(tmp_path / "mine.py", RIGHT))
    assert results["softmax"].startswith("it could not be checked: AttributeError: 'tuple' object has no attribute")
    assert results["merge_heads"].startswith("right, on")


def test_modules_next_to_the_file_are_found(tmp_path):
    (tmp_path / "my_softmax.py").write_text(RIGHT)
    assert passed(check_workbook(open_text(tmp_path / "mine.py", "from my_softmax import softmax"))) == ["softmax"]


def test_asking_for_a_missing_exercise_is_an_error(tmp_path):
    (tmp_path / "mine.py").write_text(RIGHT)
    assert open_workbook(tmp_path / "mine.py", ["softmax"]).failed == {}
    with pytest.raises(ValueError, match="no exercise 'softmx'; did you mean 'softmax'?"):
        open_workbook(tmp_path / "mine.py", ["softmx"])
    with pytest.raises(ValueError, match="mine.py does not define gelu"):
        open_workbook(tmp_path / "mine.py", ["softmax", "gelu"])


def test_the_command_check(tmp_path):
    good, half = tmp_path / "good.py", tmp_path / "half.ipynb"
    good.write_text(RIGHT)
    result = run("exercises", "check", good)
    assert result.returncode == 0 and result.stderr == ""
    assert re.findall(r"^. (\w+) +(\S+)", result.stdout, re.M) == [("softmax", "right,"), ("merge_heads", "right,")]
    others = "causal_mask, scores, attention_head, split_heads, attention, self_attention"  # of the same notebook
    assert result.stdout.splitlines()[-1] == f"not in the file: {others}"

    half.write_text(notebook(RIGHT, "def scores(q, k):\n    return q @ k.T", "def linear(x, y:\n", "def f(:"))
    result = run_here("exercises", "check", half)
    assert result.returncode == 1 and result.stderr == ""
    assert [line[0] for line in result.stdout.splitlines()[:4]] == ["✓", "✗", "✓", "✗"]
    assert "smallest input:\n        q = " in result.stdout and result.stdout.count("cell 3, line 1") == 1
    assert "\nSyntaxError: invalid syntax (cell 4, line 1: def f(:)\n" in result.stdout
    half.write_text(notebook(RIGHT, "def linear(x, weight, bias=" + "no + " * 30 + "no):\n    pass"))
    lines = run_here("exercises", "check", half).stdout.splitlines()
    # What is cut off in the table, after a word, stands whole below it.
    assert lines[2].endswith("no + ...") and lines[4].startswith("✗ linear: NameError") and "+ no):)" in lines[4]
    half.write_text(notebook(RIGHT, "def scores(q, k):\n    return q @ k.T", "def linear(x, y:\n", "def f(:"))
    assert run_here("exercises", "check", half, "--only", "softmax").returncode == 0
    result = run_here("exercises", "check", half, "--only", "scores", "--only", "softmax")
    assert result.returncode == 1 and "merge_heads" not in result.stdout

    fails_with("half.ipynb does not define gelu", "exercises", "check", half, "--only", "gelu", run=run_here)
    fails_with(f"`minigpt exercises progress {tmp_path}`", "exercises", "check", tmp_path, run=run_here)
    fails_with(f"`minigpt exercises check {half}`", "exercises", "progress", half, run=run_here)
    fails_with("does not exist", "exercises", "check", tmp_path / "nowhere.py", run=run_here)


def test_the_command_progress(tmp_path):
    assert run_here("exercises", "progress", tmp_path).stdout.endswith("\n0 of 31 solved; next: bpe_merge\n")
    (tmp_path / "notes.py").write_text("x = 3\n")
    (tmp_path / "wrong.py").write_text("def softmax(x):\n    return x\n")
    unwritten = "def scores(q, k):\n    raise NotImplementedError"
    (tmp_path / "mine.ipynb").write_text(notebook(RIGHT, "def linear(x, weight, bias):\n    return x", unwritten))
    result = run_here("exercises", "progress", tmp_path)
    assert result.returncode == 0 and result.stdout.endswith(
        "\n2 of 31 solved; wrong: linear (check says what is wrong); next: bpe_merge\n"
    )
    row = next(line for line in result.stdout.splitlines() if line.startswith("03_attention"))
    assert "✓ softmax" in row and "✓ merge_heads" in row and "· scores" in row
    assert "✗ linear" in result.stdout
    panel = progress(tmp_path)._repr_html_()
    assert (
        "<a href='03_attention.ipynb'>03_attention</a>" in panel and "✓ softmax" in panel and "2 of 31 solved" in panel
    )


def test_a_fresh_course_has_nothing_solved_and_nothing_wrong(tmp_path):
    start_course(tmp_path)
    assert set(progress(tmp_path).solved.values()) == {None}


def test_help_imports_nothing_heavy():
    code = "import sys, minigpt.cli; print([m for m in ('numpy', 'hypothesis', 'minigpt.exercises', 'tqdm') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
    result = run("exercises", "--help")
    assert result.returncode == 0 and all(
        name in result.stdout for name in ("start", "list", "check", "progress", "grade")
    )
