"""The forward pass, one activation at a time: what it is, how it was made, and the line of minigpt that made it."""

import html
import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

from minigpt.activations import find_activation
from minigpt.checks import require_integer, require_path, require_type, shown
from minigpt.generation.sampling import top_indices
from minigpt.gpt2 import GPT2
from minigpt.looking.attribution import Attribution, attribution
from minigpt.looking.inputs import encode_text
from minigpt.looking.labels import token_label
from minigpt.looking.pixels import as_characters, as_html_image, max_abs_pool
from minigpt.looking.provenance import TraceWithOrigins
from minigpt.looking.source import CARD_STYLE, PRE_STYLE
from minigpt.looking.token_attribution import TokenAttribution, token_attribution
from minigpt.looking.why.answer import Why
from minigpt.looking.why.forward import ForwardNumbers
from minigpt.ops.plain import softmax
from minigpt.tokenizer import Tokenizer

MAX_ROWS = 5  # tokens in a terminal's picture
MAX_CHARACTERS = 64  # in a row of a terminal's picture, over all heads
MAX_PIXELS = 192  # columns in a notebook's picture, over all heads
Edits = dict[str, Callable[[np.ndarray], np.ndarray]]


@dataclass(frozen=True, eq=False)
class Step:
    """One activation of a forward pass."""

    name: str  # h.0.attn.q
    formula: str  # how it follows from earlier activations
    meaning: str  # what it stands for
    array: np.ndarray  # [1, T, numbers] or [1, H, T, numbers]
    file: str  # where it was made, such as minigpt/model.py
    line: int  # in that file
    source: str  # the statement on that line
    tokens: list[str]  # [T]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def panels(self) -> list[np.ndarray]:
        """The activation as matrices [T, numbers]: one, or one per head."""
        return list(self.array[0]) if self.array.ndim == 4 else [self.array[0]]

    @property
    def largest(self) -> float:
        """The largest absolute value."""
        return float(np.abs(self.array).max())

    @property
    def is_signed(self) -> bool:
        """Whether its numbers can be below 0."""
        return not find_activation(self.name).is_probability

    def __repr__(self):
        source = textwrap.indent(self.source, "    ")
        head = f"{self.name}  {list(self.shape)}  =  {self.formula}\n    {self.meaning}\n    {self.file}:{self.line}"
        return f"{head}\n{source}\n{self.picture()}"

    def picture(self, max_rows: int = MAX_ROWS) -> str:
        """Return a row of bars for each of the last tokens, with vertical lines between the heads."""
        n_columns = max(2, MAX_CHARACTERS // len(self.panels))
        panels = [max_abs_pool(panel[-max_rows:], n_columns) for panel in self.panels]
        lines = []
        for row, token in enumerate(self.tokens[-max_rows:]):
            bars = [as_characters(panel[row], self.largest, self.is_signed) for panel in panels]
            lines.append(f"{token_label(token)[:12]:>14} │{'│'.join(bars)}│")
        return "\n".join(lines)

    def _repr_html_(self):
        origin = html.escape(f"{self.file}:{self.line}")
        words = (
            f"<div><b><code>{self.name}</code></b> <span style='color:#666'>{list(self.shape)}</span></div>"
            f"<div>= {html.escape(self.formula)}</div><div style='color:#666'>{html.escape(self.meaning)}</div>"
            f"<div style='color:#666; font-size:85%; margin-top:3px'>{origin}</div>"
            f"<pre style='{PRE_STYLE}'>{html.escape(self.source)}</pre>"
        )
        return (
            f"<div style='{CARD_STYLE}'><div style='flex:1 1 300px; min-width:260px'>{words}</div>"
            f"<div style='flex:0 1 auto'>{self._html_picture()}</div></div>"
        )

    def _html_picture(self):
        T, panels = len(self.tokens), self.panels
        height = max(2, min(14, 280 // T)) * T
        labels = ""
        if T <= 20:  # a row of the picture is as high as a line of text
            lines = "<br>".join(html.escape(token_label(token)[:12]) for token in self.tokens)
            style = f"font:11px monospace; line-height:{height / T}px; text-align:right; padding:1px 4px 0 0"
            labels = f"<div style='{style}'>{lines}</div>"
        if find_activation(self.name).axes.endswith("TS"):  # tokens by tokens: a square
            width = height
        else:
            width = max(12, 320 // len(panels))
            panels = [max_abs_pool(panel, MAX_PIXELS // len(panels)) for panel in panels]
        images = "".join(as_html_image(panel, self.largest, width, height, self.is_signed) for panel in panels)
        return f"<div style='display:flex'>{labels}<div>{images}</div></div>"


class Steps(Sequence):
    """The Steps of a forward pass in their order; steps["h.0.attn.q"] finds one by name.

    next_tokens: the most probable next tokens, pairs (text, probability). print shows block 0 in full; a notebook shows
    every block. `why` shows where one number comes from, `attribution` which parts of the model make a logit,
    `token_attribution` which tokens of the text.
    numbers: the activations and the parameters by name, with the model, the tokenizer and the ids.
    """

    def __init__(self, steps: list[Step], next_tokens: list[tuple[str, float]], numbers: ForwardNumbers):
        self.steps = steps
        self.tokens = numbers.tokens
        self.next_tokens = next_tokens
        self.n_layer = numbers.config.n_layer
        self.numbers = numbers

    def __len__(self):
        return len(self.steps)

    @overload
    def __getitem__(self, index: int | str) -> Step: ...
    @overload
    def __getitem__(self, index: slice) -> list[Step]: ...
    def __getitem__(self, index):
        if not isinstance(index, str):
            return self.steps[index]
        for step in self.steps:
            if step.name == index:
                return step
        raise KeyError(f"no activation is called {index!r}; there are {', '.join(step.name for step in self)}")

    def block(self, layer: int) -> list[Step]:
        """Return the Steps of a block. Raises ValueError for a block that does not exist."""
        require_integer("layer", layer, 0, self.n_layer - 1)
        return [step for step in self.steps if step.name.startswith(f"h.{layer}.")]

    def why(self, name: str, *index: int) -> Why:
        """Return the arithmetic that made one number of an activation: terms that sum to it.

        >>> why = steps.why("h.2.attn.scores", 1, 5, 3)     # or steps.why("h.2.attn.scores[1, 5, 3]")
        >>> why.terms[0].why()                              # where the largest of them comes from

        index: as in steps[name].array[0], without the batch axis: embed [t, d], attn.q [h, t, k], attn.scores
        [h, t, s], mlp.pre [t, f], logits [t, v]. Negative numbers count from the end. Products are computed in float64;
        in float32 the terms sum to the number up to rounding. Raises ValueError for a name or an index that does not
        exist.
        """
        return self.numbers.why(name, *index)

    def attribution(self, token: str | int, other: str | int | None = None, position: int = -1) -> Attribution:
        """Split the logit of a token over the parts of the model: an Attribution with .heads [L, H] and .plot().

        >>> steps.attribution(" time")                      # which heads and MLPs predict it, and what the heads read
        >>> steps.attribution("She", other="He")            # the difference of two logits

        logit = wte + wpe + sum of heads + attn_biases + mlps + ln_f_bias + rest
        The mean and the variance of ln_f are held at their values; what the parts do to them is not counted ("direct
        logit attribution", Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits"). by_token [L, H, T]
        splits every head over the tokens that it reads. token, other: the text of a single token, or its id. position:
        the token after which it stands. Raises ValueError for other arguments, and for an attention that was replaced
        by one that does not tap its weights.
        """
        return attribution(self.numbers, token, other, position)

    def token_attribution(
        self, token: str | int, other: str | int | None = None, position: int = -1
    ) -> TokenAttribution:
        """Split the logit of a token over the tokens of the text: .by_token [T], .edges and .plot().

        >>> steps.token_attribution(" time")                # which words it came from, and through which heads
        >>> steps.token_attribution("She", other="He")      # why the one rather than the other

        logit = sum of by_token + bias + rest
        by_token[t] = embed[t] . d logit / d embed[t], bias = sum over all biases of b . d logit / d b
        These are gradients of a pass in which all that is not linear is held at its value: the attention weights, the
        gates mlp.act / mlp.pre, and the s by which each layer norm divides. ("Gradient x input" of a linearised model;
        layer-wise relevance propagation by the rules of Ali et al. 2022, "XAI for Transformers", for attention and
        norms, and of Achtibat et al. 2024, "AttnLRP", for the activation function.) That another token would have
        changed what is held is not counted. by_token is float64, computed in the model's dtype. Arguments and errors
        are those of `attribution`.
        """
        return token_attribution(self.numbers, token, other, position)

    def __repr__(self):
        return self.as_text()

    def as_text(self, layer: int = 0, everything: bool = False) -> str:
        """Return one block in full and the others in brief, or every block in full.

        Raises ValueError for a block that does not exist.
        """
        require_integer("layer", layer, 0, self.n_layer - 1)
        parts = [self._head(), repr(self.steps[0])]
        for i in range(self.n_layer):
            block = self.block(i)
            if everything or i == layer:
                parts.extend(map(repr, block))
            else:
                parts.append(f"h.{i}  {len(block)} activations as in h.{layer}; the stream of the last token after it:")
                parts[-1] += f"\n{block[-1].picture(max_rows=1)}"
        parts.extend(map(repr, self.steps[-2:]))
        best = [f"{token_label(text)[:12]:>14} {p:.3f} {'█' * round(40 * p)}" for text, p in self.next_tokens]
        parts.append("\n".join(["the most probable next tokens:", *best]))
        return "\n\n".join(parts)

    def _head(self):
        tokens = " ".join(token_label(token) for token in self.tokens)
        return (
            f"{len(self.tokens)} tokens: {tokens}\n"
            "Pictures: one row for each token; ▁ is -m and █ is m, the largest absolute value. Weights begin at 0.\n"
            f"Where numbers share a place, the one farthest from 0 is shown. Only the last {MAX_ROWS} tokens are shown."
        )

    def _repr_html_(self):
        def cards(steps):
            return "".join(step._repr_html_() for step in steps)

        tokens = " ".join(f"<code>{html.escape(token_label(token))}</code>" for token in self.tokens)
        parts = [
            f"<div>{len(self.tokens)} tokens: {tokens}</div>"
            "<div style='opacity:0.7'>Pictures: one row for each token; blue above 0, white 0, red below.</div>",
            cards(self.steps[:1]),
        ]
        for layer in range(self.n_layer):
            block = self.block(layer)
            title = f"block {layer}: {len(block)} activations"
            parts.append(f"<details><summary style='cursor:pointer'>{title}</summary>{cards(block)}</details>")
        parts.append(cards(self.steps[-2:]))
        rows = "".join(
            f"<div><code>{html.escape(token_label(text))}</code> {p:.3f} "
            f"<span style='display:inline-block; height:8px; background:#2166ac; width:{200 * p:.0f}px'></span></div>"
            for text, p in self.next_tokens
        )
        parts.append(f"<div style='{CARD_STYLE}; display:block'>The most probable next tokens:{rows}</div>")
        return "".join(parts)


@overload
def step(model: GPT2 | str, tokenizer: Tokenizer, text: str, *, edit: Edits | None = None) -> Steps: ...
@overload
def step(model: GPT2 | str, text: str, *, edit: Edits | None = None) -> Steps: ...
def step(model, tokenizer=None, text=None, *, edit=None):
    """Run the forward pass on a text and return its activations in order, as Steps.

        step(model, tokenizer, text)
        step(model, text)               the tokenizer is the one that belongs to the model's name

    model: a GPT2, or a name for GPT2.from_pretrained. edit: replaces activations, as in model(ids, edit=edit).

    >>> steps = minigpt.step("stories", "Once upon a time")     # print it, display it, loop over it
    >>> steps["h.0.attn.weights"].array

    Every Step has a name, formula, meaning, shape, array, file, line and source; the last three are found while the
    model runs. Raises ValueError for an empty text, and for a model without a name if there is no tokenizer;
    ContextLengthError for a text that is too long.
    """
    if text is None:
        tokenizer, text = None, tokenizer
    if not isinstance(text, str):
        raise ValueError(
            f"text must be a string, not {shown(text)}: step takes (model, tokenizer, text) or (model, text)"
        )
    require_type("tokenizer", tokenizer, Tokenizer | None, "a Tokenizer")
    if not isinstance(model, GPT2):
        require_path("model", model)
        model = GPT2.from_pretrained(model)
    if tokenizer is None:
        if model.name is None:
            raise ValueError("this model has no name by which to load its tokenizer: give tokenizer")
        tokenizer = Tokenizer.from_pretrained(model.name)
    ids = encode_text(tokenizer, text)
    trace = TraceWithOrigins()
    logits = model(ids, trace=trace, edit=edit)
    numbers = ForwardNumbers(model, tokenizer, ids, trace, edit or ())
    steps = [
        Step(name, *describe(name, model.config), array, *trace.origins[name], numbers.tokens)
        for name, array in trace.items()
    ]
    probs = softmax(logits[-1])
    next_tokens = [(tokenizer.token_text(i), float(probs[i])) for i in top_indices(probs, min(5, len(probs)))]
    return Steps(steps, next_tokens, numbers)


def describe(name, config):
    """Return the formula and the meaning of an activation in a model of this configuration."""
    layer = int(name.split(".")[1]) if name.startswith("h.") else 0
    scale = config.attention_scale(layer)
    is_usual_scale = math.isclose(scale, config.head_size**-0.5)
    formula = find_activation(name).formula.format(
        scores="q kᵀ / √K" if is_usual_scale else f"q kᵀ · {scale:.4g}",
        activation=config.activation_function,
        head="wte" if config.tie_word_embeddings else "lm_head",
    )
    return formula, find_activation(name).meaning
