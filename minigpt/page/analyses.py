"""What a page shows beside the activations of a run: the logit lens, a beam search, parts of a logit."""

from contextlib import AbstractContextManager
from dataclasses import asdict

import numpy as np

from minigpt.cache import KVCache
from minigpt.generation.sampling import top_indices
from minigpt.looking.attribution import Attribution, attributions
from minigpt.looking.beam_tree import beam_tree_of_ids
from minigpt.looking.labels import token_texts
from minigpt.looking.lens import lens_at, lens_rows
from minigpt.looking.pixels import max_abs_cells
from minigpt.looking.token_attribution import token_attribution
from minigpt.looking.why.forward import ForwardNumbers
from minigpt.ops.plain import softmax
from minigpt.page.fields import as_slices
from minigpt.page.runs import PageRun

MAX_COLUMNS = 100_000  # of a picture, which may have as many numbers, see web/picture.js
MAX_LENS_TOKENS = 50  # the most probable ones, after each position
MAX_BEAMS = 8
MAX_BEAM_STEPS = 20


def pooled(name: str, index: list, array: np.ndarray, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows [..., N] in min(N, columns) cells: the number of largest absolute value, and its column as int32.

    name, index: of the activation. NaN is passed over. Scores that the mask hides count as 0. Raises ValueError.
    """
    if not array.ndim or index[-1] is not None:
        raise ValueError(f"pooled takes whole rows of {name}: the last of the index must be null")
    if name.endswith("attn.scores"):
        T = array.shape[-1]
        array = np.where(np.tri(T, dtype=bool)[as_slices(index[-2:])], array, 0)
    return max_abs_cells(array, columns)


def lengths_of_rows(name: str, array: np.ndarray) -> np.ndarray:
    """Return the length of every row, the root of the sum of its squares: [..., N] -> float64 [...]."""
    if not array.ndim:
        raise ValueError(f"lengths takes rows of {name}, not single numbers")
    return np.sqrt(np.einsum("...i,...i->...", array, array, dtype=np.float64))


def lens(run: PageRun, edits: dict, k: int, computing: AbstractContextManager) -> dict:
    """Return the k most probable next tokens after every position, if the model stopped after each block.

    ids, texts, probabilities: lists [L + 1, T, k]; row 0 is what the embedding alone predicts. edits: the run's.
    computing: held while the model runs, and released after each row, so that other pages need not wait for all.
    """
    rows, best = lens_rows(run.loaded.model, run.ids, run.trace, edits), []
    with np.errstate(all="ignore"):  # as in the run itself
        for _ in range(run.config.n_layer + 1):
            with computing:
                logits = next(rows)
            best.append(_most_probable(run, logits, k))
    return _in_one(best)


def lens_of_position(run: PageRun, edits: dict, k: int, position: int, computing: AbstractContextManager) -> dict:
    """Return the part of lens() for one position, lists [L + 1, 1, k], in the time of one product with the head."""
    with computing, np.errstate(all="ignore"):
        logits = lens_at(run.loaded.model, run.ids, run.trace, position, edits)
    return _in_one([_most_probable(run, row[None], k) for row in logits])


def lens_of_last_block(run: PageRun, k: int) -> dict:
    """Return the last row of lens(), lists [1, T, k]: what the model itself predicts after every position."""
    return _in_one([_most_probable(run, run.trace["logits"][0], k)])


def uncertainty(run: PageRun) -> tuple[np.ndarray, np.ndarray]:
    """Return how open the next token is after every position, float64 [T] each: the entropy, and the largest p.

    entropy = - sum_v p_v log p_v = log(sum_v exp(x_v)) - sum_v p_v x_v,  x the logits minus their largest
    """
    entropies, largest = [], []
    with np.errstate(all="ignore"):  # as in the run itself
        for logits in run.trace["logits"][0]:
            x = logits.astype(np.float64) - logits.max()
            exp_x = np.exp(x)
            total = exp_x.sum()
            entropies.append(np.log(total) - (exp_x * x).sum() / total)
            largest.append(1 / total)
    return np.array(entropies), np.array(largest)


def _most_probable(run, logits, k):
    """Return {ids, texts, probabilities}, lists [T, k], of logits [T, V]."""
    with np.errstate(all="ignore"):
        best = top_indices(np.where(np.isnan(logits), -np.inf, logits), k)
        probabilities = np.take_along_axis(softmax(logits), best, axis=-1)
    texts = [token_texts(run.loaded.tokenizer, row) for row in best.tolist()]
    return {"ids": best.tolist(), "texts": texts, "probabilities": probabilities.tolist()}


def _in_one(answers):
    return {name: [answer[name] for answer in answers] for name in answers[0]}


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
