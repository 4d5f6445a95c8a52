"""Exercise scores, notebook 03: how well every query matches every key."""

import numpy as np
from hypothesis import strategies as st

from minigpt import model
from minigpt.exercises.drawing import arrays, large_input, numbers, sizes, small_integers, whole_numbers
from minigpt.exercises.exercise import Exercise, Probe
from minigpt.exercises.placing import operation, require_shape
from minigpt.ops import plain


def scores(q, k):
    """q k^T / sqrt(K), of every query with every key."""
    return q @ k.T / np.sqrt(q.shape[1])


def queries_and_keys(T=sizes(), K=sizes(), elements=whole_numbers(-2, 2)):
    """Return a strategy for (q, k), each [T, K]."""
    shape = st.tuples(T, K)
    return shape.flatmap(lambda shape: st.tuples(arrays(*shape, elements=elements), arrays(*shape, elements=elements)))


def attention_with(scores):
    """Return an attention whose scores come from a student's function, head by head."""

    def attention(q, k, v, tap):
        texts, shape = zip(q, k, strict=True), (q.shape[2], k.shape[2])
        found = [[require_shape(scores(*head), shape) for head in zip(*text, strict=True)] for text in texts]
        found = tap("scores", np.array(found, q.dtype))  # [B, H, T, T]
        weights = tap("weights", plain.softmax(np.where(model.causal_mask(*shape), found, -np.inf)))
        return weights @ v

    return attention


exercise = Exercise(
    name="scores",
    notebook="03_attention",
    order=3,
    signature="scores(q, k)",
    task="scores = q k^T / sqrt(K): how well query t matches key s, for all t and s. There is no mask and no softmax "
    "yet. q, k [T, K] -> [T, T].",
    reference=scores,
    probes=(
        Probe(
            "A single token with K = 1: the score is the product of two numbers.",
            queries_and_keys(T=st.just(1), K=st.just(1)),
        ),
        Probe(
            "With K = 1 the scale 1/sqrt(K) is 1, so this is about the products: row t, column s is query t times key "
            "s.",
            queries_and_keys(T=sizes(2, 4), K=st.just(1)),
        ),
        Probe(
            "A single token: one sum of K products, divided by sqrt(K). With K = 1 all was right, so look at the sum "
            "over the last axis and at the scale.",
            queries_and_keys(T=st.just(1), K=sizes(2, 4)),
        ),
        Probe("Queries and keys of all sizes, drawn at random.", queries_and_keys(elements=numbers(-2, 2))),
        large_input(lambda rng: (small_integers(rng, 70, 8), small_integers(rng, 70, 8))),
    ),
    in_model=operation("attention", attention_with),
)


@exercise.formulation
def scores_in_steps(q, k):
    T, K = q.shape  # noqa: RUF059 (the rules put one size for another)
    return q @ k.swapaxes(-1, -2) / np.sqrt(K)


@exercise.mistake("You do not divide q k^T by sqrt(K). A sum of K products grows with K, and the division undoes that.")
def scores_not_scaled(q, k):
    return q @ k.T


@exercise.mistake("You divide by K itself. Divide by its square root.")
def scores_scaled_by_K(q, k):
    return q @ k.T / q.shape[1]


@exercise.mistake(
    "You divide by the square root of T, the number of tokens. K is the width of a head, the length of one query: the "
    "second size of q."
)
def scores_scaled_by_T(q, k):
    return q @ k.T / np.sqrt(q.shape[0])


@exercise.mistake("You multiply by sqrt(K). Divide by it.")
def scores_multiplied_by_root(q, k):
    return q @ k.T * np.sqrt(q.shape[1])


@exercise.mistake("Your scores are transposed: k q^T. Rows belong to queries and columns to keys: q k^T.")
def scores_transposed(q, k):
    return scores(k, q)


@exercise.mistake(
    "You transpose q instead of k, so your sum runs over the tokens and the result is [K, K]. A score is a sum over "
    "the K numbers of one query and one key."
)
def scores_of_numbers(q, k):
    return q.T @ k / np.sqrt(q.shape[1])


@exercise.mistake("You already mask the scores. That is the next step and not part of this one.")
def scores_masked(q, k):
    return np.where(model.causal_mask(len(q), len(q)), scores(q, k), -np.inf)


@exercise.mistake("You already apply a softmax. That is a later step; the scores are q k^T / sqrt(K).")
def scores_through_softmax(q, k):
    return plain.softmax(scores(q, k))
