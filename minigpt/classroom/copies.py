"""Make the students' copies of the course's notebooks: no solutions, and no outputs that would reveal them."""

import ast
import json
import re
from pathlib import Path

from minigpt.classroom.sources import cell_source, read_notebook
from minigpt.files import write_file

PACKAGE = Path(__file__).parents[1]  # the folder minigpt/
BEGIN_SOLUTION, END_SOLUTION = "### BEGIN SOLUTION", "### END SOLUTION"  # nbgrader's markers


def course_notebooks():
    """Return the paths of the course's notebooks, sorted: in the installed package, or beside it in a checkout."""
    folders = [PACKAGE / "notebooks"]
    if (PACKAGE.parent / "pyproject.toml").exists():
        folders.append(PACKAGE.parent / "notebooks")
    return next(filter(None, (sorted(folder.glob("*.ipynb")) for folder in folders)), [])


def start_course(folder):
    """Write every notebook without its solutions into a folder. Return (names written, names kept).

    Existing files are kept as they are. Raise ValueError if the folder is a file or there are no notebooks.
    """
    folder, originals = Path(folder), course_notebooks()
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file: give a folder, which need not exist")
    if not originals:
        raise ValueError(f"there are no notebooks in {PACKAGE / 'notebooks'}: install minigpt again")
    written, kept = [], []
    for original in originals:
        copy = folder / original.name
        if copy.exists() or copy.is_symlink():
            kept.append(copy.name)
            continue
        text = json.dumps(without_solutions(read_notebook(original)), ensure_ascii=False, indent=1) + "\n"
        write_file(copy, lambda path, text=text: path.write_text(text, encoding="utf-8"))
        written.append(copy.name)
    return written, kept


def without_solutions(notebook):
    """Return a notebook as a student gets it: no solutions, and no outputs of the cells that need them.

    The outputs of all other cells stay, so that the copy reads as the original does. Raise ValueError for a marker
    without its counterpart.
    """
    cells, unwritten = [], set()
    for number, cell in enumerate(notebook["cells"], 1):
        if cell["cell_type"] == "code":
            source = cell_source(cell)
            try:
                emptied, names = _without_solution(source)
            except ValueError as error:
                raise ValueError(f"cell {number}: {error}") from error
            unwritten |= names
            if emptied != source or _mentions(source, unwritten):
                lines = emptied.splitlines(keepends=True)
                cell = cell | {"source": lines, "outputs": [], "execution_count": None}
        cells.append(cell)
    return notebook | {"cells": cells}


def _without_solution(source):
    """Return a cell's source with each solution replaced by `raise NotImplementedError`, and the functions' names."""
    lines, names, in_solution = [], set(), False
    for line in source.splitlines():
        marker = line.strip()
        if marker.startswith(BEGIN_SOLUTION):
            indentation = line[: len(line) - len(line.lstrip())]
            definitions = [re.match(r"(\s*)def (\w+)", before) for before in lines]
            enclosing = [match[2] for match in definitions if match and len(match[1]) < len(indentation)]
            if in_solution or not enclosing:
                raise ValueError(f'"{BEGIN_SOLUTION}" must stand in a function, and only once before "{END_SOLUTION}"')
            lines.append(f'{indentation}raise NotImplementedError("write {enclosing[-1]}")')
            names.add(enclosing[-1])
            in_solution = True
        elif marker.startswith(END_SOLUTION):
            if not in_solution:
                raise ValueError(f'"{END_SOLUTION}" stands without "{BEGIN_SOLUTION}"')
            in_solution = False
        elif not in_solution:
            lines.append(line)
    if in_solution:
        raise ValueError(f'"{BEGIN_SOLUTION}" stands without "{END_SOLUTION}"')
    return "\n".join(lines) if names else source, names


def _mentions(source, names):
    """Return whether a cell uses one of these names. If it is not Python (a magic), every word counts."""
    try:
        words = {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
    except SyntaxError:
        words = set(re.findall(r"\w+", source))
    return not names.isdisjoint(words)


def exercises_by_notebook(names):
    """Return {notebook's title: the exercises that it checks}. The title "" has those that no notebook checks."""
    by_notebook, left = {}, list(names)
    for path in course_notebooks():
        graded = [cell for cell in read_notebook(path)["cells"] if cell["metadata"].get("nbgrader", {}).get("grade")]
        checked = [name for cell in graded for name in re.findall(r'check\("(\w+)"', cell_source(cell))]
        if here := [name for name in left if name in checked]:
            by_notebook[path.stem] = here
            left = [name for name in left if name not in here]
    return by_notebook | ({"": left} if left else {})
