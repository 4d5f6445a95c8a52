"""The inputs that exercises draw: strategies for numbers, arrays, sizes and parameters.

Numbers are drawn as eighths, such as -2.375: short to read in a message, and exact in float32, so that a solution in
single precision is as right as any other.
"""

from contextvars import ContextVar
from functools import cache

import hypothesis
import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minigpt.exercises.exercise import Probe

INPUTS_PER_PROBE = 25
SETTINGS = {
    "database": None,
    "derandomize": True,
    "deadline": None,
    "suppress_health_check": list(hypothesis.HealthCheck),
}
# For q and k: scores are equal or at least 800 apart, so that weights are 0 or 1 and exp overflows.
HUGE_SCORE_ENTRIES = st.sampled_from([0.0, 40.0, -40.0])


LARGE_INPUT_SEED = ContextVar("LARGE_INPUT_SEED", default=0)  # of the one input that large_input makes


def drawn_inputs(exercise, seed=None):
    """Yield the inputs (probe, arguments) that every solution of an exercise must get right, the same every time.

    Those of a probe are drawn when they are asked for, which takes long: a function that is not written needs only one.
    seed: an integer that selects other inputs, for grading. Another machine may draw others, because hypothesis also
    draws numbers that it finds in the source of modules.
    """
    for probe in exercise.probes:
        for arguments in _drawn(probe, seed):
            yield probe, arguments


@cache
def _drawn(probe, seed):
    inputs = []
    settings = SETTINGS | {"derandomize": seed is None}

    @hypothesis.settings(max_examples=INPUTS_PER_PROBE, phases=[hypothesis.Phase.generate], **settings)
    @hypothesis.given(probe.inputs)
    def draw(arguments):
        inputs.append(arguments)

    if seed is None:
        draw()
        return inputs
    before = LARGE_INPUT_SEED.set(seed)
    hypothesis.seed(seed)(draw)()
    LARGE_INPUT_SEED.reset(before)
    return inputs


def numbers(low=-4, high=4):
    """Return a strategy for eighths from low to high."""
    return st.integers(8 * low, 8 * high).map(lambda n: n / 8)


def whole_numbers(low=-4, high=4):
    """Return a strategy for whole numbers, the shortest to read; for probes where fractions show nothing more."""
    return st.integers(low, high)


def arrays(*shape, elements=None):
    """Return a strategy for float64 arrays of that shape, by default of eighths from -4 to 4."""
    if elements is None:  # as numbers(), but divided all at once, which is faster
        return arrays(*shape, elements=whole_numbers(-32, 32)).map(lambda array: array / 8)
    return hnp.arrays(np.float64, shape, elements=elements, fill=st.nothing())


@st.composite
def distinct(draw, n, elements):
    """Draw a float64 array of n different numbers."""
    return np.array(draw(st.lists(elements, min_size=n, max_size=n, unique=True)), np.float64)


def sizes(low=1, high=4):
    """Return a strategy for the size of one dimension."""
    return st.integers(low, high)


def shapes(low, high):
    """Return a strategy for shapes of low to high dimensions."""
    return st.lists(sizes(), min_size=low, max_size=high).map(tuple)


def generators():
    """Return a strategy for NumPy's random generators, for parameters.

    Shrinking hundreds of parameters one by one would take minutes, and the smallest input would be no easier to read.
    """
    return st.integers(0, 9999).map(np.random.default_rng)


def random_linear(rng, n_in, n_out):
    """Return weight and bias of a linear layer, from -1 to 1."""
    return {"weight": halves(rng, -2, 2, n_in, n_out), "bias": halves(rng, -2, 2, n_out)}


def halves(rng, low, high, *shape):
    """Return an array of halves from low / 2 to high / 2."""
    return rng.integers(low, high, shape, endpoint=True) / 2


def small_integers(rng, *shape):
    """Return an array of floats from -2.0 to 2.0 without fractions."""
    return rng.integers(-2, 3, shape).astype(float)


def large_input(make):
    """Return the probe of one large input, make(rng). It is not shrunk: the probes before it were small."""
    return Probe(
        "All small inputs were right, and this large one is wrong: look for a hard-coded size, such as a mask of fixed "
        "size, or for a loop that ends too early.",
        st.just(LARGE_INPUT_SEED).map(lambda seed: make(np.random.default_rng(seed.get()))),
    )


def where_float32_is_enough(reference, inputs):
    """Return a strategy for those inputs for which a solution in single precision is right too.

    A layer norm multiplies a nearly constant vector, and its rounding error with it, by up to 300. Such inputs would
    only distinguish a right solution in float32 from one in float64.
    """

    def is_enough(arguments):
        exact = reference(*arguments)
        return np.allclose(reference(*in_float32(arguments)), exact, rtol=0, atol=2e-6 * max(1, np.abs(exact).max()))

    return inputs.filter(is_enough)


def where_eps_does_not_count(reference, without_eps, inputs):
    """Return a strategy for those inputs for which a solution without eps is right too."""

    def is_negligible(arguments):
        exact = reference(*arguments)
        with np.errstate(all="ignore"):
            return np.allclose(without_eps(*arguments), exact, rtol=0, atol=1e-5 * np.abs(exact).max())

    return inputs.filter(is_negligible)


def in_float32(arguments):
    """Return the same arguments with every float64 array in single precision, in dicts and lists too."""
    if isinstance(arguments, dict):
        return {name: in_float32(value) for name, value in arguments.items()}
    if isinstance(arguments, list | tuple):
        return type(arguments)(map(in_float32, arguments))
    if isinstance(arguments, np.ndarray) and arguments.dtype == np.float64:
        return arguments.astype(np.float32)
    return arguments
