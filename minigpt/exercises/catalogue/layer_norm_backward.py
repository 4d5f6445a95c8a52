"""Exercise layer_norm_backward, notebook 08: the gradients through a layer norm."""

import numpy as np
from hypothesis import strategies as st

from minigpt.exercises.drawing import arrays, sizes, whole_numbers
from minigpt.exercises.exercise import Exercise, Probe


def layer_norm_backward(dy, x, weight, eps):
    """dx = (dn - mean(dn) - n mean(dn n)) / s with dn = dy weight; dweight and dbias sum over the rows."""
    n, s = normalised(x, eps)
    dn = dy * weight
    return (dn - mean(dn) - n * mean(dn * n)) / s, (dy * n).sum(axis=0), dy.sum(axis=0)


def normalised(x, eps):
    """Return n = (x - mean(x)) / s, and s."""
    s = np.sqrt(x.var(axis=-1, keepdims=True) + eps)
    return (x - mean(x)) / s, s


def mean(x):
    return x.mean(axis=-1, keepdims=True)


@st.composite
def vectors(draw, N, D):
    """Draw rows of different integers, whose variance is far above 0."""
    row = st.lists(whole_numbers(-4, 4), min_size=D, max_size=D, unique=True)
    return np.array([draw(row) for _ in range(N)], np.float64)


WEIGHT = st.sampled_from([1.0, 2.0, 0.5, -1.0, -2.0])


@st.composite
def gradients_and_vectors(draw, dy=None, weight=WEIGHT, eps=st.just(1e-8), rows=sizes(1, 3)):
    """Draw dy, x, weight and eps.

    dy: a function of x that returns dy; by default dy is drawn. weight, eps: strategies for the weights and for eps,
    which by default is too small to count.
    """
    N, D = draw(rows), draw(sizes(3, 4))
    x = draw(vectors(N, D))
    weight = draw(arrays(D, elements=weight))
    return (draw(arrays(N, D)) if dy is None else dy(x)), x, weight, draw(eps)


exercise = Exercise(
    name="layer_norm_backward",
    notebook="08_learning",
    order=3,
    signature="layer_norm_backward(dy, x, weight, eps)",
    task="The way back through y = n weight + bias with n = (x - mean(x)) / s and s = sqrt(var(x) + eps), with mean "
    "and variance (1 / D) of each row. Given dy, the gradient of the loss with respect to y, and x [N, D], weight "
    "[D], eps, return dx [N, D], dweight [D] and dbias [D]. With dn = dy weight: dx = (dn - mean(dn) - n mean(dn n)) "
    "/ s, row by row; dweight sums dy n over the rows, dbias sums dy.",
    reference=layer_norm_backward,
    returns=("dx", "dweight", "dbias"),
    probes=(
        Probe(
            "Look at dbias. The bias is added to every row, so its gradient is the sum of dy over all rows.",
            gradients_and_vectors(),
            part=lambda result: result[2],
        ),
        Probe(
            "Look at dweight. In every row the weight multiplies n, so its gradient is the sum of dy n over all rows.",
            gradients_and_vectors(),
            part=lambda result: result[1],
        ),
        Probe(
            "Look at dx. The weights are 1, and dy has the same number everywhere. The mean of n is 0 whatever x is, "
            "so dx is 0.",
            gradients_and_vectors(dy=lambda x: np.full_like(x, 2.0), weight=st.just(1.0)),
            part=lambda result: result[0],
        ),
        Probe(
            "Look at dx. The weights are 1, and dy is x itself. n has the same length whatever x is, and stretching x "
            "changes nothing, so dx is 0 (except for eps, which is tiny here).",
            gradients_and_vectors(dy=lambda x: x.copy(), weight=st.just(1.0)),
            part=lambda result: result[0],
        ),
        Probe(
            "Look at dx. The weights are 1, so dn is dy, and eps is tiny.",
            gradients_and_vectors(weight=st.just(1.0)),
            part=lambda result: result[0],
        ),
        Probe(
            "Look at dx. y is n weight, so the gradient of n is dn = dy weight, and everything else follows from dn.",
            gradients_and_vectors(),
            part=lambda result: result[0],
        ),
        Probe(
            "eps is large here. It is added to the variance before the root is taken.",
            gradients_and_vectors(eps=st.sampled_from([0.5, 2.0])),
        ),
        Probe(
            "Any rows, weights and eps; a weight may be 0.",
            gradients_and_vectors(weight=WEIGHT | st.sampled_from([0.0, 0.125]), eps=st.sampled_from([1e-5, 0.5, 2.0])),
        ),
    ),
)


@exercise.formulation
def layer_norm_backward_in_steps(dy, x, weight, eps):
    s = np.sqrt(x.var(axis=-1, keepdims=True) + eps)
    n = (x - x.mean(axis=-1, keepdims=True)) / s
    dn = dy * weight
    mean_dn = dn.mean(axis=-1, keepdims=True)
    mean_dn_n = (dn * n).mean(axis=-1, keepdims=True)
    dx = (dn - mean_dn - n * mean_dn_n) / s
    dweight = (dy * n).sum(axis=0)
    dbias = dy.sum(axis=0)
    return dx, dweight, dbias


exercise.formulation(layer_norm_backward)


@exercise.mistake(
    "You treat the mean as a constant. Every x of a row changes the mean, and with it all n of the row: the term "
    "-mean(dn) is missing."
)
def ln_constant_mean(dy, x, weight, eps):
    n, s = normalised(x, eps)
    dn = dy * weight
    return (dn - n * mean(dn * n)) / s, (dy * n).sum(axis=0), dy.sum(axis=0)


@exercise.mistake(
    "You treat the variance as a constant. Every x of a row changes it, and with it all n of the row: the term -n "
    "mean(dn n) is missing."
)
def ln_constant_variance(dy, x, weight, eps):
    n, s = normalised(x, eps)
    dn = dy * weight
    return (dn - mean(dn)) / s, (dy * n).sum(axis=0), dy.sum(axis=0)


@exercise.mistake(
    "You treat mean and variance as constants. Every x of a row changes both, and with them all n of the row: the "
    "terms -mean(dn) and -n mean(dn n) are missing."
)
def ln_constant_both(dy, x, weight, eps):
    n, s = normalised(x, eps)
    return dy * weight / s, (dy * n).sum(axis=0), dy.sum(axis=0)


@exercise.mistake("You do not divide dx by s. n is x divided by s, and so is the gradient.")
def ln_not_divided(dy, x, weight, eps):
    n, _ = normalised(x, eps)
    dn = dy * weight
    return dn - mean(dn) - n * mean(dn * n), (dy * n).sum(axis=0), dy.sum(axis=0)


@exercise.mistake("The weight is missing in dx. y is n weight, so the gradient of n is dy weight.")
def ln_without_weight(dy, x, weight, eps):
    n, s = normalised(x, eps)
    return (dy - mean(dy) - n * mean(dy * n)) / s, (dy * n).sum(axis=0), dy.sum(axis=0)


@exercise.mistake(
    "You multiply dx by the weight at the end. On the way back the weight comes first: the means are those of dn = dy "
    "weight."
)
def ln_weight_last(dy, x, weight, eps):
    n, s = normalised(x, eps)
    return weight * (dy - mean(dy) - n * mean(dy * n)) / s, (dy * n).sum(axis=0), dy.sum(axis=0)


@exercise.mistake("You add eps to the standard deviation. Add it to the variance: s = sqrt(var(x) + eps).")
def ln_eps_outside(dy, x, weight, eps):
    s = x.std(axis=-1, keepdims=True) + eps
    n = (x - mean(x)) / s
    dn = dy * weight
    return (dn - mean(dn) - n * mean(dn * n)) / s, (dy * n).sum(axis=0), dy.sum(axis=0)


@exercise.mistake("eps is missing: s = sqrt(var(x) + eps).")
def ln_without_eps(dy, x, weight, eps):
    return layer_norm_backward(dy, x, weight, 0.0)


@exercise.mistake("You compute the variance with 1 / (D - 1). A layer norm has 1 / D.")
def ln_sample_variance(dy, x, weight, eps):
    s = np.sqrt(x.var(axis=-1, keepdims=True, ddof=1) + eps)
    n = (x - mean(x)) / s
    dn = dy * weight
    return (dn - mean(dn) - n * mean(dn * n)) / s, (dy * n).sum(axis=0), dy.sum(axis=0)


@exercise.mistake("You compute dweight with x. The weight multiplies n, the normalised x.")
def ln_dweight_of_x(dy, x, weight, eps):
    dx, _, dbias = layer_norm_backward(dy, x, weight, eps)
    return dx, (dy * x).sum(axis=0), dbias


@exercise.mistake("Your dweight is the gradient of the bias. The weight multiplies n, so each dy counts n times.")
def ln_dweight_of_dbias(dy, x, weight, eps):
    dx, _, dbias = layer_norm_backward(dy, x, weight, eps)
    return dx, dbias, dbias


@exercise.mistake(
    "You take the mean over the rows for dweight and dbias. The effects that a parameter has through several rows add "
    "up: take the sum."
)
def ln_means_of_rows(dy, x, weight, eps):
    dx, dweight, dbias = layer_norm_backward(dy, x, weight, eps)
    return dx, dweight / len(x), dbias / len(x)


@exercise.mistake(
    "You return dweight and dbias for every row. All rows share one weight and one bias: sum over the rows."
)
def ln_rows_not_summed(dy, x, weight, eps):
    return layer_norm_backward(dy, x, weight, eps)[0], dy * normalised(x, eps)[0], dy
