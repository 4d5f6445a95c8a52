"""What a page shows beside the activations of a run: the logit lens, a beam search, parts of a logit."""

from contextlib import AbstractContextManager
from dataclasses import asdict

import numpy as np

from minigpt.cache import KVCache
from minigpt.generation.sampling import top_indices
from minigpt.looking.attribution import Attribution, attributions
from minigpt.looking.beam_tree import beam_tree_of_ids
from minigpt.looking.labels import token_texts
from minigpt.looking.lens import lens_rows
from minigpt.looking.token_attribution import token_attribution
from minigpt.looking.why.forward import ForwardNumbers
from minigpt.ops.plain import softmax
from minigpt.page.runs import PageRun

MAX_LENS_TOKENS = 50  # the most probable ones, after each position
MAX_BEAMS = 8
MAX_BEAM_STEPS = 20


def lens(run: PageRun, edits: dict, k: int, computing: AbstractContextManager) -> dict:
    """Return the k most probable next tokens after every position, if the model stopped after each block.

    ids, texts, probabilities: lists [L + 1, T, k]; row 0 is what the embedding alone predicts. edits: the run's.
    computing: held while the model runs, and released after each row, so that other pages need not wait for all.
    """
    ids, probabilities = [], []
    rows = lens_rows(run.loaded.model, run.ids, run.trace, edits)
    with np.errstate(all="ignore"):  # as in the run itself
        for _ in range(run.config.n_layer + 1):
            with computing:
                logits = next(rows)
            best = top_indices(np.where(np.isnan(logits), -np.inf, logits), k)  # [T, k]
            ids.append(best.tolist())
            probabilities.append(np.take_along_axis(softmax(logits), best, axis=-1).tolist())
    texts = [[token_texts(run.loaded.tokenizer, row) for row in rows] for rows in ids]
    return {"ids": ids, "texts": texts, "probabilities": probabilities}


def beams(run: PageRun, num_beams: int, steps: int, computing: AbstractContextManager) -> dict:
    """Return the beam search that continues a run's text, as looking.beam_tree has it, for JSON.

    computing: held while the model runs, and released after each step.
    """
    if not np.isfinite(run.trace["logits"]).all():
        raise ValueError("the logits of this run are not finite: there is nothing to search")
    model = ContinuedRun(run, computing)
    tree = beam_tree_of_ids(model, run.loaded.tokenizer, run.ids, run.text, num_beams, steps)
    nodes = [asdict(node) | {"ids": list(node.ids), "step": node.step} for node in tree.nodes]
    return {"nodes": nodes, "best": tree.best, "text": tree.text}


class ContinuedRun:
    """The model of a run, for a search that begins with the run's tokens: these are not computed again."""

    def __init__(self, run: PageRun, computing: AbstractContextManager):
        self.config, self.dtype = run.config, run.loaded.model.dtype
        self._run = run
        self._computing = computing

    def __call__(self, ids: np.ndarray, *, cache: KVCache, **options) -> np.ndarray:
        """Return logits as the model does; computing is held meanwhile."""
        if cache.length == 0:
            return self._read_run(cache)
        with self._computing:
            return self._run.loaded.model(ids, cache=cache, **options)

    def _read_run(self, cache):
        """Put the run's keys and values into a cache, and return the logits of its last token, [1, 1, V]."""
        trace = self._run.trace
        for layer in range(self.config.n_layer):
            cache.append(layer, trace[f"h.{layer}.attn.k"], trace[f"h.{layer}.attn.v"])
        cache.advance(len(self._run.ids))
        return trace["logits"][:, -1:]


def parts_of_logit(run: PageRun, position: int, token: int, other: int | None) -> dict:
    """Return what every part of the model adds to a logit, the fields of an Attribution, for JSON."""
    (found,) = parts_of_logits(run, [(position, token, other)])
    return {name: getattr(value, "tolist", lambda v=value: v)() for name, value in vars(found).items()}


def parts_of_logits(run: PageRun, logits: list[tuple[int, int, int | None]]) -> list[Attribution]:
    """Return what every part of the model adds to some logits, see looking.attribution.attributions."""
    with np.errstate(all="ignore"):  # as in the run itself
        return attributions(_numbers_of(run), logits)


def tokens_of_logit(run: PageRun, position: int, token: int, other: int | None) -> dict:
    """Return what the tokens from 0 to `position` add to a logit, for JSON.

    by_token, bias, rest, logit: as in a TokenAttribution. edges: for each token [layer, head, query, weight] of the
    attention by which most of it came to a later one, or None.
    """
    with np.errstate(all="ignore"):
        found = token_attribution(_numbers_of(run), token, other, position)
    seen = slice(position + 1)
    return {
        "logit": found.logit,
        "by_token": found.by_token[seen].tolist(),
        "bias": found.bias,
        "rest": found.rest,
        "edges": [edge and [edge.layer, edge.head, edge.query, edge.weight] for edge in found.edges[seen]],
    }


def _numbers_of(run):
    edited = {change.name for change in run.changes}
    return ForwardNumbers(run.loaded.model, run.loaded.tokenizer, run.ids, run.trace, edited)
