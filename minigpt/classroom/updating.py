"""Bring a student's folder up to the installed version of the course, and keep what the student wrote."""

import json
import uuid
from itertools import count
from pathlib import Path

from minigpt.classroom.copies import cell_name, course_files, notebook_bytes, source_digest
from minigpt.classroom.sources import cell_source, read_notebook
from minigpt.files import write_file


def update_course(folder):
    """Update the files in a folder that `start_course` wrote. Return (names updated, {name: why not}, backup folder).

    Every file that changes is first copied into a new folder `backup-1`, `backup-2` and so on, None if there are none.
    Files that are missing, links, and files that are no notebooks stay as they are.
    """
    folder, changed, refused = Path(folder), {}, {}
    for name, content in course_files().items():
        path = folder / name
        if path.is_symlink():
            refused[name] = "it is a link"
        elif path.is_file() and (before := path.read_bytes()) != content:
            try:
                after = _updated_file(path, content)
            except (ValueError, TypeError, AttributeError, KeyError):
                refused[name] = "it is not a notebook that can be read (of nbformat 4)"
            else:
                if after != before:
                    changed[name] = before, after
    if not changed:
        return [], refused, None
    backup = next(path for n in count(1) if not (path := folder / f"backup-{n}").exists())
    for name, (before, _) in changed.items():
        write_file(backup / name, lambda path, content=before: path.write_bytes(content))
    for name, (_, after) in changed.items():
        write_file(folder / name, lambda path, content=after: path.write_bytes(content))
    return [name for name in changed if name.endswith(".ipynb")], refused, backup


def _updated_file(path, content):
    if path.suffix != ".ipynb":
        return content
    mine = read_notebook(path)
    updated = updated_copy(mine, json.loads(content))
    return path.read_bytes() if updated == mine else notebook_bytes(updated)


def updated_copy(mine, new):
    """Return the new copy of a notebook with what the student wrote in `mine`, an older copy.

    - In a cell for an answer the student's text stays.
    - Another cell that the student changed stays, unless the course changed it too: then it follows the new one.
    - Cells that the student added stay behind the cell that they followed.
    An older copy without a record does not tell who changed a cell; there only answers and added cells stay.
    """
    record = mine.get("metadata", {}).get("minigpt", {}).get("cells", {})
    names, students, added, place = {cell_name(cell) for cell in new["cells"]}, {}, {}, None
    for cell in mine["cells"]:
        name = cell_name(cell)
        if name in names and name not in students:
            students[name], place = cell, name
        elif source_digest(cell) not in record.values():  # the others are cells that the course no longer has
            added.setdefault(place, []).append(cell)
    cells = added.get(None, [])
    for cell in new["cells"]:
        name = cell_name(cell)
        cells = [*cells, *_merged(cell, students.get(name), record), *added.get(name, [])]
    metadata = mine.get("metadata", {}) | {"minigpt": new["metadata"]["minigpt"]}
    return new | {"metadata": metadata, "cells": _with_unique_ids(cells)}


def _merged(new, mine, record):
    """Return the cells in place of a cell of the course: the new one, the student's version of it, or both."""
    if mine is None or mine["cell_type"] != new["cell_type"]:
        return [new] if mine is None else [new, _as_added(mine)]
    kept = new | {key: mine[key] for key in ("source", "outputs", "execution_count") if key in mine}
    if cell_source(mine) == cell_source(new):
        return [kept]
    before = record.get(cell_name(new))
    if source_digest(mine) == before:
        return [new]
    if new["metadata"].get("nbgrader", {}).get("solution") or source_digest(new) == before:
        return [kept]
    return [new, _as_added(mine)] if before else [new]


def _as_added(cell):
    """Return a cell of the course as one that the student added: nbgrader and minigpt take it for no other."""
    metadata = {key: value for key, value in cell.get("metadata", {}).items() if key != "nbgrader"}
    return {key: value for key, value in cell.items() if key != "id"} | {"metadata": metadata}


def _with_unique_ids(cells):
    """Return the cells with an id for each, as nbformat 4.5 requires: a new one if it has none, or another's."""
    ids, unique = set(), []
    for cell in cells:
        if cell.get("id", "") in {*ids, ""}:
            cell = cell | {"id": uuid.uuid4().hex[:8]}
        ids.add(cell["id"])
        unique.append(cell)
    return unique
