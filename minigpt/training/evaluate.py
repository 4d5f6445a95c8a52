"""How well a model predicts a text."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from minigpt.gpt2 import GPT2
from minigpt.tokenizer import Tokenizer
from minigpt.training.backend import training_operations
from minigpt.training.data import require_matching_vocabulary
from minigpt.training.gradients import over_batch
from minigpt.training.loss import IGNORED


def mean_loss(model: GPT2, batches: Iterable[tuple[np.ndarray, np.ndarray]]) -> float:
    """Return the mean cross-entropy of the targets that count, over batches of inputs and targets [B, T]."""
    total = count = 0
    for inputs, targets in batches:
        total += summed_loss(model, inputs, targets)
        count += int((targets != IGNORED).sum())
    return total / max(1, count)


def summed_loss(model, inputs, targets):
    """Return the sum of -log P(target) over the targets that count;  inputs, targets [B, T]."""
    # The cross-entropy works in the logits' own array. Its gradient is not used.
    cross_entropy = training_operations(model.ops.ready()).cross_entropy

    def part(inputs, targets, grads, rng):
        logits = model(inputs)
        return cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1), 1)[0]

    return over_batch(model, part, inputs, targets)


@dataclass(frozen=True)
class Evaluation:
    """tokens: how many were predicted; n_bytes: the length of their text in UTF-8; loss: nats per token."""

    tokens: int
    n_bytes: int
    loss: float

    @property
    def perplexity(self):
        """exp(loss): on average, the model chooses between this many equally probable tokens."""
        return math.exp(self.loss)

    @property
    def bits_per_byte(self):
        """Bits that the model needs for a byte of the text: comparable between tokenizers."""
        return self.loss * self.tokens / math.log(2) / self.n_bytes


def evaluate(model: GPT2, tokenizer: Tokenizer, text: str | Iterable[str], stride: int | None = None) -> Evaluation:
    """Measure how well a model predicts a text. Raises ValueError.

    The text (a string, or its pieces as pieces.text_pieces cuts them) is read through a window of the model's whole
    context, which moves by `stride` tokens. Each window counts only the tokens that no earlier window had: except at
    the beginning, each follows at least n_positions - stride others. A smaller stride takes longer and gives tokens
    more context; the default is half the window. The first token is predicted from the token that begins texts
    (config.beginning_token_id). A model without one does not predict it, and its bytes do not count either.
    """
    n = model.config.n_positions
    stride = max(1, n // 2) if stride is None else stride
    if not 1 <= stride <= n:
        raise ValueError(f"stride must be from 1 to {n}, the model's positions, not {stride}")
    require_matching_vocabulary(tokenizer, model.config)
    beginning = model.config.beginning_token_id
    n_bytes, parts = 0, []
    for piece in [text] if isinstance(text, str) else text:
        ids = tokenizer.encode(piece)
        if ids and not parts and beginning is None:
            # The first token's bytes, by its offsets in the text: if it is half a character, decoding it alone
            # would give other bytes.
            n_bytes -= len(piece[: tokenizer.backend.encode(piece).offsets[0][1]].encode())
        n_bytes += len(piece.encode())
        parts.append(np.array(ids, np.int32))
    ids = np.concatenate([np.array([] if beginning is None else [beginning], np.int32), *parts])
    if len(ids) < 2:
        raise ValueError("the text is too short: there is no token to predict")
    total, n_scored = 0.0, 0
    while n_scored < len(ids) - 1:
        end = min(n_scored + (stride if n_scored else n), len(ids) - 1)
        start = max(0, end - n)
        targets = ids[start + 1 : end + 1].copy()
        targets[: n_scored - start] = IGNORED
        total += summed_loss(model, ids[None, start:end], targets[None])
        n_scored = end
    return Evaluation(n_scored, n_bytes, total / n_scored)
