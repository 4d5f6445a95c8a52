"""Messages between processes: values arrive as they were sent, and nothing else is accepted."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minigpt.classroom.messages import Opaque, decode, encode
from minigpt.exercises.calling import are_identical

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | hnp.arrays(st.sampled_from(list("?bhilqBHILQefdg")), hnp.array_shapes(min_dims=0, min_side=0))
    | st.integers(-9, 9).map(np.int64)
    | st.floats(width=32, allow_nan=False).map(np.float32),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=20,
)


@given(VALUES)
def test_values_arrive_as_they_were_sent(value):
    assert are_identical(decode(json.loads(json.dumps(encode(value)))), value)


def test_a_value_that_cannot_be_sent_arrives_as_its_text():
    class Hostile:
        def __repr__(self):
            raise RuntimeError("not today")

        def __array__(self, *_, **__):
            raise RuntimeError("not today")

    for value, text in ((1j, "1j"), (np.array(["a"]), "[a]   shape (1,)"), ({1}, "{1}"), (len, "<built-in function len>"), (Hostile(), "a Hostile")):  # fmt: skip
        assert isinstance(decode(encode(value)), Opaque) and text in repr(decode(encode(value)))
    assert decode(encode(range(3))).tolist() == [0, 1, 2]
    assert are_identical(decode(encode(np.array([1, 2], ">i4"))), np.array([1, 2], "i4"))
    assert np.isnan(decode(json.loads(json.dumps(encode(np.nan)))))
    with pytest.raises(ValueError, match="bytes"):
        encode(np.broadcast_to(np.float64(1), (10**6, 10**6)))


@pytest.mark.parametrize(
    "message",
    [
        {"array": ["O", [1], "AAAAAAAAAAA="]},
        {"array": ["|V8", [1], "AAAAAAAAAAA="]},
        {"array": ["<M8[s]", [1], "AAAAAAAAAAA="]},
        {"array": ["<f8", [2], "AAAAAAAAAAA="]},
        {"array": ["<f8", [10**15], ""]},
        {"pickle": "gASVCgAAAAAAAACMBnN5c3RlbZQu"},
        {"dict": [[{"list": []}, 1]]},
        {"tuple": 3},
        {},
        {"list": [], "tuple": []},
    ],
)
def test_only_what_encode_produces_is_decoded(message):
    with pytest.raises((ValueError, TypeError, KeyError)):
        decode(message)
