"""Judge a function by itself where it calls one of an earlier exercise that is wrong: with a right one in its place."""

import inspect
import types
from dataclasses import replace

from minigpt.exercises.calling import PACKAGE
from minigpt.exercises.catalogue import EXERCISES
from minigpt.exercises.result import Result


def names_before(exercise):
    """Return the names of the exercises that come before this one in the course. Their functions may be its helpers."""
    names = list(EXERCISES)
    return names[: names.index(exercise.name)] if exercise.name in names else names


def students_helpers(exercise, function):
    """Return {name: function} of the earlier exercises that a student's function calls, itself or through others."""
    namespace = getattr(function, "__globals__", {})
    found, codes = {}, [getattr(function, "__code__", None)]
    while codes:
        code = codes.pop()
        if code is None:
            continue
        codes += filter(inspect.iscode, code.co_consts)
        for name in code.co_names:
            other = namespace.get(name)
            is_beside = isinstance(other, types.FunctionType) and other.__globals__ is namespace
            if name not in found and is_beside and not other.__code__.co_filename.startswith(PACKAGE):
                found[name] = other
                codes.append(other.__code__)
    return {name: found[name] for name in names_before(exercise) if name in found}


def right_helpers(names, called):
    """Return {name: right function} for these exercises. Each adds its name to the set `called` when it is called."""

    def recorded(name):
        def helper(*arguments, **options):
            called.add(name)
            return EXERCISES[name].reference(*arguments, **options)

        return helper

    return {name: recorded(name) for name in names}


ALLOWED = f"{__name__}.right_helpers.<locals>.recorded.<locals>.helper"  # among the `uses` of a call


def judged_alone(result, again, called):
    """Return the Result of a function that fails with the student's own helpers.

    again: its Result with right ones in the place of those that are wrong. called: the names of those that it called.
    """
    if not called or again.verdict.startswith("TypeError"):  # the student's helper takes other parameters
        return result
    names = " and ".join(sorted(called))
    if again.passed:
        are = "are" if len(called) > 1 else "is"
        return Result(result.exercise, True, f"your {result.exercise} is right; the {names} that it calls {are} not")
    note = ("besides", f"of what it calls, {names} went wrong too; right functions took that place here")
    return replace(again, details=(*again.details, note))
