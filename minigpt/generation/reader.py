"""Run a model over growing sequences, reading each token once."""

import numpy as np

from minigpt.cache import KVCache


class Reader:
    """Run a model over growing sequences and return the logits of the next token. Each token is read once.

    With slide, a sequence that outgrows n_positions loses its oldest tokens: the newest n_positions // 2 are read
    again, at positions from 0, and leave room for as many more. (Dropping one token at a time would mean reading the
    whole window for every new token, because a token's position is part of its keys and values.)
    """

    def __init__(self, model, batch_size, max_length, padding, slide, cache_dtype=None):
        self.model = model
        max_length = min(max_length, model.config.n_positions)
        self.cache = KVCache(model.config, batch_size, max_length, cache_dtype or model.dtype)
        self.padding = padding
        self.slide = slide
        self.dropped = 0  # tokens at the left of the sequences that are no longer in the window

    def next_logits(self, sequences):
        """Return next-token logits [N, V] for sequences [N, T], which extend those of the last call by new tokens."""
        return self.last_logits(sequences, 1)[:, 0]

    def last_logits(self, sequences, n):
        """Return the logits after each of the last n tokens, [N, n, V], which are all new;  sequences [N, T]."""
        n_positions = self.model.config.n_positions
        if self.slide and sequences.shape[1] - self.dropped > n_positions:
            self.cache.clear()
            self.dropped = sequences.shape[1] - max(1, n_positions // 2)
        new = sequences[:, self.dropped + self.cache.length :]
        mask = None
        if self.padding is not None and self.cache.length == 0:
            mask = np.arange(self.dropped, sequences.shape[1]) >= self.padding[:, None]
        logits = self.model(new, attention_mask=mask, cache=self.cache, last_only=n == 1)[:, -n:]
        if np.isnan(logits.max()):  # the maximum is NaN if any logit is
            raise ValueError("the model's logits are not numbers (NaN): its weights are damaged")
        return logits

    def room_after(self, length):
        """Return how many more tokens can be read together with the next one of sequences of this length.

        0 if the next one has to be read with a prompt or a new window.
        """
        if self.cache.length == 0:
            return 0
        return max(0, self.model.config.n_positions - (length - self.dropped))

    def keep(self, length):
        """Forget what was read beyond the first `length` tokens of the sequences."""
        self.cache.crop(max(0, length - self.dropped))

    def select(self, rows):
        """Continue with sequence rows[i] as sequence i."""
        self.cache.select(rows)
        if self.padding is not None:
            self.padding = self.padding[rows]
