"""The options of generation, with the names, meanings and defaults of Hugging Face's generate."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np

from minigpt.checks import is_id, is_integer, is_one_of, list_functions, require, require_integer, require_number
from minigpt.config import GPT2Config

FROM_CONFIG = "config"  # in place of an id: take it from the model's configuration
DEFAULT_NEW_TOKENS = 20
MAX_SEQUENCES = 10**5  # of beams or texts: more would exhaust the memory of any machine
SEQUENCES = (list, tuple, np.ndarray)
# Arguments of generate that are no options of a GenerationConfig.
ARGUMENTS = (
    "assistant_model", "attention_mask", "edit", "input_ids", "output_logits", "output_scores",
    "return_dict_in_generate", "stop_strings", "stopping_criteria", "streamer", "tokenizer", "trace", "use_cache",
    "watch",
)  # fmt: skip

# Options of Hugging Face's generate that are not here, and what is.
ELSEWHERE = {
    "assistant_tokenizer": "assistant_model needs a model with the same vocabulary",
    "begin_suppress_tokens": "a logits_processor can forbid tokens at the first step",
    "constraints": "a logits_processor can forbid what breaks a constraint",
    "diversity_penalty": "num_return_sequences with do_sample draws different texts",
    "exponential_decay_length_penalty": "a logits_processor can raise the scores of the end-of-text token",
    "force_words_ids": "a logits_processor can forbid all other words",
    "forced_eos_token_id": "max_new_tokens ends a text",
    "generation_config": "give its fields as options: generate(ids, top_k=5)",
    "guidance_scale": "a logits_processor can combine the scores of two prompts",
    "inputs": "give the ids as the first argument",
    "max_time": "stopping_criteria can look at a clock",
    "num_beam_groups": "num_return_sequences with do_sample draws different texts",
    "output_attentions": "trace, a dict, receives every activation by its name",
    "output_hidden_states": "trace, a dict, receives every activation by its name",
    "past_key_values": "model(ids, cache=cache) continues with a KVCache",
    "penalty_alpha": "typical_p, epsilon_cutoff and repetition_penalty are other ways against repetition",
    "prefix_allowed_tokens_fn": "a logits_processor can forbid all other tokens",
    "sequence_bias": "a logits_processor can add to scores, and bad_words_ids forbids sequences",
    "synced_gpus": "minigpt computes on the CPU",
    "top_h": "top_p, min_p and eta_cutoff are other ways to cut off improbable tokens",
    "watermarking_config": "a logits_processor can mark a text",
}


@dataclass(frozen=True)
class GenerationConfig:
    """How to continue a text: the options of generate and stream. Raises ValueError, naming the option."""

    max_new_tokens: int | None = None  # None: as many as max_length allows, 20 without it
    max_length: int | None = None  # of prompt and new tokens together
    min_new_tokens: int = 0  # before these, no end-of-text token is chosen
    min_length: int = 0  # the same, of prompt and new tokens together
    do_sample: bool = False  # draw from the distribution; by default take the most probable token
    temperature: float = 1.0  # this and the next six apply to sampling only
    top_k: int | None = 50
    top_p: float | None = 1.0
    min_p: float | None = None
    typical_p: float | None = None
    epsilon_cutoff: float | None = None
    eta_cutoff: float | None = None
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    bad_words_ids: list[list[int]] | None = None  # sequences of ids that must not occur
    suppress_tokens: list[int] | None = None  # ids that must not occur
    logits_processor: Callable | list[Callable] | None = None  # ids [1, T], scores [1, V] -> scores [1, V]; or several
    renormalize_logits: bool = False  # beams add up the log-probabilities of what the filters have left
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
        for name in ("min_new_tokens", "min_length", "no_repeat_ngram_size"):
            require_integer(name, getattr(self, name), 0)
        if self.max_new_tokens is not None:
            require_integer("max_new_tokens", self.max_new_tokens, 0)
        if self.max_length is not None:
            require_integer("max_length", self.max_length, 1)
        for name in ("num_beams", "num_return_sequences", "max_matching_ngram_size"):
            require_integer(name, getattr(self, name), 1)
            self._require(name, getattr(self, name) <= MAX_SEQUENCES, f"at most {MAX_SEQUENCES:,}")
        if self.prompt_lookup_num_tokens is not None:
            require_integer("prompt_lookup_num_tokens", self.prompt_lookup_num_tokens, 1)
        # Beyond these bounds float32 overflows; no sensible value comes near them.
        self._require_number("temperature", 1e-6, 1e6, "from 1e-6 to 1e6 (greedy search is do_sample=False)")
        self._require_number("repetition_penalty", 0.01, 100, "from 0.01 to 100")
        self._require_number("length_penalty", -10, 10, "from -10 to 10")
        for name in ("top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff"):
            if getattr(self, name) is not None:
                self._require_number(name, 0, 1, "from 0 to 1, or None")
        self._require("top_k", _is_none_or_count(self.top_k), "an integer, at least 0 (0 or None: off)")
        self._require("seed", _is_none_or_count(self.seed), "an integer, at least 0, or None")
        is_valid = isinstance(self.early_stopping, bool) or is_one_of(self.early_stopping, ["never"])
        self._require("early_stopping", is_valid, 'True, False or "never"')
        self._require(
            "cache_dtype", is_one_of(self.cache_dtype, (None, "float16")), '"float16", or None (the model\'s dtype)'
        )
        for name in ("do_sample", "slide", "renormalize_logits"):
            self._require(name, isinstance(getattr(self, name), bool), "True or False")
        is_valid = self.suppress_tokens is None or _are_ids(self.suppress_tokens)
        self._require("suppress_tokens", is_valid, "a list of ids, or None")
        words = [] if self.bad_words_ids is None else self.bad_words_ids
        is_valid = isinstance(words, SEQUENCES) and all(_are_ids(word) and len(word) for word in _as_list(words))
        self._require("bad_words_ids", is_valid, "a list of lists of ids, such as [[15496, 995]], or None")
        functions = list_functions("logits_processor", self.logits_processor)
        object.__setattr__(self, "logits_processor", tuple(functions))  # which keeps the options hashable
        is_valid = (
            self.eos_token_id is None
            or _is_from_config(self.eos_token_id)
            or all(map(is_id, _as_list(self.eos_token_id)))
        )
        expected = 'an id, a list of ids or None (nothing ends a text); "config" takes the model\'s'
        self._require("eos_token_id", is_valid, expected)
        self._require("pad_token_id", _is_from_config(self.pad_token_id) or is_id(self.pad_token_id), "an id")
        if self.num_return_sequences > 1:
            if self.num_beams == 1 and not self.do_sample:
                raise ValueError("greedy search has one result: num_return_sequences > 1 needs do_sample or num_beams")
            if 1 < self.num_beams < self.num_return_sequences:
                raise ValueError(
                    f"num_return_sequences = {self.num_return_sequences} needs as many beams, not {self.num_beams}"
                )

    def _require_number(self, name, low, high, expected):
        require_number(name, getattr(self, name), low, high, f"a number {expected}")

    def _require(self, name, condition, expected):
        require(condition, name, getattr(self, name), expected)

    @classmethod
    def of(cls, options: dict) -> "GenerationConfig":
        """Return GenerationConfig(**options). Raises ValueError for an unknown option, with the nearest one."""
        known = [field.name for field in fields(cls)]
        for name in options.keys() - known:
            if name in ELSEWHERE:
                raise ValueError(f"minigpt has no option {name}: {ELSEWHERE[name]}")
            nearest = difflib.get_close_matches(name, [*known, *ARGUMENTS], 1)
            hint = f"did you mean {nearest[0]}?" if nearest else f"the options are {', '.join(known)}"
            raise ValueError(f"there is no option {name}; {hint}")
        return cls(**options)

    def with_lengths_for(self, n_prompt: int) -> "GenerationConfig":
        """Return the same options with max_new_tokens and min_new_tokens for a prompt of so many tokens."""
        most = self.max_new_tokens
        if most is None and self.max_length is not None:
            most = self.max_length - n_prompt
            if most < 1:
                raise ValueError(
                    f"max_length = {self.max_length} leaves no room: the prompt alone has {n_prompt} tokens"
                )
        most = DEFAULT_NEW_TOKENS if most is None else most
        least = max(self.min_new_tokens, self.min_length - n_prompt)
        if least > most:
            raise ValueError(
                f"min_new_tokens or min_length: at least {least} new tokens are asked for, and at most {most}"
            )
        return replace(self, max_new_tokens=most, min_new_tokens=least)

    def with_ids_from(self, config: GPT2Config) -> "GenerationConfig":
        """Return the same options with the ids of a GPT2Config in place of "config", and all ids as lists.

        Raises ValueError for forbidden tokens that are not in its vocabulary.
        """
        eos = config.eos_token_ids if _is_from_config(self.eos_token_id) else self.eos_token_id
        eos = [] if eos is None else [int(i) for i in _as_list(eos)]
        pad = self.pad_token_id
        if _is_from_config(pad):
            pad = config.first_in_vocabulary(config.pad_token_id, *eos, 0)
        if config.first_in_vocabulary(pad) is None:
            raise ValueError(f"pad_token_id must be an id in the vocabulary of {config.vocab_size}, not {pad!r}")
        suppressed = [] if self.suppress_tokens is None else [int(i) for i in _as_list(self.suppress_tokens)]
        words = [] if self.bad_words_ids is None else [[int(i) for i in word] for word in _as_list(self.bad_words_ids)]
        for name, ids in (("suppress_tokens", suppressed), *(("bad_words_ids", word) for word in words)):
            for i in ids:
                if config.first_in_vocabulary(i) is None:
                    raise ValueError(f"{name} has {i}, which is no id in the vocabulary of {config.vocab_size}")
        words = [word for word in words if not (len(word) == 1 and word[0] in eos)]  # a text may always end
        return replace(self, eos_token_id=eos, pad_token_id=pad, suppress_tokens=suppressed, bad_words_ids=words)


def _is_none_or_count(value):
    return value is None or (is_integer(value) and value >= 0)


def _is_from_config(value):
    return isinstance(value, str) and value == FROM_CONFIG


def _are_ids(ids):
    return isinstance(ids, SEQUENCES) and all(map(is_id, _as_list(ids)))


def _as_list(ids):
    if isinstance(ids, np.ndarray):
        return np.atleast_1d(ids).tolist()
    return list(ids) if isinstance(ids, list | tuple) else [ids]
