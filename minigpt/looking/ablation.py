"""Remove a part of the model and measure the effect: what the answer needs.

Attention maps show where a head looks; ablation shows whether it matters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from minigpt.gpt2 import GPT2
from minigpt.looking.figures import DIVERGING_COLOURS, draw_heads, new_figure
from minigpt.looking.inputs import encode_text, with_fixed_ops
from minigpt.looking.metrics import Metric, answer_logprob, chosen_metric
from minigpt.looking.statistics import activation_statistics
from minigpt.tokenizer import Tokenizer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LAYERS = ("attn.out", "mlp.out")  # what ablate_layers removes: the columns of its effect


@dataclass(frozen=True, eq=False)
class Ablation:
    """effect[l, i]: the change of the metric without part i of block l; below 0, the part helps.

    The parts are heads, or the two layers attn.out and mlp.out. The metric is log P(answer | text) or your own.
    """

    effect: np.ndarray  # [L, H] of heads, [L, 2] of layers
    baseline: float  # the metric of the whole model
    answer: str | None  # None: a metric of your own
    columns: tuple[str, ...] | None  # the names of the layers; None: heads

    def plot(self) -> Figure:
        """Draw the effect of every part. Red: without it the metric is lower."""
        L, n_columns = self.effect.shape
        figure = new_figure(1.8 + (0.55 if self.columns is None else 0.9) * n_columns, 1 + 0.4 * L)
        image = draw_heads(figure.subplots(), self.effect, DIVERGING_COLOURS, columns=self.columns)
        what = "the metric" if self.answer is None else f"log P({self.answer!r})"
        figure.colorbar(image).set_label(f"change of {what}", parse_math=False)
        return figure


def ablate_heads(
    model: GPT2,
    tokenizer: Tokenizer,
    text: str,
    answer: str | None = None,
    *,
    metric: Metric | None = None,
    mean_over: Iterable[str] | None = None,
) -> Ablation:
    """Measure what every head contributes to an answer: an Ablation with .effect [L, H] and .plot().

    effect[l, h] = log P(answer | text, head h of block l returns 0) - log P(answer | text)
    The head's slice of h.l.attn.heads is set to 0 at all positions, so that it adds nothing to the stream. L H + 1
    forward passes.
    answer: the text of a single token. metric: in place of an answer, a function of the logits [T, V] of the text that
    returns a number. mean_over: texts; a head then returns its mean over all their tokens in place of 0 (mean
    ablation, Wang et al. 2022), since 0 may be far from anything that it ever returns.
    Raises ValueError for an answer of several tokens, for an answer and a metric or neither, and for an empty text.
                                                            TransformerLens: a hook on hook_z that sets one head to 0
    """
    experiment = _Experiment.begin(model, tokenizer, text, answer, metric)
    names = [f"h.{layer}.attn.heads" for layer in range(model.config.n_layer)]
    means = _means(model, tokenizer, mean_over, names)
    heads = range(model.config.n_head)
    edits = [[{name: set_head(head, means[name][head] if means else 0)} for head in heads] for name in names]
    return experiment.without(edits, None)


def ablate_layers(
    model: GPT2,
    tokenizer: Tokenizer,
    text: str,
    answer: str | None = None,
    *,
    metric: Metric | None = None,
    mean_over: Iterable[str] | None = None,
) -> Ablation:
    """Measure what every attention layer and every MLP contributes to an answer: an Ablation with .effect [L, 2].

    effect[l] = the change of log P(answer | text) if h.l.attn.out, or h.l.mlp.out, is 0 at all positions
    Arguments and errors are those of ablate_heads. 2 L + 1 forward passes.
                                                  TransformerLens: a hook on hook_attn_out or hook_mlp_out that sets 0
    """
    experiment = _Experiment.begin(model, tokenizer, text, answer, metric)
    names = [[f"h.{layer}.{part}" for part in LAYERS] for layer in range(model.config.n_layer)]
    means = _means(model, tokenizer, mean_over, [name for block in names for name in block])
    edits = [[{name: set_all(means[name] if means else 0)} for name in block] for block in names]
    return experiment.without(edits, LAYERS)


def _means(model, tokenizer, texts, names):
    """Return {name: the mean of the activation over all tokens of the texts}; None without texts."""
    if texts is None:
        return None
    return {name: found.mean for name, found in activation_statistics(model, tokenizer, texts, names).items()}


@dataclass(frozen=True, eq=False)
class _Experiment:
    """The text, what is measured on it, and the result of the whole model."""

    model: GPT2
    ids: list[int]
    measure: Metric
    baseline: float
    answer: str | None

    @classmethod
    def begin(cls, model, tokenizer, text, answer, metric):
        ids = encode_text(tokenizer, text)
        measure = chosen_metric(metric, answer_logprob, tokenizer, answer=answer)
        model = with_fixed_ops(model)
        # A traced run uses the formula of attention, as edited runs do: no difference comes from rounding.
        return cls(model, ids, measure, measure(model(ids, trace={})), answer)

    def without(self, edits, columns):
        """Return the Ablation by a list of edits for each block."""
        values = [[self.measure(self.model(self.ids, edit=edit)) for edit in block] for block in edits]
        return Ablation(np.array(values) - self.baseline, self.baseline, self.answer, columns)


def set_head(head: int, value: float | np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return an edit of h.i.attn.heads [B, H, T, K] that sets one head's output to a number, or to a vector [K]."""

    def edit(heads):
        heads[:, head] = value
        return heads

    return edit


def zero_head(head: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return an edit of h.i.attn.heads that sets one head's output to 0."""
    return set_head(head, 0)


def set_all(value: float | np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return an edit of an activation [B, T, numbers] that sets every position to a number, or to a vector."""

    def edit(activation):
        activation[...] = value
        return activation

    return edit
