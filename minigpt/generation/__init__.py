"""New tokens from a model: greedy search, sampling, beam search, streaming.

options.py      GenerationConfig
sampling.py     filters and draws
forbidding.py   filters that forbid tokens
reader.py       runs the model, each token once
search.py       generate and stream
stopping.py     when a text is finished
speculative.py  several tokens a pass: drafts, and which of them are kept
beams.py        beam search
output.py       scores and logits beside the sequences
observed.py     edits and a trace of every step
text.py         text in, text out; imported as a module of its own, because it depends on model.py
"""

from minigpt.generation.options import GenerationConfig
from minigpt.generation.search import generate, stream

__all__ = ["GenerationConfig", "generate", "stream"]
