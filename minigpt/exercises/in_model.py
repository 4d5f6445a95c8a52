"""Run a student's function in its place inside a whole GPT-2.

The forward pass is minigpt's, and only the place of the exercise (placing.py) is the student's. The first activation
that differs from an undisturbed run shows where the function goes wrong.
"""

import functools
import time
from collections.abc import Callable

import numpy as np

from minigpt.activations import activation_names, find_activation
from minigpt.bundled import DEFAULT_MODEL
from minigpt.exercises.calling import CALL_SECONDS, call
from minigpt.exercises.catalogue import find_exercise
from minigpt.exercises.exercise import Exercise
from minigpt.exercises.formatting import format_pair, format_value
from minigpt.exercises.placing import WrongResultError
from minigpt.exercises.result import Result
from minigpt.gpt2 import GPT2
from minigpt.tokenizer import Tokenizer

PROMPT = "Once upon a time there was a little"
MAX_NEW_TOKENS = 40
MAX_SPEAKING_SECONDS = 10
TEXT_SECONDS = 60  # time limit of the function for a whole text; each of its calls has CALL_SECONDS
TOLERANCE = 1e-4  # share of an activation's largest number: allows float32 sums in another order


def check_in_model(
    exercise: str | Exercise, function: Callable, model: str = DEFAULT_MODEL, prompt: str = PROMPT
) -> Result:
    """Return the Result of running a GPT-2 with `function` in the place of an exercise (a name or an Exercise).

    It names the first activation that differs from minigpt's own, with layer, head and position. If none does, the
    model continues the prompt through the function. model: a name for GPT2.from_pretrained. Raise ValueError for a name
    without an exercise, and for an exercise without a place in the forward pass.
    """
    exercise = find_exercise(exercise)
    name = exercise.name
    if exercise.in_model is None:
        raise ValueError(f"{name} has no place in the forward pass: use check({name!r}, {name})")
    if not callable(function):
        return Result(name, False, f"{name} must be a function, not {format_value(function)}")
    # Use the formulas, so that only the function differs, and weights that it cannot change by mistake.
    gpt2, tokenizer = GPT2.from_pretrained(model, ops="plain", dtype="float32"), Tokenizer.from_pretrained(model)
    _make_read_only(gpt2.params)
    ids = np.array(tokenizer.encode(prompt))
    pulse = Pulse()
    forward = exercise.in_model(gpt2, _guarded(function, exercise.returns, pulse))

    if wrong := _first_difference(forward, gpt2, ids, pulse):
        return Result(name, False, wrong, (("text", prompt),))
    speech = call(lambda: _continued(forward, ids, gpt2.config), (), uses=None, seconds=TEXT_SECONDS, pulse=pulse)
    text = prompt if speech.problem else tokenizer.decode(speech.value, skip_special_tokens=True)
    # The text is longer now, and what was right for a few tokens may be wrong for more.
    if wrong := _message(speech) or _first_difference(forward, gpt2, speech.value, pulse):
        return Result(name, False, wrong, (("text", text),))
    verdict = f"every activation is the same, and {model} speaks through your function"
    return Result(name, True, verdict, (("text", text),))


class Pulse:
    """When a call of the student's function began last. It is late if that call has not ended in its time."""

    def __init__(self):
        self.began = None  # None between two calls

    def is_late(self):
        """Return whether the call under way takes too long."""
        began = self.began
        return began is not None and time.monotonic() - began > CALL_SECONDS


def _guarded(function, returns, pulse):
    """Return a wrapper of the student's function that copies writable arguments and returns arrays.

    returns: the names of its results, if there are several. pulse: a Pulse that hears of each call. The wrapper raises
    WrongResultError for a result that is not an array of numbers.
    """

    @functools.wraps(function)  # keeps the signature: an attention may have more parameters, see ops.replace_ops
    def guarded(*arguments):
        copies = [a.copy() if isinstance(a, np.ndarray) and a.flags.writeable else a for a in arguments]
        pulse.began = time.monotonic()
        result = function(*copies)
        pulse.began = None
        if returns and isinstance(result, tuple | list):
            if len(result) != len(returns):
                raise WrongResultError(f"it must return {len(returns)} values, {', '.join(returns)}, not {len(result)}")
            return tuple(map(_array_of_numbers, result))
        return _array_of_numbers(result)

    return guarded


def _array_of_numbers(result):
    if result is None:
        raise WrongResultError("it returns None: is a return missing?")
    array = np.asarray(result)
    if array.dtype.kind not in "biuf":
        raise WrongResultError(f"it must return an array of numbers, not a {type(result).__name__}")
    return array


def _first_difference(forward, gpt2, ids, pulse):
    """Return a sentence about the first activation that differs on a text, or another failure; empty if none."""
    expected, found = {}, {}
    gpt2(ids, trace=expected)
    outcome = call(lambda: forward(ids, found), (), uses=None, seconds=TEXT_SECONDS, pulse=pulse)
    for name in activation_names(gpt2.config.n_layer):
        if name in found and (difference := _difference(name, found[name], expected[name])):
            return difference
    return _message(outcome) or _difference("logits", outcome.value, expected["logits"][0])


def _message(outcome):
    return outcome.message.removeprefix(f"{WrongResultError.__name__}: ")


def _continued(forward, ids, config):
    """Return the ids with their most probable continuation, without a cache: few of the functions can use one."""
    deadline, prompt_length = time.monotonic() + MAX_SPEAKING_SECONDS, len(ids)
    while len(ids) < min(prompt_length + MAX_NEW_TOKENS, config.n_positions) and time.monotonic() < deadline:
        ids = np.append(ids, forward(ids, {})[-1].argmax())
        if ids[-1] in config.eos_token_ids:
            break
    return ids


def _make_read_only(tree):
    """Make every array of the tree read-only."""
    for child in tree.values() if isinstance(tree, dict) else tree:
        if isinstance(child, dict | list):
            _make_read_only(child)
        else:
            child.flags.writeable = False


def _difference(name, found, expected):
    """Return a sentence that says where an activation differs first; empty if nowhere."""
    if found.shape != expected.shape:
        return f"{name} has shape {found.shape}, expected {expected.shape}"
    tolerance = TOLERANCE * np.abs(expected).max()
    wrong = ~(np.abs(found - expected) <= tolerance)
    if not wrong.any():
        return ""
    place = tuple(map(int, np.argwhere(wrong)[0]))
    axes = find_activation(name).axes[-found.ndim :]  # the logits of one text have no batch axis
    where = [f"layer {name.split('.')[1]}"] if name.startswith("h.") else []
    words = {"H": "head", "T": "position"}
    where += [f"{words[axis]} {i}" for axis, i in zip(axes, place, strict=True) if axis in words]
    result, wanted = format_pair(found[place], expected[place])
    return f"{name} is the first activation that differs: {', '.join(where)}: {result}, expected {wanted}"
