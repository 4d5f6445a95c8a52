"""The catalogue: right solutions pass, every known mistake gets its own hint, and the references are right."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from exercise_helpers import spoilt, unwatched
from right_solutions import RIGHT

from minigpt.exercises import EXERCISES, check, recognising, trial
from minigpt.exercises.calling import Outcome, call_unwatched
from minigpt.exercises.checking import examine
from minigpt.exercises.drawing import drawn_inputs

MISTAKES = [(name, i) for name, exercise in EXERCISES.items() for i in range(len(exercise.mistakes))]


def mistake_name(value):
    name, i = value
    return f"{name}-{EXERCISES[name].mistakes[i].function.__name__}"


def test_there_are_the_exercises_that_the_notebooks_have():
    assert len(EXERCISES) == 27 and list(RIGHT) and set(RIGHT) == set(EXERCISES)
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


@pytest.mark.parametrize("known", MISTAKES, ids=map(mistake_name, MISTAKES))
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
    assert len(calls) == len(drawn_inputs(exercise)) >= 25

    # One wrong result among all, at any of the inputs, is enough.
    for wrong_call in {0, len(calls) // 2, len(calls) - 1}:
        calls.clear()

        def nearly(*arguments, wrong_call=wrong_call):
            result = spy(*arguments)
            return spoilt(result) if len(calls) == wrong_call + 1 else result

        def run(arguments, nearly=nearly):
            return Outcome(nearly(*arguments))

        assert not examine(exercise, run, shrink=False).passed, wrong_call


LARGE = [name for name, exercise in EXERCISES.items() if "this large one is not" in exercise.probes[-1].shows]


@pytest.mark.parametrize("name", LARGE)
def test_what_is_wrong_with_a_large_input_is_told_shortly(name):
    inputs = drawn_inputs(EXERCISES[name])
    large = inputs[-1][1]
    assert [probe is EXERCISES[name].probes[-1] for probe, _ in inputs].count(True) == 1

    def run(arguments):
        value = EXERCISES[name].reference(*arguments)
        return Outcome(spoilt(value) if arguments is large else value)

    result = examine(EXERCISES[name], run)
    assert not result.passed and "this large one is not" in str(result) and len(str(result)) < 6000


def leaf(array):
    return torch.tensor(array, requires_grad=True)


def torch_cross_entropy(logits, targets):
    return (F.cross_entropy(torch.tensor(logits), torch.tensor(targets)),)


def torch_softmax_backward(dy, y):
    with np.errstate(divide="ignore"):
        x = leaf(np.log(y))  # the softmax of which is y
    return torch.autograd.grad(x.softmax(-1), x, torch.tensor(dy))


def torch_layer_norm_backward(dy, x, weight, eps):
    x, weight, bias = leaf(x), leaf(weight), leaf(np.zeros_like(weight))
    y = F.layer_norm(x, weight.shape, weight, bias, eps)
    return torch.autograd.grad(y, (x, weight, bias), torch.tensor(dy))


def torch_attention_backward(dheads, q, k, v):
    q, k, v = leaf(q), leaf(k), leaf(v)
    return torch.autograd.grad(F.scaled_dot_product_attention(q, k, v, is_causal=True), (q, k, v), torch.tensor(dheads))


def torch_adamw(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    w = leaf(w.copy())
    optimizer = torch.optim.AdamW([w], lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay, foreach=False)
    state = {"step": torch.tensor(float(t - 1)), "exp_avg": torch.tensor(m), "exp_avg_sq": torch.tensor(v)}
    optimizer.state[w] = state
    w.grad = torch.tensor(grad)
    optimizer.step()
    return w, state["exp_avg"], state["exp_avg_sq"]


IN_TORCH = {
    "cross_entropy": torch_cross_entropy,
    "softmax_backward": torch_softmax_backward,
    "layer_norm_backward": torch_layer_norm_backward,
    "attention_backward": torch_attention_backward,
    "adamw": torch_adamw,
}


@pytest.mark.parametrize("name", IN_TORCH)
def test_references_on_learning_are_pytorchs(name):
    exercise = EXERCISES[name]
    for _, arguments in drawn_inputs(exercise):
        found = exercise.reference(*arguments)
        for one, other in zip(found if exercise.returns else (found,), IN_TORCH[name](*arguments), strict=True):
            one, other = np.asarray(one), other.detach().numpy()
            assert one.shape == other.shape
            assert np.abs(one - other).max(initial=0) <= 1e-9 * max(1.0, np.abs(other).max(initial=0))
