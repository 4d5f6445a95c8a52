"""minigpt as a submission sees it: all its names can be imported, and none of its solutions is there.

The copy that `write_facade` makes has every module. A few of them, which answer the grading process, are whole. In all
others a function or class is Absent (absent.py) and a constant keeps its value if it is written as a literal.
"""

import ast
import compileall
from pathlib import Path

import weights_loader
from minigpt.classroom.statements import ASSIGNMENT, DEFINITION, IMPORT, bound_names

PACKAGES = (Path(__file__).parents[1], Path(weights_loader.__file__).parent)
# What runs in the process of a submission.
WHOLE = {
    f"minigpt/{name}.py"
    for name in (
        "classroom/absent", "classroom/limits", "classroom/messages", "classroom/sources", "classroom/statements",
        "classroom/workbook", "classroom/worker", "exercises/calling", "exercises/formatting",
    )
}  # fmt: skip


def write_facade(folder):
    """Write the facades of minigpt and weights_loader into a folder, which then goes in front of sys.path."""
    for package in PACKAGES:
        for path in package.rglob("*.py"):
            relative = path.relative_to(package.parent)
            copy = Path(folder) / relative
            copy.parent.mkdir(parents=True, exist_ok=True)
            text = path.read_text(encoding="utf-8")
            name = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
            copy.write_text(text if relative.as_posix() in WHOLE else facade_of(name, text), encoding="utf-8")
    compileall.compile_dir(folder, quiet=2)


def facade_of(module, text):
    """Return the text of the facade of a module."""
    statements = ast.parse(text).body
    is_lazy = "__getattr__" in text  # it imports names when they are used, and its code is needed for that
    lines = ["from minigpt.classroom.absent import Absent, AbsentClass"]
    for statement in statements:
        if isinstance(statement, IMPORT):
            root = (getattr(statement, "module", None) or statement.names[0].name).partition(".")[0]
            if is_lazy or root in ("minigpt", "weights_loader"):
                lines.append(ast.unparse(statement))
        elif isinstance(statement, DEFINITION) and statement.name.startswith("__"):
            lines.append(ast.unparse(statement))
        elif isinstance(statement, ast.ClassDef):
            lines.append(f"class {statement.name}(metaclass=AbsentClass):\n    pass")
        elif not (isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test)):
            literal = _literal(statement)
            names = [name for name in bound_names(statement) if literal or name != "__all__"]
            lines += [f"{name} = {literal or _absent(module, name)}" for name in names]
    return "\n".join(lines) + "\n"


def _absent(module, name):
    return f'Absent("{module}.{name}")'


def _literal(statement):
    """Return the source of the value that a statement assigns to a name, if it is a literal, else None."""
    if not isinstance(statement, ASSIGNMENT) or statement.value is None or len(bound_names(statement)) != 1:
        return None
    try:
        ast.literal_eval(statement.value)
    except ValueError:
        return None
    return ast.unparse(statement.value)
