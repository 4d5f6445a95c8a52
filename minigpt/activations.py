"""The activations of a forward pass: the one table of their names, shapes, formulas and meanings."""

import re
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True)
class Activation:
    """The description of one activation.

    name: as in "attn.q"; that of a block's gets the prefix "h.LAYER.". axes: its shape, letters as in model.py.
    formula: how it follows from the activations before it; "stream" is what the block was given, and what stands in
    braces depends on the configuration. meaning: what it says.
    in_block: whether every block has one. for_backward: whether the backward pass reads it. is_probability: whether its
    numbers are from 0 to 1.
    """

    name: str
    axes: str
    formula: str
    meaning: str
    in_block: bool = True
    for_backward: bool = True
    is_probability: bool = False


ACTIVATIONS = (
    Activation(
        "embed", "BTD", "wte[ids] + wpe[positions]", "a vector for each token: what it is, and where it stands", False
    ),
    Activation(
        "ln_1",
        "BTD",
        "layer_norm(stream)",
        "the stream as attention reads it: every vector of mean 0 and variance 1, times a weight, plus a bias",
    ),
    Activation(
        "attn.q", "BHTK", "linear(ln_1, c_attn), the first third, split into heads", "queries: what a token looks for"
    ),
    Activation("attn.k", "BHTK", "linear(ln_1, c_attn), the second third", "keys: what a token is found by"),
    Activation("attn.v", "BHTK", "linear(ln_1, c_attn), the last third", "values: what a token hands on"),
    Activation(
        "attn.scores",
        "BHTS",
        "{scores}",
        "how well the query of each token (row) matches every key (column)",
        for_backward=False,
    ),
    Activation(
        "attn.weights",
        "BHTS",
        "softmax(scores, later tokens masked)",
        "how much a token takes from each token; rows sum to 1",
        is_probability=True,
    ),
    Activation("attn.heads", "BHTK", "weights v", "what each head has gathered for each token"),
    Activation(
        "attn.out", "BTD", "linear(heads side by side, c_proj)", "what attention adds to the stream", for_backward=False
    ),
    Activation("resid_mid", "BTD", "stream + attn.out", "the stream after attention"),
    Activation("ln_2", "BTD", "layer_norm(resid_mid)", "the stream as the MLP reads it"),
    Activation("mlp.pre", "BTF", "linear(ln_2, c_fc)", "widened: what the MLP finds in each vector"),
    Activation("mlp.act", "BTF", "{activation}(mlp.pre)", "how much of each finding counts"),
    Activation("mlp.out", "BTD", "linear(mlp.act, c_proj)", "what the MLP adds to the stream", for_backward=False),
    Activation("resid", "BTD", "resid_mid + mlp.out", "the stream after the block"),
    Activation("ln_f", "BTD", "layer_norm(stream)", "the stream as the head reads it", False),
    Activation(
        "logits",
        "BTV",
        "ln_f {head}ᵀ",
        "how well each vector fits every token of the vocabulary; softmax makes probabilities of them",
        False,
        for_backward=False,
    ),
)


def activation_names(n_layer):
    """Return the names of all activations of a model, in the order in which the forward pass makes them."""
    block = [i for i, a in enumerate(ACTIVATIONS) if a.in_block]
    before, after = ACTIVATIONS[: block[0]], ACTIVATIONS[block[-1] + 1 :]
    blocks = [f"h.{layer}.{ACTIVATIONS[i].name}" for layer in range(n_layer) for i in block]
    return [*(a.name for a in before), *blocks, *(a.name for a in after)]


@cache  # a step of training asks for all of them
def find_activation(name):
    """Return the Activation that a full name such as "h.3.attn.q" belongs to. Raises KeyError for another name."""
    return _BY_NAME[re.sub(r"h\.\d+\.", "h.", name)]


_BY_NAME = {f"h.{a.name}" if a.in_block else a.name: a for a in ACTIVATIONS}
