"""Exercise causal_mask, notebook 03: which tokens may look at which."""

import numpy as np
from hypothesis import strategies as st

from minigpt import model
from minigpt.exercises.drawing import sizes
from minigpt.exercises.exercise import Exercise, Probe
from minigpt.exercises.placing import operation, require_shape
from minigpt.ops import plain


def causal_mask(T):
    """mask[t, s] = s <= t."""
    return model.causal_mask(T, T)


def diagonal(mask):
    return np.tril(np.triu(mask))


def above_the_diagonal(mask):
    return np.triu(mask, 1)


def attention_with(mask):
    """Return an attention whose mask comes from a student's function."""

    def attention(q, k, v, tap):
        scores = tap("scores", q @ k.swapaxes(-1, -2) * q.dtype.type(q.shape[-1] ** -0.5))
        visible = require_shape(mask(q.shape[2]), (q.shape[2], q.shape[2]))
        weights = tap("weights", plain.softmax(np.where(visible, scores, -np.inf)))
        return weights @ v

    return attention


exercise = Exercise(
    name="causal_mask",
    notebook="03_attention",
    order=2,
    signature="causal_mask(T)",
    task="mask[t, s] is True where position t may look at position s: where s <= t, that is, at itself and the past. T "
    "-> bool [T, T].",
    reference=causal_mask,
    probes=(
        Probe("With one token the mask is [[True]]: a token sees itself.", st.tuples(st.just(1))),
        Probe("Only the diagonal is compared, s = t: every token sees itself.", st.tuples(sizes(2, 12)), part=diagonal),
        Probe(
            "Only what is above the diagonal is compared, s > t: no token sees a later one.",
            st.tuples(sizes(2, 12)),
            part=above_the_diagonal,
        ),
        Probe("Everything is compared: every token sees all earlier ones, s < t.", st.tuples(sizes(1, 40))),
    ),
    in_model=operation("attention", attention_with),
)


@exercise.formulation
def causal_mask_in_steps(T):
    t = np.arange(T)[:, None]
    s = np.arange(T)
    return s <= t


@exercise.mistake(
    "Your mask is off by one: position t also sees t + 1, the very token that it must predict. The mask is True where "
    "s <= t."
)
def next_token_visible(T):
    return np.tri(T, k=1, dtype=bool)


@exercise.mistake(
    "Your mask is off by one: position t does not see itself. The mask is True where s <= t, not only where s < t."
)
def itself_hidden(T):
    return np.tri(T, k=-1, dtype=bool)


@exercise.mistake(
    "Your mask is transposed: position t sees itself and the future. Row t is the position that looks, column s the "
    "one that it looks at, and the mask is True where s <= t."
)
def future_visible(T):
    return np.tri(T, dtype=bool).T


@exercise.mistake("Your mask is True where a position is hidden. It must be True where t may look at s.")
def true_where_hidden(T):
    return ~np.tri(T, dtype=bool)


@exercise.mistake("Your mask hides nothing. It must be False where s > t.")
def everything_visible(T):
    return np.ones((T, T), bool)


@exercise.mistake("Your tokens see only themselves. The past is visible, too: the mask is True wherever s <= t.")
def only_itself_visible(T):
    return np.eye(T, dtype=bool)


@exercise.mistake(
    "Your tokens see only themselves and one token before. The whole past is visible: the mask is True wherever s <= t."
)
def only_past_of_one_visible(T):
    return np.tri(T, dtype=bool) & ~np.tri(T, k=-2, dtype=bool)


@exercise.mistake(
    "Your mask has 0 and -inf, to be added to scores. That is another convention; this function returns True and False."
)
def numbers_to_add(T):
    return np.where(np.tri(T), 0.0, -np.inf)


@exercise.mistake(
    "Your mask has the numbers 1 and 0 instead of True and False. A mask is an array of bool, as the comparison s <= t "
    "gives."
)
def ones_and_zeros(T):
    return np.tri(T)
