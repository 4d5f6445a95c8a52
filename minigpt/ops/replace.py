"""Operations of your own in place of minigpt's."""

import inspect
import math

import numpy as np

from minigpt.checks import require, shown
from minigpt.ops import plain
from minigpt.ops.operations import RESULT_SHAPES, Operations, untapped


def replace_ops(ops, **functions):
    """Return the set `ops` with some operations replaced, by name.

    Functions are called with positional arguments: softmax(x), gelu(x), layer_norm(x, weight, bias, eps),
    linear(x, weight, bias) where bias may be None, attention(q, k, v). An attention with parameters called scale,
    padding or tap receives them, too; without them, a model or batch that needs one is refused at the call. A replaced
    softmax works inside the attention of plain, so only one of the two can be replaced. Results are converted to the
    dtype of the first argument. Raises ValueError for a name that is no operation, and at the call for a result of the
    wrong shape.
    """
    for name in functions:
        require(callable(functions[name]), name, functions[name], "a function")
        if name not in RESULT_SHAPES:
            raise ValueError(f"there is no operation {name!r}; the operations are {', '.join(RESULT_SHAPES)}")
    if functions and {"softmax", "attention"} <= {*functions, *ops.replaced}:
        raise ValueError("softmax works inside minigpt's attention, which is replaced by one that does not call it")
    changed = {
        name: CheckedAttention(function) if name == "attention" else Checked(name, function)
        for name, function in functions.items()
    }
    if "softmax" in functions:
        changed["attention"] = plain.attention  # in a run it calls the set's softmax; the kernels have their own
    ops.start()  # "auto" starts its kernels in its attention, which may now be replaced
    return Operations(ops.name, ops.functions() | changed, ops.compiled, (*ops.replaced, *functions))


def checked_result(source, result, shape, dtype):
    """Return the result of a user's function in the model's dtype. Raises ValueError for another shape."""
    found = getattr(result, "shape", None)
    if found != shape:
        found = shown(result) if found is None else f"an array of shape {found}"
        raise ValueError(f"{source} must return an array of shape {shape}, not {found}")
    # A factor such as 1 / np.sqrt(K) turns float32 into float64; the model goes on in its own dtype.
    return np.asarray(result, dtype)


class Checked:
    """A user's function in place of an operation, as one that takes arguments by name, too; its result is checked."""

    def __init__(self, name, function):
        self.name = name
        self.function = function
        self.parameters = list(inspect.signature(RESULT_SHAPES[name]).parameters)[1:]

    def __call__(self, x, *others, **named):
        if unknown := named.keys() - self.parameters:
            raise TypeError(f"the replaced {self.name} takes no argument {min(unknown)!r}")
        arguments = (x, *others, *(named[parameter] for parameter in self.parameters if parameter in named))
        expected = RESULT_SHAPES[self.name](*arguments)
        if self.name == "linear" and len(arguments) == 2:
            arguments = (*arguments, None)
        return checked_result(f"the replaced {self.name}", self.function(*arguments), expected, x.dtype)


class CheckedAttention:
    """A user's attention of (q, k, v) and any of scale, padding and tap, as one that takes all of them."""

    def __init__(self, function):
        self.function = function
        parameters = inspect.signature(function).parameters
        takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        self.options = [name for name in ("scale", "padding", "tap") if takes_all or name in parameters]

    def __call__(self, q, k, v, scale=None, padding=None, tap=untapped):
        options = {"scale": scale, "padding": padding, "tap": tap}
        options = {name: options[name] for name in self.options}
        if "scale" not in options and scale is not None and not math.isclose(scale, q.shape[-1] ** -0.5):
            raise ValueError("this model does not scale scores by 1/sqrt(K): attention must take a parameter `scale`")
        if "padding" not in options and padding is not None:
            raise ValueError("prompts of different lengths in one batch: attention must take a parameter `padding`")
        return checked_result("the replaced attention", self.function(q, k, v, **options), q.shape, q.dtype)
