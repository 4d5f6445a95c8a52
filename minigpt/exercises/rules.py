"""Rules that rewrite a right solution into a wrong one, at one place: the mistakes that people make anywhere.

A rule takes a Place and yields pairs of a replacement for its node and a sentence that says what was done. The rules
that come first are preferred where several explain the same results. mutants.py applies them.
"""

import ast
import copy
from dataclasses import dataclass

import numpy as np

from minigpt.ops import plain

MODULES = ("np", "math", "plain")  # what is not a value of the formula
RULES, RARE = [], set()
REDUCTIONS = ("sum", "mean", "max", "min", "var", "std")
SIMILAR = (  # functions that are mistaken for each other
    ("sum", "mean", "max", "min", "prod"),
    ("var", "std"),
    ("argmax", "argmin"),
    ("maximum", "minimum"),
    ("exp", "exp2", "expm1"),
    ("log", "log2", "log10", "log1p"),
    ("tanh", "sigmoid", "sin", "arctan", "erf"),
    ("gelu", "silu", "relu", "sigmoid", "tanh", "gelu_with_erf", "quick_gelu"),
    ("triu", "tril"),
    ("cumsum", "cumprod"),
)
OTHER_FUNCTIONS = {
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "relu": plain.relu,
    "gelu_with_erf": plain.gelu,
    "erf": lambda x: plain.gelu(x * np.sqrt(2)) / x * np.sqrt(2) - 1,
    "tanh": np.tanh,
    "quick_gelu": lambda x: x / (1 + np.exp(-1.702 * x)),
    "unit": lambda x: x / np.linalg.norm(x, axis=-1, keepdims=True),
    "one_for_all": lambda x, place, axis: np.broadcast_to(np.take(x, [place], axis), x.shape),
}


@dataclass
class Place:
    """A node of a function, where it stands, and what can be named there.

    parent, field, index: the node is parent.field, or item `index` of that list. statement: the innermost one around
    it. arguments, arrays and sizes: names of the parameters, and of all variables by kind.
    """

    node: ast.AST
    parent: ast.AST
    field: str
    index: int | None
    statement: ast.stmt
    arguments: list
    arrays: list
    sizes: list

    def put(self, node):
        """Put a node, or a list of statements, in this place."""
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node

    @property
    def is_operand(self):
        """Whether the node is an operand of a matrix product."""
        return isinstance(self.parent, ast.BinOp) and isinstance(self.parent.op, ast.MatMult)

    @property
    def is_value(self):
        """Whether the node is all that a statement assigns or returns, or one of several."""
        around = self.parent
        return around is self.statement and self.field == "value" and not isinstance(self.node, ast.Tuple)


def rule(function=None, rare=False):
    """Add a rule to the list. rare: its mistakes are not combined with others, which could fit by chance."""
    if function is None:
        return lambda function: rule(function, rare)
    RULES.append(function)
    if rare:
        RARE.add(function)
    return function


def formula(node):
    """Return a node as a formula: numpy's functions by their names alone, without keepdims and the usual axis."""
    node = _Formula().visit(copy.deepcopy(node))
    if isinstance(node, ast.Return):
        return "the result is " + formula_text(node.value) if node.value else "nothing is returned"
    if isinstance(node, ast.If | ast.While | ast.For):  # its head alone
        return ast.unparse(node).splitlines()[0].rstrip(":").replace(" ** ", "^")
    return formula_text(node)


def formula_text(node):
    """Return the text of a node that is a formula already."""
    return " ".join(ast.unparse(node).replace(" ** ", "^").split())


class _Formula(ast.NodeTransformer):
    def visit_Call(self, node):
        self.generic_visit(node)
        node.keywords = [k for k in node.keywords if ast.unparse(k) not in ("axis=-1", "keepdims=True", "dtype=bool")]
        if isinstance(node.func, ast.Attribute):
            owner, name = node.func.value, node.func.attr
            if isinstance(owner, ast.Name) and owner.id in ("np", "math"):
                node.func = ast.Name(name)
            elif name == "swapaxes" and [ast.unparse(a) for a in node.args] == ["-1", "-2"]:
                return ast.Attribute(owner, "T")
            elif name in REDUCTIONS:
                return ast.Call(ast.Name(name), [owner, *node.args], node.keywords)
        return node

    def visit_Attribute(self, node):
        self.generic_visit(node)
        is_module = isinstance(node.value, ast.Name) and node.value.id in ("np", "math")
        return ast.Name(node.attr) if is_module else node


def _is(node, kind, op=None):
    """Return whether a node is of that kind, and its operator one of `op`."""
    return isinstance(node, kind) and (op is None or isinstance(node.op, op))


def _binary(left, op, right):
    return ast.BinOp(left, op, right)


def _call(name, *arguments):
    return ast.Call(ast.Name(name, ast.Load()), list(arguments), [])


def _method(node, name, *arguments):
    return ast.Call(ast.Attribute(node, name, ast.Load()), [*map(ast.Constant, arguments)], [])


def _called(node):
    """Return the name of the function or method that a node calls; empty if it is no call."""
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _operand(node):
    """Return what a call works on: the object of a method, or the first argument. None if there is none."""
    owner = getattr(node.func, "value", None)
    if owner is not None and not (isinstance(owner, ast.Name) and owner.id in ("np", "math")):
        return owner
    return node.args[0] if node.args else None


def _with_operand(node, operand):
    """Return the same call of another operand."""
    owner = getattr(node.func, "value", None)
    if owner is not None and not (isinstance(owner, ast.Name) and owner.id in ("np", "math")):
        return ast.Call(ast.Attribute(operand, node.func.attr, ast.Load()), node.args, node.keywords)
    return ast.Call(node.func, [operand, *node.args[1:]], node.keywords)


def _is_transposition(node):
    return _called(node) == "swapaxes" or (isinstance(node, ast.Attribute) and node.attr == "T")


def _number(node):
    """Return the number that a node is, as in -1 or 0.5, or None."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _number(node.operand)
        return None if value is None else -value
    is_number = isinstance(node, ast.Constant) and type(node.value) in (int, float)
    return node.value if is_number else None


def _is_inf(node):
    return isinstance(node, ast.Attribute) and node.attr == "inf"


SUM = (ast.Add, ast.Sub)
PRODUCT = (ast.Mult, ast.Div, ast.MatMult)


def _renamed(node, name):
    """Return the call with another function of that name."""
    if isinstance(node.func, ast.Name) or name in OTHER_FUNCTIONS:
        return _call(name, *node.args)
    return ast.Call(ast.Attribute(node.func.value, name, ast.Load()), node.args, node.keywords)


@rule
def floor_division(place):
    """Both ways to lose what is after the point."""
    node = place.node
    if _is(node, ast.BinOp, ast.Div):
        yield (
            _binary(node.left, ast.FloorDiv(), node.right),
            "You divide with //, which rounds down. Divide with a single /.",
        )
    if _called(node) == "sqrt":
        yield _call("int", node), f"You round {formula(node)} down to a whole number. Keep the fraction."


@rule
def powers_and_roots(place):
    node = place.node
    if _is(node, ast.BinOp, ast.Div) and _called(node.right) == "sqrt":
        x, K = node.left, node.right.args[0]
        yield (
            _binary(_binary(x, ast.Div(), K), ast.Div(), ast.Constant(2)),
            f"You divide by {formula(K)}, then by 2: without brackets `** 1/2` is first a power of 1, then a division "
            f"by 2. The root is the power 1/2.",
        )
    if _called(node) == "sqrt":
        x = node.args[0]
        yield (
            _binary(x, ast.Div(), ast.Constant(2)),
            f"You take half of {formula(x)}: without brackets `** 1/2` is first a power of 1, then a division by 2. "
            "The root is the power 1/2.",
        )
        yield x, f"The root is missing: it is taken of {formula(x)}."
        yield _binary(x, ast.Pow(), ast.Constant(2)), f"You square {formula(x)}. Take its root."
        if isinstance(x, ast.BinOp):
            for part, one in (("left", x.left), ("right", x.right)):
                inside = ast.Call(node.func, [one], [])
                sides = (inside, x.right) if part == "left" else (x.left, inside)
                yield (
                    _binary(sides[0], x.op, sides[1]),
                    f"You take the root of {formula(one)} alone. It is the root of the whole of {formula(x)}.",
                )
            roots = [ast.Call(node.func, [one], []) for one in (x.left, x.right)]
            if _is(x, ast.BinOp, SUM):
                yield (
                    _binary(roots[0], x.op, roots[1]),
                    f"You take two roots. Take one, of the whole of {formula(x)}.",
                )
    if _is(node, ast.BinOp, ast.Pow):
        x, n = node.left, node.right
        yield x, f"The power is missing: {formula(node)}."
        yield _binary(x, ast.Mult(), n), f"You multiply {formula(x)} by {formula(n)}. It is a power."
        if _number(n) is not None:
            for other in (_number(n) - 1, _number(n) + 1):
                if other > 1:
                    yield (
                        _binary(x, ast.Pow(), ast.Constant(other)),
                        f"You take the power {other} of {formula(x)}. It is {formula(n)}.",
                    )
        if _number(n) == 2:
            yield _call("abs", x), f"You take the size of {formula(x)}. Take its square."
    if _is(node, ast.BinOp, (*SUM, *PRODUCT)) and _is(node.right, ast.BinOp, ast.Pow):
        inside = _binary(node.left, node.op, node.right.left)
        yield (
            _binary(inside, ast.Pow(), node.right.right),
            f"You take the power of {formula(inside)}. Only {formula(node.right.left)} has the exponent.",
        )
    if _called(node) == "mean" and _is(_operand(node), ast.BinOp, ast.Pow):
        square = _operand(node)
        yield (
            _binary(_with_operand(node, square.left), ast.Pow(), square.right),
            f"You take the mean of {formula(square.left)} first and the power last. Take the mean of the powers.",
        )


@rule
def forgotten(place):
    """A term, factor, function or condition that is missing."""
    node = place.node
    if isinstance(node, ast.BinOp):
        left, right = formula(node.left), formula(node.right)
        if isinstance(node.op, ast.Add):
            yield node.left, f"The term {right} is missing."
            yield node.right, f"The term {left} is missing."
        elif isinstance(node.op, ast.Sub):
            yield node.left, f"You do not subtract {right}."
            yield ast.UnaryOp(ast.USub(), node.right), f"You do not have {left}, from which {right} is subtracted."
        elif isinstance(node.op, ast.Mult | ast.MatMult):
            yield node.left, f"You do not multiply by {right}."
            yield node.right, f"The factor {left} is missing."
        elif isinstance(node.op, ast.Div):
            yield node.left, f"You do not divide by {right}."
            yield _binary(ast.Constant(1), ast.Div(), node.right), f"The factor {left} is missing."
    if _is(node, ast.UnaryOp, ast.USub) and _number(node) is None and not _is_inf(node.operand):
        yield node.operand, f"The minus sign of {formula(node)} is missing."
    if isinstance(node, ast.Call) and _operand(node) is not None and _called(node) not in ("reshape", "swapaxes"):
        yield _operand(node), f"You leave out {_called(node)}: {formula(node)}."
        if _called(node) == "where" and len(node.args) == 3:
            yield node.args[1], f"You leave out the condition {formula(node.args[0])}."
    if isinstance(node, ast.BoolOp):
        for i, one in enumerate(node.values):
            rest = node.values[:i] + node.values[i + 1 :]
            yield (
                rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest),
                f"The condition {formula(one)} is missing.",
            )


@rule
def axes(place):
    """Another axis, or all of them, and what depends on the number of axes."""
    node, words = place.node, {0: "the first axis", 1: "the second axis", -1: "the last axis", -2: "the last but one"}
    if isinstance(node, ast.keyword) and node.arg == "axis":
        right, name = formula(node.value), _called(place.parent)
        along = words.get(_number(node.value), f"axis {right}")
        for axis in (0, -1, 1, -2):
            if axis != _number(node.value):
                other = ast.keyword("axis", ast.Constant(axis))
                yield other, f"Your {name} runs along {words[axis]}. It runs along {along}."
        if right != "None":
            together = f"You take one {name} of all numbers together. There is one for each vector along {along}."
            yield ast.keyword("axis", ast.Constant(None)), together
    if isinstance(node, ast.keyword) and node.arg == "keepdims":
        yield (
            ast.keyword("keepdims", ast.Constant(False)),
            f"Your {_called(place.parent)} loses its axis, so NumPy matches its numbers with the columns in place of "
            "the rows: it must keep that axis, with the size 1.",
        )
    if _called(node) in ("var", "std"):
        yield (
            ast.Call(node.func, node.args, [*node.keywords, ast.keyword("ddof", ast.Constant(1))]),
            "Your variance divides by one less than the number of values, as for a sample. Divide by their number.",
        )


@rule
def exchanged(place):
    """Two things that have changed places."""
    node = place.node
    if _is(node, ast.BinOp, (ast.Sub, ast.Div, ast.MatMult)):
        yield (
            _binary(node.right, node.op, node.left),
            f"You exchange the two sides of {formula(node)}.",
        )
    items = node.elts if isinstance(node, ast.Tuple) and not isinstance(node.ctx, ast.Store) else None
    items = node.args if isinstance(node, ast.Call) and _called(node) not in ("zip", "swapaxes") else items
    for i in range(len(items or ())):
        for j in range(i + 1, len(items)):
            other = list(items)
            other[i], other[j] = items[j], items[i]
            new = ast.Tuple(other, ast.Load()) if isinstance(node, ast.Tuple) else ast.Call(node.func, other, [])
            if isinstance(node, ast.Call):
                new.keywords = node.keywords
            yield new, f"You exchange {formula(items[i])} and {formula(items[j])}."
    if isinstance(node, ast.Tuple) and isinstance(node.ctx, ast.Store):
        for i in range(len(node.elts)):
            for j in range(i + 1, len(node.elts)):
                other = list(node.elts)
                other[i], other[j] = other[j], other[i]
                yield (
                    ast.Tuple(other, ast.Store()),
                    f"You exchange {formula(node.elts[i])} and {formula(node.elts[j])}.",
                )
    if isinstance(node, ast.IfExp):
        yield ast.IfExp(node.test, node.orelse, node.body), f"You exchange the cases of {formula(node.test)}."


@rule
def comparisons(place):
    node = place.node
    if not isinstance(node, ast.Compare) or len(node.ops) != 1:
        return
    a, b = formula(node.left), formula(node.comparators[0])
    with_equal = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}
    turned = {ast.Lt: ast.Gt, ast.Gt: ast.Lt, ast.LtE: ast.GtE, ast.GtE: ast.LtE, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq}
    op = type(node.ops[0])
    if op in with_equal:
        side = "counts, too" if op in (ast.LtE, ast.GtE) else "does not count"
        yield (
            ast.Compare(node.left, [with_equal[op]()], node.comparators),
            f"You have the wrong side of a limit: where {a} equals {b}, it {side}.",
        )
        opposite = turned[with_equal[op]]
        yield ast.Compare(node.left, [opposite()], node.comparators), f"You turn the comparison {formula(node)} round."
    if op in turned:
        yield (
            ast.Compare(node.left, [turned[op]()], node.comparators),
            f"You turn the comparison {formula(node)} round.",
        )


@rule
def transpositions(place):
    node = place.node
    is_swap = _called(node) == "swapaxes"
    if is_swap or (isinstance(node, ast.Attribute) and node.attr == "T"):
        inner = _operand(node) if is_swap else node.value
        yield inner, f"You leave out a transposition: {formula(node)} in place of {formula(inner)}."
        if is_swap:
            axes = [_number(axis) for axis in node.args]
            for other in ((0, 1), (1, 2), (2, 3), (1, 3), (-1, -2)):
                if set(axes) != set(other):
                    yield _method(inner, "swapaxes", *other), f"You exchange the axes {other}, not {tuple(axes)}."
        if is_swap and _called(inner) == "reshape" and len(inner.args) == 4:
            i, j = (_number(axis) for axis in node.args)
            shape = list(inner.args)
            shape[i], shape[j] = shape[j], shape[i]
            yield (
                ast.Call(inner.func, shape, []),
                "You reshape directly to the wanted sizes, which mixes numbers of different tokens. Cut first, then "
                "exchange the axes.",
            )
    elif place.is_operand or place.is_value or _called(node) in ("tri", "tril", "triu"):
        yield (
            _method(node, "swapaxes", -1, -2),
            f"You transpose {formula(node)}, or exchange what its rows and columns stand for.",
        )


@rule
def similar_functions(place):
    node = place.node
    name = _called(node)
    for group in SIMILAR:
        if name not in group:
            continue
        for other in group:
            if other != name and not (other == "prod" and name != "sum"):
                phrase = f"You take {other} in place of {name}: {formula(node)}."
                yield _renamed(node, other), phrase
    product = node.left if _is(node, ast.BinOp, ast.Div) else node
    if _is(product, ast.BinOp, ast.MatMult) and _is_transposition(product.right):
        turned = copy.copy(product.right)
        other = _with_operand(turned, _call("unit", _operand(turned))) if isinstance(turned, ast.Call) else turned
        if other is turned:
            turned.value = _call("unit", turned.value)
        yield (
            _binary(_call("unit", product.left), ast.MatMult(), other),
            f"You divide by the lengths of the vectors, as for a cosine. It is {formula(node)}.",
        )
    if _called(node) == "where" and len(node.args) == 3 and (_is_inf(getattr(node.args[2], "operand", None))):
        shown, x = node.args[:2]
        for hidden, words in ((0, "0"), (-1, "-1"), (-100, "-100"), (-1e4, "-10000"), (-1e9, "-1e9")):
            yield (
                ast.Call(node.func, [shown, x, ast.Constant(hidden)], []),
                f"You set what is hidden to {words}, which may still count. Only -inf never does.",
            )
            if hidden:
                yield (
                    ast.Call(node.func, [shown, x, _binary(x, ast.Add(), ast.Constant(hidden))], []),
                    f"You add {words} to what is hidden, which may still count. Only -inf never does.",
                )
        yield ast.Call(node.func, [shown, node.args[2], x], []), "You hide what should be seen, and the reverse."


@rule
def brackets(place):
    """What a missing pair of brackets makes of a product or difference."""
    node = place.node
    said = "Your brackets are missing, or closed elsewhere: "
    if _is(node, ast.BinOp, PRODUCT):
        if _is(node.left, ast.BinOp, SUM):
            a, b = node.left.left, node.left.right
            yield (
                _binary(a, node.left.op, _binary(b, node.op, node.right)),
                f"{said}only {formula(b)} meets {formula(node.right)}, but all of {formula(node.left)} must.",
            )
        if _is(node.right, ast.BinOp, SUM):
            a, b = node.right.left, node.right.right
            yield (
                _binary(_binary(node.left, node.op, a), node.right.op, b),
                f"{said}only {formula(a)} meets {formula(node.left)}, but all of {formula(node.right)} must.",
            )
            if _is(node.left, ast.BinOp, SUM):
                c, d = node.left.left, node.left.right
                whole = _binary(_binary(c, node.left.op, _binary(d, node.op, a)), node.right.op, b)
                yield whole, f"{said}a product or quotient comes before a sum or difference."
    if _is(node, ast.BinOp, SUM):
        if _is(node.left, ast.BinOp, PRODUCT):
            a, b = node.left.left, node.left.right
            yield (
                _binary(a, node.left.op, _binary(b, node.op, node.right)),
                f"{said}{formula(node.right)} comes after {formula(node.left)}.",
            )
        if _is(node.right, ast.BinOp, PRODUCT):
            a, b = node.right.left, node.right.right
            yield (
                _binary(_binary(node.left, node.op, a), node.right.op, b),
                f"{said}{formula(node.right)} comes first, before {formula(node.left)} is combined with it.",
            )
    if _is(node, ast.BinOp, ast.Div) and _is(node.right, ast.BinOp, (ast.Mult, ast.Div)):
        a, b = node.right.left, node.right.right
        other = ast.Mult() if isinstance(node.right.op, ast.Mult) else ast.Div()
        yield (
            _binary(_binary(node.left, ast.Div(), a), other, b),
            f"{said}divide by all of {formula(node.right)}.",
        )
    if _is(node, ast.BinOp, ast.Sub) and _is(node.right, ast.BinOp, SUM):
        a, b = node.right.left, node.right.right
        yield (
            _binary(_binary(node.left, ast.Sub(), a), node.right.op, b),
            f"{said}subtract all of {formula(node.right)}.",
        )


@rule
def inside_or_outside(place):
    """A term or factor that stands on the wrong side of a function's bracket."""
    node = place.node
    if isinstance(node, ast.Call) and isinstance(_operand(node), ast.BinOp) and _called(node) not in ("where", "range"):
        inner, name = _operand(node), _called(node)
        for kept, moved, swapped in ((inner.left, inner.right, False), (inner.right, inner.left, True)):
            outside = _with_operand(node, kept)
            sides = (moved, outside) if swapped else (outside, moved)
            yield (
                _binary(sides[0], inner.op, sides[1]),
                f"You have {formula(moved)} outside of the {name}. It belongs inside: {formula(node)}.",
            )
    if isinstance(node, ast.BinOp):
        for call, other, swapped in ((node.left, node.right, False), (node.right, node.left, True)):
            if isinstance(call, ast.Call) and _operand(call) is not None and _called(call) != "where":
                sides = (other, _operand(call)) if swapped else (_operand(call), other)
                yield (
                    _with_operand(call, _binary(sides[0], node.op, sides[1])),
                    f"You have {formula(other)} inside of the {_called(call)}. It belongs outside: {formula(node)}.",
                )


@rule
def off_by_one(place):
    """A bound, an index or an offset that is one too high or too low; the other end of a sequence."""
    node, parent = place.node, place.parent
    is_bound = isinstance(parent, ast.Slice) or (isinstance(parent, ast.Subscript) and place.field == "slice")
    is_bound = is_bound or (_called(parent) in ("range", "arange", "tri", "tril", "triu") and parent.func is not node)
    is_bound = is_bound or (isinstance(parent, ast.Tuple) and isinstance(place.node, ast.BinOp | ast.Constant))
    is_text = isinstance(node, ast.Constant) and not isinstance(node.value, int)
    is_shape = isinstance(parent, ast.Subscript) and getattr(parent.value, "attr", "") == "shape"
    if (
        is_bound
        and not is_text
        and not is_shape
        and not isinstance(node, ast.Slice | ast.Tuple)
        and not (isinstance(node, ast.Name) and node.id not in place.sizes and node.id not in place.arguments)
    ):
        for step, words in ((1, "high"), (-1, "low")):
            number = _number(node)
            moved = ast.Constant(number + step) if number is not None else _binary(node, ast.Add(), ast.Constant(step))
            yield moved, f"You are off by one: {formula(node)} is one too {words} in yours."
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
        low, high, step = node.slice.lower, node.slice.upper, node.slice.step
        if step is not None:
            yield node.value, f"You do not reverse the order of {formula(node.value)}."
        elif low is None and high is not None:
            last = ast.Slice(ast.UnaryOp(ast.USub(), high))
            yield ast.Subscript(node.value, last, ast.Load()), "You take those at the end in place of the first ones."
        backwards = ast.Subscript(node, ast.Slice(step=ast.Constant(-1)), ast.Load())
        yield backwards, f"You have {formula(node)} in reverse order."
    if _number(node) == -1 and is_bound:
        yield ast.Constant(0), "You take the first in place of the last."
    if _called(node) == "arange":
        yield ast.Subscript(node, ast.Slice(step=ast.Constant(-1)), ast.Load()), "You count from the end."


@rule
def operators(place):
    node = place.node
    others = {
        ast.Add: ((ast.Sub, "subtract"), (ast.Mult, "multiply by")),
        ast.Sub: ((ast.Add, "add"), (ast.Div, "divide by")),
        ast.Mult: ((ast.Div, "divide by"), (ast.Add, "add")),
        ast.Div: ((ast.Mult, "multiply by"), (ast.Sub, "subtract")),
        ast.MatMult: ((ast.Mult, "multiply number by number with"),),
    }
    if isinstance(node, ast.BinOp):
        for op, word in others.get(type(node.op), ()):
            yield _binary(node.left, op(), node.right), f"You {word} {formula(node.right)}. It is {formula(node)}."
    if _is(node, ast.BinOp, ast.Add):
        yield (
            _binary(node, ast.Div(), ast.Constant(2)),
            f"You take the mean of two terms. Take their sum, {formula(node)}.",
        )


@rule
def signs(place):
    node = place.node
    if place.is_value:
        yield ast.UnaryOp(ast.USub(), node), f"Your sign is wrong: {formula(node)}."


@rule
def steps(place):
    """Steps that are left out, exchanged, or done once only."""
    node = place.node
    if place.field == "body" and place.index is not None and isinstance(node, ast.stmt):
        if isinstance(node, ast.Assign | ast.AugAssign | ast.If | ast.Expr | ast.For):
            yield ast.Pass(), f"You leave out a step: {formula(node)}."
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Call)
            and len(getattr(node.targets[0], "elts", ())) > 1
        ):
            target = node.targets[0]
            for i, name in enumerate(target.elts):
                elts = [ast.Name("_", ast.Store()) if i == j else other for j, other in enumerate(target.elts)]
                yield (
                    ast.Assign([ast.Tuple(elts, ast.Store())], node.value),
                    f"You leave out a step: {formula(name)} does not change.",
                )
    if isinstance(node, ast.stmt) and place.index is not None:
        body = getattr(place.parent, place.field)
        after = body[place.index + 1] if place.index + 1 < len(body) else None
        if isinstance(after, ast.Assign | ast.AugAssign):
            both = ast.If(ast.Constant(True), [after, node], [])
            yield both, f"You do two steps in the wrong order: {formula(node)}, then {formula(after)}."
    if place.field == "iter" or (place.field == "it" and isinstance(place.parent, ast.For)):
        for words, chosen in (
            ("the first only", ast.Slice(upper=ast.Constant(1))),
            ("not the first", ast.Slice(lower=ast.Constant(1))),
            ("not the last", ast.Slice(upper=ast.UnaryOp(ast.USub(), ast.Constant(1)))),
            ("from the last to the first", ast.Slice(step=ast.Constant(-1))),
        ):
            listed = _call("list", node)
            yield ast.Subscript(listed, chosen, ast.Load()), f"You go through {formula(node)}: {words}."
    if isinstance(node, ast.If | ast.IfExp):
        for value, words in ((True, "always"), (False, "never")):
            changed = copy.copy(node)
            changed.test = ast.Constant(value)
            yield changed, f"You behave as if {formula(node.test)} were {words} so."


@rule(rare=True)
def indices(place):
    """An index that is left out: all are taken in place of those that are chosen."""
    node = place.node
    if (
        isinstance(node, ast.Subscript)
        and isinstance(node.ctx, ast.Load)
        and getattr(node.value, "attr", "") != "shape"
    ):
        yield node.value, f"You take all of {formula(node.value)} in place of {formula(node)}."
        items = node.slice.elts if isinstance(node.slice, ast.Tuple) else ()
        for i, item in enumerate(items):
            if not isinstance(item, ast.Slice):
                others = [ast.Slice() if i == j else other for j, other in enumerate(items)]
                yield (
                    ast.Subscript(node.value, ast.Tuple(others, ast.Load()), ast.Load()),
                    f"You do not choose {formula(item)} in {formula(node)}.",
                )


@rule(rare=True)
def other_variables(place):
    """Another variable of the same kind."""
    node = place.node
    if not isinstance(node, ast.Name) or not isinstance(node.ctx, ast.Load):
        return
    for kind in (place.arrays, place.sizes):
        if node.id in kind:
            for other in kind:
                if other != node.id:
                    yield ast.Name(other, ast.Load()), f"You use {other} in place of {node.id}."
                if other != node.id and kind is place.sizes:
                    product = _binary(node, ast.Mult(), ast.Name(other, ast.Load()))
                    yield product, f"You use {formula(product)} in place of {node.id}."


@rule(rare=True)
def twice(place):
    node = place.node
    if _is(node, ast.BinOp, (ast.Add, ast.Sub, ast.Mult, ast.Div)):
        if _number(node.right) is None:
            yield _binary(node, node.op, node.right), f"You have {formula(node.right)} twice in {formula(node)}."
        if isinstance(node.op, ast.Add | ast.Mult):
            yield _binary(node.left, node.op, node), f"You have {formula(node.left)} twice in {formula(node)}."
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
        yield _with_operand(node, node), f"You apply {node.func.id} twice."


@rule(rare=True)
def added(place):
    """Something that is put in: an argument, a function of the program again, an exponential or logarithm."""
    node = place.node
    if not place.is_value:
        return
    for name in place.arguments:
        if name in place.arrays:
            yield (
                _binary(node, ast.Add(), ast.Name(name, ast.Load())),
                f"You add {name}. It is only {formula(place.statement)}.",
            )
    if isinstance(place.statement, ast.Return):
        for name in ("exp", "log", "round"):
            yield (
                ast.Call(ast.Attribute(ast.Name("np", ast.Load()), name, ast.Load()), [node], []),
                f"You return {name} of the result. Return the result itself.",
            )
        for name in ("sum", "mean", "max"):
            for axis in (-1, 0):
                yield (
                    _method(node, name, axis),
                    f"You return the {name} of the result along axis {axis}. Return all of its numbers.",
                )
            yield _method(node, name), f"You return the {name} of all results. Return them all."
            yield (
                ast.Call(ast.Attribute(ast.Name("np", ast.Load()), "flip", ast.Load()), [node, ast.Constant(1)], []),
                "You return the result in reverse order along its second axis.",
            )
        for name in ("sigmoid", "tanh"):
            yield _call(name, ast.Name(place.arguments[0], ast.Load())), f"You return {name}({place.arguments[0]})."
        for name in ("sum", "mean"):
            for axis in (0, 1):
                yield (
                    _method(ast.Name(place.arguments[0], ast.Load()), name, axis),
                    f"You return the {name} of {place.arguments[0]} along axis {axis}.",
                )
        for name in [*place.arrays]:
            yield ast.Name(name, ast.Load()), f"You return {name}. Steps are missing after it: {formula(node)}."


@rule(rare=True)
def constants(place):
    """Another number, or a size that is fixed."""
    node, number = place.node, _number(place.node)
    is_index = isinstance(place.parent, ast.Subscript | ast.Slice | ast.keyword) or _called(place.parent) == "swapaxes"
    if number is not None and not is_index and not _is(place.parent, ast.UnaryOp):
        others = [0, 1, 2, 2 * number, number / 2, 10 * number, number / 10, -number]
        if 0 < abs(number) < 1e-3:
            others = [0, 1e-3, 1e-6, 1e-8, 1e-10, 1e-12]
        elif isinstance(number, int):
            others = [0, 1, 2, number - 1, number + 1, -number]
        elif number:
            others += [float(f"{number:.{digits}g}") for digits in (1, 2, 3)]
        for other in dict.fromkeys(other for other in others if other != number):
            yield ast.Constant(other), f"You have {other:g} in place of {number:g}."
    if isinstance(node, ast.Name) and node.id in place.sizes and isinstance(node.ctx, ast.Load):
        for size in (64, 8):
            yield ast.Constant(size), f"You use the fixed size {size} in place of {node.id}, which may be any."


@rule(rare=True)
def one_for_all(place):
    """The first, or the last, in place of all."""
    node = place.node
    if not isinstance(node, ast.Name) or not isinstance(node.ctx, ast.Load) or node.id not in place.arrays:
        return
    for at, words in ((0, "first"), (-1, "last")):
        for axis, of in ((0, "first axis"), (1, "second axis"), (-1, "last axis"), (-2, "last axis but one")):
            yield (
                _call("one_for_all", node, ast.Constant(at), ast.Constant(axis)),
                f"You use the {words} of {node.id} along its {of} for all.",
            )
