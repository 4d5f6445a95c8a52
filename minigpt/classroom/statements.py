"""Find which statements of a student's file are definitions: imports, functions, classes, and constants.

Only those run, so that a notebook that trains for an hour is checked at once. The expression of a constant may call
what has no side effects, as far as its names show: `np.sqrt(2 / np.pi)` may run, `train()` may not.

`known` maps each name that an expression may use to what calling it would do. PURE: it computes a value and does
nothing else, as `float` and the functions of NumPy do. DATA: its methods compute a value, as those of an array do.
None: unknown, so the name may be used but not called.
"""

import ast
import builtins

PURE, DATA = "pure", "data"
PURE_BUILTINS = (
    "abs", "bool", "bytes", "chr", "complex", "dict", "float", "frozenset", "int", "len", "list", "max", "min", "ord",
    "pow", "range", "round", "set", "slice", "sorted", "str", "sum", "tuple", "zip",
)  # fmt: skip
PURE_MODULES = ("functools", "math", "numpy")

DEFINITION = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
IMPORT = ast.Import | ast.ImportFrom
ASSIGNMENT = ast.Assign | ast.AnnAssign
COMPREHENSION = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
CONSTANT_PARTS = (
    ast.Constant, ast.Tuple, ast.List, ast.Set, ast.Dict, ast.Attribute, ast.Subscript, ast.Slice, ast.IfExp,
    ast.UnaryOp, ast.BinOp, ast.BoolOp, ast.Compare, ast.keyword, ast.comprehension,
    ast.expr_context, ast.operator, ast.unaryop, ast.boolop, ast.cmpop,
)  # fmt: skip


def names_known_at_first():
    """Return `known` before the first statement: Python's builtins."""
    # Without __name__, code below `if __name__ == "__main__":` is no definition and does not run.
    return dict.fromkeys({*dir(builtins)} - {"__name__"}) | dict.fromkeys(PURE_BUILTINS, PURE)


def is_definition(statement, known):
    """Return whether a statement is an import, a function, a class, or a constant made of known names.

    `if` and `try` are definitions if they contain nothing else.
    """
    if isinstance(statement, ast.If) and not _is_constant(statement.test, known):
        return False
    if isinstance(statement, ast.If | ast.Try):
        known = known | dict.fromkeys(bound_names(statement))
        inner = _inner_statements(statement)
        return all(isinstance(part, ast.Pass | ast.Raise) or is_definition(part, known) for part in inner)
    if isinstance(statement, ASSIGNMENT):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        return (
            all(_is_name_or_tuple_of_names(target) for target in targets)
            and statement.value is not None
            and _is_constant(statement.value, known)
        )
    return isinstance(statement, DEFINITION | IMPORT)


def _inner_statements(statement):
    """Return the statements in all branches of an `if` or a `try`."""
    inner = [*getattr(statement, "body", []), *getattr(statement, "orelse", []), *getattr(statement, "finalbody", [])]
    return inner + [part for handler in getattr(statement, "handlers", []) for part in handler.body]


def _is_name_or_tuple_of_names(target):
    elements = target.elts if isinstance(target, ast.Tuple) else [target]
    return all(isinstance(element, ast.Name) for element in elements)


def _is_constant(value, known):
    """Return whether an expression is a lambda, or made of known names by pure calls, such as np.sqrt(2 / np.pi)."""
    if isinstance(value, ast.Lambda):
        return True
    if isinstance(value, ast.Name):
        return value.id in known or "*" in known
    if isinstance(value, COMPREHENSION):
        stored = (node for node in ast.walk(value) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
        known = known | {node.id: DATA for node in stored}
    elif isinstance(value, ast.Call):
        if not _is_pure(value.func, known):
            return False
    elif not isinstance(value, CONSTANT_PARTS):
        return False
    return all(_is_constant(part, known) for part in ast.iter_child_nodes(value))


def _is_pure(function, known):
    """Return whether calling this has no side effects, as for float, math.sqrt, or the method of a constant."""
    is_method = isinstance(function, ast.Attribute)
    while is_method and isinstance(function, ast.Attribute | ast.Subscript):
        function = function.value
    if isinstance(function, ast.Name):
        kind = known.get(function.id, known.get("*"))
        return kind == PURE or (is_method and kind == DATA)
    return is_method  # a method of a literal, such as "a b".split()


def kinds_of_names(statement):
    """Return {name: PURE or DATA} for the names that a definition binds to such a value."""
    if isinstance(statement, ast.If | ast.Try):
        return {name: kind for part in _inner_statements(statement) for name, kind in kinds_of_names(part).items()}
    if isinstance(statement, ast.Import):
        modules = [alias.name.partition(".")[0] for alias in statement.names]
        names = zip(bound_names(statement), modules, strict=True)
        return {name: PURE for name, module in names if module in PURE_MODULES}
    if isinstance(statement, ast.ImportFrom):
        is_pure = not statement.level and statement.module.partition(".")[0] in PURE_MODULES
        return dict.fromkeys(bound_names(statement), PURE) if is_pure else {}
    return dict.fromkeys(bound_names(statement), DATA) if assigns_data(statement) else {}


def assigns_data(statement):
    """Return whether an assignment's value looks like data: not `f`, `a.f` or a lambda, which may be functions."""
    function = ast.Lambda | ast.Name | ast.Attribute
    return isinstance(statement, ASSIGNMENT) and not isinstance(statement.value, function)


def imported_names(statement):
    """Return the names that a statement binds by imports."""
    parts = _inner_statements(statement) if isinstance(statement, ast.If | ast.Try) else [statement]
    return [name for part in parts if isinstance(part, IMPORT) for name in bound_names(part)]


def nested_definitions(statement):
    """Return the names of all functions and classes that a statement defines, at any depth."""
    return [node.name for node in ast.walk(statement) if isinstance(node, DEFINITION)]


def bound_names(statement):
    """Return the names that a statement binds, not counting those inside functions and classes."""
    if isinstance(statement, DEFINITION):
        return [statement.name]
    if isinstance(statement, IMPORT):
        return [alias.asname or alias.name.partition(".")[0] for alias in statement.names]
    if isinstance(statement, ast.Name):
        return [statement.id] if isinstance(statement.ctx, ast.Store) else []
    if isinstance(statement, ast.Lambda | COMPREHENSION):
        return []
    return [name for child in ast.iter_child_nodes(statement) for name in bound_names(child)]


def used_names(statements):
    """Return the names that are used anywhere, except as arguments of `check`."""
    names, nodes = set(), list(statements)
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Call) and _is_check(node.func):
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            names.add(node.id)
        nodes += ast.iter_child_nodes(node)
    return names


def checked_names(statements):
    """Return the names of the exercises that are passed to `check`, as in check("softmax", ...)."""
    calls = [node for statement in statements for node in ast.walk(statement) if isinstance(node, ast.Call)]
    names = [call.args[0] for call in calls if _is_check(call.func) and call.args]
    return {name.value for name in names if isinstance(name, ast.Constant) and isinstance(name.value, str)}


def _is_check(function):
    return (isinstance(function, ast.Name) and function.id == "check") or (
        isinstance(function, ast.Attribute) and function.attr in ("check", "in_model")
    )
