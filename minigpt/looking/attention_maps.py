"""Which tokens attend to which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from minigpt.checks import require_integer
from minigpt.gpt2 import GPT2
from minigpt.looking.figures import draw_map, label_tokens, new_figure
from minigpt.looking.inputs import encode_text
from minigpt.looking.labels import token_texts
from minigpt.tokenizer import Tokenizer

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class AttentionMaps:
    """How much every token takes from every other one, in every head.

    weights[l, h, t, s] is the weight that token t gives to token s in head h of block l. A row weights[l, h, t] sums
    to 1, and is 0 for the tokens after t.
    """

    tokens: list[str]  # [T]
    weights: np.ndarray  # [L, H, T, T]

    def plot(self, layer: int | None = None, head: int | None = None) -> Figure:
        """Draw all heads, the heads of one block, or one head. Rows attend, columns are attended to.

        Raises ValueError for a layer or head that does not exist.
        """
        L, H, T, _ = self.weights.shape
        if layer is None and head is not None:
            raise ValueError("head needs a layer: every block has heads of its own")
        if layer is None:
            return self._plot_all()
        require_integer("layer", layer, 0, L - 1)
        if head is not None:
            require_integer("head", head, 0, H - 1)
        heads = range(H) if head is None else [head]
        n_columns = min(len(heads), 4)
        n_rows = -(-len(heads) // n_columns)
        size = min(2 + 0.22 * T, 7) if len(heads) == 1 else 2.2  # of one map, in inches
        figure = new_figure(1 + size * n_columns, 0.8 + size * n_rows)
        grid = figure.subplots(n_rows, n_columns, squeeze=False)
        for index, axes in enumerate(grid.flat):
            if index >= len(heads):
                axes.set_axis_off()
                continue
            draw_map(axes, self.weights[layer, heads[index]], largest=1)
            axes.set_title(f"block {layer}, head {heads[index]}", size="medium")
            max_labels = int(7 * size)  # more of them would not be readable
            label_tokens(axes.xaxis, self.tokens, rotation=90, size="small", max_labels=max_labels)
            label_tokens(axes.yaxis, self.tokens if index % n_columns == 0 else [], size="small", max_labels=max_labels)
        return figure

    def _plot_all(self):
        L, H, _, _ = self.weights.shape
        size = min(1.5, 9 / max(L, H))
        figure = new_figure(0.6 + size * H, 0.6 + size * L)
        for (layer, head), axes in np.ndenumerate(figure.subplots(L, H, squeeze=False)):
            draw_map(axes, self.weights[layer, head], largest=1)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set(visible=True, color="lightgrey")
            axes.set_title(f"head {head}" if layer == 0 else "", size="small")
            axes.set_ylabel(f"block {layer}" if head == 0 else "", size="small")
        return figure


def attention_maps(model: GPT2, tokenizer: Tokenizer, text: str) -> AttentionMaps:
    """Return the attention weights of all heads on a text: AttentionMaps with .tokens, .weights and .plot().

    weights[l, h] = softmax(q k^T / sqrt(K) + mask)     in head h of block l, [T, T]
    Raises ValueError for an empty text, ContextLengthError for one that is too long.
    """
    ids = encode_text(tokenizer, text)
    trace = {}
    model(ids, trace=trace)
    weights = [block_weights(trace, layer) for layer in range(model.config.n_layer)]
    return AttentionMaps(token_texts(tokenizer, ids), np.stack(weights))


def block_weights(trace, layer):
    """Return the attention weights of a block in a trace of one text, [H, T, T]. Raises ValueError without them."""
    name = f"h.{layer}.attn.weights"
    if name not in trace:
        raise ValueError("this model's attention is replaced by one that does not tap its weights")
    return trace[name][0]
