"""A page that is one HTML file, without Python and without a network: for homework, a blog, a lecture.

It holds one run, with some tokens that the model would add. Attention looks back only, so the numbers of the first
n tokens are those of a run of these n tokens: the page can show every beginning of the text.

    <script id="data">      JSON: {start, run, prefixes, n_text, vocabulary, lens, beams, beam_options,
                            attribution, token_attribution, arrays}
    <script id="numbers">   the numbers of all arrays, packed, as base64, one array after the other

start, run, lens: the answers to these questions, for all tokens. prefixes[n - 1]: what differs in `run` for the first n
tokens, {run, text, encodes, code, largest}, largest being that of every step. n_text: the tokens of the text itself.
vocabulary: the text of every id. beams: {n: answer}, with beam_options. attribution[t]: the ids of the K most probable
tokens after position t, whose logits are split. token_attribution[t]: {"id": answer} for the same tokens, and
{"id other": edges} of the answer for their difference, of which all else is a difference; of a model whose parameters
are not in the file, {} before the text's end.

arrays: {"activations": {name: place}, "parameters": {name: place}, "attribution": [{field: place} for every position]},
where a place is {shape, dtype, start, length}, the last two in characters of `numbers`. Activations have no batch axis.
The fields are those of Attribution that are numbers, each [K, ...], in the model's dtype.

An array is packed without loss: the first bytes of all its numbers, then all second bytes and so on (little-endian),
compressed as zlib does it, which browsers call "deflate". Of a float32 only the byte with the exponent, and zeros, get
smaller. Matrices of parameters that float16 can express are stored as such.
web/source_file.js reads all this.
"""

import base64
import zlib
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from itertools import combinations
from pathlib import Path

import numpy as np

from minigpt.activations import find_activation
from minigpt.files import write_file
from minigpt.generation.sampling import top_indices
from minigpt.gpt2 import GPT2
from minigpt.page.analyses import beams, parts_of_logits
from minigpt.page.modules import json_for_html, page_around_data
from minigpt.page.runs import PageRun, id_of_run
from minigpt.page.session import Session
from minigpt.params import flatten
from minigpt.tokenizer import Tokenizer

NEW_TOKENS = 12  # that the model adds to the text, by greedy search
LENS_TOKENS = 5  # the most probable ones at every position
ATTRIBUTION_TOKENS = 3  # the most probable ones at every position, and the differences between them
ATTRIBUTION_FIELDS = (
    "logit", "wte", "wpe", "heads", "attn_biases", "mlps", "ln_f_bias", "by_token", "rest",
)  # fmt: skip
POSITIONS_AT_ONCE = 16  # whose logits are split together
BEAM_OPTIONS = {"num_beams": 3, "steps": 5}
MAX_PARAMETERS = 4_000_000  # of a model whose parameters are in the file, too
MAX_BYTES = 200_000_000  # of numbers in a file, packed; a browser must read it at once


Progress = Callable[[Iterable, int, str], Iterable]  # takes an iterable, its length and what it consists of


def write_page(
    path: str | Path, model: GPT2, tokenizer: Tokenizer, text: str, progress: Progress = lambda items, *_: items
) -> str:
    """Write the page of a text to a file, by rename, and return a phrase that says what it holds.

    progress: yields what takes long, one item after the other, as cli.output.progress does. Raises ValueError for bad
    texts and too many numbers, OSError.
    """
    data, numbers = page_data(model, tokenizer, text, progress)

    def write(partial):
        with open(partial, "w", encoding="utf-8", newline="\n") as file:
            file.writelines(page_parts(data, numbers))

    write_file(Path(path), write)
    n_tokens, n_text = len(data["run"]["ids"]), data["n_text"]
    parameters = "with" if data["start"]["has_parameters"] else "without"
    return f"{n_tokens} tokens, of which the model added {n_tokens - n_text}, {parameters} the model's parameters"


def file_html(model: GPT2, tokenizer: Tokenizer, text: str) -> str:
    """Return the page of a text as one text of HTML. Raises ValueError."""
    return "".join(page_parts(*page_data(model, tokenizer, text, lambda items, *_: items)))


def page_parts(data: dict, numbers: list[str]) -> list[str]:
    """Return the page of some data as texts that follow each other; numbers: the base64 of every array."""
    before, after = page_around_data("file")
    head = f'<script type="application/json" id="data">{json_for_html(data)}</script>\n'
    return [before, head, '<script type="text/plain" id="numbers">', *numbers, "</script>\n", after]


def page_data(model: GPT2, tokenizer: Tokenizer, text: str, progress: Progress) -> tuple[dict, list[str]]:
    """Return the data of a page, for JSON, and the base64 of every array. Raises ValueError."""
    session = Session(model, tokenizer, text)
    head, n_text = _run_with_new_tokens(session, text)
    run, numbers = session.runs.find(head["run"]), Numbers()
    vocab_size = run.config.vocab_size
    if not all(np.isfinite(array).all() for array in run.trace.values()):
        raise ValueError("the model computes numbers that are not finite: it is damaged")
    has_parameters = run.config.parameter_count() <= MAX_PARAMETERS
    parameters = flatten(run.loaded.model.params) if has_parameters else {}
    best = top_indices(run.trace["logits"][0], min(ATTRIBUTION_TOKENS, vocab_size)).tolist()
    prefixes = [_prefix(run, n, text if n == n_text else None) for n in range(1, len(run.ids) + 1)]

    trace = progress(run.trace.items(), len(run.trace), "activation")
    arrays = {
        "activations": {name: numbers.add(array[0]) for name, array in trace},
        "parameters": {name: numbers.add(np.asarray(array), may_be_half=True) for name, array in parameters.items()},
        "attribution": [
            {name: numbers.add(array) for name, array in fields.items()}
            for fields in _attributions(run, best, progress)
        ],
    }
    start, _ = session.answer({"ask": "start"})
    start |= {"live": False, "models": [run.loaded.name], "max_tokens": len(run.ids), "has_parameters": has_parameters}
    data = {
        "start": start,
        "run": head,
        "prefixes": _differences(session, run, prefixes),
        "n_text": n_text,
        "vocabulary": session.answer({"ask": "tokens", "ids": list(range(vocab_size))})[0]["texts"],
        "lens": session.answer({"ask": "lens", "run": run.id, "k": min(LENS_TOKENS, vocab_size)})[0],
        "beams": _beams(prefixes[n_text - 1 :], progress),
        "beam_options": BEAM_OPTIONS,
        "attribution": best,
        "token_attribution": [
            _token_attributions(session, run.id, t, best[t]) if has_parameters or t >= n_text - 1 else {}
            for t in progress(range(len(run.ids)), len(run.ids), "token")
        ],
        "arrays": arrays,
    }
    return data, numbers.parts


class Numbers:
    """Arrays as one base64 text. parts: the text of each array."""

    def __init__(self):
        self.parts = []
        self.length = 0

    def add(self, array: np.ndarray, may_be_half: bool = False) -> dict:
        """Add an array and return its place; as float16 if that may be and changes no number. Raises ValueError."""
        if may_be_half and np.abs(array).max() < np.finfo(np.float16).max:
            half = array.astype(np.float16)
            array = half if np.array_equal(half, array) else array
        part = base64.b64encode(packed(array)).decode()
        place = {"shape": list(array.shape), "dtype": array.dtype.name, "start": self.length, "length": len(part)}
        self.parts.append(part)
        self.length += len(part)
        if self.length * 3 / 4 > MAX_BYTES:
            raise ValueError(f"the file would have more than {MAX_BYTES / 1e6:.0f} MB of numbers: shorten the text")
        return place


def packed(array: np.ndarray) -> bytes:
    """Return the bytes of an array, those of the same place in each number side by side, compressed."""
    little_endian = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    by_place = little_endian.reshape(-1, 1).view(np.uint8).T
    # Among the digits of numbers there are no repetitions to search for: this is four times as fast, and no larger.
    compressor = zlib.compressobj(strategy=zlib.Z_RLE)
    return compressor.compress(by_place.tobytes()) + compressor.flush()


def _run_with_new_tokens(session, text):
    """Return the answer to "run" for a text and what the model adds to it, and the number of the text's tokens."""
    first, _ = session.answer({"ask": "run", "text": text})
    ids, loaded = first["ids"], session.models.first
    room = min(NEW_TOKENS, loaded.max_tokens - len(ids))
    if not room:
        return first, len(ids)
    session.answer({"ask": "forget", "run": first["run"]})
    longer = loaded.model.generate(ids, max_new_tokens=room)[0].tolist()
    head, _ = session.answer({"ask": "run", "ids": longer})
    return head, len(ids)


def _prefix(run, n, text):
    """Return the run of the first n tokens, cut from that of all. text: that of these tokens, if it is known."""
    loaded, ids = run.loaded, run.ids[:n]
    trace = {name: array[_first(name, n)] for name, array in run.trace.items()}
    return PageRun(id_of_run(loaded.name, ids), loaded, ids, text or loaded.tokenizer.decode(ids), [], trace)


def _first(name, n):
    """Return the slices that take an activation of the first n tokens, as queries and as keys."""
    return tuple(slice(n) if axis in "TS" else slice(None) for axis in find_activation(name).axes)


def _differences(session, run, prefixes):
    """Return what the answer to "run" has for the first tokens only, for each of the prefixes."""
    largest = np.array([_largest(name, array[0]) for name, array in run.trace.items()]).T.tolist()  # [T, steps]
    return [
        {
            "run": prefix.id,
            "text": prefix.text,
            "encodes": prefix.encodes,
            "code": session.runs.python(prefix),
            "largest": numbers,
        }
        for prefix, numbers in zip(prefixes, largest, strict=True)
    ]


def _largest(name, array):
    """Return the largest absolute value of an activation among the first n tokens, [T]: one for each n from 1."""
    axes = find_activation(name).axes[1:]
    others = tuple(i for i, axis in enumerate(axes) if axis not in "TS")
    values = np.abs(array).max(axis=others)  # [T] or [T, S]
    for axis in range(values.ndim):
        values = np.maximum.accumulate(values, axis=axis)
    return values if values.ndim == 1 else values.diagonal()


def _beams(prefixes, progress):
    """Return {n: answer to "beams"} for prefixes of n tokens; where there is room."""
    config = prefixes[0].config
    roomy = [prefix for prefix in prefixes if len(prefix.ids) + BEAM_OPTIONS["steps"] <= config.n_positions]
    runs = progress(roomy, len(roomy), "beam search")
    return {len(run.ids): beams(run, **BEAM_OPTIONS, computing=nullcontext()) for run in runs}


def _attributions(run, best, progress):
    """Yield, for every position, the fields of the Attributions of its best tokens [T][K]: arrays [K, ...]."""
    T, dtype = len(best), run.trace["logits"].dtype
    for t in progress(range(T), T, "attribution"):
        if t % POSITIONS_AT_ONCE == 0:
            positions = range(t, min(t + POSITIONS_AT_ONCE, T))
            found = iter(parts_of_logits(run, [(p, token, None) for p in positions for token in best[p]]))
        parts = [next(found) for _ in best[t]]
        yield {name: np.array([getattr(part, name) for part in parts], dtype) for name in ATTRIBUTION_FIELDS}


def _token_attributions(session, run_id, position, best):
    """Return {"id": answer to "token_attribution", "id other": edges of that} for the best tokens after a position."""
    question = {"ask": "token_attribution", "run": run_id, "position": position}
    answers = {str(token): session.answer(question | {"token": token})[0] for token in best}
    for token, other in combinations(best, 2):
        answers[f"{token} {other}"] = session.answer(question | {"token": token, "other": other})[0]["edges"]
    return _rounded(answers)


def _rounded(value):
    """Return a head whose numbers have the digits of float32, which are half as long in JSON."""
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.8g}") if isinstance(value, float) else value
