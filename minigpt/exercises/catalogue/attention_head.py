"""Exercise attention_head, notebook 03: attention in one head."""

import numpy as np
from hypothesis import strategies as st

from minigpt.exercises.catalogue.softmax import maximum_not_subtracted, one_maximum_for_all_rows
from minigpt.exercises.drawing import (
    HUGE_SCORE_ENTRIES,
    arrays,
    large_input,
    numbers,
    sizes,
    small_integers,
    whole_numbers,
)
from minigpt.exercises.exercise import TOLERANCE_NEAR_1000, Exercise, Probe
from minigpt.exercises.placing import operation, require_shape
from minigpt.ops import plain

WIDTHS = st.sampled_from([2, 3, 5])  # for K; their roots, rounded down, are not all 1


def attention_head(q, k, v):
    """softmax(q k^T / sqrt(K) + mask) v of one head: attention with B = H = 1."""
    return plain.attention(q[None, None], k[None, None], v[None, None])[0, 0]


def one_head(T=sizes(), K=sizes()):
    """Return a strategy for [T, K], the shape of one head."""
    return st.tuples(T, K)


def qkv(shape, q=whole_numbers(-2, 2), k=whole_numbers(-2, 2), v=whole_numbers()):
    """Return a strategy for (q, k, v), all of one drawn shape."""
    return shape.flatmap(lambda shape: st.tuples(*(arrays(*shape, elements=elements) for elements in (q, k, v))))


def attention_probes(shape, large):
    """Return the probes of attention, in one head or in all.

    shape(T=..., K=...) is a strategy for the shape of q, k and v; large is that of a large input.
    """
    several = sizes(2, 3)
    return (
        Probe(
            "A single token can look only at itself: its weight is 1, whatever q and k are, and the result must be v. "
            "So this is about the last step, weights times v, and about shapes.",
            qkv(shape(T=st.just(1))),
        ),
        Probe(
            "Only the first query is compared. It sees only the first key, so its result must be the first row of v. "
            "If it is not, the mask lets it see later tokens or hides it from itself.",
            qkv(shape(T=several)),
            part=lambda heads: heads[..., :1, :],
        ),
        Probe(
            "All of q is 0, so all scores are 0 and every query gives the keys that it sees equal weights: row t must "
            "be the mean of rows 0 to t of v. Scores and scale play no part here; look at the mask, the softmax, and "
            "weights times v.",
            qkv(shape(T=several), q=st.just(0.0)),
        ),
        Probe(
            "With K = 1 the scale 1/sqrt(K) is 1, so scores are just products. Mask and averages were right before: "
            "look at the scores, where row t belongs to query t and column s to key s, and at the axis of the softmax.",
            qkv(shape(T=several, K=st.just(1))),
        ),
        Probe(
            "All was right with K = 1 and is wrong with a larger K: look at the scale, 1/sqrt(K), which is applied to "
            "the scores before the softmax.",
            qkv(shape(T=several, K=WIDTHS)),
        ),
        Probe(
            "The scores reach 1600 and more here. exp of that is inf, and inf / inf is NaN: the softmax must subtract "
            "the maximum of each row first. A score hidden with -100 is still above a visible one of -1600: hide with "
            "-inf.",
            qkv(shape(), q=HUGE_SCORE_ENTRIES, k=HUGE_SCORE_ENTRIES),
            tolerance=TOLERANCE_NEAR_1000,
        ),
        Probe(
            "Inputs of all kinds, drawn at random.",
            qkv(shape(K=sizes(1, 6)), q=numbers(-2, 2), k=numbers(-2, 2), v=numbers()),
        ),
        large_input(lambda rng: tuple(small_integers(rng, *large) for _ in range(3))),
    )


def attention_with(attention_head):
    """Return an attention in which a student's function computes every head."""

    def attention(q, k, v):
        texts, shape = zip(q, k, v, strict=True), q.shape[2:]
        return np.array(
            [[require_shape(attention_head(*head), shape) for head in zip(*text, strict=True)] for text in texts]
        )

    return attention


exercise = Exercise(
    name="attention_head",
    notebook="03_attention",
    order=4,
    signature="attention_head(q, k, v)",
    task="softmax(q k^T / sqrt(K) + mask) v for one head. The mask is -inf where s > t, so that token t sees itself "
    "and the past. q, k, v [T, K] -> [T, K].",
    reference=attention_head,
    probes=attention_probes(one_head, large=(70, 4)),
    uses=("minigpt.ops.plain.softmax",),
    in_model=operation("attention", attention_with),
)


@exercise.formulation
def attention_head_in_steps(q, k, v):
    T, K = q.shape
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(K)
    visible = np.tri(T, dtype=bool)
    masked = np.where(visible, scores, -np.inf)
    exps = np.exp(masked - masked.max(axis=-1, keepdims=True))
    weights = exps / exps.sum(axis=-1, keepdims=True)
    return weights @ v


def attention_scores(q, k, scale=None):
    """q k^T scale, in one head or in all, without a mask."""
    return q @ k.swapaxes(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)


def visible(x, k=0):
    """Return the mask of the tokens of x [..., T, K]: causal if k = 0; 1 shows the next token, -1 hides the token."""
    return np.tri(x.shape[-2], k=k, dtype=bool)


def attention_weights(q, k, scale=None):
    return plain.softmax(np.where(visible(q), attention_scores(q, k, scale), -np.inf))


@exercise.mistake(
    "You do not scale the scores q k^T. The formula is softmax(q k^T / sqrt(K) + mask) v: divide them by the square "
    "root of K, the width of a head, because a sum of K products grows with K."
)
def not_scaled(q, k, v):
    return attention_weights(q, k, scale=1) @ v


@exercise.mistake(
    "You divide the scores by K itself. Divide by sqrt(K): the variance of a sum of K products is K, so its standard "
    "deviation is sqrt(K)."
)
def scaled_by_K(q, k, v):
    return attention_weights(q, k, scale=1 / q.shape[-1]) @ v


@exercise.mistake(
    "You round sqrt(K) down to a whole number. That changes nothing for GPT-2's K = 64, but it does for other sizes: "
    "divide by the root itself."
)
def root_rounded_down(q, k, v):
    return attention_weights(q, k, scale=1 / int(q.shape[-1] ** 0.5)) @ v


@exercise.mistake("You multiply the scores by sqrt(K). Divide them by it.")
def multiplied_by_root(q, k, v):
    return attention_weights(q, k, scale=q.shape[-1] ** 0.5) @ v


@exercise.mistake(
    "You divide the scores by the square root of the number of tokens T. K is the width of a head, the length of one "
    "query: the size of the last axis."
)
def scaled_by_T(q, k, v):
    return attention_weights(q, k, scale=q.shape[-2] ** -0.5) @ v


@exercise.mistake(
    "You scale after the softmax, so the weights of a query no longer sum to 1. Scale the scores: softmax(q k^T / "
    "sqrt(K) + mask) v."
)
def scaled_after_softmax(q, k, v):
    return attention_weights(q, k, scale=1) * q.shape[-1] ** -0.5 @ v


@exercise.mistake(
    "Your softmax runs over the queries: the columns of your weights sum to 1. Each query shares out its attention "
    "among the keys, so the rows must sum to 1: use the last axis."
)
def softmax_over_queries(q, k, v):
    return plain.softmax(np.where(visible(q), attention_scores(q, k), -np.inf), axis=-2) @ v


@exercise.mistake(
    "Your softmax runs over the whole matrix of scores, so all weights together sum to 1. Each query has a softmax of "
    "its own over its keys: every row sums to 1."
)
def softmax_over_queries_and_keys(q, k, v):
    return plain.softmax(np.where(visible(q), attention_scores(q, k), -np.inf), axis=(-2, -1)) @ v


@exercise.mistake(
    "You weight the values with the scores themselves. Apply a softmax to the scores first, which makes them positive "
    "weights that sum to 1."
)
def softmax_forgotten(q, k, v):
    return np.where(visible(q), attention_scores(q, k), 0) @ v


@exercise.mistake(
    "Your softmax takes exp of the scores as they are, which is inf for scores above 709, and inf / inf is NaN. "
    "Subtract each row's maximum first; it cancels in the fraction."
)
def softmax_overflows(q, k, v):
    return maximum_not_subtracted(np.where(visible(q), attention_scores(q, k), -np.inf)) @ v


@exercise.mistake(
    "You subtract the maximum of all scores of a row, and mask afterwards. If the largest score is a hidden one, all "
    "visible scores can be so far below it that their exp is 0, and 0 / 0 is NaN: use the maximum of the visible "
    "scores."
)
def maximum_before_mask(q, k, v):
    scores = attention_scores(q, k)
    return maximum_not_subtracted(np.where(visible(q), scores - scores.max(axis=-1, keepdims=True), -np.inf)) @ v


@exercise.mistake(
    "You subtract one maximum from all scores. In a row far below it every exp becomes 0, and 0 / 0 is NaN: subtract "
    "each row's own maximum."
)
def one_maximum_of_all_scores(q, k, v):
    return one_maximum_for_all_rows(np.where(visible(q), attention_scores(q, k), -np.inf)) @ v


@exercise.mistake(
    "Every token sees all others, later ones included. Set the scores of keys s > t to -inf before the softmax of "
    "query t."
)
def mask_forgotten(q, k, v):
    return plain.softmax(attention_scores(q, k)) @ v


@exercise.mistake(
    "Your mask is off by one: every token also sees the next one, which is just what it must predict. Position t sees "
    "s <= t."
)
def sees_next_token(q, k, v):
    return plain.softmax(np.where(visible(q, 1), attention_scores(q, k), -np.inf)) @ v


NOT_ITSELF = (
    "Your mask hides every token from itself, so the first token has nothing to look at. Position t sees every s <= t, "
    "itself included."
)


@exercise.mistake(NOT_ITSELF + " That is where the NaN comes from.")
def does_not_see_itself(q, k, v):
    return plain.softmax(np.where(visible(q, -1), attention_scores(q, k), -np.inf)) @ v


@exercise.mistake(NOT_ITSELF + " A large finite number instead of -inf only conceals that.")
def does_not_see_itself_finite(q, k, v):
    return plain.softmax(np.where(visible(q, -1), attention_scores(q, k), -1e9)) @ v


@exercise.mistake(
    "Your mask is transposed: every token sees itself and later tokens. Rows are queries t, columns are keys s, and t "
    "sees s <= t."
)
def sees_future(q, k, v):
    return plain.softmax(np.where(visible(q).T, attention_scores(q, k), -np.inf)) @ v


INVERTED = (
    "Your mask is inverted: it hides the past and the token itself and shows later tokens. Scores keep their value "
    "where s <= t and become -inf where s > t."
)


@exercise.mistake(INVERTED)
def mask_inverted(q, k, v):
    return plain.softmax(np.where(visible(q), -np.inf, attention_scores(q, k))) @ v


@exercise.mistake(INVERTED)
def mask_inverted_finite(q, k, v):
    return plain.softmax(np.where(visible(q), -1e9, attention_scores(q, k))) @ v


@exercise.mistake(
    "You set weights to 0 after the softmax, so the rest of a row sums to less than 1. Mask before the softmax, with "
    "-inf: then the remaining weights sum to 1."
)
def masked_after_softmax(q, k, v):
    return plain.softmax(attention_scores(q, k)) * visible(q) @ v


@exercise.mistake(
    "You set hidden scores to 0. But exp(0) = 1, so they still get weight. A score must be -inf for its weight to be 0."
)
def masked_with_0(q, k, v):
    return plain.softmax(attention_scores(q, k) * visible(q)) @ v


@exercise.mistake(
    "You multiply the transposed weights with v. Row t of the result is sum_s weights[t, s] v[s]: the weights of query "
    "t, times the values."
)
def weights_transposed(q, k, v):
    return attention_weights(q, k).swapaxes(-1, -2) @ v


@exercise.mistake(
    "You exchange queries and keys: your row t compares key t with all queries. Row t of the scores is query t with "
    "all keys, q k^T."
)
def queries_and_keys_exchanged(q, k, v):
    return attention_weights(k, q) @ v


@exercise.mistake("You average the keys. The keys only decide the weights; what is averaged is v.")
def keys_in_place_of_values(q, k, v):
    return attention_weights(q, k) @ k
