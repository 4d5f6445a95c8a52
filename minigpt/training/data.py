"""Text on its way to the model: encoded once into a file of token ids, from which every step draws its batch.

A batch is inputs and targets, [B, T] both: targets[b, t] is the token after inputs[b, t], or IGNORED. Which tokens a
step gets follows from the seed and the step's number alone, so a training that was stopped goes on with the same ones.
"""

import codecs
import json

import numpy as np

from minigpt.training.loss import IGNORED
from weights_loader import write_file

PIECE = 2**16  # bytes of a text that are read at a time: the tokenizer is twice as slow with a megabyte


def text_pieces(path, size=PIECE):
    """The text of a file in pieces that can be encoded one by one. Raises ValueError if it is not UTF-8.

    A piece ends where a space or a line's end follows after another character: no token reaches across.
    """
    decoder, rest, n_read = codecs.getincrementaldecoder("utf-8")(), "", 0
    with open(path, "rb") as file:
        chunk = None
        while chunk != b"":
            chunk = file.read(size)
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:  # whose object begins with what the decoder had kept
                wrong = n_read + len(chunk) - len(error.object) + error.start
                raise ValueError(f"{path} is not UTF-8 text (byte {wrong})") from error
            n_read += len(chunk)
            rest += text
            for cut in range(len(rest) - 1, max(0, len(rest) - len(text) - 1), -1):
                if rest[cut] in " \n" and not rest[cut - 1].isspace():
                    yield rest[:cut]
                    rest = rest[cut:]
                    break
    if rest:
        yield rest


def write_tokens(paths, tokenizer, separator, out):
    """Encode text files, one after the other with the token `separator` (or None) between them, into the file `out`."""
    dtype = np.uint16 if len(tokenizer) <= 2**16 else np.uint32

    def write(partial):
        with open(partial, "wb") as file:
            for number, path in enumerate(paths):
                if number and separator is not None:
                    np.array([separator], dtype).tofile(file)
                for piece in text_pieces(path):
                    np.array(_encoded(tokenizer, piece, path), dtype).tofile(file)

    write_file(out, write)


def read_tokens(path, tokenizer):
    """The ids that write_tokens wrote, in a memory map: what is not used need not fit into memory."""
    dtype = np.uint16 if len(tokenizer) <= 2**16 else np.uint32
    return np.memmap(path, dtype, "r") if path.stat().st_size else np.empty(0, dtype)


class TextBatches:
    """Stretches of a long text, drawn anywhere: tokens [N] > inputs, targets [batch_size, block_size].

    If it is many texts, each after the token `separator`, a stretch moves back to where its text began if that is less
    than a block before: what the end of a short text refers to is there when it is predicted. It then begins with the
    separator or with the token after it, as prompts do, each half of the time.
    """

    def __init__(self, tokens, batch_size, block_size, seed, name="the text", separator=None):
        if len(tokens) < block_size + 1:
            raise ValueError(f"{name} has {len(tokens)} tokens, but a block needs {block_size} and one to predict")
        self.tokens, self.batch_size, self.block_size, self.seed = tokens, batch_size, block_size, seed
        pieces = range(0, len(tokens) if separator is not None else 0, PIECE)  # the text need not fit into memory
        found = [start + np.flatnonzero(tokens[start : start + PIECE] == separator) for start in pieces]
        self.separators = np.concatenate([np.empty(0, np.int64), *found])

    def draw(self, number):
        """The batch of this number."""
        places = len(self.tokens) - self.block_size
        return self._at(np.random.default_rng([self.seed, 0, number]).integers(0, places, self.batch_size))

    def spread(self, most):
        """At most so many batches, evenly over the text and always the same: for measuring."""
        places = len(self.tokens) - self.block_size
        count = min(most * self.batch_size, -(-places // self.block_size))
        starts = np.linspace(0, places - 1, count).astype(np.int64)
        for first in range(0, count, self.batch_size):
            yield self._at(starts[first : first + self.batch_size])

    def _at(self, starts):
        if len(self.separators):
            last = self.separators[np.maximum(np.searchsorted(self.separators, starts, side="right") - 1, 0)]
            begun = np.minimum(last + starts % 2, starts)
            starts = np.where((last <= starts) & (starts - begun < self.block_size), begun, starts)
        window = self.tokens[starts[:, None] + np.arange(self.block_size + 1)].astype(np.int64)
        return window[:, :-1], window[:, 1:]


def read_pairs(path, tokenizer, end, block_size, beginning=None, called=None):
    """The lines {"prompt": ..., "completion": ...} of a file as [(ids, number of the prompt's)].

    ids are those of both and the token `end` (or None); an empty prompt becomes the token `beginning`. Raises
    ValueError with the line's number, and with the name `called` for a path that nobody knows.
    """
    pairs = []
    with open(path, "rb") as file:
        path = called or path
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                pair = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{path}, line {number} is not JSON: {error}") from error
            texts = [pair.get(name) if isinstance(pair, dict) else None for name in ("prompt", "completion")]
            if not all(isinstance(text, str) for text in texts) or not texts[1]:
                raise ValueError(f'{path}, line {number} must be {{"prompt": "...", "completion": "..."}}, both texts')
            prompt, completion = (_encoded(tokenizer, text, f"{path}, line {number}") for text in texts)
            if not prompt:
                if beginning is None:
                    raise ValueError(f"{path}, line {number} has an empty prompt, and the model no token to begin with")
                prompt = [beginning]
            ids = prompt + completion + ([] if end is None else [end])
            if len(ids) > block_size + 1:
                raise ValueError(f"{path}, line {number} has {len(ids)} tokens; {block_size + 1} fit into a block")
            pairs.append((ids, len(prompt)))
    return pairs


class PairBatches:
    """Prompts with their completions, of which only the completions count; each epoch in a new order."""

    def __init__(self, pairs, batch_size, seed):
        if not pairs:
            raise ValueError("there are no pairs to train on: of those given some are kept to measure on")
        self.pairs, self.batch_size, self.seed = pairs, batch_size, seed

    def draw(self, number):
        """The batch of this number."""
        places = np.arange(number * self.batch_size, (number + 1) * self.batch_size)
        epochs, places = places // len(self.pairs), places % len(self.pairs)
        order = {e: np.random.default_rng([self.seed, 0, e]).permutation(len(self.pairs)) for e in set(epochs.tolist())}
        return _padded([self.pairs[order[e][place]] for e, place in zip(epochs.tolist(), places, strict=True)])

    def spread(self, most):
        """At most so many batches, always the same: for measuring."""
        count = min(most * self.batch_size, len(self.pairs))
        chosen = [self.pairs[i] for i in np.linspace(0, len(self.pairs) - 1, count).astype(int)]
        for first in range(0, count, self.batch_size):
            yield _padded(chosen[first : first + self.batch_size])


def _padded(pairs):
    """Rows of different lengths, filled up at the right with what does not count: nothing before it looks there."""
    T = max(len(ids) for ids, _ in pairs) - 1
    inputs, targets = np.zeros((len(pairs), T), np.int64), np.full((len(pairs), T), IGNORED)
    for row, (ids, n_prompt) in enumerate(pairs):
        inputs[row, : len(ids) - 1] = ids[:-1]
        targets[row, n_prompt - 1 : len(ids) - 1] = ids[n_prompt:]
    return inputs, targets


def beginning_of_text(config):
    """The id of the token that texts of a model begin with, or None: bos_token_id, or else what ends texts."""
    ids = (config.bos_token_id, *config.eos_token_ids)
    return next((i for i in ids if _in_vocabulary(i, config)), None)


def end_of_text(config, tokenizer):
    """The id of the token that ends texts, by the configuration or else the tokenizer's <|endoftext|>, or None.

    Configurations that were copied from GPT-2's may name an id beyond their own vocabulary.
    """
    ids = (*config.eos_token_ids, tokenizer.token_id("<|endoftext|>"))
    return next((i for i in ids if _in_vocabulary(i, config)), None)


def _in_vocabulary(token_id, config):
    return token_id is not None and 0 <= token_id < config.vocab_size


def check_fit(tokenizer, config):
    """Raises ValueError for a tokenizer with more tokens than the model."""
    if len(tokenizer) > config.vocab_size:
        raise ValueError(
            f"the tokenizer has {len(tokenizer)} tokens, the model a vocabulary of {config.vocab_size}: "
            "they do not belong together"
        )


def _encoded(tokenizer, text, place):
    try:
        return tokenizer.encode(text)
    except (TypeError, ValueError) as error:  # a character without a token, or half a surrogate pair
        raise ValueError(f"{place}: {error}") from error
