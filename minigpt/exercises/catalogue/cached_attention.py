"""Exercise cached_attention, notebook 07: attention of new tokens with a cache."""

import numpy as np
from hypothesis import strategies as st

from minigpt.cache import KVCache
from minigpt.exercises.catalogue.softmax import maximum_not_subtracted
from minigpt.exercises.drawing import (
    HUGE_SCORE_ENTRIES,
    arrays,
    large_input,
    numbers,
    sizes,
    small_integers,
    whole_numbers,
)
from minigpt.exercises.exercise import TOLERANCE_NEAR_1000, Exercise, Probe
from minigpt.exercises.placing import WrongResultError, require_shape
from minigpt.model import causal_mask
from minigpt.ops import plain
from minigpt.ops.plain import softmax


def cached_attention(q, k, v, k_cache, v_cache):
    """Attention over the cached tokens and the new ones."""
    k, v = appended(k, v, k_cache, v_cache)
    return plain.attention(q[None], k[None], v[None])[0], k, v


def appended(k, v, k_cache, v_cache):
    """Return the keys and values of all tokens, [H, P + T, K] each."""
    return np.concatenate([k_cache, k], axis=1), np.concatenate([v_cache, v], axis=1)


@st.composite
def cached(draw, past, new, heads=st.just(1), q=whole_numbers(-2, 2), k=whole_numbers(-2, 2), v=whole_numbers(-2, 2)):
    """Draw q, k, v of `new` tokens and the caches of `past` tokens; past, new and heads are strategies for numbers.

    q, k, v: strategies for their entries, old and new.
    """
    H, P, T, K = draw(heads), draw(past), draw(new), draw(sizes())
    q, k, k_cache = (draw(arrays(H, n, K, elements=elements)) for n, elements in ((T, q), (T, k), (P, k)))
    v, v_cache = (draw(arrays(H, n, K, elements=v)) for n in (T, P))
    return q, k, v, k_cache, v_cache


def cached_attention_in_model(model, function):
    """Run a text in three pieces: all but four tokens, then three at once, and the last one alone."""

    def attention(q, k, v):
        past = k.shape[2] - q.shape[2]

        def heads(q, k, v):
            results = function(q, k[:, past:], v[:, past:], k[:, :past], v[:, :past])
            if not isinstance(results, tuple):
                raise WrongResultError("it must return 3 values, heads, k_cache, v_cache, not an array alone")
            return require_shape(results[0], q.shape)

        return np.array([heads(*text) for text in zip(q, k, v, strict=True)])

    changed = model.with_ops(attention=attention)

    def forward(ids, trace):
        cache = KVCache(model.config, dtype=model.dtype)
        cuts = sorted({max(1, len(ids) - 4), max(1, len(ids) - 1)})
        pieces = [piece for piece in np.split(ids, cuts) if len(piece)]
        return np.concatenate([changed(piece, cache=cache) for piece in pieces])

    return forward


exercise = Exercise(
    name="cached_attention",
    notebook="07_kv_cache",
    order=1,
    signature="cached_attention(q, k, v, k_cache, v_cache)",
    task="Causal attention of T new tokens that follow P cached ones. q, k, v [H, T, K] belong to the new tokens, "
    "k_cache, v_cache [H, P, K] to those before (P may be 0). Append the new keys and values to the cached ones. New "
    "token t, the (P + t)-th of the text, attends to all tokens up to itself: heads = softmax(q k^T / sqrt(K) + mask) "
    "v. Return heads [H, T, K] and the longer caches, keys and values [H, P + T, K]; do not change the given caches.",
    reference=cached_attention,
    returns=("heads", "k_cache", "v_cache"),
    uses=("minigpt.ops.plain.softmax", "minigpt.model.causal_mask"),
    probes=(
        Probe(
            "Look at the returned keys: the cached ones first, then the new ones.",
            cached(sizes(1, 3), sizes(1, 3)),
            part=lambda result: result[1],
        ),
        Probe(
            "Look at the returned values: the cached ones first, then the new ones.",
            cached(sizes(1, 3), sizes(1, 3)),
            part=lambda result: result[2],
        ),
        Probe(
            "The cache is empty: the heads are those of ordinary causal attention.",
            cached(st.just(0), sizes()),
            part=lambda result: result[0],
        ),
        Probe(
            "One new token after cached ones. It is the last of the text, and attends to all of them and itself.",
            cached(sizes(), st.just(1)),
            part=lambda result: result[0],
        ),
        Probe(
            "Several new tokens after cached ones. Each attends to the whole cache and, of the new tokens, to itself "
            "and those before it. Row t of the mask is that of position P + t.",
            cached(sizes(1, 3), sizes(2, 4)),
            part=lambda result: result[0],
        ),
        Probe(
            "q and k are large here, and scores at least 800 apart. exp of such a number is inf: the softmax must "
            "subtract the maximum of each row first. A score hidden with -100 is still above a visible one of -1600: "
            "hide with -inf.",
            cached(sizes(1, 3), sizes(2, 4), q=HUGE_SCORE_ENTRIES, k=HUGE_SCORE_ENTRIES),
            part=lambda result: result[0],
            tolerance=TOLERANCE_NEAR_1000,
        ),
        Probe(
            "All scores are -1600 or less here, and equal: every token gives all tokens that it sees equal weights. If "
            "later ones have weight, you hid them with a larger number: hide with -inf.",
            cached(sizes(1, 3), sizes(2, 4), q=st.just(40.0), k=st.just(-40.0)),
            part=lambda result: result[0],
            tolerance=TOLERANCE_NEAR_1000,
        ),
        Probe(
            "Any number of new and cached tokens, and of heads.",
            cached(sizes(0, 4), sizes(), sizes(1, 2), q=numbers(-2, 2), k=numbers(-2, 2), v=numbers(-2, 2)),
        ),
        large_input(lambda rng: tuple(small_integers(rng, 1, n, 4) for n in (30, 30, 30, 50, 50))),
    ),
    in_model=cached_attention_in_model,
)


@exercise.formulation
def cached_attention_in_steps(q, k, v, k_cache, v_cache):
    keys = np.concatenate([k_cache, k], axis=1)
    values = np.concatenate([v_cache, v], axis=1)
    H, T, K = q.shape  # noqa: RUF059 (the rules put one size for another)
    P = k_cache.shape[1]
    S = P + T
    scores = q @ keys.swapaxes(-1, -2) / np.sqrt(K)
    visible = np.tri(T, S, P, dtype=bool)
    masked = np.where(visible, scores, -np.inf)
    exps = np.exp(masked - masked.max(axis=-1, keepdims=True))
    weights = exps / exps.sum(axis=-1, keepdims=True)
    return weights @ values, keys, values


def heads_of(q, k, v, mask, scale=None):
    """softmax(q k^T scale) v with any mask and scale."""
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    return softmax(np.where(mask, q @ k.swapaxes(-1, -2) * scale, -np.inf)) @ v


@exercise.mistake(
    "Your mask begins at the left: new token t attends to positions 0 to t. It is the (P + t)-th of the text, so the "
    "mask is shifted by the length of the cache."
)
def cached_mask_from_the_left(q, k, v, k_cache, v_cache):
    k, v = appended(k, v, k_cache, v_cache)
    return heads_of(q, k, v, np.tri(q.shape[1], k.shape[1], dtype=bool)), k, v


@exercise.mistake(
    "Your new tokens see later ones. With one new token nothing is hidden, but the first of several must not see those "
    "after it."
)
def cached_without_mask(q, k, v, k_cache, v_cache):
    k, v = appended(k, v, k_cache, v_cache)
    return heads_of(q, k, v, True), k, v


def right_mask(q, k):
    return causal_mask(q.shape[1], k.shape[1])


@exercise.mistake("You put the new keys and values before the cached ones. The text continues at its end.")
def cached_new_first(q, k, v, k_cache, v_cache):
    k, v = appended(k_cache, v_cache, k, v)
    return heads_of(q, k, v, right_mask(q, k)), k, v


@exercise.mistake(
    "You divide the scores by the root of the number of keys. The K in sqrt(K) is the width of a head, the last size "
    "of q, however long the cache is."
)
def cached_scaled_by_tokens(q, k, v, k_cache, v_cache):
    k, v = appended(k, v, k_cache, v_cache)
    return heads_of(q, k, v, right_mask(q, k), k.shape[1] ** -0.5), k, v


@exercise.mistake("You do not divide the scores by sqrt(K).")
def cached_without_scale(q, k, v, k_cache, v_cache):
    k, v = appended(k, v, k_cache, v_cache)
    return heads_of(q, k, v, right_mask(q, k), 1.0), k, v


@exercise.mistake(
    "You take exp of scores as they are, which is inf for large ones, and inf / inf is NaN. Subtract each row's "
    "maximum first: it cancels in the fraction."
)
def cached_overflows(q, k, v, k_cache, v_cache):
    k, v = appended(k, v, k_cache, v_cache)
    scores = np.where(right_mask(q, k), q @ k.swapaxes(-1, -2) * q.shape[-1] ** -0.5, -np.inf)
    return maximum_not_subtracted(scores) @ v, k, v


@exercise.mistake(
    "You subtract the maximum of all scores of a row, and mask afterwards. If the largest score is a hidden one, all "
    "visible scores can be so far below it that their exp is 0, and 0 / 0 is NaN: use the maximum of the visible "
    "scores."
)
def cached_maximum_before_mask(q, k, v, k_cache, v_cache):
    k, v = appended(k, v, k_cache, v_cache)
    scores = q @ k.swapaxes(-1, -2) * q.shape[-1] ** -0.5
    scores = np.where(right_mask(q, k), scores - scores.max(axis=-1, keepdims=True), -np.inf)
    return maximum_not_subtracted(scores) @ v, k, v


@exercise.mistake("You return only the new keys and values. The next step needs those of the whole text.")
def cached_returns_new(q, k, v, k_cache, v_cache):
    return cached_attention(q, k, v, k_cache, v_cache)[0], k, v


@exercise.mistake(
    "You return the caches as they were given. Append the new keys and values; otherwise the next step does not see "
    "these tokens."
)
def cached_returns_old(q, k, v, k_cache, v_cache):
    return cached_attention(q, k, v, k_cache, v_cache)[0], k_cache, v_cache


@exercise.mistake(
    "Your new tokens attend only to each other. They attend to the cached keys and values as well, which are kept for "
    "that."
)
def cached_attends_to_new(q, k, v, k_cache, v_cache):
    return heads_of(q, k, v, right_mask(q, k)), *appended(k, v, k_cache, v_cache)


@exercise.mistake(
    "Your new tokens attend only to the cached ones. Each attends to itself, too: append its key and value before you "
    "compute the scores."
)
def cached_attends_to_old(q, k, v, k_cache, v_cache):
    return heads_of(q, k_cache, v_cache, True), *appended(k, v, k_cache, v_cache)
