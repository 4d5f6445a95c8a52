"""The gradients of what a model says with respect to every activation on the way."""

import numpy as np
from numpy.typing import ArrayLike

from minigpt.activations import activation_names
from minigpt.gpt2 import GPT2
from minigpt.model import gpt2
from minigpt.ops import formulas
from minigpt.params import flatten, nest, zeros_like
from minigpt.run import Run, checked_ids
from minigpt.training.backend import PLAIN_TRAINING
from minigpt.training.backward import gpt2_backward, softmax_backward
from minigpt.training.recording import Recording

# The stream is a sum, so what is added to it has the same gradient as the result.
SUM_OF = {"attn.out": "resid_mid", "mlp.out": "resid"}


def activation_gradients(model: GPT2, ids: ArrayLike, dlogits: ArrayLike) -> dict[str, np.ndarray]:
    """Return the gradient of sum(dlogits logits) with respect to every activation of model(ids), by its name.

    ids [T] or [B, T]; dlogits, of the shape of the logits, says what each of them counts: 1 for an answer at the last
    position and -1 for a wrong one give the gradients of the difference of their logits. The gradients have the shapes
    of model(ids, trace=trace). Their product with a change of an activation tells, to first order, what that change
    does to the result: attribution patching (Nanda 2023). Runs on the formulas; weights in 4, 8 or 16 bits are unpacked
    to float32. Raises ValueError for ids that the model does not have, dlogits of another shape, and a model with edits
    or replaced operations, which have no backward pass.
    """
    ids = checked_ids(ids, model.config)
    shape = (*ids.shape, model.config.vocab_size)
    dlogits = np.asarray(dlogits)
    if dlogits.shape != shape or dlogits.dtype.kind not in "fiub":
        raise ValueError(f"dlogits must be numbers of shape {shape}, not {dlogits.dtype} of shape {dlogits.shape}")
    recording = GradientRecording(model)
    recording.forward(ids.reshape(-1, ids.shape[-1]))
    recording.backward(dlogits.reshape(-1, *shape[-2:]).astype(model.dtype))
    gradients = {name: recording.gradients[name] for name in activation_names(model.config.n_layer)}
    return gradients if ids.ndim == 2 else {name: gradient[0] for name, gradient in gradients.items()}


class GradientRecording(Recording):
    """A Recording of all activations, on which the backward pass leaves all their gradients, too.

    gpt2_backward calls an operation for each step back. What goes into the operation and what comes out of it are the
    gradients of activations. Raises ValueError for a model with edits or replaced operations.
    """

    def __init__(self, model):
        super().__init__(model.config, PLAIN_TRAINING)
        if model.ops.replaced:
            raise ValueError(f"minigpt has no backward pass for the replaced {', '.join(model.ops.replaced)}")
        if getattr(model, "edit", None):
            raise ValueError(f"minigpt has no backward pass for the edit of {min(model.edit)!r}")
        self.params = nest({name: np.asarray(array) for name, array in flatten(model.params).items()})
        self.gradients = {}

    def forward(self, ids):
        """Run the forward pass on the formulas;  ids [B, T] -> logits [B, T, V]."""
        self.ids = ids
        return gpt2(ids, self.params, Run(self.config, formulas, tap=self))

    def backward(self, dlogits):
        """Run the backward pass from the gradient of the logits; return the tree of the parameters' gradients."""
        self.keep("logits", dlogits)
        grads = zeros_like(self.params)
        gpt2_backward(dlogits, self.ids, self.params, grads, self)
        return grads

    def __call__(self, name, activation):
        self.activations[name] = activation
        return activation

    def keep(self, name, gradient):
        """Keep the gradient of an activation of this block."""
        self.gradients[self.prefix + name] = gradient

    def dropout_backward(self, name, dy):
        """Return dy: there is no dropout. It is the gradient of an activation, and of the sum that this is part of."""
        self.keep(name, dy)
        if name in SUM_OF:
            self.keep(SUM_OF[name], dy)
        return dy

    def layer_norm_backward(self, dy, x, params, grads):
        """Return dx of y = layer_norm(x, **params), as every Recording does; dy is that of ln_1, ln_2 or ln_f."""
        is_last = not self.prefix
        self.keep("ln_f" if is_last else "ln_2" if x is self["resid_mid"] else "ln_1", dy)
        return super().layer_norm_backward(dy, x, params, grads)

    def activation_function_backward(self, dy, x):
        """Return dx of y = activation_function(x), as every Recording does."""
        dx = super().activation_function_backward(dy, x)
        self.keep("mlp.act", dy)
        self.keep("mlp.pre", dx)
        return dx

    def attention_backward(self, dheads, q, k, v):
        """Return dq, dk, dv of heads = attention(q, k, v), as every Recording does."""
        dweights = dheads @ v.swapaxes(-1, -2)  # [B, H, T, S]
        self.keep("attn.heads", dheads)
        self.keep("attn.weights", dweights)
        self.keep("attn.scores", softmax_backward(dweights, self["attn.weights"]))
        gradients = super().attention_backward(dheads, q, k, v)
        for name, gradient in zip(("attn.q", "attn.k", "attn.v"), gradients, strict=True):
            self.keep(name, gradient)
        return gradients
