"""One input of an exercise, and what a function returns for it."""

from dataclasses import dataclass

from minigpt.exercises.calling import Outcome, call_unwatched
from minigpt.exercises.comparing import difference
from minigpt.exercises.exercise import Probe


@dataclass(frozen=True)
class Trial:
    """The outcome of a call with the arguments that a probe drew. sentence: what is wrong with it; empty if nothing."""

    probe: Probe
    arguments: tuple
    outcome: Outcome
    expected: object
    sentence: str

    @property
    def is_wrong(self):
        return bool(self.sentence)


def try_input(exercise, probe, arguments, run, tolerance=None):
    """Return the Trial of one input. run(arguments) returns the Outcome. tolerance: the probe's by default."""
    outcome = run(arguments)
    expected = call_unwatched(exercise.reference, arguments).value  # after the call, see calling.py
    sentence = outcome.message
    if not outcome.problem:
        tolerance = tolerance or probe.tolerance
        sentence = difference(outcome.value, expected, probe.part, exercise.returns, tolerance)
    return Trial(probe, arguments, outcome, expected, sentence)
