"""From text to text: prompts in, continuations out, complete or in chunks as they are generated."""

from array import array
from collections.abc import Iterable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from minigpt.bundled import DEFAULT_MODEL
from minigpt.checks import list_texts, require_path, require_type
from minigpt.config import GPT2Config
from minigpt.generation.options import GenerationConfig
from minigpt.generation.search import generate, stream
from minigpt.gpt2 import GPT2
from minigpt.tokenizer import Tokenizer


class Continuation:
    """The text of new ids as they come: iterate over its chunks, then read `text`, `ids` and `finish_reason`.

    It ends at an end-of-text id ("eos"), before a stop string ("stop"), or when the ids run out ("length"). A chunk
    never ends within a character or within what could become a stop string. `ids` has all ids that were read, including
    those of the stop string.
    """

    def __init__(self, tokenizer, prompt_ids, new_ids, eos_token_ids, stop=()):
        self.new_ids = new_ids
        self.eos_token_ids = eos_token_ids
        self.stop = stop
        self.decoder = tokenizer.text_stream(after=prompt_ids)
        self.text = ""
        self._ids = array("q")  # a list would take four times the memory
        self.finish_reason = "length"
        self._chunks = self._decode_chunks()

    @property
    def ids(self) -> list[int]:
        """The ids that were read so far."""
        return self._ids.tolist()

    def __iter__(self) -> Iterator[str]:
        return self._chunks

    def _decode_chunks(self):
        held = ""  # decoded, but possibly the beginning of a stop string
        for token_id in self.new_ids:
            self._ids.append(int(token_id))
            held += self.decoder.add(token_id)
            stops = [held.find(s) for s in self.stop if s in held]
            if stops:
                self.finish_reason = "stop"
                yield self._append(held[: min(stops)])
                return
            if token_id in self.eos_token_ids:
                self.finish_reason = "eos"
                break
            n_safe = len(held) - self._partial_stop_length(held)
            if n_safe:
                yield self._append(held[:n_safe])
                held = held[n_safe:]
        yield self._append(held + self.decoder.finish())

    def _append(self, chunk):
        self.text += chunk
        return chunk

    def _partial_stop_length(self, held):
        """Return the length of the longest ending of `held` that begins a stop string."""
        lengths = (n for s in self.stop for n in range(1, len(s)) if held.endswith(s[:n]))
        return max(lengths, default=0)


def encode_prompt(tokenizer: Tokenizer, prompt: str, config: GPT2Config) -> list[int]:
    """Return the ids of a prompt; an empty one becomes the token that begins a text, [config.beginning_token_id].

    Raises ValueError if the prompt is empty and the model has no such token.
    """
    ids = tokenizer.encode(prompt)
    if ids:
        return ids
    if config.beginning_token_id is None:
        raise ValueError("the prompt is empty and this model has no token to begin a text with: give a prompt")
    return [config.beginning_token_id]


def ids_without_a_token(tokenizer: Tokenizer, config: GPT2Config) -> list[int]:
    """Return the ids of the model that mean nothing: a vocabulary is often padded to a multiple of 64."""
    if config.vocab_size <= len(tokenizer):
        return []
    return sorted(set(range(config.vocab_size)) - set(tokenizer.get_vocab().values()))


def continue_text(
    model: GPT2,
    tokenizer: Tokenizer,
    prompt: str,
    *,
    stop: str | Iterable[str] = (),
    streaming: bool = False,
    assistant_model: GPT2 | None = None,
    **options: Any,
) -> list[Continuation]:
    """Continue a text; return a list of num_return_sequences Continuations. options: the fields of GenerationConfig.

    stop: strings before which the text ends. An empty prompt becomes the model's beginning-of-text token. With
    streaming, the list has one Continuation, which computes while you iterate over it. assistant_model: see generate.
    """
    stop = list_texts("stop", stop)
    prompt_ids = encode_prompt(tokenizer, prompt, model.config)
    unused = ids_without_a_token(tokenizer, model.config)
    if unused:
        options["suppress_tokens"] = [*(options.get("suppress_tokens") or ()), *unused]
    eos = GenerationConfig.of(options).with_ids_from(model.config).eos_token_id
    continuation = partial(Continuation, tokenizer, prompt_ids, eos_token_ids=eos, stop=stop)
    if streaming:
        return [continuation(stream(model, prompt_ids, assistant_model=assistant_model, **options))]

    def has_stopped(sequences):
        decoded = tokenizer.batch_decode(sequences[:, len(prompt_ids) :], skip_special_tokens=True)
        # U+FFFD at the end may be half a character that the next token completes.
        return [any(s in text.rstrip("\ufffd") for s in stop) for text in decoded]

    criteria = has_stopped if stop else None
    rows = generate(model, prompt_ids, assistant_model=assistant_model, stopping_criteria=criteria, **options)
    continuations = [continuation(row[len(prompt_ids) :]) for row in rows]
    for each in continuations:
        for _ in each:
            pass
    return continuations


class LastLoaded:
    """Loads by name, and keeps what was loaded last for the next call, until the files of its folder change."""

    def __init__(self, load):
        self.load = lru_cache(1)(lambda name, files: load(name))

    def __call__(self, name):
        folder = Path(name)
        paths = sorted(folder.resolve().iterdir()) if folder.is_dir() else []
        stats = [(path, path.stat()) for path in paths if path.is_file()]
        return self.load(name, tuple((path, stat.st_mtime_ns, stat.st_size, stat.st_ino) for path, stat in stats))


_load_model, _load_assistant = LastLoaded(GPT2.from_pretrained), LastLoaded(GPT2.from_pretrained)
_load_tokenizer = LastLoaded(Tokenizer.from_pretrained)


def generate_text(
    prompt: str | list[str],
    max_length: int = 100,
    top_k: int | None = 50,
    top_p: float | None = 0.95,
    num_return_sequences: int = 1,
    model: str = DEFAULT_MODEL,
    assistant_model: str | None = None,
    **options: Any,
) -> list[str] | list[list[str]]:
    """Sample continuations of a text; return num_return_sequences strings, each with the prompt.

    >>> generate_text("Once upon a time", max_length=100, seed=0)

    Several prompts give a list of such lists. max_length includes the tokens of the prompt; max_new_tokens replaces it.
    model: a name for GPT2.from_pretrained; it
    stays loaded for the next call. assistant_model: the name of a smaller one, which drafts.
    options: stop, and the fields of GenerationConfig, such as do_sample=False.
    """
    require_type("prompt", prompt, (str, list, tuple), "a text or a list of texts")
    require_path("model", model)
    gpt2, tokenizer = _load_model(model), _load_tokenizer(model)
    if options.get("max_new_tokens") is None:
        options["max_length"] = max_length
    if assistant_model is not None:
        require_path("assistant_model", assistant_model)
        options["assistant_model"] = _load_assistant(assistant_model)
    sampling = {"top_k": top_k, "top_p": top_p, "num_return_sequences": num_return_sequences}
    options = {"do_sample": True, **sampling, **options}

    def texts(prompt):
        return [prompt + c.text for c in continue_text(gpt2, tokenizer, prompt, **options)]

    return texts(prompt) if isinstance(prompt, str) else [texts(each) for each in prompt]
