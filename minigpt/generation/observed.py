"""A model as generation calls it, with edits in every call and a record of each."""

from functools import partial

from minigpt.trace import Trace


class ObservedModel:
    """The model with these edits, whose activations are added to the dict trace: to a list by name, one per call."""

    def __init__(self, model, edit=None, trace=None):
        self.config, self.dtype = model.config, model.dtype
        self._model = partial(model, edit=edit)
        self._trace = trace

    def __call__(self, ids, last_only=False, **options):
        if self._trace is None:
            return self._model(ids, last_only=last_only, **options)
        activations = self._trace.empty() if isinstance(self._trace, Trace) else {}
        logits = self._model(ids, trace=activations, **options)  # of all tokens
        for name, activation in activations.items():
            self._trace.setdefault(name, []).append(activation)
        return logits
