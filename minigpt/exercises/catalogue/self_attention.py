"""Exercise self_attention, notebook 03: attention with its two linear layers."""

import numpy as np
from hypothesis import strategies as st

from minigpt.exercises.catalogue.attention import attention_in_steps, scaled_by_D, scaled_by_H
from minigpt.exercises.catalogue.attention_head import (
    mask_forgotten,
    not_scaled,
    softmax_over_queries,
    softmax_overflows,
)
from minigpt.exercises.catalogue.merge_heads import merged_in_turn, merged_straight
from minigpt.exercises.catalogue.split_heads import split_every_hth, split_straight
from minigpt.exercises.drawing import (
    arrays,
    generators,
    large_input,
    random_linear,
    sizes,
    small_integers,
    whole_numbers,
)
from minigpt.exercises.exercise import TOLERANCE_NEAR_1000, Exercise, Probe
from minigpt.exercises.placing import part_of_blocks
from minigpt.model import merge_heads, split_heads
from minigpt.ops import plain


def self_attention(x, c_attn, c_proj, n_head, attention=plain.attention):
    """c_proj of the merged heads. The parameter after n_head is for the known mistakes."""
    q, k, v = (split_heads(part, n_head) for part in queries_keys_values(x, c_attn))  # [B, H, T, K]
    return plain.linear(merge_heads(attention(q, k, v)), **c_proj)  # [B, T, D]


def queries_keys_values(x, c_attn):
    """Return q, k and v, [B, T, D] each."""
    return np.split(plain.linear(x, **c_attn), 3, axis=-1)


# Choices of H and K, the simplest first.
ONE_HEAD = ((1, 2), (1, 1), (1, 3), (1, 5))
SEVERAL_HEADS = ((2, 2), (2, 1), (3, 1), (2, 3), (3, 2), (2, 4))


@st.composite
def streams_and_projections(
    draw, T=sizes(), heads=SEVERAL_HEADS + ONE_HEAD, same_scores=False, huge=False, projected=True
):
    """Draw x [B, T, D], c_attn, c_proj and n_head.

    same_scores: all of q is 0. huge: q and k consist of 0, 40 and -40. projected=False: c_proj is the identity.
    """
    B, T, (H, K) = draw(sizes(1, 2)), draw(T), draw(st.sampled_from(heads))
    D = H * K
    rng = draw(generators())
    c_attn = random_linear(rng, D, 3 * D)
    if same_scores:
        c_attn["weight"][:, :D] = c_attn["bias"][:D] = 0
    if huge:
        c_attn["weight"][:, : 2 * D] = 40 * np.eye(D)[:, rng.integers(0, D, 2 * D)]
        c_attn["bias"][: 2 * D] = 0
    c_proj = random_linear(rng, D, D) if projected else {"weight": np.eye(D), "bias": np.zeros(D)}
    return draw(arrays(B, T, D, elements=st.integers(-1, 1) if huge else whole_numbers(-2, 2))), c_attn, c_proj, H


exercise = Exercise(
    name="self_attention",
    notebook="03_attention",
    order=8,
    signature="self_attention(x, c_attn, c_proj, n_head)",
    task="q, k, v = x c_attn, cut into three stretches of D in this order. Split each into heads, attend in every "
    "head (causal, scaled by 1/sqrt(K)), merge the heads, and project the result with c_proj. x [B, T, D]; c_attn has "
    "weight [D, 3 D] and bias [3 D], c_proj has weight [D, D] and bias [D], both as dicts -> [B, T, D].",
    reference=self_attention,
    probes=(
        Probe(
            "One token, one head, and c_proj changes nothing. Attention returns v here, so the result must be the "
            "last third of x c_attn, its bias included.",
            streams_and_projections(T=st.just(1), heads=ONE_HEAD, projected=False),
        ),
        Probe(
            "One token, several heads, and c_proj changes nothing. Attention returns v in every head, and merging "
            "undoes splitting, so the result must be v, the last third of x c_attn.",
            streams_and_projections(T=st.just(1), heads=SEVERAL_HEADS, projected=False),
        ),
        Probe(
            "One token: v, then c_proj with its bias. Without c_proj all was right.",
            streams_and_projections(T=st.just(1)),
        ),
        Probe(
            "q is 0 here and c_proj changes nothing: the result of every token must be the mean of v over itself and "
            "the tokens before it. Look at the mask, and at how several tokens are split into heads and merged.",
            streams_and_projections(T=sizes(2, 4), same_scores=True, projected=False),
        ),
        Probe(
            "One head, several tokens, and c_proj changes nothing: the scores count now. Look at which third of x "
            "c_attn is q and which is k, and at the scale.",
            streams_and_projections(T=sizes(2, 4), heads=ONE_HEAD, projected=False),
        ),
        Probe(
            "One head was right and several are wrong, while c_proj changes nothing: look at which numbers of q, k "
            "and v each head gets, and at the scale 1/sqrt(K) with K = D / H.",
            streams_and_projections(T=sizes(2, 4), heads=SEVERAL_HEADS, projected=False),
        ),
        Probe(
            "q and k are large here, and scores at least 800 apart. exp of such a number is inf: the softmax must "
            "subtract the maximum of each row first. A score hidden with -100 is still above a visible one of -1600: "
            "hide with -inf.",
            streams_and_projections(huge=True),
            tolerance=TOLERANCE_NEAR_1000,
        ),
        Probe("Inputs of all kinds, drawn at random.", streams_and_projections()),
        large_input(
            lambda rng: (small_integers(rng, 1, 20, 8), random_linear(rng, 8, 24), random_linear(rng, 8, 8), 2)
        ),
    ),
    uses=(
        "minigpt.ops.plain.softmax",
        "minigpt.ops.plain.linear",
        "minigpt.ops.plain.attention",
        "minigpt.model.split_heads",
        "minigpt.model.merge_heads",
    ),
    in_model=part_of_blocks(
        lambda layer: f"h.{layer}.ln_1",
        "attn.out",
        lambda function, x, block, n_head: function(x, block["attn"]["c_attn"], block["attn"]["c_proj"], n_head),
    ),
)


@exercise.formulation
def self_attention_in_steps(x, c_attn, c_proj, n_head):
    B, T, D = x.shape
    K = D // n_head
    qkv = x @ c_attn["weight"] + c_attn["bias"]
    q, k, v = qkv[..., :D], qkv[..., D : 2 * D], qkv[..., 2 * D :]
    q = q.reshape(B, T, n_head, K).swapaxes(1, 2)
    k = k.reshape(B, T, n_head, K).swapaxes(1, 2)
    v = v.reshape(B, T, n_head, K).swapaxes(1, 2)
    heads = attention_in_steps(q, k, v)
    merged = heads.swapaxes(1, 2).reshape(B, T, D)
    return merged @ c_proj["weight"] + c_proj["bias"]


def attended(q, k, v, c_proj, n_head):
    """Return the result, given q, k and v [B, T, D]."""
    heads = plain.attention(split_heads(q, n_head), split_heads(k, n_head), split_heads(v, n_head))
    return plain.linear(merge_heads(heads), **c_proj)


@exercise.mistake("You take the first third as k and the second as q. The order in c_attn is q, k, v.")
def keys_cut_first(x, c_attn, c_proj, n_head):
    k, q, v = queries_keys_values(x, c_attn)
    return attended(q, k, v, c_proj, n_head)


@exercise.mistake("You take the thirds as v, k, q. The order in c_attn is q, k, v.")
def values_cut_first(x, c_attn, c_proj, n_head):
    v, k, q = queries_keys_values(x, c_attn)
    return attended(q, k, v, c_proj, n_head)


@exercise.mistake("You take the thirds as q, v, k. The order in c_attn is q, k, v.")
def values_cut_second(x, c_attn, c_proj, n_head):
    q, v, k = queries_keys_values(x, c_attn)
    return attended(q, k, v, c_proj, n_head)


@exercise.mistake("You take the thirds as v, q, k. The order in c_attn is q, k, v.")
def cut_turned_right(x, c_attn, c_proj, n_head):
    v, q, k = queries_keys_values(x, c_attn)
    return attended(q, k, v, c_proj, n_head)


@exercise.mistake("You take the thirds as k, v, q. The order in c_attn is q, k, v.")
def cut_turned_left(x, c_attn, c_proj, n_head):
    k, v, q = queries_keys_values(x, c_attn)
    return attended(q, k, v, c_proj, n_head)


@exercise.mistake(
    "You split into heads first and cut each head into q, k and v, as some other models do. In GPT-2 the D numbers of "
    "q come first, those of all heads, then k, then v."
)
def cut_within_heads(x, c_attn, c_proj, n_head):
    qkv = split_heads(plain.linear(x, **c_attn), n_head)  # [B, H, T, 3 K]
    return plain.linear(merge_heads(plain.attention(*np.split(qkv, 3, axis=-1))), **c_proj)


@exercise.mistake(
    "You take every third number for q, and the next ones for k and v. They are three stretches of D neighbours: q, "
    "then k, then v."
)
def cut_in_turn(x, c_attn, c_proj, n_head):
    qkv = plain.linear(x, **c_attn)
    return attended(qkv[..., 0::3], qkv[..., 1::3], qkv[..., 2::3], c_proj, n_head)


@exercise.mistake(
    "You give head h every H-th number of q, k and v. Each head has a stretch of K neighbours: out[b, h, t, k] = x[b, "
    "t, h K + k]."
)
def heads_in_turn(x, c_attn, c_proj, n_head):
    q, k, v = (split_every_hth(part, n_head) for part in queries_keys_values(x, c_attn))
    return plain.linear(merged_in_turn(plain.attention(q, k, v)), **c_proj)


@exercise.mistake(
    "You give head h every H-th number of q, k and v, but merge the heads as stretches. Each head has a stretch of K "
    "neighbours: out[b, h, t, k] = x[b, t, h K + k]."
)
def heads_in_turn_not_back(x, c_attn, c_proj, n_head):
    q, k, v = (split_every_hth(part, n_head) for part in queries_keys_values(x, c_attn))
    return plain.linear(merge_heads(plain.attention(q, k, v)), **c_proj)


@exercise.mistake(
    "You reshape [B, T, D] directly to [B, H, T, K], which mixes the numbers of different tokens. First cut D into H "
    "and K, then exchange the axes of tokens and heads."
)
def reshaped_straight(x, c_attn, c_proj, n_head):
    q, k, v = (split_straight(part, n_head) for part in queries_keys_values(x, c_attn))
    return plain.linear(merged_straight(plain.attention(q, k, v)), **c_proj)


@exercise.mistake(
    "You reshape the heads [B, H, T, K] directly to [B, T, D], which mixes the numbers of different tokens. First "
    "exchange the axes of heads and tokens."
)
def reshaped_back_straight(x, c_attn, c_proj, n_head):
    q, k, v = (split_heads(part, n_head) for part in queries_keys_values(x, c_attn))
    return plain.linear(merged_straight(plain.attention(q, k, v)), **c_proj)


@exercise.mistake(
    "You attend once over the whole width D, as if there were one head. Each of the n_head heads has K = D / H numbers "
    "of q, k and v, and its own weights."
)
def one_head_for_all(x, c_attn, c_proj, n_head):
    return attended(*queries_keys_values(x, c_attn), c_proj, 1)


@exercise.mistake("You return the merged heads. Apply c_proj to them, which mixes what the heads have found.")
def projection_forgotten(x, c_attn, c_proj, n_head):
    return attended(*queries_keys_values(x, c_attn), {"weight": np.eye(x.shape[-1])}, n_head)


@exercise.mistake("You use the weight of c_proj transposed. Weights are stored as [in, out]: x weight + bias.")
def projection_transposed(x, c_attn, c_proj, n_head):
    return self_attention(x, c_attn, {**c_proj, "weight": c_proj["weight"].T}, n_head)


@exercise.mistake("The bias of c_attn is missing: q, k, v = x weight + bias.")
def bias_of_c_attn_forgotten(x, c_attn, c_proj, n_head):
    return self_attention(x, {"weight": c_attn["weight"]}, c_proj, n_head)


@exercise.mistake("The bias of c_proj is missing. Add it after the product.")
def bias_of_c_proj_forgotten(x, c_attn, c_proj, n_head):
    return self_attention(x, c_attn, {"weight": c_proj["weight"]}, n_head)


@exercise.mistake("Both biases are missing. A linear layer is x weight + bias.")
def both_biases_forgotten(x, c_attn, c_proj, n_head):
    return self_attention(x, {"weight": c_attn["weight"]}, {"weight": c_proj["weight"]}, n_head)


@exercise.mistake("You add x to the result. The transformer block does that, outside this function.")
def stream_added(x, c_attn, c_proj, n_head):
    return x + self_attention(x, c_attn, c_proj, n_head)


@exercise.mistake(
    "You divide the scores by the square root of the width D. A query of one head has K = D / H numbers, so divide by "
    "sqrt(K)."
)
def multi_head_scaled_by_D(x, c_attn, c_proj, n_head):
    return self_attention(x, c_attn, c_proj, n_head, scaled_by_D)


@exercise.mistake(
    "You divide the scores by the square root of the number of heads. Divide by that of K = D / H, the length of one "
    "head's query."
)
def multi_head_scaled_by_H(x, c_attn, c_proj, n_head):
    return self_attention(x, c_attn, c_proj, n_head, scaled_by_H)


@exercise.mistake("You do not scale the scores. Divide them by sqrt(K), K = D / H.")
def multi_head_not_scaled(x, c_attn, c_proj, n_head):
    return self_attention(x, c_attn, c_proj, n_head, not_scaled)


@exercise.mistake("Your tokens see later ones. Set the scores of keys s > t to -inf before the softmax of query t.")
def multi_head_without_mask(x, c_attn, c_proj, n_head):
    return self_attention(x, c_attn, c_proj, n_head, mask_forgotten)


@exercise.mistake(
    "Your softmax runs over the queries. It must run over the keys of each query, the last axis of the scores."
)
def multi_head_softmax_over_queries(x, c_attn, c_proj, n_head):
    return self_attention(x, c_attn, c_proj, n_head, softmax_over_queries)


@exercise.mistake(
    "Your softmax takes exp of scores as they are, which is inf for large ones, and inf / inf is NaN. Subtract each "
    "row's maximum first."
)
def multi_head_overflows(x, c_attn, c_proj, n_head):
    return self_attention(x, c_attn, c_proj, n_head, softmax_overflows)
