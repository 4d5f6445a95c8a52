"""Whether a function does what an exercise asks, and if not, what is wrong with it, in words.

The function runs on inputs that hypothesis draws from each of the exercise's probes. If it is wrong somewhere, three
things are found out: the first probe where it is, which isolates one mechanism; the smallest input of this probe where
it is; and whether all its results are those of a known mistake.
"""

import contextlib
import difflib
import os
import time
from dataclasses import dataclass
from functools import cache

import hypothesis
import numpy as np
from hypothesis.errors import Flaky, NoSuchExample

from minigpt.exercises.calling import call, same
from minigpt.exercises.result import Result, shown

EXAMPLES = 25  # drawn from each probe
SHRINKING = 15  # seconds that are spent at most on finding a small input
TOLERANCE = 2e-5  # of the largest number that is expected: single precision is right, another formula is not
VISIBLE = 0.05  # as large a difference a reader sees at once
SETTINGS = {
    "database": None,
    "derandomize": True,
    "deadline": None,
    "suppress_health_check": list(hypothesis.HealthCheck),
}


class NotPassedError(AssertionError):
    """Raised by check where nbgrader counts points: there a cell counts if it raises nothing."""


def check(name, function):
    """Whether `function` is a right solution of the exercise of that name: a Result that says so, or what is wrong.

    >>> check("softmax", lambda x: np.exp(x) / np.exp(x).sum())

    In a notebook the result shows itself; `print` it elsewhere. `.passed` is True or False. Raises ValueError for a
    name that no exercise has.
    """
    exercise = find(name)
    if not callable(function):
        return Result(exercise.name, False, f"{exercise.name} must be a function, not {function!r}")
    result = examine(exercise, lambda arguments: call(function, arguments, exercise.uses))
    if not result.passed and os.environ.get("NBGRADER_EXECUTION"):
        raise NotPassedError(str(result))
    return result


def find(name):
    """The Exercise of that name. Raises ValueError."""
    from minigpt.exercises import EXERCISES

    if name not in EXERCISES:
        near = difflib.get_close_matches(str(name), EXERCISES, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(EXERCISES)}"
        raise ValueError(f"there is no exercise {name!r}; {hint}")
    return EXERCISES[name]


def examine(exercise, run):
    """The Result of an exercise for a function that run(arguments) calls, giving its Outcome."""
    trials = []
    for probe, arguments in drawn_inputs(exercise):
        trial = Trial.of(exercise, probe, arguments, run)
        trials.append(trial)
        if trial.outcome.problem in ("time", "death", "unwritten", "minigpt"):  # more of the same, and slowly
            break
    wrong = next((trial for trial in trials if trial.is_wrong), None)
    if wrong is None:
        changed = next((trial for trial in trials if trial.outcome.changed), None)
        if changed is None:
            return Result(exercise.name, True, f"right, on {len(trials)} inputs")
        names = [parameter_names(exercise)[i] for i in changed.outcome.changed]
        verdict = (
            f"the result is right, but the function changes its argument {names[0]}: whoever called it, still needs it"
        )
        return Result(exercise.name, False, verdict, (("on the input", _inputs(exercise, changed.arguments)),))
    if wrong.outcome.problem in ("unwritten", "minigpt"):
        return Result(exercise.name, False, wrong.outcome.message)
    at_once = wrong.outcome.problem in ("time", "death")  # then nothing is tried twice
    smallest = wrong if at_once else _smallest(exercise, wrong, run)
    mistake = recognised(exercise, trials)
    verdict = mistake.hint if mistake else smallest.sentence
    details = [] if at_once else [("where to look", wrong.probe.shows)]
    details.append(("smallest input", _inputs(exercise, smallest.arguments)))
    if not smallest.outcome.problem:
        details += [("your result", shown(smallest.outcome.value)), ("expected", shown(smallest.expected))]
    if mistake:
        details.append(("first difference", smallest.sentence))
    if smallest.outcome.printed:
        details.append(("it printed", smallest.outcome.printed[:500]))
    return Result(exercise.name, False, verdict, tuple(details), mistake)


@dataclass(frozen=True)
class Trial:
    """One input and what became of it. sentence: what is wrong with the result, or empty."""

    probe: object
    arguments: tuple
    outcome: object
    expected: object
    sentence: str

    @classmethod
    def of(cls, exercise, probe, arguments, run, tolerance=TOLERANCE):
        outcome = run(arguments)
        expected = call(exercise.reference, arguments, uses=None, seconds=60).value  # after the call: see calling.py
        sentence = outcome.message
        if not outcome.problem:
            sentence = difference(outcome.value, expected, probe.part, exercise.returns, tolerance)
        return cls(probe, arguments, outcome, expected, sentence)

    @property
    def is_wrong(self):
        return bool(self.sentence)


def drawn_inputs(exercise):
    """The inputs [(probe, arguments)] that every solution of an exercise has to get right; always the same."""
    return [(probe, arguments) for probe in exercise.probes for arguments in _drawn(probe)]


@cache
def _drawn(probe):
    inputs = []

    @hypothesis.settings(max_examples=EXAMPLES, phases=[hypothesis.Phase.generate], **SETTINGS)
    @hypothesis.given(probe.inputs)
    def draw(arguments):
        inputs.append(arguments)

    draw()
    return inputs


def _smallest(exercise, wrong, run):
    """The Trial of the smallest input of the same probe that goes wrong in the same way, if possible visibly."""
    phases, until = [hypothesis.Phase.generate, hypothesis.Phase.shrink], time.monotonic() + SHRINKING
    settings = hypothesis.settings(max_examples=200, phases=phases, **SETTINGS)
    for tolerance in (VISIBLE, TOLERANCE):
        found = []

        def fails(arguments, tolerance=tolerance, found=found):
            if time.monotonic() > until:  # the function is slow: what was found so far is small enough
                return False
            trial = Trial.of(exercise, wrong.probe, arguments, run, tolerance)
            if trial.is_wrong and trial.outcome.problem == wrong.outcome.problem:
                found.append(arguments)
                return True
            return False

        with contextlib.suppress(NoSuchExample, Flaky):  # it fails only now and then, or time was over
            hypothesis.find(wrong.probe.inputs, fails, settings=settings)
        if found:
            trial = Trial.of(exercise, wrong.probe, found[-1], run)
            if trial.is_wrong:
                return trial
    return wrong  # it fails for few inputs, or only now and then


def recognised(exercise, trials):
    """The Mistake whose results are those of the trials, or None.

    If none is at first, then where the results are numbers: of two mistakes at once, one is told.
    """
    returned = [trial for trial in trials if not trial.outcome.problem]
    sound = [trial for trial in returned if not _has_nan(trial.outcome.value)]
    for some in (trials, sound) if returned else ():
        for mistake in exercise.mistakes:
            wrong = False  # on some input: one that is right on all of these tells nothing
            for trial in some:
                outcome = call(mistake.function, trial.arguments, uses=None)
                if not _same_outcome(trial.outcome, outcome):
                    break
                wrong = wrong or bool(
                    outcome.problem or difference(outcome.value, trial.expected, trial.probe.part, exercise.returns)
                )
            else:
                if wrong:
                    return mistake
    return None


def _has_nan(value):
    parts = value if isinstance(value, tuple) else (value,)
    arrays = map(_array, parts)
    return any(isinstance(a, np.ndarray) and a.dtype.kind == "f" and np.isnan(a).any() for a in arrays)


def _same_outcome(a, b):
    if a.problem or b.problem:
        return a.problem == b.problem
    if isinstance(a.value, tuple) and isinstance(b.value, tuple) and len(a.value) == len(b.value):
        return all(not difference(x, y, nan_is_wrong=False) for x, y in zip(a.value, b.value, strict=True))
    return not difference(a.value, b.value, nan_is_wrong=False)


# ---------------------------------------------------------------- comparing


def difference(found, expected, part=lambda result: result, names=(), tolerance=TOLERANCE, nan_is_wrong=True):
    """What is wrong with a result, as a sentence; empty if nothing is. part: the part of it that is compared."""
    if found is None and expected is not None:
        return "it returns None: is there a return?"
    if isinstance(expected, tuple) and names:
        if not isinstance(found, tuple | list) or len(found) != len(expected):
            return f"it must return {len(expected)} things, {', '.join(names)}, not {shown(found)}"
        for name, one, other in zip(names, found, expected, strict=True):
            sentence = _shape_difference(one, other, f"{name} ")
            if sentence:
                return sentence
        parts, wanted = part(tuple(found)), part(expected)
        if not isinstance(wanted, tuple):
            parts, wanted = (parts,), (wanted,)
        for one, other in zip(parts, wanted, strict=True):
            name = next(
                (f"{name} " for name, whole in zip(names, expected, strict=True) if whole is other), "the result "
            )
            sentence = _difference(one, other, name, tolerance, nan_is_wrong)
            if sentence:
                return sentence
        return ""
    if isinstance(found, list) and isinstance(expected, list) and not all(map(_has_shape, (found, expected))):
        return "" if same(found, expected) else f"the result is {shown(found)}, expected {shown(expected)}"
    sentence = _shape_difference(found, expected)
    return sentence or _difference(part(_array(found)), part(_array(expected)), "the result ", tolerance, nan_is_wrong)


def _array(value):
    """A result as an array; lists that have no shape (merges, ids) stay lists."""
    if isinstance(value, np.ndarray):
        return value
    try:
        array = np.asarray(value)
    except (ValueError, TypeError):
        return value
    return value if array.dtype == object else array


def _has_shape(value):
    return isinstance(_array(value), np.ndarray)


KINDS = {"b": "True and False", "i": "integers", "u": "integers", "f": "numbers"}


def _shape_difference(found, expected, name="the result "):
    found, expected = _array(found), _array(expected)
    if not isinstance(found, np.ndarray):
        return f"{name}must be an array of numbers, not {shown(found)}"
    if found.dtype.kind not in KINDS:
        return f"{name}must be an array of numbers, not of {found.dtype}"
    if found.shape != expected.shape:
        if found.ndim == expected.ndim == 1:
            return f"{name}has length {found.size}, expected {expected.size}"
        return f"{name}has shape {found.shape}, expected {expected.shape}"
    kinds = found.dtype.kind.replace("u", "i"), expected.dtype.kind.replace("u", "i")
    if expected.size and kinds[1] in "bi" and kinds[0] != kinds[1]:
        return f"{name}must be {KINDS[kinds[1]]}, not {found.dtype}"
    return ""


def _difference(found, expected, name, tolerance, nan_is_wrong):
    found, expected = _array(found), _array(expected)
    if not expected.size:
        return ""
    if nan_is_wrong and found.dtype.kind == "f" and np.isnan(found).any():
        place = tuple(map(int, np.argwhere(np.isnan(found))[0]))
        return f"{name}is nan (not a number){_at(place)}, expected {shown(expected[place])}"
    if expected.dtype.kind == "f":
        finite = np.abs(expected[np.isfinite(expected)])
        with np.errstate(all="ignore"):
            near = np.abs(found - expected) <= tolerance * max(1.0, finite.max(initial=0))
        right = near | (found == expected) | (np.isnan(found) & np.isnan(expected))
    else:
        right = found == expected
    if right.all():
        return ""
    place = tuple(map(int, np.argwhere(~right)[0]))
    return f"{name}is {shown(found[place])}{_at(place)}, expected {shown(expected[place])}"


def _at(place):
    return f" at {list(place)}" if place else ""


# ---------------------------------------------------------------- saying


def parameter_names(exercise):
    """The names in an exercise's signature."""
    return [name.strip() for name in exercise.signature.partition("(")[2].rstrip(")").split(",")]


def _inputs(exercise, arguments):
    pairs = zip(parameter_names(exercise), arguments, strict=True)
    return "\n".join(f"{name} = {shown(value)}" for name, value in pairs)
