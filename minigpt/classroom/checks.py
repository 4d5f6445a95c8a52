"""Check what a student's file hands in: a Result for each exercise."""

import difflib
import re
import sys
from functools import partial
from pathlib import Path

from minigpt.classroom.workbook import Workbook
from minigpt.exercises import EXERCISES
from minigpt.exercises.calling import describe_error
from minigpt.exercises.catalogue import find_exercise
from minigpt.exercises.checking import examine
from minigpt.exercises.helpers import ALLOWED, judged_alone, names_before, right_helpers
from minigpt.exercises.result import Result


class LocalWorkbook(Workbook):
    """A Workbook in this process, which knows the exercises."""

    def __init__(self, path):
        super().__init__(path, EXERCISES)

    def call_with_right_helpers(self, name, arguments, uses, helpers, called):
        """Call a function with right ones in the place of these helpers; those that it calls go into `called`."""
        return self.call(name, arguments, (*uses, ALLOWED), right_helpers(helpers, called))


def open_workbook(path, only=()):
    """Return the Workbook of a file after its definitions ran. Raise OSError, or ValueError if it has no exercise.

    only: names of exercises. Raise ValueError if one of them does not exist or is not in the file.
    """
    for name in only:
        find_exercise(name)
    path = Path(path)
    sys.path.insert(0, str(path.absolute().parent))  # the file may import modules beside it, as when Python runs it
    workbook = LocalWorkbook(path).run_definitions()
    handed_in = {*workbook.functions, *workbook.failed}
    renamed = renamed_exercises(workbook)
    for name in only:
        if name not in handed_in:
            hint = f"; its function {renamed[name]} looks like it: call it {name}" if name in renamed else ""
            raise ValueError(f"{path.name} does not define {name}{hint}")
    if handed_in.isdisjoint(EXERCISES):
        reasons = "".join(f"; {problem}" for problem in [*workbook.problems, *rename_hints(renamed)])
        raise ValueError(
            f"{path.name} defines no exercise{reasons}; `minigpt exercises list` shows all, --catalogue adds your own"
        )
    return workbook


def check_workbook(workbook, only=(), shrink=True, seed=None):
    """Yield the Result of every exercise that a workbook hands in, or of those in `only`, in the notebooks' order.

    A function that fails is called again with right ones in the place of earlier exercises that it calls and that are
    wrong: one mistake costs one exercise. shrink, seed: see checking.examine. An error in one check becomes its Result,
    and the other checks continue.
    """
    first = {}  # {name: Result with the student's own helpers}

    def with_own_helpers(name, shrink):
        if name not in first:
            first[name] = _result(workbook, EXERCISES[name], shrink, seed, workbook.call)
        return first[name]

    handed_in = {*workbook.functions, *workbook.failed}
    for name, exercise in EXERCISES.items():
        if name not in handed_in or (only and name not in only):
            continue
        result = with_own_helpers(name, shrink)
        if not result.passed and name in workbook.functions:
            before = [helper for helper in names_before(exercise) if helper in handed_in]
            wrong = [helper for helper in before if not with_own_helpers(helper, shrink=False).passed]
            called = set()
            if wrong:
                call = partial(workbook.call_with_right_helpers, helpers=wrong, called=called)
                result = judged_alone(result, _result(workbook, exercise, shrink, seed, call), called)
        yield result


def _result(workbook, exercise, shrink, seed, call):
    name = exercise.name
    if name not in workbook.functions:
        return Result(name, False, workbook.failed[name])
    try:
        return examine(exercise, partial(call, name, uses=exercise.uses), shrink=shrink, seed=seed)
    except OSError:  # a fault of the machine, not of the function
        raise
    except Exception as error:
        return Result(name, False, f"it could not be checked: {describe_error(error)}")


def renamed_exercises(workbook):
    """Return {exercise that is missing: function that looks like it}, as my_softmax or LayerNorm do."""
    handed_in = {*workbook.functions, *workbook.failed}
    plain = {name.replace("_", ""): name for name in EXERCISES if name not in handed_in}
    renamed = {}
    for function in sorted({*workbook.functions} - {*EXERCISES}):
        bare = re.sub(r"^(my|our|the|new)_|_?(mine|new|own|v?\d+)$", "", function.lower()).replace("_", "")
        for near in difflib.get_close_matches(bare, plain, 1, cutoff=0.85):
            renamed.setdefault(plain[near], function)
    return renamed


def rename_hints(renamed):
    """Return a sentence for each of them."""
    return [f"is {function} your {name}? Then call it {name}" for name, function in renamed.items()]
