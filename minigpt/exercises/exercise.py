"""The parts of an exercise: the task, the inputs that test it, and the mistakes that people make."""

from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import strategies as st

TOLERANCE = 2e-5  # share of the largest expected number: single precision passes, another formula does not
TOLERANCE_NEAR_1000 = 5e-4  # in single precision m + log(sum(exp(x - m))) keeps four digits after the point there


@dataclass(frozen=True)
class Mistake:
    """A wrong solution that people write. If a student's results equal its results, the verdict is its hint.

    The hint says in words what was done, and which line of mathematics says otherwise. It never gives code. line: the
    line of the formula that the mistake changes, where it is known.
    """

    function: Callable
    hint: str
    line: str = ""


@dataclass(frozen=True, eq=False)
class Probe:
    """Inputs that show one mechanism alone. If results are wrong here and nowhere before, that mechanism is wrong.

    shows: a sentence that says what these inputs isolate, and so where to look. inputs: a strategy for the tuple of
    arguments. part: returns the part of a result that is compared, by default all of it. tolerance: how far a number
    may be off, as a share of the largest expected number, or of 1 if all are smaller.
    """

    shows: str
    inputs: st.SearchStrategy
    part: Callable = lambda result: result
    tolerance: float = TOLERANCE


@dataclass(frozen=True, eq=False)
class Exercise:
    """A function to write, and what distinguishes a right one from a wrong one.

    name: the name of the function. signature: as in "softmax(x)". task: what the student is asked for, as formula and
    shapes. reference: a right solution, plain rather than fast. probes: from the most special to the general; one draws
    everything, and where sizes matter the last is a large input. returns: the names of the results, if there are
    several. uses: functions of minigpt that a solution may call, such as "minigpt.ops.plain.softmax"; none by default.
    notebook and order: the notebook that sets the exercise, and its number there. in_model: puts a function in the
    place of the exercise inside a GPT-2 (placing.py), if it has one. mistakes: the known wrong solutions, which the
    decorator `mistake` adds. formulations: right solutions in small steps, which `formulation` adds; mutants.py makes
    mistakes from them, or from the reference if there are none.
    """

    name: str
    signature: str
    task: str
    reference: Callable
    probes: tuple[Probe, ...]
    returns: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    notebook: str = ""
    order: int = 0
    in_model: Callable | None = None
    mistakes: list[Mistake] = field(default_factory=list, init=False, repr=False)
    formulations: list[Callable] = field(default_factory=list, init=False, repr=False)

    def mistake(self, hint: str) -> Callable[[Callable], Callable]:
        """Return a decorator that adds a wrong function, with its hint, to the known mistakes.

        The first mistake that explains a student's results is reported, so their order matters.
        """

        def add(function):
            self.mistakes.append(Mistake(function, hint))
            return function

        return add

    def formulation(self, function: Callable) -> Callable:
        """Add a right solution, written step by step as the task says it, and return it."""
        self.formulations.append(function)
        return function

    @property
    def parameter_names(self):
        """The names of the parameters in the signature."""
        return [name.strip() for name in self.signature.partition("(")[2].rstrip(")").split(",")]
