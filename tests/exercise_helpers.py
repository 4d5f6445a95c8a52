"""What the tests of exercises share."""

import numpy as np
from right_solutions import RIGHT

from minigpt.exercises.calling import call_unwatched


def unwatched(function):
    """Known mistakes and references live in minigpt, where a student's function does not."""
    return lambda arguments: call_unwatched(function, arguments)


def spoilt(result):
    """The result with its numbers changed by a thousandth of the largest, or by one."""
    if isinstance(result, tuple | list):
        return type(result)(map(spoilt, result)) if len(result) else [(0, 0)]
    result = np.asarray(result)
    if result.dtype == bool:
        return ~result
    if result.dtype.kind in "iu":
        return result + 1
    return result + np.where(np.isfinite(result), 1e-3 * max(1, abs(result[np.isfinite(result)]).max(initial=0)), 0)


def right_softmax(x):
    return RIGHT["softmax"][0](x)


def softmax_of(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


class FailsWhenShown:
    def __repr__(self):
        raise RuntimeError("no text")


NESTED = {}


for _ in range(700):
    NESTED = {"more": NESTED}
