"""Exercise gelu, notebook 04: the activation function of the MLP."""

import numpy as np
from hypothesis import strategies as st

from minigpt.exercises.drawing import arrays, numbers, shapes
from minigpt.exercises.exercise import Exercise, Probe
from minigpt.exercises.placing import activation_function
from minigpt.ops import plain


def any_shape(elements):
    """Return a strategy for an array of any shape with such elements."""
    return st.tuples(shapes(1, 3).flatmap(lambda shape: arrays(*shape, elements=elements)))


exercise = Exercise(
    name="gelu",
    notebook="04_block",
    order=3,
    signature="gelu(x)",
    task="gelu(x) = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) for every number of an array of any shape.",
    reference=plain.gelu_new,
    probes=(
        Probe(
            "The numbers are far above 0. The tanh is 1 there, so the result must be nearly x itself: look at x/2 (1 "
            "+ ...).",
            any_shape(numbers(5, 8)),
        ),
        Probe(
            "The numbers are far below 0. The tanh is -1 there, so the result must be nearly 0: look at (1 + ...).",
            any_shape(numbers(-8, -5)),
        ),
        Probe(
            "The numbers are near 0, where x^3 is very small and gelu(x) is nearly x/2 (1 + tanh(sqrt(2/pi) x)). Look "
            "at sqrt(2/pi).",
            any_shape(numbers(-1, 1)),
        ),
        Probe(
            "The numbers are between -3 and -1. The cubic term counts there, and the formulas that are called GELU "
            "differ most. Results are compared to six digits: if yours differ only in the last of these, you have "
            "rounded 0.044715 or sqrt(2/pi).",
            any_shape(numbers(-3, -1)),
            tolerance=2e-6,
        ),
        Probe("Numbers of all kinds, drawn at random.", any_shape(numbers(-8, 8))),
        Probe(
            "The numbers go up to 40, where the result is x or 0. If yours is NaN, or 0 instead of x, the exp of a "
            "large number became inf: np.tanh avoids that.",
            any_shape(numbers(-40, 40)),
        ),
    ),
    in_model=activation_function,
)


@exercise.formulation
def gelu(x):
    u = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
    return 0.5 * x * (1 + np.tanh(u))


@exercise.mistake(
    "You use the formula with erf, which differs from this one in the fourth decimal. GPT-2 was trained with "
    "tanh(sqrt(2/pi) (x + 0.044715 x^3))."
)
def gelu_with_erf(x):
    return plain.gelu(x)


@exercise.mistake("You use x sigmoid(1.702 x), a rougher approximation. GPT-2 was trained with the formula with tanh.")
def gelu_by_sigmoid(x):
    return x / (1 + np.exp(-1.702 * x))


@exercise.mistake("You use x sigmoid(x), which is called SiLU or swish. GELU is the formula with tanh.")
def silu(x):
    return x / (1 + np.exp(-x))


@exercise.mistake("You use max(x, 0), a ReLU. GELU is smooth: see the formula with tanh.")
def relu(x):
    return plain.relu(x)


@exercise.mistake("Your results are twice as large as they should be: x/2 (1 + tanh(...)), not x (1 + tanh(...)).")
def half_forgotten(x):
    return 2 * plain.gelu_new(x)


ROOT = np.sqrt(2 / np.pi)


@exercise.mistake("The factor x before the bracket is missing: x/2 (1 + tanh(...)), not 1/2 (1 + tanh(...)).")
def factor_x_forgotten(x):
    return 0.5 * (1 + np.tanh(ROOT * (x + 0.044715 * x**3)))


@exercise.mistake("The 1 in the bracket is missing: x/2 (1 + tanh(...)), not x/2 tanh(...).")
def one_forgotten(x):
    return plain.gelu_new(x) - 0.5 * x


def half_and_tanh(x, u):
    """The formula with another u inside the tanh."""
    return 0.5 * x * (1 + np.tanh(u))


@exercise.mistake("You have x^2 instead of x^3. The term must have the sign of x.")
def square_in_place_of_cube(x):
    return half_and_tanh(x, ROOT * (x + 0.044715 * x**2))


@exercise.mistake("The cubic term is missing: the tanh is of x + 0.044715 x^3, not of x alone.")
def cube_forgotten(x):
    return half_and_tanh(x, ROOT * x)


@exercise.mistake("The factor sqrt(2/pi) inside the tanh is missing.")
def root_of_2_by_pi_forgotten(x):
    return half_and_tanh(x, x + 0.044715 * x**3)


@exercise.mistake("The root is missing: the factor inside the tanh is sqrt(2/pi), not 2/pi.")
def fraction_without_root(x):
    return half_and_tanh(x, 2 / np.pi * (x + 0.044715 * x**3))


@exercise.mistake(
    "You take the root of 2 alone. The factor inside the tanh is sqrt(2/pi), the root of the whole fraction."
)
def root_of_2_alone(x):
    return half_and_tanh(x, np.sqrt(2) / np.pi * (x + 0.044715 * x**3))


@exercise.mistake(
    "You multiply only x by sqrt(2/pi). The factor stands before the bracket, so it applies to both x and 0.044715 x^3."
)
def root_for_x_alone(x):
    return half_and_tanh(x, ROOT * x + 0.044715 * x**3)


@exercise.mistake("You cube 0.044715, too. It is 0.044715 times x^3.")
def coefficient_cubed(x):
    return half_and_tanh(x, ROOT * (x + (0.044715 * x) ** 3))


@exercise.mistake(
    "You round the factor of x^3 to 0.0447. GPT-2 was trained with 0.044715, and the results differ in the sixth digit."
)
def coefficient_rounded(x):
    return half_and_tanh(x, ROOT * (x + 0.0447 * x**3))


@exercise.mistake("You round sqrt(2/pi) to 0.798. Let NumPy compute the root.")
def root_rounded(x):
    return half_and_tanh(x, 0.798 * (x + 0.044715 * x**3))


@exercise.mistake("You multiply x by 0.044715, too. The factor stands before x^3 only.")
def coefficient_for_both(x):
    return half_and_tanh(x, ROOT * 0.044715 * (x + x**3))
