"""Exercise split_heads, notebook 03: the numbers of a token, cut into heads."""

import numpy as np
from hypothesis import strategies as st

from minigpt.exercises.drawing import arrays, sizes
from minigpt.exercises.exercise import Exercise, Probe
from minigpt.exercises.placing import edits, require_shape
from minigpt.model import merge_heads


def split_heads(x, n_head):
    """[B, T, H K] -> [B, H, T, K]: head h has the h-th stretch of K numbers of each token."""
    B, T, D = x.shape
    return x.reshape(B, T, n_head, D // n_head).swapaxes(1, 2)


@st.composite
def labelled(draw, *axes, n_head=None):
    """Draw an array whose numbers say where they stand: 203 is x[2, 0, 3]. With n_head, the last axis is H K long."""
    shape = [draw(size) for size in axes]
    rest = ()
    if n_head is not None:
        H = draw(n_head)
        shape[-1] *= H
        rest = (H,)
    places = np.indices(shape).astype(float)
    x = sum(10.0 ** (len(shape) - 1 - axis) * place for axis, place in enumerate(places))
    return x, *rest


@st.composite
def any_numbers_to_split(draw):
    """Draw x [B, T, H K] and H."""
    B, H, T, K = draw(st.tuples(sizes(1, 3), sizes(), sizes(), sizes(1, 3)))
    return draw(arrays(B, T, H * K)), H


def split_heads_in_model(model, function, remembered):
    """Split the merged heads of the model again, with the function."""

    def split_again(heads):
        return require_shape(function(merge_heads(heads), model.config.n_head), heads.shape)

    return {f"h.{layer}.attn.{name}": split_again for layer in range(model.config.n_layer) for name in "qkv"}


exercise = Exercise(
    name="split_heads",
    notebook="03_attention",
    order=5,
    signature="split_heads(x, n_head)",
    task="Cut the D numbers of every token into H stretches of K = D / H, one for each head: out[b, h, t, k] = x[b, "
    "t, h K + k]. x [B, T, D], n_head = H -> [B, H, T, K].",
    reference=split_heads,
    probes=(
        Probe(
            "One head and one token: only the shape changes, from [B, 1, D] to [B, 1, 1, D]. The digits of every "
            "number say where it stood in x.",
            labelled(sizes(1, 3), st.just(1), sizes(), n_head=st.just(1)),
        ),
        Probe(
            "One token: head h must get the h-th stretch of K neighbours, x[b, 0, h K] to x[b, 0, h K + K - 1]. The "
            "digits of every number say where it stood in x.",
            labelled(sizes(1, 3), st.just(1), sizes(2, 3), n_head=sizes(2, 3)),
        ),
        Probe(
            "A single token was split correctly, but several tokens get mixed: every head must have its stretch of "
            "every token, in the order of the tokens. The digits of every number say where it stood in x: batch, "
            "token, place.",
            labelled(st.just(1), sizes(2, 4), sizes(1, 3), n_head=sizes(2, 3)),
        ),
        Probe(
            "The batch has several texts, and each text is split by itself. The digits of every number say where it "
            "stood in x: batch, token, place.",
            labelled(sizes(2, 3), sizes(), sizes(1, 3), n_head=sizes(1, 3)),
        ),
        Probe("Arrays of all sizes, drawn at random.", any_numbers_to_split()),
    ),
    in_model=edits(split_heads_in_model),
)


@exercise.mistake(
    "You reshape [B, T, D] directly to [B, H, T, K]. The shape is right, but numbers of different tokens land in one "
    "row: first cut D into H and K, then exchange the axes of tokens and heads."
)
def split_straight(x, n_head):
    B, T, D = x.shape
    return x.reshape(B, n_head, T, D // n_head)


@exercise.mistake(
    "You give head h every H-th number. Give it a stretch of K neighbours: number h K + k of a token is number k of "
    "head h."
)
def split_every_hth(x, n_head):
    B, T, D = x.shape
    return x.reshape(B, T, D // n_head, n_head).transpose(0, 3, 1, 2)


@exercise.mistake("Your result is [B, T, H, K]. Exchange the axes of tokens and heads: [B, H, T, K].")
def split_without_exchange(x, n_head):
    return split_heads(x, n_head).swapaxes(1, 2)


@exercise.mistake(
    "Your result is [H, B, T, K], with heads before the batch. The batch stays the first axis: [B, H, T, K]."
)
def split_with_heads_first(x, n_head):
    return split_heads(x, n_head).swapaxes(0, 1)


@exercise.mistake("Your result is [B, H, K, T]. Tokens come before the numbers of a token: [B, H, T, K].")
def split_and_transposed(x, n_head):
    return split_heads(x, n_head).swapaxes(2, 3)


@exercise.mistake("You make K heads of H numbers. n_head is the number of heads H, and each has K = D / H numbers.")
def split_with_sizes_exchanged(x, n_head):
    return split_heads(x, x.shape[-1] // n_head)
