"""The catalogue: right solutions pass, and every known mistake gets its own hint."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from exercise_helpers import right_softmax, spoilt, unwatched
from right_solutions import RIGHT

from minigpt.exercises import EXERCISES, check, recognising, trial
from minigpt.exercises.calling import Outcome, call_unwatched
from minigpt.exercises.checking import examine
from minigpt.exercises.drawing import drawn_inputs

ROOT = Path(__file__).parents[1]
MISTAKES = [(name, i) for name, exercise in EXERCISES.items() for i in range(len(exercise.mistakes))]


def mistake_name(value):
    name, i = value
    return f"{name}-{EXERCISES[name].mistakes[i].function.__name__}"


def test_there_are_the_exercises_that_the_notebooks_have():
    assert len(EXERCISES) == 31 and list(RIGHT) and set(RIGHT) == set(EXERCISES)
    for exercise in EXERCISES.values():
        assert exercise.signature.startswith(f"{exercise.name}(") and exercise.task
        assert len(exercise.mistakes) >= 3 and len(RIGHT[exercise.name]) >= 3
        hints = [mistake.hint for mistake in exercise.mistakes]
        assert all(hints)


@pytest.mark.parametrize("name", EXERCISES)
def test_right_solutions_pass(name):
    for function in RIGHT[name]:
        result = check(name, function)
        assert result.passed, f"{function.__name__}: {result}"


@pytest.fixture(scope="module")
def computed_once():
    """Call references and known mistakes once for each drawn input: all mistakes of an exercise get the same inputs."""
    outcomes = {}

    def call_once(function, arguments):
        key = function, id(arguments)  # drawn inputs live as long as the process
        if key not in outcomes:
            outcomes[key] = call_unwatched(function, arguments)
        return outcomes[key]

    with pytest.MonkeyPatch.context() as patch:
        for module in (trial, recognising):
            patch.setattr(module, "call_unwatched", call_once)
        yield call_once


# The first of each exercise's mistakes and every third; the others are slow only because they are so many.
SOME_MISTAKES = [known if known[1] % 3 == 0 else pytest.param(known, marks=pytest.mark.slow) for known in MISTAKES]


@pytest.mark.parametrize("known", SOME_MISTAKES, ids=map(mistake_name, MISTAKES))
def test_known_mistakes_are_told_by_their_name(known, computed_once):
    name, i = known
    mistake = EXERCISES[name].mistakes[i]
    result = examine(EXERCISES[name], lambda arguments: computed_once(mistake.function, arguments), shrink=False)
    assert not result.passed and result.verdict == mistake.hint and result.mistake is mistake, result
    assert mistake.hint in str(result) and dict(result.details)["where to look"]


@pytest.mark.slow
@pytest.mark.parametrize("known", MISTAKES, ids=map(mistake_name, MISTAKES))
def test_known_mistakes_are_told_by_their_name_with_the_smallest_input(known):
    name, i = known
    mistake = EXERCISES[name].mistakes[i]
    result = examine(EXERCISES[name], unwatched(mistake.function))
    assert not result.passed and result.verdict == mistake.hint and result.mistake is mistake, result
    assert mistake.hint in str(result) and dict(result.details)["smallest input"]


@pytest.mark.parametrize("name", EXERCISES)
def test_the_function_is_called_and_its_result_decides(name):
    exercise, right = EXERCISES[name], RIGHT[name][1]
    calls = []

    def spy(*arguments):
        calls.append(arguments)
        return right(*arguments)

    assert check(name, spy).passed
    assert len(calls) == len(list(drawn_inputs(exercise))) >= 25

    # One wrong result among all, at any of the inputs, is enough.
    for wrong_call in {0, len(calls) // 2, len(calls) - 1}:
        calls.clear()

        def nearly(*arguments, wrong_call=wrong_call):
            result = spy(*arguments)
            return spoilt(result) if len(calls) == wrong_call + 1 else result

        def run(arguments, nearly=nearly):
            return Outcome(nearly(*arguments))

        assert not examine(exercise, run, shrink=False).passed, wrong_call


LARGE = [name for name, exercise in EXERCISES.items() if "this large one is wrong" in exercise.probes[-1].shows]


@pytest.mark.parametrize("name", LARGE)
def test_what_is_wrong_with_a_large_input_is_told_shortly(name):
    inputs = list(drawn_inputs(EXERCISES[name]))
    large = inputs[-1][1]
    assert [probe is EXERCISES[name].probes[-1] for probe, _ in inputs].count(True) == 1

    def run(arguments):
        value = EXERCISES[name].reference(*arguments)
        return Outcome(spoilt(value) if arguments is large else value)

    result = examine(EXERCISES[name], run)
    assert not result.passed and "this large one is wrong" in str(result) and len(str(result)) < 6000


def test_the_example_of_the_readme_is_an_exercise(capsys):
    readme = (ROOT / "minigpt" / "exercises" / "README.md").read_text(encoding="utf-8")
    code, output = re.findall(r"```(?:python)?\n(.*?)```", readme, re.DOTALL)
    namespace = {}
    exec(code, namespace)
    assert capsys.readouterr().out.startswith(output.rstrip())
    exercise = namespace["exercise"]
    assert check(exercise, lambda x, weight, eps: weight * x / np.sqrt(np.mean(x**2, 1, keepdims=True) + eps)).passed
    assert len(exercise.mistakes) == 3
    for mistake in exercise.mistakes:
        assert check(exercise, mistake.function).verdict == mistake.hint


def test_an_exercise_of_ones_own_may_have_a_place_in_the_model():
    exercise = replace(EXERCISES["softmax"], name="my_softmax")
    assert check(exercise, right_softmax).passed
    assert exercise.mistakes == [] and check(exercise, lambda x: x).verdict.startswith("your result is always x")
    wrong = check.in_model(exercise, lambda x: x)
    assert not wrong.passed and wrong.exercise == "my_softmax"


def test_the_notebook_that_an_exercise_names_checks_it():
    folder = ROOT / "notebooks"
    for name, exercise in EXERCISES.items():
        assert f'check(\\"{name}\\"' in (folder / f"{exercise.notebook}.ipynb").read_text(encoding="utf-8"), name
