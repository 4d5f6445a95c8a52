"""Look inside a model and change what happens there. Everything runs through model(ids, trace=..., edit=...).

    stepping.py        the forward pass, one activation at a time
    why/               where one number of it, or of a gradient, comes from: the terms that sum to it
    attribution.py     the logit of a token, split over heads, MLPs and the tokens that were read
    token_attribution.py   the same over the tokens of the text, through all blocks
    attention_maps.py  which tokens attend to which
    lens.py            what the model would predict if it stopped early
    head_scores.py     which heads have the habits of induction and previous-token heads
    ablation.py        remove a head or a layer and measure the effect on the answer
    patching.py        copy an activation from one run into another and measure the effect
    metrics.py         what these experiments measure
    activation_gradients.py   what a small change of any activation would do
    statistics.py      how large activations are over many texts
    steering.py        a direction between two sets of texts, added while the model writes
    edited.py          a model with edits that stay
    beam_tree.py       a beam search, drawn as a tree
    loss_curves.py     the losses of a training
    source.py          the source of a function, shown where it is used
    provenance.py      the line of source that made an activation
    inputs.py          the texts and models that these functions take
    figures.py, pixels.py, labels.py    drawing, with and without matplotlib

All functions but show, step, gradient_steps, activation_gradients, edited and wrap return their numbers in an object
whose `.plot()` returns a matplotlib Figure, which a notebook displays. show displays its argument itself; step returns
an object that a notebook displays, and so does the `why` of step and of gradient_steps; activation_gradients returns a
dict, edited a model, wrap a text. README.md has the names of the same things in TransformerLens.
"""

from minigpt.looking.ablation import ablate_heads, ablate_layers
from minigpt.looking.activation_gradients import activation_gradients
from minigpt.looking.attention_maps import attention_maps
from minigpt.looking.beam_tree import beam_tree
from minigpt.looking.edited import edited
from minigpt.looking.head_scores import head_scores
from minigpt.looking.labels import wrap
from minigpt.looking.lens import logit_lens
from minigpt.looking.loss_curves import loss_curves
from minigpt.looking.patching import patch, patch_heads
from minigpt.looking.source import show
from minigpt.looking.statistics import activation_statistics
from minigpt.looking.steering import steer, steering_direction
from minigpt.looking.stepping import step
from minigpt.looking.why.gradient_steps import gradient_steps

__all__ = [
    "ablate_heads",
    "ablate_layers",
    "activation_gradients",
    "activation_statistics",
    "attention_maps",
    "beam_tree",
    "edited",
    "gradient_steps",
    "head_scores",
    "logit_lens",
    "loss_curves",
    "patch",
    "patch_heads",
    "show",
    "steer",
    "steering_direction",
    "step",
    "wrap",
]
