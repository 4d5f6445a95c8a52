"""Checks of arguments, shared by many modules."""

import numpy as np


def is_integer(value):
    """Return whether value is an integer, of Python or of NumPy. True and False are not."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def is_number(value):
    """Return whether value is a real number, of Python or of NumPy. True and False are not."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def list_functions(name, functions):
    """Return a function, several or None as a list. Raises ValueError for anything else, naming the argument."""
    functions = [] if functions is None else list(functions) if isinstance(functions, list | tuple) else [functions]
    for function in functions:
        if not callable(function):
            raise ValueError(f"{name} must be a function or a list of functions, not {function!r}")
    return functions


def require_integer(name, value, low, high=None):
    """Raise ValueError unless value is an integer from low to high (no upper bound by default)."""
    if is_integer(value) and low <= value and (high is None or value <= high):
        return
    bounds = f"at least {low}" if high is None else f"from {low} to {high}"
    raise ValueError(f"{name} must be an integer, {bounds}, not {value!r}")
