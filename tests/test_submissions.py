"""Finding what a class handed in."""

import os

import pytest
from class_helpers import RIGHT, SOFTMAX, summary
from helpers import notebook

from minigpt.classroom.copies import PACKAGE
from minigpt.classroom.grading import grade
from minigpt.classroom.submissions import find_submissions

pytestmark = pytest.mark.usefixtures("few_inputs")


def test_later_changes_of_a_file_have_no_effect(tmp_path, isolation):
    (tmp_path / "anna.py").write_text(RIGHT)
    (tmp_path / "ben").mkdir()
    (tmp_path / "ben" / "mine.py").write_text(RIGHT)
    anna, ben = find_submissions(tmp_path)
    (tmp_path / "anna.py").write_text("")  # by a library that writes files by itself
    (tmp_path / "ben" / "mine.py").unlink()
    assert grade(anna, isolation).score == grade(ben, isolation).score == 2


def test_environments_and_minigpts_own_files_are_skipped(tmp_path, isolation):
    anna = tmp_path / "anna"
    (anna / "minigpt" / "ops").mkdir(parents=True)
    (anna / "env" / "lib").mkdir(parents=True)
    (anna / "env" / "pyvenv.cfg").touch()
    (anna / "env" / "lib" / "a.py").write_text(RIGHT)
    plain = (PACKAGE / "ops" / "plain.py").read_bytes()
    (anna / "minigpt" / "ops" / "plain.py").write_bytes(plain.replace(b"\n", b"\r\n"))
    (anna / "plain.py").write_text(SOFTMAX)
    (submission,) = find_submissions(tmp_path)
    assert [path.as_posix() for path in submission.files] == ["anna/plain.py"]
    (anna / "plain.py").unlink()
    (submission,) = find_submissions(tmp_path)
    assert grade(submission, isolation).messages == ["skipped because they are minigpt's own files, unchanged: 1"]


def test_a_page_that_was_not_worked_on_hides_no_file_beside_it(tmp_path, isolation):
    (tmp_path / "anna").mkdir()
    (tmp_path / "anna" / "a.ipynb").write_text(notebook("def softmax(x):\n    raise NotImplementedError"))
    (tmp_path / "anna" / "b.py").write_text("def softmax(x):\n    return x")
    (tmp_path / "anna" / "c.py").write_text("def softmax(x):\n    return None")
    found = grade(find_submissions(tmp_path)[0], isolation, seconds=600)
    assert found.messages == ["softmax: your result is always x, just as it was given"]


def test_a_folder_is_a_submission_and_the_best_result_counts(tmp_path, isolation):
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
    result = grade(found[0], isolation, seconds=600)
    verdicts = summary(result)
    assert list(verdicts) == ["softmax", "causal_mask", "scores", "merge_heads"]
    assert verdicts["softmax"] == verdicts["merge_heads"] == "" and "SyntaxError" in verdicts["scores"]
    assert verdicts["causal_mask"].startswith("it returns None") and result.remarks == []
    for one in found[1:]:
        assert grade(one, isolation).messages == ["it contains no .py or .ipynb file (links do not count)"]
