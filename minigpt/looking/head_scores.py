"""How strongly every head has a habit: attending to the token before, to an earlier copy, or to what followed that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from minigpt.checks import require_integer
from minigpt.gpt2 import GPT2
from minigpt.looking.attention_maps import block_weights
from minigpt.looking.figures import draw_heads, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class HeadScores:
    """The mean attention weight that every head of every block gives to three places; each score is from 0 to 1.

    induction: to the token after the first copy of the current one. previous_token: to the token before.
    duplicate_token: to the first copy of the current token. Compare them with uniform, the induction score of a head
    that takes the same from every token that it sees.
    """

    induction: np.ndarray  # [L, H]
    previous_token: np.ndarray  # [L, H]
    duplicate_token: np.ndarray  # [L, H]
    uniform: float

    def plot(self) -> Figure:
        """Draw a map for each score, with a row for each block and a column for each head."""
        L, H = self.induction.shape
        figure = new_figure(3 * (0.9 + 0.4 * min(H, 12)), 1.1 + 0.35 * L)
        scores = {
            "induction": self.induction,
            "previous token": self.previous_token,
            "duplicate token": self.duplicate_token,
        }
        for axes, (name, values) in zip(figure.subplots(1, 3, sharey=True), scores.items(), strict=True):
            image = draw_heads(axes, values, largest=1, columns=range(H))
            axes.set_title(name, size="medium")
            axes.set_xlabel("head")
        figure.colorbar(image, ax=axes, label="mean weight")
        return figure


def head_scores(model: GPT2, length: int = 50, n_sequences: int = 10, seed: int = 0) -> HeadScores:
    """Return the induction, previous-token and duplicate-token scores of all heads: HeadScores with .plot().

    A sequence is n = length random tokens, all different, and then the same n tokens again, so T = 2 n. No token can be
    predicted from the ones around it, but the second half can be copied from the first. With the attention weights A
    of one head, the scores are means over the sequences:
    induction       = 1 / n sum_{t = n}^{2 n - 1} A[t, t - n + 1]           Olsson et al. 2022, "prefix matching"
    duplicate_token = 1 / n sum_{t = n}^{2 n - 1} A[t, t - n]
    previous_token  = 1 / (2 n - 1) sum_{t = 1}^{2 n - 1} A[t, t - 1]
    The same seed draws the same tokens. Raises ValueError for a length of more than half the model's positions, or
    more than its vocabulary.                                                TransformerLens: head_detector.detect_head
    """
    config = model.config
    L, n = config.n_layer, length
    require_integer("length", length, 2, min(config.n_positions // 2, config.vocab_size))
    require_integer("n_sequences", n_sequences, 1)
    rng = np.random.default_rng(seed)
    second, late = np.arange(n, 2 * n), np.arange(1, 2 * n)
    pairs = {  # positions t, and the positions s whose weights A[t, s] count
        "induction": (second, second - n + 1),
        "previous_token": (late, late - 1),
        "duplicate_token": (second, second - n),
    }
    sums = {name: np.zeros((L, config.n_head)) for name in pairs}
    for _ in range(n_sequences):
        half = rng.choice(config.vocab_size, n, replace=False)
        trace = {}
        model(np.concatenate([half, half]), trace=trace)
        for layer in range(L):
            weights = block_weights(trace, layer)  # [H, T, T]
            for name, (t, s) in pairs.items():
                sums[name][layer] += weights[:, t, s].mean(axis=-1)
    uniform = float((1 / (second + 1)).mean())
    return HeadScores(**{name: total / n_sequences for name, total in sums.items()}, uniform=uniform)
