"""Find the known mistake that explains the results of a function."""

import numpy as np

from minigpt.exercises.calling import call_unwatched
from minigpt.exercises.comparing import as_array, difference


def recognise(exercise, trials):
    """Return the first Mistake that gives the same results as all trials, or None.

    If none does, trials that crashed or returned NaN are left out.
    """
    returned = [trial for trial in trials if not trial.outcome.problem]
    sound = [trial for trial in returned if not _has_nan(trial.outcome.value)]
    for some in (trials, sound):
        if returned and any(trial.is_wrong for trial in some):
            for mistake in _explanations(exercise, some):
                return mistake
    return None


def recognise_in_a_probe(exercise, trials, first_wrong, smallest):
    """Return the one Mistake that explains all results of a probe, or None. Call it if no mistake explains them all.

    The student may have made two mistakes at once. The first wrong probe is preferred; if several mistakes explain it,
    none is returned. One wrong result is not enough, because that could be chance. The mistake must also explain the
    result of the smallest input, which is the one that is shown.
    """
    for probe in (first_wrong, *exercise.probes):
        some = [trial for trial in trials if trial.probe is probe]
        if sum(trial.is_wrong for trial in some) < 2 or any(trial.outcome.problem for trial in some):
            continue
        explanations = list(_explanations(exercise, [*some, smallest]))
        if len(explanations) == 1:
            return explanations[0]
        if explanations and probe is first_wrong:
            return None
    return None


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


def _explanations(exercise, trials):
    """Yield the known mistakes that give the same results as these trials."""
    for mistake in exercise.mistakes:
        is_wrong = False  # a mistake that is right on all these inputs explains nothing
        for trial in trials:
            outcome, probe = call_unwatched(mistake.function, trial.arguments), trial.probe
            if not _is_same_outcome(trial.outcome, outcome, probe.tolerance):
                break
            is_wrong = is_wrong or bool(
                outcome.problem
                or difference(outcome.value, trial.expected, probe.part, exercise.returns, probe.tolerance)
            )
        else:
            if is_wrong:
                yield mistake


def _is_same_outcome(students, mistakes, tolerance):
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


def _has_nan(value):
    parts = value if isinstance(value, tuple) else (value,)
    arrays = map(as_array, parts)
    return any(isinstance(a, np.ndarray) and a.dtype.kind == "f" and np.isnan(a).any() for a in arrays)


def _numbers(value):
    """Return the value as an array if it is one of numbers, without NaN or masked entries, else None."""
    array = as_array(value)
    is_one = isinstance(array, np.ndarray) and not isinstance(array, np.ma.MaskedArray) and array.dtype.kind in "iuf"
    return array if is_one and not np.isnan(array).any() else None
