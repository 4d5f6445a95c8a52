"""Change one activation and measure the effect on the answer: an effect shows a cause, not a mere correlation.

Attention maps show where a head looks; these functions show whether it matters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from minigpt.activations import ACTIVATIONS
from minigpt.generation.sampling import log_softmax
from minigpt.gpt2 import GPT2
from minigpt.looking.figures import DIVERGING_COLOURS, draw_map, label_tokens, new_figure, write_in_cells
from minigpt.looking.inputs import encode_text, single_token_id, with_fixed_ops
from minigpt.looking.labels import token_texts
from minigpt.tokenizer import Tokenizer

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Ablation:
    """effect[l, h]: the change of log P(answer | text) without head h of block l; below 0, the head helps."""

    effect: np.ndarray  # [L, H]
    logprob: float  # log P(answer | text) of the whole model
    answer: str

    def plot(self) -> Figure:
        """Draw the effect of every head. Red: without it the answer is less probable."""
        L, H = self.effect.shape
        figure = new_figure(1.8 + 0.55 * H, 1 + 0.4 * L)
        axes = figure.subplots()
        image = draw_map(axes, self.effect, DIVERGING_COLOURS)
        if H <= 8:
            write_in_cells(axes, [[f"{value:.2f}" for value in row] for row in self.effect], image)
        axes.set_xticks(range(H), [f"head {head}" for head in range(H)] if H <= 8 else range(H))
        axes.set_yticks(range(L), [f"block {layer}" for layer in range(L)])
        axes.tick_params(length=0)
        bar = figure.colorbar(image)
        bar.set_label(f"change of log P({self.answer!r})", parse_math=False)
        return figure


def ablate_heads(model: GPT2, tokenizer: Tokenizer, text: str, answer: str) -> Ablation:
    """Measure what every head contributes to an answer: an Ablation with .effect [L, H] and .plot().

    effect[l, h] = log P(answer | text, head h of block l returns 0) - log P(answer | text)
    The head's slice of h.l.attn.heads is set to 0 at all positions, so that it adds nothing to the stream. L H + 1
    forward passes. answer: the text of a single token. Raises ValueError for any other answer and for an empty text.
    """
    ids = encode_text(tokenizer, text)
    answer_id = single_token_id(tokenizer, answer, "answer")
    model = with_fixed_ops(model)

    def logprob(trace=None, edit=None):
        return log_softmax(model(ids, trace=trace, edit=edit, last_only=True)[-1])[answer_id]

    L, H = model.config.n_layer, model.config.n_head
    # A traced run uses the formula of attention, as edited runs do: no difference comes from rounding.
    untouched = logprob(trace={})
    effect = [[logprob(edit={f"h.{layer}.attn.heads": zero_head(head)}) for head in range(H)] for layer in range(L)]
    return Ablation(np.array(effect) - untouched, float(untouched), answer)


def zero_head(head: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return an edit of h.i.attn.heads [B, H, T, K] that sets one head's output to 0."""

    def edit(heads):
        heads[:, head] = 0
        return heads

    return edit


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
        figure = new_figure(min(2 + 0.34 * T, 12), 1.8 + 0.3 * L)
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


def patch(
    model: GPT2, tokenizer: Tokenizer, clean: str, corrupted: str, answer: str, wrong: str, activation: str = "resid"
) -> Patching:
    """Find where the model keeps what the answer depends on: a Patching with .effect [L, T] and .plot().

    clean and corrupted are two texts with the same number of tokens. They differ only in what makes answer right for
    one and wrong for the other. The model reads the corrupted text, but at position t of block l it gets the
    activation of the clean one:
    difference[l, t] = logit(answer) - logit(wrong)
    effect[l, t] = (difference[l, t] - difference(corrupted)) / (difference(clean) - difference(corrupted))
                                                       Meng et al. 2022, section 2 ("causal tracing"), Wang et al. 2022

    answer, wrong: the texts of single tokens. activation: any activation of a block, such as "resid", "attn.out",
    "mlp.out" or "attn.v". L T + 2 forward passes. Raises ValueError for bad input, and for texts that have the same
    difference.
    """
    clean_ids, corrupted_ids = encode_text(tokenizer, clean), encode_text(tokenizer, corrupted)
    answer_id = single_token_id(tokenizer, answer, "answer")
    wrong_id = single_token_id(tokenizer, wrong, "wrong")
    if len(clean_ids) != len(corrupted_ids):
        raise ValueError(
            f"clean has {len(clean_ids)} tokens, corrupted {len(corrupted_ids)}: they must have the same number, so "
            "that each position of one corresponds to that of the other"
        )
    if answer_id == wrong_id:
        raise ValueError(f"answer and wrong are the same token, {answer!r}: there is nothing to tell apart")
    names = _names_in_all_blocks(activation, model.config.n_layer)
    model = with_fixed_ops(model)

    def logit_difference(ids, trace=None, edit=None):
        logits = model(ids, trace=trace, edit=edit)[-1]
        return logits[answer_id] - logits[wrong_id]

    trace = {}
    clean_difference = logit_difference(clean_ids, trace)
    corrupted_difference = logit_difference(corrupted_ids, {})  # traced for the reason given in ablate_heads
    if clean_difference == corrupted_difference:
        raise ValueError("clean and corrupted have the same difference of logits: there is nothing to restore")
    T = len(clean_ids)
    difference = np.array(
        [[logit_difference(corrupted_ids, edit={name: copy_from(trace[name], t)}) for t in range(T)] for name in names]
    )
    return Patching(
        (difference - corrupted_difference) / (clean_difference - corrupted_difference),
        difference,
        float(clean_difference),
        float(corrupted_difference),
        token_texts(tokenizer, clean_ids),
        token_texts(tokenizer, corrupted_ids),
        activation,
    )


def copy_from(clean: np.ndarray, position: int | slice) -> Callable[[np.ndarray], np.ndarray]:
    """Return an edit that copies a position, or a slice of them, from the clean activation [..., T, numbers]."""

    def edit(activation):
        activation[..., position, :] = clean[..., position, :]
        return activation

    return edit


def _names_in_all_blocks(activation, n_layer):
    known = [a.name for a in ACTIVATIONS if a.in_block]
    if activation not in known:
        raise ValueError(f"activation must be one of a block's, {', '.join(known)}, not {activation!r}")
    return [f"h.{layer}.{activation}" for layer in range(n_layer)]
