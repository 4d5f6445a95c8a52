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
    """Draw eighths that sum to 1 along the last axis, none below least / 8; least is 0 or 1."""
    y, V = np.empty(shape), shape[-1]
    cut = st.integers(least, 8 - least)
    for row in y.reshape(-1, V):
        cuts = draw(st.lists(cut, min_size=V - 1, max_size=V - 1, unique=bool(least)).map(sorted))
        row[:] = np.diff([0, *cuts, 8]) / 8
    return y


@st.composite
def constant_gradient(draw):
    """Draw a dy with the same number everywhere, and y."""
    V = draw(sizes(2, 4))
    return np.full(V, draw(numbers())), draw(probabilities(V))


@st.composite
def gradient_of_one(draw):
    """Draw a dy with one number that is not 0, and y."""
    V = draw(sizes(2, 4))
    return np.eye(V)[draw(st.integers(0, V - 1))] * draw(st.sampled_from([1.0, -2.0, 4.0])), draw(probabilities(V))


@st.composite
def gradient_and_probabilities(draw, rows, least=1):
    """Draw dy and y. rows: strategies for all sizes but the last. least: 0 allows probabilities of 0."""
    shape = [draw(size) for size in (*rows, sizes(2, 4))]
    return draw(arrays(*shape)), draw(probabilities(*shape, least=least))


exercise = Exercise(
    name="softmax_backward",
    notebook="08_learning",
    order=2,
    signature="softmax_backward(dy, y)",
    task="The way back through y = softmax(x) along the last axis. Given dy, the gradient of the loss with respect to "
    "y, and y, return dx, the gradient with respect to x: dx_i = sum_j dy_j J_ji, where J_ji, the derivative of "
    "y_j with respect to x_i, is y_i (1 - y_i) for j = i and -y_j y_i otherwise. Arrays of one shape, with any "
    "number of axes.",
    reference=softmax_backward,
    probes=(
        Probe(
            "dy has the same number everywhere. Probabilities sum to 1 whatever x is, so the gradient of that sum "
            "with respect to x is 0.",
            constant_gradient(),
        ),
        Probe(
            "Only one dy_j is not 0, so dx is that dy_j times the derivatives of the one probability y_j: y_j (1 - "
            "y_j) for its own x_j, and -y_j y_i for every other x_i.",
            gradient_of_one(),
        ),
        Probe("One vector y, any dy.", gradient_and_probabilities(rows=())),
        Probe(
            "Several vectors, each with its own softmax. Nothing flows from one to another, so every sum runs along "
            "the last axis.",
            gradient_and_probabilities(rows=(sizes(2, 3),)),
        ),
        Probe(
            "Any number of axes.",
            gradient_and_probabilities(rows=(sizes(1, 2), sizes(1, 3)))
            | gradient_and_probabilities(rows=(sizes(1, 2), sizes(1, 2), sizes(1, 2))),
        ),
        Probe(
            "Some probabilities are 0, like those that a mask hides. Their dx is 0, and nothing is divided by them.",
            gradient_and_probabilities(rows=(sizes(1, 3),), least=0),
        ),
    ),
)


@exercise.formulation
def softmax_backward_in_steps(dy, y):
    total = (dy * y).sum(axis=-1, keepdims=True)
    return y * (dy - total)


@exercise.formulation
def softmax_backward_multiplied_out(dy, y):
    return dy * y - y * (dy * y).sum(axis=-1, keepdims=True)


@exercise.mistake(
    "You compute dy y and subtract nothing. A probability that rises takes from all others: the terms -y_j y_i dy_j, "
    "for all j, are missing."
)
def softmax_without_sum(dy, y):
    return dy * y


@exercise.mistake(
    "You let each x_i change only its own y_i: dy y (1 - y). It changes all the others, too, by -y_j y_i."
)
def softmax_diagonal(dy, y):
    return dy * y * (1 - y)


@exercise.mistake("You subtract the mean of dy y. The chain rule has a sum over j there.")
def softmax_mean(dy, y):
    return y * (dy - (dy * y).mean(axis=-1, keepdims=True))


@exercise.mistake("You sum over all vectors together. Each vector has its own softmax: sum along the last axis.")
def softmax_sum_over_all(dy, y):
    return y * (dy - (dy * y).sum())


@exercise.mistake("You sum along the first axis. The probabilities that compete stand along the last one.")
def softmax_sum_over_first_axis(dy, y):
    return y * (dy - (dy * y).sum(axis=0, keepdims=True))


@exercise.mistake("You subtract the sum of dy. In sum_j -y_j y_i dy_j each dy_j is weighted with its y_j.")
def softmax_unweighted_sum(dy, y):
    return y * (dy - dy.sum(axis=-1, keepdims=True))


@exercise.mistake("You add the sum. The derivative of y_j with respect to another x_i is -y_j y_i, with a minus sign.")
def softmax_plus(dy, y):
    return y * (dy + (dy * y).sum(axis=-1, keepdims=True))


@exercise.mistake("A factor is missing: every term of dx_i, y_i (1 - y_i) as well as -y_j y_i, has the factor y_i.")
def softmax_without_outer_y(dy, y):
    return dy - (dy * y).sum(axis=-1, keepdims=True)


@exercise.mistake("You take the softmax of y. But y is already the result of the softmax.")
def softmax_once_more(dy, y):
    return softmax_backward(dy, softmax(y))
