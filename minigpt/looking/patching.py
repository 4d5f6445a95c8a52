"""Copy one activation from a run into another, and measure how much of the answer comes with it: activation patching.

An effect shows a cause, not a mere correlation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from minigpt.activations import ACTIVATIONS
from minigpt.gpt2 import GPT2
from minigpt.looking.figures import DIVERGING_COLOURS, draw_heads, draw_map, label_tokens, new_figure
from minigpt.looking.inputs import encode_text, with_fixed_ops
from minigpt.looking.labels import token_texts
from minigpt.looking.metrics import Metric, chosen_metric, logit_difference
from minigpt.tokenizer import Tokenizer

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Patching:
    """effect[l, t]: how much of the clean text's answer one clean activation restores in the corrupted text.

    0 is the corrupted answer, 1 the clean one; an effect can lie outside of these. difference[l, t] is the same effect
    in logits: logit(answer) - logit(wrong) with the clean activation of block l at position t.
    """

    effect: np.ndarray  # [L, T]
    difference: np.ndarray  # [L, T]
    clean_difference: float
    corrupted_difference: float
    clean_tokens: list[str]  # [T]
    corrupted_tokens: list[str]  # [T]
    activation: str

    def plot(self) -> Figure:
        """Draw the effect of every block and position. The stream flows upwards."""
        L, T = self.effect.shape
        figure = new_figure(min(2 + 0.34 * T, 10), 1.8 + 0.3 * L)
        axes = figure.subplots()
        image = draw_map(axes, self.effect, DIVERGING_COLOURS)
        pairs = zip(self.clean_tokens, self.corrupted_tokens, strict=True)
        labels = [clean if clean == corrupted else f"{clean}/{corrupted}" for clean, corrupted in pairs]
        label_tokens(axes.xaxis, labels, rotation=90)
        axes.invert_yaxis()
        axes.set_yticks(range(L), [f"h.{layer}.{self.activation}" for layer in range(L)])
        axes.tick_params(length=0)
        axes.set_xlabel("clean/corrupted")
        figure.colorbar(image, label="effect")
        return figure


@dataclass(frozen=True, eq=False)
class HeadPatching:
    """effect[l, h]: how much of the clean text's answer one clean head restores in the corrupted text.

    The numbers are as in Patching, but the activation is that of head h of block l at all positions.
    """

    effect: np.ndarray  # [L, H]
    difference: np.ndarray  # [L, H]
    clean_difference: float
    corrupted_difference: float
    activation: str

    def plot(self) -> Figure:
        """Draw the effect of every head."""
        L, H = self.effect.shape
        figure = new_figure(1.8 + 0.55 * H, 1 + 0.4 * L)
        image = draw_heads(figure.subplots(), self.effect, DIVERGING_COLOURS)
        figure.colorbar(image, label=f"effect of {self.activation}")
        return figure


def patch(
    model: GPT2,
    tokenizer: Tokenizer,
    clean: str,
    corrupted: str,
    answer: str | None = None,
    wrong: str | None = None,
    activation: str = "resid",
    *,
    metric: Metric | None = None,
) -> Patching:
    """Find where the model keeps what the answer depends on: a Patching with .effect [L, T] and .plot().

    clean and corrupted are two texts with the same number of tokens. They differ only in what makes answer right for
    one and wrong for the other. The model reads the corrupted text, but at position t of block l it gets the
    activation of the clean one:
    difference[l, t] = logit(answer) - logit(wrong)
    effect[l, t] = (difference[l, t] - difference(corrupted)) / (difference(clean) - difference(corrupted))
                                                       Meng et al. 2022, section 2 ("causal tracing"), Wang et al. 2022

    answer, wrong: the texts of single tokens. metric: in their place, a function of the logits [T, V] that returns a
    number, which then stands for the difference. activation: any activation of a block, such as "resid", "attn.out",
    "mlp.out" or "attn.v". L T + 2 forward passes. Raises ValueError for bad input, and for texts that have the same
    difference.           TransformerLens: get_act_patch_resid_pre (of the next block), _resid_mid, _attn_out, _mlp_out
    """
    names = _names_in_all_blocks(_known(activation), model.config.n_layer)
    pair = _Pair.run(model, tokenizer, clean, corrupted, answer, wrong, metric)
    edits = [[{name: copy_from(pair.trace[name], t)} for t in range(len(pair.clean_ids))] for name in names]
    return Patching(
        *pair.effects(edits),
        pair.at_clean,
        pair.at_corrupted,
        token_texts(tokenizer, pair.clean_ids),
        token_texts(tokenizer, pair.corrupted_ids),
        activation,
    )


def patch_heads(
    model: GPT2,
    tokenizer: Tokenizer,
    clean: str,
    corrupted: str,
    answer: str | None = None,
    wrong: str | None = None,
    activation: str = "attn.heads",
    *,
    metric: Metric | None = None,
) -> HeadPatching:
    """Find the heads that carry what the answer depends on: a HeadPatching with .effect [L, H] and .plot().

    As patch, but what is copied is the activation of one head at all positions. activation: "attn.heads", what the
    head has gathered, or "attn.q", "attn.k", "attn.v", "attn.scores" or "attn.weights". L H + 2 forward passes.
    Raises ValueError as patch does.
                             TransformerLens: get_act_patch_attn_head_out_all_pos, _q_all_pos, ..., _pattern_all_pos
    """
    names = _names_in_all_blocks(_known(activation, of_heads=True), model.config.n_layer)
    pair = _Pair.run(model, tokenizer, clean, corrupted, answer, wrong, metric)
    heads = range(model.config.n_head)
    edits = [[{name: copy_head_from(pair.trace[name], head)} for head in heads] for name in names]
    return HeadPatching(*pair.effects(edits), pair.at_clean, pair.at_corrupted, activation)


@dataclass(frozen=True, eq=False)
class _Pair:
    """The runs on the clean and on the corrupted text, and what is measured after them."""

    model: GPT2
    measure: Metric
    clean_ids: list[int]
    corrupted_ids: list[int]
    trace: dict[str, np.ndarray]  # of the clean text
    at_clean: float
    at_corrupted: float

    @classmethod
    def run(cls, model, tokenizer, clean, corrupted, answer, wrong, metric):
        clean_ids, corrupted_ids = encode_text(tokenizer, clean), encode_text(tokenizer, corrupted)
        measure = chosen_metric(metric, logit_difference, tokenizer, answer=answer, wrong=wrong)
        if len(clean_ids) != len(corrupted_ids):
            raise ValueError(
                f"clean has {len(clean_ids)} tokens, corrupted {len(corrupted_ids)}: they must have the same number, "
                "so that each position of one corresponds to that of the other"
            )
        model, trace = with_fixed_ops(model), {}
        at_clean = measure(model(clean_ids, trace=trace))
        at_corrupted = measure(model(corrupted_ids, trace={}))  # traced for the reason given in ablation.py
        if at_clean == at_corrupted:
            raise ValueError("clean and corrupted have the same difference: there is nothing to restore")
        return cls(model, measure, clean_ids, corrupted_ids, trace, at_clean, at_corrupted)

    def effects(self, edits):
        """Return the effect and the difference of every edit of the corrupted run, two arrays of the edits' shape."""
        difference = np.array(
            [[self.measure(self.model(self.corrupted_ids, edit=edit)) for edit in block] for block in edits]
        )
        return (difference - self.at_corrupted) / (self.at_clean - self.at_corrupted), difference


def copy_from(clean: np.ndarray, position: int | slice) -> Callable[[np.ndarray], np.ndarray]:
    """Return an edit that copies a position, or a slice of them, from the clean activation [..., T, numbers]."""

    def edit(activation):
        activation[..., position, :] = clean[..., position, :]
        return activation

    return edit


def copy_head_from(clean: np.ndarray, head: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return an edit that copies a head at all positions from the clean activation [B, H, T, numbers]."""

    def edit(activation):
        activation[:, head] = clean[:, head]
        return activation

    return edit


def _known(activation, of_heads=False):
    known = [a.name for a in ACTIVATIONS if a.in_block and (a.axes[1] == "H" or not of_heads)]
    if activation not in known:
        whose = "of a block's heads" if of_heads else "of a block's"
        raise ValueError(f"activation must be one {whose}, {', '.join(known)}, not {activation!r}")
    return activation


def _names_in_all_blocks(activation, n_layer):
    return [f"h.{layer}.{activation}" for layer in range(n_layer)]
