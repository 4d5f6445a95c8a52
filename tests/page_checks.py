"""Whether what the page shows is what Python computes."""

import re

import numpy as np
import pytest

from minigpt.activations import ACTIVATIONS

N_PLACES = 4  # of each of the 17 activations
# Asks for all at once: [[name, index], ...] -> [Why, ...]
WHYS = "async ({why}, places) => Promise.all(places.map(([name, index]) => why(minigpt, name, index)))"


def trace_of(model, ids, edit=None):
    """Return the trace of a run without the batch axis, in the arithmetic of the page."""
    from minigpt.looking.inputs import with_fixed_ops

    trace = {}
    with_fixed_ops(model)(ids, trace=trace, edit=edit)
    return {name: array[0] for name, array in trace.items()}


def size_of(array):
    """Return the largest absolute value: what rounding is relative to."""
    return float(np.abs(array).max())


def drawn_index(rng, shape):
    return tuple(int(rng.integers(size)) for size in shape)


def number_of(text):
    """Return the number that a text on the page shows."""
    return float(text.replace("−", "-").replace("∞", "inf").strip())


def shows(text, value, size=1.0):
    """Whether a text on the page is a number in four significant digits. size: the largest of its kind, for rounding."""
    shown = number_of(text)
    if value == 0 or shown == 0:
        return abs(value - shown) <= 1e-6 * size
    last_digit = 10.0 ** (np.floor(np.log10(abs(value))) - 3)
    return abs(shown - value) <= 0.501 * last_digit + 1e-6 * size


def assert_numbers_are_those_of(trace, numbers):
    """Assert that each (name, index, value, text) has the value of the trace; a text that is a number shows it."""
    for name, index, value, text in numbers:
        expected, size = float(trace[name][index]), size_of(trace[name])
        assert abs(value - expected) <= 1e-6 * size, (name, index, value, expected)
        try:
            number_of(text)
        except ValueError:
            continue  # a percentage, or words
        assert shows(text, expected, size), (name, index, text, expected)


def drawn_places(rng, steps):
    """Draw places of every activation, also of the first and the last token and of one that the mask hides."""
    for activation in ACTIVATIONS:
        for i in range(N_PLACES):
            name = f"h.{rng.integers(steps.n_layer)}.{activation.name}" if activation.in_block else activation.name
            shape = steps[name].array[0].shape
            index = [int(rng.integers(size)) for size in shape]
            if i < 2:
                index[activation.axes[1:].index("T")] = (0, shape[activation.axes[1:].index("T")] - 1)[i]
            yield name, tuple(index)


def assert_same_why(found, why, size, tolerance=1e-6):
    """Assert that the page's answer is Steps.why's: the same words, and numbers that differ by rounding only.

    size: of the activation. tolerance: of rounding in the trace's dtype.
    """
    expected = why.to_dict()
    for key in ("kind", "name", "index", "where", "formula", "note"):
        assert found[key] == expected[key], (key, found[key], expected[key])
    same = lambda x: pytest.approx(x, rel=10 * tolerance, abs=tolerance * max(1, size), nan_ok=True)  # noqa: E731
    assert found["value"] == same(expected["value"])
    # Terms of nearly the same size may have changed places.
    terms = [{term["label"]: term for term in answer["terms"]} for answer in (found, expected)]
    assert terms[0].keys() == terms[1].keys() and len(found["terms"]) == len(expected["terms"])
    for label, term in terms[1].items():
        other = terms[0][label]
        assert other["value"] == same(term["value"]), (label, other["value"], term["value"])
        assert (other["position"], other["token"]) == (term["position"], term["token"])
        assert_same_factors(other["factors"], term["factors"], same)
    assert_same_factors(found["also"], expected["also"], same)
    values = [abs(term["value"]) for term in found["terms"]]
    assert values == sorted(values, reverse=True)
    words = [re.sub(r"[-\d.e+]+", "#", answer["numbers"]) for answer in (found, expected)]
    assert words[0] == words[1]


def assert_same_factors(found, expected, same):
    keys = ("kind", "name", "index")
    assert [[factor[key] for key in keys] for factor in found] == [[factor[key] for key in keys] for factor in expected]
    for factor, other in zip(found, expected, strict=True):
        assert factor["value"] == same(other["value"]), (factor, other)


def assert_whys_are_those_of(tab, steps, seed, tolerance=1e-6):
    """Ask the page and Steps.why for the same drawn places."""
    places = list(drawn_places(np.random.default_rng(seed), steps))
    for found, (name, index) in zip(tab.module("why.js", WHYS, places), places, strict=True):
        assert_same_why(found, steps.why(name, *index), steps[name].largest, tolerance)
