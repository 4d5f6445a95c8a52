"""The models that a page can choose: the one it began with, the bundled one, and those on this machine."""

import threading
from contextlib import suppress
from dataclasses import dataclass

from minigpt.bundled import DEFAULT_MODEL
from minigpt.gpt2 import GPT2
from minigpt.looking.inputs import with_fixed_ops
from minigpt.tokenizer import Tokenizer
from weights_loader import CheckpointError, locate_weights
from weights_loader.hub import OFFICIAL_MODELS

MAX_LOADED = 3  # models kept beside the first one
MAX_TOKENS = 256  # of a text on a page: the attention weights of all heads still fit in memory, and in the window


@dataclass(frozen=True, eq=False)
class Loaded:
    """A model with its tokenizer, under the name by which the page knows it."""

    name: str
    model: GPT2
    tokenizer: Tokenizer

    @property
    def max_tokens(self) -> int:
        """The most tokens of a text on the page."""
        return min(self.model.config.n_positions, MAX_TOKENS)

    @property
    def python(self) -> str:
        """Python that loads the model."""
        if self.model.name is None:
            return "# model and tokenizer are those that were given to step"
        return (
            "from minigpt import GPT2, Tokenizer\n\n"
            f"model = GPT2.from_pretrained({self.model.name!r})\n"
            f"tokenizer = Tokenizer.from_pretrained({self.model.name!r})"
        )


class Models:
    """Models by name. The first is the page's own; others are loaded when they are asked for, never downloaded."""

    def __init__(self, model: GPT2, tokenizer: Tokenizer):
        self.first = Loaded(str(model.name or "your model"), with_fixed_ops(model), tokenizer)
        self._others = {}
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """Return the names that the page offers; it takes others, too."""
        return list(dict.fromkeys([self.first.name, DEFAULT_MODEL, *_cached_official_models(), *self._others]))

    def find(self, name: str | None) -> Loaded:
        """Return the model of that name, loaded from this machine; the first for None. Raises ValueError."""
        if name is None or name == self.first.name:
            return self.first
        with self._lock:
            loaded = self._others.pop(name, None) or _load(name)
            self._others[name] = loaded  # the last is the one used last
            while len(self._others) > MAX_LOADED:
                del self._others[next(iter(self._others))]
        return loaded


def _load(name):
    try:
        # A click must not download gigabytes.
        model = GPT2.from_pretrained(name, local_files_only=True)
        return Loaded(name, with_fixed_ops(model), Tokenizer.from_pretrained(name, local_files_only=True))
    except OSError as error:
        raise ValueError(f"{name} cannot be read: {error}") from error


def _cached_official_models():
    for name in OFFICIAL_MODELS:
        with suppress(CheckpointError):
            locate_weights(name, local_files_only=True)
            yield name
