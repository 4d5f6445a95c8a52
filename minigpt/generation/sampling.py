"""From logits to the next token: the filters that shape the distribution, and the draw.

Each filter takes scores [N, V], one row per sequence, and returns new ones, -inf for a token that is filtered out. The
names, defaults and edge cases are those of Hugging Face's generate. `apply_filters` applies them in the order in which
they stand in it; those from temperature to eta_cutoff are for sampling only.
"""

import numpy as np

from minigpt.generation.forbidding import bad_words, no_repeat_ngram, suppress_tokens
from minigpt.ops.plain import softmax


def log_softmax(x):
    """log softmax(x)_i = x_i - log sum_j exp(x_j) along the last axis; subtracting the maximum avoids overflow."""
    shifted = x - x.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def repetition_penalty(scores, sequences, penalty):
    """Make the tokens of a sequence less likely to occur again: s / penalty where s > 0, s * penalty where s < 0.

    Applied once per distinct token, however often it occurs. sequences: one array of ids per row.
    Keskar et al. 2019, section 4.1.
    """
    scores = scores.copy()
    for row, ids in zip(scores, sequences, strict=True):
        # Every occurrence writes the same value, computed from the original score.
        row[ids] = np.where(row[ids] < 0, row[ids] * penalty, row[ids] / penalty)
    return scores


def temperature(scores, temperature):
    """scores / temperature: below 1 sharpens the distribution, above 1 flattens it."""
    return scores / temperature


def top_k(scores, k, min_keep=1):
    """Keep the k highest scores, and all that tie with the k-th.    Fan et al. 2018, section 5.4"""
    k = min(max(k, min_keep), scores.shape[-1])
    kept = np.full_like(scores, -np.inf)
    for row, kept_row in zip(scores, kept, strict=True):
        tokens = np.flatnonzero(row >= row[top_indices(row, k)[-1]])
        kept_row[tokens] = row[tokens]
    return kept


def top_indices(scores, n):
    """Return the indices of the n highest scores, highest first;  scores [M] -> [n], or [N, M] -> [N, n]; no NaN.

    The n-th highest of the maxima of groups is a lower bound: at least n scores reach it, and nearly all of a
    vocabulary lies below it, so little is left to sort. A group is a column, because NumPy compares whole rows at once.
    """
    if scores.ndim == 2:
        return np.array([top_indices(row, n) for row in scores])
    maxima = scores[: len(scores) // 64 * 64].reshape(64, -1).max(axis=0)
    bound = np.partition(maxima, -n)[-n] if n <= len(maxima) else -np.inf
    candidates = np.flatnonzero(scores >= bound)
    return candidates[np.argsort(-scores[candidates], kind="stable")[:n]]


def top_p(scores, p, min_keep=1):
    """Keep the most probable tokens whose mass first reaches p: a token stays if those above it hold less than p.

    Holtzman et al. 2020, section 3.1 ("nucleus sampling").
    """
    order = np.argsort(scores, axis=-1, kind="stable")  # the least probable first
    sorted_scores = np.take_along_axis(scores, order, axis=-1)
    # The sum from the least probable token up to this one is 1 - (mass above it).
    remove = np.cumsum(softmax(sorted_scores), axis=-1) <= 1 - p
    remove[:, -min_keep:] = False
    return _remove_sorted(scores, order, remove)


def min_p(scores, p, min_keep=1):
    """Keep tokens with at least p times the probability of the most probable one.    Nguyen et al. 2024, section 3"""
    order = np.argsort(scores, axis=-1, kind="stable")
    probs = np.take_along_axis(softmax(scores), order, axis=-1)
    remove = probs < p * probs[:, -1:]
    remove[:, -min_keep:] = False
    return _remove_sorted(scores, order, remove)


def typical_p(scores, p, min_keep=1):
    """Keep the tokens whose surprise -log p is nearest to the expected surprise, the entropy, until their mass is p.

    Tokens that tie with the last one kept stay. Meister et al. 2023, section 4.
    """
    logprobs = log_softmax(scores)
    with np.errstate(invalid="ignore"):  # 0 * -inf is NaN: a token already filtered out adds nothing to the entropy
        entropy = -np.nansum(np.exp(logprobs) * logprobs, axis=-1, keepdims=True)
    distance = np.abs(-logprobs - entropy)
    order = np.argsort(distance, axis=-1, kind="stable")  # the most typical first
    distance = np.take_along_axis(distance, order, axis=-1)
    cumulative = np.cumsum(softmax(np.take_along_axis(scores, order, axis=-1)), axis=-1)
    last = np.minimum((cumulative < p).sum(axis=-1, keepdims=True), scores.shape[-1] - 1)
    remove = distance > np.take_along_axis(distance, last, axis=-1)
    remove[:, :min_keep] = False
    return _remove_sorted(scores, order, remove)


def epsilon_cutoff(scores, epsilon, min_keep=1):
    """Keep tokens with a probability of at least epsilon.    Hewitt et al. 2022, section 4"""
    return _remove_improbable(scores, epsilon, min_keep)


def eta_cutoff(scores, epsilon, min_keep=1):
    """Keep tokens with a probability of at least eta = min(epsilon, sqrt(epsilon) exp(-entropy)).

    The flatter the distribution, the less probable a token may be. Hewitt et al. 2022, section 4.
    """
    logprobs = log_softmax(scores)
    with np.errstate(invalid="ignore"):  # see typical_p
        entropy = -np.nansum(np.exp(logprobs) * logprobs, axis=-1, keepdims=True)
    return _remove_improbable(scores, np.minimum(epsilon, np.sqrt(epsilon) * np.exp(-entropy)), min_keep)


def _remove_improbable(scores, least, min_keep):
    """Return the scores with -inf for what is less probable than `least`, except the min_keep highest."""
    last = scores.shape[-1] - min(min_keep, scores.shape[-1])
    lowest_kept = np.partition(scores, last, axis=-1)[:, [last]]
    return np.where((softmax(scores) < least) & (scores < lowest_kept), -np.inf, scores)


def _remove_sorted(scores, order, remove):
    """Return the scores with -inf where `remove` is set; remove refers to the sorted order."""
    removed = np.empty_like(remove)
    np.put_along_axis(removed, order, remove, axis=-1)
    return np.where(removed, -np.inf, scores)


def apply_filters(scores, sequences, options, min_keep=1, n_new=0):
    """Apply all filters that the options ask for, in order;  scores [N, V] -> [N, V].

    sequences: the ids so far of each row, without padding. options: a GenerationConfig. min_keep: the fewest tokens
    that a filter of sampling may keep. n_new: how many tokens the sequences have that are not the prompt's.
    """
    if options.repetition_penalty != 1.0:
        scores = repetition_penalty(scores, sequences, options.repetition_penalty)
    if options.no_repeat_ngram_size:
        scores = no_repeat_ngram(scores, sequences, options.no_repeat_ngram_size)
    if options.bad_words_ids:
        scores = bad_words(scores, sequences, options.bad_words_ids)
    if n_new < options.min_new_tokens and options.eos_token_id:
        scores = suppress_tokens(scores, options.eos_token_id)
    if options.suppress_tokens:
        scores = suppress_tokens(scores, options.suppress_tokens)
    for processor in options.logits_processor:
        scores = _processed(processor, scores, sequences)
    if options.do_sample:
        scores = _apply_sampling_filters(scores, options, min_keep)
    return log_softmax(scores) if options.renormalize_logits else scores


def _processed(processor, scores, sequences):
    """Return scores by a function of the user's, which gets one row at a time: rows differ in length."""
    rows = []
    for row, ids in zip(scores, sequences, strict=True):
        result = np.asarray(processor(np.asarray(ids)[None], row[None].copy()))
        if result.shape != (1, row.size):
            raise ValueError(
                f"a logits_processor must return scores of shape {(1, row.size)}, as it got them, not {result.shape}"
            )
        rows.append(result[0])
    return np.array(rows, scores.dtype)


def _apply_sampling_filters(scores, options, min_keep):
    if options.temperature != 1.0:
        scores = temperature(scores, options.temperature)
    if options.top_k:
        scores = top_k(scores, options.top_k, min_keep)
    if options.top_p is not None and options.top_p < 1.0:
        scores = _filter_candidates(top_p, scores, options.top_p, min_keep)
    if options.min_p is not None:
        scores = _filter_candidates(min_p, scores, options.min_p, min_keep)
    if options.typical_p is not None and options.typical_p < 1.0:
        scores = _filter_candidates(typical_p, scores, options.typical_p, min_keep)
    if options.epsilon_cutoff and options.epsilon_cutoff < 1.0:
        scores = epsilon_cutoff(scores, options.epsilon_cutoff, min_keep)
    if options.eta_cutoff and options.eta_cutoff < 1.0:
        scores = eta_cutoff(scores, options.eta_cutoff, min_keep)
    return scores


def _filter_candidates(keep, scores, p, min_keep):
    """Apply the filter `keep` to the tokens of each row that are left: there are fewer to sort."""
    scores = scores.copy()
    for row in scores:
        candidates = np.flatnonzero(row > -np.inf)
        if candidates.size:
            row[candidates] = keep(row[None, candidates], p, min_keep)[0]
    return scores


def row_generators(seed, n):
    """Return a generator for each of n rows, so that a row's draws do not depend on how many other rows there are."""
    seed = np.random.SeedSequence().entropy if seed is None else seed
    return [np.random.default_rng([seed, row]) for row in range(n)]


def draw_tokens(scores, rngs):
    """Draw one token per row with the probabilities softmax(scores);  scores [N, V], a generator per row -> [N]."""
    return np.array([draw_token(row, rng) for row, rng in zip(scores, rngs, strict=True)])


def draw_token(scores, rng):
    """Draw one token with the probabilities softmax(scores);  scores [V] -> an integer."""
    candidates = np.flatnonzero(scores > -np.inf)  # after top_k, few tokens remain
    cumulative = np.cumsum(softmax(scores[candidates].astype(np.float64)))
    # Take the first token whose cumulative probability exceeds a uniform number; one of probability 0 never does.
    return candidates[np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right")]


def draw_without_replacement(scores, n, rng):
    """Draw n different tokens, one after the other, with the probabilities softmax(scores);  scores [V] -> [n].

    Adding independent Gumbel noise to the scores and taking the n highest is the same draw (Kool et al. 2019,
    section 2), without renormalising after each token.
    """
    candidates = np.flatnonzero(scores > -np.inf)  # after top_k, few tokens remain
    if candidates.size < n:
        candidates = np.arange(scores.size)
    noisy = scores[candidates] + rng.gumbel(size=candidates.size)
    return candidates[top_indices(noisy, n)]


def require_candidates(scores):
    """Raise ValueError if every token of a row is forbidden; scores [..., V]."""
    if np.isneginf(scores.max(axis=-1)).any():
        raise ValueError("no token is left to choose: the options forbid the whole vocabulary")
