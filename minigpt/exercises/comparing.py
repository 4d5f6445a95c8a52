"""How a result differs from the expected one, as a sentence."""

import numpy as np

from minigpt.exercises.calling import are_identical
from minigpt.exercises.exercise import TOLERANCE
from minigpt.exercises.formatting import format_pair, format_value, truncate

KINDS = {"b": "True and False", "i": "integers", "u": "integers", "f": "numbers"}  # by dtype.kind


def difference(found, expected, part=lambda result: result, names=(), tolerance=TOLERANCE, nan_is_wrong=True):
    """Return a sentence that says what is wrong with a result; empty if nothing is.

    part: returns the part of a result that is compared. names: the names of the results, if there are several.
    """
    try:
        return _difference(found, expected, part, names, tolerance, nan_is_wrong)
    except Exception:  # the student's own class, which fails when it is inspected
        return f"the result cannot be compared with what is expected: it is {_on_one_line(found)}"


def as_array(value):
    """Return a result as an array. Masked arrays, and values that are not regular arrays, stay as they are."""
    if isinstance(value, np.ma.MaskedArray):
        return value
    try:
        array = np.asarray(value)  # converts subclasses too, which may compute differently
    except Exception:  # the conversion is the student's own code and may raise anything
        return value
    return value if array.dtype == object else array


def _difference(found, expected, part, names, tolerance, nan_is_wrong):
    if found is None and expected is not None:
        return "it returns None: is a return missing?"
    if isinstance(expected, tuple) and names:
        return _difference_of_several(found, expected, part, names, tolerance, nan_is_wrong)
    if isinstance(expected, list):
        return _list_difference(found, expected)
    if _are_several(found, expected):
        return f"it returns {len(found)} values, separated by commas, instead of one"
    sentence = _shape_difference(found, expected)
    return sentence or _number_difference(
        part(as_array(found)), part(as_array(expected)), "the result ", tolerance, nan_is_wrong
    )


def _are_several(found, expected):
    """Return whether arrays were returned where one array is expected, as in `return heads, weights`."""
    if not isinstance(found, tuple) or not any(isinstance(part, np.ndarray) and part.ndim for part in found):
        return False
    array = as_array(found)
    return not isinstance(array, np.ndarray) or array.shape != np.shape(expected)


def _difference_of_several(found, expected, part, names, tolerance, nan_is_wrong):
    if not isinstance(found, tuple | list) or len(found) != len(expected):
        return f"it must return {len(expected)} values, {', '.join(names)}, not {_on_one_line(found)}"
    for name, one, other in zip(names, found, expected, strict=True):
        sentence = _shape_difference(one, other, f"{name} ")
        if sentence:
            return sentence
    parts, wanted = part(tuple(map(as_array, found))), part(expected)
    if not isinstance(wanted, tuple):
        parts, wanted = (parts,), (wanted,)
    for one, other in zip(parts, wanted, strict=True):
        name = next((f"{name} " for name, whole in zip(names, expected, strict=True) if whole is other), "the result ")
        sentence = _number_difference(one, other, name, tolerance, nan_is_wrong)
        if sentence:
            return sentence
    return ""


def _list_difference(found, expected):
    """Return the difference from a list of ids, or of pairs of ids. Equal arrays and tuples are accepted, too."""
    if isinstance(found, np.ndarray) and (found.ndim not in (1, 2) or len(found) != len(expected)):
        return f"the result has shape {found.shape}, expected a list of length {len(expected)}"
    array, found = as_array(found), _as_lists(found)
    kind = " of tuples" if expected and isinstance(expected[0], tuple) else " of integers" if expected else ""
    if not isinstance(found, list):
        return f"the result must be a list{kind}, not {_on_one_line(found)}"
    if isinstance(array, np.ndarray) and array.size and array.dtype.kind not in "iu":
        return f"the result must be a list{kind}, not {_on_one_line(found)}"
    for place, (one, other) in enumerate(zip(found, expected, strict=False)):
        if not are_identical(one, _as_lists(other)):
            one = tuple(one) if isinstance(one, list) else one
            return f"the result is {format_value(one)}{_at((place,))}, expected {format_value(other)}"
    return "" if len(found) == len(expected) else f"the result has length {len(found)}, expected {len(expected)}"


def _as_lists(value):
    """Return the value with all arrays and tuples, nested ones too, turned into lists."""
    value = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    return list(map(_as_lists, value)) if isinstance(value, list | tuple) else value


def _shape_difference(found, expected, name="the result "):
    found, expected = as_array(found), as_array(expected)
    if isinstance(found, np.ma.MaskedArray):
        return f"{name}is a masked array of numpy.ma; it must be an ordinary one, with a number in every place"
    if not isinstance(found, np.ndarray) or not isinstance(expected, np.ndarray):
        return f"{name}must be an array of numbers, not {_on_one_line(found)}"
    if found.dtype.kind not in KINDS:
        remedy = ": .astype(float) turns them into numbers" if found.dtype == object else ""
        return f"{name}must be an array of numbers, not of {found.dtype}{remedy}"
    if found.shape != expected.shape:
        if found.ndim == expected.ndim == 1:
            return f"{name}has length {found.size}, expected {expected.size}"
        return f"{name}has shape {found.shape}, expected {expected.shape}"
    kinds = found.dtype.kind.replace("u", "i"), expected.dtype.kind.replace("u", "i")
    if expected.size and kinds[1] in "bi" and kinds[0] != kinds[1]:
        return f"{name}must be {KINDS[kinds[1]]}, not {found.dtype}"
    return ""


def _number_difference(found, expected, name, tolerance, nan_is_wrong):
    found, expected = as_array(found), as_array(expected)
    if not expected.size:
        return ""
    if nan_is_wrong and found.dtype.kind == "f" and np.isnan(found).any():
        place = tuple(map(int, np.argwhere(np.isnan(found))[0]))
        return f"{name}is nan (not a number){_at(place)}, expected {format_value(expected[place])}"
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
    result, wanted = format_pair(found[place], expected[place])
    return f"{name}is {result}{_at(place)}, expected {wanted}"


def _on_one_line(value):
    return truncate(" ".join(format_value(value).split()), 200)


def _at(place):
    return f" at {list(place)}" if place else ""
