"""The exercises, one file each: its reference, its probes, and every known mistake under its hint.

Every module here that defines `exercise` adds it to EXERCISES. Some files borrow wrong functions or inputs from others,
as transformer_block.py does from self_attention.py.
"""

import difflib
import importlib
import importlib.util
import pkgutil
import sys
from pathlib import Path

from minigpt.exercises.exercise import Exercise


def _found_exercises():
    modules = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    exercises = [module.exercise for module in modules if hasattr(module, "exercise")]
    return sorted(exercises, key=lambda exercise: (exercise.notebook, exercise.order))


EXERCISES = {exercise.name: exercise for exercise in _found_exercises()}  # in the order of the notebooks
ADDED = []  # the folders of add_exercises


def add_exercises(folder):
    """Add to EXERCISES those of a folder: of each of its .py files that defines `exercise`, as the files here do.

    The files may import each other. Raises ValueError if there is none, if a file cannot be run, and for a name that
    another exercise has.
    """
    folder = Path(folder).resolve()
    sys.path.append(str(folder))
    found = []
    for path in sorted(folder.glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"{__name__}.added.{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            raise ValueError(f"{path} cannot be run: {type(error).__name__}: {error}") from error
        if isinstance(getattr(module, "exercise", None), Exercise):
            found.append(module.exercise)
    if not found:
        raise ValueError(f"no .py file in {folder} defines `exercise = Exercise(...)`")
    added = {exercise.name: exercise for exercise in sorted(found, key=lambda e: (e.notebook, e.order))}
    if taken := added.keys() & EXERCISES.keys():
        raise ValueError(f"{folder}: there is another exercise of the name {min(taken)}")
    EXERCISES.update(added)
    ADDED.append(folder)


def find_exercise(name):
    """Return the Exercise of that name; an Exercise is returned as it is. Raise ValueError for an unknown name."""
    if isinstance(name, Exercise):
        return name
    if name not in EXERCISES:
        near = difflib.get_close_matches(str(name), EXERCISES, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"the exercises are {', '.join(EXERCISES)}"
        raise ValueError(f"there is no exercise {name!r}; {hint}")
    return EXERCISES[name]
