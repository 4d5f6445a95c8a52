"""One run of the forward pass: everything that it needs beside the mathematics.

model.py says what GPT-2 computes. A `Run` adds four things: the operations, the cache and padding, the tap that records
or edits, and whether the last token alone needs an answer. GPT2.__call__ makes one. `Run(config)` runs the formulas and
nothing else; a single block takes `Run(config).in_block(0)`.
"""

from functools import partial

import numpy as np

from minigpt.activations import activation_names
from minigpt.cache import KVCache
from minigpt.checks import require, require_bool, require_type
from minigpt.model import attention
from minigpt.ops import formulas, plain
from minigpt.ops.operations import untapped
from minigpt.trace import Tap, Trace


class ContextLengthError(ValueError):
    """More tokens than the model has positions for."""


class Run:
    """The operations with this configuration's settings, and the state of one call.

    linear(x, weight, bias), layer_norm(x, weight, bias), activation_function(x), softmax(x): the operations of the set
    `ops`.
    tap(name, activation): shows an activation to whoever records or edits it (trace.py); returns what to go on with.
    cache: the KVCache with the earlier tokens, or None. padding [B]: how many positions at the left of each sequence
    hold no text, or None. last_only: compute the logits of the last token alone.
    """

    def __init__(self, config, ops=formulas, cache=None, padding=None, tap=untapped, last_only=False):
        self.config = config
        self.n_head = config.n_head
        self.cache = cache
        self.padding = padding
        self.tap = tap
        self.last_only = last_only
        self.layer = 0
        self.scale = config.attention_scale(0)
        # Bound here, not wrapped in methods: a small model feels an extra Python call for each operation.
        self.linear = ops.linear
        self.layer_norm = partial(ops.layer_norm, eps=config.layer_norm_epsilon)
        self.activation_function = getattr(ops, config.activation_function)
        self.softmax = ops.softmax
        self._attention = ops.attention
        self._attention_tap = untapped

    def in_block(self, layer):
        """Return a copy for one block, where names get the prefix h.LAYER. and `remember` stores in this layer."""
        inside = copied(self)
        inside.layer = layer
        inside.scale = self.config.attention_scale(layer)
        inside.last_only = self.last_only and layer == self.config.n_layer - 1
        if self.tap is not untapped:
            inside.tap = _with_prefix(f"h.{layer}.", self.tap)
            inside._attention_tap = _with_prefix(f"h.{layer}.attn.", self.tap)
        return inside

    def positions(self, ids):
        """Return every token's position: [T], or [B, T] counted from the first token of each sequence's text."""
        past = 0 if self.cache is None else self.cache.length
        positions = np.arange(past, past + ids.shape[1])
        return positions if self.padding is None else np.maximum(positions - self.padding[:, None], 0)

    def remember(self, k, v):
        """Store new keys and values [B, H, T, K] in the cache; return those of all tokens so far, [B, H, S, K]."""
        return (k, v) if self.cache is None else self.cache.append(self.layer, k, v)

    def attention(self, q, k, v):
        """Return what every head gathers, [B, H, T, K]: by model.attention, or by what is in its place."""
        if self._attention is plain.attention:
            return attention(q, k, v, self)
        return self._attention(q, k, v, self.scale, self.padding, self._attention_tap)

    def needed(self, x):
        """Return x [..., T, numbers], or in the last block of a run with last_only the last token of it.

        Generation needs one row of logits, so the last block computes queries and MLP for that token alone, but keys
        and values for all.
        """
        return x[..., -1:, :] if self.last_only else x

    @classmethod
    def begin(cls, model, shape, attention_mask=None, cache=None, trace=None, edit=None, last_only=False):
        """Return the run of model(ids, ...) for ids of shape [B, T]. Raises ContextLengthError, ValueError."""
        config, (B, T) = model.config, shape
        require_type("cache", cache, KVCache | None, "a KVCache")
        padding = left_padding(attention_mask, shape)
        n_tokens = T if cache is None else cache.length + T
        if n_tokens > config.n_positions:
            raise ContextLengthError(
                f"{n_tokens} tokens, but the model has {config.n_positions} positions: shorten the text"
            )
        if edit is not None:
            require_type("edit", edit, dict, "a dict of functions by the names of activations")
            for function in edit.values():
                require(callable(function), "edit", function, "a dict of functions")
        require_type("trace", trace, dict | None, "a dict")
        require_bool("last_only", last_only)
        if edit or isinstance(trace, Trace):
            names = activation_names(config.n_layer)
            unknown = [*(set(edit or ()) - set(names)), *(trace.unknown(names) if isinstance(trace, Trace) else ())]
            if unknown:
                raise ValueError(
                    f"no activation of a model of {config.n_layer} blocks is called {min(unknown)!r}; "
                    "minigpt.activations.activation_names lists them"
                )
        if cache is not None:
            cache.require_room(config, B, T, model.dtype)
            if cache.length == 0:
                cache.padding = padding
            elif padding is not None:
                raise ValueError("attention_mask belongs to the first call with a cache; the cache remembers it")
            padding = cache.padding
        tap = untapped if trace is None and not edit else Tap(trace, edit)
        return cls(config, model.ops, cache, padding, tap, last_only)

    def finish(self, n_tokens):
        """Have the cache count its new tokens. Raises ValueError for an edit that was never reached."""
        if self.tap is not untapped and self.tap.unreached:
            raise ValueError(f"{min(self.tap.unreached)!r} was not edited: the replaced attention does not tap it")
        if self.cache is not None:
            self.cache.advance(n_tokens)


def copied(run):
    """Return a shallow copy, for a quarter of the time of copy.copy: every block of every token needs one."""
    copy = object.__new__(type(run))
    copy.__dict__.update(run.__dict__)
    return copy


def _with_prefix(prefix, tap):
    return lambda name, activation: tap(prefix + name, activation)


def left_padding(attention_mask, shape):
    """Return how many zeros each row of a mask [B, T] starts with: int [B], or None if no row has any."""
    if attention_mask is None:
        return None
    mask = checked_mask(attention_mask)
    if mask.shape != shape:
        raise ValueError(f"attention_mask has shape {mask.shape}, the ids have {shape}")
    padding = (~mask).sum(axis=1)
    if not np.array_equal(mask, np.arange(shape[1]) >= padding[:, None]) or (padding == shape[1]).any():
        raise ValueError(
            "each row of attention_mask must be zeros and then ones, at least one: padding stands at the left"
        )
    return padding if padding.any() else None


def checked_mask(attention_mask):
    """Return a mask as an array of bools [B, T]. Raises ValueError unless it has nothing but 0 and 1."""
    try:
        mask = np.asarray(attention_mask)
    except ValueError:  # rows of different lengths
        mask = np.empty(())
    is_valid = mask.ndim in (1, 2) and mask.dtype.kind in "biuf" and ((mask == 0) | (mask == 1)).all()
    require(is_valid, "attention_mask", attention_mask, "an array [B, T] of 0 and 1")
    return np.atleast_2d(mask) != 0


def checked_ids(ids, config):
    """Return ids as an array, [T] or [B, T]. Raises ValueError unless they are ids of this vocabulary."""
    try:
        ids = np.asarray(ids)
    except ValueError as error:
        raise ValueError(
            "rows of different lengths: pad them at the left and give attention_mask, or let generate do it"
        ) from error
    if ids.dtype.kind not in "iu":
        raise ValueError(f"token ids must be integers, not {ids.dtype} (no tokens at all?)")
    if ids.ndim not in (1, 2) or ids.size == 0:
        raise ValueError(f"token ids must be [T] or [B, T] with at least one token, not of shape {ids.shape}")
    if ids.min() < 0 or ids.max() >= config.vocab_size:
        bad = ids.min() if ids.min() < 0 else ids.max()
        raise ValueError(f"token id {bad} is outside the vocabulary of {config.vocab_size}: another model's?")
    return ids
