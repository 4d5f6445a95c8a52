"""The keys and values of earlier tokens, kept so that a new token does not compute the whole text again."""

import math

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from minigpt.checks import require, require_integer, require_type, shown
from minigpt.config import GPT2Config

CACHE_DTYPES = ("float16", "float32", "float64")
MAX_NUMBERS = 10**12  # in a cache: 4 TB


class KVCache:
    """Room for the keys and values of every layer: k and v [L, B, H, max_length, K], letters as in model.py.

    A token's keys and values depend only on the tokens before it, so they never change once computed. The model appends
    those of new tokens and attends to all. `length` counts the tokens held, `padding` [B] (or None) how many of them
    are padding at the left of each sequence. There is room for `max_length` tokens, by default n_positions.

    dtype: the model's, or float16, half the memory that a new token reads: new keys and values are rounded to 11 bits,
    and computed with in the model's dtype. Numbers beyond 65504 become infinite.
    """

    def __init__(
        self,
        config: GPT2Config,
        batch_size: int = 1,
        max_length: int | None = None,
        dtype: DTypeLike = "float32",
    ):
        require_type("config", config, GPT2Config, "a GPT2Config")
        self.config = config
        self.max_length = config.n_positions if max_length is None else max_length
        require_integer("max_length", self.max_length, 1)
        require_integer("batch_size", batch_size, 1)
        self.dtype = checked_dtype(dtype)
        self.length = 0
        self.padding = None
        self._allocate(batch_size)

    def _allocate(self, batch_size):
        c = self.config
        shape = (2, c.n_layer, batch_size, c.n_head, self.max_length, c.head_size)
        if math.prod(shape) + batch_size**2 > MAX_NUMBERS:
            raise ValueError(f"batch_size = {batch_size} and max_length = {self.max_length} are too much for a cache")
        self.shared = np.zeros((batch_size, batch_size), int)  # length of the prefix that sequences i and j share
        # np.empty: memory that no token fills is never touched, so it costs nothing.
        self.k, self.v = np.empty(shape, self.dtype)

    @property
    def batch_size(self) -> int:
        return self.k.shape[1]

    def append(self, layer, k, v):
        """Store one layer's new k, v [B, H, T, K]; return all of that layer's [B, H, length + T, K] as views.

        The length grows only by `advance`, after the last layer: a forward pass that fails leaves the cache as it was.
        """
        end = self.length + k.shape[2]
        self.k[layer, :, :, self.length : end] = k
        self.v[layer, :, :, self.length : end] = v
        return self.k[layer, :, :, :end], self.v[layer, :, :, :end]

    def require_room(self, config, batch_size, n_tokens, dtype):
        """Raise ValueError unless n_tokens more tokens of batch_size sequences fit: of a model like this, in dtype."""
        needed, held = ((c.n_layer, c.n_head, c.head_size) for c in (config, self.config))
        if needed != held:
            raise ValueError(
                "the cache was made for another model: it holds {} layers of {} heads of {} numbers, "
                "the model has {} of {} of {}".format(*held, *needed)
            )
        if self.dtype not in (dtype, np.float16):
            raise ValueError(
                f"the cache holds {self.dtype}, the model {dtype}: make it with dtype=model.dtype, or with float16"
            )
        if batch_size != self.batch_size:
            raise ValueError(f"the cache holds {self.batch_size} sequences, the input has {batch_size}")
        if self.length + n_tokens > self.max_length:
            raise ValueError(
                f"the cache has room for {self.max_length} tokens: {self.length} are taken, {n_tokens} more do not fit"
            )

    def advance(self, n_tokens: int):
        """Count the tokens whose keys and values every layer has appended."""
        self.length += n_tokens

    def crop(self, length: int):
        """Forget all tokens after the first `length`, as if they had never been appended."""
        require_integer("length", length, 0)
        self.length = min(self.length, length)
        self.shared = np.minimum(self.shared, self.length)

    def clear(self):
        """Forget all tokens, keep the memory."""
        self.crop(0)

    def select(self, rows: ArrayLike):
        """Continue with sequence rows[i] as sequence i. Rows may repeat, as beams do, and may change the batch size."""
        given = rows
        try:
            rows = np.asarray(rows)
        except ValueError:  # lists of different lengths
            rows = np.empty(())
        is_valid = rows.ndim == 1 and rows.dtype.kind in "iu" and ((rows >= 0) & (rows < self.batch_size)).all()
        require(is_valid, "rows", given, f"places of sequences, from 0 to {self.batch_size - 1}")
        if self.padding is not None:
            self.padding = self.padding[rows]
        shared = self.shared
        if len(rows) == self.batch_size:
            self._reorder(rows)
        else:
            k, v = self.k, self.v
            self._allocate(len(rows))
            self.k[:, :, :, : self.length] = k[:, rows, :, : self.length]
            self.v[:, :, :, : self.length] = v[:, rows, :, : self.length]
        # Two copies of one sequence share all of it; others share what their originals shared.
        self.shared = np.where(rows[:, None] == rows, self.length, shared[rows][:, rows])

    def _reorder(self, rows):
        moved = np.flatnonzero(rows != np.arange(len(rows)))
        if not moved.size:
            return
        # Beams share most of their prefix; only what differs is copied.
        start = self.shared[moved, rows[moved]].min()
        for stored in (*self.k, *self.v):  # one layer at a time, so that the temporary copy stays small
            stored[moved, :, start : self.length] = stored[rows[moved], :, start : self.length]


def checked_dtype(dtype):
    """Return the dtype of a cache as a NumPy dtype. Raises ValueError for one that a cache cannot have."""
    try:
        name = np.dtype(dtype).name
    except (TypeError, ValueError):  # NumPy knows no such dtype
        name = None
    if name not in CACHE_DTYPES:
        raise ValueError(f"the dtype of a cache must be {', '.join(CACHE_DTYPES)}, not {shown(dtype)}")
    return np.dtype(name)
