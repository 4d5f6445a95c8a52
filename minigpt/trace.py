"""Look at activations and change them, by name, while the forward pass makes them.

The forward pass hands every activation to a `tap` under its name and goes on with what the tap returns.
"""

import numpy as np


def untapped(name, activation):
    """The tap of an ordinary run: lets everything pass."""
    return activation


class Tap:
    """A tap that records activations in the dict `trace` and changes those that the dict `edit` has a function for.

    An edit gets a copy of the activation and returns its replacement, of the same shape. Later activations, the cache
    and the trace have the replacement.
    """

    def __init__(self, trace=None, edit=None):
        self.trace = trace
        self.edit = dict(edit or {})
        self.unreached = set(self.edit)

    def __call__(self, name, activation):
        if name in self.edit:
            self.unreached.discard(name)
            activation = self._edited(name, activation)
        if self.trace is not None:
            self.trace[name] = activation
        return activation

    def _edited(self, name, activation):
        edited = self.edit[name](activation.copy())
        return checked_result(f"the edit of {name!r}", edited, activation.shape, activation.dtype)


def checked_result(source, result, shape, dtype):
    """A result of a function from outside, in the model's dtype. Raises ValueError for another shape."""
    found = getattr(result, "shape", None)
    if found != shape:
        found = repr(result) if found is None else f"an array of shape {found}"
        raise ValueError(f"{source} must return an array of shape {shape}, not {found}")
    # A factor such as 1 / np.sqrt(K) makes float64 of float32; the model goes on in its own dtype.
    return np.asarray(result, dtype)


def below(tap, prefix):
    """A tap for a part of the model: it sees the part's names with the prefix before them."""
    return untapped if tap is untapped else lambda name, activation: tap(prefix + name, activation)


def activation_names(n_layer):
    """The names of all activations of a model, in the order in which the forward pass makes them."""
    attn = ("q", "k", "v", "scores", "weights", "heads", "out")
    block = ("ln_1", *(f"attn.{n}" for n in attn), "resid_mid", "ln_2", "mlp.pre", "mlp.act", "mlp.out", "resid")
    return ["embed", *(f"h.{i}.{name}" for i in range(n_layer) for name in block), "ln_f", "logits"]
