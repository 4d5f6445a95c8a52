"""The course under nbgrader: every page is assigned, handed in half solved, graded, and returned with feedback.

`pytest -m nbgrader` needs nbgrader, which the extra `test` does not have.
"""

import json
import os
import re
import sysconfig

import pytest
from test_notebooks import TOLD

from minigpt.classroom.copies import course_notebooks, exercises_by_notebook
from minigpt.classroom.sources import cell_source, read_notebook
from minigpt.exercises import EXERCISES
from minigpt.exercises.calling import UNWRITTEN

pytestmark = pytest.mark.nbgrader

# What the student got wrong: {exercise: (in the solution, the student's instead, the sentence that says so)}. All else
# is right, also functions that call these.
WRONG = {
    "bpe_train": ("lambda pair: (counts[pair], pair)", "counts.get", "On a tie you merge the pair that you met first."),
    "embeddings": ("wpe[: len(ids)]", "wpe[ids]", "You look up wpe with the ids of the tokens."),
    "softmax": (
        "exp_x.sum(axis=-1, keepdims=True)",
        "exp_x.sum()",
        "In `the result is exp_x / sum(exp_x)`: You take one sum of all numbers together.",
    ),
    "gelu": ("x / 2 * (", "x * (", "Your results are twice as large as they should be"),
    "top_k": ("logits >= kth", "logits > kth", "You keep the logits above the k-th highest, but not the k-th itself."),
    "softmax_backward": ("(dy * y).sum(", "dy.sum(", "You subtract the sum of dy."),
    "patching_effect": (" / (clean - corrupted)", "", "You do not divide by clean - corrupted."),
}
LEFT_OUT = "causal_mask"
FAULTS = {LEFT_OUT: UNWRITTEN} | {name: sentence for name, (*_, sentence) in WRONG.items()}
POINTS = {  # reached, and to be had
    "01_tokens": (1, 2),
    "02_embeddings": (0, 1),
    "03_attention": (6, 8),
    "04_block": (4, 5),
    "05_gpt2": (1, 1),
    "06_decoding": (3, 4),
    "07_kv_cache": (1, 1),
    "08_learning": (4, 5),
    "10_fast": (1, 1),
    "11_looking_inside": (2, 3),
}


def handed_in(released, solved):
    """Return the released copy of a page with a student's answers. What trains is left out: no exercise needs it."""
    is_slow = False
    for cell, original in zip(released["cells"], solved["cells"], strict=True):
        source = cell_source(original)
        if original["metadata"].get("nbgrader", {}).get("solution"):
            name = re.match(r"def (\w+)", source)[1]
            right, wrong, _ = WRONG.get(name, ("", "", ""))
            assert right in source and "NotImplementedError" in cell_source(cell)
            cell["source"] = cell_source(cell) if name == LEFT_OUT else source.replace(right, wrong)
        elif is_slow:
            cell["source"] = ""
        is_slow = bool(TOLD.search(source))
    return released


@pytest.mark.parametrize("page", exercises_by_notebook(EXERCISES))
def test_a_page_is_graded_and_returned_with_the_panels(page, tmp_path, monkeypatch):
    from nbgrader.apps.api import NbGraderAPI
    from traitlets.config import Config

    monkeypatch.setenv("PATH", sysconfig.get_path("scripts"), prepend=os.pathsep)  # nbgrader starts alembic
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path))  # not that of whoever runs this
    api = NbGraderAPI(config=Config({"CourseDirectory": {"root": str(tmp_path)}}))
    solved = read_notebook(next(path for path in course_notebooks() if path.stem == page))
    write(tmp_path / "source" / page / f"{page}.ipynb", solved)
    succeeds(api.generate_assignment(page))
    released = read_notebook(tmp_path / "release" / page / f"{page}.ipynb")
    write(tmp_path / "submitted" / "ada" / page / f"{page}.ipynb", handed_in(released, solved))
    succeeds(api.autograde(page, "ada"))
    succeeds(api.generate_feedback(page, "ada"))

    exercises = exercises_by_notebook(EXERCISES)[page]
    with api.gradebook as gradebook:
        graded = gradebook.find_submission(page, "ada")
        assert (graded.score, graded.max_score) == POINTS[page] and not graded.needs_manual_grade
        (notebook,) = graded.notebooks
        points = {grade.name: grade.auto_score for grade in notebook.grades}
    assert points == {f"check-{name.replace('_', '-')}": name not in FAULTS for name in exercises}

    feedback = (tmp_path / "feedback" / "ada" / page / f"{page}.html").read_text(encoding="utf-8")
    for name in exercises:
        if name in FAULTS:
            assert f"✗ {name}: {FAULTS[name]}" in feedback
        else:
            assert re.search(rf"✓ {name}</b>: (right, on \d+ inputs|your {name} is right; the )", feedback)


def write(path, notebook):
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(notebook), encoding="utf-8")


def succeeds(result):
    assert result["success"], result
