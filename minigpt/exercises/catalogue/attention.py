"""Exercise attention, notebook 03: attention in all heads of all texts."""

import numpy as np
from hypothesis import strategies as st

from minigpt.exercises.catalogue import attention_head
from minigpt.exercises.catalogue.attention_head import attention_probes, attention_scores, attention_weights, visible
from minigpt.exercises.drawing import sizes
from minigpt.exercises.exercise import Exercise
from minigpt.exercises.placing import operation
from minigpt.ops import plain


def all_heads(T=sizes(1, 3), K=sizes()):
    """Return a strategy for [B, H, T, K]."""
    return st.tuples(sizes(1, 2), sizes(1, 3), T, K)


exercise = Exercise(
    name="attention",
    notebook="03_attention",
    order=6,
    signature="attention(q, k, v)",
    task="softmax(q k^T / sqrt(K) + mask) v in every head of every text of the batch. The mask is -inf where s > t, "
    "so that token t sees itself and the past. q, k, v [B, H, T, K] -> [B, H, T, K].",
    reference=plain.attention,
    probes=attention_probes(all_heads, large=(1, 2, 70, 4)),
    uses=("minigpt.ops.plain.softmax",),
    in_model=operation("attention"),
)


@exercise.formulation
def attention_in_steps(q, k, v):
    B, H, T, K = q.shape  # noqa: RUF059 (the rules put one size for another)
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(K)
    visible = np.tri(T, dtype=bool)
    masked = np.where(visible, scores, -np.inf)
    exps = np.exp(masked - masked.max(axis=-1, keepdims=True))
    weights = exps / exps.sum(axis=-1, keepdims=True)
    return weights @ v


@exercise.mistake(
    "You divide the scores by the square root of D = H K, the width of the whole stream. A query of one head has K "
    "numbers, so divide by sqrt(K): K is the size of the last axis. This is easily missed, because a model still "
    "learns with the wrong scale."
)
def scaled_by_D(q, k, v):
    return attention_weights(q, k, scale=(q.shape[1] * q.shape[-1]) ** -0.5) @ v


@exercise.mistake(
    "You divide the scores by the square root of the number of heads, the second size of q. K is the last size."
)
def scaled_by_H(q, k, v):
    return attention_weights(q, k, scale=q.shape[1] ** -0.5) @ v


@exercise.mistake(
    "Your softmax runs over the heads. Each head attends by itself: the softmax runs over the keys, the last axis of "
    "the scores."
)
def softmax_over_heads(q, k, v):
    return np.where(visible(q), plain.softmax(attention_scores(q, k), axis=1), 0) @ v


@exercise.mistake(
    "The heads of one token look at each other. The order of the axes is [B, H, T, K]: tokens look at tokens, within "
    "one head."
)
def last_batch_axes_exchanged(q, k, v):
    """Attention between the heads of a token, as with q, k and v in [B, T, H, K]."""
    heads = [x.swapaxes(1, 2) for x in (q, k, v)]
    return plain.attention(*heads).swapaxes(1, 2)


# Whatever goes wrong in a single head can go wrong in all heads in the same way.
exercise.mistakes.extend(attention_head.exercise.mistakes)
