"""Dropout (Srivastava et al. 2014), on the activations that GPT-2 applies it to."""

import numpy as np

DROPPED_ACTIVATIONS = ("embed", "attn.weights", "attn.out", "mlp.out")  # names, in a block without "h.LAYER."


class Dropout:
    """Set each number of an activation to 0 with probability p and divide the others by 1 - p, so that the mean stays.

    Forward, y = x mask; backward, dx = dy mask. `masks` keeps every mask by the activation's full name. rng: a numpy
    Generator.
    """

    def __init__(self, p, rng):
        self.p = p
        self.rng = rng
        self.masks = {}

    def __call__(self, name, activation):
        """Return the activation of that name, after dropout if it is one of DROPPED_ACTIVATIONS."""
        if not name.endswith(DROPPED_ACTIVATIONS):
            return activation
        kept = self.rng.random(activation.shape, np.float32) >= self.p
        self.masks[name] = kept * activation.dtype.type(1 / (1 - self.p))
        return activation * self.masks[name]
