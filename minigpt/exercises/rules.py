"""Rules that rewrite a right solution into a wrong one, at one place: the mistakes that people make anywhere.

A rule takes a Place and yields pairs of a replacement for its node and a sentence that says what was done. Most are
rows of rule_table.py. The rules that stand first are preferred where several explain the same results. mutants.py
applies them to right solutions, repair.py to wrong ones.
"""

import ast
import copy
import itertools
from dataclasses import dataclass, replace

import numpy as np

from minigpt.exercises import rule_table
from minigpt.exercises.patterns import MODULES, REDUCTIONS, fill, formula, letters, match
from minigpt.ops import plain

OTHER_FUNCTIONS = {  # what the rules may put into a solution
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "quick_gelu": lambda x: x / (1 + np.exp(-1.702 * x)),
    "gelu_with_erf": plain.gelu,
    "relu": plain.relu,
    "unit": lambda x: x / np.linalg.norm(x, axis=-1, keepdims=True),
    "one_for_all": lambda x, place, axis: np.broadcast_to(np.take(x, [place], axis), x.shape),
}
SIMILAR = (  # functions that are mistaken for each other
    ("sum", "mean", "max", "min", "prod"),
    ("var", "std"),
    ("argmax", "argmin"),
    ("maximum", "minimum"),
    ("exp", "exp2", "expm1"),
    ("log", "log2", "log10", "log1p"),
    ("tanh", "sigmoid", "sin", "arctan"),
    ("gelu", "silu", "relu", "sigmoid", "tanh", "gelu_with_erf", "quick_gelu"),
    ("triu", "tril"),
)
AXES = {0: "the first axis", 1: "the second axis", -1: "the last axis", -2: "the last axis but one"}
LOST_AXIS = "Your {} loses its axis, so NumPy matches its numbers with the wrong axis: keep it."
ALL_TOGETHER = "You take one {} of all numbers together. There is one for each vector along {}."

WRAPPINGS = (  # what may be missing around an expression
    "a / a.sum()",
    "a / a.sum(axis=-1, keepdims=True)",
    "a.copy()",
    "np.exp(a)",
    "np.argsort(a)",
    "a[::-1]",
    "a.swapaxes(-1, -2)",
    "a**2",
)


@dataclass
class Place:
    """A node of a function, where it stands, and what can be named there.

    parent, field, index: the node is parent.field, or item `index` of that list. statement: the innermost one around
    it. arguments, arrays and sizes: names of the parameters, and of all variables by kind. numbers: the constants.
    """

    node: ast.AST
    parent: ast.AST
    field: str
    index: int | None
    statement: ast.stmt
    arguments: list
    arrays: list
    sizes: list
    numbers: list

    def put(self, node):
        """Put a node in this place."""
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node

    def with_node(self, node):
        """Return the same place with another node in it."""
        return replace(self, node=node, statement=node if self.node is self.statement else self.statement)

    @property
    def is_value(self):
        """Whether the node is all that a statement assigns or returns."""
        return self.parent is self.statement and self.field == "value" and not isinstance(self.node, ast.Tuple)


def _rows(*tables):
    """Return a rule for every (pattern, replacement, sentence)."""
    return [_row(*row) for table in tables for row in table]


def _reversed(*tables):
    """Return a rule that undoes a row, for every row that loses nothing. Those that fit anywhere come last."""
    table = sorted((row for rows in tables for row in rows), key=lambda row: len(row[1]) == 1)
    return [_row(new, old, hint) for old, new, hint in table if letters(old) <= letters(new)]


def _row(pattern, replacement, sentence):
    def rule(place):
        found = None if isinstance(place.parent, ast.keyword) else match(pattern, place.node)
        if found is not None:
            yield fill(replacement, **found), _filled_sentence(sentence, place.node, found)

    return rule


def _filled_sentence(sentence, node, found):
    return sentence.format(formula(node), **{letter: formula(part) for letter, part in found.items()})


def called(node):
    """Return the name of the function or method that a node calls; empty if it is no call."""
    func = getattr(node, "func", None)
    return func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")


def operand(node):
    """Return what a call works on: the object of a method, or else the first argument, or None."""
    owner = getattr(node.func, "value", None)
    is_method = owner is not None and getattr(owner, "id", "") not in MODULES
    return owner if is_method else node.args[0] if node.args else None


def with_operand(node, other):
    """Return the same call of something else."""
    if operand(node) is getattr(node.func, "value", None):
        return ast.Call(ast.Attribute(other, node.func.attr, ast.Load()), node.args, node.keywords)
    return ast.Call(node.func, [other, *node.args[1:]], node.keywords)


def number(node):
    """Return the number that a node is, as in -1 or 0.5, or None."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = number(node.operand)
        return None if value is None else -value
    is_number = isinstance(node, ast.Constant) and type(node.value) in (int, float)
    return node.value if is_number else None


def left_out(place):
    node = place.node
    if isinstance(node, ast.Call) and operand(node) is not None and called(node) not in ("reshape", "swapaxes"):
        yield operand(node), f"You leave out {called(node)}: {formula(node)}."


def axes(place):
    node = place.node
    if isinstance(node, ast.keyword) and node.arg == "axis" and formula(node.value) != "None":
        name, along = called(place.parent), AXES.get(number(node.value), f"axis {formula(node.value)}")
        for axis, words in AXES.items():
            if axis != number(node.value):
                yield ast.keyword("axis", ast.Constant(axis)), f"Your {name} runs along {words}. It runs along {along}."
        yield ast.keyword("axis", ast.Constant(None)), ALL_TOGETHER.format(name, along)
    if isinstance(node, ast.keyword) and node.arg == "keepdims":
        yield ast.keyword("keepdims", ast.Constant(False)), LOST_AXIS.format(called(place.parent))
    if called(node) in ("var", "std"):
        sample = ast.Call(node.func, node.args, [*node.keywords, ast.keyword("ddof", ast.Constant(1))])
        yield (
            sample,
            "Your variance divides by one less than the number of values, as for a sample. Divide by their number.",
        )


def exchanged(place):
    """Two arguments, results or indices."""
    node = place.node
    items = node.elts if isinstance(node, ast.Tuple) else node.args if isinstance(node, ast.Call) else []
    for i in range(len(items) if called(node) != "swapaxes" else 0):
        for j in range(i + 1, len(items)):
            other, new = list(items), copy.copy(node)
            other[i], other[j] = items[j], items[i]
            setattr(new, "elts" if isinstance(node, ast.Tuple) else "args", other)
            yield new, f"You exchange {formula(items[i])} and {formula(items[j])}."


def transpositions(place):
    node = place.node
    is_operand = isinstance(place.parent, ast.BinOp) and isinstance(place.parent.op, ast.MatMult)
    if isinstance(node, ast.Attribute) and node.attr == "T":
        yield node.value, f"You leave out a transposition: {formula(node)}."
    elif called(node) == "swapaxes":
        x, right = operand(node), tuple(map(number, node.args))
        yield x, f"You leave out a transposition: {formula(node)}."
        for other in ((0, 1), (1, 2), (2, 3), (1, 3), (-1, -2)):
            if set(right) != set(other):
                yield fill(f"x.swapaxes{other}", x=x), f"You exchange the axes {other}, not {right}."
        if called(x) == "reshape" and len(x.args) == 4:
            shape = list(x.args)
            shape[right[0]], shape[right[1]] = shape[right[1]], shape[right[0]]
            straight = (
                "You reshape directly to the wanted sizes, which mixes numbers of different tokens: cut, then exchange."
            )
            yield ast.Call(x.func, shape, []), straight
    elif is_operand or place.is_value or called(node) in ("tri", "tril", "triu"):
        turned = f"You transpose {formula(node)}, or exchange what its rows and columns stand for."
        yield fill("x.swapaxes(-1, -2)", x=node), turned


def similar_functions(place):
    node, name = place.node, called(place.node)
    for group in SIMILAR:
        for other in group if name in group else ():
            if other != name:
                is_ours = isinstance(node.func, ast.Name) or other in OTHER_FUNCTIONS
                func = ast.Name(other, ast.Load()) if is_ours else ast.Attribute(node.func.value, other, ast.Load())
                new = ast.Call(func, node.args, node.keywords)
                yield new, f"You take {other} in place of {name}: {formula(node)}."


def inside_or_outside(place):
    """A term or factor that stands on the wrong side of a function's bracket."""
    node = place.node
    if isinstance(node, ast.Call) and isinstance(operand(node), ast.BinOp) and called(node) != "where":
        inner = operand(node)
        for outside, moved in (
            (ast.BinOp(with_operand(node, inner.left), inner.op, inner.right), inner.right),
            (ast.BinOp(inner.left, inner.op, with_operand(node, inner.right)), inner.left),
        ):
            said = f"You have {formula(moved)} outside of the {called(node)}. It belongs inside: {formula(node)}."
            yield outside, said
    if isinstance(node, ast.BinOp):
        for call, other in ((node.left, node.right), (node.right, node.left)):
            if isinstance(call, ast.Call) and operand(call) is not None and called(call) != "where":
                sides = (operand(call), other) if call is node.left else (other, operand(call))
                said = f"You have {formula(other)} inside of the {called(call)}. It belongs outside: {formula(node)}."
                yield with_operand(call, ast.BinOp(sides[0], node.op, sides[1])), said


def off_by_one(place):
    """A bound, an index or an offset."""
    node, parent = place.node, place.parent
    is_index = (
        isinstance(parent, ast.Subscript) and place.field == "slice" and getattr(parent.value, "attr", "") != "shape"
    )
    is_part = isinstance(parent, ast.Tuple) and isinstance(node, ast.BinOp | ast.Constant)
    is_bound = called(parent) in ("range", "arange", "tri", "tril", "triu") and place.field == "args"
    is_whole = not (isinstance(node, ast.Constant) and type(node.value) is not int)
    if (is_index or is_part or is_bound or isinstance(parent, ast.Slice)) and is_whole:
        if not isinstance(node, ast.Slice | ast.Tuple):
            yield fill("a + 1", a=node), f"You are off by one: {formula(node)} is one too high in yours."
            yield fill("a - 1", a=node), f"You are off by one: {formula(node)} is one too low in yours."
        if number(node) == -1:
            yield ast.Constant(0), "You take the first in place of the last."


def ends(place):
    """The other end of a sequence, or the reverse order."""
    node = place.node
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
        if node.slice.step is not None:
            yield node.value, f"You do not reverse the order of {formula(node.value)}."
        elif node.slice.lower is None and node.slice.upper is not None:
            last = fill("a[-b:]", a=node.value, b=node.slice.upper)
            yield last, "You take those at the end in place of the first ones."
        yield fill("a[::-1]", a=node), f"You have {formula(node)} in reverse order."
    if isinstance(node, ast.Slice) and node.lower is not None:
        yield ast.Slice(None, node.upper, node.step), f"You take those before {formula(node.lower)}, too."
    if isinstance(node, ast.Slice) and node.upper is not None:
        yield ast.Slice(node.lower, None, node.step), f"You take those from {formula(node.upper)} on, too."
    if called(node) == "arange":
        yield fill("a[::-1]", a=node), "You count from the end."


def signs(place):
    if place.is_value:
        yield fill("-a", a=place.node), f"Your sign is wrong: {formula(place.node)}."


def steps(place):
    """Steps that are left out, exchanged, or not done for all; conditions that have no effect."""
    node, parent = place.node, place.parent
    if isinstance(node, ast.stmt):
        body = getattr(parent, place.field)
        after = body[place.index + 1] if place.index + 1 < len(body) else None
        if isinstance(node, ast.Assign | ast.AugAssign | ast.If | ast.Expr | ast.For):
            yield ast.Pass(), f"You leave out a step: {formula(node)}."
        if isinstance(after, ast.Assign | ast.AugAssign):
            order = f"You do two steps in the wrong order: {formula(node)}, then {formula(after)}."
            yield ast.If(ast.Constant(True), [after, node], []), order
    if isinstance(node, ast.AugAssign):
        target = f"You begin {formula(node.target)} anew in every step. Collect: {formula(node)}."
        yield ast.Assign([node.target], node.value), target
    if isinstance(node, ast.For | ast.While) and len(node.body) > 1:
        loop = copy.copy(node)
        loop.body = node.body[:-1]
        once = f"You do a step only once, after the loop. It belongs in the loop: {formula(node.body[-1])}."
        yield ast.If(ast.Constant(True), [loop, node.body[-1]], []), once
    if place.field == "iter":
        said = (
            ("[:1]", "only the first"),
            ("[1:]", "not the first"),
            ("[:-1]", "not the last"),
            ("[::-1]", "backwards"),
        )
        for chosen, words in said:
            yield fill(f"list(a){chosen}", a=node), f"You go through {formula(node)}: {words}."
        yield fill("[*a, *list(a)[-1:]]", a=node), f"You go through {formula(node)}: twice through the last."
    if isinstance(node, ast.If | ast.IfExp):
        for value, words in ((True, "always"), (False, "never")):
            changed = copy.copy(node)
            changed.test = ast.Constant(value)
            yield changed, f"You behave as if {formula(node.test)} were {words} so."


def indices(place):
    """An index that is left out: all are taken in place of those that are chosen."""
    node = place.node
    if (
        isinstance(node, ast.Subscript)
        and isinstance(node.ctx, ast.Load)
        and getattr(node.value, "attr", "") != "shape"
    ):
        yield node.value, f"You take all of {formula(node.value)} in place of {formula(node)}."
        for i, item in enumerate(node.slice.elts if isinstance(node.slice, ast.Tuple) else ()):
            if not isinstance(item, ast.Slice):
                index = list(node.slice.elts)
                index[i] = ast.Slice()
                new = ast.Subscript(node.value, ast.Tuple(index, ast.Load()), ast.Load())
                yield new, f"You do not choose {formula(item)} in {formula(node)}."


def other_variables(place):
    node = place.node
    for kind in (place.arrays, place.sizes):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in kind:
            for other in kind:
                if other != node.id:
                    yield ast.Name(other, ast.Load()), f"You use {other} in place of {node.id}."
                    if kind is place.sizes:
                        product = ast.BinOp(node, ast.Mult(), ast.Name(other, ast.Load()))
                        yield product, f"You use {node.id} * {other} in place of {node.id}."


def applied_twice(place):
    node = place.node
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
        yield with_operand(node, node), f"You apply {formula(node.func)} twice."


def added(place):
    """A residual, another operation on the result, or a result that is another array."""
    node = place.node
    if not place.is_value:
        return
    for name in place.arguments:
        if name in place.arrays:
            yield fill(f"a + {name}", a=node), f"You add {name}. It is only {formula(place.statement)}."
    if isinstance(place.statement, ast.Return):
        for name in ("exp", "log", "round"):
            yield fill(f"np.{name}(a)", a=node), f"You return {name} of the result. Return the result itself."
        for name in ("sum", "mean", "max"):
            for axis in ("", "-1", "0"):
                along = f" along axis {axis}" if axis else ""
                yield (
                    fill(f"a.{name}({axis})", a=node),
                    f"You return the {name} of the result{along}. Return all of it.",
                )
        yield fill("np.flip(a, 1)", a=node), "You return the result in reverse order along its second axis."
        for name in ("sigmoid", "tanh"):
            yield (
                fill(f"{name}(a)", a=ast.Name(place.arguments[0], ast.Load())),
                f"You return {name}({place.arguments[0]}).",
            )
        for name in ("sum", "mean"):
            for axis in (0, 1):
                said = f"You return the {name} of {place.arguments[0]} along axis {axis}."
                yield fill(f"{place.arguments[0]}.{name}({axis})"), said
        for name in place.arrays:
            yield ast.Name(name, ast.Load()), f"You return {name}. Steps are missing after it: {formula(node)}."


def constants(place):
    """Another number, or a size that is fixed."""
    node, value, parent = place.node, number(place.node), place.parent
    is_index = isinstance(parent, ast.Subscript | ast.Slice | ast.keyword | ast.UnaryOp) or called(parent) == "swapaxes"
    if value is not None and not is_index:
        others = [0, 1, 2, -value, 2 * value, value / 2, 10 * value, value / 10]
        others += [float(f"{value:.{digits}g}") for digits in (1, 2, 3)]
        if isinstance(value, int):
            others = [0, 1, 2, value - 1, value + 1, -value]
        elif value < 1e-3:
            others = [0, 1e-3, 1e-6, 1e-8, 1e-10, 1e-12]
        for other in dict.fromkeys(other for other in others if other != value):
            yield ast.Constant(other), f"You have {other:g} in place of {value:g}."
    if isinstance(node, ast.Name) and node.id in place.sizes and isinstance(node.ctx, ast.Load):
        for size in (64, 8):
            yield ast.Constant(size), f"You use the fixed size {size} in place of {node.id}, which may be any."


def one_for_all(place):
    node = place.node
    is_array = isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in place.arrays
    if is_array or (place.is_value and isinstance(place.statement, ast.Return)):
        for at, which in ((0, "first"), (-1, "last")):
            for axis, words in AXES.items():
                said = f"You use the {which} of {formula(node)} along {words} for all."
                yield fill(f"one_for_all(a, {at}, {axis})", a=node), said


def inserted(place):
    """A term, factor or divisor that is missing: a variable, a number, or the same part of another variable."""
    node, whole = place.node, place.parent
    is_read = isinstance(node, ast.Name | ast.BinOp | ast.Call | ast.Subscript | ast.Constant)
    is_read = is_read and isinstance(getattr(node, "ctx", None), ast.Load | None)
    if not is_read or place.field in ("func", "targets", "target") or isinstance(whole, ast.keyword | ast.Attribute):
        return
    others = [ast.Name(name, ast.Load()) for name in (*place.arrays, *place.sizes)]
    numbers = [ast.Constant(value) for value in dict.fromkeys((1, 2, *place.numbers)) if value]
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        others += [ast.Subscript(other, node.slice, ast.Load()) for other in others[: len(place.arrays)]]
    for other in (*others, *numbers):
        # Times 1 changes nothing, and a size times a large number would take all memory.
        is_only_added = isinstance(other, ast.Constant) and other.value != 2
        for operator in (ast.Add, ast.Sub) if is_only_added else (ast.Div, ast.Mult, ast.Add, ast.Sub):
            yield ast.BinOp(node, operator(), other), ""
    for pattern in WRAPPINGS:
        yield fill(pattern, a=node), ""


def completed(place):
    """A keyword that a reduction lacks, a sum that begins anew, a step that belongs after its loop."""
    node = place.node
    if called(node) in REDUCTIONS:
        given, name = [keyword.arg for keyword in node.keywords], called(node)
        kept = ast.keyword("keepdims", ast.Constant(True))
        for axis in (-1, 0) if "axis" not in given and len(node.args) == (operand(node) in node.args) else ():
            along = ast.keyword("axis", ast.Constant(axis))
            said = ALL_TOGETHER.format(name, AXES[axis])
            yield ast.Call(node.func, node.args, [*node.keywords, along]), said
            yield ast.Call(node.func, node.args, [*node.keywords, along, kept]), said
        if "keepdims" not in given:
            yield ast.Call(node.func, node.args, [*node.keywords, kept]), LOST_AXIS.format(name)
        for i, keyword in enumerate(node.keywords):
            if keyword.arg not in ("axis", "keepdims"):
                yield ast.Call(node.func, node.args, [*node.keywords[:i], *node.keywords[i + 1 :]]), ""
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and not isinstance(node.targets[0], ast.Tuple):
        yield ast.AugAssign(node.targets[0], ast.Add(), node.value), ""
    if called(node) == "reshape" and operand(node) is not None:
        yield fill("a.swapaxes(-1, -2)", a=operand(node)), ""
    if isinstance(node, ast.List):
        for i in range(len(node.elts)):
            yield ast.List([*node.elts[:i], *node.elts[i + 1 :]], ast.Load()), ""
    axes = [number(each) for each in node.elts] if isinstance(node, ast.Tuple) else []
    if sorted(map(str, axes)) == [str(i) for i in range(len(axes))] and called(place.parent) == "transpose":
        for order in itertools.permutations(axes):
            if list(order) != axes:
                yield fill(f"{order}"), ""


COMMON = [
    *_rows(rule_table.POWERS, rule_table.FORGOTTEN),
    left_out,
    axes,
    *_rows(rule_table.CHANGED_PLACES),
    exchanged,
    transpositions,
    similar_functions,
    *_rows(rule_table.OTHER_BRACKETS),
    inside_or_outside,
    off_by_one,
    ends,
    *_rows(rule_table.OPERATORS),
    signs,
    steps,
]
# Not combined with others.
RARE = [
    indices,
    other_variables,
    *_rows(rule_table.TWICE),
    applied_twice,
    added,
    constants,
    one_for_all,
    *_rows(rule_table.GUARDS),
]
RULES = [*COMMON, *RARE]
# Those that lead from a wrong solution to a right one.
REPAIRS = [
    steps,
    *(rule for rule in COMMON if rule is not steps),
    indices,
    other_variables,
    constants,
    *_reversed(
        rule_table.POWERS,
        rule_table.FORGOTTEN,
        rule_table.CHANGED_PLACES,
        rule_table.OTHER_BRACKETS,
        rule_table.OPERATORS,
        rule_table.TWICE,
    ),
    completed,
    inserted,
]
