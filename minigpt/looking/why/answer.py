"""Where a number comes from: the sum that made it, every term of which can be asked in turn.

`Steps.why` (stepping.py) answers for the activations of a forward pass, `GradientSteps.why` (gradient_steps.py) for the
gradients of a loss. forward.py and gradients.py have the formulas.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from minigpt.looking.why.display import as_html, as_text


@dataclass(frozen=True)
class Factor:
    """One number in a term.

    kind: "activation"; "gradient", the derivative of the loss by what the name and the index say; "parameter"; or
    "constant", which has a name such as "1 / s" and no index.
    """

    kind: str
    name: str  # in full: h.2.attn.q, h.2.attn.c_attn.weight
    value: float
    index: tuple[int, ...] | None = None  # an activation's has no batch axis

    def label(self, block: str = "") -> str:
        """Return the name with its index; names of this block, such as "h.2.", are shortened."""
        name = self.name
        if block and name.startswith(block):
            name = name.removeprefix(block)
            if self.kind == "parameter":
                name = ".".join(name.split(".")[-2:])
        if self.index is not None:
            name = f"{name}{list(self.index)}"
        return f"d {name}" if self.kind == "gradient" else name

    def to_dict(self) -> dict:
        """Return the fields as JSON has them."""
        index = None if self.index is None else list(self.index)
        return {"kind": self.kind, "name": self.name, "index": index, "value": self.value}


@dataclass(frozen=True, eq=False)
class Term:
    """One term of a sum: a product of factors.

    position, token: which token the last activation or gradient among the factors belongs to; for a row of an
    embedding, the token that has it; otherwise None.
    """

    value: float  # what it adds; the product of the factors, except that a weight of attention is exp(..) / sum
    label: str  # ln_1[5, 17] * c_attn.weight[17, 3]
    factors: tuple[Factor, ...]
    position: int | None
    token: str | None
    _ask: Callable[[Factor], Why] = field(repr=False)

    @property
    def askable(self) -> list[Factor]:
        """The factors that were computed in the pass, so that each has a Why of its own; gradients come last."""
        return [f for kind in ("activation", "gradient") for f in self.factors if f.kind == kind]

    def why(self, which: int = -1) -> Why:
        """Return the Why of a factor: askable[which], by default the last.

        That is the gradient in a gradient's term, the value where a weight multiplies it, the key in a score. Raises
        ValueError for a term of parameters and constants alone: there the way ends.
        """
        if not self.askable:
            raise ValueError(f"{self.label} was not computed in this pass: parameters and constants end the way")
        if not -len(self.askable) <= which < len(self.askable):
            raise ValueError(f"{self.label} has {len(self.askable)} factors that can be asked, not a number {which}")
        return self._ask(self.askable[which])

    def to_dict(self) -> dict:
        """Return the fields as JSON has them."""
        factors = [factor.to_dict() for factor in self.factors]
        place = {"position": self.position, "token": self.token}
        return {"value": self.value, "label": self.label, **place, "factors": factors}


@dataclass(frozen=True, eq=False)
class Why:
    """The arithmetic that made one number. The values of its terms sum to the number, up to rounding.

    If an edit or a replaced operation made another number than the formula, the last sentence of `note` says so, and
    a term without factors has the difference.
    """

    kind: str  # "activation", or "gradient": of the loss, by the number at this place
    name: str  # h.2.attn.scores
    index: tuple[int, ...]  # without the batch axis
    value: float
    where: str  # the tokens that the place belongs to
    formula: str
    numbers: str  # the formula with the numbers in it
    terms: list[Term]  # the largest first
    also: list[Factor]  # what else the number depends on: the other scores of a softmax, mean and variance of a norm
    note: str

    def __repr__(self):
        return as_text(self)

    def _repr_html_(self):
        return as_html(self)

    def path(self) -> list[Why]:
        """Return this Why and, as long as there is one, that of the largest term that can be asked.

        The path of an activation ends at an embedding: a row of wte plus one of wpe. That of a gradient ends at the
        gradient of a logit.
        """
        path = [self]
        while askable := [term for term in path[-1].terms if term.askable]:
            path.append(askable[0].why())
        return path

    def to_dict(self) -> dict:
        """Return the fields, with those of the terms, as JSON has them."""
        names = ("kind", "name", "index", "value", "where", "formula", "numbers", "terms", "also", "note")
        fields = {name: getattr(self, name) for name in names}
        lists = {name: [part.to_dict() for part in fields[name]] for name in ("terms", "also")}
        return fields | {"index": list(self.index)} | lists
