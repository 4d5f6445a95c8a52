"""The formulas of the gradients of the parameters, as in gradients.py, and where each matrix reads and writes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minigpt.looking.why.answer import Factor
from minigpt.looking.why.forward import THIRDS
from minigpt.looking.why.numbers import Sum


def plain_place(name):
    """Return a function that finds number i of token t in an activation [t, d]: its name and index."""
    return lambda at, t, i: (name, (t, i))


def head_place(at, t, i):
    """Return name and index of number i of token t in the heads, side by side."""
    return "attn.heads", (i // at.config.head_size, t, i % at.config.head_size)


def third_place(at, t, o):
    """Return name and index of output o of c_attn for token t, a number of a query, key or value."""
    third, rest = divmod(o, at.config.n_embd)
    return THIRDS[third], (rest // at.config.head_size, t, rest % at.config.head_size)


@dataclass(frozen=True)
class Matrix:
    """What a matrix of a block reads and makes, as functions from token and number to a name and an index."""

    input: Callable
    output: Callable
    input_name: str  # in formulas
    output_name: str


MATRICES = {
    "attn.c_attn": Matrix(plain_place("ln_1"), third_place, "ln_1[t, i]", "qkv[t, o]"),
    "attn.c_proj": Matrix(head_place, plain_place("attn.out"), "heads[t, i]", "attn.out[t, o]"),
    "mlp.c_fc": Matrix(plain_place("ln_2"), plain_place("mlp.pre"), "ln_2[t, i]", "mlp.pre[t, o]"),
    "mlp.c_proj": Matrix(plain_place("mlp.act"), plain_place("mlp.out"), "mlp.act[t, i]", "mlp.out[t, o]"),
}


def factor_at(find, place, at, t, i):
    """Return the Factor of number i of token t: find is at.activation or at.gradient, place a function of a Matrix."""
    name, index = place(at, t, i)
    return find(name, *index)


def weight_of(matrix):
    """Return the formula for the weight of a matrix."""
    which = MATRICES[matrix]

    def formula(at, i, o):
        terms = [
            at.term(
                factor_at(at.activation, which.input, at, t, i),
                factor_at(at.gradient, which.output, at, t, o),
            )
            for t in range(len(at.tokens))
        ]
        return Sum(f"d {matrix}.weight[i, o] = Σ_t {which.input_name} * d {which.output_name}", terms)

    return formula


def bias_of(matrix):
    """Return the formula for the bias of a matrix."""
    which = MATRICES[matrix]

    def formula(at, o):
        gradients = [factor_at(at.gradient, which.output, at, t, o) for t in range(len(at.tokens))]
        return Sum(f"d {matrix}.bias[o] = Σ_t d {which.output_name}", [at.term(gradient) for gradient in gradients])

    return formula


def norm_weight(norm, stream_of):
    """Return the formula for the weight of a layer norm; stream_of(at) is the name of the activation it reads."""

    def formula(at, d):
        x = at.array(stream_of(at)).astype(np.float64)
        inverse = 1 / np.sqrt(x.var(axis=-1) + at.config.layer_norm_epsilon)
        n = (x[:, d] - x.mean(axis=-1)) * inverse
        gradients = [at.gradient(norm, t, d) for t in range(len(n))]
        rounding = (np.abs(x).max(axis=-1) * inverse * [abs(gradient.value) for gradient in gradients]).sum()
        return Sum(
            f"d {norm}.weight[d] = Σ_t d {norm}[t, d] * n[t, d], n = (x - mean) / s, x = {stream_of(at)}",
            [at.term(g, Factor("constant", f"n[{t}, {d}]", float(n[t]))) for t, g in enumerate(gradients)],
            magnitude=float(rounding),
        )

    return formula


def norm_bias(norm):
    """Return the formula for the bias of a layer norm."""

    def formula(at, d):
        gradients = [at.gradient(norm, t, d) for t in range(len(at.tokens))]
        return Sum(f"d {norm}.bias[d] = Σ_t d {norm}[t, d]", [at.term(gradient) for gradient in gradients])

    return formula


def head_terms(at, v, d):
    """Return the terms of a row of the head: each token's gradient of this logit, times what the head read."""
    return [at.term(at.activation("ln_f", t, d), at.gradient("logits", t, v)) for t in range(len(at.tokens))]


def wte(at, v, d):
    read = [at.term(at.gradient("embed", t, d)) for t, token_id in enumerate(at.ids) if token_id == v]
    formula = "d wte.weight[v, d] = Σ_t d embed[t, d], where token t is v"
    if at.head == "wte":
        return Sum(f"{formula}, + Σ_t ln_f[t, d] * d logits[t, v]", [*read, *head_terms(at, v, d)])
    return Sum(formula, read, note="" if read else "The model did not read this token, so its row has no effect.")


def lm_head(at, v, d):
    return Sum("d lm_head.weight[v, d] = Σ_t ln_f[t, d] * d logits[t, v]", head_terms(at, v, d))


def wpe(at, t, d):
    formula = "d wpe.weight[t, d] = d embed[t, d]"
    if t >= len(at.tokens):
        return Sum(formula, [], note="The text is shorter, so this position has no effect.")
    return Sum(formula, [at.term(at.gradient("embed", t, d))])


def stream_before(at):
    """Return the name of the stream that a block reads."""
    return at.stream(at.layer)


NORMS = {
    "ln_1": stream_before,
    "ln_2": lambda at: at.full("resid_mid"),
    "ln_f": lambda at: at.stream(at.config.n_layer),
}
PARAMETER_SUMS = {
    "wte.weight": wte,
    "wpe.weight": wpe,
    "lm_head.weight": lm_head,
    **{f"{matrix}.weight": weight_of(matrix) for matrix in MATRICES},
    **{f"{matrix}.bias": bias_of(matrix) for matrix in MATRICES},
    **{f"{norm}.weight": norm_weight(norm, stream_of) for norm, stream_of in NORMS.items()},
    **{f"{norm}.bias": norm_bias(norm) for norm in NORMS},
}
