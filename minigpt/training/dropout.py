"""Dropout (Srivastava et al. 2014), where GPT-2 has it."""

import numpy as np

PLACES = ("embed", "attn.weights", "attn.out", "mlp.out")  # the activations that dropout is applied to


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
        """Return the activation of that name with dropout applied, if it is one of the places."""
        if not name.endswith(PLACES):
            return activation
        kept = self.rng.random(activation.shape, np.float32) >= self.p
        self.masks[name] = kept * activation.dtype.type(1 / (1 - self.p))
        return activation * self.masks[name]
