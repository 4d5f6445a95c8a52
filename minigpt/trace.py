"""Record and edit activations while the forward pass makes them.

The forward pass hands every activation to a `tap` under its name, see activations.py, and goes on with what the tap
returns.
"""

from minigpt.ops.replace import checked_result


class Tap:
    """A tap that records activations in the dict `trace` and applies the functions of the dict `edit` by name.

    An edit gets a copy of the activation and returns its replacement, of the same shape. The cache, the trace and
    all later activations use the replacement.
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
