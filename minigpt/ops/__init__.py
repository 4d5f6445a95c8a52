"""The operations that the forward pass is made of, as sets that can be exchanged.

`plain` holds them as NumPy formulas. `replace_ops` makes a set with some of them replaced by functions of your own.
"""

import inspect
import math
from functools import partial
from types import SimpleNamespace

from minigpt.ops import plain

NAMES = ("softmax", "gelu_new", "gelu", "relu", "layer_norm", "linear", "attention")


def replace_ops(ops, **functions):
    """The set `ops` with some operations replaced, by name. Raises ValueError for a name that is no operation.

    A replaced attention may be as simple as f(q, k, v). It receives scale, padding and tap only if it has parameters
    of those names; a model or batch that needs what it does not take is refused. A replaced softmax works inside
    attention.
    """
    for name in functions:
        if name not in NAMES:
            raise ValueError(f"there is no operation {name!r}; the operations are {', '.join(NAMES)}")
    changed = {name: getattr(ops, name) for name in NAMES} | functions
    if "attention" in functions:
        changed["attention"] = _with_full_arguments(functions["attention"])
    elif "softmax" in functions:
        changed["attention"] = partial(plain.attention, softmax=functions["softmax"])
    return SimpleNamespace(**changed)


def _with_full_arguments(attention):
    """A function of (q, k, v) and perhaps some of scale, padding, tap, as one that is called with all of them."""
    parameters = inspect.signature(attention).parameters
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())

    def adapted(q, k, v, scale, padding, tap):
        options = {"scale": scale, "padding": padding, "tap": tap}
        options = {name: value for name, value in options.items() if takes_all or name in parameters}
        if "scale" not in options and not math.isclose(scale, q.shape[-1] ** -0.5):
            raise ValueError(
                "this model does not scale its scores by 1/sqrt(K): attention must take a parameter `scale`"
            )
        if "padding" not in options and padding is not None:
            raise ValueError("prompts of different lengths in one batch: attention must take a parameter `padding`")
        return attention(q, k, v, **options)

    return adapted
