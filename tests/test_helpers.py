"""One wrong function costs one exercise: what calls it is judged with a right one in its place."""

import numpy as np
import pytest
from class_helpers import open_text, verdicts

from minigpt.classroom.grading import grade
from minigpt.classroom.submissions import find_submissions
from minigpt.exercises import check
from minigpt.exercises.helpers import students_helpers
from minigpt.ops import plain

HEAD = """
import numpy as np
def softmax(x):
    return np.exp(x) / np.exp(x).sum()
def masked(scores):
    return np.where(np.tri(len(scores), dtype=bool), scores, -np.inf)
def weights(q, k):
    return softmax(masked(q @ k.T {scale}))
def attention_head(q, k, v):
    return weights(q, k) @ v
"""
RIGHT_HEAD = HEAD.format(scale="/ np.sqrt(q.shape[1])")
WRONG_HEAD = HEAD.format(scale="")
IS_RIGHT = "your attention_head is right; the softmax that it calls is not"
NOT_SCALED = "You do not scale the scores q k^T"


def functions_of(text):
    namespace = {}
    exec(text, namespace)
    return namespace


def test_minigpts_own_functions_are_nobodys_helpers():
    result = check("attention", plain.attention)
    assert "minigpt's own solution" in result.verdict and "besides" not in dict(result.details), result


def test_check_in_a_notebook_tells_whose_fault_it_is():
    mine = functions_of(RIGHT_HEAD)
    own = mine["softmax"]
    result = check("attention_head", mine["attention_head"])
    assert result.passed and result.verdict == IS_RIGHT
    assert mine["softmax"] is own
    assert not check("softmax", own).passed
    mine = functions_of(WRONG_HEAD)
    result = check("attention_head", mine["attention_head"])
    assert not result.passed and result.verdict.startswith(NOT_SCALED), result
    assert dict(result.details)["besides"].startswith("of what it calls, softmax went wrong too")


def test_a_helper_that_is_right_or_missing_changes_nothing():
    mine = functions_of(
        WRONG_HEAD.replace(".sum()", ".sum(-1, keepdims=True)").replace(
            "np.exp(x)", "np.exp(x - x.max(-1, keepdims=True))"
        )
    )
    result = check("attention_head", mine["attention_head"])
    assert not result.passed and "besides" not in dict(result.details)
    mine = functions_of(RIGHT_HEAD)
    del mine["softmax"]
    assert "name 'softmax' is not defined" in check("attention_head", mine["attention_head"]).verdict


def test_only_earlier_exercises_are_helpers():
    """Else a wrong attention would bring a right softmax to who calls it for that."""
    mine = functions_of(
        "def attention_head(q, k, v):\n    return v\ndef softmax(x):\n    return attention_head(x, x, x)\n"
    )
    result = check("softmax", mine["softmax"])
    assert not result.passed and "besides" not in dict(result.details)
    assert students_helpers(type("E", (), {"name": "softmax"}), mine["softmax"]) == {}


@pytest.mark.parametrize("softmax", ["raise NotImplementedError", "return x"])
def test_a_file_and_a_submission_are_told_the_same(softmax, tmp_path, isolation, few_inputs):
    text = f"import numpy as np\ndef softmax(x):\n    {softmax}\n" + RIGHT_HEAD.partition(".sum()")[2]
    text += "\ndef scores(q, k):\n    return q @ k.T / np.sqrt(q.shape[-1])\n"
    told = verdicts(open_text(tmp_path / "mine.py", text))
    assert told["attention_head"] == IS_RIGHT and not told["softmax"].startswith("right")
    (tmp_path / "class").mkdir()
    (tmp_path / "class" / "mine.py").write_text(text)
    (mine,) = find_submissions(tmp_path / "class")
    found = grade(mine, isolation)
    assert found.results["attention_head"].verdict == IS_RIGHT and found.score == 2
    (tmp_path / "class" / "mine.py").write_text(text.replace("/ np.sqrt(q.shape[1])", ""))
    (mine,) = find_submissions(tmp_path / "class")
    assert grade(mine, isolation).results["attention_head"].verdict.startswith(NOT_SCALED)


def test_a_function_without_globals_is_checked():
    assert not check("softmax", np.exp).passed
