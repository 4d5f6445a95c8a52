"""The students' copies: notebooks without solutions, and the commands `minigpt exercises start` and `list`."""

import json
import re

import pytest
from class_helpers import verdicts
from helpers import fails_with, notebook, run, run_here

from minigpt.classroom import copies
from minigpt.classroom.checks import open_workbook
from minigpt.classroom.copies import (
    course_files,
    course_notebooks,
    exercises_by_notebook,
    start_course,
    without_solutions,
)
from minigpt.exercises import EXERCISES

pytestmark = pytest.mark.usefixtures("few_inputs")


@pytest.fixture
def teachers(tmp_path, monkeypatch):
    """The folder in which minigpt looks for its notebooks."""
    folder = tmp_path / "minigpt" / "notebooks"
    folder.mkdir(parents=True)
    monkeypatch.setattr(copies, "PACKAGE", folder.parent)
    return folder


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
    copy = without_solutions(original)
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
        without_solutions(json.loads(notebook("x = 1", source)))


def test_start_never_overwrites(teachers, tmp_path):
    for name in ("01_a", "02_b", "03_c"):
        (teachers / f"{name}.ipynb").write_text(notebook(SOLVED, "café = '\u2028'"), encoding="utf-8")
    folder = tmp_path / "not" / "there"
    assert start_course(folder) == (["01_a.ipynb", "02_b.ipynb", "03_c.ipynb"], [])
    assert "café" in (folder / "01_a.ipynb").read_text(encoding="utf-8")
    (folder / "01_a.ipynb").write_text("my work")
    (folder / "02_b.ipynb").unlink()
    (folder / "03_c.ipynb").unlink()
    (folder / "03_c.ipynb").symlink_to("my work on another disk")
    assert start_course(folder) == (["02_b.ipynb"], ["01_a.ipynb", "03_c.ipynb"])
    assert (folder / "01_a.ipynb").read_text() == "my work" and (folder / "03_c.ipynb").is_symlink()
    assert sorted(path.name for path in folder.iterdir()) == ["01_a.ipynb", "02_b.ipynb", "03_c.ipynb"]


def test_start_reports_what_is_wrong(teachers, tmp_path):
    with pytest.raises(ValueError, match="there are no notebooks in .*install minigpt again"):
        start_course(tmp_path / "new")
    (teachers / "01_a.ipynb").write_text(notebook(SOLVED))
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="is a file: give a folder"):
        start_course(tmp_path / "file")
    (teachers / "01_a.ipynb").write_text("{}")
    with pytest.raises(ValueError, match="01_a.ipynb is not a notebook"):
        start_course(tmp_path / "new")


def test_notebooks_are_found_in_the_package_or_in_the_checkout(teachers):
    assert course_notebooks() == []
    beside = teachers.parent.parent / "notebooks"
    beside.mkdir()
    (beside / "02_b.ipynb").write_text(notebook())
    assert course_notebooks() == []  # some other package's
    (beside.parent / "pyproject.toml").touch()
    assert course_notebooks() == [beside / "02_b.ipynb"]
    (teachers / "01_a.ipynb").write_text(notebook())
    assert course_notebooks() == [teachers / "01_a.ipynb"]


def test_an_exercise_belongs_to_the_notebook_that_grades_its_check(teachers):
    graded = {"metadata": {"nbgrader": {"grade": True}}}
    (teachers / "01_a.ipynb").write_text(
        notebook('check("softmax", f)', {"source": 'check("scores", scores)', **graded})
    )
    (teachers / "02_b.ipynb").write_text(notebook({"source": 'check("scores", s)\ncheck("gelu", gelu)', **graded}))
    assert exercises_by_notebook(["softmax", "scores", "gelu"]) == {
        "01_a": ["scores"],
        "02_b": ["gelu"],
        "": ["softmax"],
    }


def test_every_link_of_a_copy_leads_to_a_file_in_its_folder(tmp_path):
    start_course(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in course_notebooks()} | {"source"}
    followed = set()
    for copy in tmp_path.glob("*.ipynb"):
        for cell in json.loads(copy.read_text(encoding="utf-8"))["cells"]:
            targets = re.findall(r"\]\(([^)#]+)\)", "".join(cell["source"])) if cell["cell_type"] == "markdown" else []
            for target in targets:
                assert target.startswith("https://") or (tmp_path / target).is_file(), (copy.name, target)
                assert ".." not in target
                followed.add(target)
    # The files are the package's own, byte for byte, so that `grade` does not take them for the student's.
    sources = {name: content for name, content in course_files().items() if name.startswith("source/")}
    assert sources and followed.issuperset(sources)
    for name, content in sources.items():
        assert (copies.PACKAGE / name.removeprefix("source/")).read_bytes() == content


WITH_SOLUTIONS = [path for path in course_notebooks() if "### BEGIN SOLUTION" in path.read_text(encoding="utf-8")]


@pytest.mark.slow
@pytest.mark.parametrize("path", WITH_SOLUTIONS, ids=lambda path: path.stem)
def test_the_notebooks_pass_and_their_copies_wait_to_be_written(path, tmp_path):
    original = json.loads(path.read_text(encoding="utf-8"))
    solved = verdicts(open_workbook(path))
    assert solved and all(verdict.startswith("right, on") for verdict in solved.values()), solved
    copy = tmp_path / path.name
    copy.write_text(json.dumps(without_solutions(original)), encoding="utf-8")
    assert verdicts(open_workbook(copy)) == dict.fromkeys(solved, "it is not written yet")
    for cell in json.loads(copy.read_text())["cells"]:
        if "nbgrader" in cell["metadata"]:
            assert cell["outputs"] == [] and cell["execution_count"] is None


def test_the_commands_start_and_list(tmp_path):
    result = run("exercises", "start", tmp_path / "mine")
    names = sorted(path.name for path in (tmp_path / "mine").glob("*.ipynb"))
    assert result.returncode == 0 and f"{len(names)} notebooks are in" in result.stdout and names[0] in result.stdout
    assert names == [path.name for path in course_notebooks()]
    again = run_here("exercises", "start", tmp_path / "mine")
    assert again.returncode == 0 and again.stdout == f"kept as they are: {', '.join(names)}\n"
    (tmp_path / "file").touch()
    fails_with("is a file: give a folder", "exercises", "start", tmp_path / "file", run=run_here)
    listed = run_here("exercises", "list").stdout
    assert [line.strip() for line in listed.splitlines() if re.match(r"    \S", line)] == [
        EXERCISES[name].signature for names in exercises_by_notebook(EXERCISES).values() for name in names
    ]
