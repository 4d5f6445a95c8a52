"""From logits to the next token: the filters that shape the distribution, and the draw.

Each filter takes scores [N, V], one row a sequence, and returns new ones; a token that is filtered out gets -inf. The
names, defaults and edge cases are those of Hugging Face's generate. `process` applies them in the order in which they
stand here; without do_sample only repetition_penalty and no_repeat_ngram.
"""

import numpy as np

from minigpt.ops.plain import softmax


def log_softmax(x):
    """log softmax(x)_i = x_i - log sum_j exp(x_j) along the last axis, without the overflow of exp."""
    shifted = x - x.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def repetition_penalty(scores, texts, penalty):
    """Make tokens that stand in the text less likely: s / penalty where s > 0, s * penalty where s < 0.

    Once per distinct token, however often it occurs. texts: one array of ids per row.
    Keskar et al. 2019, section 4.1.
    """
    scores = scores.copy()
    for row, text in zip(scores, texts, strict=True):
        # Every occurrence writes the same value, made of the score as it was.
        row[text] = np.where(row[text] < 0, row[text] * penalty, row[text] / penalty)
    return scores


def no_repeat_ngram(scores, texts, n):
    """Forbid every token that would complete a run of n tokens which the text already has. n = 1: no token twice."""
    scores = scores.copy()
    for row, text in zip(scores, texts, strict=True):
        if len(text) >= n:
            runs = np.lib.stride_tricks.sliding_window_view(text, n)  # [len(text) - n + 1, n]
            ending = text[len(text) - n + 1 :]
            row[runs[(runs[:, :-1] == ending).all(axis=1), -1]] = -np.inf
    return scores


def temperature(scores, temperature):
    """scores / temperature: below 1 sharpens the distribution, above 1 flattens it."""
    return scores / temperature


def top_k(scores, k, min_keep=1):
    """Keep the k highest scores, and all that tie with the k-th.    Fan et al. 2018, section 5.4"""
    k = min(max(k, min_keep), scores.shape[-1])
    kept = np.full_like(scores, -np.inf)
    for row, kept_row in zip(scores, kept, strict=True):
        tokens = np.flatnonzero(row >= row[highest(row, k)[-1]])
        kept_row[tokens] = row[tokens]
    return kept


def highest(scores, n):
    """The indices of the n highest scores, highest first; scores [M] without NaN, n <= M.

    Among the maxima of blocks, n are at least as high as the n-th of them: scores below that one are not among the n
    highest, and nearly all of a vocabulary lies below.
    """
    maxima = scores[: len(scores) // 64 * 64].reshape(-1, 64).max(axis=1)
    bound = np.partition(maxima, -n)[-n] if n <= len(maxima) else -np.inf
    candidates = np.flatnonzero(scores >= bound)
    return candidates[np.argsort(-scores[candidates], kind="stable")[:n]]


def top_p(scores, p, min_keep=1):
    """Keep the most probable tokens whose mass first reaches p: a token stays if those above it hold less than p.

    Holtzman et al. 2020, section 3.1 ("nucleus sampling").
    """
    order = np.argsort(scores, axis=-1, kind="stable")  # the least probable first
    sorted_scores = np.take_along_axis(scores, order, axis=-1)
    # The sum up to a token from below is 1 - (mass above it).
    drop = np.cumsum(softmax(sorted_scores), axis=-1) <= 1 - p
    drop[:, -min_keep:] = False
    return _without(scores, order, drop)


def min_p(scores, p, min_keep=1):
    """Keep tokens with at least p times the probability of the most probable one.    Nguyen et al. 2024, section 3"""
    order = np.argsort(scores, axis=-1, kind="stable")
    probs = np.take_along_axis(softmax(scores), order, axis=-1)
    drop = probs < p * probs[:, -1:]
    drop[:, -min_keep:] = False
    return _without(scores, order, drop)


def typical_p(scores, p, min_keep=1):
    """Keep the tokens whose surprise -log p is nearest to the expected surprise, the entropy, until their mass is p.

    Meister et al. 2023, section 4. Tokens that tie with the last one kept stay.
    """
    logprobs = log_softmax(scores)
    with np.errstate(invalid="ignore"):  # 0 * -inf: a token already filtered out adds nothing to the entropy
        entropy = -np.nansum(np.exp(logprobs) * logprobs, axis=-1, keepdims=True)
    distance = np.abs(-logprobs - entropy)
    order = np.argsort(distance, axis=-1, kind="stable")  # the most typical first
    distance = np.take_along_axis(distance, order, axis=-1)
    cumulative = np.cumsum(softmax(np.take_along_axis(scores, order, axis=-1)), axis=-1)
    last = np.minimum((cumulative < p).sum(axis=-1, keepdims=True), scores.shape[-1] - 1)
    drop = distance > np.take_along_axis(distance, last, axis=-1)
    drop[:, :min_keep] = False
    return _without(scores, order, drop)


def _without(scores, order, drop):
    """scores with -inf where `drop` is set; drop refers to the sorted order."""
    dropped = np.empty_like(drop)
    np.put_along_axis(dropped, order, drop, axis=-1)
    return np.where(dropped, -np.inf, scores)


def process(scores, texts, options, min_keep=1):
    """All filters that the options ask for, in order; scores [N, V] > [N, V].

    options: a GenerationConfig. texts: the ids so far of each row, without padding. min_keep: the least number of
    tokens that a filter leaves.
    """
    if options.repetition_penalty != 1.0:
        scores = repetition_penalty(scores, texts, options.repetition_penalty)
    if options.no_repeat_ngram_size:
        scores = no_repeat_ngram(scores, texts, options.no_repeat_ngram_size)
    if not options.do_sample:
        return scores
    if options.temperature != 1.0:
        scores = temperature(scores, options.temperature)
    if options.top_k:
        scores = top_k(scores, options.top_k, min_keep)
    if options.top_p is not None and options.top_p < 1.0:
        scores = _among_those_left(top_p, scores, options.top_p, min_keep)
    if options.min_p is not None:
        scores = _among_those_left(min_p, scores, options.min_p, min_keep)
    if options.typical_p is not None and options.typical_p < 1.0:
        scores = _among_those_left(typical_p, scores, options.typical_p, min_keep)
    return scores


def _among_those_left(keep, scores, p, min_keep):
    """The filter `keep` applied to each row without the tokens that are filtered out already: there is less to sort."""
    scores = scores.copy()
    for row in scores:
        left = np.flatnonzero(row > -np.inf)
        if left.size:
            row[left] = keep(row[None, left], p, min_keep)[0]
    return scores


def draw(scores, rngs):
    """One token per row with the probabilities softmax(scores); scores [N, V], a random generator per row > int [N]."""
    return np.array([_draw_one(row, rng) for row, rng in zip(scores, rngs, strict=True)])


def _draw_one(scores, rng):
    candidates = np.flatnonzero(scores > -np.inf)  # after top_k these are few of the vocabulary
    cumulative = np.cumsum(softmax(scores[candidates].astype(np.float64)))
    # The first token whose cumulative probability exceeds a uniform number; one of probability 0 never does.
    return candidates[np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right")]


def draw_without_replacement(scores, n, rng):
    """n different tokens of one row, drawn one after the other with the probabilities softmax(scores); scores [V].

    Adding independent Gumbel noise to the scores and taking the n highest is that same draw (Kool et al. 2019,
    section 2): no renormalising after each token.
    """
    noisy = scores + rng.gumbel(size=scores.shape)
    return np.argsort(-noisy, kind="stable")[:n]


def check_choice_is_left(scores):
    """Raise ValueError if every token of a row is forbidden; scores [..., V]."""
    if np.isneginf(scores.max(axis=-1)).any():
        raise ValueError("no token is left to choose: no_repeat_ngram_size forbids the whole vocabulary")
