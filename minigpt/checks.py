"""Checks of arguments, shared by many modules: a TypeError or ValueError says which argument is wrong, and how.

They import no NumPy: the command line's --help reads the settings of a training, which are checked here, too.
"""

import os
import re
from collections.abc import Iterable
from numbers import Integral, Real

LONGEST_VALUE = 80  # characters of a value in a message
MAX_INTEGER = 2**63 - 1  # the largest that an array of int64 holds


def shown(value):
    """Return repr(value) in one line for a message; the middle of a long one is left out."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # an integer of more digits than Python prints, or a class whose __repr__ fails
        text = f"a {type(value).__name__}"
    if len(text) > LONGEST_VALUE:
        text = f"{text[: LONGEST_VALUE // 2]} ... {text[5 - LONGEST_VALUE // 2 :]}"
    return text


def is_integer(value):
    """Return whether value is an integer, of Python or of NumPy. True and False are not."""
    return isinstance(value, int | Integral) and not isinstance(value, bool)


def is_id(value):
    """Return whether value can be a token's id: an integer of at most 64 bits."""
    return is_integer(value) and abs(int(value)) <= MAX_INTEGER


def is_number(value):
    """Return whether value is a real number that a float can hold, of Python or of NumPy. True and False are not."""
    is_real = isinstance(value, int | float | Real) and not isinstance(value, bool)
    return is_real and (not isinstance(value, int) or abs(value) < 2**1023)


def is_one_of(value, choices):
    """Return whether value is one of these texts or None. (`in` fails for an array.)"""
    return (value is None or isinstance(value, str)) and value in choices


def require(condition, name, value, expected):
    """Raise ValueError unless the condition of the argument `name` holds."""
    if not condition:
        raise ValueError(f"{name} must be {expected}, not {shown(value)}")


def require_type(name, value, kinds, expected):
    """Raise TypeError unless value is an instance of one of these classes."""
    if not isinstance(value, kinds):
        raise TypeError(f"{name} must be {expected}, not {shown(value)}")


def require_bool(name, value):
    """Raise ValueError unless value is True or False."""
    require(isinstance(value, bool), name, value, "True or False")


def require_path(name, value):
    """Raise TypeError unless value can be a file's name."""
    require_type(name, value, (str, os.PathLike), "a text or a Path")


def require_integer(name, value, low, high=None):
    """Raise ValueError unless value is an integer from low to high (by default, the largest of 64 bits)."""
    bounds = f"at least {low}" if high is None else f"from {low} to {high}"
    is_valid = is_integer(value) and low <= value <= (MAX_INTEGER if high is None else high)
    require(is_valid, name, value, f"an integer, {bounds}")


def require_number(name, value, low, high, expected):
    """Raise ValueError unless value is a number from low to high; expected says so in words."""
    require(is_number(value) and low <= value <= high, name, value, expected)


def require_text(name, value):
    """Raise TypeError unless value is a str, and ValueError for half a surrogate pair, which no file can hold."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    if not value.isascii() and (surrogate := re.search("[\ud800-\udfff]", value)):
        raise ValueError(
            f"{name} has U+{ord(surrogate[0]):X} at character {surrogate.start()}: half a surrogate pair, "
            "which has no UTF-8"
        )


def list_of(name, values, expected):
    """Return what can be iterated over as a list. Raises TypeError for anything else, and for a text."""
    try:
        return list(values if isinstance(values, Iterable) and not isinstance(values, str | bytes) else 0)
    except TypeError:  # also an array of no dimensions
        raise TypeError(f"{name} must be {expected}, not {shown(values)}") from None


def list_functions(name, functions):
    """Return a function, several or None as a list. Raises ValueError for anything else, naming the argument."""
    functions = [] if functions is None else list(functions) if isinstance(functions, list | tuple) else [functions]
    for function in functions:
        require(callable(function), name, function, "a function or a list of functions")
    return functions


def list_texts(name, texts):
    """Return a text, several or None as a list. Raises ValueError for anything else and for an empty text."""
    given = [texts] if isinstance(texts, str) else [] if texts is None else texts
    is_valid = isinstance(given, list | tuple | set) and all(isinstance(text, str) and text for text in given)
    require(is_valid, name, texts, "a text or a list of texts, none of them empty")
    return list(given)
