"""To look inside a model, and to change what happens there. Everything runs through model(ids, trace=..., edit=...).

    attention.py    which tokens look at which
    lens.py         what the model would say if it stopped early
    patching.py     change one activation, and see what becomes of the answer
    beams.py        a beam search as the tree that it is
    curves.py       how a training went
    source.py       the source of a function, to read it where it is used
    stepping.py     the forward pass, one activation at a time
    figures.py, pixels.py, tokens.py    what the pictures have in common

Each function but show and step returns its numbers; `.plot()` draws them and returns a Figure of matplotlib, which a
notebook shows. show and step show themselves.
"""

from minigpt.looking.attention import attention_maps
from minigpt.looking.beams import beam_tree
from minigpt.looking.curves import loss_curves
from minigpt.looking.lens import logit_lens
from minigpt.looking.patching import ablate_heads, patch
from minigpt.looking.source import show
from minigpt.looking.stepping import step

__all__ = ["ablate_heads", "attention_maps", "beam_tree", "logit_lens", "loss_curves", "patch", "show", "step"]
