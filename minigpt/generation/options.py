"""The options of generation, with the names, meanings and defaults of Hugging Face's generate."""

from dataclasses import dataclass, replace

import numpy as np

from minigpt.checks import is_integer, is_number, require_integer
from minigpt.config import GPT2Config

FROM_CONFIG = "config"  # in place of an id: take it from the model's configuration


@dataclass(frozen=True)
class GenerationConfig:
    """How to continue a text: the options of generate and stream. Raises ValueError, naming the option."""

    max_new_tokens: int = 20
    do_sample: bool = False  # draw from the distribution; by default take the most probable token
    temperature: float = 1.0  # this and the next four apply to sampling only
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
    eos_token_id: int | list[int] | str | None = FROM_CONFIG  # ids that end a text; None: generation never stops early
    pad_token_id: int | str = FROM_CONFIG  # fills rows that end early; without one in the config, the first eos id does
    seed: int | None = None  # the same seed gives the same text; None: a new text each time
    slide: bool = False  # past n_positions, drop the oldest tokens (see Reader) instead of raising an error
    cache_dtype: str | None = None  # "float16": half the memory for keys and values (see KVCache); None: as the model
    prompt_lookup_num_tokens: int | None = None  # draft up to this many tokens from the text itself: speculative.py
    max_matching_ngram_size: int = 2  # it looks for an earlier occurrence of this many last tokens, or fewer

    def __post_init__(self):
        for name in ("max_new_tokens", "no_repeat_ngram_size"):
            require_integer(name, getattr(self, name), 0)
        for name in ("num_beams", "num_return_sequences", "max_matching_ngram_size"):
            require_integer(name, getattr(self, name), 1)
        if self.prompt_lookup_num_tokens is not None:
            require_integer("prompt_lookup_num_tokens", self.prompt_lookup_num_tokens, 1)
        # Beyond these bounds float32 overflows; no sensible value comes near them.
        self._require_number("temperature", 1e-6, 1e6, "from 1e-6 to 1e6 (greedy search is do_sample=False)")
        self._require_number("repetition_penalty", 0.01, 100, "from 0.01 to 100")
        self._require_number("length_penalty", -10, 10, "from -10 to 10")
        for name in ("top_p", "min_p", "typical_p"):
            if getattr(self, name) is not None:
                self._require_number(name, 0, 1, "from 0 to 1, or None")
        self._require("top_k", _is_none_or_count(self.top_k), "an integer, at least 0 (0 or None: off)")
        self._require("seed", _is_none_or_count(self.seed), "an integer, at least 0, or None")
        is_valid = isinstance(self.early_stopping, bool) or self.early_stopping == "never"
        self._require("early_stopping", is_valid, 'True, False or "never"')
        self._require("cache_dtype", self.cache_dtype in (None, "float16"), '"float16", or None (the model\'s dtype)')
        for name in ("do_sample", "slide"):
            self._require(name, isinstance(getattr(self, name), bool), "True or False")
        is_valid = (
            self.eos_token_id is None
            or _is_from_config(self.eos_token_id)
            or all(map(is_integer, _as_list(self.eos_token_id)))
        )
        expected = 'an id, a list of ids or None (nothing ends a text); "config" takes the model\'s'
        self._require("eos_token_id", is_valid, expected)
        self._require("pad_token_id", _is_from_config(self.pad_token_id) or is_integer(self.pad_token_id), "an id")
        if self.num_return_sequences > 1:
            if self.num_beams == 1 and not self.do_sample:
                raise ValueError("greedy search has one result: num_return_sequences > 1 needs do_sample or num_beams")
            if 1 < self.num_beams < self.num_return_sequences:
                raise ValueError(
                    f"num_return_sequences = {self.num_return_sequences} needs as many beams, not {self.num_beams}"
                )

    def _require_number(self, name, low, high, expected):
        value = getattr(self, name)
        self._require(name, is_number(value) and low <= value <= high, f"a number {expected}")

    def _require(self, name, condition, expected):
        if not condition:
            raise ValueError(f"{name} must be {expected}, not {getattr(self, name)!r}")

    def with_ids_from(self, config: GPT2Config) -> "GenerationConfig":
        """Return the same options with "config" replaced by the ids of a GPT2Config, and eos_token_id as a list."""
        eos = config.eos_token_ids if _is_from_config(self.eos_token_id) else self.eos_token_id
        eos = [] if eos is None else [int(i) for i in _as_list(eos)]
        pad = self.pad_token_id
        if _is_from_config(pad):
            pad = config.first_in_vocabulary(config.pad_token_id, *eos, 0)
        if config.first_in_vocabulary(pad) is None:
            raise ValueError(f"pad_token_id must be an id in the vocabulary of {config.vocab_size}, not {pad!r}")
        return replace(self, eos_token_id=eos, pad_token_id=pad)


def _is_none_or_count(value):
    return value is None or (is_integer(value) and value >= 0)


def _is_from_config(value):
    return isinstance(value, str) and value == FROM_CONFIG


def _as_list(ids):
    return list(ids) if np.ndim(ids) else [ids]
