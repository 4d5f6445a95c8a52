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

from minigpt.exercises.calling import call, call_own, same
from minigpt.exercises.exercise import TOLERANCE
from minigpt.exercises.result import Result, shortened, shown, shown_apart

EXAMPLES = 25  # drawn from each probe
SHRINKING = 15  # seconds that are spent at most on finding a small input
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
    if not result.passed and any(map(os.environ.get, ("NBGRADER_EXECUTION", "NBGRADER_VALIDATING"))):
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


def examine(exercise, run, shrink=True):
    """The Result of an exercise for a function that run(arguments) calls, giving its Outcome.

    shrink: look for a smaller input where it goes wrong, which takes many calls. Without, the first one is shown.
    """
    trials = []
    for probe, arguments in drawn_inputs(exercise):
        trial = Trial.of(exercise, probe, arguments, run)
        trials.append(trial)
        if trial.outcome.problem in ("time", "death", "unwritten", "minigpt"):  # more of the same, and slowly
            break
    wrong = next((trial for trial in trials if trial.is_wrong), None)
    if wrong is None:
        changed = max(trials, key=lambda trial: len(trial.outcome.changed))
        if not changed.outcome.changed:
            return Result(exercise.name, True, f"right, on {len(trials)} inputs")
        names = _changed(exercise, changed)
        verdict = (
            f"the result is right, but the function changes {_arguments(names)}: the caller still needs "
            f"{'it, so work on a copy' if len(names) == 1 else 'them, so work on copies'}"
        )
        details = [("on the input", _inputs(exercise, changed.arguments))]
        if changed.outcome.given:
            left = dict(zip(parameter_names(exercise), changed.outcome.given, strict=True))
            details.append(("afterwards", "\n".join(f"{name} = {shown(left[name])}" for name in names)))
        return Result(exercise.name, False, verdict, tuple(details))
    if wrong.outcome.problem in ("unwritten", "minigpt"):
        return Result(exercise.name, False, wrong.outcome.message)
    at_once = wrong.outcome.problem in ("time", "death")  # then nothing is tried twice
    smallest = _smallest(exercise, wrong, run) if shrink and not at_once else wrong
    mistake = recognised(exercise, trials)
    unfinished = "" if mistake else what_is_always_returned(exercise, trials)
    if not mistake and not unfinished:
        mistake = recognised_in_a_probe(exercise, trials, wrong.probe, smallest)
    verdict = mistake.hint if mistake else unfinished or smallest.sentence
    details = [] if at_once else [("where to look", wrong.probe.shows)]
    details.append(("smallest input" if shrink else "on the input", _inputs(exercise, smallest.arguments)))
    if not smallest.outcome.problem:
        result, expected = shown_apart(smallest.outcome.value, smallest.expected)
        details += [("your result", result), ("expected", expected)]
    if verdict != smallest.sentence:
        details.append(("first difference", smallest.sentence))
    if wrong.outcome.changed:
        details.append(("besides", f"it changes {_arguments(_changed(exercise, wrong))}, which the caller still needs"))
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
    def of(cls, exercise, probe, arguments, run, tolerance=None):
        outcome = run(arguments)
        expected = call_own(exercise.reference, arguments).value  # after the call: see calling.py
        sentence = outcome.message
        if not outcome.problem:
            tolerance = tolerance or probe.tolerance
            sentence = difference(outcome.value, expected, probe.part, exercise.returns, tolerance)
        return cls(probe, arguments, outcome, expected, sentence)

    @property
    def is_wrong(self):
        return bool(self.sentence)


def drawn_inputs(exercise):
    """The inputs [(probe, arguments)] that every solution of an exercise has to get right: the same every time.

    On another machine they may be others, as hypothesis also draws numbers that it finds in modules beside it.
    """
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
    for tolerance in (VISIBLE, wrong.probe.tolerance):
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
    """The Mistake whose results are those of the trials, or else of the trials whose results are numbers, or None."""
    returned = [trial for trial in trials if not trial.outcome.problem]
    sound = [trial for trial in returned if not _has_nan(trial.outcome.value)]
    for some in (trials, sound):
        if returned and any(trial.is_wrong for trial in some):
            for mistake in _fitting(exercise, some):
                return mistake
    return None


def recognised_in_a_probe(exercise, trials, first, smallest):
    """Where no Mistake has all the results there may be two at once: the one that has all those of a probe, or None.

    That of the first wrong probe is preferred; if several have its results, nobody knows. It must be alone there, wrong
    more than once, which chance can be, and have the result that is shown, of the smallest input.
    """
    for probe in (first, *exercise.probes):
        some = [trial for trial in trials if trial.probe is probe]
        if sum(trial.is_wrong for trial in some) < 2 or any(trial.outcome.problem for trial in some):
            continue
        fitting = list(_fitting(exercise, [*some, smallest]))
        if len(fitting) == 1:
            return fitting[0]
        if fitting and probe is first:
            return None
    return None


def what_is_always_returned(exercise, trials):
    """A sentence about a function that is not finished: it returns zeros, or an argument as it was; or empty."""
    returned = [trial for trial in trials if not trial.outcome.problem]
    arrays = [_numbers(trial.outcome.value) for trial in returned]
    if len(returned) < 3 or any(array is None for array in arrays):
        return ""
    if not any(array.any() for array in arrays) and any(array.size for array in arrays):
        return "every number of your result is 0, whatever the input is: has it not been filled in?"
    for place, name in enumerate(parameter_names(exercise)):
        given = [_numbers(trial.arguments[place]) for trial in returned]
        if all(a is not None and np.array_equal(a, b) for a, b in zip(given, arrays, strict=True)):
            return f"your result is always {name}, just as it was given"
    return ""


def _numbers(value):
    """An array of numbers that are all there, or None."""
    array = _array(value)
    is_one = isinstance(array, np.ndarray) and not isinstance(array, np.ma.MaskedArray) and array.dtype.kind in "iuf"
    return array if is_one and not np.isnan(array).any() else None


def _fitting(exercise, trials):
    """The mistakes whose results are those of the trials, of which some are wrong."""
    for mistake in exercise.mistakes:
        wrong = False  # on some input: one that is right on all of these tells nothing
        for trial in trials:
            outcome = call_own(mistake.function, trial.arguments)
            tolerance = trial.probe.tolerance
            if not _same_outcome(trial.outcome, outcome, tolerance):
                break
            value, part = outcome.value, trial.probe.part
            wrong = wrong or bool(
                outcome.problem or difference(value, trial.expected, part, exercise.returns, tolerance)
            )
        else:
            if wrong:
                yield mistake


def _has_nan(value):
    parts = value if isinstance(value, tuple) else (value,)
    arrays = map(_array, parts)
    return any(isinstance(a, np.ndarray) and a.dtype.kind == "f" and np.isnan(a).any() for a in arrays)


def _same_outcome(a, b, tolerance):
    """Whether a student's outcome is that of a mistake, b."""
    if a.problem or b.problem:
        return a.problem == b.problem
    if not isinstance(b.value, tuple):
        return not difference(a.value, b.value, tolerance=tolerance, nan_is_wrong=False)
    if not isinstance(a.value, tuple | list) or len(a.value) != len(b.value):
        return False
    pairs = zip(a.value, b.value, strict=True)
    return all(not difference(x, y, tolerance=tolerance, nan_is_wrong=False) for x, y in pairs)


# ---------------------------------------------------------------- comparing


def difference(found, expected, part=lambda result: result, names=(), tolerance=TOLERANCE, nan_is_wrong=True):
    """What is wrong with a result, as a sentence; empty if nothing is. part: the part of it that is compared."""
    try:
        return _any_difference(found, expected, part, names, tolerance, nan_is_wrong)
    except Exception:  # something of the student's own, which fails when one looks into it
        return f"the result cannot be compared with what is expected: it is {_on_one_line(found)}"


def _any_difference(found, expected, part, names, tolerance, nan_is_wrong):
    if found is None and expected is not None:
        return "it returns None: is there a return?"
    if isinstance(expected, tuple) and names:
        return _difference_of_several(found, expected, part, names, tolerance, nan_is_wrong)
    if isinstance(expected, list):
        return _list_difference(found, expected)
    if _are_several(found, expected):
        return f"it returns {len(found)} things, with commas between them; one is asked for"
    sentence = _shape_difference(found, expected)
    return sentence or _difference(part(_array(found)), part(_array(expected)), "the result ", tolerance, nan_is_wrong)


def _are_several(found, expected):
    """Whether arrays were returned where an array is expected, as in `return heads, weights`."""
    if not isinstance(found, tuple) or not any(isinstance(part, np.ndarray) and part.ndim for part in found):
        return False
    array = _array(found)
    return not isinstance(array, np.ndarray) or array.shape != np.shape(expected)


def _difference_of_several(found, expected, part, names, tolerance, nan_is_wrong):
    if not isinstance(found, tuple | list) or len(found) != len(expected):
        return f"it must return {len(expected)} things, {', '.join(names)}, not {_on_one_line(found)}"
    for name, one, other in zip(names, found, expected, strict=True):
        sentence = _shape_difference(one, other, f"{name} ")
        if sentence:
            return sentence
    parts, wanted = part(tuple(map(_array, found))), part(expected)
    if not isinstance(wanted, tuple):
        parts, wanted = (parts,), (wanted,)
    for one, other in zip(parts, wanted, strict=True):
        name = next((f"{name} " for name, whole in zip(names, expected, strict=True) if whole is other), "the result ")
        sentence = _difference(one, other, name, tolerance, nan_is_wrong)
        if sentence:
            return sentence
    return ""


def _list_difference(found, expected):
    """For an expected list of ids, or of pairs of them. Arrays and tuples of the same are as good."""
    if isinstance(found, np.ndarray) and (found.ndim not in (1, 2) or len(found) != len(expected)):
        return f"the result has shape {found.shape}, expected a list of length {len(expected)}"
    array, found = _array(found), _plain(found)
    kind = " of tuples" if expected and isinstance(expected[0], tuple) else " of integers" if expected else ""
    if not isinstance(found, list):
        return f"the result must be a list{kind}, not {_on_one_line(found)}"
    if isinstance(array, np.ndarray) and array.size and array.dtype.kind not in "iu":
        return f"the result must be a list{kind}, not {_on_one_line(found)}"
    for place, (one, other) in enumerate(zip(found, expected, strict=False)):
        if not same(one, _plain(other)):
            one = tuple(one) if isinstance(one, list) else one
            return f"the result is {shown(one)}{_at((place,))}, expected {shown(other)}"
    return "" if len(found) == len(expected) else f"the result has length {len(found)}, expected {len(expected)}"


def _plain(value):
    """Arrays and tuples as the lists that they would be."""
    value = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    return list(map(_plain, value)) if isinstance(value, list | tuple) else value


def _array(value):
    """A result as an array; lists that have no shape (merges, ids) stay lists, and masked arrays what they are."""
    if isinstance(value, np.ma.MaskedArray):
        return value
    try:
        array = np.asarray(value)  # also of a class of its own, which may compute in its own way
    except Exception:  # whatever it is, it is none
        return value
    return value if array.dtype == object else array


KINDS = {"b": "True and False", "i": "integers", "u": "integers", "f": "numbers"}


def _shape_difference(found, expected, name="the result "):
    found, expected = _array(found), _array(expected)
    if isinstance(found, np.ma.MaskedArray):
        return f"{name}is a masked array of numpy.ma; it must be an ordinary one, with a number in every place"
    if not isinstance(found, np.ndarray) or not isinstance(expected, np.ndarray):
        return f"{name}must be an array of numbers, not {_on_one_line(found)}"
    if found.dtype.kind not in KINDS:
        remedy = ": .astype(float) makes numbers of them" if found.dtype == object else ""
        return f"{name}must be an array of numbers, not of {found.dtype}{remedy}"
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
    result, wanted = shown_apart(found[place], expected[place])
    return f"{name}is {result}{_at(place)}, expected {wanted}"


def _on_one_line(value):
    return shortened(" ".join(shown(value).split()), 200)


def _at(place):
    return f" at {list(place)}" if place else ""


# ---------------------------------------------------------------- saying


def parameter_names(exercise):
    """The names in an exercise's signature."""
    return [name.strip() for name in exercise.signature.partition("(")[2].rstrip(")").split(",")]


def _changed(exercise, trial):
    """The names of the arguments that a function has changed."""
    return [parameter_names(exercise)[i] for i in trial.outcome.changed]


def _arguments(names):
    return f"its argument {names[0]}" if len(names) == 1 else f"its arguments {', '.join(names)}"


def _inputs(exercise, arguments):
    pairs = zip(parameter_names(exercise), arguments, strict=True)
    return "\n".join(f"{name} = {shown(value)}" for name, value in pairs)
