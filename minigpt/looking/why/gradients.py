"""The formulas of the gradients, each as the sum of terms that gives one of its numbers: the chain rule.

The gradient of a number is a sum over everything that was computed from it: the gradient of that, times its derivative
by the number. backward.py computes whole arrays of them. Letters and arguments are as in forward.py; i is an input
of a matrix, o an output. parameters.py has the gradients of the parameters.
"""

import numpy as np

from minigpt.looking.labels import token_label
from minigpt.looking.why.answer import Factor
from minigpt.looking.why.numbers import Sum, finished
from minigpt.looking.why.parameters import MATRICES, PARAMETER_SUMS, factor_at
from minigpt.ops.plain import softmax
from minigpt.training import backward


def gradient_why(numbers, name, index):
    """Return the Why of one number of a gradient; name and index are checked."""
    inside, short = numbers.at(name)
    found = GRADIENT_SUMS[short](inside, *index)
    value = float(numbers.gradients[name][index])

    def blame(total):
        return "difference", f"The gradient is not what the formula gives: the formula gives {total:.6g} here."

    return finished(inside, "gradient", name, index, value, numbers.where(name, index), found, blame)


def logits(at, t, v):
    count = Factor("constant", f"(1 / {len(at.targets)})", 1 / len(at.targets))
    row = at.array("logits")[t].astype(np.float64)
    terms = [at.term(Factor("constant", "p", float(softmax(row)[v])), count, position=t)]
    if v == at.targets[t]:
        terms.append(at.term(Factor("constant", "-1", -1.0), count, position=t))
    note = f'The target after token {t} is "{token_label(at.tokenizer.token_text(at.targets[t]))}".'
    formula = "d logits[t, v] = (p - (1 if v is the target, else 0)) / T, p = softmax(logits[t])[v]"
    return Sum(formula, terms, [at.activation("logits", t, v)], note)


def ln_f(at, t, d):
    weight = f"{at.head}.weight"
    column = at.column(weight, d)
    gradients = [at.gradient("logits", t, v) for v in range(len(column))]
    terms = [at.term(g, Factor("parameter", weight, float(column[v]), (v, d))) for v, g in enumerate(gradients)]
    return Sum(f"d ln_f[t, d] = Σ_v d logits[t, v] * {weight}[v, d]", terms)


def through_norm(at, norm, stream, t, d):
    """Return the terms that reach number d of the stream through a layer norm, and what their rounding is relative to.

    y = n weight + bias with n = (x - mean) / s:  dn[e] / dx[d] = ((1 if d = e else 0) - 1 / D - n[d] n[e] / D) / s
    """
    x = at.array(stream)[t].astype(np.float64)
    D, inverse = len(x), 1 / np.sqrt(x.var() + at.config.layer_norm_epsilon)
    n = (x - x.mean()) * inverse
    derivatives = ((np.arange(D) == d) - 1 / D - n[d] * n / D) * inverse
    terms, magnitude = [], 0.0
    for e, derivative in enumerate(derivatives):
        gradient, weight = at.gradient(norm, t, e), at.parameter(f"{norm}.weight", e)
        terms.append(at.term(gradient, weight, Factor("constant", f"(∂n[{e}] / ∂x[{d}])", float(derivative))))
        magnitude += abs(gradient.value * weight.value) * inverse * (1 + abs(n[d] * n[e])) / (1 if e == d else D)
    return terms, float(magnitude)


def stream(name, result, norm):
    """Return the formula of a stream's gradient: it reaches the next sum directly, and through the norm's readers.

    result(at), norm(at): the full names of that sum, or None after the last block, and of the layer norm.
    """

    def formula(at, t, d):
        total, reader = result(at), norm(at)
        terms, magnitude = through_norm(at, reader, name if name == "embed" else at.full(name), t, d)
        direct = [] if total is None else [at.term(at.gradient(total, t, d))]
        words = "" if total is None else f"d {total}[t, d] + "
        return Sum(
            f"d {name}[t, d] = {words}Σ_e d {reader}[t, e] * weight[e] * ∂n[e] / ∂x[d], n = (x - mean) / s",
            [*direct, *terms],
            magnitude=magnitude + sum(abs(term.value) for term in direct),
        )

    return formula


def after_block(layer):
    """Return functions as `stream` takes them, for the stream after block layer(at)."""

    def result(at):
        return None if layer(at) == at.config.n_layer - 1 else f"h.{layer(at) + 1}.resid_mid"

    def norm(at):
        return "ln_f" if layer(at) == at.config.n_layer - 1 else f"h.{layer(at) + 1}.ln_1"

    return result, norm


def summand(name, total):
    """Return the formula for what is added to the stream: its gradient is that of the sum."""
    return lambda at, t, d: Sum(f"d {name}[t, d] = d {total}[t, d]", [at.term(at.gradient(total, t, d))])


def activation_function(at, t, f):
    function = at.config.activation_function
    x = at.activation("mlp.pre", t, f)
    one, number = np.ones((), at.model.dtype), np.asarray(x.value, at.model.dtype)
    slope = float(getattr(backward, f"{function}_backward")(one, number))
    gradient = at.gradient("mlp.act", t, f)
    return Sum(
        f"d mlp.pre[t, f] = d mlp.act[t, f] * {function}'(x), x = mlp.pre[t, f]",
        [at.term(gradient, Factor("constant", f"{function}'(x)", slope))],
        [x],
        magnitude=abs(gradient.value) * (1 + abs(x.value)),
    )


def weights(at, h, t, s):
    keys = range(at.config.head_size)
    terms = [at.term(at.activation("attn.v", h, s, k), at.gradient("attn.heads", h, t, k)) for k in keys]
    note = f"Token {s} comes after token {t}: the mask keeps its weight at 0." if s > t else ""
    return Sum("d attn.weights[h, t, s] = Σ_k attn.v[h, s, k] * d attn.heads[h, t, k]", terms, note=note)


def scores(at, h, t, s):
    formula = (
        "d attn.scores[h, t, s] = Σ_r d weights[h, t, r] * w[s] ((1 if r = s, else 0) - w[r]), r from 0 to t, "
        "w = weights[h, t]"
    )
    if s > t:
        return Sum(formula, [], note=f"Token {s} comes after token {t}: the mask hides it, so its score has no effect.")
    w = at.array("attn.weights")[h, t, : t + 1].astype(np.float64)
    terms, magnitude = [], 0.0
    for r in range(t + 1):
        gradient, derivative = at.gradient("attn.weights", h, t, r), float(w[s] * ((r == s) - w[r]))
        terms.append(at.term(gradient, Factor("constant", f"(∂w[{r}] / ∂score[{s}])", derivative)))
        magnitude += abs(gradient.value) * w[s] * ((r == s) + w[r])
    row = [at.activation("attn.weights", h, t, r) for r in range(t + 1)]
    return Sum(formula, terms, row, magnitude=float(magnitude))


def queries(at, h, t, k):
    scale = Factor("constant", "scale", at.config.attention_scale(at.layer))
    pairs = [(at.activation("attn.k", h, s, k), at.gradient("attn.scores", h, t, s)) for s in range(t + 1)]
    formula = "d attn.q[h, t, k] = Σ_s attn.k[h, s, k] * d attn.scores[h, t, s] * scale, s from 0 to t"
    return Sum(formula, [at.term(*pair, scale) for pair in pairs])


def keys(at, h, s, k):
    scale = Factor("constant", "scale", at.config.attention_scale(at.layer))
    later = range(s, len(at.tokens))
    pairs = [(at.activation("attn.q", h, t, k), at.gradient("attn.scores", h, t, s)) for t in later]
    formula = "d attn.k[h, s, k] = Σ_t attn.q[h, t, k] * d attn.scores[h, t, s] * scale, t from s on"
    return Sum(formula, [at.term(*pair, scale) for pair in pairs])


def values(at, h, s, k):
    later = range(s, len(at.tokens))
    pairs = [(at.activation("attn.weights", h, t, s), at.gradient("attn.heads", h, t, k)) for t in later]
    formula = "d attn.v[h, s, k] = Σ_t attn.weights[h, t, s] * d attn.heads[h, t, k], t from s on"
    return Sum(formula, [at.term(*pair) for pair in pairs])


def input_of(matrix):
    """Return the formula for the input of a matrix; an index [h, t, k] is that of head_place."""

    def formula(at, *index):
        t, i = index if len(index) == 2 else (index[1], index[0] * at.config.head_size + index[2])
        weight, which = f"{matrix}.weight", MATRICES[matrix]
        row, full = at.row(weight, i), at.full(weight)
        gradients = [factor_at(at.gradient, which.output, at, t, o) for o in range(len(row))]
        pairs = zip(gradients, enumerate(row), strict=True)
        return Sum(
            f"d {which.input_name} = Σ_o d {which.output_name} * {weight}[i, o]",
            [at.term(gradient, Factor("parameter", full, float(w), (i, o))) for gradient, (o, w) in pairs],
        )

    return formula


GRADIENT_SUMS = {
    "embed": stream("embed", lambda at: "h.0.resid_mid", lambda at: "h.0.ln_1"),
    "ln_1": input_of("attn.c_attn"),
    "attn.q": queries,
    "attn.k": keys,
    "attn.v": values,
    "attn.scores": scores,
    "attn.weights": weights,
    "attn.heads": input_of("attn.c_proj"),
    "attn.out": summand("attn.out", "resid_mid"),
    "resid_mid": stream("resid_mid", lambda at: at.full("resid"), lambda at: at.full("ln_2")),
    "ln_2": input_of("mlp.c_fc"),
    "mlp.pre": activation_function,
    "mlp.act": input_of("mlp.c_proj"),
    "mlp.out": summand("mlp.out", "resid"),
    "resid": stream("resid", *after_block(lambda at: at.layer)),
    "ln_f": ln_f,
    "logits": logits,
    **PARAMETER_SUMS,
}
