"""A page that is one HTML file, without Python and without a network: for homework, a blog, a lecture.

It holds one run, with some tokens that the model would add. Attention looks back only, so the numbers of the first
n tokens are those of a run of these n tokens: the page can show every beginning of the text.

    <script id="data">      JSON: {start, run, prefixes, n_text, vocabulary, lens, beams, beam_options,
                            attribution, token_attribution, arrays}
    <script id="numbers">   the numbers of all arrays as base64, one after the other

start, run, lens: the answers to these questions, for all tokens. prefixes[n - 1]: what differs in `run` for the first n
tokens, {run, text, code}. n_text: the tokens of the text itself. vocabulary: the text of every id. beams: {n: answer},
with beam_options. attribution[t]: {id: answer} for the most probable tokens after position t. token_attribution[t]:
{"id": answer} for the same tokens, and {"id other": edges} of the answer for their difference, of which all else is a
difference; of a model whose parameters are not in the file, {} before the text's end. arrays: {"activations":
{name: place}, "parameters": {name: place}}, a place being {shape, dtype, start, length}, in characters of `numbers`.
web/source_file.js reads all this.
"""

import base64
from itertools import combinations
from pathlib import Path

import numpy as np

from minigpt.files import write_file
from minigpt.generation.sampling import top_indices
from minigpt.gpt2 import GPT2
from minigpt.page.modules import json_for_html, page_html
from minigpt.page.runs import PageRun, id_of_run
from minigpt.page.session import Session
from minigpt.params import flatten
from minigpt.tokenizer import Tokenizer

NEW_TOKENS = 12  # that the model adds to the text, by greedy search
LENS_TOKENS = 5  # the most probable ones at every position
ATTRIBUTION_TOKENS = 3  # the most probable ones at every position, and the differences between them
BEAM_OPTIONS = {"num_beams": 3, "steps": 5}
MAX_PARAMETERS = 4_000_000  # of a model whose parameters are in the file, too
MAX_BYTES = 200_000_000  # of numbers in a file; a browser must read it at once


def write_page(path: str | Path, model: GPT2, tokenizer: Tokenizer, text: str) -> None:
    """Write the page of a text to a file, by rename. Raises ValueError for bad texts and too many numbers, OSError."""
    page = file_html(model, tokenizer, text)
    write_file(Path(path), lambda partial: partial.write_text(page, encoding="utf-8", newline="\n"))


def file_html(model: GPT2, tokenizer: Tokenizer, text: str) -> str:
    """Return the page of a text as one text of HTML. Raises ValueError."""
    session = Session(model, tokenizer, text)
    first, _ = session.answer({"ask": "run", "text": text})
    loaded = session.models.first
    n_text = len(first["ids"])
    room = min(NEW_TOKENS, loaded.max_tokens - n_text)
    ids = loaded.model.generate(first["ids"], max_new_tokens=room)[0].tolist() if room else first["ids"]
    head, _ = session.answer({"ask": "run", "ids": ids})
    run = session.runs.find(head["run"])
    if not all(np.isfinite(array).all() for array in run.trace.values()):
        raise ValueError("the model computes numbers that are not finite: it is damaged")

    numbers = Numbers()
    arrays = {"activations": {name: numbers.add(array[0]) for name, array in run.trace.items()}, "parameters": {}}
    start, _ = session.answer({"ask": "start"})
    start |= {"live": False, "models": [loaded.name], "max_tokens": len(ids), "has_parameters": False}
    if run.config.parameter_count() <= MAX_PARAMETERS:
        start["has_parameters"] = True
        arrays["parameters"] = {
            name: numbers.add(np.asarray(array), may_be_half=True)
            for name, array in flatten(loaded.model.params).items()
        }
    data = {
        "start": start,
        "run": head,
        "prefixes": [_prefix(session, ids[:n], text if n == n_text else None) for n in range(1, len(ids) + 1)],
        "n_text": n_text,
        "vocabulary": session.answer({"ask": "tokens", "ids": list(range(run.config.vocab_size))})[0]["texts"],
        "lens": session.answer({"ask": "lens", "run": run.id, "k": min(LENS_TOKENS, run.config.vocab_size)})[0],
        "beams": _beams(session, ids, n_text),
        "beam_options": BEAM_OPTIONS,
        "attribution": [_attributions(session, run, t) for t in range(len(ids))],
        "token_attribution": [
            _token_attributions(session, run, t) if start["has_parameters"] or t >= n_text - 1 else {}
            for t in range(len(ids))
        ],
        "arrays": arrays,
    }
    return page_html(
        "file",
        f'<script type="application/json" id="data">{json_for_html(data)}</script>\n'
        f'<script type="text/plain" id="numbers">{"".join(numbers.parts)}</script>\n',
    )


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
        little_endian = array.astype(array.dtype.newbyteorder("<"), copy=False)
        part = base64.b64encode(little_endian.tobytes()).decode()
        place = {"shape": list(array.shape), "dtype": array.dtype.name, "start": self.length, "length": len(part)}
        self.parts.append(part)
        self.length += len(part)
        if self.length * 3 / 4 > MAX_BYTES:
            raise ValueError(f"the file would have more than {MAX_BYTES / 1e6:.0f} MB of numbers: shorten the text")
        return place


def _prefix(session, ids, text):
    """Return what the answer to "run" has for the first tokens only. text: that of the ids, if it is known."""
    loaded = session.models.first
    run = PageRun(id_of_run(loaded.name, ids), loaded, ids, text or loaded.tokenizer.decode(ids), [], {})
    return {"run": run.id, "text": run.text, "code": session.runs.python(run)}


def _beams(session, ids, n_text):
    """Return {n: answer to "beams"} for the first n tokens, from the text alone to all tokens; where there is room."""
    found = {}
    for n in range(n_text, len(ids) + 1):
        if n + BEAM_OPTIONS["steps"] <= session.models.first.model.config.n_positions:
            head, _ = session.answer({"ask": "run", "ids": ids[:n]})
            found[n], _ = session.answer({"ask": "beams", "run": head["run"], **BEAM_OPTIONS})
    return found


def _attributions(session, run, position):
    """Return {id: answer to "attribution"} for the most probable tokens after a position."""
    question = {"ask": "attribution", "run": run.id, "position": position}
    return {token: _rounded(session.answer(question | {"token": token})[0]) for token in _best(run, position)}


def _token_attributions(session, run, position):
    """Return {"id": answer to "token_attribution", "id other": edges of that} for the same tokens."""
    question = {"ask": "token_attribution", "run": run.id, "position": position}
    best = _best(run, position)
    answers = {str(token): session.answer(question | {"token": token})[0] for token in best}
    for token, other in combinations(best, 2):
        answers[f"{token} {other}"] = session.answer(question | {"token": token, "other": other})[0]["edges"]
    return _rounded(answers)


def _best(run, position):
    """Return the ids of the most probable tokens after a position."""
    return top_indices(run.trace["logits"][0, position], min(ATTRIBUTION_TOKENS, run.config.vocab_size)).tolist()


def _rounded(value):
    """Return a head whose numbers have the digits of float32, which are half as long in JSON."""
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.8g}") if isinstance(value, float) else value
