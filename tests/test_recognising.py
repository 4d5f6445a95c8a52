"""Mistakes that are recognised, and functions that none explains."""

import re

import numpy as np
import pytest
from exercise_helpers import softmax_of
from right_solutions import RIGHT

from minigpt.exercises import EXERCISES, check
from minigpt.exercises.calling import call
from minigpt.exercises.checking import examine
from minigpt.exercises.mutants import rewritable


def test_a_crash_on_some_inputs_is_no_other_mistake():
    def causal_mask(T):
        if T == 3:
            raise ValueError("three")
        return np.tri(T, dtype=bool)

    result = examine(EXERCISES["causal_mask"], lambda arguments: call(causal_mask, arguments))
    assert result.mistake is None and result.verdict.startswith("ValueError: three (line ")
    assert "a step too many: if T == 3" in check("causal_mask", causal_mask).verdict


def test_two_mistakes_at_once_are_told():
    # Over the whole array and without the maximum.
    result = check("softmax", lambda x: np.exp(x) / np.exp(x).sum())
    assert "one sum of all numbers together" in result.verdict or "sum over the whole array" in result.verdict, result


def test_a_known_mistake_is_told_together_with_another():
    result = check("attention_head", lambda q, k, v: softmax_of(q @ k.T) @ v)
    assert "later" in result.verdict and "You do not multiply by q.shape[-1]^(-0.5)." in result.verdict, result


@pytest.mark.parametrize("name", ["attention_head", "attention", "cached_attention", "attention_backward"])
def test_nothing_is_said_of_an_argument_that_only_our_own_helper_has(name):
    programs = [rewritable(mistake, tuple(EXERCISES[name].parameter_names)) for mistake in EXERCISES[name].mistakes]
    hints = [rewriting.hint for program in programs if program for rewriting in program.rewritings()]
    assert hints and not [hint for hint in hints if "is None" in hint]


def test_what_no_pair_explains_is_not_named():
    result = check("linear", lambda x, w, b: x @ w.T if w.shape[0] == w.shape[1] else x @ w)
    assert result.mistake is None and result.verdict.startswith("the result is"), result


def scaled(scale):
    def attention(q, k, v):
        scores = q @ k.swapaxes(-1, -2) * scale(q.shape[-1])
        return softmax_of(np.where(np.tri(q.shape[-2], dtype=bool), scores, -np.inf)) @ v

    return attention


def roots_added(x, weight, bias, eps):
    return (x - x.mean(-1, keepdims=True)) / (x.std(-1, keepdims=True) + np.sqrt(eps)) * weight + bias


def moments_in_place(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    result = RIGHT["adamw"][0](w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay)
    m[:], v[:] = result[1:]
    return result


SAID = {
    "zeros": ("attention", lambda q, k, v: np.zeros_like(v), "every number of your result is 0"),
    "zeros, several": ("beam_step", lambda s, _, n: (np.zeros(n, int), np.zeros(n, int), np.zeros(n)), "every number"),
    "an argument": ("top_p", lambda logits, p: logits.copy(), "always logits, just as it was given"),
    "the stream": (
        "transformer_block",
        lambda x, ln_1, attn, ln_2, mlp, n_head: x.copy(),
        "always x, just as it was given",
    ),
    "a scale written as a number": ("scores", lambda q, k: q @ k.T / 8, "fixed size 64 in place of K"),
    "a root rounded down": ("attention", scaled(lambda K: 1 / int(K**0.5)), "whole number"),
    "two roots": ("layer_norm", roots_added, "the root of the variance and that of eps"),
    "another order": (
        "merge_heads",
        lambda x: x.transpose(2, 0, 1, 3).reshape(x.shape[0], x.shape[2], -1),
        "stand in their places",
    ),
    "turned": ("linear", lambda x, weight, bias: -(x @ weight + bias), "Your sign is wrong"),
    "two things": ("softmax", lambda x: (softmax_of(x), x.max()), "it returns 2 values"),
    "objects": ("softmax", lambda x: np.frompyfunc(float, 1, 1)(softmax_of(x)), "astype"),
    "two arguments changed": ("adamw", moments_in_place, "changes its arguments m, v: .* work on copies"),
}


@pytest.mark.parametrize("name", SAID)
def test_what_is_said_of_other_mistakes(name):
    exercise, function, words = SAID[name]
    result = check(exercise, function)
    assert not result.passed and re.search(words, result.verdict), result
