"""From text to text: prompts in, continuations out, whole or piece by piece."""

from functools import lru_cache, partial

from minigpt.bundled import DEFAULT_MODEL
from minigpt.generate import GenerationConfig, generate, stream
from minigpt.model import GPT2
from minigpt.tokenizer import Tokenizer


class Continuation:
    """The text of new ids as they come: iterate for the pieces; then `text`, `ids` and `finish_reason` are known.

    It ends at an end-of-text id ("eos"), before a stop string ("stop"), or with the ids ("length"). A piece never ends
    in half a character or in what could become a stop string. `ids` are all that were read, those of the stop string
    too.
    """

    def __init__(self, tokenizer, prompt_ids, new_ids, eos_token_ids, stop=()):
        self.new_ids, self.eos_token_ids, self.stop = new_ids, eos_token_ids, stop
        self.decoder = tokenizer.text_stream(after=prompt_ids)
        self.text, self.ids, self.finish_reason = "", [], "length"
        self.pieces = self._pieces()

    def __iter__(self):
        return self.pieces

    def _pieces(self):
        held = ""  # decoded, but perhaps the beginning of a stop string
        for token_id in self.new_ids:
            self.ids.append(int(token_id))
            held += self.decoder.add(token_id)
            found = [held.find(s) for s in self.stop if s in held]
            if found:
                self.finish_reason = "stop"
                yield self._out(held[: min(found)])
                return
            if token_id in self.eos_token_ids:
                self.finish_reason = "eos"
                break
            safe = len(held) - self._possible_stop(held)
            if safe:
                yield self._out(held[:safe])
                held = held[safe:]
        yield self._out(held + self.decoder.finish())

    def _out(self, piece):
        self.text += piece
        return piece

    def _possible_stop(self, held):
        """The length of the longest end of `held` that begins a stop string."""
        ends = (n for s in self.stop for n in range(1, len(s)) if held.endswith(s[:n]))
        return max(ends, default=0)


def continue_text(model, tokenizer, prompt, *, stop=(), streaming=False, **options):
    """Continue a text; a list of num_return_sequences Continuations. options: GenerationConfig's.

    stop: texts before which to end. An empty prompt begins from nothing: from the model's beginning-of-text token. With
    streaming there is one Continuation, which computes while one iterates over it.
    """
    stop = (stop,) if isinstance(stop, str) else tuple(stop)
    if "" in stop:
        raise ValueError("stop needs texts that are not empty")
    prompt_ids = tokenizer.encode(prompt) or [_beginning(model.config)]
    eos = GenerationConfig(**options).with_ids_from(model.config).eos_token_id
    continuation = partial(Continuation, tokenizer, prompt_ids, eos_token_ids=eos, stop=stop)
    if streaming:
        return [continuation(stream(model, prompt_ids, **options))]

    def has_stopped(texts):
        decoded = tokenizer.batch_decode(texts[:, len(prompt_ids) :], skip_special_tokens=True)
        # Without half a character at the end, which the next token may complete.
        return [any(s in text.rstrip("\ufffd") for s in stop) for text in decoded]

    rows = generate(model, prompt_ids, stopping_criteria=has_stopped if stop else None, **options)
    continuations = [continuation(row[len(prompt_ids) :]) for row in rows]
    for each in continuations:
        for _ in each:
            pass
    return continuations


def _beginning(config):
    for token_id in (config.bos_token_id, *config.eos_token_ids):
        if token_id is not None and 0 <= token_id < config.vocab_size:
            return token_id
    raise ValueError("the prompt is empty and this model has no token to begin a text with: give a prompt")


_load_model, _load_tokenizer = lru_cache(1)(GPT2.from_pretrained), lru_cache(1)(Tokenizer.from_pretrained)


def generate_text(prompt, max_length=100, top_k=50, top_p=0.95, num_return_sequences=1, model=DEFAULT_MODEL, **options):
    """Sampled continuations of a text, the prompt included: a list of num_return_sequences strings.

    >>> generate_text("Once upon a time", max_length=100, seed=0)

    max_length counts the tokens of the prompt too; max_new_tokens takes its place. model: a name for
    GPT2.from_pretrained, which stays loaded for the next call, as the files were at the first. options: stop, and
    GenerationConfig's, do_sample=False among them.
    """
    gpt2, tokenizer = _load_model(model), _load_tokenizer(model)
    room = max_length - len(tokenizer.encode(prompt) or [None])
    if room < 1 and "max_new_tokens" not in options:
        raise ValueError(f"max_length = {max_length} leaves no room: the prompt alone has {max_length - room} tokens")
    options = {"do_sample": True, "max_new_tokens": room, **options}
    sampling = {"top_k": top_k, "top_p": top_p, "num_return_sequences": num_return_sequences}
    return [prompt + c.text for c in continue_text(gpt2, tokenizer, prompt, **sampling, **options)]
