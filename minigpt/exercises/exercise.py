"""What an exercise is made of, and the kinds of input that exercises draw.

Numbers are drawn as eighths, such as -2.375: short to read in a message, and exact in float32, so that a solution in
single precision is as right as any other.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

TOLERANCE = 2e-5  # of the largest number that is expected: single precision is right, another formula is not
ROUGH = 5e-4  # where x is near 1000: in single precision m + log(sum(exp(x - m))) keeps four digits after the point


@dataclass(frozen=True)
class Mistake:
    """A wrong solution that people write: if a student's results equal its results, the hint is what they are told.

    The hint says in words what was done, and which line of mathematics says otherwise. It never gives code.
    """

    function: Callable
    hint: str


@dataclass(frozen=True)
class Probe:
    """Inputs that show one mechanism alone. If results differ here and nowhere before, that mechanism is wrong.

    shows: a sentence that says what these inputs leave over, and so where to look. inputs: a strategy for the tuple of
    arguments. part: which part of a result is compared; all of it unless told. tolerance: how much a number may differ,
    as a share of the largest that is expected, or of 1 if all are smaller.
    """

    shows: str
    inputs: st.SearchStrategy
    part: Callable = lambda result: result
    tolerance: float = TOLERANCE


@dataclass(frozen=True)
class Exercise:
    """A function to be written, and what tells a right one from a wrong one.

    name: of the function. signature: as in "softmax(x)". task: formula and shapes, what the student is asked for.
    reference: a right solution; it need not be fast, but plain. probes: from the most special to the general, one that
    draws everything, and where sizes matter a large input at the end. mistakes: the known wrong solutions. returns:
    names of the results, if there are several. uses: what of minigpt a solution may call, as
    "minigpt.ops.plain.softmax"; by itself nothing.
    """

    name: str
    signature: str
    task: str
    reference: Callable
    probes: tuple[Probe, ...]
    mistakes: tuple[Mistake, ...]
    returns: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()


def numbers(low=-4, high=4):
    """A strategy for eighths from low to high."""
    return st.integers(8 * low, 8 * high).map(lambda n: n / 8)


def arrays(*shape, elements=None):
    """A strategy for float64 arrays of that shape, of eighths from -4 to 4 unless told otherwise."""
    return hnp.arrays(np.float64, shape, elements=numbers() if elements is None else elements, fill=st.nothing())


def sizes(low=1, high=4):
    """A strategy for the size of a dimension."""
    return st.integers(low, high)


def large_input(make):
    """The probe of one large input, make(rng), which is not made smaller: small ones came before."""
    return Probe(
        "All small inputs were right, and this large one is not: look for a size that is written as a number, as in a "
        "mask of fixed size, or for a loop that ends too early.",
        st.just(0).map(lambda seed: make(np.random.default_rng(seed))),
    )


def small_integers(rng, *shape):
    """An array of -2.0 to 2.0."""
    return rng.integers(-2, 3, shape).astype(float)
