"""Results that differ, in words: whatever a function returns."""

import numpy as np
import pytest
import torch
from exercise_helpers import FailsWhenShown, right_softmax
from right_solutions import RIGHT

from minigpt.exercises import EXERCISES, check, checking
from minigpt.exercises.calling import Outcome
from minigpt.exercises.checking import examine
from minigpt.exercises.comparing import difference
from minigpt.exercises.drawing import drawn_inputs


def test_a_wrong_shape_has_its_own_sentence():
    result = check("softmax", lambda x: right_softmax(x)[..., None])
    assert not result.passed and "has shape (1, 1), expected (1,)" in result.verdict


def test_nothing_returned():
    assert "returns None" in check("softmax", lambda x: None).verdict


def test_nan_has_its_own_sentence():
    result = check("gelu", lambda x: x * np.nan)
    assert "nan (not a number) at" in result.verdict


ODD = (
    None, (), [], {}, 3, "text", np.zeros((2, 3)), np.array([None]), [[1, 2], [3]], 10**5000, [10**5000],
    FailsWhenShown(), torch.ones(2, requires_grad=True), np.ma.masked_all(3), np.zeros((10**9, 0)),
)  # fmt: skip


@pytest.mark.parametrize("name", EXERCISES)
def test_whatever_is_returned_is_judged(name, monkeypatch):
    inputs = dict(drawn_inputs(EXERCISES[name]))  # one for each probe
    monkeypatch.setattr(checking, "drawn_inputs", lambda exercise, seed: list(inputs.items()))
    right = RIGHT[name][0](*list(inputs.values())[-1])
    several = (right[:-1], (*right, right[0]), right[0]) if isinstance(right, tuple) else ((right, right),)
    for odd in (*ODD, *several):
        result = examine(EXERCISES[name], lambda arguments, odd=odd: Outcome(odd), shrink=False)
        assert not result.passed and 0 < len(result.verdict) < 800, result


def test_lists_say_where_they_differ():
    expected = [(1, 2), (256, 3)]
    assert difference([(1, 2), (3, 256)], expected) == "the result is (3, 256) at [1], expected (256, 3)"
    assert difference([(1, 2)], expected) == "the result has length 1, expected 2"
    assert difference({(1, 2): 256}, expected) == "the result must be a list of tuples, not { (1, 2): 256 }"
    assert difference([1.0, 2.0], [1, 2]) == "the result must be a list of integers, not [1.0, 2.0]"
    for right in (expected, [[1, 2], [256, 3]], np.array(expected), tuple(expected)):
        assert difference(right, expected) == ""


def test_a_masked_array_is_none():
    assert "masked array of numpy.ma" in check("top_k", lambda x, k: np.ma.masked_where(x < 0, x)).verdict
    assert "masked array of numpy.ma" in check("causal_mask", lambda T: np.ma.masked_all((T, T), bool)).verdict


def test_arrays_compute_as_arrays_do():
    class Equal(np.ndarray):
        def __sub__(self, other):
            return np.zeros(self.shape)

    assert not check("softmax", lambda x: np.zeros(x.shape).view(Equal)).passed
