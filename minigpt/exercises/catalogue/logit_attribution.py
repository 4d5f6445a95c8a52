"""Exercise logit_attribution, notebook 11: what every part of the stream adds to a logit."""

import numpy as np
from hypothesis import strategies as st

from minigpt.exercises.drawing import arrays, large_input, numbers, sizes, small_integers, whole_numbers
from minigpt.exercises.exercise import Exercise, Probe


def logit_attribution(parts, ln_f, direction, eps):
    """(part - mean(part)) / sigma * weight . direction of every part; sigma is that of the whole stream."""
    return centred(parts) / sigma(parts, eps) * ln_f["weight"] @ direction


def centred(x):
    return x - x.mean(axis=-1, keepdims=True)


def sigma(parts, eps):
    """Return sqrt(var(x) + eps) of the stream x, the sum of the parts."""
    return np.sqrt(parts.sum(axis=0).var() + eps)


def layer_norm(x, ln_f, eps):
    return centred(x) / np.sqrt(x.var(axis=-1, keepdims=True) + eps) * ln_f["weight"] + ln_f["bias"]


ONES, ZEROS = st.just(1.0), st.just(0.0)


@st.composite
def parts_of_a_stream(
    draw,
    N=sizes(1, 3),
    D=sizes(2, 4),
    part=whole_numbers(),
    weight=whole_numbers(),
    bias=whole_numbers(),
    eps=(0.5, 2.0),
):
    """Draw parts [N, D], the parameters of ln_f, a direction [D] and eps. The stream is not constant."""
    N, D = draw(N), draw(D)
    parts = draw(arrays(N, D, elements=part).filter(lambda parts: parts.sum(axis=0).std() > 0.1))
    ln_f = {"weight": draw(arrays(D, elements=weight)), "bias": draw(arrays(D, elements=bias))}
    return parts, ln_f, draw(arrays(D, elements=whole_numbers(-2, 2))), draw(st.sampled_from(eps))


def many_parts(rng):
    """Return 40 parts of a stream of 24 numbers, with the rest of the arguments."""
    ln_f = {"weight": small_integers(rng, 24), "bias": small_integers(rng, 24)}
    return small_integers(rng, 40, 24), ln_f, small_integers(rng, 24), 0.5


one, several = st.just(1), sizes(2, 3)
exercise = Exercise(
    name="logit_attribution",
    notebook="11_looking_inside",
    order=2,
    signature="logit_attribution(parts, ln_f, direction, eps)",
    task="Direct logit attribution: what each part of the stream adds to a logit. The stream x of the last token is "
    "the sum of its parts, and its logit is layer_norm(x, weight, bias, eps) . direction, where direction is a row of "
    "wte, or the difference of two. A layer norm subtracts the mean, which can be done part by part. It divides by "
    "sigma = sqrt(var(x) + eps), which is held: every part is divided by the sigma of the whole stream. So part n adds "
    "((part_n - mean(part_n)) / sigma * weight) . direction. The bias belongs to no part. parts [N, D], ln_f a dict of "
    "weight [D] and bias [D], direction [D] -> [N].",
    reference=logit_attribution,
    probes=(
        Probe(
            "A single part is the whole stream. Weight is 1, bias is 0 and eps is tiny: it adds the whole logit.",
            parts_of_a_stream(one, weight=ONES, bias=ZEROS, eps=(1e-8,)),
        ),
        Probe(
            "Several parts, weight 1, bias 0, a tiny eps. All are divided by one sigma, that of their sum; from each "
            "its own mean is subtracted.",
            parts_of_a_stream(several, weight=ONES, bias=ZEROS, eps=(1e-8,)),
        ),
        Probe(
            "Now eps is 0.5 or 2. It is added to the variance of the stream before the root is taken.",
            parts_of_a_stream(several, weight=ONES, bias=ZEROS),
        ),
        Probe(
            "Now the weight of ln_f counts, number by number.",
            parts_of_a_stream(several, bias=ZEROS),
        ),
        Probe(
            "Now there is a bias. It adds bias . direction to the logit whatever the parts are, so it belongs to none.",
            parts_of_a_stream(several),
        ),
        Probe(
            "Arguments of all kinds, drawn at random.",
            parts_of_a_stream(sizes(1, 4), sizes(2, 5), weight=numbers(), bias=numbers()),
        ),
        large_input(many_parts),
    ),
)


@exercise.formulation
def logit_attribution_in_steps(parts, ln_f, direction, eps):
    x = parts.sum(axis=0)
    sigma = np.sqrt(x.var(axis=-1) + eps)
    centred = parts - parts.mean(axis=-1, keepdims=True)
    scaled = centred / sigma * ln_f["weight"]
    return scaled @ direction


@exercise.mistake(
    "You apply the layer norm to each part by itself. Its sigma is held: every part is divided by that of the whole "
    "stream, or else the attributions do not add up to the logit."
)
def each_part_normed(parts, ln_f, direction, eps):
    return layer_norm(parts, ln_f | {"bias": 0}, eps) @ direction


@exercise.mistake(
    "You apply the whole layer norm to each part, with its bias. Every part is divided by the one sigma of the whole "
    "stream, and the bias belongs to no part."
)
def each_part_normed_with_bias(parts, ln_f, direction, eps):
    return layer_norm(parts, ln_f, eps) @ direction


@exercise.mistake(
    "You add the bias to every part. It is added to the stream once, after the norm, and belongs to no part."
)
def bias_in_every_part(parts, ln_f, direction, eps):
    return logit_attribution(parts, ln_f, direction, eps) + ln_f["bias"] @ direction


@exercise.mistake("You share the bias out among the parts. What it adds to the logit belongs to none of them.")
def bias_shared_out(parts, ln_f, direction, eps):
    return logit_attribution(parts, ln_f, direction, eps) + ln_f["bias"] @ direction / len(parts)


@exercise.mistake(
    "You do not subtract the mean. The layer norm of the stream subtracts mean(x), and that is the sum of the means of "
    "the parts: from each part subtract its own."
)
def mean_not_subtracted(parts, ln_f, direction, eps):
    return parts / sigma(parts, eps) * ln_f["weight"] @ direction


@exercise.mistake(
    "You subtract the mean of the whole stream from every part, so it is subtracted N times. mean(x) is the sum of the "
    "means of the parts: from each part subtract its own."
)
def mean_of_stream_subtracted(parts, ln_f, direction, eps):
    return (parts - parts.sum(axis=0).mean()) / sigma(parts, eps) * ln_f["weight"] @ direction


@exercise.mistake(
    "You subtract an N-th of the mean of the stream from every part. The sum is right, but a part then loses some of "
    "the mean of another: from each part subtract its own mean."
)
def mean_of_stream_shared_out(parts, ln_f, direction, eps):
    return (parts - parts.mean()) / sigma(parts, eps) * ln_f["weight"] @ direction


@exercise.mistake(
    "You subtract the mean over the parts, number by number. A layer norm takes the mean over the D numbers of a "
    "vector: the last axis."
)
def mean_over_parts(parts, ln_f, direction, eps):
    return (parts - parts.mean(axis=0)) / sigma(parts, eps) * ln_f["weight"] @ direction


@exercise.mistake("You leave out the weight of ln_f, which multiplies the normed stream number by number.")
def weight_left_out(parts, ln_f, direction, eps):
    return centred(parts) / sigma(parts, eps) @ direction


@exercise.mistake("You add no eps, or one of your own. sigma is sqrt(var(x) + eps), with the eps that is given.")
def no_eps(parts, ln_f, direction, eps):
    return logit_attribution(parts, ln_f, direction, 0)


@exercise.mistake("You add eps after taking the root. It stands inside: sigma = sqrt(var(x) + eps).")
def eps_outside_root(parts, ln_f, direction, eps):
    return centred(parts) / (sigma(parts, 0) + eps) * ln_f["weight"] @ direction


@exercise.mistake("You divide by the variance. sigma is its root: sqrt(var(x) + eps).")
def divided_by_variance(parts, ln_f, direction, eps):
    return centred(parts) / sigma(parts, eps) ** 2 * ln_f["weight"] @ direction


@exercise.mistake(
    "Your variance divides by D - 1. That of a layer norm is the mean of the squared distances, with 1/D."
)
def variance_of_a_sample(parts, ln_f, direction, eps):
    scale = np.sqrt(parts.sum(axis=0).var(ddof=1) + eps)
    return centred(parts) / scale * ln_f["weight"] @ direction


@exercise.mistake(
    "You take the variance of all numbers of all parts. The layer norm sees only their sum, the stream: first add the "
    "parts up, then take the variance of the D numbers."
)
def variance_of_all_parts(parts, ln_f, direction, eps):
    return centred(parts) / np.sqrt(parts.var() + eps) * ln_f["weight"] @ direction


@exercise.mistake(
    "You leave out the layer norm. The head reads the normed stream, so subtract each part's mean and divide by sigma, "
    "then multiply by the weight."
)
def no_layer_norm(parts, ln_f, direction, eps):
    return parts @ direction


@exercise.mistake(
    "You leave out the division by sigma. It is held fixed, but it is there: sqrt(var(x) + eps) of the stream."
)
def not_divided(parts, ln_f, direction, eps):
    return centred(parts) * ln_f["weight"] @ direction


@exercise.mistake(
    "You take each part away, norm the rest anew, and return how far the logit falls. That is an ablation, in which "
    "sigma changes. An attribution holds sigma, so that the parts add up."
)
def parts_taken_away(parts, ln_f, direction, eps):
    x = parts.sum(axis=0)
    return (layer_norm(x, ln_f, eps) - layer_norm(x - parts, ln_f, eps)) @ direction


@exercise.mistake(
    "You return the sum over all parts, the logit itself without the bias. Return what each part adds, [N]."
)
def sum_over_parts(parts, ln_f, direction, eps):
    return logit_attribution(parts, ln_f, direction, eps).sum()


@exercise.mistake(
    "You return running sums, the logit after each part. Return what each part adds by itself: the steps between them."
)
def running_sums(parts, ln_f, direction, eps):
    return np.cumsum(logit_attribution(parts, ln_f, direction, eps))


@exercise.mistake(
    "You do not sum over the D numbers of a vector. A logit is a product of two vectors: the result has one number for "
    "each part, [N]."
)
def products_not_summed(parts, ln_f, direction, eps):
    return centred(parts) / sigma(parts, eps) * ln_f["weight"] * direction
