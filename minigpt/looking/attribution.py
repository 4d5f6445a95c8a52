"""The logit of a token as a sum over the parts of the model that wrote to the stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from minigpt.checks import require_integer
from minigpt.looking.figures import DIVERGING_COLOURS, draw_map, label_tokens, new_figure, text_style, write_in_cells
from minigpt.looking.inputs import token_id_of
from minigpt.looking.labels import token_label
from minigpt.looking.why.numbers import PassNumbers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_PARTS = 12  # in the text


@dataclass(frozen=True, eq=False)
class Attribution:
    """What every part of the model adds to a logit, or to the difference of two. The parts sum to `logit`.

    The stream that ln_f reads is a sum, and if its mean and variance are held, ln_f and the head are linear: so each
    part of the stream adds its own number to the logit. by_token splits `heads` once more, over the tokens that each
    head reads. rest is what no part explains: rounding, unless an activation was edited or an operation replaced.
    """

    token: str
    other: str | None  # the token whose logit is subtracted
    position: int
    logit: float
    wte: float  # the row of the token that is read here
    wpe: float  # the row of the position
    heads: np.ndarray  # [L, H]
    attn_biases: np.ndarray  # [L]: of attn.c_proj, which belongs to no head
    mlps: np.ndarray  # [L]
    ln_f_bias: float
    by_token: np.ndarray  # [L, H, T]: later tokens than `position` have 0
    tokens: list[str]  # [T]
    rest: float

    def parts(self) -> dict[str, float]:
        """Return every part by name, in the order of the forward pass; their sum is `logit`."""
        L, H = self.heads.shape
        parts = {"wte": self.wte, "wpe": self.wpe}
        for layer in range(L):
            parts |= {f"h.{layer} head {head}": float(self.heads[layer, head]) for head in range(H)}
            parts[f"h.{layer}.attn.c_proj.bias"] = float(self.attn_biases[layer])
            parts[f"h.{layer}.mlp"] = float(self.mlps[layer])
        return parts | {"ln_f.bias": self.ln_f_bias, "rest": self.rest}

    @property
    def title(self) -> str:
        """What is split, such as: logit of "␣time" after 2 "␣a"."""
        return logit_title(self.token, self.other, self.position, self.tokens)

    def __repr__(self):
        parts = sorted(self.parts().items(), key=lambda part: -abs(part[1]))
        lines = [f"{self.title}: {self.logit:.6g}", ""]
        lines += [f"{value:>+11.4g} {self._described(name)}".rstrip() for name, value in parts[:MAX_PARTS]]
        if rest := parts[MAX_PARTS:]:
            lines.append(f"{sum(value for _, value in rest):>+11.4g} and {len(rest)} more, together")
        return "\n".join(lines)

    def _described(self, name):
        """Return the name of a part; of a head, also the token that it reads most of this from."""
        if " head " not in name:
            return name
        layer, head = (int(number) for number in name.removeprefix("h.").split(" head "))
        source = int(np.abs(self.by_token[layer, head]).argmax())
        value, label = self.by_token[layer, head, source], token_label(self.tokens[source])[:20]
        return f'{name:<12} {value:+.4g} from {source} "{label}"'

    def plot(self) -> Figure:
        """Draw what every head and MLP adds, and at the right from which tokens the heads of each block read it."""
        L, H = self.heads.shape
        T = self.position + 1
        columns = [*(f"head {head}" if H <= 8 else str(head) for head in range(H)), "bias", "MLP"]
        parts = np.column_stack([self.heads, self.attn_biases, self.mlps])
        tokens = self.by_token[..., :T].sum(axis=1)  # [L, T]
        largest = max(np.abs(parts).max(), np.abs(tokens).max()) or 1
        widths = [0.6 * len(columns), min(1 + 0.34 * T, 7)]
        figure = new_figure(2 + sum(widths), 2 + 0.4 * L)
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=widths)
        image = draw_map(left, parts, DIVERGING_COLOURS, largest)
        if H <= 8:
            write_in_cells(left, [[f"{value:.2f}" for value in row] for row in parts], image)
        left.set_xticks(range(len(columns)), columns, rotation=90)
        left.set_yticks(range(L), [f"block {layer}" for layer in range(L)])
        draw_map(right, tokens, DIVERGING_COLOURS, largest)
        label_tokens(right.xaxis, self.tokens[:T], rotation=90)
        right.set_xlabel("read by the heads")
        for axes in (left, right):
            axes.tick_params(length=0)
        left.invert_yaxis()  # the stream flows upwards
        figure.colorbar(image, ax=right).set_label("added to the logit")
        figure.suptitle(self.title, size="medium", **text_style())
        return figure


def logit_title(token, other, position, tokens):
    """Return a phrase for the logit of a token after a position, or for its difference to that of the other."""
    what = f'logit of "{token_label(token)}"'
    if other is not None:
        what = f'{what} minus that of "{token_label(other)}"'
    return f'{what} after {position} "{token_label(tokens[position])}"'


def attribution(
    numbers: PassNumbers, token: str | int, other: str | int | None = None, position: int = -1
) -> Attribution:
    """Split a logit over the parts of the model. See Steps.attribution."""
    (found,) = attributions(numbers, [checked_logit(numbers, token, other, position)])
    return found


def attributions(numbers: PassNumbers, logits: list[tuple[int, int, int | None]]) -> list[Attribution]:
    """Split N logits, each given as (position, token id, id of the token to subtract or None).

    logits[v] = sum_d ln_f[d] head[v, d],  ln_f = (x - mean(x)) / s * weight + bias,  s = sqrt(var(x) + eps)
    With s held, a part c of x adds  sum_d (c[d] - mean(c)) / s * weight[d] head[v, d] = c . direction.
    All of them read each matrix once, which takes most of the time. Memory: N * L * H * T numbers of float64.
    """
    L, H, K = numbers.config.n_layer, numbers.config.n_head, numbers.config.head_size
    N, T = len(logits), len(numbers.ids)
    at = [position for position, _, _ in logits]
    values, readouts = zip(*(logit_and_readout(numbers, *logit) for logit in logits), strict=True)
    readouts = np.stack(readouts)  # [N, D]
    x = numbers.array(numbers.stream(L))[at].astype(np.float64)  # [N, D]
    s = np.sqrt(x.var(axis=-1, keepdims=True) + numbers.config.layer_norm_epsilon)
    directions = readouts * numbers.params["ln_f.weight"] / s
    directions -= directions.mean(axis=-1, keepdims=True)  # reads c - mean(c) from c

    heads, biases, mlps, by_token = np.zeros((N, L, H)), np.zeros((N, L)), np.zeros((N, L)), np.zeros((N, L, H, T))
    for layer in range(L):
        inside, _ = numbers.at(f"h.{layer}.attn.out")
        weight = np.asarray(inside.params[f"h.{layer}.attn.c_proj.weight"])
        reads = (directions @ weight.T).reshape(N, H, K)  # what one of the head's numbers adds to the logit
        heads[:, layer] = (inside.array("attn.heads")[:, at].swapaxes(0, 1) * reads).sum(axis=-1)
        biases[:, layer] = directions @ inside.params[f"h.{layer}.attn.c_proj.bias"]
        mlps[:, layer] = (inside.array("mlp.out")[at] * directions).sum(axis=-1)
        if not inside.has("attn.weights"):
            raise ValueError("the replaced attention does not tap its weights: no head can be split over tokens")
        read = reads.swapaxes(0, 1) @ inside.array("attn.v").swapaxes(1, 2)  # [H, N, T]
        by_token[:, layer] = (inside.array("attn.weights")[:, at] * read).swapaxes(0, 1)

    found = []
    for n, (position, token_id, other_id) in enumerate(logits):
        wte = float(numbers.row("wte.weight", numbers.ids[position]) @ directions[n])
        wpe = float(numbers.row("wpe.weight", position) @ directions[n])
        bias = float(numbers.params["ln_f.bias"] @ readouts[n])
        explained = wte + wpe + bias + heads[n].sum() + biases[n].sum() + mlps[n].sum()
        found.append(
            Attribution(
                numbers.tokenizer.token_text(token_id),
                None if other_id is None else numbers.tokenizer.token_text(other_id),
                position,
                values[n],
                wte,
                wpe,
                heads[n],
                biases[n],
                mlps[n],
                bias,
                by_token[n],
                numbers.tokens,
                values[n] - explained,
            )
        )
    return found


def checked_logit(numbers, token, other, position):
    """Return the position from 0, the id of the token and that of the other or None. Raises ValueError."""
    T, V = numbers.array("logits").shape
    require_integer("position", position, -T, T - 1)
    token_id = token_id_of(numbers.tokenizer, token, "token", V)
    other_id = None if other is None else token_id_of(numbers.tokenizer, other, "other", V)
    return int(position) % T, token_id, other_id


def logit_and_readout(numbers, position, token_id, other_id):
    """Return the logit, or the difference of two, and the vector [D] by which it is read from ln_f, in float64."""
    row, head = numbers.array("logits")[position], f"{numbers.head}.weight"
    if other_id is None:
        return float(row[token_id]), numbers.row(head, token_id).astype(np.float64)
    readout = numbers.row(head, token_id).astype(np.float64) - numbers.row(head, other_id)
    return float(row[token_id] - row[other_id]), readout
