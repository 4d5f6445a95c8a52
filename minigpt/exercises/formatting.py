"""Format arguments and results for a reader: short numbers, and the shape of an array."""

import numpy as np

MAX_NUMBERS = 60  # a larger array shows only its first and last numbers


def format_value(value, digits=4):
    """Return a value as text. digits: significant digits of numbers in arrays; single numbers have two more."""
    try:
        return _format(value, digits)
    except Exception:  # a class of the student's own that cannot be shown, or an integer of thousands of digits
        name = type(value).__name__
        return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def format_pair(found, expected):
    """Return both values as text, with more digits if they would read the same."""
    for digits in (4, 7, 10, 15):
        texts = format_value(found, digits), format_value(expected, digits)
        if texts[0] != texts[1]:
            return texts
    return format_value(found), format_value(expected)


def truncate(text, max_characters=300):
    """Cut a text off after max_characters."""
    return text if len(text) <= max_characters else f"{text[:max_characters]} ..."


def _format(value, digits):
    if isinstance(value, np.ndarray):
        return _format_array(np.asarray(value), digits)
    if isinstance(value, float | np.floating):
        return f"{value:.{digits + 2}g}"
    if isinstance(value, np.generic):
        return str(value.item())
    if isinstance(value, dict):
        lines = (f"{name}: {format_value(item)}".splitlines() for name, item in _leaves(value))
        return "\n    ".join(["{", *("\n        ".join(line) for line in lines)]) + "\n}"
    if isinstance(value, tuple) and any(isinstance(item, np.ndarray) for item in value):
        return "(" + ",\n ".join(format_value(item, digits) for item in value) + ")"
    return truncate(repr(value))


def _format_array(array, digits):
    text = ""
    if array.size <= MAX_NUMBERS:
        array = array + 0.0 if array.dtype.kind == "f" else array  # shows -0 as 0
        # An empty array of shape [1000000, 0] would be a million empty lists.
        text = _format_numbers(array.tolist(), digits) if array.size else "[]"
    elif array.ndim > 4:  # the first and the last along each axis are still too many
        text = f"an array of {array.dtype}"
    if not text or len(text) > 100:
        text = np.array2string(array, precision=digits, suppress_small=True, threshold=MAX_NUMBERS, separator=", ")
    return text if array.ndim == 0 else f"{text}   shape {array.shape}"


def _format_numbers(numbers, digits):
    if isinstance(numbers, list):
        return "[" + ", ".join(_format_numbers(number, digits) for number in numbers) + "]"
    return f"{numbers:.{digits}g}" if isinstance(numbers, float) else str(numbers)


def _leaves(tree, path=()):
    """Return (name, value) of everything in nested dicts and lists, as in model.params: "h.0.ln_1.weight"."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) and tree else None
    if items is None:
        return [(".".join(path), tree)]
    return [leaf for key, item in items for leaf in _leaves(item, (*path, str(key)))]
