"""What a set of operations is: the functions that the forward pass calls, and three facts about them."""


def untapped(name, activation):
    """Return the activation as it is: the tap of a run that nobody records or edits, see minigpt/trace.py."""
    return activation


class AttentionRun:
    """What minigpt.model.attention needs of its run, for an attention that is called by itself."""

    def __init__(self, scale, padding, softmax, tap):
        self.scale = scale
        self.padding = padding
        self.softmax = softmax
        self._tap = tap

    def tap(self, name, activation):
        """Call the tap with "scores" for "attn.scores"."""
        return self._tap(name.removeprefix("attn."), activation)


# The operations, and the shape that the result of each must have.
RESULT_SHAPES = {
    "softmax": lambda x, axis=-1: x.shape,
    "gelu_new": lambda x: x.shape,
    "gelu": lambda x: x.shape,
    "relu": lambda x: x.shape,
    "layer_norm": lambda x, weight, bias, eps: x.shape,
    "linear": lambda x, weight, bias=None: (*x.shape[:-1], weight.shape[1]),
    "attention": lambda q, k, v: q.shape,
}


class Operations:
    """A model's operations, as in model.ops.softmax(x): softmax, gelu_new, gelu, relu, layer_norm, linear, attention.

    name: "plain", "jit" or "auto"; "training" has an attention that keeps its weights. compiled: whether the functions
    are kernels; training then uses the kernels of the gradients, too. replaced: the names of operations that a user has
    replaced; these have no gradients.
    """

    def __init__(self, name, functions, compiled=False, replaced=()):
        self.name = name
        self.compiled = compiled
        self.replaced = tuple(replaced)
        for operation in RESULT_SHAPES:
            setattr(self, operation, functions[operation])

    @classmethod
    def of_module(cls, name, module, compiled=False):
        """Return the set of the operations that a module defines under their names."""
        return cls(name, vars(module), compiled)

    def functions(self):
        """Return the operations as a dict of name to function."""
        return {operation: getattr(self, operation) for operation in RESULT_SHAPES}

    def start(self):
        """Begin to import the kernels in the background; only "auto" does that."""

    def ready(self):
        """Wait for the kernels and return the set to compute with; only "auto" has to wait."""
        return self

    def __repr__(self):
        replaced = f", replaced: {', '.join(self.replaced)}" if self.replaced else ""
        return f"<operations {self.name!r}{replaced}>"
