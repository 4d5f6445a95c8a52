"""Checks of arguments, shared by many modules."""

import numpy as np

LONGEST_VALUE = 80  # characters of a value in a message
MAX_INTEGER = 2**63 - 1  # the largest that an array of int64 holds


def shown(value):
    """Return repr(value) for a message; the middle of a long one is left out."""
    try:
        text = repr(value)
    except Exception:  # an integer of more digits than Python prints, or a class whose __repr__ fails
        text = f"a {type(value).__name__}"
    if len(text) > LONGEST_VALUE:
        text = f"{text[: LONGEST_VALUE // 2]} ... {text[5 - LONGEST_VALUE // 2 :]}"
    return text


def is_integer(value):
    """Return whether value is an integer, of Python or of NumPy. True and False are not."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def is_id(value):
    """Return whether value can be a token's id: an integer of at most 64 bits."""
    return is_integer(value) and abs(value) <= MAX_INTEGER


def is_number(value):
    """Return whether value is a real number that a float can hold, of Python or of NumPy. True and False are not."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return False
    return not isinstance(value, int) or abs(value) < 2**1023


def list_functions(name, functions):
    """Return a function, several or None as a list. Raises ValueError for anything else, naming the argument."""
    functions = [] if functions is None else list(functions) if isinstance(functions, list | tuple) else [functions]
    for function in functions:
        if not callable(function):
            raise ValueError(f"{name} must be a function or a list of functions, not {shown(function)}")
    return functions


def list_texts(name, texts):
    """Return a text or several as a list. Raises ValueError for anything else and for an empty text."""
    texts = [texts] if isinstance(texts, str) else list(texts) if isinstance(texts, list | tuple | set) else texts
    require(isinstance(texts, list) and all(isinstance(text, str) and text for text in texts), name, texts,
            "a text or a list of texts, none of them empty")  # fmt: skip
    return texts


def require(condition, name, value, expected):
    """Raise ValueError unless the condition of the argument `name` holds."""
    if not condition:
        raise ValueError(f"{name} must be {expected}, not {shown(value)}")


def require_type(name, value, kinds, expected):
    """Raise TypeError unless value is an instance of one of these classes."""
    if not isinstance(value, kinds):
        raise TypeError(f"{name} must be {expected}, not {shown(value)}")


def require_integer(name, value, low, high=None):
    """Raise ValueError unless value is an integer from low to high (by default, the largest of 64 bits)."""
    bounds = f"at least {low}" if high is None else f"from {low} to {high}"
    is_valid = is_integer(value) and low <= value <= (MAX_INTEGER if high is None else high)
    require(is_valid, name, value, f"an integer, {bounds}")
