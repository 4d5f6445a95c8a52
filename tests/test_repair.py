"""A wrong function is repaired at one place of its own source, and what is said names that place."""

import numpy as np
import pytest
from exercise_helpers import softmax_of

from minigpt.exercises import EXERCISES, check
from minigpt.exercises.calling import call
from minigpt.exercises.checking import examine
from minigpt.exercises.drawing import drawn_inputs
from minigpt.exercises.repair import recognise_repaired
from minigpt.exercises.trial import try_input


def hides_itself(q, k, v):
    T, K = q.shape
    heads = np.zeros((T, K))
    for t in range(T):
        scores = [q[t] @ k[s] / np.sqrt(K) for s in range(t)]
        if not scores:
            continue
        weights = softmax_of(np.array(scores))
        for s in range(t):
            heads[t] += weights[s] * v[s]
    return heads


def ratio_forgotten(p, q, token, u):
    if u[0] < p[token]:
        return token
    rest = np.maximum(p - q, 0)
    if rest.sum() == 0:
        rest = p
    rest = rest / rest.sum()
    return int(np.argmax(np.cumsum(rest) > u[1]))


def rest_not_normalised(p, q, token, u):
    if u[0] < p[token] / q[token]:
        return token
    rest, total = np.clip(p - q, 0, None), 0
    for i in range(len(rest)):
        total += rest[i]
        if total > u[1]:
            return i
    return len(rest) - 1


def only_last_input(x, weight, bias):
    y = np.zeros((*x.shape[:-1], weight.shape[1]))
    for i in range(weight.shape[0]):
        y = x[..., i, None] * weight[i]
    return y + bias


def sample_variance(x, weight, bias, eps):
    var = x.var(axis=-1, keepdims=True, ddof=1) if x.shape[-1] > 1 else 0
    return (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(var + eps) * weight + bias


def order_in_place_of_ranks(logits, p):
    order = np.argsort(-logits)
    sorted_probabilities = softmax_of(logits)[order]
    kept = np.cumsum(sorted_probabilities) - sorted_probabilities < p
    return np.where(kept[order], logits, -np.inf)


def keepdims_forgotten(q, k, v):
    scores = np.where(np.tri(len(q), dtype=bool), q @ k.T / np.sqrt(q.shape[1]), -np.inf)
    exps = np.exp(scores - np.max(scores, axis=-1, keepdims=True))
    return exps / np.sum(exps, axis=-1) @ v


def left_half_stays(ids, pair, new_id):
    merged, skip = [], False
    for here, following in zip(ids, [*ids[1:], None], strict=False):
        if skip:
            skip = False
        elif (here, following) == tuple(pair):
            merged += [new_id, here]
            skip = True
        else:
            merged.append(here)
    return merged


def step_too_many(x):
    x = np.where(np.isneginf(x), 0.0, x)
    exps = np.exp(x - x.max(axis=-1, keepdims=True))
    return exps / exps.sum(axis=-1, keepdims=True)


def sigmoid_of_half(x):
    u = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
    return x / (1 + np.exp(-u))


def powers_as_products(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    m = m * beta1 + grad * (1 - beta1)
    v = v * beta2 + grad**2 * (1 - beta2)
    m_hat = m / (1 - beta1 * t)
    v_hat = np.abs(v / (1 - beta2 * t))
    return w - lr * weight_decay * w - lr * m_hat / (np.sqrt(v_hat) + eps), m, v


NAMED = {
    powers_as_products: ("adamw", "You multiply beta1 by t. It is a power: beta1^t."),
    hides_itself: ("attention_head", "and `for s in range(t)`: The term 1 is missing: t + 1."),
    ratio_forgotten: ("accept", "You do not divide by q[token]."),
    rest_not_normalised: ("accept", "You do not divide by sum"),
    only_last_input: ("linear", "You begin y anew in every step. Collect: y += x[..., i, None] * weight[i]."),
    sample_variance: ("layer_norm", "as for a sample"),
    order_in_place_of_ranks: ("top_p", "You leave out argsort: argsort(order)."),
    keepdims_forgotten: ("attention_head", "Your sum loses its axis"),
    left_half_stays: ("bpe_merge", "You have [new_id, here] in place of [new_id]."),
    step_too_many: ("softmax", "You have a step too many: x = where(isneginf(x), 0.0, x)."),
    sigmoid_of_half: ("gelu", "You do not multiply by 2."),
}


@pytest.mark.parametrize("function", NAMED, ids=lambda function: function.__name__)
def test_what_is_said_of_functions_that_no_formulation_resembles(function):
    name, words = NAMED[function]
    result = check(name, function)
    assert result.mistake and words in result.verdict and "others" not in result.verdict, result


def trials_of(name, function):
    return [
        try_input(EXERCISES[name], probe, arguments, lambda arguments: call(function, arguments))
        for probe, arguments in drawn_inputs(EXERCISES[name])
    ]


def test_what_has_no_source_of_its_own_is_not_repaired():
    trials = trials_of("accept", ratio_forgotten)
    assert recognise_repaired(EXERCISES["accept"], ratio_forgotten, trials)
    namespace = {"np": np}
    exec("def made(p, q, token, u):\n    return token", namespace)
    for other in (None, namespace["made"], np.add, (lambda factor: lambda p, q, token, u: factor)(1), type):
        assert recognise_repaired(EXERCISES["accept"], other, trials) is None


def test_a_source_that_does_something_else_is_not_repaired():
    """The file may have changed since the function was defined."""
    trials = trials_of("accept", lambda p, q, token, u: -1)
    assert recognise_repaired(EXERCISES["accept"], ratio_forgotten, trials) is None


def test_without_the_source_the_results_alone_decide():
    result = examine(EXERCISES["linear"], lambda arguments: call(only_last_input, arguments), shrink=False)
    assert not result.passed and result.mistake is None


def prints_and_loops(ids, pair, new_id):
    print("a line")
    merged, i = [], 0
    while i < len(ids):
        if i + 2 < len(ids) and (ids[i], ids[i + 1]) == tuple(pair):
            merged.append(new_id)
            i += 2
        else:
            merged.append(ids[i])
            i += 1
    return merged


def test_repairs_print_nothing_and_end(capsys):
    result = check("bpe_merge", prints_and_loops)
    assert result.mistake and not capsys.readouterr().out
