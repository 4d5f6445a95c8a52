"""Which tokens look at which."""

from dataclasses import dataclass

import numpy as np

from minigpt.looking.figures import checked_index, draw_map, label_tokens, new_figure
from minigpt.looking.tokens import encode, token_texts


@dataclass(frozen=True, eq=False)
class AttentionMaps:
    """How much every token takes from every other, in every head: weights[l, h, t, s], of token s for token t.

    A row weights[l, h, t] sums to 1, and what comes after t has 0.
    """

    tokens: list[str]  # [T]
    weights: np.ndarray  # [L, H, T, T]

    def plot(self, layer=None, head=None):
        """The maps of all heads, of the heads of one block, or of one head; a Figure. Rows look, columns are looked at.

        Raises ValueError for a layer or head that is not there.
        """
        L, H, T, _ = self.weights.shape
        if layer is None and head is not None:
            raise ValueError("head needs a layer: every block has heads of its own")
        if layer is None:
            return self._plot_all()
        checked_index("layer", layer, L)
        heads = range(H) if head is None else [checked_index("head", head, H)]
        columns = min(len(heads), 4)
        rows = -(-len(heads) // columns)
        size = min(2 + 0.22 * T, 7) if len(heads) == 1 else 2.5
        figure = new_figure(1 + size * columns, 0.8 + size * rows)
        grid = figure.subplots(rows, columns, squeeze=False)
        for place, axes in enumerate(grid.flat):
            if place >= len(heads):
                axes.set_axis_off()
                continue
            draw_map(axes, self.weights[layer, heads[place]], largest=1)
            axes.set_title(f"block {layer}, head {heads[place]}", size=9)
            most = int(8 * size)  # labels that stay readable
            label_tokens(axes.xaxis, self.tokens, rotation=90, size=7, most=most)
            label_tokens(axes.yaxis, self.tokens if place % columns == 0 else [], size=7, most=most)
        return figure

    def _plot_all(self):
        L, H, _, _ = self.weights.shape
        size = min(1.5, 9 / max(L, H))
        figure = new_figure(0.6 + size * H, 0.6 + size * L)
        for (layer, head), axes in np.ndenumerate(figure.subplots(L, H, squeeze=False)):
            draw_map(axes, self.weights[layer, head], largest=1)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set(visible=True, color="lightgrey")
            axes.set_title(f"head {head}" if layer == 0 else "", size=8)
            axes.set_ylabel(f"block {layer}" if head == 0 else "", size=8)
        return figure


def attention_maps(model, tokenizer, text):
    """The attention weights of all heads on a text, AttentionMaps with .tokens [T], .weights [L, H, T, T] and .plot().

    weights[l, h] = softmax(q k^T / sqrt(K) + mask)     in head h of block l
    Raises ValueError for an empty text, ContextLengthError for one that is too long.
    """
    ids = encode(tokenizer, text)
    trace = {}
    model(ids, trace=trace)
    names = [f"h.{layer}.attn.weights" for layer in range(model.config.n_layer)]
    if names[0] not in trace:
        raise ValueError("this model's attention is replaced by one that does not tap its weights")
    return AttentionMaps(token_texts(tokenizer, ids), np.stack([trace[name][0] for name in names]))
