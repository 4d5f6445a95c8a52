"""Exercise softmax, notebook 03: numbers to probabilities."""

import numpy as np
from hypothesis import strategies as st

from minigpt.exercises.drawing import arrays, numbers, shapes, sizes, whole_numbers
from minigpt.exercises.exercise import TOLERANCE_NEAR_1000, Exercise, Probe
from minigpt.exercises.placing import operation
from minigpt.ops import plain


@st.composite
def rows_of_different_height(draw):
    """Draw [M, N] with small differences, each row around -1000, 0 or 1000."""
    M, N = draw(sizes()), draw(sizes())
    heights = draw(arrays(M, 1, elements=st.sampled_from([1000.0, -1000.0, 0.0])))
    return (heights + draw(arrays(M, N)),)


@st.composite
def hidden_rows_of_different_height(draw):
    """Draw [M, N], each row around -1000, 0 or 1000, with some entries -inf."""
    M, N = draw(sizes()), draw(sizes(2, 4))
    heights = draw(arrays(M, 1, elements=st.sampled_from([-1000.0, 1000.0, 0.0])))
    return (heights + draw(rows_with_hidden_entries((M, N))),)


@st.composite
def rows_with_distant_entries(draw):
    """Draw [M, N] with numbers near -1000, 0 and 1000 in one row."""
    shape = draw(sizes(1, 3)), draw(sizes(2, 4))
    return (draw(arrays(*shape, elements=st.sampled_from([0.0, 1000.0, -1000.0]))) + draw(arrays(*shape)),)


@st.composite
def rows_with_hidden_entries(draw, shape, elements=None):
    """Draw an array of that shape in which some entries are -inf, but never all of a row."""
    hidden = draw(arrays(*shape, elements=st.sampled_from([0.0, -np.inf])))
    hidden[..., draw(st.integers(0, shape[-1] - 1))] = 0
    return draw(arrays(*shape, elements=elements)) + hidden


exercise = Exercise(
    name="softmax",
    notebook="03_attention",
    order=1,
    signature="softmax(x)",
    task="softmax(x)_i = exp(x_i) / sum_j exp(x_j) along the last axis of an array of any shape. Numbers such as 1000 "
    "must not overflow, and an entry of -inf gets probability 0.",
    reference=plain.softmax,
    probes=(
        Probe(
            "One row of small numbers, so this is about the formula alone: exp of each number, divided by the sum of "
            "all exp.",
            st.tuples(shapes(1, 1).flatmap(lambda shape: arrays(*shape))),
        ),
        Probe(
            "One row was right, several rows are not: every row has a sum of its own, along the last axis.",
            st.tuples(shapes(2, 2).flatmap(lambda shape: arrays(*shape))),
        ),
        Probe(
            "The array has three or four axes. softmax runs along the last one, whatever stands before it.",
            st.tuples(shapes(3, 4).flatmap(lambda shape: arrays(*shape, elements=whole_numbers(-2, 2)))),
        ),
        Probe(
            "The numbers are near 1000 or -1000. exp(1000) is inf and exp(-1000) is 0, so the fraction becomes NaN "
            "unless the maximum of each row is subtracted before exp, which changes no probability.",
            rows_of_different_height(),
            tolerance=TOLERANCE_NEAR_1000,
        ),
        Probe(
            "One row has numbers near 0, 1000 and -1000. Subtract its maximum: then none of them is above 0, and no "
            "exp can overflow.",
            rows_with_distant_entries(),
            tolerance=TOLERANCE_NEAR_1000,
        ),
        Probe(
            "Some entries are -inf: exp(-inf) is 0, so their probability must be 0. Those of the others sum to 1.",
            st.tuples(shapes(1, 3).flatmap(rows_with_hidden_entries)),
        ),
        Probe(
            "Some entries are -inf and the others near 1000 or -1000. An entry of -inf stays -inf and gets probability "
            "0, however low the others are.",
            hidden_rows_of_different_height(),
            tolerance=TOLERANCE_NEAR_1000,
        ),
        Probe(
            "Arrays of all kinds, drawn at random.",
            st.tuples(shapes(1, 4).flatmap(lambda shape: rows_with_hidden_entries(shape, numbers(-50, 50)))),
        ),
    ),
    in_model=operation("softmax"),
)


@exercise.formulation
def softmax_in_steps(x):
    shifted = x - x.max(axis=-1, keepdims=True)
    return np.exp(shifted) / np.exp(shifted).sum(axis=-1, keepdims=True)


@exercise.mistake(
    "This is right for small numbers, but exp(1000) is inf, and inf / inf is NaN. Subtract the maximum m of each row "
    "before exp: exp(x_i - m) / sum_j exp(x_j - m) is the same fraction."
)
def maximum_not_subtracted(x):
    return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)


ONE_SUM = (
    "You divide by the sum over the whole array. Every row has a sum of its own: the sum over j runs along the last "
    "axis."
)


@exercise.mistake(ONE_SUM)
def over_the_whole_array(x):
    return plain.softmax(x, axis=None)


@exercise.mistake(ONE_SUM)
def over_the_whole_array_without_maximum(x):
    return np.exp(x) / np.exp(x).sum()


@exercise.mistake(
    "Your sums run along the first axis, so the columns sum to 1. The sum over j runs along the last axis."
)
def over_the_first_axis(x):
    return plain.softmax(x, axis=0)


@exercise.mistake(
    "You subtract the maximum of the whole array. In a row far below it every exp becomes 0, and 0 / 0 is NaN: "
    "subtract each row's own maximum."
)
def one_maximum_for_all_rows(x):
    return maximum_not_subtracted(x - x.max())


@exercise.mistake(
    "You subtract the minimum of each row. The other numbers are above 0 then, and their exp can overflow. Subtract "
    "the maximum: then no number is above 0."
)
def minimum_subtracted(x):
    return maximum_not_subtracted(x - np.where(np.isneginf(x), np.inf, x).min(axis=-1, keepdims=True))


@exercise.mistake(
    "You subtract the mean of each row. Numbers far above it still overflow in exp. Subtract the maximum: then no "
    "number is above 0."
)
def mean_subtracted(x):
    return maximum_not_subtracted(x - np.mean(x, axis=-1, keepdims=True, where=~np.isneginf(x)))


@exercise.mistake(
    "You return the logarithm of the softmax. Probabilities are positive and sum to 1: exp(x_i) / sum_j exp(x_j), "
    "without a logarithm."
)
def logarithm_of_softmax(x):
    shifted = x - x.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


@exercise.mistake(
    "You divide by the largest exp of the row. Divide by the sum of all exp, so that the probabilities sum to 1."
)
def divided_by_the_maximum(x):
    exp_x = np.exp(x - x.max(axis=-1, keepdims=True))
    return exp_x / exp_x.max(axis=-1, keepdims=True)


@exercise.mistake(
    "You divide the numbers by their maximum before exp, which changes the result. Subtract the maximum: then it "
    "cancels in the fraction."
)
def divided_by_the_maximum_before(x):
    return plain.softmax(x / x.max(axis=-1, keepdims=True))


@exercise.mistake(
    "You divide the numbers themselves by their sum. The formula has exp(x_i) in their place, in the numerator and in "
    "the denominator."
)
def exp_forgotten(x):
    return x / x.sum(axis=-1, keepdims=True)


@exercise.mistake("You return exp(x). Divide it by the sum of exp over the row.")
def sum_forgotten(x):
    return np.exp(x)


@exercise.mistake(
    "Your largest number gets the smallest probability, so a sign is wrong. Take exp(x_i), not exp(-x_i), and x_i "
    "minus the maximum, not the maximum minus x_i."
)
def sign_turned(x):
    return plain.softmax(np.where(np.isneginf(x), x, -x))


@exercise.mistake("You take powers of 2. exp takes powers of e = 2.718...")
def powers_of_2(x):
    return plain.softmax(x * np.log(2))
