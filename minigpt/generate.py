"""New tokens from a model, one by one: greedy, sampling, beam search, streaming.

Semantics and defaults are those of Hugging Face's generate, so that its users find what they know.
"""

from dataclasses import dataclass, replace

import numpy as np

from minigpt.cache import KVCache
from minigpt.run import ContextLengthError, checked_ids, left_padding
from minigpt.sampling import check_choice_is_left, draw, draw_without_replacement, highest, log_softmax, process

NEVER = -1e9  # the score of a beam that is not there, and what a beam loses that must not go on


@dataclass(frozen=True)
class GenerationConfig:
    """How to continue a text: the options of generate and stream. Raises ValueError, naming the option."""

    max_new_tokens: int = 20
    do_sample: bool = False  # draw from the distribution; otherwise always take the most probable token
    temperature: float = 1.0  # this and the next four take part in sampling only
    top_k: int | None = 50
    top_p: float | None = 1.0
    min_p: float | None = None
    typical_p: float | None = None
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    num_beams: int = 1  # above 1: beam search, or beam sampling with do_sample
    length_penalty: float = 1.0  # a finished beam's score is sum(log p) / length ** length_penalty
    early_stopping: bool | str = False  # True: stop at num_beams finished beams; "never": only when none can get better
    num_return_sequences: int = 1
    eos_token_id: int | list[int] | str | None = "config"  # one or several ids that end a text; None: nothing does
    pad_token_id: int | str = "config"  # fills rows that end early; by default the config's, or else the first end
    seed: int | None = None  # the same seed, the same text; None: another text each time
    slide: bool = False  # past n_positions drop the oldest tokens (see Reader) in place of an error

    def __post_init__(self):
        for name, low in (
            ("max_new_tokens", 0),
            ("no_repeat_ngram_size", 0),
            ("num_beams", 1),
            ("num_return_sequences", 1),
        ):
            self._require(name, f"an integer, at least {low}", lambda v, low=low: _is_integer(v) and v >= low)
        # Beyond these bounds float32 overflows, and nobody means it.
        hint = "a number from 1e-6 to 1e6 (greedy search is do_sample=False)"
        self._require("temperature", hint, lambda v: _is_number(v) and 1e-6 <= v <= 1e6)
        self._require("repetition_penalty", "a number from 0.01 to 100", lambda v: _is_number(v) and 0.01 <= v <= 100)
        self._require("length_penalty", "a number from -10 to 10", lambda v: _is_number(v) and -10 <= v <= 10)
        self._require(
            "top_k", "an integer, at least 0 (0 or None: off)", lambda v: v is None or (_is_integer(v) and v >= 0)
        )
        for name in ("top_p", "min_p", "typical_p"):
            self._require(name, "a number from 0 to 1, or None", lambda v: v is None or (_is_number(v) and 0 <= v <= 1))
        self._require("early_stopping", 'True, False or "never"', lambda v: isinstance(v, bool) or v == "never")
        for name in ("do_sample", "slide"):
            self._require(name, "True or False", lambda v: isinstance(v, bool))
        expected = 'an id, a list of ids or None (nothing ends a text); "config" takes the model\'s'
        self._require(
            "eos_token_id", expected, lambda v: v is None or _is_config(v) or all(map(_is_integer, _as_list(v)))
        )
        self._require("pad_token_id", "an id", lambda v: _is_config(v) or _is_integer(v))
        self._require("seed", "an integer, at least 0, or None", lambda v: v is None or (_is_integer(v) and v >= 0))
        if self.num_return_sequences > 1:
            if self.num_beams == 1 and not self.do_sample:
                raise ValueError("greedy search has one result: num_return_sequences > 1 needs do_sample or num_beams")
            if 1 < self.num_beams < self.num_return_sequences:
                raise ValueError(
                    f"num_return_sequences = {self.num_return_sequences} needs as many beams, not {self.num_beams}"
                )

    def _require(self, name, expected, holds):
        value = getattr(self, name)
        if not holds(value):
            raise ValueError(f"{name} must be {expected}, not {value!r}")

    def with_ids_from(self, config):
        """The same with "config" replaced by the ids of a GPT2Config, and eos_token_id a list."""
        eos = config.eos_token_ids if _is_config(self.eos_token_id) else self.eos_token_id
        eos = [] if eos is None else [int(i) for i in _as_list(eos)]
        pad = self.pad_token_id
        if _is_config(pad):
            # Some configurations keep GPT-2's ids beside a smaller vocabulary: then the first one that it has.
            candidates = (config.pad_token_id, *eos, 0)
            pad = next(i for i in candidates if i is not None and 0 <= i < config.vocab_size)
        if not 0 <= pad < config.vocab_size:
            raise ValueError(f"pad_token_id must be an id in the vocabulary of {config.vocab_size}, not {pad!r}")
        return replace(self, eos_token_id=eos, pad_token_id=pad)


def generate(model, ids, *, attention_mask=None, stopping_criteria=None, watch=None, **options):
    """Continue prompts with the model.

    ids: one prompt [T], prompts of one length [B, T], or a list of prompts of any lengths. Shorter ones are filled at
    the left; an array that already is filled comes with its attention_mask. stopping_criteria: a function of the texts
    so far, int64 [N, T], that returns which rows [N] are finished. watch: see beam_search. options: GenerationConfig's.

    Returns int64 [N, T + new tokens], N = prompts * num_return_sequences: prompts included, end-of-text tokens
    included, rows that ended early filled with pad_token_id. Raises ContextLengthError before any work if the result
    could exceed n_positions, ValueError for other bad input.
    """
    options, tokens, padding = _prepare(model, ids, attention_mask, options)
    if options.num_beams > 1:
        return beam_search(model, tokens, padding, options, stopping_criteria, watch)
    if watch is not None:
        raise ValueError("watch is for beam search: num_beams must be above 1")
    steps = list(_next_tokens(model, tokens, padding, options, stopping_criteria))
    return np.concatenate(
        [np.repeat(tokens, options.num_return_sequences, axis=0), *(s[:, None] for s in steps)], axis=1
    )


def stream(model, ids, *, stopping_criteria=None, **options):
    """Continue one prompt, yielding the ids that generate would append, each as soon as it is found."""
    options, tokens, padding = _prepare(model, ids, None, options)
    if len(tokens) * options.num_return_sequences > 1 or options.num_beams > 1:
        raise ValueError("streaming is for one prompt and one continuation, without beams: use generate")
    return (int(step[0]) for step in _next_tokens(model, tokens, padding, options, stopping_criteria))


class Reader:
    """Runs a model over texts that grow, each token once, and gives the logits of what comes next.

    With slide, a text that outgrows n_positions loses its oldest tokens: the newest n_positions // 2 are read anew, at
    positions from 0, and fill the window again. (Dropping one token at a time would mean reading the whole window for
    every new token, because a token's position is part of its keys and values.)
    """

    def __init__(self, model, batch_size, max_length, padding, slide):
        self.model = model
        self.cache = KVCache(model.config, batch_size, min(max_length, model.config.n_positions), model.dtype)
        self.padding = padding
        self.slide = slide
        self.dropped = 0  # tokens at the left of the texts that are out of the window

    def next_logits(self, texts):
        """texts [N, T], those of the last call and what has come since > logits [N, V] after their last tokens."""
        n_positions = self.model.config.n_positions
        if self.slide and texts.shape[1] - self.dropped > n_positions:
            self.cache.clear()
            self.dropped = texts.shape[1] - max(1, n_positions // 2)
        new = texts[:, self.dropped + self.cache.length :]
        mask = None
        if self.padding is not None and self.cache.length == 0:
            mask = np.arange(self.dropped, texts.shape[1]) >= self.padding[:, None]
        logits = self.model(new, attention_mask=mask, cache=self.cache, last_only=True)[:, 0]
        if np.isnan(logits.max()):  # which is NaN if any logit is
            raise ValueError("the model's logits are not numbers (NaN): its weights are damaged")
        return logits

    def select(self, rows):
        """Go on with text rows[i] as text i."""
        self.cache.select(rows)
        if self.padding is not None:
            self.padding = self.padding[rows]


def _next_tokens(model, tokens, padding, options, stopping_criteria):
    """Greedy search and sampling: yield the next id of every row, int64 [N], until all rows are finished."""
    n_prompt, n_total = tokens.shape[1], tokens.shape[1] + options.max_new_tokens
    rows = np.repeat(np.arange(len(tokens)), options.num_return_sequences)
    texts = np.empty((len(rows), n_total), np.int64)
    texts[:, :n_prompt] = tokens[rows]
    padding_of = np.zeros(len(rows), int) if padding is None else padding[rows]
    # A generator of its own for every row: a row's draws do not depend on how many others there are.
    seed = np.random.SeedSequence().entropy if options.seed is None else options.seed
    rngs = [np.random.default_rng([seed, row]) for row in range(len(rows))]
    finished = np.zeros(len(rows), bool)
    eos_token_ids = np.array(options.eos_token_id, np.int64)

    reader = Reader(model, len(tokens), n_total, padding, options.slide)
    for length in range(n_prompt, n_total):
        if length == n_prompt:  # every prompt is read once, however many continuations it gets
            logits = reader.next_logits(tokens)[rows]
            reader.select(rows)
        else:
            logits = reader.next_logits(texts[:, :length])
        so_far = [text[start:length] for text, start in zip(texts, padding_of, strict=True)]
        scores = process(logits, so_far, options)
        scores[finished] = 0.0  # whatever they draw is replaced by padding
        check_choice_is_left(scores)
        step = draw(scores, rngs) if options.do_sample else scores.argmax(axis=-1)
        step = np.where(finished, options.pad_token_id, step)
        texts[:, length] = step
        finished |= (step[:, None] == eos_token_ids).any(axis=1)
        if stopping_criteria is not None:
            finished |= np.asarray(stopping_criteria(texts[:, : length + 1]))
        yield step
        if finished.all():
            return


def beam_search(model, tokens, padding, options, stopping_criteria=None, watch=None):
    """Keep the num_beams most probable texts at every step, and return the best that finished.

    Every beam is extended by every token; of all these candidates the best go on, and those that end a text compete by
    sum(log p) / length ** length_penalty, where length counts new tokens. With do_sample the candidates are drawn, not
    the best ones taken. Called by generate; tokens [B, T] > int64 [B * num_return_sequences, T + new tokens].

    watch(texts, scores, ends, goes_on) is called with every step's candidates, of each prompt the best first: their ids
    so far [B, n, T], sums of log p [B, n], and bool [B, n], which end here and which the search goes on with.
    """
    B, n_prompt = tokens.shape
    beams, n_total = options.num_beams, tokens.shape[1] + options.max_new_tokens
    n_eos = len(options.eos_token_id)
    # Even if every beam's best candidates end the text, num_beams others are left to go on: filters must leave as many.
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
    running_scores = np.full((B, beams), NEVER)
    running_scores[:, 0] = 0.0  # all beams are still the same: only the first one counts
    done = _Finished(running, n_prompt, options)
    padding_of = np.repeat(np.zeros(B, int) if padding is None else padding, beams)

    reader = Reader(model, B, n_total, padding, options.slide)
    for length in range(n_prompt, n_total):
        if length == n_prompt:
            logits = np.repeat(reader.next_logits(tokens), beams, axis=0)
            reader.select(np.repeat(np.arange(B), beams))
        else:
            logits = reader.next_logits(running[:, :, :length].reshape(B * beams, length))
        so_far = [text[start:length] for text, start in zip(running.reshape(B * beams, -1), padding_of, strict=True)]
        logprobs = process(log_softmax(logits), so_far, options, min_keep)
        V = logprobs.shape[-1]
        scores = (logprobs.reshape(B, beams, V) + running_scores[:, :, None]).reshape(B, beams * V)  # [B, beams V]
        check_choice_is_left(scores)

        if options.do_sample:
            picked = np.array([draw_without_replacement(row, n_candidates, rng) for row in scores])
        else:
            picked = _highest(scores, n_candidates)  # [B, n_candidates], the best first
        beam, token = picked // V, picked % V
        candidates = running[each, beam]  # [B, n_candidates, n_total]
        candidates[:, :, length] = token
        scores = np.take_along_axis(scores, picked, axis=1)
        ends = np.isin(token, options.eos_token_id) | (length + 1 == n_total)
        if stopping_criteria is not None:
            flat = candidates[:, :, : length + 1].reshape(B * n_candidates, length + 1)
            ends |= np.asarray(stopping_criteria(flat)).reshape(B, n_candidates)

        going_on = scores + NEVER * ends
        chosen = _highest(going_on, beams)
        running, running_scores = candidates[each, chosen], np.take_along_axis(going_on, chosen, axis=1)
        done.add(candidates, scores, ends, length + 1 - n_prompt)
        if watch is not None:
            goes_on = (np.arange(n_candidates) == chosen[:, :, None]).any(axis=1) & ~ends
            watch(candidates[:, :, : length + 1], scores, ends, goes_on)
        if ends.all() or done.is_final(running_scores[:, 0], length + 1 - n_prompt):
            break
        reader.select((each * beams + beam[each, chosen]).ravel())  # beam b of prompt i is row i * beams + b
    return done.best()


class _Finished:
    """The best finished texts of every prompt, and whether they can still change."""

    def __init__(self, running, n_prompt, options):
        B, beams, _ = running.shape
        self.options = options
        self.n_prompt = n_prompt
        self.texts = running.copy()
        self.scores = np.full((B, beams), NEVER)
        self.lengths = np.zeros((B, beams), int)  # new tokens
        self.filled = np.zeros((B, beams), bool)  # which places hold a finished text
        self.improvable = np.ones(B, bool)  # whether a prompt may still finish better texts

    def add(self, candidates, scores, ends, length):
        """Take in candidates that end and rank among the first num_beams; the others were kept only to go on."""
        beams = self.texts.shape[1]
        taken = ends & (np.arange(ends.shape[1]) < beams) & self.improvable[:, None]
        if self.options.early_stopping is True:
            taken &= ~self.filled.all(axis=1, keepdims=True)
        scores = np.where(taken, scores / length**self.options.length_penalty, NEVER)

        scores = np.concatenate([self.scores, scores], axis=1)
        best = _highest(scores, beams)
        each = np.arange(len(best))[:, None]
        self.scores = scores[each, best]
        self.texts = np.concatenate([self.texts, candidates], axis=1)[each, best]
        self.lengths = np.concatenate([self.lengths, np.full(ends.shape, length)], axis=1)[each, best]
        self.filled = np.concatenate([self.filled, taken], axis=1)[each, best]

    def is_final(self, best_running, length):
        """Whether to stop: no prompt's best running text promises a better score than its worst finished one.

        The promise is its score now, divided as a text of this length is, or of the greatest length with
        early_stopping="never". With early_stopping=True it is enough that all places are filled.
        """
        options = self.options
        if options.early_stopping == "never" and options.length_penalty > 0:
            length = options.max_new_tokens
        worst = self.scores.min(axis=1)  # NEVER while a place is free
        self.improvable &= best_running / length**options.length_penalty > worst
        return not self.improvable.any() or (options.early_stopping is True and self.filled.all())

    def best(self):
        n = self.options.num_return_sequences
        longest = self.lengths[:, :n].max(initial=0)
        return self.texts[:, :n, : self.n_prompt + longest].reshape(-1, self.n_prompt + longest)


def _highest(scores, n):
    """The indices of the n highest scores of each row, highest first; scores [B, M] > [B, n]."""
    return np.array([highest(row, n) for row in scores])


def _prepare(model, ids, attention_mask, options):
    """Check everything before any work; return the options, tokens int64 [B, T] and padding [B] or None."""
    options = GenerationConfig(**options).with_ids_from(model.config)
    prompts = _as_prompts(ids)
    longest = max(len(prompt) for prompt in prompts)
    tokens = np.full((len(prompts), longest), options.pad_token_id, np.int64)
    text = np.zeros(tokens.shape, bool)
    for i, prompt in enumerate(prompts):
        tokens[i, longest - len(prompt) :] = prompt
        text[i, longest - len(prompt) :] = True
    if attention_mask is not None:
        if not text.all():
            raise ValueError("attention_mask is for an array [B, T]; prompts of different lengths need none")
        text = attention_mask
    padding = left_padding(text, tokens.shape)
    checked_ids(tokens, model.config)

    n_total, n_positions = longest + options.max_new_tokens, model.config.n_positions
    if n_total > n_positions and not options.slide:
        room = f"at most {n_positions - longest} new tokens fit" if longest < n_positions else "shorten the prompt"
        raise ContextLengthError(
            f"the prompt has {longest} tokens and max_new_tokens is {options.max_new_tokens}: {n_total} together, but "
            f"the model has {n_positions} positions; {room}, or set slide to drop the oldest tokens"
        )
    return options, tokens, padding


def _as_prompts(ids):
    """One prompt, a batch, or a list of prompts of any lengths, as a list of arrays. Raises ValueError."""
    is_list = isinstance(ids, list | tuple)
    nested = len(ids) > 0 and np.ndim(ids[0]) > 0 if is_list else np.ndim(ids) > 1
    prompts = [np.asarray(prompt) for prompt in (ids if nested else [ids])]
    if not prompts or any(prompt.size == 0 for prompt in prompts):
        raise ValueError("a prompt is empty: give at least one token, such as the end-of-text token")
    for prompt in prompts:
        if prompt.ndim != 1 or not np.issubdtype(prompt.dtype, np.integer):
            raise ValueError(f"a prompt must be a list of integers, not {prompt.dtype} of shape {prompt.shape}")
    return prompts


def _is_config(value):
    return isinstance(value, str) and value == "config"


def _as_list(ids):
    return list(ids) if np.ndim(ids) else [ids]


def _is_integer(value):
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _is_number(value):
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)
