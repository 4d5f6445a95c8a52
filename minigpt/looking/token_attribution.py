"""The logit of a token as a sum over the tokens of the text, through all blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from minigpt.activations import find_activation
from minigpt.looking.attribution import checked_logit, logit_and_readout, logit_title
from minigpt.looking.figures import label_tokens, new_figure, text_style
from minigpt.looking.labels import token_label
from minigpt.looking.why.numbers import PassNumbers
from minigpt.ops.plain import linear
from minigpt.run import copied
from minigpt.training.backward import transformer_block_backward

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_TOKENS = 12  # in the text


class Edge(NamedTuple):
    """One connection of attention: a head in which a later token, the query, takes the value of an earlier one."""

    layer: int
    head: int
    query: int
    weight: float  # the attention weight
    value: float  # what it adds to the logit


@dataclass(frozen=True, eq=False)
class TokenAttribution:
    """What every token of the text adds to a logit, or to the difference of two.

    The sum of by_token, bias and rest is `logit`. rest is what the others do not explain: rounding, unless an
    activation was edited or an operation replaced. Edits of what is held leave no rest: those of mlp.act, of
    attn.weights, and of attn.q, attn.k and attn.scores, from which the weights follow.
    """

    token: str
    other: str | None  # the token whose logit is subtracted
    position: int
    logit: float
    by_token: np.ndarray  # [T]: of its rows of wte and wpe; later tokens than `position` have 0
    bias: float  # of all biases together
    edges: list[Edge | None]  # [T]: through which most of a token's part came to a later token, if any did
    tokens: list[str]  # [T]
    rest: float

    @property
    def title(self) -> str:
        """What is split, such as: logit of "␣time" after 2 "␣a"."""
        return logit_title(self.token, self.other, self.position, self.tokens)

    def __repr__(self):
        largest = np.argsort(-np.abs(self.by_token), kind="stable")
        shown, hidden = largest[:MAX_TOKENS], largest[MAX_TOKENS:]
        lines = [f"{self.title}: {self.logit:.6g}", ""]
        lines += [f"{self.by_token[t]:>+11.4g} {self._described(t)}".rstrip() for t in shown if self.by_token[t]]
        if self.by_token[hidden].any():
            lines.append(f"{self.by_token[hidden].sum():>+11.4g} and {len(hidden)} more, together")
        return "\n".join([*lines, f"{self.bias:>+11.4g} biases", f"{self.rest:>+11.4g} rest"])

    def _described(self, position):
        """Return a token and how most of its part came."""
        label, edge = f'{position} "{token_label(self.tokens[position])[:12]}"', self.edges[position]
        if edge is None:
            return label
        query = f'{edge.query} "{token_label(self.tokens[edge.query])[:12]}"'
        return f"{label:<18} most by h.{edge.layer} head {edge.head}, to {query}"

    def plot(self) -> Figure:
        """Draw what every token adds, and the biases, as bars."""
        T = self.position + 1
        labels, values = [*self.tokens[:T], "biases"], [*self.by_token[:T], self.bias]
        figure = new_figure(min(2 + 0.34 * len(values), 10), 3.2)
        axes = figure.subplots()
        axes.bar(range(T + 1), values, color=["tab:blue" if value > 0 else "tab:red" for value in values])
        axes.axhline(0, color="black", linewidth=0.8)
        label_tokens(axes.xaxis, labels, rotation=90)
        axes.set_ylabel("added to the logit")
        axes.set_title(self.title, size="medium", **text_style())
        return figure


def token_attribution(
    numbers: PassNumbers, token: str | int, other: str | int | None = None, position: int = -1
) -> TokenAttribution:
    """Split a logit over the tokens of the text. See Steps.token_attribution.

    From the logit backwards, block by block, as training/backward.py does it: dx is what each number of the stream
    adds to the logit, and at the embedding  by_token[t] = sum_d dx[t, d] embed[t, d].
    """
    position, token_id, other_id = checked_logit(numbers, token, other, position)
    if "h.0.attn.weights" not in numbers.trace:
        raise ValueError("the replaced attention does not tap its weights: nothing can be followed back through it")
    logit, readout = logit_and_readout(numbers, position, token_id, other_id)
    T, n_layer, params = len(numbers.ids), numbers.config.n_layer, numbers.model.params
    run = FrozenPass(numbers, position + 1)
    dx = np.zeros((1, position + 1, numbers.config.n_embd), numbers.model.dtype)
    dx[0, -1] = readout
    dx = run.layer_norm_backward(dx, run.stream(n_layer), params["ln_f"])
    for layer in reversed(range(n_layer)):
        block = params["h"][layer]  # as grads, too: nothing is added to them
        dx = transformer_block_backward(dx, **block, grads=block, run=run.in_block(layer))

    by_token = np.zeros(T)
    by_token[: position + 1] = np.einsum("btd,btd->t", dx, run.stream(0), dtype=np.float64)
    bias = sum(run.biases)
    edges = [largest_edge(candidates) for candidates in zip(*run.edges, strict=True)]
    return TokenAttribution(
        numbers.tokenizer.token_text(token_id),
        None if other_id is None else numbers.tokenizer.token_text(other_id),
        position,
        logit,
        by_token,
        bias,
        edges + [None] * (T - len(edges)),
        numbers.tokens,
        logit - float(by_token.sum()) - bias,
    )


def largest_edge(edges):
    """Return the Edge of the largest absolute value, or None if none has any."""
    largest = max(edges, key=lambda edge: abs(edge.value))
    return largest if largest.value else None


class FrozenPass:
    """The `run` of a backward pass in which everything that is not linear is held: a Recording in training's place.

    With the attention weights, the gates act / pre of the neurons and the s of the layer norms as constants, the model
    is linear in the embeddings and the biases. The backward pass then hands every number of the result back to them;
    no gradient of a parameter is wanted. T: only the first T tokens take part. biases: what each bias adds. edges: for
    each layer and token the Edge through which most came.
    """

    def __init__(self, numbers, T):
        self.numbers = numbers
        self.n_head = numbers.config.n_head
        self.T = T
        self.biases = []
        self.edges = []

    def in_block(self, layer):
        """Return a copy for one block."""
        inside = copied(self)
        inside.layer = layer
        return inside

    def __getitem__(self, name):
        return self._first_tokens(f"h.{self.layer}.{name}")

    def stream(self, layer):
        """Return the stream that block `layer` reads; for layer = n_layer, the one that ln_f reads."""
        return self._first_tokens(self.numbers.stream(layer))

    def _first_tokens(self, full_name):
        axes = find_activation(full_name).axes
        return self.numbers.trace[full_name][tuple(slice(self.T if axis in "TS" else None) for axis in axes)]

    def dropout_backward(self, name, dy):
        """Return dy: there is no dropout."""
        return dy

    def linear_backward(self, dy, x, params, grads=None):
        """y = x weight + bias;  dy [1, T, out] -> dx [1, T, in]."""
        self._add_bias(dy, params)
        return linear(dy, params["weight"].T)

    def layer_norm_backward(self, dy, x, params, grads=None):
        """y = (x - mean(x)) / s * weight + bias with s held;  dy, x [1, T, D] -> dx = (dn - mean(dn)) / s."""
        self._add_bias(dy, params)
        variance = x.var(axis=-1, keepdims=True)
        dn = dy * params["weight"]
        return (dn - dn.mean(axis=-1, keepdims=True)) / np.sqrt(variance + self.numbers.config.layer_norm_epsilon)

    def _add_bias(self, dy, params):
        self.biases.append(float(dy.sum(axis=(0, 1)) @ params["bias"]))

    def activation_function_backward(self, dy, x):
        """y = x gate with gate = y / x held;  dy, x [1, T, F] -> dx. Where x is 0, so is y: the gate may be any."""
        gate = np.divide(self["mlp.act"], x, out=np.zeros_like(x), where=x != 0)
        return dy * gate

    def attention_backward(self, dheads, q, k, v):
        """heads = weights v with the weights held;  dheads, v [1, H, T, K] -> dq and dk, which are 0, and dv."""
        weights = self["attn.weights"]
        values = np.tril(weights * (dheads @ v.swapaxes(-1, -2)), -1)[0]  # [H, query, key]: added through each
        flat = values.reshape(-1, self.T)
        heads, queries = np.divmod(np.abs(flat).argmax(axis=0), self.T)  # [T], for each key
        places = zip(heads.tolist(), queries.tolist(), range(self.T), strict=True)
        self.edges.append(
            [Edge(self.layer, h, t, float(weights[0, h, t, s]), float(values[h, t, s])) for h, t, s in places]
        )
        nothing = np.zeros_like(dheads)
        return nothing, nothing, weights.swapaxes(-1, -2) @ dheads
