"""What generate returns if it is asked for more than the sequences."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class GenerateOutput:
    """sequences int64 [N, T + new tokens]; for each new token the scores [N, V] that it was chosen by, or None.

    logits: of the model. scores: after all filters, -inf for a token that could not be chosen.
    """

    sequences: np.ndarray
    scores: tuple[np.ndarray, ...] | None = None
    logits: tuple[np.ndarray, ...] | None = None


class Recorder:
    """Keeps logits and scores [N, V] of every step, those that are asked for."""

    def __init__(self, scores, logits):
        self.scores = () if scores else None
        self.logits = () if logits else None

    def add(self, logits, scores):
        if self.scores is not None:
            self.scores += (scores.copy(),)
        if self.logits is not None:
            self.logits += (logits.copy(),)

    def output(self, sequences):
        return GenerateOutput(sequences, self.scores, self.logits)
