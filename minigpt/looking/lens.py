"""What the model would predict if it stopped early."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from minigpt.generation.sampling import top_indices
from minigpt.gpt2 import GPT2
from minigpt.looking.edited import in_sequence
from minigpt.looking.figures import draw_map, label_tokens, new_figure, write_in_cells
from minigpt.looking.inputs import encode_text, with_fixed_ops
from minigpt.looking.labels import token_label, token_texts
from minigpt.model import gpt2
from minigpt.ops.plain import softmax
from minigpt.run import Run
from minigpt.tokenizer import Tokenizer
from minigpt.trace import Tap

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class LogitLens:
    """The logits of the stream before block 0 (row 0) and after every block; the last row is the model's own."""

    tokens: list[str]  # [T]
    logits: np.ndarray  # [L + 1, T, V]
    tokenizer: Tokenizer

    def top(self, k: int = 1, position: int = -1) -> list[list[tuple[str, float]]]:
        """Return the k most probable next tokens after a position: L + 1 rows of pairs (text, probability)."""
        return [self._most_probable(row, k) for row in softmax(self.logits[:, position])]

    def _most_probable(self, probs, k):
        return [(self.tokenizer.token_text(i), float(probs[i])) for i in top_indices(probs, k)]

    def plot(self, last: int = 10) -> Figure:
        """Draw the most probable next token after each of the last positions, coloured by its probability.

        The stream flows upwards: the lowest row is what the embedding alone predicts.
        """
        tokens = self.tokens[-last:]
        probs = softmax(self.logits[:, -last:])  # [L + 1, n, V]
        L = len(probs) - 1
        figure = new_figure(1.5 + 0.8 * len(tokens), 1.2 + 0.32 * (L + 1))
        axes = figure.subplots()
        image = draw_map(axes, probs.max(axis=-1), largest=1)
        best = [token_texts(self.tokenizer, row) for row in probs.argmax(axis=-1)]
        write_in_cells(axes, [[token_label(text)[:10] for text in row] for row in best], image)
        axes.invert_yaxis()
        axes.set_yticks(range(L + 1), ["embedding", *(f"block {i}" for i in range(L))])
        label_tokens(axes.xaxis, tokens, size="small")
        axes.set_xlabel("after")
        figure.colorbar(image, label="probability of the best")
        return figure


def logit_lens(model: GPT2, tokenizer: Tokenizer, text: str) -> LogitLens:
    """Apply the model's last two steps, ln_f and the head, to the stream after every block: a LogitLens.

    logits[l] = head(ln_f(x_l)),    x_0 = embed,    x_l = h.(l-1).resid       nostalgebraist 2020, "the logit lens"
    The model itself computes this, without its blocks and with the stream x_l as its embedding. The last row is exactly
    the model's logits. One forward pass, and L through ln_f and the head.
    Raises ValueError for an empty text, ContextLengthError for one that is too long.
    """
    ids = encode_text(tokenizer, text)
    model = with_fixed_ops(model)
    trace = {}
    model(ids, trace=trace)
    return LogitLens(token_texts(tokenizer, ids), np.stack(list(lens_rows(model, ids, trace))), tokenizer)


def lens_rows(model: GPT2, ids: list[int], trace: dict, edit: dict | None = None) -> Iterator[np.ndarray]:
    """Yield the logits [T, V] of each of the L + 1 streams in the trace of model(ids, edit=edit), see logit_lens."""
    edits = _last_edits(model, edit)
    for x in _early_streams(model, trace):
        yield _read_out(model, x, np.array([ids]), edits)[0]
    yield trace["logits"][0]


def lens_at(model: GPT2, ids: list[int], trace: dict, position: int, edit: dict | None = None) -> np.ndarray:
    """Return the logits [L + 1, V] of one position: those of lens_rows up to rounding, by one product instead of L."""
    if _last_edits(model, edit):  # may be for some positions only
        return np.stack([rows[position] for rows in lens_rows(model, ids, trace, edit)])
    x = np.concatenate([x[:, [position]] for x in _early_streams(model, trace)])  # [L, 1, D]
    early = _read_out(model, x, np.full(x.shape[:2], ids[position]), {})
    return np.concatenate([early[:, 0], trace["logits"][0, [position]]])


def _early_streams(model, trace):
    """Return the streams [1, T, D] before the last one."""
    return [trace["embed"], *(trace[f"h.{layer}.resid"] for layer in range(model.config.n_layer - 1))]


def _last_edits(model, edit):
    """Return the edits of what comes after the blocks."""
    edits = in_sequence(getattr(model, "edit", {}), edit or {})
    return {name: function for name, function in edits.items() if name in ("ln_f", "logits")}


def _read_out(model, x, ids, edits):
    """Return the logits [B, T, V] of a stream x [B, T, D]; ids [B, T] are any."""
    run = Run(model.config, model.ops, tap=Tap(edit={**edits, "embed": lambda _: x}))
    return gpt2(ids, {**model.params, "h": []}, run)
