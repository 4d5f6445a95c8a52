"""How well a model predicts a text."""

import math
from dataclasses import dataclass

import numpy as np

from minigpt.training.backend import training_operations
from minigpt.training.data import beginning_of_text, check_fit
from minigpt.training.gradients import over_batch
from minigpt.training.loss import IGNORED


def mean_loss(model, batches):
    """The mean cross-entropy of the targets that count, over batches of inputs and targets [B, T]."""
    total = count = 0
    for inputs, targets in batches:
        total += summed_loss(model, inputs, targets)
        count += int((targets != IGNORED).sum())
    return total / max(1, count)


def summed_loss(model, inputs, targets):
    """The sum of -log P(target) over the targets that count;  inputs, targets [B, T]."""
    cross_entropy = training_operations(
        model.ops.ready()
    ).cross_entropy  # in the logits' own array; its gradient is not used

    def part(inputs, targets, grads, rng):
        logits = model(inputs)
        return cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1), 1)[0]

    return over_batch(model, part, inputs, targets)


@dataclass(frozen=True)
class Evaluation:
    """tokens: how many were predicted; n_bytes: of the text that they make up, in UTF-8; loss: nats a token."""

    tokens: int
    n_bytes: int
    loss: float

    @property
    def perplexity(self):
        """exp(loss): between so many equally probable tokens the model chooses, on average."""
        return math.exp(self.loss)

    @property
    def bits_per_byte(self):
        """Bits that the model needs for a byte of the text: comparable between tokenizers."""
        return self.loss * self.tokens / math.log(2) / self.n_bytes


def evaluate(model, tokenizer, text, stride=None):
    """How well a model predicts a text, read through a window of its whole context that moves by `stride` tokens.

    text: a string, or pieces of it as data.text_pieces cuts them. Of each window only the tokens count that no earlier
    one had: each has at least n_positions - stride before it to go by, but at the beginning. A small stride is slow and
    kind to the model; the default is half the window. The first token is predicted from the one that begins texts, see
    data.beginning_of_text; a model without it is not asked for the first token, whose bytes then do not count either.
    Raises ValueError.
    """
    n = model.config.n_positions
    stride = max(1, n // 2) if stride is None else stride
    if not 1 <= stride <= n:
        raise ValueError(f"stride must be from 1 to {n}, the model's positions, not {stride}")
    check_fit(tokenizer, model.config)
    beginning, n_bytes, parts = beginning_of_text(model.config), 0, []
    for piece in [text] if isinstance(text, str) else text:
        ids = tokenizer.encode(piece)
        if ids and not parts and beginning is None:
            # By its place in the text: the first token may be half a character, of which decoding makes another one.
            n_bytes -= len(piece[: tokenizer.backend.encode(piece).offsets[0][1]].encode())
        n_bytes += len(piece.encode())
        parts.append(np.array(ids, np.int32))
    ids = np.concatenate([np.array([] if beginning is None else [beginning], np.int32), *parts])
    if len(ids) < 2:
        raise ValueError("the text is too short: there is no token to predict")
    total, scored = 0.0, 0
    while scored < len(ids) - 1:
        end = min(scored + (stride if scored else n), len(ids) - 1)
        start = max(0, end - n)
        targets = ids[start + 1 : end + 1].copy()
        targets[: scored - start] = IGNORED
        total += summed_loss(model, ids[None, start:end], targets[None])
        scored = end
    return Evaluation(scored, n_bytes, total / scored)
