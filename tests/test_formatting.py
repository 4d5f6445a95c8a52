"""Arguments and results as text."""

import time

import numpy as np
from exercise_helpers import NESTED, FailsWhenShown
from right_solutions import RIGHT

from minigpt.exercises import check
from minigpt.exercises.formatting import format_pair, format_value


def test_large_results_are_told_at_once():
    began = time.monotonic()
    assert format_value(np.zeros((10**9, 0))) == "[]   shape (1000000000, 0)"
    assert format_value(np.broadcast_to(1.0, (1000, 1000, 1000))).endswith("shape (1000, 1000, 1000)")
    assert format_value(np.broadcast_to(1.0, (6,) * 12)).startswith("an array of float64   shape (6, ")
    assert time.monotonic() - began < 2
    assert [format_value(value) for value in (10**5000, FailsWhenShown(), NESTED)] == [
        "an int",
        "a FailsWhenShown",
        "a dict",
    ]


def test_what_differs_reads_differently():
    assert format_pair(1.0000001, 1.0) == ("1.0000001", "1")
    assert format_pair(np.array([1.41421, 0]), np.array([1.41418, 0])) == (
        "[1.41421, 0]   shape (2,)",
        "[1.41418, 0]   shape (2,)",
    )
    details = dict(check("gelu", lambda x: RIGHT["gelu"][0](x) * 1.00003).details)
    assert details["your result"] != details["expected"]
