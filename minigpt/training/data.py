"""Texts and pairs on their way to the model: from files to token ids, from token ids to batches.

A batch is inputs and targets, both [B, T]: targets[b, t] is the token after inputs[b, t], or IGNORED. The seed and
the step's number alone decide which tokens a step gets, so a resumed training continues with the same ones.
"""

import json

import numpy as np

from minigpt.files import write_file
from minigpt.training.loss import IGNORED
from minigpt.training.pieces import require_no_utf16, text_pieces

SCANNED_TOKENS = 2**16  # tokens to search for separators at a time


def write_tokens(paths, tokenizer, separator, out):
    """Encode text files, one after the other with the token `separator` (or None) between them, into the file `out`."""
    dtype = _token_dtype(tokenizer)

    def write(partial):
        with open(partial, "wb") as file:
            for number, path in enumerate(paths):
                if number and separator is not None:
                    file.write(np.array([separator], dtype))
                for piece in text_pieces(path, tokenizer):
                    ids = np.array(_encode(tokenizer, piece, path), dtype)
                    file.write(ids)  # unlike ndarray.tofile, it says that a disk is full

    write_file(out, write)


def read_tokens(path, tokenizer):
    """Return the ids that write_tokens wrote, as a memory map: they need not fit into memory."""
    dtype = _token_dtype(tokenizer)
    return np.memmap(path, dtype, "r") if path.stat().st_size else np.empty(0, dtype)


class TextBatches:
    """Stretches of a long text, drawn anywhere: tokens [N] -> inputs, targets [batch_size, block_size].

    With a separator, a stretch that starts inside a short text is moved back to that text's beginning, so that the
    model sees what the ending refers to. Half of these start at the separator, half at the token after it, as prompts
    do.
    """

    def __init__(self, tokens, batch_size, block_size, seed, name="the text", separator=None):
        if len(tokens) < block_size + 1:
            raise ValueError(f"{name} has {len(tokens)} tokens, but a block needs {block_size} and one to predict")
        self.tokens = tokens
        self.batch_size = batch_size
        self.block_size = block_size
        self.seed = seed
        self.separators = _places_of(separator, tokens)

    def draw(self, number):
        """Return the batch of this number."""
        n_starts = len(self.tokens) - self.block_size
        return self._batch_at(np.random.default_rng([self.seed, 0, number]).integers(0, n_starts, self.batch_size))

    def spread(self, max_batches):
        """Yield at most max_batches batches, evenly spread over the text and always the same: for measuring."""
        n_starts = len(self.tokens) - self.block_size
        count = min(max_batches * self.batch_size, -(-n_starts // self.block_size))
        starts = np.linspace(0, n_starts - 1, count).astype(np.int64)
        for first in range(0, count, self.batch_size):
            yield self._batch_at(starts[first : first + self.batch_size])

    def _batch_at(self, starts):
        if len(self.separators):
            last = self.separators[np.maximum(np.searchsorted(self.separators, starts, side="right") - 1, 0)]
            beginnings = np.minimum(last + starts % 2, starts)
            starts = np.where((last <= starts) & (starts - beginnings < self.block_size), beginnings, starts)
        window = self.tokens[starts[:, None] + np.arange(self.block_size + 1)].astype(np.int64)
        return window[:, :-1], window[:, 1:]


def read_pairs(path, tokenizer, end, block_size, beginning=None, display_name=None):
    """Return the lines {"prompt": ..., "completion": ...} of a file as [(ids, length of the prompt)].

    ids are those of the prompt, the completion and the token `end` (or None); an empty prompt becomes the token
    `beginning`. Raises ValueError with the line's number and, if given, display_name in place of the path.
    """
    pairs = []
    with open(path, "rb") as file:
        path = display_name or path
        for number, line in enumerate(file, 1):
            if number == 1:
                require_no_utf16(path, line)
            if not line.strip():
                continue
            if not pairs and line.lstrip()[:1] == b"[":
                raise ValueError(
                    f'{path} is a JSON array: write its pairs {{"prompt": ...}} one a line, without commas'
                )
            try:
                pair = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{path}, line {number} is not JSON: {error}") from error
            texts = [pair.get(name) if isinstance(pair, dict) else None for name in ("prompt", "completion")]
            if not all(isinstance(text, str) for text in texts) or not texts[1]:
                raise ValueError(f'{path}, line {number} must be {{"prompt": "...", "completion": "..."}}, both texts')
            prompt, completion = (_encode(tokenizer, text, f"{path}, line {number}") for text in texts)
            if not prompt:
                if beginning is None:
                    raise ValueError(
                        f"{path}, line {number} has an empty prompt, and the model has no token to begin with"
                    )
                prompt = [beginning]
            ids = prompt + completion + ([] if end is None else [end])
            if len(ids) > block_size + 1:
                raise ValueError(f"{path}, line {number} has {len(ids)} tokens; {block_size + 1} fit into a block")
            pairs.append((ids, len(prompt)))
    return pairs


class PairBatches:
    """Prompts with their completions; only the completions are targets. Each epoch has a new order."""

    def __init__(self, pairs, batch_size, seed):
        if not pairs:
            raise ValueError("there are no pairs to train on: some of those given are kept to measure on")
        self.pairs = pairs
        self.batch_size = batch_size
        self.seed = seed

    def draw(self, number):
        """Return the batch of this number."""
        places = np.arange(number * self.batch_size, (number + 1) * self.batch_size)
        epochs, places = places // len(self.pairs), places % len(self.pairs)
        order = {e: np.random.default_rng([self.seed, 0, e]).permutation(len(self.pairs)) for e in set(epochs.tolist())}
        return padded_batch([self.pairs[order[e][place]] for e, place in zip(epochs.tolist(), places, strict=True)])

    def spread(self, max_batches):
        """Yield at most max_batches batches, always the same: for measuring."""
        count = min(max_batches * self.batch_size, len(self.pairs))
        chosen = [self.pairs[i] for i in np.linspace(0, len(self.pairs) - 1, count).astype(int)]
        for first in range(0, count, self.batch_size):
            yield padded_batch(chosen[first : first + self.batch_size])


def padded_batch(pairs):
    """Return pairs of different lengths as inputs, targets [B, T], padded on the right, which no token sees."""
    T = max(len(ids) for ids, _ in pairs) - 1
    inputs, targets = np.zeros((len(pairs), T), np.int64), np.full((len(pairs), T), IGNORED)
    for row, (ids, n_prompt) in enumerate(pairs):
        inputs[row, : len(ids) - 1] = ids[:-1]
        targets[row, n_prompt - 1 : len(ids) - 1] = ids[n_prompt:]
    return inputs, targets


def end_of_text(config, tokenizer):
    """Return the id of the token that ends texts: the configuration's, or else the tokenizer's <|endoftext|>, or None.

    Configurations that were copied from GPT-2's may name an id beyond their own vocabulary.
    """
    return config.first_in_vocabulary(*config.eos_token_ids, tokenizer.eos_token_id)


def require_matching_vocabulary(tokenizer, config):
    """Raise ValueError for a tokenizer with more tokens than the model."""
    if len(tokenizer) > config.vocab_size:
        raise ValueError(
            f"the tokenizer has {len(tokenizer)} tokens, the model a vocabulary of {config.vocab_size}: "
            "they do not belong together"
        )


def _token_dtype(tokenizer):
    return np.uint16 if len(tokenizer) <= 2**16 else np.uint32


def _places_of(token_id, tokens):
    """Return the positions of a token, [N]; for None, none. The tokens may be a memory map: they are read in parts."""
    starts = range(0, len(tokens) if token_id is not None else 0, SCANNED_TOKENS)
    places = [start + np.flatnonzero(tokens[start : start + SCANNED_TOKENS] == token_id) for start in starts]
    return np.concatenate([np.empty(0, np.int64), *places])


def _encode(tokenizer, text, source):
    try:
        return tokenizer.encode(text)
    except (TypeError, ValueError) as error:  # a character without a token, or half a surrogate pair
        raise ValueError(f"{source}: {error}") from error
