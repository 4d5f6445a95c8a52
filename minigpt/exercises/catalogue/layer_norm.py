"""Exercise layer_norm, notebook 04: vectors of mean 0 and variance 1."""

import numpy as np
from hypothesis import strategies as st

from minigpt.exercises.drawing import arrays, numbers, sizes, whole_numbers
from minigpt.exercises.exercise import Exercise, Probe
from minigpt.exercises.placing import operation
from minigpt.ops import plain


@st.composite
def vectors_to_norm(
    draw,
    axes=st.integers(0, 2),
    D=sizes(2, 4),
    x=whole_numbers(),
    weight=whole_numbers(),
    bias=whole_numbers(),
    eps=(1e-5, 0.5, 2.0),
):
    """Draw x [..., D], weight [D], bias [D] and eps.

    x has whole numbers or halves: its variance is 0, or so large that rounding to single precision does no harm. If D
    were 1, the result would not depend on x.
    """
    D = draw(D)
    before = [draw(sizes(1, 3)) for _ in range(draw(axes))]
    x = draw(arrays(*before, D, elements=x))
    return x, draw(arrays(D, elements=weight)), draw(arrays(D, elements=bias)), draw(st.sampled_from(eps))


exercise = Exercise(
    name="layer_norm",
    notebook="04_block",
    order=2,
    signature="layer_norm(x, weight, bias, eps)",
    task="layer_norm(x) = (x - mean(x)) / sqrt(var(x) + eps) * weight + bias for every vector along the last axis. "
    "var is the mean of the squared distances from the mean (with 1/D). x [..., D], weight [D], bias [D] -> [..., D].",
    reference=plain.layer_norm,
    probes=(
        Probe(
            "Weight is 1, bias is 0, eps is very small and x is one vector: the result must have mean 0 and variance "
            "1 (or be all 0 if x is constant).",
            vectors_to_norm(axes=st.just(0), weight=st.just(1.0), bias=st.just(0.0), eps=(1e-10,)),
        ),
        Probe(
            "Weight is 1 and bias is 0, but eps is as large as 2. It is added to the variance before the root is "
            "taken.",
            vectors_to_norm(axes=st.just(0), weight=st.just(1.0), bias=st.just(0.0), eps=(0.5, 2.0)),
        ),
        Probe(
            "Without weight and bias all was right. Now they count: multiply by the weight, then add the bias, number "
            "by number.",
            vectors_to_norm(axes=st.just(0)),
        ),
        Probe(
            "One vector was right, several are wrong: every vector has its own mean and variance, along the last axis.",
            vectors_to_norm(axes=st.integers(1, 2)),
        ),
        Probe(
            "Inputs of all kinds, drawn at random, with fractions.",
            vectors_to_norm(
                axes=st.integers(0, 3),
                D=sizes(1, 5),
                x=whole_numbers(-8, 8).map(lambda n: n / 2),
                weight=numbers(),
                bias=numbers(),
            ),
        ),
    ),
    in_model=operation("layer_norm"),
)


@exercise.formulation
def layer_norm_in_steps(x, weight, bias, eps):
    mean = x.mean(axis=-1, keepdims=True)
    variance = x.var(axis=-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + eps) * weight + bias


@exercise.formulation
def layer_norm_with_squares(x, weight, bias, eps):
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = (centred**2).mean(axis=-1, keepdims=True)
    return centred / np.sqrt(variance + eps) * weight + bias


def centred(x):
    return x - x.mean(axis=-1, keepdims=True)


def variance(x):
    return x.var(axis=-1, keepdims=True)


@exercise.mistake("You add eps after taking the root. It stands inside, next to the variance: sqrt(var(x) + eps).")
def eps_outside_root(x, weight, bias, eps):
    return centred(x) / (np.sqrt(variance(x)) + eps) * weight + bias


@exercise.mistake(
    "You take the root of the variance and that of eps, and add them. Add first, then take one root: sqrt(var(x) + "
    "eps)."
)
def roots_added(x, weight, bias, eps):
    return centred(x) / (np.sqrt(variance(x)) + np.sqrt(eps)) * weight + bias


@exercise.mistake("You square eps. Add it to the variance as it is: sqrt(var(x) + eps).")
def eps_squared(x, weight, bias, eps):
    return centred(x) / np.sqrt(variance(x) + eps**2) * weight + bias


@exercise.mistake("You do not use eps. Without it a constant vector, whose variance is 0, gives 0 / 0 = NaN.")
def eps_forgotten(x, weight, bias, eps):
    return centred(x) / np.sqrt(variance(x)) * weight + bias


@exercise.mistake("Your eps is always 1e-5. Use the one that is given.")
def eps_always_the_same(x, weight, bias, eps):
    return plain.layer_norm(x, weight, bias, 1e-5)


@exercise.mistake("Your variance divides by D - 1, as for a sample. Here it is the mean of the squares: divide by D.")
def unbiased_variance(x, weight, bias, eps):
    squares = np.square(centred(x)).sum(axis=-1, keepdims=True)
    return centred(x) / np.sqrt(squares / (x.shape[-1] - 1) + eps) * weight + bias


@exercise.mistake("You divide by the variance. Divide by its root, the standard deviation: sqrt(var(x) + eps).")
def divided_by_variance(x, weight, bias, eps):
    return centred(x) / (variance(x) + eps) * weight + bias


@exercise.mistake("You subtract the mean but do not divide by sqrt(var(x) + eps).")
def not_divided(x, weight, bias, eps):
    return centred(x) * weight + bias


@exercise.mistake("You do not subtract the mean in the numerator: (x - mean(x)) / sqrt(var(x) + eps).")
def mean_not_subtracted(x, weight, bias, eps):
    return x / np.sqrt(variance(x) + eps) * weight + bias


@exercise.mistake(
    "You keep the mean and divide by the root of the mean square. That is RMS norm, which later models use. Here the "
    "mean is subtracted, in the numerator and in the variance."
)
def rms_norm(x, weight, bias, eps):
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps) * weight + bias


@exercise.mistake("You take one mean and one variance of all numbers. Every vector has its own, along the last axis.")
def over_all_numbers(x, weight, bias, eps):
    return (x - x.mean()) / np.sqrt(x.var() + eps) * weight + bias


@exercise.mistake("Your mean and variance run along the first axis. Take those of each vector, along the last axis.")
def over_first_axis(x, weight, bias, eps):
    return (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + eps) * weight + bias


@exercise.mistake("You exchange weight and bias: multiply by the weight and add the bias.")
def weight_and_bias_exchanged(x, weight, bias, eps):
    return plain.layer_norm(x, bias, weight, eps)


@exercise.mistake("You do not multiply by the weight: (...) * weight + bias.")
def norm_weight_forgotten(x, weight, bias, eps):
    return plain.layer_norm(x, 1, bias, eps)


@exercise.mistake("You do not add the bias: (...) * weight + bias.")
def norm_bias_forgotten(x, weight, bias, eps):
    return plain.layer_norm(x, weight, 0, eps)


@exercise.mistake("You normalise but do not use weight and bias: (...) * weight + bias.")
def weight_and_bias_forgotten(x, weight, bias, eps):
    return plain.layer_norm(x, 1, 0, eps)


@exercise.mistake("You add the bias before multiplying. Multiply by the weight first, then add the bias.")
def bias_before_weight(x, weight, bias, eps):
    return (plain.layer_norm(x, 1, 0, eps) + bias) * weight


@exercise.mistake("You multiply by 1 + weight. GPT-2 multiplies by weight.")
def weight_plus_1(x, weight, bias, eps):
    return plain.layer_norm(x, 1 + weight, bias, eps)
