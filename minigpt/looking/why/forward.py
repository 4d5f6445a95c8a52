"""The formulas of the activations, each as the sum of terms that gives one of its numbers.

`forward_why` finds the formula of a name in FORWARD_SUMS. A formula's first argument is the PassNumbers inside the
block; the others are the number's index, in letters as in model.py, with h a head, t a token (the query), s a key, d,
k, f and v the number in a vector.
"""

import numpy as np

from minigpt.activations import activation_names
from minigpt.looking.why.answer import Factor, Why
from minigpt.looking.why.numbers import PassNumbers, Sum, finished, written
from minigpt.ops import plain
from minigpt.ops.packed import SCALE_GROUP, BFloat16Matrix, Int4Matrix, Int8Matrix

THIRDS = ("attn.q", "attn.k", "attn.v")  # of the columns of c_attn


class ForwardNumbers(PassNumbers):
    """The numbers of a forward pass, of which one can ask why."""

    def why(self, name: str, *index: int) -> Why:
        """Return the arithmetic of one number of an activation. See Steps.why."""
        return forward_why(self, *self.place(name, index))


def forward_why(numbers, name, index):
    """Return the Why of one number of an activation; name and index are checked."""
    inside, short = numbers.at(name)
    found = FORWARD_SUMS[short](inside, *index)
    value = float(numbers.array(name)[index])

    def blame(total):
        return _blame(numbers, name, total)

    return finished(inside, "activation", name, index, value, numbers.where(name, index), found, blame)


def _blame(numbers, name, total):
    result = f"the formula gives {total:.6g} here"
    names = activation_names(numbers.config.n_layer)
    streams = [n for n in names[: names.index(name)] if n.endswith(("resid", "resid_mid"))]
    if name in numbers.edited:
        return "edited", f"{name} was edited: {result}."
    if name.endswith(("resid", "resid_mid")) and (earlier := [n for n in streams if n in numbers.edited]):
        return "edited", f"The stream was edited at {', '.join(earlier)}: {result}."
    if numbers.replaced:
        return "replaced", f"The operation {', '.join(numbers.replaced)} was replaced: {result}."
    return "difference", f"The number is not what the formula gives: {result}."


def embed(at, t, d):
    token_id = at.ids[t]
    terms = [
        at.term(at.parameter("wte.weight", token_id, d), position=t),
        at.term(at.parameter("wpe.weight", t, d), position=t),
    ]
    return Sum("embed[t, d] = wte[ids[t], d] + wpe[t, d]", terms)


def layer_norm(norm, stream_of):
    """Return the formula of a layer norm; stream_of(at) is the name of the activation that it reads."""

    def formula(at, t, d):
        name = stream_of(at)
        vector = at.array(name)[t].astype(np.float64)
        mean, variance = float(vector.mean()), float(vector.var())
        eps = at.config.layer_norm_epsilon
        root = (variance + eps) ** 0.5
        x, weight, bias = at.activation(name, t, d), at.parameter(f"{norm}.weight", d), at.parameter(f"{norm}.bias", d)
        inverse = Factor("constant", "(1 / s)", 1 / root)
        entries = [at.activation(name, t, e) for e in range(len(vector))]
        result = (x.value - mean) / root * weight.value + bias.value
        return Sum(
            f"{norm}[t, d] = (x[t, d] - mean) / s * weight[d] + bias[d], s = √(variance + {eps:g}), x = {name}",
            [
                at.term(x, weight, inverse),
                at.term(Factor("constant", "-mean", -mean), weight, inverse, position=t),
                at.term(bias),
            ],
            [Factor("constant", "mean", mean), Factor("constant", "variance", variance), *entries],
            numbers=f"{result:.4g} = ({x.value:.4g} - {written(mean)}) / √({variance:.4g} + {eps:g}) * "
            f"{written(weight.value)} + {written(bias.value)}",
        )

    return formula


def linear(at, formula, inputs, matrix, column):
    """Return the Sum of output `column` of linear(inputs, **matrix): products and a bias."""
    weights, name = at.column(f"{matrix}.weight", column), at.full(f"{matrix}.weight")
    factors = [Factor("parameter", name, float(w), (i, column)) for i, w in enumerate(weights)]
    terms = [at.term(*pair) for pair in zip(inputs, factors, strict=True)]
    terms.append(at.term(at.parameter(f"{matrix}.bias", column)))
    return Sum(formula, terms, rounding=_rounding(at, inputs, factors))


def _rounding(at, inputs, weights):
    """Return what a kernel may add to a product with a packed matrix by rounding the inputs, see ops/jit."""
    matrix = at.params[weights[0].name]
    if isinstance(matrix, Int4Matrix):
        groups = [slice(i, i + SCALE_GROUP) for i in range(0, len(inputs), SCALE_GROUP)]
        return sum(
            max(abs(x.value) for x in inputs[group]) / 127 * sum(abs(w.value) for w in weights[group])
            for group in groups
        )
    if isinstance(matrix, Int8Matrix):
        largest_integer = 2**6 - 1 if matrix.rounds_inputs else 2**13 - 1  # at least
        return max(abs(x.value) for x in inputs) / largest_integer * sum(abs(w.value) for w in weights)
    if isinstance(matrix, BFloat16Matrix) and matrix.rounds_inputs:
        return 2**-8 * sum(abs(x.value * w.value) for x, w in zip(inputs, weights, strict=True))
    return 0.0


def projection(name):
    """Return the formula of queries, keys or values: a third of linear(ln_1, c_attn), of which each head has a part."""
    third = THIRDS.index(name)

    def formula(at, h, t, k):
        D, K = at.config.n_embd, at.config.head_size
        inputs = [at.activation("ln_1", t, i) for i in range(D)]
        offset = f"{third * D} + " if third else ""
        formula = f"{name}[h, t, k] = Σ_i ln_1[t, i] * c_attn.weight[i, j] + c_attn.bias[j], j = {offset}{K} h + k"
        return linear(at, formula, inputs, "attn.c_attn", third * D + h * K + k)

    return formula


def scores(at, h, t, s):
    scale = Factor("constant", "scale", at.config.attention_scale(at.layer))
    keys = range(at.config.head_size)
    terms = [at.term(at.activation("attn.q", h, t, k), at.activation("attn.k", h, s, k), scale) for k in keys]
    note = f"Token {s} comes after token {t}: the mask hides it, and its weight is 0." if s > t else ""
    return Sum("attn.scores[h, t, s] = Σ_k attn.q[h, t, k] * attn.k[h, s, k] * scale", terms, note=note)


def weights(at, h, t, s):
    formula = "attn.weights[h, t, s] = exp(scores[h, t, s] - max) / Σ_r exp(scores[h, t, r] - max), r from 0 to t"
    if s > t:
        note = f"Token {s} comes after token {t}: the mask hides it, so that its weight is 0."
        return Sum(formula, [], note=note, numbers="0 = exp(-∞)")
    row = at.array("attn.scores")[h, t, : t + 1].astype(np.float64)
    largest = row.max()
    total = np.exp(row - largest).sum()
    score = at.activation("attn.scores", h, t, s)
    value = np.exp(score.value - largest) / total
    constants = [Factor("constant", "max", float(largest)), Factor("constant", "sum", float(total))]
    label = f"exp({score.label(at.prefix)} - max) / sum"
    return Sum(
        formula,
        [at.term(score, *constants, value=value, label=label)],
        [at.activation("attn.scores", h, t, r) for r in range(t + 1) if r != s],
        numbers=f"{value:.4g} = exp({score.value:.4g} - {written(largest)}) / {total:.4g}",
        # exp turns the rounding of its argument into a relative one. An edited score may be -inf.
        magnitude=float(value * (1 + abs(score.value) + abs(largest))) if value else 0.0,
    )


def heads(at, h, t, k):
    formula = "attn.heads[h, t, k] = Σ_s attn.weights[h, t, s] * attn.v[h, s, k], s from 0 to t"
    if not at.has("attn.weights"):
        return Sum(formula, [], note="The replaced attention does not tap its weights.")
    terms = [at.term(at.activation("attn.weights", h, t, s), at.activation("attn.v", h, s, k)) for s in range(t + 1)]
    return Sum(formula, terms)


def attention_out(at, t, d):
    K = at.config.head_size
    inputs = [at.activation("attn.heads", i // K, t, i % K) for i in range(at.config.n_embd)]
    formula = f"attn.out[t, d] = Σ_i attn.heads[h, t, k] * c_proj.weight[i, d] + c_proj.bias[d], i = {K} h + k"
    return linear(at, formula, inputs, "attn.c_proj", d)


def stream(name):
    """Return the formula of resid_mid or resid: all that was added to the stream since it was the embedding."""

    def formula(at, t, d):
        parts = [f"h.{layer}.{part}.out" for layer in range(at.layer + 1) for part in ("attn", "mlp")]
        parts = ["embed", *(parts[:-1] if name == "resid_mid" else parts)]
        added = [at.activation(part, t, d) for part in parts]
        return Sum(
            f"{name}[t, d] = embed[t, d] + every attn.out[t, d] and mlp.out[t, d] up to here",
            [at.term(factor, label=factor.label()) for factor in added],  # of several blocks: in full
        )

    return formula


def mlp_linear(name, read, matrix):
    """Return the formula of an output of one of the MLP's two matrices."""

    def formula(at, t, j):
        inputs = [at.activation(read, t, i) for i in range(at.array(read).shape[-1])]
        out = "f" if name == "mlp.pre" else "d"
        formula = f"{name}[t, {out}] = Σ_i {read}[t, i] * {matrix}.weight[i, {out}] + {matrix}.bias[{out}]"
        return linear(at, formula, inputs, f"mlp.{matrix}", j)

    return formula


def activation_function(at, t, f):
    function = at.config.activation_function
    x = at.activation("mlp.pre", t, f)
    # In the dtype of the pass: far below 0 the formula of gelu has only rounding left.
    y = float(getattr(plain, function)(np.asarray(x.value, at.model.dtype)))
    gate = Factor("constant", f"({function}(x) / x)", y / x.value if x.value else 0.0)
    return Sum(
        f"mlp.act[t, f] = {function}(x), x = mlp.pre[t, f]",
        [at.term(x, gate, value=y)],
        numbers=f"{y:.4g} = {function}({x.value:.4g})",
        magnitude=abs(x.value),
    )


def logits(at, t, v):
    weight = f"{at.head}.weight"
    inputs = [at.activation("ln_f", t, i) for i in range(at.config.n_embd)]
    factors = [Factor("parameter", weight, float(w), (v, i)) for i, w in enumerate(at.row(weight, v))]
    terms = [at.term(*pair) for pair in zip(inputs, factors, strict=True)]
    formula = f"logits[t, v] = Σ_i ln_f[t, i] * {weight}[v, i]"
    return Sum(formula, terms, rounding=_rounding(at, inputs, factors))


FORWARD_SUMS = {
    "embed": embed,
    "ln_1": layer_norm("ln_1", lambda at: at.stream(at.layer)),
    **{name: projection(name) for name in THIRDS},
    "attn.scores": scores,
    "attn.weights": weights,
    "attn.heads": heads,
    "attn.out": attention_out,
    "resid_mid": stream("resid_mid"),
    "ln_2": layer_norm("ln_2", lambda at: at.full("resid_mid")),
    "mlp.pre": mlp_linear("mlp.pre", "ln_2", "c_fc"),
    "mlp.act": activation_function,
    "mlp.out": mlp_linear("mlp.out", "mlp.act", "c_proj"),
    "resid": stream("resid"),
    "ln_f": layer_norm("ln_f", lambda at: at.stream(at.config.n_layer)),
    "logits": logits,
}
