"""Continue prompts token by token: generate and stream, with greedy search and sampling."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from minigpt.checks import require, shown
from minigpt.generation.beams import beam_search
from minigpt.generation.observed import ObservedModel
from minigpt.generation.options import GenerationConfig
from minigpt.generation.output import GenerateOutput, Recorder
from minigpt.generation.reader import Reader
from minigpt.generation.sampling import apply_filters, draw_tokens, require_candidates, row_generators
from minigpt.generation.speculative import choose_drafter, speculative_tokens
from minigpt.generation.stopping import finished_rows, list_criteria
from minigpt.run import ContextLengthError, checked_ids, left_padding


def generate(
    model,
    ids: ArrayLike | list[list[int]] | None = None,
    *,
    input_ids: ArrayLike | list[list[int]] | None = None,
    attention_mask: ArrayLike | None = None,
    assistant_model=None,
    stopping_criteria: Callable | list[Callable] | None = None,
    stop_strings: str | list[str] | None = None,
    tokenizer=None,
    streamer=None,
    return_dict_in_generate: bool = False,
    output_scores: bool = False,
    output_logits: bool = False,
    use_cache: bool = True,
    watch: Callable[..., None] | None = None,
    edit: dict[str, Callable[[np.ndarray], np.ndarray]] | None = None,
    trace: dict[str, list[np.ndarray]] | None = None,
    **options: Any,
) -> np.ndarray | GenerateOutput:
    """Continue prompts with the model.

    ids: one prompt [T], prompts of one length [B, T], or a list of prompts of any lengths. Shorter ones are padded at
    the left; an array that is already padded needs its attention_mask. assistant_model: a smaller GPT2 with the same
    vocabulary, which drafts for this one (speculative.py). stopping_criteria: a function of the sequences so far, int64
    [N, T], that returns which rows [N] are finished, or a list of such functions. stop_strings: texts that end a text
    once the last token completes one of them; they need the tokenizer. streamer: gets the prompt and every new token by
    its method put, and at the end the call end(). input_ids: Hugging Face's name for ids. watch: see beam_search.
    edit: as in model(ids, edit=edit), in every step; the functions get the tokens that are read in that step, first
    those of the prompts, then one a row. trace, a dict or a minigpt.Trace, receives by name a list of the activations
    of each step. options: the fields of GenerationConfig.

    Return int64 [N, T + new tokens], N = prompts * num_return_sequences: prompts included, end-of-text tokens
    included, rows that end early filled with pad_token_id. With return_dict_in_generate, return a GenerateOutput, which
    has the scores and logits of every new token, too, if output_scores and output_logits ask for them. Raises
    ContextLengthError before any work if the result could exceed n_positions, ValueError for other bad input.
    """
    if (ids is None) == (input_ids is None):
        raise ValueError("give the ids of the prompt, as the first argument or as input_ids")
    if not use_cache:
        raise ValueError("generation always keeps keys and values (use_cache=True); model(ids) computes without")
    options, tokens, padding = _prepare(model, input_ids if ids is None else ids, attention_mask, options)
    criteria = list_criteria(stopping_criteria, stop_strings, tokenizer)
    drafter = choose_drafter(model, assistant_model, tokens, options)
    if trace is not None and (options.num_beams > 1 or drafter is not None):
        raise ValueError("activations are kept in greedy search and sampling only; model(ids, trace=trace) gives all")
    if edit or trace is not None:
        model = ObservedModel(model, edit, trace)
    recorder = None
    if output_scores or output_logits:
        if not return_dict_in_generate:
            raise ValueError("output_scores and output_logits need return_dict_in_generate=True")
        if options.num_beams > 1 or drafter is not None:
            raise ValueError("scores are kept in greedy search and sampling only; watch shows those of beams")
        recorder = Recorder(output_scores, output_logits)
    if streamer is not None:
        require(
            hasattr(streamer, "put") and hasattr(streamer, "end"), "streamer", streamer, "an object with put and end"
        )
    if options.num_beams > 1:
        if streamer is not None:
            raise ValueError("a streamer cannot show beams: they change until the end")
        sequences = beam_search(model, tokens, padding, options, criteria, watch)
    elif watch is not None:
        raise ValueError("watch is for beam search: num_beams must be above 1")
    else:
        steps = _next_tokens(model, tokens, padding, options, drafter, criteria, recorder)
        sequences = _joined(np.repeat(tokens, options.num_return_sequences, axis=0), steps, streamer)
    if not return_dict_in_generate:
        return sequences
    return GenerateOutput(sequences) if recorder is None else recorder.output(sequences)


def _joined(prompts, steps, streamer):
    """Return prompts [N, T] and the ids of all steps, each [N], as one array; a streamer sees each as it comes."""
    parts = [prompts]
    if streamer is not None:
        streamer.put(prompts)
    for step in steps:
        parts.append(step[:, None])
        if streamer is not None:
            streamer.put(step)
    if streamer is not None:
        streamer.end()
    return np.concatenate(parts, axis=1)


def stream(
    model,
    ids: ArrayLike,
    *,
    assistant_model=None,
    stopping_criteria: Callable | list[Callable] | None = None,
    stop_strings: str | list[str] | None = None,
    tokenizer=None,
    edit: dict[str, Callable[[np.ndarray], np.ndarray]] | None = None,
    **options: Any,
) -> Iterator[int]:
    """Continue one prompt, yielding the ids that generate would append, each as soon as it is found."""
    options, tokens, padding = _prepare(model, ids, None, options)
    if len(tokens) * options.num_return_sequences > 1 or options.num_beams > 1:
        raise ValueError("streaming is for one prompt and one continuation, without beams: use generate")
    criteria = list_criteria(stopping_criteria, stop_strings, tokenizer)
    drafter = choose_drafter(model, assistant_model, tokens, options)
    model = ObservedModel(model, edit) if edit else model
    return (int(step[0]) for step in _next_tokens(model, tokens, padding, options, drafter, criteria))


def _next_tokens(model, tokens, padding, options, drafter, criteria, recorder=None):
    """Return an iterator over the next ids of every row, int64 [N], by greedy search or sampling."""
    if drafter is None:
        return _one_by_one(model, tokens, padding, options, criteria, recorder)
    return speculative_tokens(model, tokens, padding, options, drafter, criteria)


def _one_by_one(model, tokens, padding, options, criteria, recorder):
    """Yield the next id of every row, int64 [N], until all rows are finished."""
    n_prompt, n_total = tokens.shape[1], tokens.shape[1] + options.max_new_tokens
    rows = np.repeat(np.arange(len(tokens)), options.num_return_sequences)
    sequences = np.empty((len(rows), n_total), np.int64)
    sequences[:, :n_prompt] = tokens[rows]
    row_padding = np.zeros(len(rows), int) if padding is None else padding[rows]
    rngs = row_generators(options.seed, len(rows)) if options.do_sample else None
    finished = np.zeros(len(rows), bool)

    reader = Reader(model, len(tokens), n_total, padding, options.slide, options.cache_dtype)
    for length in range(n_prompt, n_total):
        if length == n_prompt:  # each prompt is read once, however many continuations it gets
            logits = reader.next_logits(tokens)[rows]
            reader.select(rows)
        else:
            logits = reader.next_logits(sequences[:, :length])
        unpadded = [sequence[start:length] for sequence, start in zip(sequences, row_padding, strict=True)]
        scores = apply_filters(logits, unpadded, options, n_new=length - n_prompt)
        if recorder is not None:
            recorder.add(logits, scores)
        scores[finished] = 0.0  # their draws are replaced by padding
        require_candidates(scores)
        step = draw_tokens(scores, rngs) if options.do_sample else scores.argmax(axis=-1)
        step = np.where(finished, options.pad_token_id, step)
        sequences[:, length] = step
        finished |= finished_rows(sequences[:, : length + 1], options, criteria)
        yield step
        if finished.all():
            return


def _prepare(model, ids, attention_mask, options):
    """Check everything before any work; return the options, tokens int64 [B, T] and padding [B] or None."""
    options = GenerationConfig.of(options).with_ids_from(model.config)
    prompts = _list_prompts(ids)
    longest = max(len(prompt) for prompt in prompts)
    options = options.with_lengths_for(longest)
    tokens = np.full((len(prompts), longest), options.pad_token_id, np.int64)
    mask = np.zeros(tokens.shape, bool)
    for i, prompt in enumerate(prompts):
        tokens[i, longest - len(prompt) :] = prompt
        mask[i, longest - len(prompt) :] = True
    if attention_mask is not None:
        if not mask.all():
            rows = attention_mask if _is_nested(attention_mask) else ()
            lengths = [len(row) for row in rows if np.array_equal(row, np.ones(len(row)))]
            if lengths != [len(prompt) for prompt in prompts]:
                raise ValueError("attention_mask is for an array [B, T]; prompts of different lengths need none")
        else:
            mask = attention_mask
    padding = left_padding(mask, tokens.shape)
    checked_ids(tokens, model.config)

    n_total, n_positions = longest + options.max_new_tokens, model.config.n_positions
    if n_total > n_positions and not options.slide:
        room = f"at most {n_positions - longest} new tokens fit" if longest < n_positions else "shorten the prompt"
        raise ContextLengthError(
            f"the prompt has {longest} tokens and max_new_tokens is {options.max_new_tokens}: {n_total} together, but "
            f"the model has {n_positions} positions; {room}, or set slide to drop the oldest tokens"
        )
    return options, tokens, padding


def _list_prompts(ids):
    """Return one prompt, a batch, or a list of prompts of any lengths as a list of arrays. Raises ValueError."""
    prompts = [_as_array(prompt) for prompt in (ids if _is_nested(ids) else [ids])]
    if not prompts or any(prompt.size == 0 for prompt in prompts):
        raise ValueError("a prompt is empty: give at least one token, such as the end-of-text token")
    for prompt in prompts:
        if prompt.ndim != 1 or not np.issubdtype(prompt.dtype, np.integer):
            raise ValueError(f"a prompt must be a list of integers, not {prompt.dtype} of shape {prompt.shape}")
    return prompts


def _is_nested(rows):
    """Return whether there are several rows: a list of lists or arrays, or an array of two dimensions."""
    if isinstance(rows, list | tuple):
        return len(rows) > 0 and all(isinstance(row, list | tuple | np.ndarray) for row in rows)
    return isinstance(rows, np.ndarray) and rows.ndim > 1


def _as_array(prompt):
    try:
        return np.asarray(prompt)
    except ValueError as error:  # lists of different lengths inside
        raise ValueError(f"a prompt must be a list of integers, not {shown(prompt)}") from error
