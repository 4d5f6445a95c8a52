"""Find the smallest input that a wrong function gets wrong."""

import contextlib
import time

import hypothesis
from hypothesis.errors import Flaky, NoSuchExample

from minigpt.exercises.drawing import SETTINGS
from minigpt.exercises.trial import try_input

MAX_INPUTS = 200  # inputs to draw until one goes wrong
MAX_SECONDS = 15  # time limit of the search for a small input
VISIBLE_DIFFERENCE = 0.05  # a tolerance; a reader sees larger differences at once


def smallest_wrong(exercise, wrong, run):
    """Return the Trial of the smallest input of the same probe that goes wrong in the same way, visibly if possible.

    wrong: a Trial that is wrong. It is returned if no smaller one is found.
    """
    phases, deadline = [hypothesis.Phase.generate, hypothesis.Phase.shrink], time.monotonic() + MAX_SECONDS
    settings = hypothesis.settings(max_examples=MAX_INPUTS, phases=phases, **SETTINGS)
    for tolerance in (VISIBLE_DIFFERENCE, wrong.probe.tolerance):
        found = []

        def fails(arguments, tolerance=tolerance, found=found):
            if time.monotonic() > deadline:  # the function is slow: what was found so far is small enough
                return False
            trial = try_input(exercise, wrong.probe, arguments, run, tolerance)
            if trial.is_wrong and trial.outcome.problem == wrong.outcome.problem:
                found.append(arguments)
                return True
            return False

        with contextlib.suppress(NoSuchExample, Flaky):  # it fails only now and then, or time ran out
            hypothesis.find(wrong.probe.inputs, fails, settings=settings)
        if found:
            trial = try_input(exercise, wrong.probe, found[-1], run)
            if trial.is_wrong:
                return trial
    return wrong  # it fails for few inputs, or only now and then
