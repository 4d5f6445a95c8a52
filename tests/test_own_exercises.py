"""A teacher's own exercises, in a folder of their own: the same checks, list, progress and grades."""

import csv

import pytest
from helpers import fails_with, run

from minigpt.exercises.catalogue import add_exercises

RMS_NORM = """
import numpy as np
from hypothesis import strategies as st
from shapes import vectors

from minigpt.exercises import Exercise, Probe


def rms_norm(x):
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + 0.5)


exercise = Exercise(
    "rms_norm", "rms_norm(x)", "x / sqrt(mean(x^2) + 1/2) of every row", rms_norm,
    (Probe("One row.", vectors(st.just(1))), Probe("Several rows.", vectors())),
)


@exercise.mistake("You take one mean of all numbers.")
def one_mean_for_all(x):
    return x / np.sqrt((x * x).mean() + 0.5)
"""
SHAPES = """
from hypothesis import strategies as st

from minigpt.exercises.drawing import arrays, sizes, whole_numbers


@st.composite
def vectors(draw, rows=sizes(2, 3)):
    return (draw(arrays(draw(rows), draw(sizes(2, 4)), elements=whole_numbers())),)
"""
RIGHT = """
def rms_norm(x):
    return x / ((x ** 2).mean(-1, keepdims=True) + 0.5) ** 0.5
"""
WRONG = """
import numpy as np
def rms_norm(x):
    return x / np.sqrt((x ** 2).mean() + 0.5)
"""


@pytest.fixture
def catalogue(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "rms_norm.py").write_text(RMS_NORM)
    (folder / "shapes.py").write_text(SHAPES)
    return folder


def test_the_commands_take_a_folder_of_exercises(catalogue, tmp_path):
    for name, source in (("ada", RIGHT), ("bob", WRONG)):
        (tmp_path / "class" / name).mkdir(parents=True)
        (tmp_path / "class" / name / "work.py").write_text(source)
    mine = ("--catalogue", catalogue)
    assert "    rms_norm(x)\n        x / sqrt(mean(x^2) + 1/2)" in run("exercises", "list", *mine).stdout
    checked = run("exercises", "check", *mine, tmp_path / "class" / "bob" / "work.py")
    assert checked.returncode == 1
    assert "✗ rms_norm" in checked.stdout and "You take one mean of all numbers." in checked.stdout
    assert "rms_norm" in run("exercises", "progress", *mine, tmp_path / "class" / "ada").stdout
    run("exercises", "grade", *mine, tmp_path / "class", "--csv", tmp_path / "grades.csv")
    with open(tmp_path / "grades.csv", newline="", encoding="utf-8-sig") as table:
        rows = {row["submission"]: row for row in csv.DictReader(table)}
    assert {name: row["rms_norm"] for name, row in rows.items()} == {"ada": "1", "bob": "0"}


def test_a_folder_that_is_no_catalogue(catalogue, tmp_path):
    fails_with("no .py file in", "exercises", "list", "--catalogue", tmp_path)
    (catalogue / "broken.py").write_text("1 / 0")
    with pytest.raises(ValueError, match="broken.py cannot be run: ZeroDivisionError"):
        add_exercises(catalogue)
    (catalogue / "broken.py").write_text(RMS_NORM.replace("rms_norm", "softmax"))
    with pytest.raises(ValueError, match="another exercise of the name softmax"):
        add_exercises(catalogue)
