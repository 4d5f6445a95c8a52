"""Exercise merge_heads, notebook 03: heads side by side again."""

from hypothesis import strategies as st

from minigpt.exercises.catalogue.split_heads import labelled
from minigpt.exercises.drawing import arrays, shapes, sizes
from minigpt.exercises.exercise import Exercise, Probe
from minigpt.exercises.placing import edits, require_shape
from minigpt.model import split_heads


def merge_heads(x):
    """[B, H, T, K] -> [B, T, H K], the reverse of split_heads."""
    B, H, T, K = x.shape
    return x.swapaxes(1, 2).reshape(B, T, H * K)


def merge_heads_in_model(model, function, remembered):
    """Merge the heads of the model with the function."""

    def merge_and_split(heads):
        B, H, T, K = heads.shape
        return split_heads(require_shape(function(heads), (B, T, H * K)), H)

    return {f"h.{layer}.attn.heads": merge_and_split for layer in range(model.config.n_layer)}


exercise = Exercise(
    name="merge_heads",
    notebook="03_attention",
    order=7,
    signature="merge_heads(x)",
    task="Put the heads of every token side by side again, the reverse of split_heads: out[b, t, h K + k] = x[b, h, "
    "t, k]. x [B, H, T, K] -> [B, T, D], D = H K.",
    reference=merge_heads,
    probes=(
        Probe(
            "A single head has nothing to be merged with: [B, 1, T, K] becomes [B, T, K].",
            labelled(sizes(1, 3), st.just(1), sizes(), sizes()),
        ),
        Probe(
            "A single token: the K numbers of head 0, then those of head 1, and so on. The digits of every number say "
            "where it stood in x: batch, head, token, place.",
            labelled(sizes(1, 2), sizes(2, 4), st.just(1), sizes(1, 3)),
        ),
        Probe(
            "A single token was merged correctly, but several tokens get mixed: a row of the result must have the "
            "numbers of one token only, from all heads. The digits of every number say where it stood in x: batch, "
            "head, token, place.",
            labelled(sizes(1, 2), sizes(2, 4), sizes(2, 4), sizes(1, 3)),
        ),
        Probe(
            "Arrays of all sizes, drawn at random.",
            st.tuples(shapes(4, 4).flatmap(lambda shape: arrays(*shape))),
        ),
    ),
    in_model=edits(merge_heads_in_model),
)


@exercise.mistake(
    "You reshape [B, H, T, K] directly to [B, T, D]. The shape is right, but numbers of different tokens land in one "
    "row: first exchange the axes of heads and tokens, then reshape."
)
def merged_straight(x):
    B, H, T, K = x.shape
    return x.reshape(B, T, H * K)


@exercise.mistake(
    "You take one number of each head in turn. The K numbers of a head stay neighbours: number k of head h becomes "
    "number h K + k."
)
def merged_in_turn(x):
    B, H, T, K = x.shape
    return x.transpose(0, 2, 3, 1).reshape(B, T, H * K)


@exercise.mistake("You begin with the last head. Head 0 comes first: its numbers go to places 0 to K - 1.")
def merged_from_the_last(x):
    return merge_heads(x[:, ::-1])


@exercise.mistake(
    "You join the heads below each other, [B, H T, K]. Join them side by side: every token gets its H K numbers back."
)
def merged_along_tokens(x):
    B, H, T, K = x.shape
    return x.reshape(B, H * T, K)


@exercise.mistake("Your result is [B, D, T]. Tokens come before their numbers: [B, T, D].")
def merged_and_transposed(x):
    return merge_heads(x).swapaxes(1, 2)


@exercise.mistake("You add the heads up. Put them side by side: H K numbers for every token.")
def heads_added(x):
    return x.sum(axis=1)


@exercise.mistake(
    "You exchange the axes but keep the heads apart, [B, T, H, K]. The last two axes become one of size D = H K."
)
def not_merged(x):
    return x.swapaxes(1, 2)
