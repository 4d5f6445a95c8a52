"""Change one activation, and see what becomes of the answer: what has an effect is a cause, not a mere sign.

Attention maps show where a head looks; these show whether it matters.
"""

from dataclasses import dataclass

import numpy as np

from minigpt.generation.sampling import log_softmax
from minigpt.looking.figures import CHANGES, draw_map, label_tokens, new_figure, write_values
from minigpt.looking.tokens import encode, settled, single_token, token_texts
from minigpt.trace import activation_names


@dataclass(frozen=True, eq=False)
class Ablation:
    """effect[l, h]: by how much log P(answer | text) changes without head h of block l; below 0 the head has helped."""

    effect: np.ndarray  # [L, H]
    logprob: float  # log P(answer | text) of the whole model
    answer: str

    def plot(self):
        """The effect of every head, a Figure. Red: without it the answer is less probable."""
        L, H = self.effect.shape
        figure = new_figure(1.8 + 0.55 * H, 1 + 0.4 * L)
        axes = figure.subplots()
        image = draw_map(axes, self.effect, CHANGES)
        if H <= 8:
            write_values(axes, [[f"{value:.2f}" for value in row] for row in self.effect], image)
        axes.set_xticks(range(H), [f"head {head}" for head in range(H)] if H <= 8 else range(H))
        axes.set_yticks(range(L), [f"block {layer}" for layer in range(L)])
        axes.tick_params(length=0)
        bar = figure.colorbar(image)
        bar.set_label(f"change of log P({self.answer!r})", parse_math=False)
        return figure


def ablate_heads(model, tokenizer, text, answer):
    """What every head does for an answer: an Ablation with .effect [L, H] and .plot().

    effect[l, h] = log P(answer | text, head h of block l gives 0) - log P(answer | text)
    The head's slice of h.l.attn.heads is set to 0 at all positions, so that it adds nothing to the stream. L H + 1
    forward passes. answer: the text of a single token. Raises ValueError for another, or for an empty text.
    """
    ids = encode(tokenizer, text)
    answer_id = single_token(tokenizer, answer, "answer")
    model = settled(model)

    def logprob(trace=None, edit=None):
        return log_softmax(model(ids, trace=trace, edit=edit, last_only=True)[-1])[answer_id]

    L, H = model.config.n_layer, model.config.n_head
    untouched = logprob(trace={})  # traced, so on the formulas as the edited runs are: no difference is rounding
    effect = [[logprob(edit={f"h.{layer}.attn.heads": without(head)}) for head in range(H)] for layer in range(L)]
    return Ablation(np.array(effect) - untouched, float(untouched), answer)


def without(head):
    """An edit of h.i.attn.heads [B, H, T, K] that sets one head's output to 0."""

    def edit(heads):
        heads[:, head] = 0
        return heads

    return edit


@dataclass(frozen=True, eq=False)
class Patching:
    """effect[l, t]: how much of the clean text's answer one clean activation brings back to the corrupted text.

    0: it is as corrupted; 1: as clean. It can be more, or less than 0. difference[l, t] is the same in logits.
    """

    effect: np.ndarray  # [L, T]
    difference: np.ndarray  # [L, T]: logit(answer) - logit(wrong) with block l's clean activation at position t
    clean_difference: float
    corrupted_difference: float
    clean_tokens: list[str]  # [T]
    corrupted_tokens: list[str]  # [T]
    activation: str

    def plot(self):
        """The effect of every block and position, a Figure, upwards as the stream flows."""
        L, T = self.effect.shape
        figure = new_figure(min(2 + 0.34 * T, 12), 1.8 + 0.3 * L)
        axes = figure.subplots()
        image = draw_map(axes, self.effect, CHANGES)
        pairs = zip(self.clean_tokens, self.corrupted_tokens, strict=True)
        labels = [clean if clean == corrupted else f"{clean}/{corrupted}" for clean, corrupted in pairs]
        label_tokens(axes.xaxis, labels, rotation=90)
        axes.invert_yaxis()
        axes.set_yticks(range(L), [f"h.{layer}.{self.activation}" for layer in range(L)])
        axes.tick_params(length=0)
        axes.set_xlabel("clean/corrupted")
        figure.colorbar(image, label="effect")
        return figure


def patch(model, tokenizer, clean, corrupted, answer, wrong, activation="resid"):
    """Where the model keeps what the answer hangs on: a Patching with .effect [L, T] and .plot().

    clean and corrupted are two texts of as many tokens, alike but for what makes answer right in one and wrong in the
    other. The model reads the corrupted one, but in block l at position t the activation is that of the clean one:
    difference[l, t] = logit(answer) - logit(wrong)
    effect[l, t] = (difference[l, t] - difference(corrupted)) / (difference(clean) - difference(corrupted))
                                                       Meng et al. 2022, section 2 ("causal tracing"), Wang et al. 2022

    answer, wrong: the texts of single tokens. activation: any of a block, such as "resid", "attn.out", "mlp.out" or
    "attn.v". L T + 2 forward passes. Raises ValueError for bad input, and for texts of the same difference.
    """
    clean_ids, corrupted_ids = encode(tokenizer, clean), encode(tokenizer, corrupted)
    answer_id, wrong_id = single_token(tokenizer, answer, "answer"), single_token(tokenizer, wrong, "wrong")
    if len(clean_ids) != len(corrupted_ids):
        raise ValueError(
            f"clean has {len(clean_ids)} tokens, corrupted {len(corrupted_ids)}: they must have as many, so that "
            "each position of one stands for that of the other"
        )
    if answer_id == wrong_id:
        raise ValueError(f"answer and wrong are the same token, {answer!r}: there is nothing to tell apart")
    names = names_of(activation, model.config.n_layer)
    model = settled(model)

    def run(ids, trace=None, edit=None):
        logits = model(ids, trace=trace, edit=edit)[-1]
        return logits[answer_id] - logits[wrong_id]

    trace = {}
    at_clean, at_corrupted = run(clean_ids, trace), run(corrupted_ids, {})  # both traced, as in ablate_heads
    if at_clean == at_corrupted:
        raise ValueError("clean and corrupted have the same difference of logits: there is nothing to bring back")
    T = len(clean_ids)
    difference = [[run(corrupted_ids, edit={name: put(trace[name], t)}) for t in range(T)] for name in names]
    difference = np.array(difference)
    return Patching(
        (difference - at_corrupted) / (at_clean - at_corrupted),
        difference,
        float(at_clean),
        float(at_corrupted),
        token_texts(tokenizer, clean_ids),
        token_texts(tokenizer, corrupted_ids),
        activation,
    )


def put(clean, position):
    """An edit that puts the clean activation in at a position, or at a slice of them; all are [..., T, numbers]."""

    def edit(activation):
        activation[..., position, :] = clean[..., position, :]
        return activation

    return edit


def names_of(activation, n_layer):
    """The full names of an activation in all blocks. Raises ValueError."""
    known = [name.removeprefix("h.0.") for name in activation_names(1) if name.startswith("h.0.")]
    if activation not in known:
        raise ValueError(f"activation must be one of a block's, {', '.join(known)}, not {activation!r}")
    return [f"h.{layer}.{activation}" for layer in range(n_layer)]
