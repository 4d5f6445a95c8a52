"""Record and edit activations while the forward pass makes them.

The forward pass hands every activation to a `tap` under its name, see activations.py, and goes on with what the tap
returns.
"""

from fnmatch import fnmatchcase

from minigpt.ops.replace import checked_result


class Trace(dict):
    """A dict for `trace` that receives only some activations: Trace("h.3.attn.weights", "*.resid", "logits").

    patterns: names of activations, in which * stands for anything. Everything else is forgotten as soon as the forward
    pass has used it. Raises ValueError in a call whose model has no activation for a pattern.
    """

    def __init__(self, *patterns: str):
        super().__init__()
        if not patterns:
            raise ValueError('a Trace needs the names that it receives, such as "h.3.attn.weights" or "*.resid"')
        self.patterns = patterns

    def wants(self, name: str) -> bool:
        """Return whether this Trace receives the activation of that name."""
        return any(fnmatchcase(name, pattern) for pattern in self.patterns)

    def empty(self) -> "Trace":
        """Return a Trace for the same names that has received nothing yet."""
        return Trace(*self.patterns)

    def unknown(self, names: list[str]) -> list[str]:
        """Return the patterns that fit none of these names."""
        return [pattern for pattern in self.patterns if not any(fnmatchcase(name, pattern) for name in names)]


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
        if self.trace is not None and (not isinstance(self.trace, Trace) or self.trace.wants(name)):
            self.trace[name] = activation
        return activation

    def _edited(self, name, activation):
        edited = self.edit[name](activation.copy())
        return checked_result(f"the edit of {name!r}", edited, activation.shape, activation.dtype)
