"""The exercises, one file each: its reference, its probes, and every known mistake under its hint.

Every module here that defines `exercise` adds it to EXERCISES. Some files borrow wrong functions or inputs from others,
as transformer_block.py does from self_attention.py.
"""

import difflib
import importlib
import pkgutil

from minigpt.exercises.exercise import Exercise


def _found_exercises():
    modules = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    exercises = [module.exercise for module in modules if hasattr(module, "exercise")]
    return sorted(exercises, key=lambda exercise: (exercise.notebook, exercise.order))


EXERCISES = {exercise.name: exercise for exercise in _found_exercises()}  # in the order of the notebooks


def find_exercise(name):
    """Return the Exercise of that name; an Exercise is returned as it is. Raise ValueError for an unknown name."""
    if isinstance(name, Exercise):
        return name
    if name not in EXERCISES:
        near = difflib.get_close_matches(str(name), EXERCISES, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"the exercises are {', '.join(EXERCISES)}"
        raise ValueError(f"there is no exercise {name!r}; {hint}")
    return EXERCISES[name]
