"""Repair a wrong function: the one rewriting of its own source that makes it right says what is wrong with it.

What is said is true whatever the function looks like: with that one place rewritten it is right on all inputs. The
sentence is that of the rule that leads back, from the repaired function to the student's.
"""

import ast
import contextlib
import inspect
import types
import warnings

from minigpt.exercises.calling import call, call_unwatched
from minigpt.exercises.comparing import difference
from minigpt.exercises.exercise import Mistake
from minigpt.exercises.mutants import Program
from minigpt.exercises.patterns import formula
from minigpt.exercises.recognising import is_same_outcome, wrong_first
from minigpt.exercises.rules import REPAIRS, RULES, completed

MAX_REPAIRS = 3000  # rewritings to try
REPAIR_SECONDS = 5


def recognise_repaired(exercise, function, trials):
    """Return the Mistake that is undone by one rewriting of a function's source, or None.

    It runs as the function does: with a time limit, and without printing. Where every call fails, Python's own message
    says more.
    """
    program = None if all(trial.outcome.problem for trial in trials) else _own_program(function)
    if program is None:
        return None
    return call(lambda: _repaired(exercise, program, function, wrong_first(trials)), (), None, REPAIR_SECONDS).value


def _repaired(exercise, program, function, trials):
    with warnings.catch_warnings(action="ignore"):
        if not _is_source_of(program, trials[0]):
            return None
        for rewriting in sorted(program.rewritings(REPAIRS), key=lambda each: each.rank)[:MAX_REPAIRS]:
            said = ""
            with rewriting.applied(), contextlib.suppress(SyntaxError, ValueError, TypeError):
                if _is_right(exercise, program.build(rewriting.functions), trials):
                    said = _what_was_done(rewriting)
            if said:
                lines = dict.fromkeys(f"`{formula(place.statement)}`" for _, place, _ in rewriting.replacements)
                return Mistake(function, f"In {' and '.join(lines)}: {said}")
    return None


def _own_program(function):
    """Return the Program of a function and of those beside it that it calls, or None if the source is not to be had."""

    def is_beside(called):
        return called.__globals__ is function.__globals__

    if not isinstance(function, types.FunctionType) or function.__closure__:
        return None
    with contextlib.suppress(OSError, TypeError, SyntaxError, AttributeError):
        parameters = list(inspect.signature(function).parameters)
        return Program(function, parameters, is_beside)
    return None


def _is_source_of(program, trial):
    """Return whether a program does what the student's function did: its file may have changed since."""
    outcome = call_unwatched(program.build(set()), trial.arguments)
    return is_same_outcome(trial.outcome, outcome, trial.probe.tolerance)


def _is_right(exercise, function, trials):
    for trial in trials:
        outcome, probe = call_unwatched(function, trial.arguments), trial.probe
        if outcome.problem or difference(outcome.value, trial.expected, probe.part, exercise.returns, probe.tolerance):
            return False
    return True


def _what_was_done(rewriting):
    """Return in words what leads from the repaired program, as it is now, back to the student's."""
    if REPAIRS[rewriting.rank] is completed and rewriting.hint:
        return rewriting.hint
    return " ".join(dict.fromkeys(_mistake_at(place, right) for _, place, right in rewriting.replacements))


def _mistake_at(place, right):
    wrong = place.node
    now = place.with_node(right)
    for rule in RULES:
        for node, hint in rule(now):
            if ast.dump(node) == ast.dump(wrong):
                return hint
    if isinstance(right, ast.Pass):
        return f"You have a step too many: {formula(wrong)}."
    if isinstance(right, ast.If):
        after, before = map(formula, right.body)
        return f"You do two steps in the wrong order: {after}, then {before}."
    return f"You have {formula(wrong)} in place of {formula(right)}."
