"""Exercise attention_backward, notebook 08: the gradients through attention."""

import numpy as np
from hypothesis import strategies as st

from minigpt.exercises.catalogue.attention_head import attention_scores, attention_weights, visible
from minigpt.exercises.catalogue.softmax import maximum_not_subtracted
from minigpt.exercises.catalogue.softmax_backward import softmax_backward
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
from minigpt.ops.plain import softmax


def attention_backward(dheads, q, k, v):
    """dv = weights^T dheads; dweights = dheads v^T, through the softmax to dscores; dq and dk from dscores."""
    return gradients(attention_weights(q, k), dheads, q, k, v)


def gradients(weights, dheads, q, k, v, scale=None, softmax_backward=softmax_backward):
    """Return dq, dk and dv, given the weights of the forward pass. scale and softmax_backward are for mistakes."""
    dscores = softmax_backward(dheads @ transposed(v), weights) * (q.shape[-1] ** -0.5 if scale is None else scale)
    return dscores @ k, transposed(dscores) @ q, transposed(weights) @ dheads


def transposed(x):
    """Return x^T of every head."""
    return x.swapaxes(-1, -2)


@st.composite
def attended(
    draw, tokens, head_size=sizes(), single=True, q=whole_numbers(-2, 2), k=whole_numbers(-2, 2), v=whole_numbers(-2, 2)
):
    """Draw dheads, q, k and v of one head of one text, or of several.

    tokens, head_size: strategies for T and K. q, k, v: strategies for their entries; that of v is for dheads, too.
    """
    B, H = (1, 1) if single else (draw(sizes(1, 2)), draw(sizes(1, 2)))
    shape = B, H, draw(tokens), draw(head_size)
    dheads, k, v, q = (draw(arrays(*shape, elements=elements)) for elements in (v, k, v, q))
    return dheads, q, k, v


exercise = Exercise(
    name="attention_backward",
    notebook="08_learning",
    order=4,
    signature="attention_backward(dheads, q, k, v)",
    task="The way back through causal attention: scores = q k^T / sqrt(K), which may be large, weights = "
    "softmax(scores + mask), heads = weights v. Given dheads, the gradient of the loss with respect to heads, and q, "
    "k, v, return dq, dk and dv; all are [B, H, T, K]. Go backwards, one step after the other: dv = weights^T dheads "
    "and dweights = dheads v^T; through the softmax to dscores; dq = dscores k / sqrt(K) and dk = dscores^T q / "
    "sqrt(K).",
    reference=attention_backward,
    returns=("dq", "dk", "dv"),
    uses=("minigpt.ops.plain.softmax", "minigpt.training.backward.softmax_backward"),
    probes=(
        Probe(
            "One token attends to itself with the weight 1, whatever q and k are: dv is dheads, and dq and dk are 0.",
            attended(st.just(1)),
        ),
        Probe(
            "Look at dv. q is 0, so every token attends to all tokens up to itself with equal weights. A value "
            "receives something from every token that has seen it, the last value from one token only.",
            attended(sizes(2, 4), q=st.just(0.0)),
            part=lambda result: result[2],
        ),
        Probe(
            "Look at dv. Now the weights differ: softmax(q k^T / sqrt(K) + mask).",
            attended(sizes(2, 4)),
            part=lambda result: result[2],
        ),
        Probe(
            "Look at dq. K is 1, so no scale has an effect. dweights go back through the softmax, and then through k "
            "to q.",
            attended(sizes(2, 4), st.just(1)),
            part=lambda result: result[0],
        ),
        Probe(
            "Look at dq. K is larger now. The scores were divided by sqrt(K), and so is their gradient.",
            attended(sizes(2, 4), sizes(2, 4)),
            part=lambda result: result[0],
        ),
        Probe(
            "Look at dk. A key receives something from every query that has seen it, in proportion to that query.",
            attended(sizes(2, 4)),
            part=lambda result: result[1],
        ),
        Probe(
            "q and k are large here, and scores at least 800 apart. exp of such a number is inf: the softmax must "
            "subtract the maximum of each row first. A score hidden with -100 is still above a visible one of -1600: "
            "hide with -inf.",
            attended(sizes(2, 4), q=HUGE_SCORE_ENTRIES, k=HUGE_SCORE_ENTRIES),
            tolerance=TOLERANCE_NEAR_1000,
        ),
        Probe(
            "Any number of texts, heads and tokens.",
            attended(sizes(), single=False, q=numbers(-2, 2), k=numbers(-2, 2), v=numbers(-2, 2)),
        ),
        large_input(lambda rng: tuple(small_integers(rng, 1, 1, 40, 4) for _ in range(4))),
    ),
)


@exercise.formulation
def attention_backward_in_steps(dheads, q, k, v):
    B, H, T, K = q.shape  # noqa: RUF059 (the rules put one size for another)
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(K)
    visible = np.tri(T, dtype=bool)
    masked = np.where(visible, scores, -np.inf)
    exps = np.exp(masked - masked.max(axis=-1, keepdims=True))
    weights = exps / exps.sum(axis=-1, keepdims=True)
    dv = weights.swapaxes(-1, -2) @ dheads
    dweights = dheads @ v.swapaxes(-1, -2)
    total = (dweights * weights).sum(axis=-1, keepdims=True)
    dscores = weights * (dweights - total)
    dq = dscores @ k / np.sqrt(K)
    dk = dscores.swapaxes(-1, -2) @ q / np.sqrt(K)
    return dq, dk, dv


@exercise.mistake(
    "The scale is missing on the way back. The scores are q k^T divided by sqrt(K), so divide dq and dk by it, too."
)
def attended_unscaled_back(dheads, q, k, v):
    return gradients(attention_weights(q, k), dheads, q, k, v, scale=1)


@exercise.mistake("The scale is missing: the scores are q k^T / sqrt(K), forwards and backwards.")
def attended_unscaled(dheads, q, k, v):
    return gradients(attention_weights(q, k, scale=1), dheads, q, k, v, scale=1)


@exercise.mistake(
    "You exchange dq and dk. The scores are q k^T, so dq is a product with k and dk one with q, and dq is returned "
    "first."
)
def attended_swapped(dheads, q, k, v):
    dq, dk, dv = attention_backward(dheads, q, k, v)
    return dk, dq, dv


@exercise.mistake(
    "You compute dk with dscores as they are. A row of dscores belongs to a query, a column to a key. dk sums over the "
    "queries, so transpose dscores."
)
def attended_scores_not_turned(dheads, q, k, v):
    dq, _, dv = attention_backward(dheads, q, k, v)
    dscores = softmax_backward(dheads @ transposed(v), attention_weights(q, k)) * q.shape[-1] ** -0.5
    return dq, dscores @ q, dv


@exercise.mistake(
    "You compute dv with the weights as they are. A row of the weights belongs to a query, a column to a value. dv "
    "sums over the queries, so transpose the weights."
)
def attended_weights_not_turned(dheads, q, k, v):
    dq, dk, _ = attention_backward(dheads, q, k, v)
    return dq, dk, attention_weights(q, k) @ dheads


@exercise.mistake(
    "The causal mask is missing where you compute the weights again: token t has seen nothing after itself."
)
def attended_without_mask(dheads, q, k, v):
    return gradients(softmax(attention_scores(q, k)), dheads, q, k, v)


@exercise.mistake(
    "You mask after the softmax, so the weights no longer sum to 1. Mask the scores, with -inf, before the softmax."
)
def attended_masked_after(dheads, q, k, v):
    return gradients(softmax(attention_scores(q, k)) * visible(q), dheads, q, k, v)


@exercise.mistake(
    "You take exp of scores as they are, which is inf for large ones, and inf / inf is NaN. Subtract each row's "
    "maximum first: it cancels in the fraction."
)
def attended_overflows(dheads, q, k, v):
    weights = maximum_not_subtracted(np.where(visible(q), attention_scores(q, k), -np.inf))
    return gradients(weights, dheads, q, k, v)


@exercise.mistake(
    "Your way back through the softmax is only weights dweights. Weights compete: in each row subtract the sum of that "
    "product from dweights first."
)
def attended_without_sum(dheads, q, k, v):
    return gradients(attention_weights(q, k), dheads, q, k, v, softmax_backward=lambda dy, y: dy * y)


@exercise.mistake(
    "You go from dweights straight to q and k. Between them lies the softmax, which has its own derivative."
)
def attended_without_softmax(dheads, q, k, v):
    return gradients(attention_weights(q, k), dheads, q, k, v, softmax_backward=lambda dy, y: dy * visible(q))


@exercise.mistake(
    "Your way back through the softmax sums over the queries. Each query has a softmax over its keys: sum along the "
    "last axis."
)
def attended_sum_over_queries(dheads, q, k, v):
    def along_queries(dy, y):
        return transposed(softmax_backward(transposed(dy), transposed(y)))

    return gradients(attention_weights(q, k), dheads, q, k, v, softmax_backward=along_queries)
