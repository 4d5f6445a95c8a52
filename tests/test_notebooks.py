"""Run every notebook from top to bottom without a network (`pytest -m notebooks`), and check the students' copies."""

import base64
import json
import os
import re
import subprocess
import sys
import time
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

from minigpt import GPT2, GPT2Config
from minigpt.classroom.checks import check_workbook, open_workbook
from minigpt.classroom.copies import start_course, without_solutions
from minigpt.exercises import EXERCISES
from minigpt.page.widget import WIDGET_VIEW
from minigpt.params import flatten

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
CELL_SECONDS = 600  # far more than any cell takes: only an endless loop reaches this limit
TOLD = re.compile(r"\*\(The next cell takes about (\d+) s\b")

# Python imports sitecustomize.py when it starts, so this holds in every kernel and in the processes that it starts.
NO_NETWORK = """
import sys

LOCAL = ("127.0.0.1", "::1", "localhost", None, "")

def refuse(event, arguments):
    if event == "socket.connect" and isinstance(arguments[1], tuple) and arguments[1][0] not in LOCAL:
        raise RuntimeError(f"a notebook reached for the network: {arguments[1]}")
    if event == "socket.getaddrinfo" and arguments[0] not in LOCAL:
        raise RuntimeError(f"a notebook reached for the network: {arguments[0]}")

sys.addaudithook(refuse)
"""


def read(name):
    return json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))


def source(cell):
    return "".join(cell["source"])


def code_cells(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


@pytest.fixture
def no_network(tmp_path):
    """Return an environment in which no Python process reaches the network."""
    (tmp_path / "sitecustomize.py").write_text(NO_NETWORK)
    paths = filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")])
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


def test_a_notebook_cannot_reach_the_network(no_network):
    for code in (
        "import socket; socket.create_connection(('192.0.2.1', 80), 1)",
        "import urllib.request; urllib.request.urlopen('http://example.org')",
    ):
        result = subprocess.run([sys.executable, "-c", code], env=no_network, capture_output=True, text=True)
        assert result.returncode == 1 and "reached for the network" in result.stderr


@pytest.mark.notebooks
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_and_its_committed_outputs_are_current(name, no_network, tmp_path, capsys):
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell["outputs"] = []
    working_folder = tmp_path / "run"
    working_folder.mkdir()
    client = NotebookClient(notebook, timeout=CELL_SECONDS, resources={"metadata": {"path": str(working_folder)}})
    started = time.monotonic()
    client.execute(env=no_network)
    with capsys.disabled():
        print(f"\n{name}: {time.monotonic() - started:.0f} s ", end="")
    committed = [output_shapes(cell) for cell in code_cells(read(name))]
    executed = [output_shapes(cell) for cell in code_cells(notebook)]
    for number, (old, new) in enumerate(zip(committed, executed, strict=True)):
        assert old == new, f"code cell {number} has outputs other than those committed: run it again and commit"


def output_shapes(cell):
    """Return what does not depend on the machine: the kinds of a cell's outputs, and the array shapes in their texts."""
    shapes = []
    for output in cell["outputs"]:
        data = output.get("data", {})
        if WIDGET_VIEW in data:
            continue  # the page of `step`, which is there if anywidget is installed; its picture is an output of its own
        text = "".join(output.get("text", data.get("text/plain", "")))
        shown = "display_data" if output["output_type"] == "execute_result" else output["output_type"]
        kind = shown, output.get("name"), tuple(sorted(data))
        if kind[0] == "stream" and kind[1] == "stderr":  # progress is written in any number of pieces
            continue
        array_shapes = tuple(re.findall(r"\((?:\d+, )+\d*\)", text))
        if kind[0] == "stream" and shapes and shapes[-1][0] == kind:
            shapes[-1] = (kind, shapes[-1][1] + array_shapes)
        else:
            shapes.append((kind, array_shapes))
    return shapes


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_committed_as_it_ran(name):
    notebook = read(name)
    counts = [cell["execution_count"] for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))
    for cell in code_cells(notebook):
        assert not any(output["output_type"] == "error" for output in cell["outputs"]), source(cell)
    text = json.dumps(notebook)
    assert not re.search(r"/(home|root|work|tmp|Users)/", text), "a path of somebody's machine"
    # A widget is nothing without its kernel, and would hide the static picture that stands beside it.
    assert WIDGET_VIEW not in text and "widgets" not in notebook["metadata"]
    assert notebook["cells"][0]["cell_type"] == "markdown" and source(notebook["cells"][0]).startswith("# ")


def test_exercises_are_solved_and_checked_in_the_order_of_the_catalogue():
    solved, checked = [], []
    for name in NOTEBOOKS:
        for cell in code_cells(read(name)):
            data = cell["metadata"].get("nbgrader", {})
            if data.get("solution"):
                solved += re.findall(r"^def (\w+)\(", source(cell), re.MULTILINE)[:1]
            if data.get("grade"):
                checked += re.findall(r'^check\("(\w+)", \1\)$', source(cell), re.MULTILINE)
    assert solved == checked == list(EXERCISES)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_students_copy_fails_with_a_helpful_message_and_passes_with_the_solutions(name, tmp_path):
    original, copy = FOLDER / f"{name}.ipynb", tmp_path / f"{name}.ipynb"
    emptied = without_solutions(read(name))
    assert "BEGIN SOLUTION" not in json.dumps(emptied)
    copy.write_text(json.dumps(emptied), encoding="utf-8")
    graded = [cell["metadata"].get("nbgrader", {}).get("grade", False) for cell in emptied["cells"]]
    for path, passes in ((copy, False), (original, True)):
        results = list(check_workbook(open_workbook(path))) if any(graded) else []
        assert len(results) == sum(graded)
        for result in results:
            assert result.passed == passes and (passes or result.verdict == "it is not written yet"), result
    # In the copy the checks have no outputs yet; in the original every check reports success.
    for cell, original_cell, is_check in zip(emptied["cells"], read(name)["cells"], graded, strict=True):
        if is_check:
            assert cell["outputs"] == [] and "✓" in json.dumps(original_cell["outputs"], ensure_ascii=False)


def test_the_course_is_copied_whole(tmp_path):
    start_course(tmp_path / "mine")
    assert sorted(path.stem for path in (tmp_path / "mine").glob("*.ipynb")) == NOTEBOOKS and len(NOTEBOOKS) == 14


def test_the_shapes_of_the_glossary_are_the_models():
    sizes = {"B": 2, "T": 3, "S": 3, "V": 11, "D": 10, "H": 5, "K": 2, "F": 40, "3 D": 30, "1024": 7}
    config = GPT2Config(vocab_size=11, n_positions=7, n_layer=1, n_head=5, n_embd=10, bos_token_id=0, eos_token_id=0)
    model, trace = GPT2.random(config), {}
    model([[1, 2, 3], [4, 5, 6]], trace=trace)
    true = {name.replace("h.0.", "h.i."): array.shape for name, array in (trace | flatten(model.params)).items()}
    told = {}
    for names, axes in re.findall(
        r"^\| (`.*`) \| \[([^\]]*)\] \|", "\n".join(map(source, read("glossary")["cells"])), re.M
    ):
        first, *others = re.findall(r"`(.*?)`", names)
        for name in (first, *(first.rpartition(".")[0] + other for other in others)):
            told[name] = tuple(sizes[axis] for axis in axes.split(", "))
    assert told == true and list(told)[: len(trace)] == list(true)[: len(trace)]


def test_the_times_are_told():
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    in_readme = re.findall(r"^\| \[(\w+)\]\(\1\.ipynb\) .* \| (\d+) s \|$", readme, re.MULTILINE)
    on_page = [(name, *re.findall(r"\*\*Time\*\* (\d+) s", source(read(name)["cells"][0]))) for name in NOTEBOOKS]
    assert in_readme == [page for page in on_page if page[0] != "glossary"]
    for name, total in in_readme:
        cells = read(name)["cells"]
        told = [(int(TOLD.search(source(a))[1]), b) for a, b in pairwise(cells) if TOLD.search(source(a))]
        assert sum(seconds for seconds, _ in told) <= int(total), name
        for seconds, cell in told:
            assert seconds >= 5 and cell["cell_type"] == "code", name
            # A training shows a progress bar, its own or that of `fine_tuned`; compiling cannot.
            assert name == "10_fast" or re.search("tqdm|fine_tuned", source(cell)), name


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_figures_are_large_and_have_a_ground_of_their_own(name):
    for cell in code_cells(read(name)):
        for output in cell["outputs"]:
            if png := output.get("data", {}).get("image/png"):
                picture = Image.open(BytesIO(base64.b64decode("".join(png))))
                assert round(picture.info["dpi"][0]) == 120, "not drawn in the style minigpt.looking.projector"
                assert picture.convert("RGBA").getpixel((0, 0)) == (255, 255, 255, 255), (
                    "dark letters would be lost in the dark theme"
                )


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_printed_texts_are_broken_between_words(name):
    for cell in code_cells(read(name)):
        if 'end=""' not in source(cell):  # printed piece by piece, as a model writes it
            for output in cell["outputs"]:
                for line in "".join(output.get("text", "")).splitlines() if output.get("name") == "stdout" else []:
                    assert len(line) <= 130 or "|" in line, line  # bars stand between tokens


def test_links_lead_somewhere():
    for name in NOTEBOOKS:
        for cell in read(name)["cells"]:
            if cell["cell_type"] == "markdown":
                for target in re.findall(r"\]\(([^)#]+)\)", source(cell)):
                    assert target.startswith("https://") or (FOLDER / target).exists(), (name, target)
