"""A student's function in its place inside a whole GPT-2.

Where it stands in for an operation it is exchanged for minigpt's own (GPT2.with_ops). Where it stands for a larger
part, or for a smaller one, it computes the activations of that part from those before it, by edits (trace.py). Either
way the forward pass is minigpt's, and the first activation that differs from an undisturbed run shows where the
function goes wrong.
"""

import functools
import time

import numpy as np

from minigpt.bundled import DEFAULT_MODEL
from minigpt.cache import KVCache
from minigpt.exercises.calling import call
from minigpt.exercises.checking import find
from minigpt.exercises.result import Result, shown, shown_apart
from minigpt.model import GPT2, merge_heads, split_heads
from minigpt.ops.plain import causal_mask, softmax
from minigpt.tokenizer import Tokenizer
from minigpt.trace import activation_names

PROMPT = "Once upon a time there was a little"
NEW_TOKENS, SECONDS = 40, 10  # how long the model speaks at most
TIME_LIMIT = 60  # seconds that the function may take for a whole text
TOLERANCE = 1e-4  # of an activation's largest number: single precision, added up in another order


def in_model(name, function, model=DEFAULT_MODEL, prompt=PROMPT):
    """A Result of a GPT-2 with `function` in the place of what the exercise of that name asks for.

    It names the first activation that differs from minigpt's own, with layer, head and position; if none does, the
    model continues the prompt through the function. model: a name for GPT2.from_pretrained. Raises ValueError for a
    name without an exercise or without a place in the forward pass.
    """
    exercise = find(name)
    if name not in PLACES:
        raise ValueError(f"{name} has no place in the forward pass: check({name!r}, {name}) is all there is to it")
    if not callable(function):
        return Result(exercise.name, False, f"{exercise.name} must be a function, not {shown(function)}")
    # The formulas, so that nothing but the function differs; and weights that a function cannot change by mistake.
    gpt2, tokenizer = GPT2.from_pretrained(model, ops="plain", dtype="float32"), Tokenizer.from_pretrained(model)
    _protect(gpt2.params)
    ids = np.array(tokenizer.encode(prompt))
    run = PLACES[name](gpt2, _handed_in(function, exercise.returns))

    if wrong := _wrong(run, gpt2, ids):
        return Result(exercise.name, False, wrong, (("text", prompt),))
    spoken = call(lambda: _speech(run, ids, gpt2.config), (), uses=None, seconds=TIME_LIMIT)
    text = prompt if spoken.problem else tokenizer.decode(spoken.value, skip_special_tokens=True)
    # The text is longer now: what was right for a few tokens need not be for more.
    if wrong := _in_words(spoken) or _wrong(run, gpt2, spoken.value):
        return Result(exercise.name, False, wrong, (("text", text),))
    verdict = f"every activation is the same, and {model} speaks through your function"
    return Result(exercise.name, True, verdict, (("text", text),))


class WrongResult(Exception):
    """What a function returned cannot stand in its place; the text says why."""


def _handed_in(function, returns):
    """The student's function, which gets copies of what it could write into, and whose lists become arrays.

    returns: the names of its results, if there are several. Raises WrongResult for what is no array of numbers.
    """

    @functools.wraps(function)  # an attention may have more parameters, as ops.replace_ops says
    def run(*arguments):
        result = function(*(a.copy() if isinstance(a, np.ndarray) and a.flags.writeable else a for a in arguments))
        if returns and isinstance(result, tuple | list):
            if len(result) != len(returns):
                raise WrongResult(f"it must return {len(returns)} things, {', '.join(returns)}, not {len(result)}")
            return tuple(map(_numbers, result))
        return _numbers(result)

    return run


def _numbers(result):
    if result is None:
        raise WrongResult("it returns None: is there a return?")
    array = np.asarray(result)
    if array.dtype.kind not in "biuf":
        raise WrongResult(f"it must return an array of numbers, not a {type(result).__name__}")
    return array


def _fitting(result, shape):
    """The result, if it has that shape. Raises WrongResult."""
    if result.shape != shape:
        raise WrongResult(f"it returns an array of shape {result.shape}, expected {shape}")
    return result


def _wrong(run, gpt2, ids):
    """What goes wrong on a text, as a sentence; empty if nothing does."""
    expected, found = {}, {}
    gpt2(ids, trace=expected)
    outcome = call(lambda: run(ids, found), (), uses=None, seconds=TIME_LIMIT)
    for activation in activation_names(gpt2.config.n_layer):
        if activation in found and (difference := _difference(activation, found[activation], expected[activation])):
            return difference
    return _in_words(outcome) or _difference("logits", outcome.value, expected["logits"][0])


def _in_words(outcome):
    return outcome.message.removeprefix(f"{WrongResult.__name__}: ")


def _speech(run, ids, config):
    """The ids with the most probable continuation; without a cache, which few of the functions know."""
    deadline, n = time.monotonic() + SECONDS, len(ids)
    while len(ids) < min(n + NEW_TOKENS, config.n_positions) and time.monotonic() < deadline:
        ids = np.append(ids, run(ids, {})[-1].argmax())
        if ids[-1] in config.eos_token_ids:
            break
    return ids


def _protect(tree):
    """Nobody writes into these arrays any more."""
    for child in tree.values() if isinstance(tree, dict) else tree:
        if isinstance(child, dict | list):
            _protect(child)
        else:
            child.flags.writeable = False


AXES = {"q": "bht", "k": "bht", "v": "bht", "heads": "bht", "scores": "bht", "weights": "bht"}


def _difference(name, found, expected):
    """Where an activation differs first, as a sentence; empty if nowhere."""
    if found.shape != expected.shape:
        return f"{name} has shape {found.shape}, expected {expected.shape}"
    tolerance = TOLERANCE * np.abs(expected).max()
    wrong = ~(np.abs(found - expected) <= tolerance)
    if not wrong.any():
        return ""
    place = tuple(map(int, np.argwhere(wrong)[0]))
    parts = name.split(".")
    axes = AXES.get(parts[-1], "bt" if found.ndim == 3 else "t")
    where = [f"layer {parts[1]}"] if parts[0] == "h" else []
    where += [f"head {i}" for axis, i in zip(axes, place, strict=False) if axis == "h"]
    where += [f"position {i}" for axis, i in zip(axes, place, strict=False) if axis == "t"]
    result, wanted = shown_apart(found[place], expected[place])
    return f"{name} is the first activation that differs: {', '.join(where)}: {result}, expected {wanted}"


# ---------------------------------------------------------------- the places
# Each makes run(ids [T], trace) > logits [T, V] of a model with the function in its place.


def _operation(name):
    def place(model, function):
        changed = model.with_ops(**{name or model.config.activation_function: function})
        return lambda ids, trace: changed(ids, trace=trace)

    return place


def _linear(model, function):
    # The head has no bias, and an exercise's linear always has one.
    return _operation("linear")(
        model, lambda x, w, b: function(x, w, np.zeros(w.shape[1], w.dtype) if b is None else b)
    )


def _attention_head(model, function):
    def attention(q, k, v):
        sequences = zip(q, k, v, strict=True)
        one = q.shape[2:]
        heads = [[_fitting(function(*head), one) for head in zip(*sequence, strict=True)] for sequence in sequences]
        return np.array(heads)

    return _operation("attention")(model, attention)


def _scores(model, function):
    def attention(q, k, v, tap):
        sequences = zip(q, k, strict=True)
        one = q.shape[2], k.shape[2]
        scores = [[_fitting(function(*head), one) for head in zip(*sequence, strict=True)] for sequence in sequences]
        scores = tap("scores", np.array(scores, q.dtype))  # [B, H, T, T]
        weights = tap("weights", softmax(np.where(causal_mask(q.shape[2], k.shape[2]), scores, -np.inf)))
        return weights @ v

    return _operation("attention")(model, attention)


def _causal_mask(model, function):
    def attention(q, k, v, tap):
        scores = tap("scores", q @ k.swapaxes(-1, -2) * q.dtype.type(q.shape[-1] ** -0.5))
        visible = _fitting(function(q.shape[2]), (q.shape[2], q.shape[2]))
        weights = tap("weights", softmax(np.where(visible, scores, -np.inf)))
        return weights @ v

    return _operation("attention")(model, attention)


def _edited(make):
    """A place by edits: make(model, function, remembered) > {activation: edit}, `remembered` being what came before."""

    def place(model, function):
        def run(ids, trace):
            remembered = {"ids": ids}
            return model(ids, trace=trace, edit=make(model, function, remembered))

        return run

    return place


def _remember(remembered, name):
    def keep(activation):
        remembered[name] = activation.copy()
        return activation

    return keep


def _part(source, target, compute):
    """In every block, `target` is computed by compute(function, the activation `source`, the block's parameters, H)."""

    def make(model, function, remembered):
        edits, n_head = {}, model.config.n_head
        for i, block in enumerate(model.params["h"]):
            before, after = source(i), f"h.{i}.{target}"
            if before not in edits:
                edits[before] = _remember(remembered, before)

            def edit(activation, before=before, after=after, block=block):
                computed = compute(function, remembered[before], block, n_head)
                computed = np.asarray(_fitting(computed, activation.shape), model.dtype)
                remembered[after] = computed.copy()
                return computed

            edits[after] = edit
        return edits

    return _edited(make)


def _embeddings(model, function, remembered):
    wte, wpe = model.params["wte"]["weight"], model.params["wpe"]["weight"]
    return {"embed": lambda embed: _fitting(function(remembered["ids"], wte, wpe), embed.shape[1:])[None]}


def _split_heads(model, function, remembered):
    names = [f"h.{i}.attn.{part}" for i in range(model.config.n_layer) for part in "qkv"]
    return {
        name: lambda heads: _fitting(function(merge_heads(heads), model.config.n_head), heads.shape) for name in names
    }


def _merge_heads(model, function, remembered):
    names = [f"h.{i}.attn.heads" for i in range(model.config.n_layer)]
    n_head = model.config.n_head
    return {
        name: lambda heads: split_heads(_fitting(function(heads), merge_heads(heads).shape), n_head) for name in names
    }


def _gpt2(model, function):
    V = len(model.params["wte"]["weight"])
    return lambda ids, trace: _fitting(function(ids, model.params, model.config.n_head), (len(ids), V))


def _cached_attention(model, function):
    """The text in three pieces: what fits before, several tokens at once, and the last one alone."""

    def attention(q, k, v):
        past = k.shape[2] - q.shape[2]

        def heads(q, k, v):
            results = function(q, k[:, past:], v[:, past:], k[:, :past], v[:, :past])
            if not isinstance(results, tuple):
                raise WrongResult("it must return 3 things, heads, k_cache, v_cache, not an array alone")
            return _fitting(results[0], q.shape)

        return np.array([heads(*sequence) for sequence in zip(q, k, v, strict=True)])

    changed = model.with_ops(attention=attention)

    def run(ids, trace):
        cache = KVCache(model.config, dtype=model.dtype)
        first, last = max(1, len(ids) - 4), max(1, len(ids) - 1)
        pieces = [piece for piece in np.split(ids, sorted({first, last})) if len(piece)]
        return np.concatenate([changed(piece, cache=cache) for piece in pieces])

    return run


PLACES = {
    "embeddings": _edited(_embeddings),
    "softmax": _operation("softmax"),
    "causal_mask": _causal_mask,
    "scores": _scores,
    "attention_head": _attention_head,
    "split_heads": _edited(_split_heads),
    "merge_heads": _edited(_merge_heads),
    "attention": _operation("attention"),
    "multi_head_attention": _part(
        lambda i: f"h.{i}.ln_1",
        "attn.out",
        lambda function, x, block, n_head: function(x, block["attn"]["c_attn"], block["attn"]["c_proj"], n_head),
    ),
    "linear": _linear,
    "gelu": _operation(None),
    "layer_norm": _operation("layer_norm"),
    "mlp": _part(
        lambda i: f"h.{i}.ln_2",
        "mlp.out",
        lambda function, x, block, n_head: function(x, block["mlp"]["c_fc"], block["mlp"]["c_proj"]),
    ),
    "block": _part(
        lambda i: f"h.{i - 1}.resid" if i else "embed",
        "resid",
        lambda function, x, block, n_head: function(x, block, n_head),
    ),
    "gpt2": _gpt2,
    "cached_attention": _cached_attention,
}
