"""A corrected page reaches a student's copy, and nothing of the student's is lost: `minigpt exercises start --update`."""

import json

import pytest
from helpers import run_here

from minigpt.classroom import copies
from minigpt.classroom.copies import start_course, students_copy
from minigpt.classroom.updating import update_course, updated_copy

STUB = "def double(x):\n    ### BEGIN SOLUTION\n    return 2 * x\n    ### END SOLUTION"


def cell(name, source, **fields):
    if fields.get("cell_type") != "markdown":
        fields = {"cell_type": "code", "outputs": [], "execution_count": None} | fields
    return {"id": name, "metadata": {}, "source": source} | fields


def answer(source=STUB):
    return cell("answer", source, metadata={"nbgrader": {"grade_id": "double", "solution": True}})


def page(*cells):
    return {"cells": list(cells), "metadata": {"kernelspec": {"name": "python3"}}, "nbformat": 4, "nbformat_minor": 5}


def sources(notebook):
    return ["".join(cell["source"]) for cell in notebook["cells"]]


OLD = page(cell("t", "# Tilte", cell_type="markdown"), cell("a", "x = 1"), answer(), cell("b", "y = 1"), cell("c", "z"))
NEW = page(cell("t", "# Title", cell_type="markdown"), cell("n", "w = 1"), cell("a", "x = 1"), answer(STUB.replace("(x)", "(x, /)")), cell("b", "y = 2"))  # fmt: skip


def written_in(changes, added=(), old=OLD):
    """Return a student's copy of OLD with these {id: source}, and cells added after those with an id: (id, cell)."""
    copy = students_copy(old)
    cells = [each | ({"source": changes[each["id"]]} if each["id"] in changes else {}) for each in copy["cells"]]
    for after, new in added:
        place = next(i for i, each in enumerate(cells) if each["id"] == after)
        cells.insert(place + 1, new)
    return json.loads(json.dumps(copy | {"cells": cells}))


STUDENTS = "def double(x):\n    return x + x"


def test_an_untouched_copy_becomes_the_new_page():
    assert updated_copy(written_in({}), students_copy(NEW)) == students_copy(NEW)
    assert updated_copy(students_copy(NEW), students_copy(NEW)) == students_copy(NEW)


def test_answers_changed_cells_and_added_cells_are_kept():
    mine = written_in({"answer": STUDENTS, "a": "x = 5"}, [("a", cell("mine", "print(x)")), ("c", cell("", "last"))])
    mine["cells"][3]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["4"]}]
    updated = updated_copy(mine, students_copy(NEW))
    assert sources(updated) == ["# Title", "w = 1", "x = 5", "print(x)", STUDENTS, "y = 2", "last"]
    assert updated["cells"][4]["outputs"] == mine["cells"][3]["outputs"]
    assert updated["cells"][4]["metadata"] == answer()["metadata"]
    ids = [each["id"] for each in updated["cells"]]
    assert len(set(ids)) == len(ids) and "" not in ids
    assert updated_copy(updated, students_copy(NEW)) == updated


def test_a_cell_that_both_changed_is_there_twice():
    mine = written_in({"b": "y = 1 + 1", "c": "z, my words"})
    updated = updated_copy(mine, students_copy(NEW))
    assert sources(updated)[-3:] == ["y = 2", "y = 1 + 1", "z, my words"]
    assert updated_copy(updated, students_copy(NEW)) == updated


def test_a_cell_turned_into_text_is_kept():
    mine = written_in({})
    mine["cells"][1] = cell("a", "x is one", cell_type="markdown")
    assert sources(updated_copy(mine, students_copy(NEW)))[1:4] == ["w = 1", "x = 1", "x is one"]


def test_a_copy_without_a_record_keeps_answers_and_added_cells():
    mine = written_in({"answer": STUDENTS, "a": "x = 5"}, [("a", cell("mine", "print(x)"))])
    del mine["metadata"]["minigpt"]
    assert sources(updated_copy(mine, students_copy(NEW))) == [
        "# Title", "w = 1", "x = 1", "print(x)", STUDENTS, "y = 2", "z",
    ]  # fmt: skip


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A function that publishes pages {name: notebook} as the installed course, with a file that they link to."""
    package = tmp_path / "minigpt"
    (package / "notebooks").mkdir(parents=True)
    monkeypatch.setattr(copies, "PACKAGE", package)

    def publish(source="", **pages):
        (package / "model.py").write_text(source)
        for name, notebook in pages.items():
            (package / "notebooks" / f"{name}.ipynb").write_text(json.dumps(notebook), encoding="utf-8")

    return publish


def test_what_changes_is_saved_first_and_the_rest_is_not_touched(course, tmp_path):
    link = cell("l", "[model.py](../minigpt/model.py)", cell_type="markdown")
    course(a=OLD, b=OLD, c=page(link), source="old")
    mine = tmp_path / "mine"
    start_course(mine)
    work = json.dumps(written_in({"answer": STUDENTS}))
    (mine / "a.ipynb").write_text(work)
    (mine / "notes.txt").write_text("mine")
    before = {path.name: path.read_bytes() for path in mine.glob("*.ipynb")}
    assert update_course(mine) == ([], {}, None)
    assert before == {path.name: path.read_bytes() for path in mine.glob("*.ipynb")}

    course(a=NEW, d=NEW, source="new")
    (mine / "backup-1").mkdir()
    result = run_here("exercises", "start", mine, "--update")
    assert result.returncode == 0 and "updated: a.ipynb\n" in result.stdout and "backup-2" in result.stdout
    assert STUDENTS in sources(json.loads((mine / "a.ipynb").read_text())) and (mine / "d.ipynb").exists()
    assert (mine / "backup-2" / "a.ipynb").read_text() == work
    assert (mine / "source" / "model.py").read_text() == "new"
    assert (mine / "backup-2" / "source" / "model.py").read_text() == "old"
    assert {path.name: path.read_bytes() for path in mine.glob("[bc].ipynb")} == {n: before[n] for n in ("b.ipynb", "c.ipynb")}  # fmt: skip
    assert sorted(path.name for path in (mine / "backup-2").iterdir()) == ["a.ipynb", "source"]
    again = run_here("exercises", "start", mine, "--update")
    assert again.stdout == f"the pages in {mine} are up to date\n" and not (mine / "backup-3").exists()


@pytest.mark.parametrize("content", ["", "{}", "not a notebook", '{"cells": [{"cell_type": "code", "source": "", "metadata": []}]}'])  # fmt: skip
def test_a_file_that_is_no_notebook_and_a_link_stay(course, tmp_path, content):
    course(a=OLD, b=OLD)
    mine = tmp_path / "mine"
    start_course(mine)
    course(a=NEW, b=NEW)
    (mine / "a.ipynb").write_text(content)
    (mine / "b.ipynb").rename(tmp_path / "elsewhere")
    (mine / "b.ipynb").symlink_to(tmp_path / "elsewhere")
    updated, refused, backup = update_course(mine)
    assert (updated, set(refused), backup) == ([], {"a.ipynb", "b.ipynb"}, None)
    assert (mine / "a.ipynb").read_text() == content and (mine / "b.ipynb").is_symlink()
