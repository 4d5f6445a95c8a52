"""Exercise induction_score, notebook 11: which heads find what followed the last time."""

import numpy as np
from hypothesis import strategies as st

from minigpt.exercises.drawing import large_input, sizes
from minigpt.exercises.exercise import Exercise, Probe


def induction_score(weights):
    """The mean weight from each token of the second half to the token after its first copy."""
    return mean_weight(weights, after_first_copy)


def after_first_copy(t, n):
    return t - n + 1


def mean_weight(weights, place, begin=0, end=0):
    """Return the mean of weights[:, t, place(t, n)] for t from n + begin to 2 n + end, not included: [H]."""
    n = weights.shape[1] // 2
    t = np.arange(n + begin, 2 * n + end)
    return weights[:, t, place(t, n)].mean(axis=1)


@st.composite
def repeated(draw, H=sizes(1, 3), n=sizes(2, 4), parts=4, perfect=False):
    """Draw the attention weights [H, 2 n, 2 n] of n tokens that stand there twice.

    Every row shares its weight of 1, in parts, among the tokens that it sees. perfect: those of the second half give
    all of it to the token after their first copy.
    """
    H, n = draw(H), draw(n)
    weights = np.zeros((H, 2 * n, 2 * n))
    for h in range(H):
        for t in range(2 * n):
            for s in draw(st.lists(st.integers(0, t), min_size=parts, max_size=parts)):
                weights[h, t, s] += 1 / parts
    if perfect:
        t = np.arange(n, 2 * n)
        weights[:, t] = 0
        weights[:, t, t - n + 1] = 1
    return (weights,)


def large_weights(rng):
    """Return the weights of 3 heads for 40 tokens that stand there twice."""
    weights = np.zeros((3, 80, 80))
    for t in range(80):
        for _ in range(4):
            weights[np.arange(3), t, rng.integers(max(0, t - 41), t + 1, 3)] += 1 / 4
    return (weights,)


one = st.just(1)
exercise = Exercise(
    name="induction_score",
    notebook="11_looking_inside",
    order=1,
    signature="induction_score(weights)",
    task="The induction score of every head. A text of T = 2 n tokens is n different tokens, and then the same n "
    "tokens again, so the token at t >= n stood at t - n before. The score is the mean weight that the tokens of the "
    "second half give to the token after their first copy: 1 / n times the sum of weights[h, t, t - n + 1] over t from "
    "n to 2 n - 1. weights [H, T, T], row t for the token that attends -> [H].",
    reference=induction_score,
    probes=(
        Probe(
            "A perfect induction head: every token of the second half gives its whole weight to the token after its "
            "first copy, so the score is 1. The rows of the first half do not count.",
            repeated(one, parts=1, perfect=True),
        ),
        Probe(
            "One head, whose tokens give their whole weight to one token each. So the score is a count, divided by n: "
            "how many of the n tokens of the second half look at the token after their first copy.",
            repeated(one, parts=1),
        ),
        Probe("One head, whose tokens share their weight among several tokens.", repeated(one)),
        Probe("Several heads: every head has a score of its own.", repeated(sizes(2, 3), parts=2)),
        Probe("Weights of any number of heads and tokens, drawn at random.", repeated(n=sizes(2, 6))),
        large_input(large_weights),
    ),
)


@exercise.formulation
def induction_score_in_steps(weights):
    n = weights.shape[1] // 2
    t = np.arange(n, 2 * n)
    found = weights[:, t, t - n + 1]
    return found.mean(axis=-1)


@exercise.formulation
def induction_score_by_sum(weights):
    n = weights.shape[1] // 2
    t = np.arange(n, 2 * n)
    found = weights[:, t, t - n + 1]
    return found.sum(axis=-1) / n


@exercise.mistake(
    "You take the weight given to the first copy of the token itself, at t - n. That is the score of a duplicate-token "
    "head. An induction head looks one token further, at what followed the first copy."
)
def duplicate_token_score(weights):
    return mean_weight(weights, lambda t, n: t - n)


@exercise.mistake(
    "You take the weight given to the token before the first copy. The token after it is at t - n + 1: what followed "
    "last time will follow again."
)
def token_before_first_copy(weights):
    return mean_weight(weights, lambda t, n: t - n - 1)


@exercise.mistake(
    "You take the weight given to the token just before, at t - 1. That is the score of a previous-token head, which "
    "knows nothing of the first copy."
)
def previous_token_score(weights):
    t = np.arange(1, weights.shape[1])
    return weights[:, t, t - 1].mean(axis=1)


@exercise.mistake(
    "You take the weight given to the token just before, at t - 1. The token after the first copy is n - 1 tokens back."
)
def previous_token_in_second_half(weights):
    return mean_weight(weights, lambda t, n: t - 1)


@exercise.mistake(
    "You take the weight that a token of the second half gives to itself. The token after its first copy is at t - n + "
    "1."
)
def weight_of_itself(weights):
    return mean_weight(weights, lambda t, n: t)


@exercise.mistake(
    "You use rows as the tokens that are attended to. Row t is the token that attends, and column s the one that it "
    "attends to: weights[h, t, s]. Above the diagonal all is 0, because no token sees a later one."
)
def rows_and_columns_exchanged(weights):
    return induction_score(weights.swapaxes(1, 2))


@exercise.mistake(
    "You begin one row too early. At t = n - 1 the second half has not begun, and that token has no earlier copy. Its "
    "weight is on the same diagonal, but the sum begins at t = n."
)
def begins_in_first_half(weights):
    return mean_weight(weights, after_first_copy, begin=-1)


@exercise.mistake(
    "You begin one row too late. The first token of the second half, at t = n, already has an earlier copy: the token "
    "at 0."
)
def begins_too_late(weights):
    return mean_weight(weights, after_first_copy, begin=1)


@exercise.mistake(
    "You leave out the last token. The one after its first copy is at n, the first of the second half: it counts too."
)
def last_token_left_out(weights):
    return mean_weight(weights, after_first_copy, end=-1)


@exercise.mistake(
    "You divide the sum by all T = 2 n rows. Only the n tokens of the second half have an earlier copy, so a perfect "
    "head would get 1/2: divide by n."
)
def divided_by_all_rows(weights):
    return induction_score(weights) / 2


@exercise.mistake("You return the sum. The score is the mean over the n tokens of the second half, from 0 to 1.")
def sum_of_weights(weights):
    return induction_score(weights) * (weights.shape[1] // 2)


@exercise.mistake("You take the largest weight on the way. The score is the mean over the second half.")
def largest_weight(weights):
    n = weights.shape[1] // 2
    t = np.arange(n, 2 * n)
    return weights[:, t, t - n + 1].max(axis=1)


@exercise.mistake(
    "You look at the last token alone. One token may be right by chance: take the mean over all n of the second half."
)
def last_token_alone(weights):
    return weights[:, -1, weights.shape[1] // 2]


@exercise.mistake("You also take the mean over the heads. Every head has a score of its own: the result is [H].")
def mean_over_heads(weights):
    return induction_score(weights).mean()


@exercise.mistake(
    "You return the score of every token. Take the mean over the tokens of the second half: one number for each head."
)
def score_of_every_token(weights):
    n = weights.shape[1] // 2
    t = np.arange(n, 2 * n)
    return weights[:, t, t - n + 1]


@exercise.mistake(
    "You count the tokens whose largest weight goes to the right place. The score is the mean of the weights "
    "themselves: a weight of 0.9 says more than one of 0.3."
)
def share_of_largest_weights(weights):
    n = weights.shape[1] // 2
    t = np.arange(n, 2 * n)
    return (weights[:, t].argmax(axis=2) == t - n + 1).mean(axis=1)


@exercise.mistake(
    "You sum the weight given to the whole first half. Only one of its tokens counts, the one after the first copy of "
    "the token that attends."
)
def weight_of_first_half(weights):
    n = weights.shape[1] // 2
    return weights[:, n:, :n].sum(axis=2).mean(axis=1)
