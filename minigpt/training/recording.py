"""The run of a training step: it records the forward pass, and the backward pass reads the record in reverse."""

from minigpt.activations import find_activation
from minigpt.run import copied


class Recording:
    """The tap of a training's forward pass, then the `run` of its backward pass.

    As the tap it records the activations that the backward pass reads, as they were before dropout,
    and applies dropout. Then run["attn.q"] is an activation of the block that run.in_block(layer) is about, and
    linear_backward and the others are the operations of backward.py, in NumPy or compiled, for this configuration.
    dropout: a Dropout, or None.
    """

    def __init__(self, config, operations, dropout=None):
        self.config = config
        self.operations = operations
        self.dropout = dropout
        self.n_head = config.n_head
        self.activations = {}
        self.prefix = ""

    def __call__(self, name, activation):
        if find_activation(name).for_backward:
            self.activations[name] = activation
        return activation if self.dropout is None else self.dropout(name, activation)

    def in_block(self, layer):
        """Return a copy for one block, where names get the prefix h.LAYER."""
        inside = copied(self)
        inside.layer = layer
        inside.prefix = f"h.{layer}."
        return inside

    def __getitem__(self, name):
        return self.activations[self.prefix + name]

    def stream(self, layer):
        """Return the stream that block `layer` reads; for layer = n_layer, the one that ln_f reads."""
        if layer:
            return self.activations[f"h.{layer - 1}.resid"]
        return self._times_mask("embed", self.activations["embed"])

    def dropout_backward(self, name, dy):
        """Return dx of y = dropout(x), where x is the activation of that name: dy times its mask, if it has one."""
        return self._times_mask(self.prefix + name, dy)

    def _times_mask(self, full_name, array):
        mask = self._mask(full_name)
        return array if mask is None else array * mask

    def _mask(self, full_name):
        return None if self.dropout is None else self.dropout.masks.get(full_name)

    def linear_backward(self, dy, x, params, grads):
        """Return dx of y = linear(x, **params); add the gradients of the parameters to grads."""
        return self.operations.linear_backward(dy, x, params["weight"], grads["weight"], grads.get("bias"))

    def layer_norm_backward(self, dy, x, params, grads):
        """Return dx of y = layer_norm(x, **params); add the gradients of the parameters to grads."""
        eps = self.config.layer_norm_epsilon
        return self.operations.layer_norm_backward(dy, x, params["weight"], grads["weight"], grads["bias"], eps)

    def activation_function_backward(self, dy, x):
        """Return dx of y = activation_function(x)."""
        return getattr(self.operations, f"{self.config.activation_function}_backward")(dy, x)

    def attention_backward(self, dheads, q, k, v):
        """Return dq, dk, dv of heads = attention(q, k, v). Weights that were not recorded are computed again."""
        name = f"{self.prefix}attn.weights"
        weights, mask = self.activations.get(name), self._mask(name)
        return self.operations.attention_backward(
            dheads, q, k, v, self.config.attention_scale(self.layer), weights, mask
        )

    def embedding_backward(self, dx, ids, grads):
        """Add the gradients of x = wte[ids] + wpe[positions] to grads."""
        self.operations.embedding_backward(dx, ids, grads["wte"]["weight"], grads["wpe"]["weight"])
