"""The forward pass, one activation at a time: what it is, how it was made, and the line of minigpt that made it."""

import ast
import functools
import html
import inspect
import linecache
import math
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minigpt.generation.sampling import top_indices
from minigpt.looking.figures import checked_index
from minigpt.looking.pixels import as_characters, as_image, pooled
from minigpt.looking.source import PRE, file_name
from minigpt.looking.tokens import encode, readable, token_texts
from minigpt.model import GPT2
from minigpt.ops.plain import softmax
from minigpt.run import Run
from minigpt.tokenizer import Tokenizer
from minigpt.trace import Tap

MOST_ROWS, COLUMNS = 5, 64  # of a picture in a terminal
MOST_PIXELS = 192  # columns of one in a notebook

# How each activation is made of those before, and what it is. linear(x, c_fc) = x weight + bias with those of c_fc;
# the stream is what the block is given.
FORMULAS = {
    "embed": ("wte[ids] + wpe[positions]", "a vector for each token: what it is, and where it stands"),
    "ln_1": (
        "layer_norm(stream)",
        "the stream as attention reads it: every vector of mean 0 and variance 1, times a weight, plus a bias",
    ),
    "attn.q": ("linear(ln_1, c_attn), the first third, a part for each head", "queries: what a token looks for"),
    "attn.k": ("linear(ln_1, c_attn), the second third", "keys: what a token is found by"),
    "attn.v": ("linear(ln_1, c_attn), the last third", "values: what a token hands on"),
    "attn.scores": ("{scores}", "how well the query of each token (row) matches every key (column)"),
    "attn.weights": ("softmax(scores, what comes later masked)", "how much a token takes from each; rows sum to 1"),
    "attn.heads": ("weights v", "what each head has gathered for each token"),
    "attn.out": ("linear(heads side by side, c_proj)", "what attention adds to the stream"),
    "resid_mid": ("stream + attn.out", "the stream after attention"),
    "ln_2": ("layer_norm(resid_mid)", "the stream as the MLP reads it"),
    "mlp.pre": ("linear(ln_2, c_fc)", "widened: what the MLP finds in each vector"),
    "mlp.act": ("{activation}(mlp.pre)", "what of it counts"),
    "mlp.out": ("linear(mlp.act, c_proj)", "what the MLP adds to the stream"),
    "resid": ("resid_mid + mlp.out", "the stream after the block"),
    "ln_f": ("layer_norm(stream)", "the stream as the head reads it"),
    "logits": (
        "ln_f {head}ᵀ",
        "how well each vector fits every token of the vocabulary; softmax makes it probabilities",
    ),
}


@dataclass(frozen=True, eq=False)
class Step:
    """One activation of a forward pass."""

    name: str  # h.0.attn.q
    formula: str  # how it was made of the activations before
    meaning: str  # what it is
    array: np.ndarray  # [1, T, numbers] or [1, H, T, numbers]
    file: str  # where it was made: minigpt/model.py
    line: int
    source: str  # what stands there
    tokens: list[str]  # [T]

    @property
    def shape(self):
        return self.array.shape

    @property
    def panels(self):
        """The activation as matrices [T, numbers]: one, or one for every head."""
        return list(self.array[0]) if self.array.ndim == 4 else [self.array[0]]

    @property
    def largest(self):
        return float(np.abs(self.array).max())

    @property
    def is_signed(self):
        return not self.name.endswith("weights")

    def __repr__(self):
        source = textwrap.indent(self.source, "    ")
        head = f"{self.name}  {list(self.shape)}  =  {self.formula}\n    {self.meaning}\n    {self.file}:{self.line}"
        return f"{head}\n{source}\n{self.picture()}"

    def picture(self, most_rows=MOST_ROWS):
        """Bars in a row for each of the last tokens; a stretch for every head, between lines."""
        columns = max(2, COLUMNS // len(self.panels))
        panels = [pooled(panel[-most_rows:], columns) for panel in self.panels]
        lines = []
        for row, token in enumerate(self.tokens[-most_rows:]):
            bars = [as_characters(panel[row], self.largest, self.is_signed) for panel in panels]
            lines.append(f"{readable(token)[:12]:>14} │{'│'.join(bars)}│")
        return "\n".join(lines)

    def _repr_html_(self):
        place = html.escape(f"{self.file}:{self.line}")
        words = (
            f"<div><b><code>{self.name}</code></b> <span style='color:#666'>{list(self.shape)}</span></div>"
            f"<div>= {html.escape(self.formula)}</div><div style='color:#666'>{html.escape(self.meaning)}</div>"
            f"<div style='color:#666; font-size:85%; margin-top:3px'>{place}</div>"
            f"<pre style='{PRE}'>{html.escape(self.source)}</pre>"
        )
        return (
            f"<div style='{CARD}'><div style='flex:1 1 300px; min-width:260px'>{words}</div>"
            f"<div style='flex:0 1 auto'>{self._html_picture()}</div></div>"
        )

    def _html_picture(self):
        T, panels = len(self.tokens), self.panels
        height = max(2, min(14, 280 // T)) * T
        labels = ""
        if T <= 20:  # a row of the picture is as high as a line of text
            lines = "<br>".join(html.escape(readable(token)[:12]) for token in self.tokens)
            style = f"font:11px monospace; line-height:{height / T}px; text-align:right; padding:1px 4px 0 0"
            labels = f"<div style='{style}'>{lines}</div>"
        square = self.name.endswith(("scores", "weights"))
        width = height if square else max(12, 320 // len(panels))
        images = "".join(
            as_image(pooled(panel, MOST_PIXELS // len(panels)), self.largest, width, height, self.is_signed)
            if not square
            else as_image(panel, self.largest, width, height, self.is_signed)
            for panel in panels
        )
        return f"<div style='display:flex'>{labels}<div>{images}</div></div>"


CARD = (
    "display:flex; flex-wrap:wrap; gap:16px; align-items:center; padding:8px 12px; margin:4px 0; "
    "background:#fafafa; color:#222; border:1px solid #e4e4e4; border-radius:4px; text-align:left"
)


class Steps(Sequence):
    """The Steps of a forward pass in their order; steps["h.0.attn.q"] finds one by name.

    next_tokens: the most probable next tokens, pairs (text, probability). print shows block 0 in full, a notebook all.
    """

    def __init__(self, steps, tokens, next_tokens, n_layer):
        self.steps, self.tokens, self.next_tokens, self.n_layer = steps, tokens, next_tokens, n_layer

    def __len__(self):
        return len(self.steps)

    def __getitem__(self, which):
        if not isinstance(which, str):
            return self.steps[which]
        found = [step for step in self.steps if step.name == which]
        if not found:
            raise KeyError(f"no activation is called {which!r}; there are {', '.join(step.name for step in self)}")
        return found[0]

    def block(self, layer):
        """The Steps of a block, a list. Raises ValueError for one that is not there."""
        checked_index("layer", layer, self.n_layer)
        return [step for step in self.steps if step.name.startswith(f"h.{layer}.")]

    def __repr__(self):
        return self.as_text()

    def as_text(self, layer=0, everything=False):
        """One block in full and a line for each other one; or everything. Raises ValueError for an unknown layer."""
        checked_index("layer", layer, self.n_layer)
        parts = [self._head(), repr(self.steps[0])]
        for i in range(self.n_layer):
            block = self.block(i)
            if everything or i == layer:
                parts.extend(map(repr, block))
            else:
                parts.append(f"h.{i}  {len(block)} activations as in h.{layer}; the stream of the last token after it:")
                parts[-1] += f"\n{block[-1].picture(most_rows=1)}"
        parts.extend(map(repr, self.steps[-2:]))
        best = [f"{readable(text)[:12]:>14} {p:.3f} {'█' * round(40 * p)}" for text, p in self.next_tokens]
        parts.append("\n".join(["the most probable next tokens:", *best]))
        return "\n\n".join(parts)

    def _head(self):
        tokens = " ".join(readable(token) for token in self.tokens)
        return (
            f"{len(self.tokens)} tokens: {tokens}\n"
            "pictures: a row a token; from ▁, -m, to █, m, the number farthest from 0; of weights: from 0 to m.\n"
            f"Of several numbers in one place the one farthest from 0; of more than {MOST_ROWS} tokens the last."
        )

    def _repr_html_(self):
        def cards(steps):
            return "".join(step._repr_html_() for step in steps)

        tokens = " ".join(f"<code>{html.escape(readable(token))}</code>" for token in self.tokens)
        parts = [
            f"<div>{len(self.tokens)} tokens: {tokens}</div>"
            "<div style='opacity:0.7'>Pictures: a row a token; blue above 0, white 0, red below.</div>",
            cards(self.steps[:1]),
        ]
        for layer in range(self.n_layer):
            block = self.block(layer)
            title = f"block {layer}: {len(block)} activations"
            state = "" if layer else " open"
            parts.append(f"<details{state}><summary style='cursor:pointer'>{title}</summary>{cards(block)}</details>")
        parts.append(cards(self.steps[-2:]))
        rows = "".join(
            f"<div><code>{html.escape(readable(text))}</code> {p:.3f} <span style='display:inline-block; height:8px; "
            f"background:#2166ac; width:{200 * p:.0f}px'></span></div>"
            for text, p in self.next_tokens
        )
        parts.append(f"<div style='{CARD}; display:block'>The most probable next tokens:{rows}</div>")
        return "".join(parts)


def step(model, text, tokenizer=None):
    """The forward pass on a text, one activation after the other: Steps, to index, to loop over, to print, to show.

    >>> minigpt.step("stories", "Once upon a time")
    >>> minigpt.step(model, "Once upon a time")["h.0.attn.weights"].array

    model: a GPT2 or a name for GPT2.from_pretrained. tokenizer: by default that of the model's name. Every Step has a
    name, formula, meaning, shape, array, file, line and source: where the activation was made is seen while the model
    runs. Raises ValueError for an empty text, and for a model without a name if there is no tokenizer;
    ContextLengthError for a text that is too long.
    """
    if not isinstance(model, GPT2):
        model = GPT2.from_pretrained(model)
    if tokenizer is None:
        if model.name is None:
            raise ValueError("this model was not loaded by a name, which its tokenizer would have, too: give tokenizer")
        tokenizer = Tokenizer.from_pretrained(model.name)
    ids = encode(tokenizer, text)
    tokens = token_texts(tokenizer, ids)
    witness = Witness()
    logits = model(ids, trace=witness)
    steps = [
        Step(name, *described(name, model.config), array, *place_of(*witness.places[name]), tokens)
        for name, array in witness.items()
    ]
    probs = softmax(logits[-1])
    next_tokens = [(tokenizer.decode([i]), float(probs[i])) for i in top_indices(probs, min(5, len(probs)))]
    return Steps(steps, tokens, next_tokens, model.config.n_layer)


# The files between a line that taps an activation and the trace that records it.
PLUMBING = {function.__code__.co_filename for function in (Tap.__call__, Run.__init__)}


class Witness(dict):
    """A trace that also sees which line of which function hands it each activation."""

    def __init__(self):
        super().__init__()
        self.places = {}

    def __setitem__(self, name, activation):
        super().__setitem__(name, activation)
        frame = sys._getframe(1)
        while frame.f_code.co_filename in PLUMBING:
            frame = frame.f_back
        self.places[name] = frame.f_code, frame.f_lineno


@functools.cache
def place_of(code, line):
    """The file, line and source of the statement in which a function taps an activation.

    Where it only taps a variable, the statement that made this variable comes before.
    """
    file = file_name(code.co_filename)
    try:
        lines, first = inspect.getsourcelines(code)
        statements = [n for n in ast.walk(ast.parse(textwrap.dedent("".join(lines)))) if isinstance(n, ast.stmt)]
        statements = [n for n in statements if not hasattr(n, "body")]
        tapping = next(n for n in statements if n.lineno <= line - first + 1 <= n.end_lineno)
    except (OSError, SyntaxError, StopIteration):  # not a file as Python has it, such as a notebook's cell
        return file, line, linecache.getline(code.co_filename, line).strip()
    shown = [tapping]
    for call in ast.walk(tapping):
        if (
            isinstance(call, ast.Call)
            and getattr(call.func, "attr", getattr(call.func, "id", "")) == "tap"
            and isinstance(call.args[1], ast.Name)
        ):
            made = [n for n in statements if n.lineno < tapping.lineno and call.args[1].id in assigned(n)]
            shown = [*made[-1:], tapping]
    text = "".join(line for n in shown for line in lines[n.lineno - 1 : n.end_lineno])
    return file, first + shown[0].lineno - 1, textwrap.dedent(text).rstrip("\n")


def assigned(statement):
    """The names that a statement assigns."""
    return {target.id for target in getattr(statement, "targets", []) if isinstance(target, ast.Name)}


def described(name, config):
    """Formula and meaning of an activation in a model of that configuration."""
    block, layer, part = name.startswith("h."), 0, name
    if block:
        _, layer, part = name.split(".", 2)
    scale = config.attention_scale(int(layer))
    usual = math.isclose(scale, config.head_size**-0.5)
    filled = {
        "scores": "q kᵀ / √K" if usual else f"q kᵀ · {scale:.4g}",
        "activation": config.activation_function,
        "head": "wte" if config.tie_word_embeddings else "lm_head",
    }
    formula, meaning = FORMULAS[part]
    return formula.format(**filled), meaning
