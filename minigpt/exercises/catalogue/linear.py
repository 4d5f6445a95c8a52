"""Exercise linear, notebook 04: a linear layer."""

import numpy as np
from hypothesis import strategies as st

from minigpt.exercises.drawing import arrays, numbers, sizes, whole_numbers
from minigpt.exercises.exercise import Exercise, Probe
from minigpt.exercises.placing import operation
from minigpt.ops import plain


@st.composite
def linear_inputs(
    draw, axes=st.integers(0, 2), square=False, x=whole_numbers(), weight=whole_numbers(), bias=whole_numbers()
):
    """Draw x [..., in] with some axes before the last, weight [in, out] and bias [out]."""
    n_in = draw(sizes(2, 4) if square else sizes())
    n_out = n_in if square else draw(sizes())
    before = [draw(sizes(1, 3)) for _ in range(draw(axes))]
    return (
        draw(arrays(*before, n_in, elements=x)),
        draw(arrays(n_in, n_out, elements=weight)),
        draw(arrays(n_out, elements=bias)),
    )


def linear_with_bias(function):
    """Return a linear operation that calls the function, with a bias of 0 for the head, which has none."""
    return lambda x, weight, bias: function(
        x, weight, np.zeros(weight.shape[1], weight.dtype) if bias is None else bias
    )


exercise = Exercise(
    name="linear",
    notebook="04_block",
    order=1,
    signature="linear(x, weight, bias)",
    task="y = x weight + bias for every vector along the last axis, with any number of axes before it. x [..., in], "
    "weight [in, out], bias [out] -> [..., out].",
    reference=plain.linear,
    probes=(
        Probe(
            "The bias is 0 and weight is square, so this is about the product: output o is the sum over i of x[i] "
            "weight[i, o].",
            linear_inputs(axes=st.just(0), square=True, bias=st.just(0.0)),
        ),
        Probe(
            "The bias is 0 and x is a single vector: output o is the sum over i of x[i] weight[i, o].",
            linear_inputs(axes=st.just(0), bias=st.just(0.0)),
        ),
        Probe(
            "All weights are 0, so the result must be the bias, once for every vector of x.",
            linear_inputs(weight=st.just(0.0)),
        ),
        Probe(
            "Product and bias were each right alone. With both, or with several vectors in x, something is wrong.",
            linear_inputs(),
        ),
        Probe(
            "Inputs of all kinds, drawn at random, with fractions.",
            linear_inputs(axes=st.integers(0, 3), x=numbers(), weight=numbers(), bias=numbers()),
        ),
    ),
    in_model=operation("linear", linear_with_bias),
)


@exercise.formulation
def linear_in_steps(x, weight, bias):
    return x @ weight + bias


@exercise.mistake(
    "You use weight transposed. GPT-2 stores weights as [in, out], so the product is x weight; PyTorch's Linear stores "
    "them as [out, in]."
)
def weight_transposed(x, weight, bias):
    return x @ weight.T + bias


@exercise.mistake("The bias is missing: y = x weight + bias.")
def bias_forgotten(x, weight, bias):
    return x @ weight


@exercise.mistake("You add the bias twice. Add it once, to the sum.")
def bias_twice(x, weight, bias):
    return x @ weight + 2 * bias


@exercise.mistake("You subtract the bias. Add it.")
def bias_subtracted(x, weight, bias):
    return x @ weight - bias


@exercise.mistake("You multiply by the bias. Add it.")
def bias_multiplied(x, weight, bias):
    return (x @ weight) * bias


@exercise.mistake("Your result does not depend on x: it is only the bias. y = x weight + bias.")
def only_bias(x, weight, bias):
    return np.zeros((*x.shape[:-1], len(bias))) + bias


@exercise.mistake("You add the bias to every product, so it counts once for each input. Add it once, to their sum.")
def bias_once_for_each_input(x, weight, bias):
    return (x[..., None] * weight + bias).sum(axis=-2)


@exercise.mistake("You take the mean of the products x[i] weight[i, o]. Take their sum.")
def mean_of_products(x, weight, bias):
    return x @ weight / len(weight) + bias
