"""The operations that the forward pass is made of, as sets that can be exchanged.

`plain` holds them as NumPy formulas. `replace_ops` makes a set with some of them replaced by functions of your own.
"""

import inspect
import math
from functools import partial
from types import SimpleNamespace

from minigpt.ops import plain
from minigpt.trace import checked_result

# The operations, and the shape that each one's result must have.
RESULT_SHAPES = {
    "softmax": lambda x: x.shape,
    "gelu_new": lambda x: x.shape,
    "gelu": lambda x: x.shape,
    "relu": lambda x: x.shape,
    "layer_norm": lambda x, weight, bias, eps: x.shape,
    "linear": lambda x, weight, bias=None: (*x.shape[:-1], weight.shape[1]),
    "attention": lambda q, k, v: q.shape,
}


def replace_ops(ops, **functions):
    """The set `ops` with some operations replaced, by name.

    Functions are called with positional arguments: softmax(x), gelu(x), layer_norm(x, weight, bias, eps),
    linear(x, weight, bias) where bias may be None, attention(q, k, v). An attention with parameters called scale,
    padding or tap receives them too; a model or batch that needs what it does not take is refused. A replaced softmax
    works inside the attention of minigpt. Results are converted to the dtype of the first argument. Raises ValueError
    for a name that is no operation, and when called for a result of another shape than it must have.
    """
    for name in functions:
        if name not in RESULT_SHAPES:
            raise ValueError(f"there is no operation {name!r}; the operations are {', '.join(RESULT_SHAPES)}")
    changed = {name: getattr(ops, name) for name in RESULT_SHAPES}
    changed |= {name: _checked(name, function) for name, function in functions.items()}
    if "attention" in functions:
        changed["attention"] = _with_full_arguments(functions["attention"])
    if "softmax" in functions:
        if not _is_ours(changed["attention"]):
            raise ValueError("softmax works inside minigpt's attention, which is replaced by one that does not call it")
        changed["attention"] = partial(plain.attention, softmax=changed["softmax"])
    return SimpleNamespace(**changed)


def _is_ours(attention):
    return getattr(attention, "func", attention) is plain.attention


def _checked(name, function):
    def checked(x, *others, **named):
        arguments = (x, *others, *named.values())  # the forward pass names weight, bias and eps, in this order
        expected = RESULT_SHAPES[name](*arguments)
        if name == "linear" and len(arguments) == 2:
            arguments = (*arguments, None)
        return checked_result(f"the replaced {name}", function(*arguments), expected, x.dtype)

    return checked


def _with_full_arguments(attention):
    """A function of (q, k, v) and perhaps some of scale, padding, tap, as one that is called with all of them."""
    parameters = inspect.signature(attention).parameters
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())

    def adapted(q, k, v, scale, padding, tap):
        options = {"scale": scale, "padding": padding, "tap": tap}
        options = {name: value for name, value in options.items() if takes_all or name in parameters}
        if "scale" not in options and not math.isclose(scale, q.shape[-1] ** -0.5):
            raise ValueError("this model does not scale scores by 1/sqrt(K): attention must take a parameter `scale`")
        if "padding" not in options and padding is not None:
            raise ValueError("prompts of different lengths in one batch: attention must take a parameter `padding`")
        return checked_result("the replaced attention", attention(q, k, v, **options), q.shape, q.dtype)

    return adapted
