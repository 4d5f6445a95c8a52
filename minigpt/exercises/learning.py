"""Exercises of notebook 08, learning: the loss, its gradients by hand, and the step that makes it smaller."""

import math

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minigpt.exercises.attention import HUGE, maximum_not_subtracted
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
from minigpt.generation.sampling import log_softmax
from minigpt.ops.plain import causal_mask, softmax
from minigpt.training import backward, optimizer
from minigpt.training.loss import IGNORED


def whole(low, high):
    """A strategy for whole numbers as floats."""
    return st.integers(low, high).map(float)


FEW, SOME = sizes(1, 3), sizes()
ZERO, ONE = st.just(0.0), st.just(1)
TINY = st.just(1e-8)  # an eps that has no effect, wherever it stands

# ---------------------------------------------------------------- cross_entropy


def cross_entropy(logits, targets):
    """The loss of minigpt.training.backward.cross_entropy, which puts gradients in place of the logits."""
    return backward.cross_entropy(logits.copy(), targets, (targets != IGNORED).sum())[0]


@st.composite
def logits_and_targets(draw, rows=FEW, masked=False, elements=None):
    """rows: a strategy for their number. With masked some of the targets do not count, but never all."""
    N, V = draw(rows), draw(sizes(2, 4))
    targets = draw(hnp.arrays(np.int64, N, elements=st.integers(0, V - 1), fill=st.nothing()))
    if masked:
        targets[draw(st.permutations(range(N)))[: draw(st.integers(1, N - 1))]] = IGNORED
    return draw(arrays(N, V, elements=elements)), targets


@st.composite
def equal_logits(draw):
    logits, targets = draw(logits_and_targets())
    return np.full_like(logits, draw(numbers())), targets


@st.composite
def shifted_logits(draw):
    """Logits whose exponentials are all infinite, or all 0: each row has its own height."""
    logits, targets = draw(logits_and_targets(elements=whole(-4, 4)))
    return logits + draw(arrays(len(logits), 1, elements=st.sampled_from([1000.0, -1000.0]))), targets


@st.composite
def distant_logits(draw):
    """Each row has one logit that is so much higher that the probabilities of the others are rounded to 0."""
    logits, targets = draw(logits_and_targets(elements=whole(-4, 4)))
    for row in logits:
        row[draw(st.integers(0, len(row) - 1))] += 1000
    return logits, targets


def surprises(logits, targets):
    """-log softmax(logits[n])[targets[n]] of the rows that count."""
    counted = targets != IGNORED
    return -log_softmax(logits[counted])[np.arange(counted.sum()), targets[counted]]


def loss_counts_masked(logits, targets):
    return surprises(logits, targets).sum() / len(targets)


def loss_is_sum(logits, targets):
    return surprises(logits, targets).sum()


def loss_divides_by_everything(logits, targets):
    return surprises(logits, targets).sum() / ((targets != IGNORED).sum() * logits.shape[1])


def loss_of_each_row(logits, targets):
    return surprises(logits, targets)


def loss_without_minus(logits, targets):
    return -surprises(logits, targets).mean()


def loss_in_bits(logits, targets):
    return surprises(logits, targets).mean() / math.log(2)


def loss_without_logarithm(logits, targets):
    return -np.exp(-surprises(logits, targets)).mean()


def loss_of_mean_probability(logits, targets):
    return -np.log(np.exp(-surprises(logits, targets)).mean())


def loss_without_softmax(logits, targets):
    counted = targets != IGNORED
    return -logits[counted, targets[counted]].mean()


def loss_softmax_over_rows(logits, targets):
    counted = targets != IGNORED
    return -log_softmax(logits.T).T[counted, targets[counted]].mean()


def loss_overflows(logits, targets):
    counted = targets != IGNORED
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return -np.log(probabilities[counted, targets[counted]]).mean()


def loss_with_one_maximum(logits, targets):
    counted = targets != IGNORED
    shifted = logits - logits.max()
    logprobs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -logprobs[counted, targets[counted]].mean()


def loss_of_rounded_probabilities(logits, targets):
    counted = targets != IGNORED
    return -np.log(softmax(logits)[counted, targets[counted]]).mean()


# ---------------------------------------------------------------- softmax_backward


softmax_backward = backward.softmax_backward


@st.composite
def probabilities(draw, *shape, least=1):
    """Eighths, at least so many, that sum to 1 along the last axis; least is 0 or 1."""
    y, V = np.empty(shape), shape[-1]
    cut = st.integers(least, 8 - least)
    for row in y.reshape(-1, V):
        cuts = draw(st.lists(cut, min_size=V - 1, max_size=V - 1, unique=bool(least)).map(sorted))
        row[:] = np.diff([0, *cuts, 8]) / 8
    return y


@st.composite
def constant_gradient(draw):
    V = draw(sizes(2, 4))
    return np.full(V, draw(numbers())), draw(probabilities(V))


@st.composite
def gradient_of_one(draw):
    V = draw(sizes(2, 4))
    return np.eye(V)[draw(st.integers(0, V - 1))] * draw(st.sampled_from([1.0, -2.0, 4.0])), draw(probabilities(V))


@st.composite
def gradient_and_probabilities(draw, rows, least=1):
    """rows: the sizes of all dimensions but the last, as strategies. least: 0 lets probabilities be 0."""
    shape = [draw(size) for size in (*rows, sizes(2, 4))]
    return draw(arrays(*shape)), draw(probabilities(*shape, least=least))


def softmax_without_sum(dy, y):
    return dy * y


def softmax_diagonal(dy, y):
    return dy * y * (1 - y)


def softmax_mean(dy, y):
    return y * (dy - (dy * y).mean(axis=-1, keepdims=True))


def softmax_sum_over_all(dy, y):
    return y * (dy - (dy * y).sum())


def softmax_sum_over_first_axis(dy, y):
    return y * (dy - (dy * y).sum(axis=0, keepdims=True))


def softmax_unweighted_sum(dy, y):
    return y * (dy - dy.sum(axis=-1, keepdims=True))


def softmax_plus(dy, y):
    return y * (dy + (dy * y).sum(axis=-1, keepdims=True))


def softmax_without_outer_y(dy, y):
    return dy - (dy * y).sum(axis=-1, keepdims=True)


def softmax_once_more(dy, y):
    return softmax_backward(dy, softmax(y))


# ---------------------------------------------------------------- layer_norm_backward


def layer_norm_backward(dy, x, weight, eps):
    """minigpt.training.backward.layer_norm_backward, which adds to gradients that are there: here to zeros."""
    dweight, dbias = np.zeros_like(weight), np.zeros_like(weight)
    dx = backward.layer_norm_backward(dy, x, weight, dweight, dbias, eps)
    return dx, dweight, dbias


@st.composite
def vectors(draw, N, D):
    """Rows of different integers: a variance far above 0."""
    row = st.lists(whole(-4, 4), min_size=D, max_size=D, unique=True)
    return np.array([draw(row) for _ in range(N)])


WEIGHT = st.sampled_from([1.0, 2.0, 0.5, -1.0, -2.0])


@st.composite
def normalised(draw, dy=None, weight=WEIGHT, eps=TINY, rows=FEW):
    """dy: a function of x that makes it, otherwise it is drawn; weight, eps: strategies for its numbers and for it."""
    N, D = draw(rows), draw(sizes(3, 4))
    x = draw(vectors(N, D))
    weight = draw(arrays(D, elements=weight))
    return (draw(arrays(N, D)) if dy is None else dy(x)), x, weight, draw(eps)


def parts_of(x, eps):
    """n and s of n = (x - mean(x)) / s."""
    s = np.sqrt(x.var(axis=-1, keepdims=True) + eps)
    return (x - x.mean(axis=-1, keepdims=True)) / s, s


def mean(x):
    return x.mean(axis=-1, keepdims=True)


def ln_constant_mean(dy, x, weight, eps):
    n, s = parts_of(x, eps)
    dn = dy * weight
    return (dn - n * mean(dn * n)) / s, (dy * n).sum(axis=0), dy.sum(axis=0)


def ln_constant_variance(dy, x, weight, eps):
    n, s = parts_of(x, eps)
    dn = dy * weight
    return (dn - mean(dn)) / s, (dy * n).sum(axis=0), dy.sum(axis=0)


def ln_constant_both(dy, x, weight, eps):
    n, s = parts_of(x, eps)
    return dy * weight / s, (dy * n).sum(axis=0), dy.sum(axis=0)


def ln_not_divided(dy, x, weight, eps):
    n, _ = parts_of(x, eps)
    dn = dy * weight
    return dn - mean(dn) - n * mean(dn * n), (dy * n).sum(axis=0), dy.sum(axis=0)


def ln_without_weight(dy, x, weight, eps):
    n, s = parts_of(x, eps)
    return (dy - mean(dy) - n * mean(dy * n)) / s, (dy * n).sum(axis=0), dy.sum(axis=0)


def ln_weight_last(dy, x, weight, eps):
    n, s = parts_of(x, eps)
    return weight * (dy - mean(dy) - n * mean(dy * n)) / s, (dy * n).sum(axis=0), dy.sum(axis=0)


def ln_eps_outside(dy, x, weight, eps):
    s = x.std(axis=-1, keepdims=True) + eps
    n = (x - mean(x)) / s
    dn = dy * weight
    return (dn - mean(dn) - n * mean(dn * n)) / s, (dy * n).sum(axis=0), dy.sum(axis=0)


def ln_without_eps(dy, x, weight, eps):
    return layer_norm_backward(dy, x, weight, 0.0)


def ln_sample_variance(dy, x, weight, eps):
    s = np.sqrt(x.var(axis=-1, keepdims=True, ddof=1) + eps)
    n = (x - mean(x)) / s
    dn = dy * weight
    return (dn - mean(dn) - n * mean(dn * n)) / s, (dy * n).sum(axis=0), dy.sum(axis=0)


def ln_dweight_of_x(dy, x, weight, eps):
    dx, _, dbias = layer_norm_backward(dy, x, weight, eps)
    return dx, (dy * x).sum(axis=0), dbias


def ln_dweight_of_dbias(dy, x, weight, eps):
    dx, _, dbias = layer_norm_backward(dy, x, weight, eps)
    return dx, dbias, dbias


def ln_means_of_rows(dy, x, weight, eps):
    dx, dweight, dbias = layer_norm_backward(dy, x, weight, eps)
    return dx, dweight / len(x), dbias / len(x)


def ln_rows_not_summed(dy, x, weight, eps):
    return layer_norm_backward(dy, x, weight, eps)[0], dy * parts_of(x, eps)[0], dy


# ---------------------------------------------------------------- attention_backward


def attention_backward(dheads, q, k, v):
    """minigpt.training.backward.attention_backward with the usual scale."""
    return backward.attention_backward(dheads, q, k, v, q.shape[-1] ** -0.5)


SMALL = whole(-2, 2)  # so that no softmax is all but certain


@st.composite
def attended(draw, tokens, head_size=SOME, single=True, q=SMALL, k=SMALL, v=SMALL):
    """dheads, q, k, v of one head of one text, or of several.

    tokens, head_size: strategies; q, k and v: strategies for their numbers, that of v for dheads, too.
    """
    B, H = (1, 1) if single else (draw(sizes(1, 2)), draw(sizes(1, 2)))
    shape = B, H, draw(tokens), draw(head_size)
    dheads, k, v, q = (draw(arrays(*shape, elements=elements)) for elements in (v, k, v, q))
    return dheads, q, k, v


def weights_of(q, k, scale=None):
    """softmax(q k^T scale + mask), and the scale."""
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    return softmax(np.where(causal_mask(*q.shape[2:3] * 2), q @ turned(k) * scale, -np.inf)), scale


def turned(x):
    """x^T of every head."""
    return x.swapaxes(-1, -2)


def attended_unscaled_back(dheads, q, k, v):
    weights, _ = weights_of(q, k)
    dscores = softmax_backward(dheads @ turned(v), weights)
    return dscores @ k, turned(dscores) @ q, turned(weights) @ dheads


def attended_unscaled(dheads, q, k, v):
    return backward.attention_backward(dheads, q, k, v, 1.0)


def attended_swapped(dheads, q, k, v):
    dq, dk, dv = attention_backward(dheads, q, k, v)
    return dk, dq, dv


def attended_scores_not_turned(dheads, q, k, v):
    weights, scale = weights_of(q, k)
    dscores = softmax_backward(dheads @ turned(v), weights) * scale
    return dscores @ k, dscores @ q, turned(weights) @ dheads


def attended_weights_not_turned(dheads, q, k, v):
    dq, dk, _ = attention_backward(dheads, q, k, v)
    return dq, dk, weights_of(q, k)[0] @ dheads


def attended_without_mask(dheads, q, k, v):
    scale = q.shape[-1] ** -0.5
    return backward.attention_backward(dheads, q, k, v, scale, weights=softmax(q @ turned(k) * scale))


def attended_masked_after(dheads, q, k, v):
    scale = q.shape[-1] ** -0.5
    weights = softmax(q @ turned(k) * scale) * causal_mask(*q.shape[2:3] * 2)
    return backward.attention_backward(dheads, q, k, v, scale, weights=weights)


def attended_overflows(dheads, q, k, v):
    scale = q.shape[-1] ** -0.5
    weights = maximum_not_subtracted(np.where(causal_mask(*q.shape[2:3] * 2), q @ turned(k) * scale, -np.inf))
    return backward.attention_backward(dheads, q, k, v, scale, weights=weights)


def attended_without_sum(dheads, q, k, v):
    weights, scale = weights_of(q, k)
    dscores = weights * (dheads @ turned(v)) * scale
    return dscores @ k, turned(dscores) @ q, turned(weights) @ dheads


def attended_without_softmax(dheads, q, k, v):
    weights, scale = weights_of(q, k)
    dscores = dheads @ turned(v) * causal_mask(*q.shape[2:3] * 2) * scale
    return dscores @ k, turned(dscores) @ q, turned(weights) @ dheads


def attended_sum_over_queries(dheads, q, k, v):
    weights, scale = weights_of(q, k)
    dscores = turned(softmax_backward(turned(dheads @ turned(v)), turned(weights))) * scale
    return dscores @ k, turned(dscores) @ q, turned(weights) @ dheads


# ---------------------------------------------------------------- adamw


def adamw(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    """minigpt.training.optimizer.adamw_update, which changes its arrays in place, on copies."""
    w, m, v = w.copy(), m.copy(), v.copy()
    optimizer.adamw_update(w, grad, m, v, lr, (beta1, beta2), eps, weight_decay, t)
    return w, m, v


@st.composite
def optimised(draw, t=ONE, fresh=False, zero_grad=False, eps=TINY, weight_decay=ZERO):
    """The arguments of adamw. fresh: m and v are 0, as before the first step."""
    shape = draw(st.sampled_from([(1,), (3,), (2, 3)]))
    grad = np.zeros(shape) if zero_grad else draw(arrays(*shape))
    m = np.zeros(shape) if fresh or zero_grad else draw(arrays(*shape, elements=numbers(-2, 2)))
    # v is above 0 where m is not 0: a step of m / eps would be beyond all measure.
    v = np.zeros(shape) if fresh else draw(arrays(*shape, elements=numbers(0, 4).map(lambda n: n + 0.125)))
    lr, betas = draw(st.sampled_from([0.25, 0.5])), draw(st.permutations([0.25, 0.5, 0.75, 0.875]))
    return draw(arrays(*shape)), grad, m, v, draw(t), lr, *betas[:2], draw(eps), draw(weight_decay)


def moments(grad, m, v, beta1, beta2):
    return beta1 * m + (1 - beta1) * grad, beta2 * v + (1 - beta2) * grad**2


def adamw_without_correction(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    m, v = moments(grad, m, v, beta1, beta2)
    return w * (1 - lr * weight_decay) - lr * m / (np.sqrt(v) + eps), m, v


def adamw_corrects_m_only(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    m, v = moments(grad, m, v, beta1, beta2)
    return w * (1 - lr * weight_decay) - lr * m / (1 - beta1**t) / (np.sqrt(v) + eps), m, v


def adamw_corrects_v_only(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    m, v = moments(grad, m, v, beta1, beta2)
    return w * (1 - lr * weight_decay) - lr * m / (np.sqrt(v / (1 - beta2**t)) + eps), m, v


def adamw_corrects_as_at_first(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    return adamw(w, grad, m, v, 1, lr, beta1, beta2, eps, weight_decay)


def adamw_one_step_late(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    return adamw(w, grad, m, v, t + 1, lr, beta1, beta2, eps, weight_decay)


def adamw_keeps_corrected(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    w, m, v = adamw(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay)
    return w, m / (1 - beta1**t), v / (1 - beta2**t)


def adamw_steps_with_old(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    step = lr * m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps)
    return w * (1 - lr * weight_decay) - step, *moments(grad, m, v, beta1, beta2)


def adamw_uphill(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    _, m_new, v_new = adamw(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay)
    return adamw(w, -grad, -m, v, t, lr, beta1, beta2, eps, weight_decay)[0], m_new, v_new


def adamw_without_root(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    m, v = moments(grad, m, v, beta1, beta2)
    return w * (1 - lr * weight_decay) - lr * m / (1 - beta1**t) / (v / (1 - beta2**t) + eps), m, v


def adamw_v_without_square(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    m, v = moments(grad, m, v, beta1, beta2)[0], beta2 * v + (1 - beta2) * np.abs(grad)
    return w * (1 - lr * weight_decay) - lr * m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps), m, v


def adamw_betas_swapped(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    return adamw(w, grad, m, v, t, lr, beta2, beta1, eps, weight_decay)


def adamw_betas_reversed(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    m, v = moments(grad, m, v, 1 - beta1, 1 - beta2)
    return w * (1 - lr * weight_decay) - lr * m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps), m, v


def adamw_decay_in_gradient(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    return adamw(w, grad + weight_decay * w, m, v, t, lr, beta1, beta2, eps, 0.0)


def adamw_without_decay(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    return adamw(w, grad, m, v, t, lr, beta1, beta2, eps, 0.0)


def adamw_decay_without_lr(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    return adamw(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay / lr)


def adamw_decays_after(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    w, m, v = adamw(w, grad, m, v, t, lr, beta1, beta2, eps, 0.0)
    return w * (1 - lr * weight_decay), m, v


def adamw_eps_inside(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    m, v = moments(grad, m, v, beta1, beta2)
    return w * (1 - lr * weight_decay) - lr * m / (1 - beta1**t) / np.sqrt(v / (1 - beta2**t) + eps), m, v


def adamw_eps_before_correction(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    return adamw(w, grad, m, v, t, lr, beta1, beta2, eps / math.sqrt(1 - beta2**t), weight_decay)


def adamw_without_eps(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    return adamw(w, grad, m, v, t, lr, beta1, beta2, 0.0, weight_decay)


EXERCISES = [
    Exercise(
        name="cross_entropy",
        signature="cross_entropy(logits, targets)",
        task="How surprised the logits are by the targets: the mean of -log softmax(logits[n])[targets[n]] over the "
        "rows n whose target is not -100. logits [N, V], targets [N] of integers > a number; at least one target "
        "counts. Large logits must not overflow, and large differences between them must not give infinity: "
        "log softmax(x)_i = x_i - max(x) - log sum_j exp(x_j - max(x)).",
        reference=cross_entropy,
        probes=(
            Probe(
                "All V logits are equal, so that every token has the probability 1 / V: the loss is log V, "
                "the natural logarithm, whatever the targets are.",
                equal_logits(),
            ),
            Probe(
                "One row: the loss is -log of the probability of its target, which the softmax over the row's V "
                "logits gives.",
                logits_and_targets(ONE),
            ),
            Probe(
                "Several rows, all of which count: the loss is the mean over them of -log p.",
                logits_and_targets(sizes(2, 4)),
            ),
            Probe(
                "Some targets are -100: their rows have no part in the sum, nor in the number it is divided by.",
                logits_and_targets(sizes(2, 4), masked=True),
            ),
            Probe(
                "The logits of a row are large, or very negative, but near to each other: only their exponentials "
                "are beyond all numbers, and each row has a maximum of its own.",
                shifted_logits(),
                tolerance=ROUGH,
            ),
            Probe(
                "One logit of each row is far above the others, whose probabilities are so small that they become 0. "
                "Their logarithms are ordinary numbers, if they are not taken of that 0.",
                distant_logits(),
                tolerance=ROUGH,
            ),
            Probe(
                "Any logits, and some targets that do not count.",
                logits_and_targets(sizes(2, 4), masked=True, elements=numbers(-8, 8)),
            ),
        ),
        mistakes=(
            Mistake(
                loss_counts_masked,
                "Your function divides by the number of all rows. The mean is over those that count: rows with the "
                "target -100 are not among them.",
            ),
            Mistake(
                loss_is_sum,
                "Your function returns the sum over the rows. The mean is asked for, so that the loss does not grow "
                "with the length of the text.",
            ),
            Mistake(
                loss_divides_by_everything,
                "Your function divides by the number of all logits. There is one target in a row, so the mean is over "
                "the rows.",
            ),
            Mistake(
                loss_of_each_row,
                "Your function returns a loss for every row. Their mean is asked for, one number.",
            ),
            Mistake(
                loss_without_minus,
                "Your function forgets the minus sign: the logarithm of a probability is negative, the loss is not.",
            ),
            Mistake(
                loss_in_bits,
                "Your function takes the logarithm to base 2. The loss is measured with the natural one, which undoes "
                "the exponential of the softmax.",
            ),
            Mistake(
                loss_without_logarithm,
                "Your function takes the probabilities themselves. The loss is the mean of their negative logarithms: "
                "a target with a probability near 0 costs a lot.",
            ),
            Mistake(
                loss_of_mean_probability,
                "Your function takes the logarithm of the mean probability. The mean comes last: first the logarithm "
                "of every row's.",
            ),
            Mistake(
                loss_without_softmax,
                "Your function takes the logits of the targets for their log-probabilities. The logarithm of the sum "
                "of all exponentials is missing: log softmax(x)_i = x_i - log sum_j exp(x_j).",
            ),
            Mistake(
                loss_softmax_over_rows,
                "Your function takes the softmax down the rows. Each row is a distribution over the V tokens: its sum "
                "is over the last axis.",
            ),
            Mistake(
                loss_overflows,
                "Your function takes exponentials of the logits as they are, which become infinite for large ones and "
                "all 0 for very negative ones. Subtract the row's greatest logit first: the softmax stays the same.",
            ),
            Mistake(
                loss_with_one_maximum,
                "Your function subtracts the greatest of all logits. In a row far below it every exponential becomes "
                "0, and log 0 is minus infinity: subtract from each row its own maximum.",
            ),
            Mistake(
                loss_of_rounded_probabilities,
                "Your function takes the logarithm of a probability that has been rounded to 0, which is minus "
                "infinity. Simplify on paper first: log softmax(x)_i = x_i - max(x) - log sum_j exp(x_j - max(x)) "
                "needs no such logarithm.",
            ),
        ),
    ),
    Exercise(
        name="softmax_backward",
        signature="softmax_backward(dy, y)",
        task="The way back through y = softmax(x) over the last axis. Given are dy, the gradient of the loss by y, and "
        "y; asked for is dx, the gradient by x: dx_i = sum_j dy_j * (derivative of y_j by x_i), where that derivative "
        "is y_i (1 - y_i) for j = i and -y_j y_i otherwise. Arrays of one shape, any number of dimensions.",
        reference=softmax_backward,
        probes=(
            Probe(
                "dy has the same number everywhere. Probabilities sum to 1 whatever x is, "
                "so that sum's gradient by x is 0.",
                constant_gradient(),
            ),
            Probe(
                "Only one dy_j is not 0, so dx is that dy_j times the derivatives of the one probability y_j: "
                "y_j (1 - y_j) by its own x_j, but -y_j y_i by every other x_i.",
                gradient_of_one(),
            ),
            Probe("One vector y, any dy.", gradient_and_probabilities(rows=())),
            Probe(
                "Several vectors, each with its own softmax: nothing goes from one to another, "
                "so every sum is over the last axis.",
                gradient_and_probabilities(rows=(sizes(2, 3),)),
            ),
            Probe(
                "Any number of dimensions.",
                gradient_and_probabilities(rows=(sizes(1, 2), sizes(1, 3)))
                | gradient_and_probabilities(rows=(sizes(1, 2), sizes(1, 2), sizes(1, 2))),
            ),
            Probe(
                "Some probabilities are 0, as those that a mask hides: their dx is 0, and nothing is divided by them.",
                gradient_and_probabilities(rows=(sizes(1, 3),), least=0),
            ),
        ),
        mistakes=(
            Mistake(
                softmax_without_sum,
                "Your function computes dy y and takes nothing away. A probability that rises takes from all others: "
                "the terms -y_j y_i dy_j, for all j, are missing.",
            ),
            Mistake(
                softmax_diagonal,
                "Your function lets each x_i change its own y_i only: dy y (1 - y). It changes all the others, too, "
                "by -y_j y_i.",
            ),
            Mistake(
                softmax_mean,
                "Your function subtracts the mean of dy y. The chain rule has a sum over j there.",
            ),
            Mistake(
                softmax_sum_over_all,
                "Your function sums over all vectors together. Each vector is a softmax of its own: sum over the last "
                "axis.",
            ),
            Mistake(
                softmax_sum_over_first_axis,
                "Your function sums over the first axis. The probabilities that compete stand along the last one.",
            ),
            Mistake(
                softmax_unweighted_sum,
                "Your function subtracts the sum of dy. In sum_j -y_j y_i dy_j each dy_j is weighted with its y_j.",
            ),
            Mistake(
                softmax_plus,
                "Your function adds the sum. The derivative of y_j by another x_i is -y_j y_i, with a minus.",
            ),
            Mistake(
                softmax_without_outer_y,
                "Your function forgets a factor: every term of dx_i, y_i (1 - y_i) as well as -y_j y_i, has the y_i.",
            ),
            Mistake(
                softmax_once_more,
                "Your function takes the softmax of y. But y is the result of the softmax already.",
            ),
        ),
    ),
    Exercise(
        name="layer_norm_backward",
        signature="layer_norm_backward(dy, x, weight, eps)",
        task="The way back through y = n weight + bias with n = (x - mean(x)) / s and s = sqrt(var(x) + eps), mean and "
        "variance (with 1 / D) of each row. Given are dy, the gradient of the loss by y, and x [N, D], weight [D], "
        "eps; asked for are dx [N, D], dweight [D] and dbias [D]. With dn = dy weight: dx = (dn - mean(dn) - n mean(dn "
        "n)) / s, row by row; dweight sums dy n, dbias sums dy over the rows.",
        reference=layer_norm_backward,
        returns=("dx", "dweight", "dbias"),
        probes=(
            Probe(
                "Look at dbias: the bias is added to every row, so its gradient is the sum of dy over all rows.",
                normalised(),
                part=lambda result: result[2],
            ),
            Probe(
                "Look at dweight: in every row the weight multiplies n, so its gradient is the sum of dy n over all "
                "rows.",
                normalised(),
                part=lambda result: result[1],
            ),
            Probe(
                "Look at dx: the weights are 1, and dy has the same number everywhere. The mean of n is 0 whatever x "
                "is, so dx is 0.",
                normalised(dy=lambda x: np.full_like(x, 2.0), weight=st.just(1.0)),
                part=lambda result: result[0],
            ),
            Probe(
                "Look at dx: the weights are 1, and dy is x itself. n has the same length whatever x is, and "
                "stretching x changes nothing, so dx is 0 (but for eps, which is tiny here).",
                normalised(dy=lambda x: x.copy(), weight=st.just(1.0)),
                part=lambda result: result[0],
            ),
            Probe(
                "Look at dx: the weights are 1, so dn is dy, and eps is tiny.",
                normalised(weight=st.just(1.0)),
                part=lambda result: result[0],
            ),
            Probe(
                "Look at dx: y is n weight, so what reaches n is dn = dy weight, and everything goes on from dn.",
                normalised(),
                part=lambda result: result[0],
            ),
            Probe(
                "Now eps is large: it is added to the variance, before the root is taken.",
                normalised(eps=st.sampled_from([0.5, 2.0])),
            ),
            Probe(
                "Any rows, weights and eps; a weight may be 0.",
                normalised(weight=WEIGHT | st.sampled_from([0.0, 0.125]), eps=st.sampled_from([1e-5, 0.5, 2.0])),
            ),
        ),
        mistakes=(
            Mistake(
                ln_constant_mean,
                "Your function treats the mean as a constant. Every x of a row moves the mean, and with it all n of "
                "the row: the term -mean(dn) is missing.",
            ),
            Mistake(
                ln_constant_variance,
                "Your function treats the variance as a constant. Every x of a row changes it, and with it all n of "
                "the row: the term -n mean(dn n) is missing.",
            ),
            Mistake(
                ln_constant_both,
                "Your function treats mean and variance as constants. Every x of a row changes both, and with them all "
                "n of the row: the terms -mean(dn) and -n mean(dn n) are missing.",
            ),
            Mistake(
                ln_not_divided,
                "Your function does not divide dx by s. n is x divided by s, so is the gradient.",
            ),
            Mistake(
                ln_without_weight,
                "Your function forgets the weight in dx. y is n weight: what reaches n is dy weight.",
            ),
            Mistake(
                ln_weight_last,
                "Your function multiplies dx with the weight at the end. On the way back the weight comes first: the "
                "means are those of dn = dy weight.",
            ),
            Mistake(
                ln_eps_outside,
                "Your function adds eps to the standard deviation. It is added to the variance: s = sqrt(var + eps).",
            ),
            Mistake(
                ln_without_eps,
                "Your function forgets eps: s = sqrt(var + eps).",
            ),
            Mistake(
                ln_sample_variance,
                "Your function computes the variance with 1 / (D - 1). A layer norm has 1 / D.",
            ),
            Mistake(
                ln_dweight_of_x,
                "Your function computes dweight with x. What the weight multiplies is n, the normalised x.",
            ),
            Mistake(
                ln_dweight_of_dbias,
                "Your function gives dweight the gradient of the bias. The weight multiplies n, so that each dy counts "
                "n times.",
            ),
            Mistake(
                ln_means_of_rows,
                "Your function takes the mean over the rows for dweight and dbias. What a number does through several "
                "rows adds up: the sum is the gradient.",
            ),
            Mistake(
                ln_rows_not_summed,
                "Your function returns dweight and dbias for every row. All rows share one weight and one bias: sum "
                "over the rows.",
            ),
        ),
    ),
    Exercise(
        name="attention_backward",
        signature="attention_backward(dheads, q, k, v)",
        task="The way back through causal attention: scores = q k^T / sqrt(K), which may be large, weights = "
        "softmax(scores + mask), heads = weights v. Given are dheads, the gradient of the loss by heads, and q, k, v; "
        "asked for are dq, dk and dv; all [B, H, T, K]. One step after the other, backwards: dv = weights^T dheads and "
        "dweights = dheads v^T; through the softmax to dscores; dq = dscores k / sqrt(K) and dk = dscores^T q / "
        "sqrt(K).",
        reference=attention_backward,
        returns=("dq", "dk", "dv"),
        uses=("minigpt.ops.plain.softmax", "minigpt.training.backward.softmax_backward"),
        probes=(
            Probe(
                "One token attends to itself with the weight 1, whatever q and k are: dv is dheads, dq and dk are 0.",
                attended(ONE),
            ),
            Probe(
                "Look at dv: q is 0, so every token attends to all up to itself with equal weights. "
                "A value gets something from every token that has seen it, the last value from one token only.",
                attended(sizes(2, 4), q=ZERO),
                part=lambda result: result[2],
            ),
            Probe(
                "Look at dv: now the weights differ, as softmax(q k^T / sqrt(K) + mask) says.",
                attended(sizes(2, 4)),
                part=lambda result: result[2],
            ),
            Probe(
                "Look at dq: K is 1, so no scale has an effect. dweights go back through the softmax, then to q by k.",
                attended(sizes(2, 4), ONE),
                part=lambda result: result[0],
            ),
            Probe(
                "Look at dq: K is larger now. The scores were divided by sqrt(K), so is their gradient.",
                attended(sizes(2, 4), sizes(2, 4)),
                part=lambda result: result[0],
            ),
            Probe(
                "Look at dk: a key gets something from every query that has seen it, by that query.",
                attended(sizes(2, 4)),
                part=lambda result: result[1],
            ),
            Probe(
                "q and k are large here, and scores at least 800 apart. exp of such a number is inf: the softmax must "
                "subtract the maximum of each row first. And what is hidden with -100 is still above a score of "
                "-1600: it is -inf that hides.",
                attended(sizes(2, 4), q=HUGE, k=HUGE),
                tolerance=ROUGH,
            ),
            Probe(
                "Any number of texts, heads and tokens.",
                attended(sizes(), single=False, q=numbers(-2, 2), k=numbers(-2, 2), v=numbers(-2, 2)),
            ),
            large_input(lambda rng: tuple(small_integers(rng, 1, 1, 40, 4) for _ in range(4))),
        ),
        mistakes=(
            Mistake(
                attended_unscaled_back,
                "Your function forgets the scale on the way back. The scores are q k^T divided by sqrt(K), so dq and "
                "dk are divided by it, too.",
            ),
            Mistake(
                attended_unscaled,
                "Your function forgets the scale: the scores are q k^T / sqrt(K), forwards and backwards.",
            ),
            Mistake(
                attended_swapped,
                "Your function has dq and dk exchanged. The scores are q k^T: what goes to q is multiplied by k, what "
                "goes to k by q, and dq is returned first.",
            ),
            Mistake(
                attended_scores_not_turned,
                "Your function computes dk with dscores as they are. A row of dscores belongs to a query, a column to "
                "a key: dk sums over the queries, so dscores are transposed.",
            ),
            Mistake(
                attended_weights_not_turned,
                "Your function computes dv with the weights as they are. A row of the weights belongs to a query, a "
                "column to a value: dv sums over the queries, so the weights are transposed.",
            ),
            Mistake(
                attended_without_mask,
                "Your function forgets the causal mask when it computes the weights again: token t has seen nothing "
                "after itself.",
            ),
            Mistake(
                attended_masked_after,
                "Your function masks after the softmax, so that the weights no longer sum to 1. The mask belongs to "
                "the scores, as -inf before the softmax.",
            ),
            Mistake(
                attended_overflows,
                "Your function takes exp of scores as they are, which is inf for large ones, and inf / inf is NaN. "
                "Subtract each row's maximum first: it cancels in the fraction.",
            ),
            Mistake(
                attended_without_sum,
                "Your function's way back through the softmax is weights dweights alone. Weights compete: in each row "
                "the sum over that product is taken away from dweights first.",
            ),
            Mistake(
                attended_without_softmax,
                "Your function goes from dweights straight to q and k. Between them lies the softmax, which has a "
                "derivative of its own.",
            ),
            Mistake(
                attended_sum_over_queries,
                "Your function's way back through the softmax sums over the queries. Each query has a softmax over its "
                "keys: the sum is over the last axis.",
            ),
        ),
    ),
    Exercise(
        name="adamw",
        signature="adamw(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay)",
        task="Step t (counted from 1) of AdamW for parameters w with gradient grad. The running means: m = beta1 m + "
        "(1 - beta1) grad and v = beta2 v + (1 - beta2) grad^2. Because they began at 0 they are corrected: m^ = "
        "m / (1 - beta1^t), v^ = v / (1 - beta2^t). The step: w = w - lr weight_decay w - lr m^ / (sqrt(v^) + eps), "
        "with the w from before on the right. Returns the new w, m and v (m and v uncorrected), arrays of one shape.",
        reference=adamw,
        returns=("w", "m", "v"),
        probes=(
            Probe(
                "Look at m: the old mean counts beta1, the gradient 1 - beta1.",
                optimised(t=st.integers(1, 5)),
                part=lambda result: result[1],
            ),
            Probe(
                "Look at v: the old mean counts beta2, the square of the gradient 1 - beta2.",
                optimised(t=st.integers(1, 5)),
                part=lambda result: result[2],
            ),
            Probe(
                "Look at w after the first step: m and v were 0, eps is tiny, nothing decays. With the corrections m^ "
                "is the gradient and sqrt(v^) its size, so every w moves by lr, down its "
                "gradient, or stays where that is 0.",
                optimised(fresh=True),
                part=lambda result: result[0],
            ),
            Probe(
                "Look at w after a later step, without decay: the corrections are 1 - beta1^t and 1 - beta2^t.",
                optimised(t=st.integers(2, 5)),
                part=lambda result: result[0],
            ),
            Probe(
                "Look at w: gradient and m are 0, so only the decay is left: w - lr weight_decay w.",
                optimised(zero_grad=True, weight_decay=st.sampled_from([0.25, 0.5])),
                part=lambda result: result[0],
            ),
            Probe(
                "Look at w: gradient and decay at once. The decay takes a part of the w from before the step, and has "
                "no part in the gradient or the running means.",
                optimised(t=st.integers(1, 5), weight_decay=st.sampled_from([0.25, 0.5])),
            ),
            Probe(
                "Look at w: eps is large, nothing decays. It is added to sqrt(v^), after the correction and the root.",
                optimised(t=st.integers(1, 5), eps=st.sampled_from([0.5, 2.0])),
                part=lambda result: result[0],
            ),
            Probe(
                "Any step.",
                optimised(
                    st.integers(1, 5), eps=st.sampled_from([1e-8, 0.5]), weight_decay=st.sampled_from([0.0, 0.5])
                ),
            ),
        ),
        mistakes=(
            Mistake(
                adamw_without_correction,
                "Your function steps with m and v as they are. They began at 0 and are too small at first: the "
                "corrected ones, m^ and v^, belong in the step.",
            ),
            Mistake(
                adamw_corrects_m_only,
                "Your function corrects m, but not v: v^ = v / (1 - beta2^t).",
            ),
            Mistake(
                adamw_corrects_v_only,
                "Your function corrects v, but not m: m^ = m / (1 - beta1^t).",
            ),
            Mistake(
                adamw_corrects_as_at_first,
                "Your function divides by 1 - beta at every step. The correction fades with the number of steps: "
                "1 - beta^t.",
            ),
            Mistake(
                adamw_one_step_late,
                "Your function corrects as if t were counted from 0, with t + 1. Here the first step is t = 1.",
            ),
            Mistake(
                adamw_keeps_corrected,
                "Your function returns the corrected means. The next step goes on with m and v themselves: corrected "
                "ones would be corrected again and again.",
            ),
            Mistake(
                adamw_steps_with_old,
                "Your function steps with the m and v of the step before. First this gradient goes into both means.",
            ),
            Mistake(
                adamw_uphill,
                "Your function adds the step. The gradient shows where the loss grows: the step is subtracted.",
            ),
            Mistake(
                adamw_without_root,
                "Your function divides by v^ itself. v is a mean of squares: its root has the size of a gradient.",
            ),
            Mistake(
                adamw_v_without_square,
                "Your function keeps the mean of the gradient's size in v. It is the mean of its square.",
            ),
            Mistake(
                adamw_betas_swapped,
                "Your function has beta1 and beta2 exchanged: beta1 belongs to m, beta2 to v.",
            ),
            Mistake(
                adamw_betas_reversed,
                "Your function weighs the old mean with 1 - beta and what is new with beta. It is the other way round: "
                "beta near 1 means a long memory.",
            ),
            Mistake(
                adamw_decay_in_gradient,
                "Your function adds the decay to the gradient, as Adam with L2 does, so that it goes through m, v and "
                "the root. In AdamW it is apart: w itself loses lr weight_decay w.",
            ),
            Mistake(
                adamw_without_decay,
                "Your function has no weight decay: w loses lr weight_decay w in every step.",
            ),
            Mistake(
                adamw_decay_without_lr,
                "Your function takes weight_decay w away. The decay is multiplied by the learning rate as well.",
            ),
            Mistake(
                adamw_decays_after,
                "Your function takes the decay of the w that the step has changed already. It is that of the w before.",
            ),
            Mistake(
                adamw_eps_inside,
                "Your function adds eps under the root. It is added to the root: sqrt(v^) + eps.",
            ),
            Mistake(
                adamw_eps_before_correction,
                "Your function adds eps to sqrt(v) and corrects afterwards, so that eps is corrected as well. It is "
                "added to sqrt(v^).",
            ),
            Mistake(
                adamw_without_eps,
                "Your function forgets eps in the divisor sqrt(v^) + eps.",
            ),
        ),
    ),
]
