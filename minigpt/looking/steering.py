"""Steer a model: add a direction to the residual stream while it reads and writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from minigpt.checks import require_integer
from minigpt.generation.sampling import log_softmax, top_indices
from minigpt.gpt2 import GPT2
from minigpt.looking.edited import edited
from minigpt.looking.figures import new_figure, text_style
from minigpt.looking.inputs import encode_text, with_fixed_ops
from minigpt.looking.labels import token_label
from minigpt.tokenizer import Tokenizer

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Direction:
    """The difference of the mean activations of two sets of texts, from negative to positive, in the stream of a block.

    positive, negative: where every text of a set lies along the direction, by its own mean. 1 is the mean of the
    positive texts, 0 that of the negative ones. If the two sets overlap, the direction does not tell them apart.
    """

    vector: np.ndarray  # [D]
    name: str  # of the activation, such as h.2.resid
    positive: np.ndarray  # [positive texts]
    negative: np.ndarray  # [negative texts]

    def edit(self, strength: float = 1.0) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
        """Return the edit that adds strength times the vector at every position: model(ids, edit=direction.edit(2))."""
        step = strength * self.vector
        return {self.name: lambda activation: activation + step.astype(activation.dtype)}

    def plot(self) -> Figure:
        """Draw where every text lies along the direction."""
        figure = new_figure(6, 1.6)
        axes = figure.subplots()
        for row, places in enumerate((self.negative, self.positive)):
            axes.plot(places, np.full(len(places), row), "o", alpha=0.5)
        axes.set_yticks([0, 1], ["negative", "positive"])
        axes.set_ylim(-0.5, 1.5)
        axes.set_xlabel(f"place along the direction in {self.name}")
        return figure


def steering_direction(
    model: GPT2,
    tokenizer: Tokenizer,
    positive: Iterable[str],
    negative: Iterable[str],
    layer: int,
    position: int | None = None,
) -> Direction:
    """Return the direction from one set of texts to another in the stream after a block: a Direction with .plot().

    vector = mean of h.LAYER.resid over the positive texts - mean of h.LAYER.resid over the negative texts
    position: the token of each text that counts, such as -1 for the last one; by default all tokens of all texts.
    Turner et al. 2023, "Activation Addition", take the difference of two prompts at each position. The difference of
    means averages over many texts, which need not have the same length. The sets should differ in what you want to
    steer, and on average in nothing else.
    Raises ValueError for no text or an empty one, for a layer or a position that does not exist, and for sets of the
    same mean, ContextLengthError for a text that is too long. TransformerLens: the difference of two means of a cache
    """
    require_integer("layer", layer, 0, model.config.n_layer - 1)
    name = f"h.{layer}.resid"
    sides = [_text_means(model, tokenizer, texts, name, position) for texts in (positive, negative)]
    high, low = (np.average(means, axis=0, weights=counts) for means, counts in sides)
    vector = high - low
    if not vector.any():
        raise ValueError("the positive and the negative texts have the same mean: there is no direction between them")
    places = [(means - low) @ vector / (vector @ vector) for means, _ in sides]
    return Direction(vector, name, *places)


def _text_means(model, tokenizer, texts, name, position):
    """Return the mean of an activation in every text, [texts, D], and over how many tokens it is taken, [texts]."""
    means, counts = [], []
    for text in [texts] if isinstance(texts, str) else texts:
        ids, trace = encode_text(tokenizer, text), {}
        if position is not None:
            require_integer("position", position, -len(ids), len(ids) - 1)
        model(ids, trace=trace)
        rows = trace[name][0].astype(np.float64)
        rows = rows if position is None else rows[position][None]
        means.append(rows.mean(axis=0))
        counts.append(len(rows))
    if not means:
        raise ValueError("there is no text: a direction needs at least one positive and one negative text")
    return np.array(means), counts


@dataclass(frozen=True, eq=False)
class Steering:
    """What a model says with and without a direction added.

    text, steered_text: the prompt and its continuation. logprobs, steered_logprobs: of the token after the prompt.
    """

    text: str
    steered_text: str
    logprobs: np.ndarray  # [V]
    steered_logprobs: np.ndarray  # [V]
    tokenizer: Tokenizer

    def top(self, k: int = 5) -> list[tuple[str, float, float]]:
        """Return the k next tokens whose probability changes most, (text, before, after), the largest change first."""
        before, after = np.exp(self.logprobs), np.exp(self.steered_logprobs)
        best = top_indices(np.abs(after - before), min(k, len(before)))
        return [(self.tokenizer.token_text(i), float(before[i]), float(after[i])) for i in best]

    def plot(self, k: int = 10) -> Figure:
        """Draw the k next tokens whose probability changes most, before and after."""
        rows = self.top(k)
        figure = new_figure(5, 0.8 + 0.3 * len(rows))
        axes, y = figure.subplots(), np.arange(len(rows))
        axes.barh(y - 0.2, [before for _, before, _ in rows], 0.4, label="before", color="silver")
        axes.barh(y + 0.2, [after for _, _, after in rows], 0.4, label="steered")
        axes.set_yticks(y, [token_label(text) for text, _, _ in rows], **text_style())
        axes.invert_yaxis()
        axes.set_xlabel("probability of the next token")
        axes.legend()
        return figure


def steer(
    model: GPT2, tokenizer: Tokenizer, text: str, direction: Direction, strength: float = 1.0, **options: Any
) -> Steering:
    """Continue a text with and without a direction added at every position: a Steering with .steered_text and .plot().

    x -> x + strength * vector     in the stream after the direction's block, for the prompt and for all new tokens
    strength may be negative. options: those of generation, such as max_new_tokens or do_sample with a seed. To do
    anything else with a steered model, use edited(model, direction.edit(strength)). Raises ValueError for an empty
    text, ContextLengthError for one that is too long.             TransformerLens: model.generate in model.hooks(...)
    """
    ids = encode_text(tokenizer, text)
    model = with_fixed_ops(model)
    # An edit that changes nothing lets both models run the same formulas: no difference comes from rounding.
    models = [edited(model, direction.edit(factor)) for factor in (0.0, strength)]
    logprobs = [log_softmax(one(ids, last_only=True)[-1]) for one in models]
    texts = [tokenizer.decode(one.generate(ids, **options)[0]) for one in models]
    return Steering(*texts, *logprobs, tokenizer)
