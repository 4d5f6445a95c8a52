"""The checks, checked: every known mistake is told by its name, every right solution passes, and the result decides."""

import importlib
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from minigpt.exercises import EXERCISES, check
from minigpt.exercises.calling import call
from minigpt.exercises.checking import NotPassedError, drawn_inputs, examine
from minigpt.exercises.in_model import PLACES

MODULES = ("tokens", "attention", "block", "decoding", "learning")
sys.path.insert(0, str(Path(__file__).parent))
RIGHT = {}
for module in MODULES:
    RIGHT |= importlib.import_module(f"exercises.{module}").RIGHT

MISTAKES = [(name, i) for name, exercise in EXERCISES.items() for i in range(len(exercise.mistakes))]


def mistake_name(value):
    name, i = value
    return f"{name}-{EXERCISES[name].mistakes[i].function.__name__}"


def unwatched(function):
    """Known mistakes and references live in minigpt, where a student's function does not."""
    return lambda arguments: call(function, arguments, uses=None)


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


@pytest.mark.parametrize("known", MISTAKES, ids=map(mistake_name, MISTAKES))
def test_known_mistakes_are_told_by_their_name(known):
    name, i = known
    mistake = EXERCISES[name].mistakes[i]
    result = examine(EXERCISES[name], unwatched(mistake.function))
    assert not result.passed and result.verdict == mistake.hint and result.mistake is mistake, result
    assert mistake.hint in str(result) and dict(result.details)["where to look"]


@pytest.mark.parametrize("name", EXERCISES)
def test_the_function_is_called_and_its_result_decides(name):
    exercise, right = EXERCISES[name], RIGHT[name][0]
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

        assert not check(name, nearly).passed, wrong_call


def spoilt(result):
    """The result with its numbers changed by a thousandth of the largest, or by one."""
    if isinstance(result, tuple | list):
        return type(result)(map(spoilt, result)) if len(result) else [(0, 0)]
    result = np.asarray(result)
    if result.dtype == bool:
        return ~result
    if result.dtype.kind in "iu":
        return result + 1
    return result + np.where(np.isfinite(result), 1e-3 * max(1, abs(result[np.isfinite(result)]).max(initial=0)), 0)


# ---------------------------------------------------------------- what else can be wrong


def right_softmax(x):
    return RIGHT["softmax"][0](x)


def test_a_wrong_shape_has_its_own_sentence():
    result = check("softmax", lambda x: right_softmax(x)[..., None])
    assert not result.passed and "has shape (1, 1), expected (1,)" in result.verdict


def test_nothing_returned():
    assert "returns None" in check("softmax", lambda x: None).verdict


def test_a_crash_is_told_with_its_line():
    def softmax(x):
        return x @ np.ones(99)

    verdict = check("softmax", softmax).verdict
    assert verdict.startswith("ValueError: matmul") and "return x @ np.ones(99)" in verdict


def test_an_endless_loop_ends():
    def softmax(x):
        while True:
            try:
                while True:
                    pass
            except:  # noqa: E722
                pass

    before, began = threading.active_count(), time.monotonic()
    assert "endless loop" in check("softmax", softmax).verdict
    assert time.monotonic() - began < 30 and threading.active_count() <= before + 1


def test_nan_has_its_own_sentence():
    result = check("gelu", lambda x: x * np.nan)
    assert "nan (not a number) at" in result.verdict


def test_not_yet_written():
    def softmax(x):
        raise NotImplementedError("write softmax")

    assert check("softmax", softmax).verdict == "it is not written yet"


def test_exit_is_no_way_out():
    verdict = check("softmax", lambda x: sys.exit(0)).verdict
    assert verdict.startswith("SystemExit: 0 (") and "sys.exit(0)" in verdict


@pytest.mark.parametrize("name", ["softmax", "layer_norm", "adamw", "bpe_merge"])
def test_a_changed_argument_is_told(name):
    right, calls = RIGHT[name][0], []

    def changes(first, *others):
        result = right(first, *others)
        calls.append(1)
        if isinstance(first, list):
            first.append(1)
        else:
            first *= 2
            first += 1
        return result

    verdict = check(name, changes).verdict
    assert verdict.startswith("the result is right, but the function changes its argument")


def test_two_mistakes_at_once_one_is_told():
    # Over the whole array and without the maximum.
    result = check("softmax", lambda x: np.exp(x) / np.exp(x).sum())
    assert "whole array" in result.verdict


def test_the_smallest_input_is_small():
    result = check(
        "layer_norm", lambda x, w, b, eps: (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True) * w + b
    )
    assert not result.passed
    assert len(dict(result.details)["smallest input"]) < 300


def test_minigpts_own_solutions_are_refused():
    from minigpt.ops import plain
    from minigpt.training.backward import softmax_backward

    for name, function in (
        ("softmax", plain.softmax),
        ("softmax", lambda x: plain.softmax(x) + 0),
        ("attention", lambda q, k, v: plain.attention(q, k, v) + 0),
        ("softmax_backward", softmax_backward),
        ("softmax", EXERCISES["softmax"].reference),
    ):
        assert "which is minigpt's own solution" in check(name, function).verdict
    # What an exercise is made of may be used.
    assert "minigpt.ops.plain.softmax" in EXERCISES["attention"].uses


def test_printing_is_shown_where_it_failed(capsys):
    def softmax(x):
        print("here", x.shape)
        return x

    result = check("softmax", softmax)
    assert dict(result.details)["it printed"].startswith("here (")
    assert capsys.readouterr().out == ""


def test_bad_calls():
    with pytest.raises(ValueError, match="there is no exercise 'sofmax'; did you mean 'softmax'"):
        check("sofmax", right_softmax)
    assert "must be a function" in check("softmax", 3).verdict
    assert "TypeError" in check("softmax", lambda: 3).verdict


def test_nbgrader_counts_a_cell_that_raises_nothing(monkeypatch):
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    assert check("softmax", right_softmax).passed
    with pytest.raises(NotPassedError, match="softmax"):
        check("softmax", lambda x: x)


def test_a_panel_shows_what_the_text_says():
    result = check("softmax", lambda x: x)
    panel = result._repr_html_()
    assert "<script" not in panel and "✗ softmax" in panel and "smallest input" in panel
    assert check("softmax", right_softmax)._repr_html_().count("✓") == 1


# ---------------------------------------------------------------- in the model


@pytest.mark.parametrize("name", PLACES)
def test_right_solutions_speak(name):
    result = check.in_model(name, RIGHT[name][1])
    assert result.passed, result
    assert dict(result.details)["text"].startswith("Once upon a time") and len(dict(result.details)["text"]) > 40


@pytest.mark.parametrize("name", PLACES)
def test_wrong_solutions_are_found_in_the_model(name):
    right = RIGHT[name][0]

    def wrong(*arguments):
        result = right(*arguments)
        return (spoilt(result[0]), *result[1:]) if isinstance(result, tuple) else spoilt(result)

    result = check.in_model(name, wrong)
    assert not result.passed and "differs" in result.verdict, result


def test_the_first_difference_has_layer_head_and_position():
    calls = []

    def attention(q, k, v):
        heads = np.array(RIGHT["attention"][0](q, k, v), copy=True)
        calls.append(1)
        if len(calls) == 3:  # in the third block, one head, one position
            heads[0, 1, 4] += 1
        return heads

    verdict = check.in_model("attention", attention).verdict
    assert verdict.startswith("h.2.attn.heads is the first activation that differs: layer 2, head 1, position 4:")


def test_what_has_no_place_in_the_model():
    with pytest.raises(ValueError, match="adamw has no place in the forward pass"):
        check.in_model("adamw", RIGHT["adamw"][0])


def test_a_function_cannot_change_the_model():
    def mlp(x, c_fc, c_proj):
        c_fc["weight"] *= 0
        return x

    assert "read-only" in check.in_model("mlp", mlp).verdict


# ---------------------------------------------------------------- the references


def leaf(array):
    return torch.tensor(array, requires_grad=True)


def torch_cross_entropy(logits, targets):
    return (F.cross_entropy(torch.tensor(logits), torch.tensor(targets)),)


def torch_softmax_backward(dy, y):
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
