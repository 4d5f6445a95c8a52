"""Exercise softmax_backward, notebook 08: the gradient through a softmax."""

import numpy as np
from hypothesis import strategies as st

from minigpt.exercises.drawing import arrays, numbers, sizes
from minigpt.exercises.exercise import Exercise, Probe
from minigpt.ops.plain import softmax


def softmax_backward(dy, y):
    """y (dy - sum_j dy_j y_j): a probability that rises takes from all others."""
    return y * (dy - (dy * y).sum(axis=-1, keepdims=True))


@st.composite
def probabilities(draw, *shape, least=1):
    """Eighths, at least so many, that sum to 1 along the last axis; least is 0 or 1."""
    y, V = np.empty(shape), shape[-1]
    cut = st.integers(least, 8 - least)
    for row in y.reshape(-1, V):
        cuts = draw(st.lists(cut, min_size=V - 1, max_size=V - 1, unique=bool(least)).map(sorted))
        row[:] = np.diff([0, *cuts, 8]) / 8
    return y


@st.composite
def constant_gradient(draw):
    V = draw(sizes(2, 4))
    return np.full(V, draw(numbers())), draw(probabilities(V))


@st.composite
def gradient_of_one(draw):
    V = draw(sizes(2, 4))
    return np.eye(V)[draw(st.integers(0, V - 1))] * draw(st.sampled_from([1.0, -2.0, 4.0])), draw(probabilities(V))


@st.composite
def gradient_and_probabilities(draw, rows, least=1):
    """rows: the sizes of all dimensions but the last, as strategies. least: 0 lets probabilities be 0."""
    shape = [draw(size) for size in (*rows, sizes(2, 4))]
    return draw(arrays(*shape)), draw(probabilities(*shape, least=least))


exercise = Exercise(
    name="softmax_backward",
    notebook="08_learning",
    order=2,
    signature="softmax_backward(dy, y)",
    task="The way back through y = softmax(x) over the last axis. Given are dy, the gradient of the loss by y, and y; "
    "asked for is dx, the gradient by x: dx_i = sum_j dy_j * (derivative of y_j by x_i), where that derivative is y_i "
    "(1 - y_i) for j = i and -y_j y_i otherwise. Arrays of one shape, any number of dimensions.",
    reference=softmax_backward,
    probes=(
        Probe(
            "dy has the same number everywhere. Probabilities sum to 1 whatever x is, so that sum's gradient by x is "
            "0.",
            constant_gradient(),
        ),
        Probe(
            "Only one dy_j is not 0, so dx is that dy_j times the derivatives of the one probability y_j: y_j (1 - "
            "y_j) by its own x_j, but -y_j y_i by every other x_i.",
            gradient_of_one(),
        ),
        Probe("One vector y, any dy.", gradient_and_probabilities(rows=())),
        Probe(
            "Several vectors, each with its own softmax: nothing goes from one to another, so every sum is over the "
            "last axis.",
            gradient_and_probabilities(rows=(sizes(2, 3),)),
        ),
        Probe(
            "Any number of dimensions.",
            gradient_and_probabilities(rows=(sizes(1, 2), sizes(1, 3)))
            | gradient_and_probabilities(rows=(sizes(1, 2), sizes(1, 2), sizes(1, 2))),
        ),
        Probe(
            "Some probabilities are 0, as those that a mask hides: their dx is 0, and nothing is divided by them.",
            gradient_and_probabilities(rows=(sizes(1, 3),), least=0),
        ),
    ),
)


@exercise.mistake(
    "Your function computes dy y and takes nothing away. A probability that rises takes from all others: the terms "
    "-y_j y_i dy_j, for all j, are missing."
)
def softmax_without_sum(dy, y):
    return dy * y


@exercise.mistake(
    "Your function lets each x_i change its own y_i only: dy y (1 - y). It changes all the others, too, by -y_j y_i."
)
def softmax_diagonal(dy, y):
    return dy * y * (1 - y)


@exercise.mistake("Your function subtracts the mean of dy y. The chain rule has a sum over j there.")
def softmax_mean(dy, y):
    return y * (dy - (dy * y).mean(axis=-1, keepdims=True))


@exercise.mistake(
    "Your function sums over all vectors together. Each vector is a softmax of its own: sum over the last axis."
)
def softmax_sum_over_all(dy, y):
    return y * (dy - (dy * y).sum())


@exercise.mistake("Your function sums over the first axis. The probabilities that compete stand along the last one.")
def softmax_sum_over_first_axis(dy, y):
    return y * (dy - (dy * y).sum(axis=0, keepdims=True))


@exercise.mistake("Your function subtracts the sum of dy. In sum_j -y_j y_i dy_j each dy_j is weighted with its y_j.")
def softmax_unweighted_sum(dy, y):
    return y * (dy - dy.sum(axis=-1, keepdims=True))


@exercise.mistake("Your function adds the sum. The derivative of y_j by another x_i is -y_j y_i, with a minus.")
def softmax_plus(dy, y):
    return y * (dy + (dy * y).sum(axis=-1, keepdims=True))


@exercise.mistake("Your function forgets a factor: every term of dx_i, y_i (1 - y_i) as well as -y_j y_i, has the y_i.")
def softmax_without_outer_y(dy, y):
    return dy - (dy * y).sum(axis=-1, keepdims=True)


@exercise.mistake("Your function takes the softmax of y. But y is the result of the softmax already.")
def softmax_once_more(dy, y):
    return softmax_backward(dy, softmax(y))
