"""Exercise gelu, notebook 04: the activation function of the MLP."""

import numpy as np
from hypothesis import strategies as st

from minigpt.exercises.drawing import arrays, numbers, shapes
from minigpt.exercises.exercise import Exercise, Probe
from minigpt.exercises.placing import activation_function
from minigpt.ops import plain


def any_shape(elements):
    return st.tuples(shapes(1, 3).flatmap(lambda shape: arrays(*shape, elements=elements)))


exercise = Exercise(
    name="gelu",
    notebook="04_block",
    order=2,
    signature="gelu(x)",
    task="gelu(x) = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), of every number of an array of any shape.",
    reference=plain.gelu_new,
    probes=(
        Probe(
            "These numbers are far right of 0. There the tanh is 1, so the result must be x itself, nearly: look at "
            "x/2 (1 + ..).",
            any_shape(numbers(5, 8)),
        ),
        Probe(
            "These numbers are far left of 0. There the tanh is -1, so the result must be 0, nearly: look at (1 + ..).",
            any_shape(numbers(-8, -5)),
        ),
        Probe(
            "These numbers are near 0, where x^3 is very small: gelu(x) is x/2 (1 + tanh(sqrt(2/pi) x)), nearly. Look "
            "at sqrt(2/pi).",
            any_shape(numbers(-1, 1)),
        ),
        Probe(
            "These numbers are between -3 and -1. There the cubic term counts, and there the formulas that go by the "
            "name of GELU differ most. Results are compared to six digits: if yours differ only in the last of these, "
            "you have rounded 0.044715 or sqrt(2/pi).",
            any_shape(numbers(-3, -1)),
            tolerance=2e-6,
        ),
        Probe("These are numbers of all kinds, drawn at random.", any_shape(numbers(-8, 8))),
        Probe(
            "These numbers are as large as 40, where the result is x or 0. If yours is NaN or 0, exp of a large "
            "number became inf, or inf / inf: np.tanh knows how to do it.",
            any_shape(numbers(-40, 40)),
        ),
    ),
    in_model=activation_function,
)


@exercise.mistake(
    "Your formula is the one with erf. It differs from the asked one in the fourth decimal: GPT-2 was trained with "
    "tanh(sqrt(2/pi) (x + 0.044715 x^3))."
)
def gelu_with_erf(x):
    return plain.gelu(x)


@exercise.mistake(
    "Your formula is x sigmoid(1.702 x), a rougher approximation. GPT-2 was trained with the one with tanh."
)
def gelu_by_sigmoid(x):
    return x / (1 + np.exp(-1.702 * x))


@exercise.mistake("Your formula is x sigmoid(x), which is called SiLU or swish. GELU is the one with tanh.")
def silu(x):
    return x / (1 + np.exp(-x))


@exercise.mistake("Your function is max(x, 0), a ReLU. GELU is smooth: see the formula with tanh.")
def relu(x):
    return plain.relu(x)


@exercise.mistake("Your results are twice as large as they should be: x/2 (1 + tanh(..)), not x (..).")
def half_forgotten(x):
    return 2 * plain.gelu_new(x)


ROOT = np.sqrt(2 / np.pi)


@exercise.mistake("The factor x is missing before the bracket: x/2 (1 + tanh(..)), not 1/2 (1 + tanh(..)).")
def factor_x_forgotten(x):
    return 0.5 * (1 + np.tanh(ROOT * (x + 0.044715 * x**3)))


@exercise.mistake("The 1 is missing in the bracket: x/2 (1 + tanh(..)), not x/2 tanh(..).")
def one_forgotten(x):
    return plain.gelu_new(x) - 0.5 * x


def half_and_tanh(x, u):
    """The formula with another u inside the tanh."""
    return 0.5 * x * (1 + np.tanh(u))


@exercise.mistake("You have x^2 in place of x^3. The term must have the sign of x.")
def square_in_place_of_cube(x):
    return half_and_tanh(x, ROOT * (x + 0.044715 * x**2))


@exercise.mistake("The cubic term is missing: inside the tanh stands x + 0.044715 x^3, not x alone.")
def cube_forgotten(x):
    return half_and_tanh(x, ROOT * x)


@exercise.mistake("The factor sqrt(2/pi) inside the tanh is missing.")
def root_of_2_by_pi_forgotten(x):
    return half_and_tanh(x, x + 0.044715 * x**3)


@exercise.mistake("The root is missing: the factor inside the tanh is sqrt(2/pi), not 2/pi.")
def fraction_without_root(x):
    return half_and_tanh(x, 2 / np.pi * (x + 0.044715 * x**3))


@exercise.mistake("Your root is of 2 alone. The factor inside the tanh is sqrt(2/pi), the root of the fraction.")
def root_of_2_alone(x):
    return half_and_tanh(x, np.sqrt(2) / np.pi * (x + 0.044715 * x**3))


@exercise.mistake(
    "Your factor sqrt(2/pi) belongs to x only. It stands before the bracket, so it belongs to both x and 0.044715 x^3."
)
def root_for_x_alone(x):
    return half_and_tanh(x, ROOT * x + 0.044715 * x**3)


@exercise.mistake("You raise 0.044715 to the third power too. It is 0.044715 times x^3.")
def coefficient_cubed(x):
    return half_and_tanh(x, ROOT * (x + (0.044715 * x) ** 3))


@exercise.mistake(
    "Your factor of x^3 is 0.0447, which is rounded: the whole number is 0.044715. GPT-2 was trained with it, and its "
    "results differ in the sixth digit."
)
def coefficient_rounded(x):
    return half_and_tanh(x, ROOT * (x + 0.0447 * x**3))


@exercise.mistake("Your factor sqrt(2/pi) is 0.798, which is rounded. Let NumPy compute the root.")
def root_rounded(x):
    return half_and_tanh(x, 0.798 * (x + 0.044715 * x**3))


@exercise.mistake("Your factor 0.044715 belongs to x as well. It stands before x^3 only.")
def coefficient_for_both(x):
    return half_and_tanh(x, ROOT * 0.044715 * (x + x**3))
