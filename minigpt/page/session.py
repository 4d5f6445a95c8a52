"""The questions of a page about a model, answered. README.md lists them."""

from collections.abc import Callable

import numpy as np

from minigpt.activations import ACTIVATIONS
from minigpt.gpt2 import GPT2
from minigpt.looking.labels import token_texts
from minigpt.looking.stepping import describe
from minigpt.page.analyses import (
    MAX_BEAM_STEPS,
    MAX_BEAMS,
    MAX_COLUMNS,
    MAX_LENS_TOKENS,
    beams,
    lengths_of_rows,
    lens,
    lens_of_last_block,
    lens_of_position,
    parts_of_logit,
    pooled,
    tokens_of_logit,
    uncertainty,
)
from minigpt.page.changes import read_changes
from minigpt.page.fields import (
    as_slices,
    checked_index,
    ids_field,
    integer_field,
    places_field,
    shortened,
    text_field,
)
from minigpt.page.models import Loaded, Models
from minigpt.page.runs import Runs
from minigpt.params import flatten
from minigpt.run import ContextLengthError
from minigpt.tokenizer import Tokenizer

Answer = tuple[dict, list[np.ndarray]]  # a head for JSON, and arrays that encode_answer takes


class Session:
    """Answers the questions of one or more pages about a model, from any thread.

    >>> session = Session(model, tokenizer, "Once upon a time")
    >>> head, _ = session.answer({"ask": "run", "text": "Once upon a time"})
    >>> _, (weights,) = session.answer(
    ...     {"ask": "numbers", "run": head["run"], "of": [["h.0.attn.weights", [0, None, None]]]}
    ... )
    """

    live = True

    def __init__(self, model: GPT2, tokenizer: Tokenizer, text: str):
        self.text = text
        self.models = Models(model, tokenizer)
        self.runs = Runs(self.models)
        self._questions: dict[str, Callable[[dict], Answer]] = {
            "start": self._start,
            "run": self._run,
            "numbers": self._numbers,
            "pooled": self._pooled,
            "lengths": self._lengths,
            "parameters": self._parameters,
            "tokens": self._tokens,
            "lens": self._lens,
            "uncertainty": self._uncertainty,
            "beams": self._beams,
            "attribution": self._attribution,
            "token_attribution": self._token_attribution,
            "forget": self._forget,
        }

    def answer(self, question: dict) -> Answer:
        """Return the answer to a question {"ask": NAME, ...}: a head and arrays. Raises ValueError."""
        if not isinstance(question, dict):
            raise ValueError(f"a question must be an object, not {shortened(question)}")
        name = question.get("ask")
        if not isinstance(name, str) or name not in self._questions:
            raise ValueError(f"ask must be one of {', '.join(self._questions)}, not {shortened(name)}")
        return self._questions[name](question)

    def _start(self, question):
        first = self.models.first
        head = {
            "text": self.text,
            "model": first.name,
            "models": self.models.names(),
            "live": self.live,
            "config": config_head(first.model.config),
            "activations": activations_head(first.model.config),
            "max_tokens": first.max_tokens,
            "has_parameters": True,
        }
        return head, []

    def _run(self, question):
        loaded = self._loaded(question)
        if question.get("ids") is None:
            text = text_field(question, "text")
            ids = loaded.tokenizer.encode(text)
            if not ids:
                raise ValueError("the text is empty: there is nothing to look at without at least one token")
        else:
            ids = ids_field(question, "ids", loaded.model.config.vocab_size, loaded.max_tokens)
            text = loaded.tokenizer.decode(ids)
        if len(ids) > loaded.max_tokens:
            raise ContextLengthError(
                f"the text has {len(ids)} tokens; the page takes at most {loaded.max_tokens} of them: shorten it"
            )
        changes = read_changes(question, loaded.model.config, len(ids))
        run = self.runs.run(loaded, ids, text, changes)
        head = {
            "run": run.id,
            "ids": ids,
            "tokens": run.tokens,
            "text": text,
            "encodes": run.encodes,
            "steps": run.steps(),
            "python": loaded.python,
            "code": self.runs.python(run),
            "changes": [change.fields for change in changes],
            "model": loaded.name,
            "config": config_head(run.config),
            "max_tokens": loaded.max_tokens,
        }
        return head, []

    def _numbers(self, question):
        return {}, [array for _, _, array in self._activations(question)]

    def _pooled(self, question):
        columns = integer_field(question, "columns", 1, MAX_COLUMNS)
        return {}, [part for place in self._activations(question) for part in pooled(*place, columns)]

    def _lengths(self, question):
        return {}, [lengths_of_rows(name, array) for name, _, array in self._activations(question)]

    def _activations(self, question):
        """Return (name, index, numbers) of every place of a question; less those of another run, for "minus"."""
        run = self.runs.find(text_field(question, "run"))
        other = None if question.get("minus") is None else self.runs.find(text_field(question, "minus"))
        found = []
        for name, index in places_field(question, "of"):
            if name not in run.trace:
                raise ValueError(f"this model has no activation {shortened(name)}")
            array = run.trace[name][0]
            slices = as_slices(checked_index(index, array.shape, name))
            part = np.asarray(array[slices])
            if other is not None:
                subtracted = other.trace[name][0] if name in other.trace else None
                if subtracted is None or subtracted.shape != array.shape:
                    raise ValueError(f"{name} has not the same shape in both runs: there is no difference")
                with np.errstate(all="ignore"):  # as in the runs themselves
                    part = part - subtracted[slices]
            found.append((name, index, part))
        return found

    def _parameters(self, question):
        parameters = flatten(self._loaded(question).model.params)
        arrays = []
        for name, index in places_field(question, "of"):
            if name not in parameters:
                raise ValueError(f"this model has no parameter {shortened(name)}")
            array = parameters[name]
            arrays.append(np.asarray(parameter_numbers(array, checked_index(index, array.shape, name))))
        return {}, arrays

    def _tokens(self, question):
        loaded = self._loaded(question)
        vocab_size = loaded.model.config.vocab_size
        ids = ids_field(question, "ids", vocab_size, vocab_size)
        return {"texts": token_texts(loaded.tokenizer, ids)}, []

    def _lens(self, question):
        run = self.runs.find(text_field(question, "run"))
        k = integer_field(question, "k", 1, min(MAX_LENS_TOKENS, run.config.vocab_size), default=5)
        if question.get("position") is not None:
            position = integer_field(question, "position", 0, len(run.ids) - 1)
            return lens_of_position(run, self.runs.edits(run), k, position, self.runs.computing), []
        if question.get("last") is True:
            return lens_of_last_block(run, k), []
        return self._once(run, ("lens", k), lambda: lens(run, self.runs.edits(run), k, self.runs.computing)), []

    def _uncertainty(self, question):
        return {}, list(uncertainty(self.runs.find(text_field(question, "run"))))

    def _beams(self, question):
        run = self.runs.find(text_field(question, "run"))
        num_beams = integer_field(question, "num_beams", 2, MAX_BEAMS, default=3)
        steps = integer_field(question, "steps", 1, MAX_BEAM_STEPS, default=5)
        if run.changes:
            raise ValueError("a beam search runs the model as it is: undo the changes first")
        key = "beams", num_beams, steps
        return self._once(run, key, lambda: beams(run, num_beams, steps, self.runs.computing)), []

    def _attribution(self, question):
        return parts_of_logit(*self._logit(question)), []

    def _token_attribution(self, question):
        return tokens_of_logit(*self._logit(question)), []

    def _logit(self, question):
        """Return the run, the position, the token and the other token, or None, of a question about a logit."""
        run = self.runs.find(text_field(question, "run"))
        last_id = run.config.vocab_size - 1
        position = integer_field(question, "position", 0, len(run.ids) - 1)
        token = integer_field(question, "token", 0, last_id)
        other = None if question.get("other") is None else integer_field(question, "other", 0, last_id)
        return run, position, token, other

    def _once(self, run, key, compute):
        """Return what compute() does, remembered with the run."""
        with run.answering:
            if key not in run.answers:
                run.answers[key] = compute()
            return run.answers[key]

    def _forget(self, question):
        self.runs.forget(text_field(question, "run"))
        return {}, []

    def _loaded(self, question) -> Loaded:
        """Return the model of a question: that of its run, or the named one, or the first."""
        if question.get("run") is not None:
            return self.runs.find(text_field(question, "run")).loaded
        return self.models.find(None if question.get("model") is None else text_field(question, "model"))


def parameter_numbers(array, index):
    """Return some numbers of a parameter; index: an integer or None (all) for each axis.

    Of a packed matrix only the outputs that are asked for are unpacked, where the index says which.
    """
    if isinstance(array, np.ndarray):
        return array[as_slices(index)]
    stored, stored_index = (array.T, index[::-1]) if array.is_transposed else (array, index)
    row, column = stored_index
    rows = stored.unpack(slice(None) if row is None else slice(row, row + 1))
    numbers = rows[:, slice(None) if column is None else column]
    numbers = numbers if row is None else numbers[0]
    return numbers.T if array.is_transposed else numbers


def config_head(config):
    """Return the configuration as the page takes it, with what follows from it."""
    names = ("n_layer", "n_head", "n_embd", "head_size", "vocab_size", "n_positions", "activation_function")
    return {name: getattr(config, name) for name in names} | {
        "n_inner": config.mlp_width,
        "layer_norm_epsilon": config.layer_norm_epsilon,
        "tied": config.tie_word_embeddings,
        "scales": [config.attention_scale(layer) for layer in range(config.n_layer)],
        "parameters": config.parameter_count(),
    }


def activations_head(config):
    """Return the table of activations, with the formulas of this configuration (of block 0, where blocks differ)."""
    rows = []
    for a in ACTIVATIONS:
        formula, meaning = describe(f"h.0.{a.name}" if a.in_block else a.name, config)
        row = {"name": a.name, "axes": a.axes[1:], "formula": formula, "meaning": meaning}
        rows.append(row | {"in_block": a.in_block, "is_probability": a.is_probability})
    return rows
