"""The house: imports run downwards only, without a circle, also those inside functions."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parent.parent
# The rooms from the top to the ground. A module imports from its own line and from the lines below.
ROOMS = (
    ("minigpt.cli", "minigpt.__main__", "minigpt.__init__"),
    ("minigpt.classroom", "minigpt.bench"),
    ("minigpt.page",),
    ("minigpt.exercises", "minigpt.looking", "minigpt.stories"),
    ("minigpt.training", "minigpt.generation.text", "minigpt.bpe"),
    ("minigpt.tokenizer", "minigpt.gpt2"),
    ("minigpt.generation", "minigpt.summary"),
    ("minigpt.run",),
    ("minigpt.trace", "minigpt.cache", "minigpt.params", "minigpt.activations"),
    ("minigpt.config",),
    ("minigpt.ops",),
    ("minigpt.model", "minigpt.bundled", "minigpt.checks", "minigpt.files", "minigpt.tokenizer_files"),
    ("weights_loader",),
)


def modules():
    """Return {name: path} of every module, a package under the name of its __init__."""
    paths = [*(ROOT / "minigpt").rglob("*.py"), *(ROOT / "weights_loader").rglob("*.py")]
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in paths}
    return {name.removesuffix(".__init__"): path for name, path in names.items()}


def nodes_that_run(tree):
    """Yield all nodes of a syntax tree but those under `if TYPE_CHECKING:`."""
    yield tree
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
            yield from nodes_that_run(node)


def imported_by(name, path, known):
    """Return the modules that a module imports, anywhere in it but under TYPE_CHECKING."""
    found = set()
    for node in nodes_that_run(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in known else node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {module for module in found & known.keys() if module != name}


def floor_of(name):
    """Return the line of ROOMS that a module belongs to: that of the longest name that fits."""
    if name == "minigpt":
        name = "minigpt.__init__"
    fitting = [
        (len(room), floor) for floor, rooms in enumerate(ROOMS) for room in rooms if f"{name}.".startswith(f"{room}.")
    ]
    assert fitting, f"{name} has no place among the rooms"
    return max(fitting)[1]


def test_imports_run_downwards():
    known = modules()
    upwards = [
        f"{name} -> {other}"
        for name, path in known.items()
        for other in imported_by(name, path, known)
        if other not in ("minigpt", "weights_loader") and floor_of(other) < floor_of(name)
    ]
    assert not upwards, upwards


def test_there_is_no_circle():
    known = modules()
    # The names of minigpt/__init__ are lazy, so that importing the package imports nothing.
    graph = {name: imported_by(name, path, known) - {"minigpt"} for name, path in known.items()}
    assert len(list(TopologicalSorter(graph).static_order())) == len(known)  # raises CycleError, which names the circle


def test_a_circle_would_be_found(tmp_path):
    (tmp_path / "a.py").write_text("def f():\n    from b import g\n")
    (tmp_path / "b.py").write_text("import a\n")
    known = {"a": tmp_path / "a.py", "b": tmp_path / "b.py"}
    assert [imported_by(name, path, known) for name, path in known.items()] == [{"b"}, {"a"}]
