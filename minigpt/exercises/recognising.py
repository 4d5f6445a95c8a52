"""Find the known mistake that explains the results of a function."""

import itertools
import warnings
from dataclasses import replace

import numpy as np

from minigpt.exercises.calling import call_unwatched
from minigpt.exercises.comparing import as_array, difference
from minigpt.exercises.mutants import mutants, pairs

MAX_PAIRS = 2000  # rewritings of mistakes to try
ONE_OF_SEVERAL = "Your results are the same as with this mistake, and with others: "
OUTCOMES = {}  # {(a mistake's function, id of arguments): (the arguments, which keeps their id theirs, its Outcome)}


def recognise_known(exercise, trials):
    """Return the first known Mistake of an exercise that gives the same results as all trials, or None."""
    trials = wrong_first(trials)
    return next((mistake for mistake in exercise.mistakes if _explains(exercise, mistake.function, trials)), None)


def recognise_made(exercise, trials):
    """Return the simplest Mistake that the rules make (mutants.py) and that gives the same results as all trials.

    If several at different places do, its hint says only that. If none does, a pair of mistakes may; otherwise return
    None.
    """
    if all(trial.outcome.problem for trial in trials):
        return None
    trials = wrong_first(trials)
    if not any(_has_numbers(trial.outcome.value) for trial in trials):
        return None  # many mistakes give NaN everywhere
    fits = [each for each in mutants(exercise) if _explains(exercise, each.function, trials)]
    if not fits:
        return _pair(exercise, trials)
    simplest = min(fits, key=lambda each: each.rewriting.rank).mistake
    is_certain = len({each.rewriting.hint for each in fits}) == 1 or len({each.rewriting.line for each in fits}) == 1
    return simplest if is_certain else replace(simplest, hint=ONE_OF_SEVERAL + simplest.hint)


def wrong_first(trials):
    """Return the trials in an order in which a mistake that explains nothing differs early."""
    return sorted(trials, key=lambda trial: not trial.is_wrong)


def _pair(exercise, trials):
    """Return a Mistake that two mistakes make together, or None.

    The probes isolate mechanisms, so one of the two explains all results of a probe alone: the others are not tried.
    """
    by_probe = {}
    for trial in trials:
        by_probe.setdefault(trial.probe, []).append(trial)
    failed = [some for some in by_probe.values() if sum(trial.is_wrong for trial in some) > 1]  # one could be chance
    known = [
        each for each in exercise.mistakes if any(_explains_part(exercise, each.function, some) for some in failed)
    ]
    made = [each for each in mutants(exercise) if failed and _explains_part(exercise, each.function, failed[0])]
    ones = known + made
    for function, mistake in itertools.islice(
        itertools.chain.from_iterable(pairs(exercise, one) for one in ones), MAX_PAIRS
    ):
        if _explains(exercise, function, trials, keep=False):
            return mistake
    return None


def _explains_part(exercise, function, trials):
    """Return whether a function gives the results of all trials of a probe, in the part that the probe compares."""
    for trial in trials:
        outcome, probe = _outcome(function, trial), trial.probe
        if outcome.problem or trial.outcome.problem:
            return False
        found, expected = trial.outcome.value, outcome.value
        if difference(found, expected, probe.part, exercise.returns, probe.tolerance, nan_is_wrong=False):
            return False
    return True


def describe_unfinished(exercise, trials):
    """Return a sentence about a function that always returns zeros, or an argument unchanged; empty for others."""
    returned = [trial for trial in trials if not trial.outcome.problem]
    arrays = [_numbers(trial.outcome.value) for trial in returned]
    if len(returned) < 3 or any(array is None for array in arrays):
        return ""
    if not any(array.any() for array in arrays) and any(array.size for array in arrays):
        return "every number of your result is 0, whatever the input is: has it not been filled in?"
    for place, name in enumerate(exercise.parameter_names):
        given = [_numbers(trial.arguments[place]) for trial in returned]
        if all(a is not None and np.array_equal(a, b) for a, b in zip(given, arrays, strict=True)):
            return f"your result is always {name}, just as it was given"
    return ""


def describe_moved(trials):
    """Return a sentence about a function whose numbers are always right, but stand elsewhere; empty for others."""
    if any(trial.outcome.problem for trial in trials):
        return ""
    arrays = [(_numbers(trial.outcome.value), _numbers(trial.expected)) for trial in trials]
    if any(found is None or expected is None or found.shape != expected.shape for found, expected in arrays):
        return ""
    if all(np.allclose(np.sort(found, None), np.sort(expected, None)) for found, expected in arrays):
        return "the numbers of your result are right, but not all of them stand in their places"
    return ""


def _explains(exercise, function, trials, keep=True):
    """Return whether a function gives the same results as these trials, and is wrong for one of them."""
    is_wrong = False  # a mistake that is right on all these inputs explains nothing
    for trial in trials:
        outcome, probe = _outcome(function, trial, keep), trial.probe
        if not is_same_outcome(trial.outcome, outcome, probe.tolerance):
            return False
        is_wrong = is_wrong or bool(
            outcome.problem or difference(outcome.value, trial.expected, probe.part, exercise.returns, probe.tolerance)
        )
    return is_wrong


def _outcome(function, trial, keep=True):
    """Return the Outcome of a mistake for a trial's arguments, which is computed once if it is kept."""
    key = function, id(trial.arguments)
    if key in OUTCOMES:
        return OUTCOMES[key][1]
    with warnings.catch_warnings(action="ignore"):
        outcome = call_unwatched(function, trial.arguments)
    if keep:
        OUTCOMES[key] = trial.arguments, outcome
    return outcome


def is_same_outcome(students, mistakes, tolerance):
    """Return whether a student's outcome equals that of a mistake."""
    if students.problem or mistakes.problem:
        return students.problem == mistakes.problem
    found, expected = students.value, mistakes.value
    if not isinstance(expected, tuple):
        return not difference(found, expected, tolerance=tolerance, nan_is_wrong=False)
    if not isinstance(found, tuple | list) or len(found) != len(expected):
        return False
    pairs = zip(found, expected, strict=True)
    return all(not difference(x, y, tolerance=tolerance, nan_is_wrong=False) for x, y in pairs)


def _has_numbers(value):
    """Return whether a result, or one of several, has anything but NaN."""
    values = value if isinstance(value, tuple) else (value,)
    arrays = [array for array in map(as_array, values) if isinstance(array, np.ndarray)]
    return any(array.dtype.kind not in "fc" or not np.isnan(array).all() for array in arrays)


def _numbers(value):
    """Return the value as an array if it is one of numbers, without NaN or masked entries, else None."""
    array = as_array(value)
    is_one = isinstance(array, np.ndarray) and not isinstance(array, np.ma.MaskedArray) and array.dtype.kind in "iuf"
    return array if is_one and not np.isnan(array).any() else None
