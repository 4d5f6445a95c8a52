"""check: whether a function does what an exercise asks, and if not, what is wrong with it, in words.

The function runs on inputs that hypothesis draws from each of the exercise's probes. If it is wrong somewhere, three
things are found: the first probe where it is wrong, which isolates one mechanism; the smallest input of this probe that
goes wrong (shrinking.py); and whether a known mistake explains all its results (recognising.py).
"""

from collections.abc import Callable

from minigpt.exercises.calling import call, in_place
from minigpt.exercises.catalogue import find_exercise
from minigpt.exercises.drawing import drawn_inputs
from minigpt.exercises.exercise import Exercise
from minigpt.exercises.formatting import format_pair, format_value
from minigpt.exercises.helpers import ALLOWED, judged_alone, right_helpers, students_helpers
from minigpt.exercises.recognising import describe_moved, describe_unfinished, recognise_known, recognise_made
from minigpt.exercises.repair import recognise_repaired
from minigpt.exercises.result import Result, is_under_nbgrader
from minigpt.exercises.shrinking import smallest_wrong
from minigpt.exercises.trial import try_input


class NotPassedError(AssertionError):
    """Raised by check under nbgrader, which gives a cell its points if it raises nothing."""

    def _render_traceback_(self):
        """Return what IPython shows in place of the traceback, which would only lead into minigpt."""
        return str(self).splitlines()


def check(exercise: str | Exercise, function: Callable, hint: int = 1) -> Result:
    """Return a Result that says whether `function` solves an exercise, or what is wrong with it.

    >>> check("softmax", lambda x: np.exp(x) / np.exp(x).sum())

    exercise: its name, or an Exercise of your own. hint: how much is said of a wrong function. 0: where to look, and an
    input; 1: also the mistake, if it is recognised; 2: also the line of the formula that it concerns. In a notebook the
    result shows itself; `print` it elsewhere. `.passed` is True or False. Raise ValueError if no exercise has that
    name, and for another hint.
    """
    exercise = find_exercise(exercise)
    if hint not in (0, 1, 2):
        raise ValueError(f"hint must be 0, 1 or 2, not {hint!r}")
    if not callable(function):
        return Result(exercise.name, False, f"{exercise.name} must be a function, not {function!r}")
    result = examine(exercise, lambda arguments: call(function, arguments, exercise.uses), hint=hint, source=function)
    if not result.passed:
        result = _without_wrong_helpers(exercise, function, result, hint)
    if not result.passed and is_under_nbgrader():
        raise NotPassedError(str(result))
    return result


def _without_wrong_helpers(exercise, function, result, hint):
    """Return the Result of a function that failed, with right functions in the place of wrong ones that it calls."""

    def is_wrong(name, helper):
        other = find_exercise(name)
        return not examine(other, lambda arguments: call(helper, arguments, other.uses), shrink=False, hint=0).passed

    wrong = [name for name, helper in students_helpers(exercise, function).items() if is_wrong(name, helper)]
    if not wrong:
        return result
    called = set()
    with in_place(function.__globals__, right_helpers(wrong, called)):
        uses = (*exercise.uses, ALLOWED)
        again = examine(exercise, lambda arguments: call(function, arguments, uses), hint=hint, source=function)
    return judged_alone(result, again, called)


def examine(exercise, run, shrink=True, hint=1, seed=None, source=None):
    """Return the Result of an exercise. run(arguments) calls the function and returns its Outcome.

    shrink: look for a smaller input that goes wrong, which takes many calls. Without it the first one is shown. hint:
    how much is said, see check. seed: selects other inputs, see drawn_inputs. source: the function itself if its source
    may be read and run in parts, see repair.py.
    """
    trials = []
    for probe, arguments in drawn_inputs(exercise, seed):
        trials.append(try_input(exercise, probe, arguments, run))
        if trials[-1].outcome.problem in ("time", "limit", "death", "unwritten", "minigpt"):
            break  # more calls would end the same way
    wrong = next((trial for trial in trials if trial.is_wrong), None)
    if wrong is not None:
        return _failed(exercise, run, trials, wrong, shrink, hint, source)
    changed = max(trials, key=lambda trial: len(trial.outcome.changed))
    if changed.outcome.changed:
        return _changes_arguments(exercise, changed)
    return Result(exercise.name, True, f"right, on {len(trials)} inputs")


def _failed(exercise, run, trials, wrong, shrink, hint, source):
    """Return the Result of a function whose first wrong trial is `wrong`."""
    if wrong.outcome.problem in ("unwritten", "minigpt"):
        return Result(exercise.name, False, wrong.outcome.message)
    is_lost = wrong.outcome.problem in ("time", "limit", "death")  # another call would be lost too
    smallest = smallest_wrong(exercise, wrong, run) if shrink and not is_lost else wrong
    mistake = recognise_known(exercise, trials) if hint else None
    described = "" if mistake else describe_unfinished(exercise, trials)
    if hint and not mistake and not described:
        mistake = recognise_repaired(exercise, source, trials) or recognise_made(exercise, trials)
        described = "" if mistake else describe_moved(trials)
    verdict = mistake.hint if mistake else described or smallest.sentence
    details = [] if is_lost else [("where to look", wrong.probe.shows)]
    if hint > 1:
        details.append(("the formula", mistake.line if mistake and mistake.line else exercise.task))
    details.append(("smallest input" if shrink else "on the input", _format_inputs(exercise, smallest.arguments)))
    if not smallest.outcome.problem:
        result, expected = format_pair(smallest.outcome.value, smallest.expected)
        details += [("your result", result), ("expected", expected)]
    if verdict != smallest.sentence:
        details.append(("first difference", smallest.sentence))
    if wrong.outcome.changed:
        names = _in_words(_changed_names(exercise, wrong))
        details.append(("besides", f"it changes {names}, which the caller still needs"))
    if smallest.outcome.printed:
        details.append(("it printed", smallest.outcome.printed[:500]))
    return Result(exercise.name, False, verdict, tuple(details), mistake)


def _changes_arguments(exercise, trial):
    """Return the Result of a function that returns the right value but changes its arguments."""
    names = _changed_names(exercise, trial)
    remedy = "it, so work on a copy" if len(names) == 1 else "them, so work on copies"
    verdict = f"the result is right, but the function changes {_in_words(names)}: the caller still needs {remedy}"
    details = [("on the input", _format_inputs(exercise, trial.arguments))]
    if trial.outcome.given:
        left = dict(zip(exercise.parameter_names, trial.outcome.given, strict=True))
        details.append(("afterwards", "\n".join(f"{name} = {format_value(left[name])}" for name in names)))
    return Result(exercise.name, False, verdict, tuple(details))


def _changed_names(exercise, trial):
    return [exercise.parameter_names[i] for i in trial.outcome.changed]


def _in_words(names):
    return f"its argument {names[0]}" if len(names) == 1 else f"its arguments {', '.join(names)}"


def _format_inputs(exercise, arguments):
    pairs = zip(exercise.parameter_names, arguments, strict=True)
    return "\n".join(f"{name} = {format_value(value)}" for name, value in pairs)
