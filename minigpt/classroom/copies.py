"""Make the students' copies of the course's notebooks: no solutions, and no outputs that would reveal them."""

import ast
import hashlib
import json
import re
from pathlib import Path

from minigpt.classroom.sources import cell_source, read_notebook
from minigpt.files import write_file

PACKAGE = Path(__file__).parents[1]  # the folder minigpt/
BEGIN_SOLUTION, END_SOLUTION = "### BEGIN SOLUTION", "### END SOLUTION"  # nbgrader's markers
# JupyterLab opens no file outside of the folder that it was started in, so the files of minigpt that the pages link to
# are copied there too. The folder must not be called "minigpt": Python would import it in place of the package.
SOURCE_FOLDER = "source"
LINK_TO_SOURCE = re.compile(r"(?<=\]\()\.\./minigpt/([^)#]+)")


def course_notebooks():
    """Return the paths of the course's notebooks, sorted: in the installed package, or beside it in a checkout."""
    folders = [PACKAGE / "notebooks"]
    if (PACKAGE.parent / "pyproject.toml").exists():
        folders.append(PACKAGE.parent / "notebooks")
    return next(filter(None, (sorted(folder.glob("*.ipynb")) for folder in folders)), [])


def start_course(folder):
    """Write the students' copies into a folder. Return the names of the notebooks that were (written, kept).

    Existing files are kept as they are. Raise ValueError if the folder is a file or there are no notebooks.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file: give a folder, which need not exist")
    written, kept = [], []
    for name, content in course_files().items():
        copy = folder / name
        is_kept = copy.exists() or copy.is_symlink()
        if not is_kept:
            write_file(copy, lambda path, content=content: path.write_bytes(content))
        if copy.suffix == ".ipynb":
            (kept if is_kept else written).append(name)
    return written, kept


def course_files():
    """Return {path in a student's folder: content in bytes}: the copies, then minigpt's files that they link to.

    Raise ValueError if there are no notebooks.
    """
    copies = {path.name: students_copy(read_notebook(path)) for path in course_notebooks()}
    if not copies:
        raise ValueError(f"there are no notebooks in {PACKAGE / 'notebooks'}: install minigpt again")
    linked = sorted({target for path in course_notebooks() for target in linked_sources(read_notebook(path))})
    return {name: notebook_bytes(copy) for name, copy in copies.items()} | {
        f"{SOURCE_FOLDER}/{target}": (PACKAGE / target).read_bytes() for target in linked
    }


def notebook_bytes(notebook):
    """Return the content of a notebook's file, as Jupyter formats it."""
    return (json.dumps(notebook, ensure_ascii=False, indent=1) + "\n").encode()


def students_copy(notebook):
    """Return a notebook without solutions, with links that work in a student's folder, and a record of its cells.

    The record {name of a cell: digest of its source} is in the metadata. An update compares it with what it finds, to
    tell what the student wrote.
    """
    copy = with_local_links(without_solutions(notebook))
    record = {cell_name(cell): source_digest(cell) for cell in copy["cells"]}
    return copy | {"metadata": copy["metadata"] | {"minigpt": {"cells": record}}}


def with_local_links(notebook):
    """Return a notebook whose links to minigpt's files lead to their copies in the folder `source` beside it."""
    cells = [
        cell | {"source": LINK_TO_SOURCE.sub(rf"{SOURCE_FOLDER}/\1", cell_source(cell)).splitlines(keepends=True)}
        if cell["cell_type"] == "markdown"
        else cell
        for cell in notebook["cells"]
    ]
    return notebook | {"cells": cells}


def linked_sources(notebook):
    """Return minigpt's files that a notebook's text links to, relative to the package."""
    texts = [cell_source(cell) for cell in notebook["cells"] if cell["cell_type"] == "markdown"]
    return [target for text in texts for target in LINK_TO_SOURCE.findall(text)]


def cell_name(cell):
    """Return what identifies a cell of the course in every version: nbgrader's grade_id, or the id; None without."""
    return cell.get("metadata", {}).get("nbgrader", {}).get("grade_id") or cell.get("id")


def source_digest(cell):
    """Return a short digest of a cell's source."""
    return hashlib.sha256(cell_source(cell).encode()).hexdigest()[:12]


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
