"""Filters that forbid tokens in every kind of search: scores [N, V] -> [N, V], -inf for a forbidden token."""

import numpy as np


def no_repeat_ngram(scores, sequences, n):
    """Forbid every token that would complete an n-gram which the sequence already has. n = 1: no token twice."""
    scores = scores.copy()
    for row, ids in zip(scores, sequences, strict=True):
        if len(ids) >= n:
            ngrams = np.lib.stride_tricks.sliding_window_view(ids, n)  # [len(ids) - n + 1, n]
            ending = ids[len(ids) - n + 1 :]
            row[ngrams[(ngrams[:, :-1] == ending).all(axis=1), -1]] = -np.inf
    return scores


def bad_words(scores, sequences, words):
    """Forbid the last token of each word where the sequence ends with the others. words: lists of ids."""
    scores = scores.copy()
    for row, ids in zip(scores, sequences, strict=True):
        for *before, last in words:
            if len(ids) >= len(before) and np.array_equal(ids[len(ids) - len(before) :], before):
                row[last] = -np.inf
    return scores


def suppress_tokens(scores, tokens):
    """Forbid these tokens."""
    scores = scores.copy()
    scores[:, tokens] = -np.inf
    return scores
