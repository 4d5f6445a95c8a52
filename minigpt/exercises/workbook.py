"""What students work in: the notebooks without their solutions, and the definitions in a notebook or Python file.

`start` makes the copies. A `Workbook` is what somebody wrote, read but not run; `define` runs its definitions and
nothing else: imports, functions, classes, constants, and what has only these in it, such as `try: import`. So a
notebook that trains for an hour is checked at once.
"""

import ast
import builtins
import json
import linecache
import re
import sys
import tokenize
import types
import warnings
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path

from minigpt.exercises import EXERCISES
from minigpt.exercises.calling import call, error_in_words
from minigpt.exercises.checking import examine, find
from minigpt.exercises.result import Result

PACKAGE = Path(__file__).parent.parent
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"  # as nbgrader has them


# ---------------------------------------------------------------- the student's copies


def notebooks():
    """The paths of minigpt's notebooks, sorted: in the installed package, or beside it where it is not installed."""
    folders = [PACKAGE / "notebooks"]
    if (PACKAGE.parent / "pyproject.toml").exists():
        folders.append(PACKAGE.parent / "notebooks")
    return next(filter(None, (sorted(folder.glob("*.ipynb")) for folder in folders)), [])


def start(folder):
    """Write every notebook without its solutions into a folder; what is there stays: (names written, names kept).

    Raises ValueError if that cannot be.
    """
    from weights_loader import write_file

    folder, originals = Path(folder), notebooks()
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
        text = json.dumps(without_solutions(_read_notebook(original)), ensure_ascii=False, indent=1) + "\n"
        write_file(copy, lambda path, text=text: path.write_text(text, encoding="utf-8"))
        written.append(copy.name)
    return written, kept


def without_solutions(notebook):
    """A notebook as a student gets it: no solutions, and no outputs of the cells that need them.

    The outputs of all other cells stay, so that the copy reads as the original does. Raises ValueError for markers
    without their counterpart.
    """
    cells, unwritten = [], set()
    for number, cell in enumerate(notebook["cells"], 1):
        if cell["cell_type"] == "code":
            source = _source(cell)
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
    """A cell's source with solutions replaced by an error that says what is to be written, and the functions' names."""
    lines, names, inside = [], set(), False
    for line in source.splitlines():
        marker = line.strip()
        if marker.startswith(BEGIN):
            indentation = line[: len(line) - len(line.lstrip())]
            around = [re.match(r"(\s*)def (\w+)", before) for before in lines]
            around = [found[2] for found in around if found and len(found[1]) < len(indentation)]
            if inside or not around:
                raise ValueError(f'"{BEGIN}" must stand in a function, and once before "{END}"')
            lines.append(f'{indentation}raise NotImplementedError("write {around[-1]}")')
            names.add(around[-1])
            inside = True
        elif marker.startswith(END):
            if not inside:
                raise ValueError(f'"{END}" stands without "{BEGIN}"')
            inside = False
        elif not inside:
            lines.append(line)
    if inside:
        raise ValueError(f'"{BEGIN}" stands without "{END}"')
    return "\n".join(lines) if names else source, names


def _mentions(source, names):
    """Whether a cell uses one of these names. Of what is not Python (a magic) every word counts."""
    try:
        words = {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
    except SyntaxError:
        words = set(re.findall(r"\w+", source))
    return not names.isdisjoint(words)


def places(names):
    """{title of a notebook: names of the exercises that it checks}, of those names; "" has those that none checks."""
    found, left = {}, list(names)
    for path in notebooks():
        graded = [cell for cell in _read_notebook(path)["cells"] if cell["metadata"].get("nbgrader", {}).get("grade")]
        checked = [name for cell in graded for name in re.findall(r'check\("(\w+)"', _source(cell))]
        if here := [name for name in left if name in checked]:
            found[path.stem] = here
            left = [name for name in left if name not in here]
    return found | ({"": left} if left else {})


# ---------------------------------------------------------------- reading


def _read_notebook(path):
    """A notebook as the dict that it is. Raises ValueError for what is none."""
    try:
        notebook = json.loads(path.read_bytes().decode("utf-8-sig"))
        cells = notebook["cells"]
        if all(isinstance(cell["cell_type"] + _source(cell), str) for cell in cells):
            return notebook
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        pass
    raise ValueError(f"{path.name} is not a notebook that can be read (of nbformat 4)")


def _source(cell):
    return "".join(cell["source"])  # a text, or a list of its lines


def _code_cells(notebook):
    """The sources of the cells that Jupyter runs, so that the n-th of them is In [n] where all ran in their order."""
    return [_source(cell) for cell in notebook["cells"] if cell["cell_type"] == "code" and _source(cell).strip()]


def _pieces(path):
    """What is compiled by itself: (its name, its source). Of a notebook every cell, "cell 12"; else the file."""
    if path.suffix.lower() == ".ipynb":
        return [(f"cell {number}", cell) for number, cell in enumerate(_code_cells(_read_notebook(path)), 1)]
    if path.suffix.lower() != ".py":
        raise ValueError(f"{path.name} is neither a Python file (.py) nor a notebook (.ipynb)")
    content = path.read_bytes()
    try:
        encoding, _ = tokenize.detect_encoding(BytesIO(content).readline)
        return [(path.name, content.decode(encoding).replace("\r\n", "\n"))]
    except (SyntaxError, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name} is not a text in UTF-8") from error


CELL_MAGICS = ("%%time", "%%timeit", "%%capture", "%%prun")  # those whose cell is Python
# A line for IPython and not for Python, by the look of it.
MAGIC = re.compile(r"(\s*)([%!?].*|\w+\s*=\s*[%!].*|[\w.]+\?{1,2}\s*)$")


def _parse(name, source):
    """A piece's statements. In a cell the lines that are IPython's do nothing."""
    lines, is_cell = source.split("\n"), name.startswith("cell ")
    if is_cell and source.lstrip().startswith("%%") and source.split()[0] not in CELL_MAGICS:
        return []  # %%bash and the like
    while True:
        try:
            return ast.parse("\n".join(lines), name).body
        except SyntaxError as error:
            # Only where Python stumbles: such a line may also be one of a text, or go on with a division by remainder.
            place = (error.lineno or 0) - 1
            magic = MAGIC.match(lines[place]) if is_cell and 0 <= place < len(lines) else None
            if not magic:
                raise
            lines[place] = f"{magic[1]}pass"


class Workbook:
    """What a student's file defines.

    names: what it hands in, as far as one can tell without running it. After `define`: functions, {name: function} of
    all that it defines, the last one of each name; failed, {name: sentence} of definitions that went wrong.
    problems: sentences about what could not be read or defined. Raises ValueError for a file of another kind, OSError.
    """

    def __init__(self, path):
        path = Path(path)
        self.problems, self.functions, self.failed = [], {}, {}
        self._definitions = []  # (name of the piece, statement, the names that it hands in)
        self._missing = {}  # {name: why} of what is not defined, though some statement would
        self._not_run = {}  # of these, what is handed in by the look of it
        statements = []
        for name, source in _pieces(path):
            # Where messages find the line, though there may be no such file.
            linecache.cache[name] = (len(source), None, [f"{line}\n" for line in source.split("\n")], name)
            try:
                with warnings.catch_warnings(action="ignore"):
                    statements += [(name, statement) for statement in _parse(name, source)]
            except (SyntaxError, ValueError, RecursionError, MemoryError) as error:  # ValueError: a null character
                self._fail(re.findall(r"^[ \t]*def\s+(\w+)", source, re.MULTILINE), _not_python(name, error))
        used = _used_names([statement for _, statement in statements])
        # What stands below if __name__ == "__main__" is not wanted here.
        known = dict.fromkeys({*dir(builtins)} - {"__name__"}) | dict.fromkeys(COMPUTING, "computes")
        self.names = list(self.failed)
        checked = _checked_names([statement for _, statement in statements])
        for name, statement in statements:
            try:
                bound, is_definition = _bound_names(statement), _is_definition(statement, known)
            except RecursionError:
                self.problems.append(f"{_place(name, statement.lineno)}: this is nested far too deeply")
                continue
            if not is_definition:
                why = f"{_place(name, statement.lineno)} would set it, but is not run, as it is no definition"
                self._missing |= dict.fromkeys(bound, why)
                handed_in = {*_functions(statement), *checked}
                self._not_run |= {other: f"it is not defined: {why}" for other in bound if other in handed_in}
                continue
            known |= dict.fromkeys(bound) | _what_computes(statement)
            bound = [other for other in bound if other not in _imported(statement) or other not in used]
            self._definitions.append((name, statement, bound))
            self.names += [] if _is_number(statement) else bound

    def define(self):
        """Run the definitions, in order. One that fails costs itself. Gives the workbook."""
        module = types.ModuleType("workbook")  # some decorators look up the module of what they decorate
        sys.modules[module.__name__] = module
        futures = []  # from __future__ import ...: holds for all that follows
        for name, statement, handed_in in self._definitions:
            if isinstance(statement, ast.ImportFrom) and statement.module == "__future__":
                futures.append(statement)
            try:
                with warnings.catch_warnings(action="ignore"):
                    code = compile(ast.Module([*futures, statement], []), name, "exec", dont_inherit=True)
                    exec(code, module.__dict__)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # SystemExit, too
                self._not_defined(name, statement, handed_in, error_in_words(error))
                continue
            for bound in handed_in:
                if callable(value := module.__dict__.get(bound)):
                    self.functions[bound] = value
        there = {*self.functions, *self.failed}
        self.failed |= {name: why for name, why in self._not_run.items() if name in EXERCISES and name not in there}
        return self

    def call(self, name, arguments, uses, **options):
        """The Outcome of a call of one of the functions. See calling.py."""
        outcome = call(self.functions[name], arguments, uses, **options)
        return replace(outcome, message=self._explained(outcome.message))

    def _explained(self, message):
        """A message about an error; where a name is missing that is set by what is not run, it says so."""
        missing = re.match(r"NameError: name '(\w+)' is not defined", message)
        return f"{message}: {self._missing[missing[1]]}" if missing and missing[1] in self._missing else message

    def _not_defined(self, name, statement, handed_in, error):
        sentence = self._explained(error)
        why = f"{_place(name, statement.lineno)} would set it, but fails: {sentence}"
        self._missing |= dict.fromkeys(_bound_names(statement), why)
        # Pages have cells that show things. What goes wrong there because others were not run is nobody's problem.
        follows = sentence != error or isinstance(statement, ast.Assign | ast.AnnAssign)
        if not follows or not EXERCISES.keys().isdisjoint(handed_in):
            self._fail(handed_in, sentence)

    def _fail(self, names, sentence):
        self.problems.append(sentence)
        self.failed |= dict.fromkeys(names, sentence)


def defined(path, only=()):
    """The Workbook of a file, defined, with what `minigpt exercises check` is to look at. Raises ValueError, OSError.

    only: the names of those exercises that are asked for; it is an error if one of them is not there.
    """
    for name in only:
        find(name)
    path = Path(path)
    sys.path.insert(0, str(path.absolute().parent))  # where modules of the student's own are, as when Python runs it
    workbook = Workbook(path).define()
    there = {*workbook.functions, *workbook.failed}
    for name in only:
        if name not in there:
            raise ValueError(f"{path.name} does not define {name}")
    if there.isdisjoint(EXERCISES):
        reasons = "".join(f"; {problem}" for problem in workbook.problems)
        raise ValueError(f"{path.name} defines no exercise{reasons}; `minigpt exercises list` shows what there is")
    return workbook


def results(workbook, only=(), shrink=True):
    """The Result of every exercise that a workbook hands in, or of those in `only`, in the order of the notebooks.

    shrink: see checking.examine. Whatever goes wrong with one costs no other one.
    """
    for name, exercise in EXERCISES.items():
        if only and name not in only:
            continue
        if name in workbook.functions:
            try:
                yield examine(exercise, partial(workbook.call, name, uses=exercise.uses), shrink=shrink)
            except OSError:  # not the function's doing, but this machine's
                raise
            except Exception as error:
                yield Result(name, False, f"it could not be judged: {error_in_words(error)}")
        elif name in workbook.failed:
            yield Result(name, False, workbook.failed[name])


def _place(name, line):
    return f"{name}, line {line}" if name.startswith("cell ") else f"line {line}"


def _not_python(name, error):
    """A syntax error in words."""
    if not isinstance(error, SyntaxError) or error.lineno is None:
        return f"{name} is not Python: {error or type(error).__name__}"
    code = f": {error.text.strip()}" if error.text and error.text.strip() else ""
    return f"{type(error).__name__}: {error.msg} ({_place(name, error.lineno)}{code})"


# ---------------------------------------------------------------- statements


# A name is known as what computes, as a constant, which has methods that compute, or as neither (None).
COMPUTING = (
    "abs", "bool", "bytes", "chr", "complex", "dict", "float", "frozenset", "int", "len", "list", "max", "min", "ord",
    "pow", "range", "round", "set", "slice", "sorted", "str", "sum", "tuple", "zip",
)  # fmt: skip
MODULES = ("functools", "math", "numpy")  # whose functions compute, and do nothing else


def _is_definition(statement, known):
    """Whether a statement defines something: an import, a function, a class, a constant made of known names.

    A condition or an attempt is one if there is nothing else in it.
    """
    if isinstance(statement, ast.If) and not _is_constant(statement.test, known):
        return False
    if isinstance(statement, ast.If | ast.Try):
        known = known | dict.fromkeys(_bound_names(statement))
        return all(isinstance(part, ast.Pass | ast.Raise) or _is_definition(part, known) for part in _parts(statement))
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        names = all(isinstance(t, ast.Name) or (isinstance(t, ast.Tuple) and _all_names(t)) for t in targets)
        return names and statement.value is not None and _is_constant(statement.value, known)
    return isinstance(statement, DEFINITION | ast.Import | ast.ImportFrom)


DEFINITION = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def _parts(statement):
    """The statements in a condition or an attempt."""
    inside = [*getattr(statement, "body", []), *getattr(statement, "orelse", []), *getattr(statement, "finalbody", [])]
    return inside + [part for handler in getattr(statement, "handlers", []) for part in handler.body]


def _all_names(targets):
    return all(isinstance(target, ast.Name) for target in targets.elts)


CONSTANT = (
    ast.Constant, ast.Tuple, ast.List, ast.Set, ast.Dict, ast.Attribute, ast.Subscript, ast.Slice, ast.IfExp,
    ast.UnaryOp, ast.BinOp, ast.BoolOp, ast.Compare, ast.keyword, ast.comprehension,
    ast.expr_context, ast.operator, ast.unaryop, ast.boolop, ast.cmpop,
)  # fmt: skip
COMPREHENSION = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


def _is_constant(value, known):
    """Whether an expression is a lambda, or made of known names by what computes, such as np.sqrt(2 / np.pi)."""
    if isinstance(value, ast.Lambda):
        return True
    if isinstance(value, ast.Name):
        return value.id in known or "*" in known
    if isinstance(value, COMPREHENSION):
        stored = (node for node in ast.walk(value) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
        known = known | {node.id: "constant" for node in stored}
    elif isinstance(value, ast.Call):
        if not _computes(value.func, known):
            return False
    elif not isinstance(value, CONSTANT):
        return False
    return all(_is_constant(part, known) for part in ast.iter_child_nodes(value))


def _computes(function, known):
    """Whether what is called computes and does nothing else: float, math.sqrt, the method of a constant."""
    is_method = isinstance(function, ast.Attribute)
    while is_method and isinstance(function, ast.Attribute | ast.Subscript):
        function = function.value
    if isinstance(function, ast.Name):
        how = known.get(function.id, known.get("*"))
        return how == "computes" or (is_method and how == "constant")
    return is_method  # of something that is written out


def _what_computes(statement):
    """{name: how it is known} of the names that a definition binds to what computes."""
    if isinstance(statement, ast.If | ast.Try):
        return {name: how for part in _parts(statement) for name, how in _what_computes(part).items()}
    if isinstance(statement, ast.Import):
        modules = [alias.name.partition(".")[0] for alias in statement.names]
        names = zip(_bound_names(statement), modules, strict=True)
        return {name: "computes" for name, module in names if module in MODULES}
    if isinstance(statement, ast.ImportFrom):
        is_one = not statement.level and statement.module.partition(".")[0] in MODULES
        return dict.fromkeys(_bound_names(statement), "computes") if is_one else {}
    return dict.fromkeys(_bound_names(statement), "constant") if _is_number(statement) else {}


def _is_number(statement):
    """Whether a constant is no function by the look of it."""
    named = ast.Lambda | ast.Name | ast.Attribute
    return isinstance(statement, ast.Assign | ast.AnnAssign) and not isinstance(statement.value, named)


def _imported(statement):
    """The names that a statement binds by imports: if they are used, they are not handed in."""
    parts = _parts(statement) if isinstance(statement, ast.If | ast.Try) else [statement]
    return [name for part in parts if isinstance(part, ast.Import | ast.ImportFrom) for name in _bound_names(part)]


def _functions(statement):
    """The names of functions that a statement defines somewhere in it."""
    return [node.name for node in ast.walk(statement) if isinstance(node, DEFINITION)]


def _bound_names(statement):
    """The names that a statement defines, not counting those inside of functions and classes."""
    if isinstance(statement, DEFINITION):
        return [statement.name]
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name.partition(".")[0] for alias in statement.names]
    if isinstance(statement, ast.Name):
        return [statement.id] if isinstance(statement.ctx, ast.Store) else []
    if isinstance(statement, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        return []
    return [name for child in ast.iter_child_nodes(statement) for name in _bound_names(child)]


def _used_names(statements):
    """The names that are used somewhere. To check a function is not to use it."""
    names, rest = set(), list(statements)
    while rest:
        node = rest.pop()
        if isinstance(node, ast.Call) and _is_check(node.func):
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            names.add(node.id)
        rest += ast.iter_child_nodes(node)
    return names


def _checked_names(statements):
    """The names of the exercises that are given to check: check("softmax", ...)."""
    calls = [node for statement in statements for node in ast.walk(statement) if isinstance(node, ast.Call)]
    first = [call.args[0] for call in calls if _is_check(call.func) and call.args]
    return {name.value for name in first if isinstance(name, ast.Constant) and isinstance(name.value, str)}


def _is_check(function):
    return (isinstance(function, ast.Name) and function.id == "check") or (
        isinstance(function, ast.Attribute) and function.attr in ("check", "in_model")
    )
