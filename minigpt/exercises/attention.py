"""The exercises from ids to attention: embeddings, softmax, the causal mask, one head, all heads.

For each one: the reference, the inputs that are drawn, the mistakes that people make, and then EXERCISES. Letters for
sizes: B batch, T tokens, D width, H heads, K = D / H the width of a head, V vocabulary, P positions.
"""

import numpy as np
from hypothesis import strategies as st

from minigpt.exercises.exercise import (
    ROUGH,
    Exercise,
    Mistake,
    Probe,
    arrays,
    large_input,
    numbers,
    sizes,
    small_integers,
)
from minigpt.model import merge_heads, split_heads
from minigpt.ops import plain

WHOLE = st.integers(-4, 4)  # the shortest to read, where fractions show nothing more
SMALL = st.integers(-2, 2)  # for q, k and what they are made of: weights that are neither all equal nor all 0 and 1
ZERO = st.just(0.0)
SIZE, FEW = sizes(), sizes(1, 3)
NEVER, PERHAPS = st.just(False), st.booleans()
SEVERAL_WIDE = st.sampled_from([2, 3, 5])  # K: their roots, rounded down, are not all 1


# ---------------------------------------------------------------- embeddings


def embeddings(ids, wte, wpe):
    """x[t] = wte[ids[t]] + wpe[t], as gpt2 in model.py begins."""
    return wte[ids] + wpe[np.arange(len(ids))]


@st.composite
def texts(draw, T=SIZE, full=NEVER):
    """ids [T], V, P, where P > T and P >= V: a position that is wrong is another row of wpe, and no IndexError.

    full: P = T, there are no more positions than tokens.
    """
    T, V = draw(T), draw(sizes(2, 5))
    ids = np.array(draw(st.lists(st.integers(0, V - 1), min_size=T, max_size=T)))
    return ids, V, T if draw(full) else max(T + 1, V) + draw(st.integers(0, 2))


@st.composite
def texts_and_tables(draw, T=SIZE, token=WHOLE, position=WHOLE, full=NEVER):
    """ids [T], wte [V, D], wpe [P, D]."""
    (ids, V, P), D = draw(texts(T, full)), draw(SIZE)
    return ids, draw(arrays(V, D, elements=token)), draw(arrays(P, D, elements=position))


def tokens_alone(ids, wte, wpe):
    return wte[ids]


def positions_alone(ids, wte, wpe):
    return wpe[: len(ids)]


def positions_by_ids(ids, wte, wpe):
    return wte[ids] + wpe[ids]


def tokens_by_positions(ids, wte, wpe):
    return wte[np.arange(len(ids)) % len(wte)] + wpe[: len(ids)]


def positions_from_1(ids, wte, wpe):
    return wte[ids] + wpe[1 : len(ids) + 1]


def first_position_for_all(ids, wte, wpe):
    return wte[ids] + wpe[0]


def last_positions(ids, wte, wpe):
    return wte[ids] + wpe[len(wpe) - len(ids) :]


def multiplied(ids, wte, wpe):
    return wte[ids] * wpe[: len(ids)]


def scaled_by_root_of_width(ids, wte, wpe):
    return wte[ids] * wte.shape[1] ** 0.5 + wpe[: len(ids)]


# ---------------------------------------------------------------- softmax


@st.composite
def rows_of_different_height(draw):
    """[M, N] of small differences, each row around -1000, 0 or 1000."""
    M, N = draw(sizes()), draw(sizes())
    heights = draw(arrays(M, 1, elements=st.sampled_from([1000.0, -1000.0, 0.0])))
    return (heights + draw(arrays(M, N)),)


@st.composite
def hidden_rows_of_different_height(draw):
    """[M, N], each row around -1000, 0 or 1000, with some entries -inf."""
    M, N = draw(sizes()), draw(sizes(2, 4))
    heights = draw(arrays(M, 1, elements=st.sampled_from([-1000.0, 1000.0, 0.0])))
    return (heights + draw(rows_with_hidden_entries((M, N))),)


@st.composite
def rows_with_distant_entries(draw):
    """[M, N] of numbers near -1000, 0 and 1000, in one row."""
    shape = draw(sizes(1, 3)), draw(sizes(2, 4))
    return (draw(arrays(*shape, elements=st.sampled_from([0.0, 1000.0, -1000.0]))) + draw(arrays(*shape)),)


@st.composite
def rows_with_hidden_entries(draw, shape, elements=None):
    """An array of that shape with some entries -inf, but not all of a row."""
    hidden = draw(arrays(*shape, elements=st.sampled_from([0.0, -np.inf])))
    hidden[..., draw(st.integers(0, shape[-1] - 1))] = 0
    return draw(arrays(*shape, elements=elements)) + hidden


def shapes(low, high):
    """A strategy for tuples of low to high sizes."""
    return st.lists(sizes(), min_size=low, max_size=high).map(tuple)


def maximum_not_subtracted(x):
    return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)


def over_the_whole_array(x):
    return plain.softmax(x, axis=None)


def over_the_first_axis(x):
    return plain.softmax(x, axis=0)


def one_maximum_for_all_rows(x):
    return maximum_not_subtracted(x - x.max())


def minimum_subtracted(x):
    return maximum_not_subtracted(x - np.where(np.isneginf(x), np.inf, x).min(axis=-1, keepdims=True))


def mean_subtracted(x):
    return maximum_not_subtracted(x - np.mean(x, axis=-1, keepdims=True, where=~np.isneginf(x)))


def logarithm_of_softmax(x):
    shifted = x - x.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def divided_by_the_maximum(x):
    exp_x = np.exp(x - x.max(axis=-1, keepdims=True))
    return exp_x / exp_x.max(axis=-1, keepdims=True)


def divided_by_the_maximum_before(x):
    return plain.softmax(x / x.max(axis=-1, keepdims=True))


def exp_forgotten(x):
    return x / x.sum(axis=-1, keepdims=True)


def sum_forgotten(x):
    return np.exp(x)


def sign_turned(x):
    return plain.softmax(np.where(np.isneginf(x), x, -x))


def powers_of_2(x):
    return plain.softmax(x * np.log(2))


# ---------------------------------------------------------------- the causal mask


def causal_mask(T):
    """mask[t, s] is True where s <= t."""
    return plain.causal_mask(T, T)


def diagonal(mask):
    return np.tril(np.triu(mask))


def above_the_diagonal(mask):
    return np.triu(mask, 1)


def next_token_visible(T):
    return np.tri(T, k=1, dtype=bool)


def itself_hidden(T):
    return np.tri(T, k=-1, dtype=bool)


def future_visible(T):
    return np.tri(T, dtype=bool).T


def true_where_hidden(T):
    return ~np.tri(T, dtype=bool)


def everything_visible(T):
    return np.ones((T, T), bool)


def only_itself_visible(T):
    return np.eye(T, dtype=bool)


def only_past_of_one_visible(T):
    return np.tri(T, dtype=bool) & ~np.tri(T, k=-2, dtype=bool)


def numbers_to_add(T):
    return np.where(np.tri(T), 0.0, -np.inf)


def ones_and_zeros(T):
    return np.tri(T)


# ---------------------------------------------------------------- scores


def scores(q, k):
    """q k^T / sqrt(K), of every query with every key."""
    return q @ k.T / np.sqrt(q.shape[1])


def queries_and_keys(T=SIZE, K=SIZE, elements=SMALL):
    """(q, k), each [T, K]."""
    shape = st.tuples(T, K)
    return shape.flatmap(lambda shape: st.tuples(arrays(*shape, elements=elements), arrays(*shape, elements=elements)))


def scores_not_scaled(q, k):
    return q @ k.T


def scores_scaled_by_K(q, k):
    return q @ k.T / q.shape[1]


def scores_scaled_by_T(q, k):
    return q @ k.T / np.sqrt(q.shape[0])


def scores_multiplied_by_root(q, k):
    return q @ k.T * np.sqrt(q.shape[1])


def scores_transposed(q, k):
    return scores(k, q)


def scores_of_numbers(q, k):
    return q.T @ k / np.sqrt(q.shape[1])


def scores_masked(q, k):
    return np.where(causal_mask(len(q)), scores(q, k), -np.inf)


def scores_through_softmax(q, k):
    return plain.softmax(scores(q, k))


# ---------------------------------------------------------------- attention, of one head or of all


def attention_head(q, k, v):
    """softmax(q k^T / sqrt(K) + mask) v of one head: attention with B = H = 1."""
    return plain.attention(q[None, None], k[None, None], v[None, None])[0, 0]


def one_head(T=SIZE, K=SIZE):
    """A strategy for [T, K], the shape of one head."""
    return st.tuples(T, K)


def all_heads(T=FEW, K=SIZE):
    """A strategy for [B, H, T, K]."""
    return st.tuples(sizes(1, 2), sizes(1, 3), T, K)


def qkv(shape, q=SMALL, k=SMALL, v=WHOLE):
    """A strategy for (q, k, v), all of a shape that is drawn too."""
    return shape.flatmap(lambda shape: st.tuples(*(arrays(*shape, elements=elements) for elements in (q, k, v))))


HUGE = st.sampled_from([0.0, 40.0, -40.0])  # scores are equal or at least 800 apart: weights are sharp, exp overflows


def attention_probes(shape, large):
    """The probes of attention, in one head or in all; shape(T=..., K=...) is a strategy for that of q, k and v.

    large: the shape of a large input.
    """
    several = sizes(2, 3)
    return (
        Probe(
            "With a single token there is nobody else to look at: its weight is 1, whatever q and k are, and the "
            "result must be v itself. So this is about the last step, weights times v, and about shapes.",
            qkv(shape(T=st.just(1))),
        ),
        Probe(
            "Only the first query is compared. It sees the first key alone, so its result must be the first row of v. "
            "If it is another, the mask lets it see what comes later, or does not let it see itself.",
            qkv(shape(T=several)),
            part=lambda heads: heads[..., :1, :],
        ),
        Probe(
            "All of q is 0, so all scores are 0 and every query weighs all keys it may see alike: row t must be the "
            "mean of rows 0 to t of v. Scores and scale have no part in it; mask, softmax and weights times v have.",
            qkv(shape(T=several), q=ZERO),
        ),
        Probe(
            "With K = 1 the scale 1/sqrt(K) is 1, so scores are just products. Mask and averages were right before: "
            "look at the scores, row t of which belongs to query t and column s to key s, and at the axis of the "
            "softmax.",
            qkv(shape(T=several, K=st.just(1))),
        ),
        Probe(
            "All was right with K = 1 and is not with a larger K: look at the scale, 1/sqrt(K), which is applied to "
            "the scores before the softmax.",
            qkv(shape(T=several, K=SEVERAL_WIDE)),
        ),
        Probe(
            "The scores here are as large as 1600 and more. exp of that is inf, and inf / inf is NaN: the softmax must "
            "subtract the maximum of each row first. And what is hidden with -100 is still above a score of -1600: it "
            "is -inf that hides.",
            qkv(shape(), q=HUGE, k=HUGE),
            tolerance=ROUGH,
        ),
        Probe(
            "These are inputs of all kinds, drawn at random.",
            qkv(shape(K=sizes(1, 6)), q=numbers(-2, 2), k=numbers(-2, 2), v=numbers()),
        ),
        large_input(lambda rng: tuple(small_integers(rng, *large) for _ in range(3))),
    )


def attention_scores(q, k, scale=None):
    """q k^T scale, in one head or in all, without a mask."""
    return q @ k.swapaxes(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)


def visible(x, k=0):
    """The mask of the tokens of x [.., T, K]; k = 0 is the causal one, 1 shows the next token too, -1 hides itself."""
    return np.tri(x.shape[-2], k=k, dtype=bool)


def attention_weights(q, k, scale=None):
    return plain.softmax(np.where(visible(q), attention_scores(q, k, scale), -np.inf))


def not_scaled(q, k, v):
    return attention_weights(q, k, scale=1) @ v


def scaled_by_K(q, k, v):
    return attention_weights(q, k, scale=1 / q.shape[-1]) @ v


def root_rounded_down(q, k, v):
    return attention_weights(q, k, scale=1 / int(q.shape[-1] ** 0.5)) @ v


def multiplied_by_root(q, k, v):
    return attention_weights(q, k, scale=q.shape[-1] ** 0.5) @ v


def scaled_by_T(q, k, v):
    return attention_weights(q, k, scale=q.shape[-2] ** -0.5) @ v


def scaled_by_H(q, k, v):
    return attention_weights(q, k, scale=q.shape[1] ** -0.5) @ v


def scaled_by_D(q, k, v):
    return attention_weights(q, k, scale=(q.shape[1] * q.shape[-1]) ** -0.5) @ v


def scaled_after_softmax(q, k, v):
    return attention_weights(q, k, scale=1) * q.shape[-1] ** -0.5 @ v


def softmax_over_queries(q, k, v):
    return plain.softmax(np.where(visible(q), attention_scores(q, k), -np.inf), axis=-2) @ v


def softmax_over_queries_and_keys(q, k, v):
    return plain.softmax(np.where(visible(q), attention_scores(q, k), -np.inf), axis=(-2, -1)) @ v


def softmax_over_heads(q, k, v):
    return np.where(visible(q), plain.softmax(attention_scores(q, k), axis=1), 0) @ v


def softmax_forgotten(q, k, v):
    return np.where(visible(q), attention_scores(q, k), 0) @ v


def softmax_overflows(q, k, v):
    return maximum_not_subtracted(np.where(visible(q), attention_scores(q, k), -np.inf)) @ v


def maximum_before_mask(q, k, v):
    scores = attention_scores(q, k)
    return maximum_not_subtracted(np.where(visible(q), scores - scores.max(axis=-1, keepdims=True), -np.inf)) @ v


def one_maximum_of_all_scores(q, k, v):
    return one_maximum_for_all_rows(np.where(visible(q), attention_scores(q, k), -np.inf)) @ v


def mask_forgotten(q, k, v):
    return plain.softmax(attention_scores(q, k)) @ v


def sees_next_token(q, k, v):
    return plain.softmax(np.where(visible(q, 1), attention_scores(q, k), -np.inf)) @ v


def does_not_see_itself(q, k, v):
    return plain.softmax(np.where(visible(q, -1), attention_scores(q, k), -np.inf)) @ v


def does_not_see_itself_finite(q, k, v):
    return plain.softmax(np.where(visible(q, -1), attention_scores(q, k), -1e9)) @ v


def sees_future(q, k, v):
    return plain.softmax(np.where(visible(q).T, attention_scores(q, k), -np.inf)) @ v


def mask_inverted(q, k, v):
    return plain.softmax(np.where(visible(q), -np.inf, attention_scores(q, k))) @ v


def mask_inverted_finite(q, k, v):
    return plain.softmax(np.where(visible(q), -1e9, attention_scores(q, k))) @ v


def masked_after_softmax(q, k, v):
    return plain.softmax(attention_scores(q, k)) * visible(q) @ v


def masked_with_0(q, k, v):
    return plain.softmax(attention_scores(q, k) * visible(q)) @ v


def weights_transposed(q, k, v):
    return attention_weights(q, k).swapaxes(-1, -2) @ v


def queries_and_keys_exchanged(q, k, v):
    return attention_weights(k, q) @ v


def keys_in_place_of_values(q, k, v):
    return attention_weights(q, k) @ k


def last_batch_axes_exchanged(q, k, v):
    """Attention between the heads of a token, as with q, k and v in [B, T, H, K]."""
    heads = [x.swapaxes(1, 2) for x in (q, k, v)]
    return plain.attention(*heads).swapaxes(1, 2)


NOT_ITSELF = (
    "Your mask hides every token from itself. Position t sees every s <= t, with the equality; the first token would "
    "have nothing at all to look at."
)
INVERTED = (
    "Your mask is the wrong way round: it hides the past and the token itself and shows what comes later. Scores keep "
    "their value where s <= t and become -inf where s > t."
)
ATTENTION_MISTAKES = (
    Mistake(
        not_scaled,
        "Your scores are q k^T as they are. The formula is softmax(q k^T / sqrt(K) + mask) v: they are divided by the "
        "square root of K, the width of a head, because a sum of K products grows with K.",
    ),
    Mistake(
        scaled_by_K,
        "You divide the scores by K itself. It is sqrt(K): the variance of a sum of K products is K, so its standard "
        "deviation is sqrt(K).",
    ),
    Mistake(
        root_rounded_down,
        "You round sqrt(K) down to a whole number. With GPT-2's K = 64 that changes nothing, with other sizes it does: "
        "divide by the root itself.",
    ),
    Mistake(multiplied_by_root, "You multiply the scores by sqrt(K); the formula divides them by it."),
    Mistake(
        scaled_by_T,
        "You divide the scores by the square root of the number of tokens T. K is the width of a head, the length of "
        "one query: the size of the last axis.",
    ),
    Mistake(
        scaled_after_softmax,
        "Your scale comes after the softmax, so the weights of a query no longer sum to 1. It belongs to the scores: "
        "softmax(q k^T / sqrt(K) + mask) v.",
    ),
    Mistake(
        softmax_over_queries,
        "Your softmax runs over the queries: the columns of your weights sum to 1. Each query divides one whole of "
        "attention among its keys: the rows, the last axis, must sum to 1.",
    ),
    Mistake(
        softmax_over_queries_and_keys,
        "Your softmax runs over the whole matrix of scores, so all weights together sum to 1. Each query has a softmax "
        "of its own, over its keys: every row sums to 1.",
    ),
    Mistake(
        softmax_forgotten,
        "Your values are weighed with the scores themselves. The scores go through a softmax first, which makes them "
        "positive weights that sum to 1.",
    ),
    Mistake(
        softmax_overflows,
        "Your softmax takes exp of scores as they are, which is inf for scores above 709, and inf / inf is NaN. "
        "Subtract each row's maximum first; it cancels in the fraction.",
    ),
    Mistake(
        maximum_before_mask,
        "You subtract the maximum of all scores of a row, and mask afterwards. If the largest score is one of those "
        "that are hidden, all visible ones can be so far below it that their exp is 0, and 0 / 0 is NaN: take the "
        "maximum of what is visible.",
    ),
    Mistake(
        one_maximum_of_all_scores,
        "You subtract one maximum from all scores. In a row far below it all exp become 0, and 0 / 0 is NaN: subtract "
        "each row's own maximum.",
    ),
    Mistake(
        mask_forgotten,
        "Every token of yours sees all the others, later ones included. Scores of keys s > t become -inf before the "
        "softmax of query t.",
    ),
    Mistake(
        sees_next_token,
        "Your mask is one place off: every token sees the one after it too, which is just what it is to predict. "
        "Position t sees s <= t.",
    ),
    Mistake(does_not_see_itself, NOT_ITSELF + " That is where the NaN comes from."),
    Mistake(does_not_see_itself_finite, NOT_ITSELF + " A large finite number in place of -inf only conceals that."),
    Mistake(
        sees_future,
        "Your mask is transposed: every token sees itself and what comes later. Rows are queries t and columns are "
        "keys s, and t sees s <= t.",
    ),
    Mistake(mask_inverted, INVERTED),
    Mistake(mask_inverted_finite, INVERTED),
    Mistake(
        masked_after_softmax,
        "You set weights to 0 after the softmax, so what is left of a row sums to less than 1. Masked before the "
        "softmax, with -inf, the remaining weights sum to 1.",
    ),
    Mistake(
        masked_with_0,
        "You set hidden scores to 0. But exp(0) = 1: they still get their share. A score must be -inf for its weight "
        "to be 0.",
    ),
    Mistake(
        weights_transposed,
        "You multiply the transposed weights with v. Row t of the result is sum_s weights[t, s] v[s]: the weights of "
        "query t, times the values.",
    ),
    Mistake(
        queries_and_keys_exchanged,
        "Queries and keys have changed places: your row t compares key t with all queries. Row t of the scores is "
        "query t with all keys, q k^T.",
    ),
    Mistake(
        keys_in_place_of_values,
        "You average the keys. Keys only say how well they match; what is averaged with the weights is v.",
    ),
)


# ---------------------------------------------------------------- heads


@st.composite
def labelled(draw, *axes, n_head=None):
    """An array whose numbers say where they stand: 203 is x[2, 0, 3]. With n_head, the last axis has H K of them."""
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
    B, H, T, K = draw(st.tuples(sizes(1, 3), sizes(), sizes(), sizes(1, 3)))
    return draw(arrays(B, T, H * K)), H


def split_straight(x, n_head):
    B, T, D = x.shape
    return x.reshape(B, n_head, T, D // n_head)


def split_every_hth(x, n_head):
    B, T, D = x.shape
    return x.reshape(B, T, D // n_head, n_head).transpose(0, 3, 1, 2)


def split_without_exchange(x, n_head):
    return split_heads(x, n_head).swapaxes(1, 2)


def split_with_heads_first(x, n_head):
    return split_heads(x, n_head).swapaxes(0, 1)


def split_and_transposed(x, n_head):
    return split_heads(x, n_head).swapaxes(2, 3)


def split_with_sizes_exchanged(x, n_head):
    return split_heads(x, x.shape[-1] // n_head)


def merged_straight(x):
    B, H, T, K = x.shape
    return x.reshape(B, T, H * K)


def merged_in_turn(x):
    B, H, T, K = x.shape
    return x.transpose(0, 2, 3, 1).reshape(B, T, H * K)


def merged_from_the_last(x):
    return merge_heads(x[:, ::-1])


def merged_along_tokens(x):
    B, H, T, K = x.shape
    return x.reshape(B, H * T, K)


def merged_and_transposed(x):
    return merge_heads(x).swapaxes(1, 2)


def heads_added(x):
    return x.sum(axis=1)


def not_merged(x):
    return x.swapaxes(1, 2)


# ---------------------------------------------------------------- multi-head attention


def multi_head_attention(x, c_attn, c_proj, n_head, attention=plain.attention):
    """self_attention of model.py, without what serves cache, padding and trace."""
    q, k, v = (split_heads(part, n_head) for part in queries_keys_values(x, c_attn))  # [B, H, T, K]
    return plain.linear(merge_heads(attention(q, k, v)), **c_proj)  # [B, T, D]


def queries_keys_values(x, c_attn):
    return np.split(plain.linear(x, **c_attn), 3, axis=-1)  # [B, T, D] each


# What H and K are drawn from, the simplest first.
ONE_HEAD = ((1, 2), (1, 1), (1, 3), (1, 5))
SEVERAL_HEADS = ((2, 2), (2, 1), (3, 1), (2, 3), (3, 2), (2, 4))


@st.composite
def streams_and_projections(
    draw, T=SIZE, heads=SEVERAL_HEADS + ONE_HEAD, same_scores=False, huge=False, projected=True
):
    """x [B, T, D], c_attn, c_proj, n_head.

    same_scores: all of q is 0. huge: q and k are made of 0, 40 and -40. Not projected: c_proj is the identity.
    """
    B, T, (H, K) = draw(sizes(1, 2)), draw(T), draw(st.sampled_from(heads))
    D = H * K
    rng = draw(SEEDS)
    c_attn = random_linear(rng, D, 3 * D)
    if same_scores:
        c_attn["weight"][:, :D] = c_attn["bias"][:D] = 0
    if huge:
        c_attn["weight"][:, : 2 * D] = 40 * np.eye(D)[:, rng.integers(0, D, 2 * D)]
        c_attn["bias"][: 2 * D] = 0
    c_proj = random_linear(rng, D, D) if projected else {"weight": np.eye(D), "bias": np.zeros(D)}
    return draw(arrays(B, T, D, elements=st.integers(-1, 1) if huge else SMALL)), c_attn, c_proj, H


# Parameters come from a seed: with hundreds of numbers to make smaller one by one, the smallest input that shows a
# mistake would take minutes to find, and it would be no easier to read.
SEEDS = st.integers(0, 9999).map(np.random.default_rng)


def random_linear(rng, n_in, n_out):
    """The weight and bias of a linear layer, from -1 to 1."""
    return {"weight": halves(rng, -2, 2, n_in, n_out), "bias": halves(rng, -2, 2, n_out)}


def halves(rng, low, high, *shape):
    """An array of halves from low / 2 to high / 2."""
    return rng.integers(low, high, shape, endpoint=True) / 2


def attended(q, k, v, c_proj, n_head):
    """All that follows q, k and v [B, T, D]."""
    heads = plain.attention(split_heads(q, n_head), split_heads(k, n_head), split_heads(v, n_head))
    return plain.linear(merge_heads(heads), **c_proj)


def keys_cut_first(x, c_attn, c_proj, n_head):
    k, q, v = queries_keys_values(x, c_attn)
    return attended(q, k, v, c_proj, n_head)


def values_cut_first(x, c_attn, c_proj, n_head):
    v, k, q = queries_keys_values(x, c_attn)
    return attended(q, k, v, c_proj, n_head)


def values_cut_second(x, c_attn, c_proj, n_head):
    q, v, k = queries_keys_values(x, c_attn)
    return attended(q, k, v, c_proj, n_head)


def cut_turned_right(x, c_attn, c_proj, n_head):
    v, q, k = queries_keys_values(x, c_attn)
    return attended(q, k, v, c_proj, n_head)


def cut_turned_left(x, c_attn, c_proj, n_head):
    k, v, q = queries_keys_values(x, c_attn)
    return attended(q, k, v, c_proj, n_head)


def cut_within_heads(x, c_attn, c_proj, n_head):
    qkv = split_heads(plain.linear(x, **c_attn), n_head)  # [B, H, T, 3 K]
    return plain.linear(merge_heads(plain.attention(*np.split(qkv, 3, axis=-1))), **c_proj)


def cut_in_turn(x, c_attn, c_proj, n_head):
    qkv = plain.linear(x, **c_attn)
    return attended(qkv[..., 0::3], qkv[..., 1::3], qkv[..., 2::3], c_proj, n_head)


def heads_in_turn(x, c_attn, c_proj, n_head):
    q, k, v = (split_every_hth(part, n_head) for part in queries_keys_values(x, c_attn))
    return plain.linear(merged_in_turn(plain.attention(q, k, v)), **c_proj)


def heads_in_turn_not_back(x, c_attn, c_proj, n_head):
    q, k, v = (split_every_hth(part, n_head) for part in queries_keys_values(x, c_attn))
    return plain.linear(merge_heads(plain.attention(q, k, v)), **c_proj)


def reshaped_straight(x, c_attn, c_proj, n_head):
    q, k, v = (split_straight(part, n_head) for part in queries_keys_values(x, c_attn))
    return plain.linear(merged_straight(plain.attention(q, k, v)), **c_proj)


def reshaped_back_straight(x, c_attn, c_proj, n_head):
    q, k, v = (split_heads(part, n_head) for part in queries_keys_values(x, c_attn))
    return plain.linear(merged_straight(plain.attention(q, k, v)), **c_proj)


def one_head_for_all(x, c_attn, c_proj, n_head):
    return attended(*queries_keys_values(x, c_attn), c_proj, 1)


def projection_forgotten(x, c_attn, c_proj, n_head):
    return attended(*queries_keys_values(x, c_attn), {"weight": np.eye(x.shape[-1])}, n_head)


def projection_transposed(x, c_attn, c_proj, n_head):
    return multi_head_attention(x, c_attn, {**c_proj, "weight": c_proj["weight"].T}, n_head)


def bias_of_c_attn_forgotten(x, c_attn, c_proj, n_head):
    return multi_head_attention(x, {"weight": c_attn["weight"]}, c_proj, n_head)


def bias_of_c_proj_forgotten(x, c_attn, c_proj, n_head):
    return multi_head_attention(x, c_attn, {"weight": c_proj["weight"]}, n_head)


def both_biases_forgotten(x, c_attn, c_proj, n_head):
    return multi_head_attention(x, {"weight": c_attn["weight"]}, {"weight": c_proj["weight"]}, n_head)


def stream_added(x, c_attn, c_proj, n_head):
    return x + multi_head_attention(x, c_attn, c_proj, n_head)


def multi_head_scaled_by_D(x, c_attn, c_proj, n_head):
    return multi_head_attention(x, c_attn, c_proj, n_head, scaled_by_D)


def multi_head_scaled_by_H(x, c_attn, c_proj, n_head):
    return multi_head_attention(x, c_attn, c_proj, n_head, scaled_by_H)


def multi_head_not_scaled(x, c_attn, c_proj, n_head):
    return multi_head_attention(x, c_attn, c_proj, n_head, not_scaled)


def multi_head_without_mask(x, c_attn, c_proj, n_head):
    return multi_head_attention(x, c_attn, c_proj, n_head, mask_forgotten)


def multi_head_softmax_over_queries(x, c_attn, c_proj, n_head):
    return multi_head_attention(x, c_attn, c_proj, n_head, softmax_over_queries)


def multi_head_overflows(x, c_attn, c_proj, n_head):
    return multi_head_attention(x, c_attn, c_proj, n_head, softmax_overflows)


# ---------------------------------------------------------------- the exercises


EXERCISES = [
    Exercise(
        name="embeddings",
        signature="embeddings(ids, wte, wpe)",
        task="x[t] = wte[ids[t]] + wpe[t]: the vector of each token plus that of its position, counted from 0. ids [T] "
        "of integers, wte [V, D], wpe [P, D] with P >= T > x [T, D].",
        reference=embeddings,
        probes=(
            Probe(
                "All position vectors are 0 here, so the result must be the rows of wte: row ids[t] for token t.",
                texts_and_tables(position=ZERO),
            ),
            Probe(
                "All token vectors are 0 here, so the result must be the rows of wpe: row t for the token at place t, "
                "whichever token it is.",
                texts_and_tables(token=ZERO),
            ),
            Probe(
                "A single token, at position 0: one row of wte plus the first row of wpe.",
                texts_and_tables(T=st.just(1)),
            ),
            Probe(
                "Tokens and positions were right by themselves; here both are at work, and they are added.",
                texts_and_tables(),
            ),
            Probe(
                "The text may be as long as there are positions, and numbers are no longer whole.",
                texts_and_tables(token=numbers(), position=numbers(), full=PERHAPS),
            ),
            large_input(lambda rng: (rng.integers(0, 50, 40), small_integers(rng, 50, 6), small_integers(rng, 64, 6))),
        ),
        mistakes=(
            Mistake(
                tokens_alone,
                "You look up the tokens only. Each position has a vector too, which is added: without it no one could "
                "tell the order of the tokens.",
            ),
            Mistake(
                positions_alone,
                "You return the vectors of the positions only: x[t] also has wte[ids[t]], the vector of the token.",
            ),
            Mistake(
                positions_by_ids,
                "You look up wpe with the ids of the tokens. A position's vector depends on the place t alone: wpe[t].",
            ),
            Mistake(
                tokens_by_positions,
                "You look up wte with the places 0, 1, 2 and so on. The token at place t is ids[t], so its vector is "
                "wte[ids[t]].",
            ),
            Mistake(positions_from_1, "You count positions from 1. The first token has position 0: wpe[0]."),
            Mistake(
                first_position_for_all,
                "Every token of yours gets the vector of position 0. The token at place t gets wpe[t].",
            ),
            Mistake(
                last_positions,
                "You take the last T rows of wpe. Positions are counted from the beginning: the first T rows.",
            ),
            Mistake(multiplied, "You multiply the two vectors; they are added: wte[ids[t]] + wpe[t]."),
            Mistake(
                scaled_by_root_of_width,
                "You multiply the vectors of tokens by sqrt(D), as the transformer of 2017 did. GPT-2 adds them as "
                "they are.",
            ),
        ),
    ),
    Exercise(
        name="softmax",
        signature="softmax(x)",
        task="softmax(x)_i = exp(x_i) / sum_j exp(x_j) along the last axis of an array of any shape. Numbers such as "
        "1000 must not overflow, and an entry of -inf has probability 0.",
        reference=plain.softmax,
        probes=(
            Probe(
                "One row of small numbers, so it is about the formula alone: exp of each, divided by the sum of all "
                "exp.",
                st.tuples(shapes(1, 1).flatmap(lambda shape: arrays(*shape))),
            ),
            Probe(
                "One row was right, several rows are not: every row has a sum of its own, along the last axis.",
                st.tuples(shapes(2, 2).flatmap(lambda shape: arrays(*shape))),
            ),
            Probe(
                "There are three or four axes here; softmax is along the last one, whatever stands before it.",
                st.tuples(shapes(3, 4).flatmap(lambda shape: arrays(*shape, elements=SMALL))),
            ),
            Probe(
                "These numbers are near 1000 or -1000. exp(1000) is inf and exp(-1000) is 0, so the fraction becomes "
                "NaN, unless the maximum of each row is subtracted before exp: that changes no probability.",
                rows_of_different_height(),
                tolerance=ROUGH,
            ),
            Probe(
                "A row has numbers near 0, near 1000 and near -1000 here. Only with its maximum subtracted is none of "
                "them above 0, so that no exp can overflow.",
                rows_with_distant_entries(),
                tolerance=ROUGH,
            ),
            Probe(
                "Some entries are -inf: exp(-inf) is 0 and so must be their probability. The others share the whole.",
                st.tuples(shapes(1, 3).flatmap(rows_with_hidden_entries)),
            ),
            Probe(
                "Some entries are -inf and the others near 1000 or -1000: what is -inf stays so, and takes no part, "
                "however low the others are.",
                hidden_rows_of_different_height(),
                tolerance=ROUGH,
            ),
            Probe(
                "These are arrays of all kinds, drawn at random.",
                st.tuples(shapes(1, 4).flatmap(lambda shape: rows_with_hidden_entries(shape, numbers(-50, 50)))),
            ),
        ),
        mistakes=(
            Mistake(
                maximum_not_subtracted,
                "Right for small numbers, but exp(1000) is inf, and inf / inf is NaN. Subtract the maximum of each row "
                "before exp: exp(x_i - m) / sum_j exp(x_j - m) is the same fraction.",
            ),
            Mistake(
                over_the_whole_array,
                "You divide by the sum over the whole array. Every row has a sum of its own: the sum over j runs along "
                "the last axis.",
            ),
            Mistake(
                over_the_first_axis,
                "Your sums run along the first axis, so columns sum to 1. The sum over j runs along the last axis.",
            ),
            Mistake(
                one_maximum_for_all_rows,
                "You subtract the maximum of the whole array. In a row far below it all exp become 0, and 0 / 0 is "
                "NaN: subtract each row's own maximum.",
            ),
            Mistake(
                minimum_subtracted,
                "You subtract the minimum of each row. Its other numbers are above 0 then, and their exp can overflow: "
                "subtract the maximum, after which none is.",
            ),
            Mistake(
                mean_subtracted,
                "You subtract the mean of each row. Numbers far above it still overflow in exp: subtract the maximum, "
                "after which none is above 0.",
            ),
            Mistake(
                logarithm_of_softmax,
                "Your result is the logarithm of the softmax. Probabilities are positive and sum to 1: exp(x_i) / "
                "sum_j exp(x_j), without a logarithm.",
            ),
            Mistake(
                divided_by_the_maximum,
                "You divide by the largest exp of the row. It is the sum of all exp that the probabilities must be "
                "divided by, to sum to 1.",
            ),
            Mistake(
                divided_by_the_maximum_before,
                "You divide the numbers by their maximum before exp. That changes the result; the maximum must be "
                "subtracted, which cancels in the fraction.",
            ),
            Mistake(
                exp_forgotten,
                "You divide the numbers themselves by their sum. The formula has exp(x_i) in their place, above and "
                "below the line.",
            ),
            Mistake(sum_forgotten, "You return exp(x). It has to be divided by the sum of exp over the row."),
            Mistake(
                sign_turned,
                "Your largest number gets the smallest probability: somewhere the sign is turned. It is exp(x_i), and "
                "x_i minus the maximum, not the maximum minus x_i.",
            ),
            Mistake(powers_of_2, "You take powers of 2; exp takes powers of e = 2.718..."),
        ),
    ),
    Exercise(
        name="causal_mask",
        signature="causal_mask(T)",
        task="mask[t, s] is True where position t may look at position s, that is where s <= t: itself and the past. T "
        "> bool [T, T].",
        reference=causal_mask,
        probes=(
            Probe("With one token the mask is [[True]]: a token sees itself.", st.tuples(st.just(1))),
            Probe(
                "Only the diagonal is compared, s = t: every token sees itself.", st.tuples(sizes(2, 12)), part=diagonal
            ),
            Probe(
                "Only what is above the diagonal is compared, s > t: no token sees a later one.",
                st.tuples(sizes(2, 12)),
                part=above_the_diagonal,
            ),
            Probe("All is compared: every token sees all that came before it, s < t.", st.tuples(sizes(1, 40))),
        ),
        mistakes=(
            Mistake(
                next_token_visible,
                "Your mask is one place off: position t also sees t + 1, the very token that it is to predict. It is "
                "True where s <= t.",
            ),
            Mistake(
                itself_hidden,
                "Your mask is one place off: position t does not see itself. It is True where s <= t, with the "
                "equality.",
            ),
            Mistake(
                future_visible,
                "Your mask is transposed: position t sees itself and the future. Rows are t, who looks; columns are s, "
                "what is looked at; True where s <= t.",
            ),
            Mistake(
                true_where_hidden,
                "Your mask is True where something is hidden. It is to be True where t may look at s.",
            ),
            Mistake(everything_visible, "Your mask lets everybody see everything. It is False where s > t."),
            Mistake(
                only_itself_visible,
                "Your tokens see nothing but themselves. The past is visible too: True wherever s <= t.",
            ),
            Mistake(
                only_past_of_one_visible,
                "Your tokens see themselves and one token before. All of the past is visible: True wherever s <= t.",
            ),
            Mistake(
                numbers_to_add,
                "Your mask has 0 and -inf, to be added to scores. That is another way to say it; this function returns "
                "True and False.",
            ),
            Mistake(
                ones_and_zeros,
                "Your mask has the numbers 1 and 0 in place of True and False. A mask is an array of bool: the result "
                "of a comparison such as s <= t.",
            ),
        ),
    ),
    Exercise(
        name="scores",
        signature="scores(q, k)",
        task="scores = q k^T / sqrt(K): how well query t matches key s, for all t and s. No mask and no softmax yet. "
        "q, k [T, K] > [T, T].",
        reference=scores,
        probes=(
            Probe(
                "A single token with K = 1: the score is the product of two numbers.",
                queries_and_keys(T=st.just(1), K=st.just(1)),
            ),
            Probe(
                "With K = 1 the scale 1/sqrt(K) is 1, so it is about the products: row t, column s has query t times "
                "key s.",
                queries_and_keys(T=sizes(2, 4), K=st.just(1)),
            ),
            Probe(
                "A single token: one sum of K products, divided by sqrt(K). With K = 1 all was right, so look at the "
                "sum over the last axis and at the scale.",
                queries_and_keys(T=st.just(1), K=sizes(2, 4)),
            ),
            Probe("Queries and keys of all sizes, drawn at random.", queries_and_keys(elements=numbers(-2, 2))),
            large_input(lambda rng: (small_integers(rng, 70, 8), small_integers(rng, 70, 8))),
        ),
        mistakes=(
            Mistake(
                scores_not_scaled,
                "Your scores are q k^T and not divided by sqrt(K). A sum of K products grows with K; the division "
                "undoes that.",
            ),
            Mistake(scores_scaled_by_K, "You divide by K itself. It is the square root of K."),
            Mistake(
                scores_scaled_by_T,
                "You divide by the square root of T, the number of tokens. K is the width of a head, the length of one "
                "query: the second size of q.",
            ),
            Mistake(scores_multiplied_by_root, "You multiply by sqrt(K); the formula divides by it."),
            Mistake(
                scores_transposed,
                "Your scores are transposed: k q^T. Rows belong to queries and columns to keys, q k^T.",
            ),
            Mistake(
                scores_of_numbers,
                "You transpose q in place of k: your sum is over the tokens and the result is [K, K]. A score sums "
                "over the K numbers of one query and one key.",
            ),
            Mistake(scores_masked, "You have masked the scores already. That is the next step, not part of this one."),
            Mistake(
                scores_through_softmax,
                "You have applied a softmax already. That is a later step; the scores are q k^T / sqrt(K).",
            ),
        ),
    ),
    Exercise(
        name="attention_head",
        signature="attention_head(q, k, v)",
        task="softmax(q k^T / sqrt(K) + mask) v for one head; the mask is -inf where s > t, so that token t sees "
        "itself and the past. q, k, v [T, K] > [T, K].",
        reference=attention_head,
        probes=attention_probes(one_head, large=(70, 4)),
        mistakes=ATTENTION_MISTAKES,
        uses=("minigpt.ops.plain.softmax",),
    ),
    Exercise(
        name="split_heads",
        signature="split_heads(x, n_head)",
        task="Cut the D numbers of every token into H stretches of K = D / H, one for each head: out[b, h, t, k] = "
        "x[b, t, h K + k]. x [B, T, D], n_head = H > [B, H, T, K].",
        reference=split_heads,
        probes=(
            Probe(
                "One head and one token: only the shape changes, [B, 1, D] to [B, 1, 1, D]. The digits of every number "
                "say where it stood in x.",
                labelled(sizes(1, 3), st.just(1), sizes(), n_head=st.just(1)),
            ),
            Probe(
                "One token: head h must get the h-th stretch of K neighbours, x[b, 0, h K] to x[b, 0, h K + K - 1]. "
                "The digits of every number say where it stood in x.",
                labelled(sizes(1, 3), st.just(1), sizes(2, 3), n_head=sizes(2, 3)),
            ),
            Probe(
                "Each token was cut rightly by itself, but with several tokens they are mixed: every head must have "
                "its stretch of every token, in the order of the tokens. The digits of every number say where it stood "
                "in x: batch, token, place.",
                labelled(st.just(1), sizes(2, 4), sizes(1, 3), n_head=sizes(2, 3)),
            ),
            Probe(
                "With several texts in the batch: each text is split by itself. The digits of every number say where "
                "it stood in x: batch, token, place.",
                labelled(sizes(2, 3), sizes(), sizes(1, 3), n_head=sizes(1, 3)),
            ),
            Probe("These are arrays of all sizes, drawn at random.", any_numbers_to_split()),
        ),
        mistakes=(
            Mistake(
                split_straight,
                "You reshape [B, T, D] to [B, H, T, K] at once. The shape is right, but the numbers of different "
                "tokens land in one row: first cut D into H and K, then exchange the axes of tokens and heads.",
            ),
            Mistake(
                split_every_hth,
                "You give head h every H-th number. It gets a stretch of K neighbours: number h K + k of a token is "
                "number k of head h.",
            ),
            Mistake(
                split_without_exchange,
                "Your result is [B, T, H, K]. The axes of tokens and heads must be exchanged: [B, H, T, K].",
            ),
            Mistake(
                split_with_heads_first,
                "Your result is [H, B, T, K], heads before the batch. The batch stays the first axis: [B, H, T, K].",
            ),
            Mistake(
                split_and_transposed,
                "Your result is [B, H, K, T]. In the order asked for, tokens come before the numbers of a token: [B, "
                "H, T, K].",
            ),
            Mistake(
                split_with_sizes_exchanged,
                "You make K heads of H numbers. n_head is the number of heads H, and K = D / H is how many numbers "
                "each has.",
            ),
        ),
    ),
    Exercise(
        name="merge_heads",
        signature="merge_heads(x)",
        task="Put the heads of every token side by side again, the reverse of split_heads: out[b, t, h K + k] = x[b, "
        "h, t, k]. x [B, H, T, K] > [B, T, D], D = H K.",
        reference=merge_heads,
        probes=(
            Probe(
                "A single head: it is merged with nothing, [B, 1, T, K] becomes [B, T, K].",
                labelled(sizes(1, 3), st.just(1), sizes(), sizes()),
            ),
            Probe(
                "A single token: the K numbers of head 0, then those of head 1 and so on. The digits of every number "
                "say where it stood in x: batch, head, token, place.",
                labelled(sizes(1, 2), sizes(2, 4), st.just(1), sizes(1, 3)),
            ),
            Probe(
                "One token was merged rightly, but with several tokens they are mixed: a row of the result must have "
                "the numbers of one token only, from all heads. The digits of every number say where it stood in x: "
                "batch, head, token, place.",
                labelled(sizes(1, 2), sizes(2, 4), sizes(2, 4), sizes(1, 3)),
            ),
            Probe(
                "These are arrays of all sizes, drawn at random.",
                st.tuples(shapes(4, 4).flatmap(lambda shape: arrays(*shape))),
            ),
        ),
        mistakes=(
            Mistake(
                merged_straight,
                "You reshape [B, H, T, K] to [B, T, D] at once. The shape is right, but numbers of different tokens "
                "land in one row: first exchange the axes of heads and tokens, then reshape.",
            ),
            Mistake(
                merged_in_turn,
                "You take one number of each head in turn. Each head's K numbers stay neighbours: number k of head h "
                "becomes number h K + k.",
            ),
            Mistake(merged_from_the_last, "You begin with the last head. Head 0 comes first: place h K + k."),
            Mistake(
                merged_along_tokens,
                "You join the heads one below the other, [B, H T, K]. They belong side by side: every token gets its H "
                "K numbers back.",
            ),
            Mistake(merged_and_transposed, "Your result is [B, D, T]. Tokens come before their numbers: [B, T, D]."),
            Mistake(heads_added, "You add the heads up. They are put side by side: H K numbers for every token."),
            Mistake(
                not_merged,
                "You exchange the axes but leave heads apart, [B, T, H, K]. The last two become one of size D = H K.",
            ),
        ),
    ),
    Exercise(
        name="attention",
        signature="attention(q, k, v)",
        task="softmax(q k^T / sqrt(K) + mask) v in every head of every text of the batch; the mask is -inf where s > "
        "t, so that token t sees itself and the past. q, k, v [B, H, T, K] > [B, H, T, K].",
        reference=plain.attention,
        probes=attention_probes(all_heads, large=(1, 2, 70, 4)),
        mistakes=(
            Mistake(
                scaled_by_D,
                "You divide the scores by the square root of the width D = H K of the whole stream. A query of one "
                "head has K numbers, so it is sqrt(K): the size of the last axis. A model still learns with the wrong "
                "scale, which is why this is so easily missed.",
            ),
            Mistake(
                scaled_by_H,
                "You divide the scores by the square root of the number of heads, the second size of q. With heads, K "
                "is the last size.",
            ),
            Mistake(
                softmax_over_heads,
                "Your softmax runs over the heads. Each head attends for itself: the softmax is over the keys, the "
                "last axis of the scores.",
            ),
            Mistake(
                last_batch_axes_exchanged,
                "Your heads of one token look at each other. The order of the axes is [B, H, T, K]: tokens look at "
                "tokens, within one head.",
            ),
            *ATTENTION_MISTAKES,
        ),
        uses=("minigpt.ops.plain.softmax",),
    ),
    Exercise(
        name="multi_head_attention",
        signature="multi_head_attention(x, c_attn, c_proj, n_head)",
        task="q, k, v = x c_attn, cut into three stretches of D in this order; each is split into heads, attention in "
        "every head (causal, scaled by 1/sqrt(K)), heads are merged, and c_proj projects the result. x [B, T, D]; "
        "c_attn has weight [D, 3 D] and bias [3 D], c_proj weight [D, D] and bias [D], both dicts > [B, T, D].",
        reference=multi_head_attention,
        probes=(
            Probe(
                "One token, one head, and c_proj changes nothing: attention returns v. So the result must be the last "
                "third of x c_attn, its bias included.",
                streams_and_projections(T=st.just(1), heads=ONE_HEAD, projected=False),
            ),
            Probe(
                "One token, several heads, and c_proj changes nothing: attention returns v in every head, and merging "
                "must undo splitting, so that the result is v, the last third of x c_attn.",
                streams_and_projections(T=st.just(1), heads=SEVERAL_HEADS, projected=False),
            ),
            Probe(
                "One token: v, then c_proj with its bias. Without c_proj all was right.",
                streams_and_projections(T=st.just(1)),
            ),
            Probe(
                "q is 0 here and c_proj changes nothing: every token's result must be the mean of v over itself and "
                "the tokens before. So look at the mask, and at how heads are split and merged when there are several "
                "tokens.",
                streams_and_projections(T=sizes(2, 4), same_scores=True, projected=False),
            ),
            Probe(
                "One head, several tokens, and c_proj changes nothing: the scores are at work now. Look at which third "
                "of x c_attn is q and which is k, and at the scale.",
                streams_and_projections(T=sizes(2, 4), heads=ONE_HEAD, projected=False),
            ),
            Probe(
                "One head was right and several are not, while c_proj changes nothing: look at which numbers of q, k "
                "and v each head gets, and at the scale 1/sqrt(K) with K = D / H.",
                streams_and_projections(T=sizes(2, 4), heads=SEVERAL_HEADS, projected=False),
            ),
            Probe(
                "q and k are large here, and scores at least 800 apart. exp of such a number is inf: the softmax must "
                "subtract the maximum of each row first. And what is hidden with -100 is still above a score of "
                "-1600: it is -inf that hides.",
                streams_and_projections(huge=True),
                tolerance=ROUGH,
            ),
            Probe("These are inputs of all kinds, drawn at random.", streams_and_projections()),
            large_input(
                lambda rng: (small_integers(rng, 1, 20, 8), random_linear(rng, 8, 24), random_linear(rng, 8, 8), 2)
            ),
        ),
        mistakes=(
            Mistake(
                keys_cut_first,
                "You take the first third as k and the second as q. The order in c_attn is q, k, v.",
            ),
            Mistake(values_cut_first, "You take the thirds as v, k, q. The order in c_attn is q, k, v."),
            Mistake(values_cut_second, "You take the thirds as q, v, k. The order in c_attn is q, k, v."),
            Mistake(cut_turned_right, "You take the thirds as v, q, k. The order in c_attn is q, k, v."),
            Mistake(cut_turned_left, "You take the thirds as k, v, q. The order in c_attn is q, k, v."),
            Mistake(
                cut_within_heads,
                "You split into heads first and cut each head into q, k and v, as some other models do. In GPT-2 the D "
                "numbers of q come first, those of all heads, then k, then v.",
            ),
            Mistake(
                cut_in_turn,
                "You take every third number for q, the next ones for k and v. They are three stretches of D "
                "neighbours: q, then k, then v.",
            ),
            Mistake(
                heads_in_turn,
                "You give head h every H-th number of q, k and v. Each head has a stretch of K neighbours: out[b, h, "
                "t, k] = x[b, t, h K + k].",
            ),
            Mistake(
                heads_in_turn_not_back,
                "You give head h every H-th number of q, k and v, and merge the heads as stretches. Each head has a "
                "stretch of K neighbours: out[b, h, t, k] = x[b, t, h K + k].",
            ),
            Mistake(
                reshaped_straight,
                "You reshape [B, T, D] to [B, H, T, K] at once, which mixes the numbers of different tokens. Cut D "
                "into H and K first, then exchange the axes of tokens and heads.",
            ),
            Mistake(
                reshaped_back_straight,
                "You reshape the heads [B, H, T, K] to [B, T, D] at once, which mixes the numbers of different tokens. "
                "Exchange the axes of heads and tokens before.",
            ),
            Mistake(
                one_head_for_all,
                "You attend once over the whole width D, as if there were one head. Each of the n_head heads has K = D "
                "/ H numbers of q, k and v, and weights of its own.",
            ),
            Mistake(
                projection_forgotten,
                "You return the merged heads. They still go through c_proj, which mixes what the heads have found.",
            ),
            Mistake(
                projection_transposed,
                "You use the weight of c_proj transposed. Weights are stored [in, out]: x weight + bias.",
            ),
            Mistake(
                bias_of_c_attn_forgotten,
                "The bias of c_attn is missing: q, k, v = x weight + bias.",
            ),
            Mistake(bias_of_c_proj_forgotten, "The bias of c_proj is missing: it is added after its product."),
            Mistake(both_biases_forgotten, "Both biases are missing. A linear layer is x weight + bias."),
            Mistake(
                stream_added,
                "You add x to the result. That is right in the block, and is done there, outside this function.",
            ),
            Mistake(
                multi_head_scaled_by_D,
                "You divide the scores by the square root of the width D. A query of one head has K = D / H numbers, "
                "so it is sqrt(K).",
            ),
            Mistake(
                multi_head_scaled_by_H,
                "You divide the scores by the square root of the number of heads. It is that of K = D / H, how many "
                "numbers a query of one head has.",
            ),
            Mistake(
                multi_head_not_scaled,
                "Your scores are not scaled: the formula divides them by sqrt(K), K = D / H.",
            ),
            Mistake(
                multi_head_without_mask,
                "Your tokens see later ones. Scores of keys s > t become -inf before the softmax of query t.",
            ),
            Mistake(
                multi_head_softmax_over_queries,
                "Your softmax runs over the queries. It is over the keys of each query, the last axis of the scores.",
            ),
            Mistake(
                multi_head_overflows,
                "Your softmax takes exp of scores as they are, which is inf for large ones, and inf / inf is NaN. "
                "Subtract each row's maximum first.",
            ),
        ),
        uses=(
            "minigpt.ops.plain.softmax",
            "minigpt.ops.plain.linear",
            "minigpt.ops.plain.attention",
            "minigpt.model.split_heads",
            "minigpt.model.merge_heads",
        ),
    ),
]
