"""Look inside a model and change what happens there. Everything runs through model(ids, trace=..., edit=...).

    stepping.py        the forward pass, one activation at a time
    attention_maps.py  which tokens attend to which
    lens.py            what the model would predict if it stopped early
    patching.py        change one activation and measure the effect on the answer
    beam_tree.py       a beam search, drawn as a tree
    loss_curves.py     the losses of a training
    source.py          the source of a function, shown where it is used
    provenance.py      the line of source that made an activation
    inputs.py          the texts and models that these functions take
    figures.py, pixels.py, labels.py    drawing, with and without matplotlib

All functions but show and step return their numbers in an object whose `.plot()` returns a matplotlib Figure, which a
notebook displays. show displays its argument itself; step returns an object that a notebook displays.
"""

from minigpt.looking.attention_maps import attention_maps
from minigpt.looking.beam_tree import beam_tree
from minigpt.looking.lens import logit_lens
from minigpt.looking.loss_curves import loss_curves
from minigpt.looking.patching import ablate_heads, patch
from minigpt.looking.source import show
from minigpt.looking.stepping import step

__all__ = ["ablate_heads", "attention_maps", "beam_tree", "logit_lens", "loss_curves", "patch", "show", "step"]
