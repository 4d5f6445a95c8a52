"""The fields of a question: what a browser sends is checked here before anything works with it.

Each function returns a field's value or raises ValueError, with a sentence for the person at the page.
"""

import math

from minigpt.checks import is_integer, is_number

MAX_NUMBER = 1e6  # the largest factor or value: float32 has room for what the model makes of it

MAX_PLACES = 1000  # in arrays, that one question asks about


def text_field(question, name):
    """Return a field that is text which UTF-8 can express."""
    text = question.get(name)
    if not isinstance(text, str):
        raise ValueError(f"{name} must be a text, not {shortened(text)}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} has half a character at place {error.start}: it is no Unicode text") from error
    return text


def integer_field(question, name, low, high, default=None):
    """Return a field that is an integer from low to high; the default if it is missing or null."""
    value = question.get(name)
    if value is None and default is not None:
        return default
    if not (is_integer(value) and low <= value <= high):
        raise ValueError(f"{name} must be an integer from {low} to {high}, not {shortened(value)}")
    return value


def number_field(question, name):
    """Return a field that is a finite number of moderate size."""
    value = question.get(name)
    if not is_number(value) or not math.isfinite(value) or abs(value) > MAX_NUMBER:
        raise ValueError(f"{name} must be a number from {-MAX_NUMBER:g} to {MAX_NUMBER:g}, not {shortened(value)}")
    return float(value)


def list_field(question, name, max_length, default=None):
    """Return a field that is a list of at most that many items; the default if it is missing or null."""
    value = question.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, list):
        raise ValueError(f"{name} must be a list, not {shortened(value)}")
    if len(value) > max_length:
        raise ValueError(f"{name} has {len(value)} items; at most {max_length} are allowed")
    return value


def ids_field(question, name, vocab_size, max_length):
    """Return a field that is a list of token ids."""
    ids = list_field(question, name, max_length)
    if not ids:
        raise ValueError(f"{name} is empty: there is nothing to look at without at least one token")
    for token_id in ids:
        if not (is_integer(token_id) and 0 <= token_id < vocab_size):
            raise ValueError(f"{name} must be integers from 0 to {vocab_size - 1}, not {shortened(token_id)}")
    return ids


def index_field(question, name, shape, what):
    """Return a field that indexes an array of this shape: a tuple with an integer or None (all) for each axis."""
    return checked_index(list_field(question, name, len(shape)), shape, what)


def checked_index(index, shape, what):
    """Return a list that indexes an array of this shape, as a tuple. Raises ValueError."""
    if not isinstance(index, list):
        raise ValueError(f"the index of {what} must be a list, not {shortened(index)}")
    if len(index) != len(shape):
        raise ValueError(f"{what} has {len(shape)} axes, {list(shape)}, but the index has {len(index)}")
    for i, size in zip(index, shape, strict=True):
        if i is not None and not (is_integer(i) and 0 <= i < size):
            raise ValueError(f"{what} has the shape {list(shape)}: {shortened(i)} is no index of an axis of {size}")
    return tuple(index)


def places_field(question, name):
    """Return a field that is a list of places [NAME, INDEX] in arrays, of which nothing else is checked here."""
    places = list_field(question, name, MAX_PLACES)
    for place in places:
        if not (isinstance(place, list) and len(place) == 2 and isinstance(place[0], str)):
            raise ValueError(f"{name} must be a list of pairs [name, index], not of {shortened(place)}")
    return places


def as_slices(index):
    """Return an index of integers and None as NumPy takes it."""
    return tuple(slice(None) if i is None else i for i in index)


def shortened(value):
    """Return the value as Python writes it, cut after 40 characters."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
