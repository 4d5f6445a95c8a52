"""Beam search: keep the most probable sequences at every step, and return the best that finished."""

import numpy as np

from minigpt.generation.reader import Reader
from minigpt.generation.sampling import (
    apply_filters,
    draw_without_replacement,
    log_softmax,
    require_candidates,
    top_indices,
)
from minigpt.generation.stopping import finished_rows

EMPTY_BEAM_SCORE = -1e9  # score of an empty beam; also added to the score of a beam that must not continue


def beam_search(model, tokens, padding, options, criteria=(), watch=None):
    """Continue prompts by beam search;  tokens [B, T] -> int64 [B * num_return_sequences, T + new tokens].

    Extend every beam by every token. The best of all these candidates continue, and those that end a text compete by
    sum(log p) / length ** length_penalty, where length counts new tokens. With do_sample the candidates are drawn
    instead of taken from the top.

    watch(sequences, scores, ends, continues) is called at every step with the n candidates of each prompt, best first:
    their ids so far [B, n, T], sums of log p [B, n], and which end here and which continue, both bool [B, n].
    """
    B, n_prompt = tokens.shape
    beams, n_total = options.num_beams, tokens.shape[1] + options.max_new_tokens
    n_eos = len(options.eos_token_id)
    # Filters keep one token more than there are end-of-text ids: even if the best candidates of every beam end the
    # text, num_beams others must be left to continue.
    min_keep = max(2, 1 + n_eos)
    n_candidates = min_keep * beams
    if min_keep > model.config.vocab_size:
        raise ValueError(
            f"num_beams = {beams} with {n_eos} end-of-text ids is too much for {model.config.vocab_size} tokens"
        )
    each = np.arange(B)[:, None]  # array[each, picked[B, n]] takes n entries of every prompt
    rng = np.random.default_rng(options.seed)

    running = np.full((B, beams, n_total), options.pad_token_id, np.int64)
    running[:, :, :n_prompt] = tokens[:, None]
    running_scores = np.full((B, beams), EMPTY_BEAM_SCORE)
    running_scores[:, 0] = 0.0  # all beams still hold the same prompt: only the first one counts
    finished = FinishedBeams(running, n_prompt, options)
    row_padding = np.repeat(np.zeros(B, int) if padding is None else padding, beams)

    reader = Reader(model, B, n_total, padding, options.slide, options.cache_dtype)
    for length in range(n_prompt, n_total):
        rows = running[:, :, :length].reshape(B * beams, length)
        if length == n_prompt:
            logits = np.repeat(reader.next_logits(tokens), beams, axis=0)
            reader.select(np.repeat(np.arange(B), beams))
        else:
            logits = reader.next_logits(rows)
        unpadded = [row[start:] for row, start in zip(rows, row_padding, strict=True)]
        logprobs = apply_filters(log_softmax(logits), unpadded, options, min_keep, length - n_prompt)
        logprobs = logprobs.reshape(B, beams, -1)
        if options.do_sample:
            beam, token, scores = draw_extensions(logprobs, running_scores, n_candidates, rng)
        else:
            beam, token, scores = best_extensions(logprobs, running_scores, n_candidates)
        require_candidates(scores)
        candidates = running[each, beam]  # [B, n_candidates, n_total]
        candidates[:, :, length] = token
        flat = candidates[:, :, : length + 1].reshape(B * n_candidates, length + 1)
        ends = finished_rows(flat, options, criteria).reshape(B, n_candidates) | (length + 1 == n_total)

        continuing_scores = scores + EMPTY_BEAM_SCORE * ends
        chosen = top_indices(continuing_scores, beams)
        running, running_scores = candidates[each, chosen], np.take_along_axis(continuing_scores, chosen, axis=1)
        finished.add(candidates, scores, ends, length + 1 - n_prompt)
        if watch is not None:
            continues = (np.arange(n_candidates) == chosen[:, :, None]).any(axis=1) & ~ends
            watch(candidates[:, :, : length + 1], scores, ends, continues)
        if ends.all() or finished.is_done(running_scores[:, 0], length + 1 - n_prompt):
            break
        reader.select((each * beams + beam[each, chosen]).ravel())  # beam b of prompt i is row i * beams + b
    return finished.best_sequences()


def best_extensions(logprobs, running_scores, n):
    """Return the n best ways to extend the beams of each prompt by a token: beams, tokens and scores, each [B, n].

    logprobs [B, beams, V], running_scores [B, beams]. The n best of all are among the n best of each beam.
    """
    tokens = np.array([top_indices(of_beams, n) for of_beams in logprobs])  # [B, beams, n, or V if that is less]
    scores = np.take_along_axis(logprobs, tokens, axis=2) + running_scores[:, :, None]
    best = top_indices(scores.reshape(len(scores), -1), n)
    beam, place = np.divmod(best, tokens.shape[2])
    each = np.arange(len(scores))[:, None]
    return beam, tokens[each, beam, place], scores[each, beam, place]


def draw_extensions(logprobs, running_scores, n, rng):
    """Draw n different ways to extend the beams of each prompt, with probabilities softmax(scores); as above."""
    B, _, V = logprobs.shape
    scores = (logprobs + running_scores[:, :, None]).reshape(B, -1)
    drawn = np.array([draw_without_replacement(row, n, rng) for row in scores])
    return *np.divmod(drawn, V), np.take_along_axis(scores, drawn, axis=1)


class FinishedBeams:
    """The best finished sequences of every prompt, num_beams at most, and whether better ones can still come."""

    def __init__(self, running, n_prompt, options):
        B, beams, _ = running.shape
        self.options = options
        self.n_prompt = n_prompt
        self.sequences = running.copy()
        self.scores = np.full((B, beams), EMPTY_BEAM_SCORE)
        self.lengths = np.zeros((B, beams), int)  # new tokens
        self.filled = np.zeros((B, beams), bool)  # which places hold a finished sequence
        self.improvable = np.ones(B, bool)  # which prompts may still finish better sequences

    def add(self, candidates, scores, ends, length):
        """Add the candidates that end and rank among the first num_beams; lower ones can only continue."""
        beams = self.sequences.shape[1]
        taken = ends & (np.arange(ends.shape[1]) < beams) & self.improvable[:, None]
        if self.options.early_stopping is True:
            taken &= ~self.filled.all(axis=1, keepdims=True)
        scores = np.where(taken, scores / length**self.options.length_penalty, EMPTY_BEAM_SCORE)

        scores = np.concatenate([self.scores, scores], axis=1)
        best = top_indices(scores, beams)
        each = np.arange(len(best))[:, None]
        self.scores = scores[each, best]
        self.sequences = np.concatenate([self.sequences, candidates], axis=1)[each, best]
        self.lengths = np.concatenate([self.lengths, np.full(ends.shape, length)], axis=1)[each, best]
        self.filled = np.concatenate([self.filled, taken], axis=1)[each, best]

    def is_done(self, best_running, length):
        """Return whether the search can stop: no running sequence can beat the worst finished one of its prompt.

        best_running [B]: each prompt's best sum of log p. It is divided by length ** length_penalty; with
        early_stopping="never" and a positive penalty, length is the greatest possible. With early_stopping=True the
        search also stops when all places are filled.
        """
        options = self.options
        if options.early_stopping == "never" and options.length_penalty > 0:
            length = options.max_new_tokens
        worst = self.scores.min(axis=1)  # EMPTY_BEAM_SCORE while a place is free
        self.improvable &= best_running / length**options.length_penalty > worst
        return not self.improvable.any() or (options.early_stopping is True and self.filled.all())

    def best_sequences(self):
        """Return the num_return_sequences best of each prompt, best first, as int64 [N, T + new tokens]."""
        n = self.options.num_return_sequences
        longest = self.lengths[:, :n].max(initial=0)
        return self.sequences[:, :n, : self.n_prompt + longest].reshape(-1, self.n_prompt + longest)
