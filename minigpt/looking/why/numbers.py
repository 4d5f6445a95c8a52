"""The numbers of one pass, activations and parameters, by name and index, and sums of products of them."""

import math
import re
from dataclasses import dataclass, field

import numpy as np

from minigpt.activations import activation_names, find_activation
from minigpt.checks import is_integer
from minigpt.looking.labels import token_label, token_texts
from minigpt.looking.why.answer import Factor, Term, Why
from minigpt.looking.why.display import block_of
from minigpt.params import flatten
from minigpt.run import copied

PLACE = re.compile(r"\s*([\w.]+)\s*\[([^\[\]]*)\]\s*")  # h.2.attn.scores[1, 5, 3]
MAX_WRITTEN = 3  # terms written out as numbers
# A traced number differs from its formula, computed in float64, by rounding: in units of the dtype's epsilon.
MAX_ROUNDINGS = 200


@dataclass
class Sum:
    """How a number came about, before its place is known: the fields of a Why, and what rounding can do to it."""

    formula: str
    terms: list[Term]
    also: list[Factor] = field(default_factory=list)
    note: str = ""
    numbers: str | None = None  # None: the largest terms, written out
    magnitude: float | None = None  # rounding is relative to this; None: to the sum of the absolute values
    rounding: float = 0.0  # what comes on top of that, absolute


class PassNumbers:
    """The numbers of a forward pass as Factors.

    trace: every activation by name, [1, ...]. edited: the names of the activations that were edited; replaced: those
    of the operations that were.
    """

    def __init__(self, model, tokenizer, ids, trace, edited=()):
        self.model = model
        self.config = model.config
        self.tokenizer = tokenizer
        self.ids = ids
        self.tokens = token_texts(tokenizer, ids)
        self.trace = trace
        self.edited = tuple(edited)
        self.replaced = model.ops.replaced
        self.params = flatten(model.params)
        self.head = "lm_head" if "lm_head.weight" in self.params else "wte"
        self.layer = None
        self.prefix = ""

    def at(self, name):
        """Return a copy inside the block that a full name belongs to, and the name without its block.

        In the copy, `layer` is that block and names may leave out h.LAYER., as in model.py.
        """
        prefix = block_of(name)
        inside = copied(self)
        inside.prefix, inside.layer = prefix, int(prefix[2:-1]) if prefix else None
        return inside, name.removeprefix(prefix)

    def stream(self, layer):
        """Return the full name of the stream that a block reads; for n_layer, of the one that ln_f reads."""
        return f"h.{layer - 1}.resid" if layer else "embed"

    def full(self, name):
        """Return the full name of an activation or parameter of this block; full names stay as they are."""
        is_full = name.startswith(("h.", "wte", "wpe", "lm_head", "ln_f", "embed", "logits"))
        return name if is_full else self.prefix + name

    def array(self, name):
        """Return an activation without its batch axis."""
        return self.trace[self.full(name)][0]

    def has(self, name):
        """Return whether the pass recorded an activation: a replaced attention may not tap scores and weights."""
        return self.full(name) in self.trace

    def activation(self, name, *index):
        """Return an activation's number as a Factor."""
        return Factor("activation", self.full(name), float(self.array(name)[index]), index)

    def parameter(self, name, *index):
        """Return a parameter's number as a Factor."""
        full = self.full(name)
        array = self.params[full]
        # A packed matrix unpacks one output at a time, and that must be a row of what it stores.
        value = array[index] if array.ndim == 1 else self.row(full, index[0])[index[1]]
        return Factor("parameter", full, float(value), index)

    def row(self, name, i):
        """Return row i of a matrix of parameters, unpacked if it is packed."""
        return np.asarray(self.params[self.full(name)][[i]])[0]

    def column(self, name, j):
        """Return column j of a matrix of parameters, unpacked if it is packed."""
        return np.asarray(self.params[self.full(name)].T[[j]])[0]

    def position_of(self, factor):
        """Return the position of the token that an activation or gradient belongs to: the key's in [h, t, s]."""
        axes = find_activation(factor.name).axes[1:]
        return factor.index[axes.index("S" if "S" in axes else "T")]

    def term(self, *factors, value=None, label=None, position=None):
        """Return the Term of a product of Factors."""
        value = math.prod(factor.value for factor in factors) if value is None else float(value)
        label = " * ".join(factor.label(self.prefix) for factor in factors) if label is None else label
        for factor in factors:
            if factor.kind in ("activation", "gradient"):
                position = self.position_of(factor)
        token = None if position is None else self.tokens[position]
        return Term(value, label, factors, position, token, self.ask)

    def ask(self, factor):
        """Return the Why of an activation that is a factor of a term."""
        return self.why(factor.name, *factor.index)

    def where(self, name, index):
        """Return a phrase that says which tokens an activation's number belongs to."""

        def token(t):
            return f'{t} "{token_label(self.tokens[t])}"'

        axes = find_activation(name).axes[1:]
        if axes == "HTS":
            return f"head {index[0]}, query: token {token(index[1])}, key: token {token(index[2])}"
        if axes == "HTK":
            return f"head {index[0]}, token {token(index[1])}"
        if axes == "TV":
            text = token_label(self.tokenizer.token_text(index[1]))
            return f'after token {token(index[0])}, how well "{text}" fits'
        return f"token {token(index[0])}"

    def place(self, name, index):
        """Return the name and the index of an activation's number, checked, with no negative index.

        "h.2.attn.q[1, 5, 3]" as the name alone is a place, too. Raises ValueError.
        """
        name, index = parsed_place(name, index)
        n_layer = self.config.n_layer
        if name not in activation_names(n_layer):
            raise ValueError(
                f"no activation of a model of {n_layer} blocks is called {name!r}; "
                "minigpt.activations.activation_names lists them"
            )
        if not self.has(name):
            raise ValueError(f"{name} was not recorded: the replaced attention does not tap it")
        axes = find_activation(name).axes[1:].lower()
        return name, checked_index(name, index, self.array(name).shape, axes)


def parsed_place(name, index=()):
    """Split "h.2.attn.q[1, 5, 3]", given as a name alone, into name and index. Raises ValueError."""
    if not isinstance(name, str):
        raise ValueError(f'the name must be a string such as "h.0.attn.q", not {name!r}')
    if index or not set("[]") & set(name):
        return name, index
    match = PLACE.fullmatch(name)
    words = match[2].split(",") if match else [""]
    if not all(re.fullmatch(r"\s*[+-]?[0-9]{1,9}\s*", word) for word in words):
        raise ValueError(f"a place is a name and integers in brackets, as in h.0.attn.q[1, 5, 3], not {name!r}")
    return match[1], tuple(map(int, words))


def checked_index(name, index, shape, axes):
    """Return the index with no negative numbers. axes: a letter for each axis. Raises ValueError."""
    form = f"{name}[{', '.join(axes)}]"
    sizes = " by ".join(map(str, shape))
    if len(index) != len(shape):
        raise ValueError(f"{form} takes {len(shape)} indices ({sizes}), not {len(index)}")
    for axis, i, size in zip(axes, index, shape, strict=True):
        if not is_integer(i) or not -size <= i < size:
            raise ValueError(f"{form} has {sizes} numbers: {axis} must be an integer from 0 to {size - 1}, not {i!r}")
    return tuple(int(i) % size for i, size in zip(index, shape, strict=True))


def finished(numbers, kind, name, index, value, where, found, blame):
    """Return the Why of a number with a Sum. What the terms miss, beyond rounding, becomes a term of its own.

    blame(total) returns the label of that term, and the sentence about it, for what the formula gives.
    """
    terms, note = list(found.terms), found.note
    total = sum(term.value for term in terms)
    magnitude = sum(abs(term.value) for term in terms) if found.magnitude is None else found.magnitude
    dtype = np.finfo(numbers.model.dtype)
    tolerance = MAX_ROUNDINGS * (dtype.eps * magnitude + dtype.tiny) + found.rounding
    if not abs(value - total) <= tolerance:
        label, sentence = blame(total)
        terms.append(numbers.term(value=value - total, label=label))
        note = f"{note} {sentence}".strip()
    terms.sort(key=lambda term: abs(term.value) if np.isfinite(term.value) else np.inf, reverse=True)
    written = _written(value, terms) if found.numbers is None else found.numbers
    return Why(kind, name, index, value, where, found.formula, written, terms, found.also, note)


def written(value):
    """Return a number in four digits, in parentheses if it is negative."""
    return f"({value:.4g})" if value < 0 else f"{value:.4g}"


def _written(value, terms):
    products = [" * ".join(written(f.value) for f in term.factors) or written(term.value) for term in terms]
    more = [f"... ({len(terms) - MAX_WRITTEN} more)"] if len(terms) > MAX_WRITTEN else []
    return f"{value:.4g} = {' + '.join([*products[:MAX_WRITTEN], *more]) or '0'}"
