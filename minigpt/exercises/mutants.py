"""Mistakes made from right solutions: the formulations of an exercise, rewritten by the rules of rules.py.

They are made when the first solution that no known mistake explains asks for them, and kept. None is run on all inputs:
most differ from a student's results at the first.
"""

import ast
import contextlib
import inspect
import itertools
import re
import textwrap
import types
from dataclasses import dataclass
from functools import cache

from minigpt.exercises.exercise import Mistake
from minigpt.exercises.patterns import MODULES, formula, is_stand_in
from minigpt.exercises.rules import COMMON, OTHER_FUNCTIONS, RULES, Place

MAX_ITERATIONS = 10_000  # of all while loops in one call of a mutant, which may have lost its way out
MAX_ITEMS = 100_000  # of one for loop
MAX_LENGTH = 1000  # of a list that is multiplied or added in a loop
MAX_INTEGER = 10_000  # in a product or power in a loop
GROWING = ("append", "extend", "insert")
MAX_ALIKE = 9  # places where a rule is applied at once
REWRITTEN = ("minigpt.exercises.catalogue.", "minigpt.ops.plain")  # modules whose functions are followed
NAME = re.compile(r"id='\w+'")  # in a dump
SIZE = re.compile(r"[A-Z]|n|n_\w+")  # how sizes are called


class EndlessLoopError(Exception):
    """Raised in a mutant that does not end."""


@dataclass(frozen=True)
class Rewriting:
    """What a rule makes of a program: new nodes for some places, and a sentence that says what was done.

    rank: how late the rule stands in the list. replacements: (name of the function, Place, node). is_mixed: whether the
    sentence says different things of several places. is_rare: whether it is not combined with others.
    """

    hint: str
    rank: int
    replacements: tuple
    is_mixed: bool = False

    @property
    def is_rare(self):
        return self.is_mixed or self.rank >= len(COMMON)

    @contextlib.contextmanager
    def applied(self):
        """Rewrite the program for as long as the context lasts."""
        for _, place, node in self.replacements:
            for child in ast.walk(node):
                if isinstance(child, ast.stmt | ast.expr | ast.keyword) and not hasattr(child, "lineno"):
                    ast.copy_location(child, place.statement)
            place.put(node)
        try:
            yield
        finally:
            for _, place, _ in self.replacements:
                place.put(place.node)

    @property
    def functions(self):
        """The names of the functions that are rewritten."""
        return {name for name, _, _ in self.replacements}

    @property
    def line(self):
        """The lines of the formula at these places."""
        return "\n".join(dict.fromkeys(formula(place.statement) for _, place, _ in self.replacements))


def is_ours(function):
    """Return whether a function is one of the catalogue, or of the operations."""
    return function.__module__.startswith(REWRITTEN)


class Program:
    """The source of a function, and of the functions of the catalogue that it calls, ready to be rewritten.

    functions: {name: (its definition, its globals)}, callees first, the function itself last. is_followed(called):
    whether a function that it calls is one of them, by default those of the catalogue.
    """

    def __init__(self, function, parameters, is_followed=is_ours):
        self.functions, self.codes, self.with_loops, self.is_followed = {}, {}, set(), is_followed
        self._add(function)
        self.name, self.parameters = function.__name__, parameters

    def _add(self, function):
        tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
        tree.decorator_list = []
        if ast.get_docstring(tree):
            del tree.body[0]
        self.functions[function.__name__] = None  # not once more, if it calls itself
        for node in ast.walk(tree):
            name = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
            called = function.__globals__.get(name)
            is_function = isinstance(called, types.FunctionType)
            if is_function and name not in self.functions and self.is_followed(called):
                self._add(called)
        del self.functions[function.__name__]  # callees stand first
        self.functions[function.__name__] = tree, function.__globals__
        if any(isinstance(node, ast.While | ast.For | ast.comprehension) for node in ast.walk(tree)):
            self.with_loops.add(function.__name__)
        self.codes[function.__name__] = self._compile(function.__name__)

    def build(self, changed):
        """Return the function as it is now. changed: the names of the functions that are rewritten."""
        built, left = {}, [0]

        def counted(test):
            left[0] -= 1
            if left[0] < 0:
                raise EndlessLoopError
            return test

        def bounded(items):
            return itertools.islice(items, MAX_ITEMS)

        for name, (_, namespace) in self.functions.items():
            code = self._compile(name) if name in changed else self.codes[name]
            guards = {"_counted": counted, "_bounded": bounded, "_small": _small}
            namespace = {**OTHER_FUNCTIONS, **namespace, **built, **guards}
            exec(code, namespace)
            built[name] = namespace[name]

        def mutant(*arguments):
            left[0] = MAX_ITERATIONS
            return built[self.name](*arguments)

        return mutant

    def _compile(self, name):
        """Return the code of a definition as it is now. What may grow without end in its loops is guarded."""
        tree = self.functions[name][0]
        guarded = [(*each, getattr(*each[:2])) for each in _guards(tree)] if name in self.with_loops else []
        for node, field, guard, value in guarded:
            call = ast.Call(ast.Name(guard, ast.Load()), [value], [])
            setattr(node, field, ast.fix_missing_locations(ast.copy_location(call, value)))
        try:
            return compile(ast.Module([tree], []), "<mutant>", "exec")
        finally:
            for node, field, _, value in reversed(guarded):
                setattr(node, field, value)

    def rewritings(self, rules=RULES):
        """Return every Rewriting of the program as it is, at one place or wherever a rule does the same."""
        found, alike = [], {}
        for name, place in self._places():
            same, around = ast.dump(place.node), str(id(place.statement))
            if isinstance(place.parent, ast.expr):
                around = ast.dump(place.parent)
            shape, shape_around = NAME.sub("", same), "in " + NAME.sub("", around)
            for rank, rule in enumerate(rules):
                for variant, (node, hint) in enumerate(rule(place)):
                    found.append(Rewriting(hint, rank, ((name, place, node),)))
                    keys = {(rank, hint), (rank, hint, id(place.statement)), (rank, hint, around)}
                    keys |= {(rank, variant, text) for text in (same, shape, shape_around)}
                    for key in keys:
                        alike.setdefault(key, []).append(found[-1])
        for some in {tuple(map(id, some)): some for some in alike.values()}.values():
            replacements = tuple(each.replacements[0] for each in some)
            if 1 < len(some) <= MAX_ALIKE and not _are_nested([place.node for _, place, _ in replacements]):
                hints = dict.fromkeys(each.hint for each in some)
                found.append(Rewriting(" ".join(hints), some[0].rank, replacements, len(hints) > 1))
        return found

    def _places(self):
        """Yield every Place of the program, with the name of its function."""
        for name, (tree, _) in self.functions.items():
            arguments = [each.arg for each in tree.args.args if name != self.name or each.arg in self.parameters]
            stored = [n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
            names = list(dict.fromkeys([*arguments, *stored]))
            sizes = [each for each in names if SIZE.fullmatch(each)]
            constants = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and type(n.value) is int]
            kinds = arguments, [each for each in names if each not in sizes], sizes, list(dict.fromkeys(constants))
            for parent, field, index, node, statement in _nodes(tree):
                if field != "args" or parent is not tree:
                    yield name, Place(node, parent, field, index, statement, *kinds)


@dataclass(frozen=True)
class Mutant:
    """A program under a rewriting, or under two: `function` is what has become of it."""

    program: Program
    rewriting: Rewriting
    function: object

    @property
    def mistake(self):
        """The Mistake that it is."""
        return Mistake(self.function, self.rewriting.hint, self.rewriting.line)


def _guards(tree):
    """Yield (node, field, name of a guard) of what may run or grow without end in a loop that lost its way out.

    Raise SyntaxError if a list gets itself, which NumPy would follow for ever.
    """
    calls = [node for node in ast.walk(tree) if getattr(getattr(node, "func", None), "attr", "") in GROWING]
    if any(ast.dump(call.func.value) in map(ast.dump, call.args) for call in calls):
        raise SyntaxError("a list in itself")
    for node in ast.walk(tree):
        if isinstance(node, ast.While):
            yield node, "test", "_counted"
        elif isinstance(node, ast.For | ast.comprehension):
            yield node, "iter", "_bounded"
        elif isinstance(node, ast.AugAssign):
            yield node, "value", "_small"
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Pow):
            yield node, "left", "_small"
            yield node, "right", "_small"


def _small(value):
    """Return a number or sequence that may be multiplied, a power, or added in a loop; others raise."""
    is_long = isinstance(value, list | tuple | str | bytes) and len(value) > MAX_LENGTH
    if is_long or (isinstance(value, int) and abs(value) > MAX_INTEGER):
        raise EndlessLoopError
    return value


def _nodes(parent, statement=None):
    """Yield (parent, field, index, node, statement around it) of all nodes that can be rewritten."""
    for field, value in ast.iter_fields(parent):
        if field == "test" and is_stand_in(parent):
            continue
        for index, node in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(node, ast.expr | ast.stmt | ast.keyword):
                around = node if isinstance(node, ast.stmt) else statement
                if not is_stand_in(node):
                    yield parent, field, index, node, around
                if not (isinstance(node, ast.Attribute) and getattr(node.value, "id", "") in MODULES):
                    yield from _nodes(node, around)
            elif isinstance(node, ast.comprehension):
                yield from _nodes(node, statement)


def _are_nested(nodes):
    """Return whether one of the nodes is inside of another, or is another."""
    inside = [id(inner) for node in nodes for inner in ast.walk(node)]
    return any(inside.count(id(node)) > 1 for node in nodes)


def _mutants(program, changed=None):
    """Yield the Mutants of a program as it is. changed: the functions that are rewritten already, for a pair."""
    for rewriting in program.rewritings():
        if changed is not None and rewriting.is_rare:
            continue
        with rewriting.applied(), contextlib.suppress(SyntaxError, ValueError, TypeError):
            yield Mutant(program, rewriting, program.build(rewriting.functions | (changed or set())))


@cache
def mutants(exercise):
    """Return the Mutants that one rewriting makes from an exercise."""
    formulations = exercise.formulations or [exercise.reference]
    return [each for f in formulations for each in _mutants(Program(f, exercise.parameter_names))]


@cache
def rewritable(mistake, parameters):
    """Return the Program of a known mistake, or None if its source is not kept."""
    with contextlib.suppress(OSError, TypeError, SyntaxError):
        return Program(mistake.function, parameters)


def pairs(exercise, first):
    """Yield (function, Mistake) of all pairs of a mistake or mutant with one more rewriting."""
    if isinstance(first, Mistake):
        if program := rewritable(first, tuple(exercise.parameter_names)):
            for second in _mutants(program, set()):
                yield second.function, _both(first, second.mistake)
        return
    if first.rewriting.is_rare:
        return
    with first.rewriting.applied():
        for second in _mutants(first.program, first.rewriting.functions):
            yield second.function, _both(first.mistake, second.mistake)


def _both(one, two):
    return Mistake(two.function, f"Two things. {one.hint} {two.hint}", f"{one.line}\n{two.line}".strip())
