"""Speculative decoding: draft the next tokens cheaply, read them all at once, keep those that the model agrees with.

Memory sets the pace of a new token: every weight is fetched, to be used once. So a few tokens that are read together
take little longer than one. The text that comes out is the model's own: in greedy search the same tokens (rounding may
decide a tie otherwise), in sampling the same distribution. A draft comes from the text itself (PromptLookup) or from a
smaller model (Assistant).

Leviathan et al. 2023, "Fast Inference from Transformers via Speculative Decoding".
"""

import numpy as np

from minigpt.config import GPT2Config
from minigpt.generation.reader import Reader
from minigpt.generation.sampling import apply_filters, draw_token, require_candidates, row_generators
from minigpt.generation.stopping import finished_rows
from minigpt.ops.plain import softmax

MAX_DRAFT = 7  # tokens; with the one before them 8 rows, which the kernels still read in one pass over the weights
ROW_COST = 0.4  # at most the time of reading one more token in the same pass, as a share of the time of the first
MEMORY = 0.8  # the weight of a guess in the acceptance rate, as a share of that of the next one
FIRST_REST = 4  # tokens


def speculative_tokens(model, tokens, padding, options, drafter, criteria=()):
    """Yield the ids that continue one prompt [1, T], each as int64 [1], as greedy search or sampling would.

    Every pass reads the last token and the draft: that gives the scores for each drafted token and for one more. The
    draft is followed as far as it is right, so a pass yields at least one token.
    """
    n_prompt, n_total = tokens.shape[1], tokens.shape[1] + options.max_new_tokens
    text = np.empty(n_total, np.int64)
    text[:n_prompt] = tokens[0]
    first = 0 if padding is None else padding[0]
    (rng,) = row_generators(options.seed, 1)
    reader = Reader(model, 1, n_total, padding, options.slide, options.cache_dtype)
    length = n_prompt
    while length < n_total:
        room = min(reader.room_after(length), n_total - length - 1)
        draft, draft_scores = drafter.draft(text[first:length], room, rng)
        start, end = length, length + len(draft)
        text[start:end] = draft
        for i, logits in enumerate(reader.last_logits(text[None, :end], len(draft) + 1)[0]):
            scores = apply_filters(logits[None], [text[first:length]], options, n_new=length - n_prompt)
            require_candidates(scores)
            if i < len(draft_scores):
                p, q = (softmax(each.astype(np.float64)) for each in (scores[0], draft_scores[i]))
                token = accept(p, q, draft[i], rng.random(2))
            else:
                token = choose_token(scores[0], options, rng)
            text[length] = token
            length += 1
            yield text[length - 1 : length]
            if finished_rows(text[None, :length], options, criteria)[0]:
                return
            if i < len(draft) and token != draft[i]:
                break
        reader.keep(length - 1)  # the last token has not been read
        drafter.learn(text[start:length])


def choose_token(scores, options, rng):
    """Return the most probable token, or with do_sample one that is drawn;  scores [V].

    A draft from the text itself has no scores. To draw as ever, and to see whether it is the drafted token, is `accept`
    with q = 1 for that token; so the same seed gives the same text as without a draft.
    """
    return draw_token(scores, rng) if options.do_sample else scores.argmax()


def accept(p, q, token, u):
    """Return a token with the distribution p: the one that was drawn from q, or another in its place.

    Keep it with probability min(1, p_token / q_token); otherwise draw one with the probabilities max(0, p - q) / sum.
    Both together: q min(1, p / q) + max(0, p - q) = min(p, q) + max(0, p - q) = p.

    p, q [V]: probabilities of the model and of the draft. u [2]: uniform numbers in [0, 1), for keeping and for
    drawing. Leviathan et al. 2023, algorithm 1 and appendix A.1.
    """
    missing = np.maximum(p - q, 0)
    if u[0] * q[token] < p[token] or not missing.any():  # nothing is missing only if p and q differ by rounding
        return token
    cumulative = np.cumsum(missing)
    return np.searchsorted(cumulative, u[1] * cumulative[-1], side="right")


class DraftLength:
    """How many tokens to draft: the more, the more of the earlier guesses were right.

    most: never more than this. cost: the time of drafting and reading one more token, as a share of that of one token
    without a draft.
    """

    def __init__(self, most, cost):
        self.n = np.arange(most + 1)
        self.time = 1 + cost * self.n
        self.right, self.counted = 1.0, 2.0  # an acceptance rate of 1/2, which soon gives way to what is counted

    def best(self):
        """Return the n with the most tokens in a given time: n drafted tokens give 1 + a + ... + a^n in 1 + n cost.

        a is the acceptance rate, the share of guesses that are right. Leviathan et al. 2023, theorem 3.8.
        """
        rate = self.right / self.counted
        return int(np.argmax(np.cumsum(rate**self.n) / self.time))

    def count(self, guesses, tokens):
        """Compare guesses with the tokens that came. Those after the first wrong one belong to another text."""
        for guess, token in zip(guesses, tokens, strict=False):
            self.right = MEMORY * self.right + (guess == token)
            self.counted = MEMORY * self.counted + 1


class PromptLookup:
    """Drafts what followed the last tokens where they stood before, and goes on from there as long as that is right.

    Guesses are free, so there is one for every token that comes; they are only read if enough of them were right.
    """

    def __init__(self, options):
        self.max_ngram_size = options.max_matching_ngram_size
        self.length = DraftLength(min(options.prompt_lookup_num_tokens, MAX_DRAFT), ROW_COST)
        self.source = None  # the place in the text from which the next token is copied

    def draft(self, ids, room, rng):
        """Return at most `room` tokens to follow ids [T], without scores: they were not drawn."""
        if self.source is None:
            self.source = find_repetition(ids, self.max_ngram_size)
        if self.source is None:
            self.guesses = ids[:0]
            return self.guesses, []
        # What is copied from beyond the end is copied from the copy.
        self.guesses = ids[self.source + np.arange(MAX_DRAFT + 1) % (len(ids) - self.source)]
        return self.guesses[: min(room, self.length.best())], []

    def learn(self, tokens):
        """Take notice of the tokens that came."""
        self.length.count(self.guesses, tokens)
        is_right = np.array_equal(self.guesses[: len(tokens)], tokens)
        self.source = self.source + len(tokens) if is_right else None


def find_repetition(ids, max_ngram_size):
    """Return the place after the last earlier occurrence of the last tokens of ids [T], or None.

    The last max_ngram_size tokens are looked for; if they do not occur before, as many of them as do.
    """
    ends = np.flatnonzero(ids[:-1] == ids[-1])
    for back in range(1, min(max_ngram_size, len(ids))):
        longer = ends[(ends >= back) & (ids[ends - back] == ids[-1 - back])]
        if not longer.size:
            break
        ends = longer
    return int(ends[-1]) + 1 if ends.size else None


class Assistant:
    """Drafts with a smaller model. If too little of it is accepted it rests, each time four times as long."""

    def __init__(self, assistant, model, n_prompt, options):
        self.options = options
        self.n_prompt = n_prompt
        n_total = n_prompt + options.max_new_tokens
        self.reader = Reader(assistant, 1, n_total, None, slide=True, cache_dtype=options.cache_dtype)
        # Fewer than there are in a new window, which then always has some of the text before the draft.
        self.most = min(MAX_DRAFT, max(1, assistant.config.n_positions // 2) - 1)
        share = assistant.config.parameter_count() / model.config.parameter_count()
        self.length = DraftLength(self.most, ROW_COST + share)
        self.rest, self.next_rest = 0, FIRST_REST  # tokens

    def draft(self, ids, room, rng):
        """Return at most `room` tokens to follow ids [T] and, in sampling, the scores that each was drawn from."""
        self.reader.keep(len(ids) - 1)
        n = min(room, self._next_length()) if room else 0
        text, scores = np.append(ids, np.empty(n, np.int64)), []
        for length in range(len(ids), len(text)):
            logits = self.reader.next_logits(text[None, :length])
            row = apply_filters(logits, [text[:length]], self.options, n_new=length - self.n_prompt)[0]
            if np.isneginf(row.max()):
                break  # no_repeat_ngram_size forbids every token here
            text[length] = choose_token(row, self.options, rng)
            scores.append(row)
        self.drafted = text[len(ids) : len(ids) + len(scores)]
        return self.drafted, scores if self.options.do_sample else []

    def _next_length(self):
        n = self.length.best()
        if n > 0:
            return n
        if self.rest > 0:
            self.rest -= 1
            return 0
        self.rest, self.next_rest = self.next_rest, 4 * self.next_rest
        return min(1, self.most)  # a try

    def learn(self, tokens):
        """Take notice of the tokens that came."""
        self.length.count(self.drafted, tokens)
        if self.drafted.size and self.drafted[0] == tokens[0]:
            self.rest, self.next_rest = 0, FIRST_REST


def choose_drafter(model, assistant_model, tokens, options):
    """Return what drafts for this model, or None. Raises ValueError for what cannot be drafted for, or cannot draft."""
    if assistant_model is None and options.prompt_lookup_num_tokens is None:
        return None
    name = "prompt_lookup_num_tokens" if assistant_model is None else "assistant_model"
    if len(tokens) * options.num_return_sequences > 1 or options.num_beams > 1:
        raise ValueError(f"{name} is for one prompt and one continuation, without beams: leave it out")
    if assistant_model is None:
        return PromptLookup(options)
    if options.prompt_lookup_num_tokens is not None:
        raise ValueError("assistant_model and prompt_lookup_num_tokens both draft: give one of them")
    if not isinstance(getattr(assistant_model, "config", None), GPT2Config):
        raise ValueError(f"assistant_model must be a GPT2, not {type(assistant_model).__name__}")
    V, other_V = model.config.vocab_size, assistant_model.config.vocab_size
    if other_V != V:
        raise ValueError(
            f"assistant_model has a vocabulary of {other_V} tokens, the model one of {V}: they must have the same"
        )
    return Assistant(assistant_model, model, tokens.shape[1], options)
