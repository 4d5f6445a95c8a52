"""Pieces of Python as patterns: match them, fill them in, and show them as formulas.

In a pattern every name of a single letter stands for any expression: "a / np.sqrt(b)" matches scores / np.sqrt(K).
"""

import ast
import copy
from functools import cache

MODULES = ("np", "math", "plain")  # what is not a value of a formula
REDUCTIONS = ("sum", "mean", "max", "min", "var", "std")


@cache
def parse(pattern):
    """Return the expression that a pattern is."""
    return ast.parse(pattern, mode="eval").body


def letters(pattern):
    """Return the letters of a pattern that stand for expressions."""
    return {node.id for node in ast.walk(parse(pattern)) if isinstance(node, ast.Name) and len(node.id) == 1}


def match(pattern, node):
    """Return {letter: node} if the node has the form of the pattern, else None."""
    found = {}
    return found if _matches(parse(pattern), node, found) else None


def fill(pattern, **nodes):
    """Return the pattern as a new node, with nodes in the places of its letters."""
    return _Filled(nodes).visit(copy.deepcopy(parse(pattern)))


def formula(node):
    """Return a node as a formula: NumPy's functions by their names alone, without keepdims and the usual axis."""
    node = _Formula().visit(copy.deepcopy(node))
    if isinstance(node, ast.Return):
        return f"the result is {formula(node.value)}"
    text = ast.unparse(node)
    if isinstance(node, ast.If | ast.While | ast.For):
        text = text.splitlines()[0].rstrip(":")
    return " ".join(text.replace(" ** ", "^").replace("_in_steps", "").split())


def is_stand_in(node):
    """Return whether a node is `x if name is None else name`: x stands in for an argument that was not given."""
    return match("a if b is None else b", node) is not None


def _matches(pattern, node, found):
    if isinstance(pattern, ast.Name) and len(pattern.id) == 1:
        return isinstance(node, ast.expr) and ast.dump(found.setdefault(pattern.id, node)) == ast.dump(node)
    if type(pattern) is not type(node):
        return False
    for field, part in ast.iter_fields(pattern):
        other = getattr(node, field, None)
        if field == "ctx":
            continue
        if isinstance(part, list):
            if len(part) != len(other) or not all(_matches(*pair, found) for pair in zip(part, other, strict=True)):
                return False
        elif not (_matches(part, other, found) if isinstance(part, ast.AST) else part == other):
            return False
    return True


class _Filled(ast.NodeTransformer):
    def __init__(self, nodes):
        self.nodes = nodes

    def visit_Name(self, node):
        return self.nodes.get(node.id, node)


class _Formula(ast.NodeTransformer):
    def visit_Call(self, node):
        self.generic_visit(node)
        node.keywords = [k for k in node.keywords if ast.unparse(k) not in ("axis=-1", "keepdims=True", "dtype=bool")]
        if isinstance(node.func, ast.Attribute):
            if node.func.attr == "swapaxes" and [ast.unparse(a) for a in node.args] == ["-1", "-2"]:
                return ast.Attribute(node.func.value, "T")
            if node.func.attr in REDUCTIONS:
                return ast.Call(ast.Name(node.func.attr), [node.func.value, *node.args], node.keywords)
        return node

    def visit_IfExp(self, node):
        self.generic_visit(node)
        return node.body if is_stand_in(node) else node

    def visit_Attribute(self, node):
        self.generic_visit(node)
        return ast.Name(node.attr) if getattr(node.value, "id", "") in MODULES else node
