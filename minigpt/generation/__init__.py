"""New tokens from a model: greedy search, sampling, beam search, streaming.

options.py (GenerationConfig), sampling.py (filters and draws), reader.py (runs the model, each token once), search.py
(generate and stream), beams.py (beam search), text.py (text in, text out).
"""

from typing import TYPE_CHECKING

from minigpt.generation.options import GenerationConfig
from minigpt.generation.search import generate, stream

if TYPE_CHECKING:
    from minigpt.generation.text import Continuation, continue_text, encode_prompt, generate_text

__all__ = [
    "Continuation",
    "GenerationConfig",
    "continue_text",
    "encode_prompt",
    "generate",
    "generate_text",
    "stream",
]


def __getattr__(name):
    # text.py loads models by name, so it stands above model.py, which imports this package for GPT2.generate.
    if name not in __all__:
        raise AttributeError(f"module 'minigpt.generation' has no attribute {name!r}")
    from minigpt.generation import text

    return getattr(text, name)


def __dir__():
    return sorted({*globals(), *__all__})
