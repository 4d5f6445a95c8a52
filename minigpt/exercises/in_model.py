"""A student's function in its place inside a whole GPT-2.

Where it stands in for an operation it is exchanged for minigpt's own (GPT2.with_ops). Where it stands for a larger
part, or for a smaller one, it computes the activations of that part from those before it, by edits (trace.py). Either
way the forward pass is minigpt's, and the first activation that differs from an undisturbed run shows where the
function goes wrong.
"""

import time

import numpy as np

from minigpt.bundled import DEFAULT_MODEL
from minigpt.cache import KVCache
from minigpt.exercises.calling import call
from minigpt.exercises.checking import find
from minigpt.exercises.result import Result, shown
from minigpt.model import GPT2, merge_heads, split_heads
from minigpt.ops.plain import causal_mask, softmax
from minigpt.tokenizer import Tokenizer
from minigpt.trace import activation_names

PROMPT = "Once upon a time there was a little"
NEW_TOKENS, SECONDS = 40, 10  # how long the model speaks at most
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
    # The formulas, so that nothing but the function differs; and weights that a function cannot change by mistake.
    gpt2, tokenizer = GPT2.from_pretrained(model, ops="plain"), Tokenizer.from_pretrained(model)
    _protect(gpt2.params)
    ids = np.array(tokenizer.encode(prompt))

    expected = {}
    gpt2(ids, trace=expected)
    run = PLACES[name](gpt2, function)
    found = {}
    outcome = call(lambda: run(ids, found), (), uses=None, seconds=60)
    for activation in activation_names(gpt2.config.n_layer):
        if activation in found and (difference := _difference(activation, found[activation], expected[activation])):
            return Result(exercise.name, False, difference, (("text", prompt),))
    if outcome.problem:
        return Result(exercise.name, False, outcome.message, (("text", prompt),))
    if difference := _difference("logits", outcome.value, expected["logits"][0, -len(outcome.value) :]):
        return Result(exercise.name, False, difference, (("text", prompt),))
    verdict = f"every activation is the same, and {model} speaks through your function"
    return Result(exercise.name, True, verdict, (("text", _speech(run, ids, tokenizer, gpt2.config)),))


def _speech(run, ids, tokenizer, config):
    """The most probable continuation; without a cache, which few of the functions know."""
    deadline, n = time.monotonic() + SECONDS, len(ids)
    while len(ids) < min(n + NEW_TOKENS, config.n_positions) and time.monotonic() < deadline:
        ids = np.append(ids, run(ids, {})[-1].argmax())
        if ids[-1] in config.eos_token_ids:
            break
    return tokenizer.decode(ids, skip_special_tokens=True)


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
    values = f"{shown(found[place])}, expected {shown(expected[place])}"
    return f"{name} is the first activation that differs: {', '.join(where)}: {values}"


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
        return np.stack([[function(*head) for head in zip(*sequence, strict=True)] for sequence in sequences])

    return _operation("attention")(model, attention)


def _scores(model, function):
    def attention(q, k, v, tap):
        sequences = zip(q, k, strict=True)
        scores = np.stack([[function(*head) for head in zip(*sequence, strict=True)] for sequence in sequences])
        scores = tap("scores", np.asarray(scores, q.dtype))  # [B, H, T, T]
        weights = tap("weights", softmax(np.where(causal_mask(q.shape[2], k.shape[2]), scores, -np.inf)))
        return weights @ v

    return _operation("attention")(model, attention)


def _causal_mask(model, function):
    def attention(q, k, v, tap):
        scores = tap("scores", q @ k.swapaxes(-1, -2) * q.dtype.type(q.shape[-1] ** -0.5))
        weights = tap("weights", softmax(np.where(function(q.shape[2]), scores, -np.inf)))
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

            def edit(_, before=before, after=after, block=block):
                computed = np.asarray(compute(function, remembered[before], block, n_head), model.dtype)
                remembered[after] = computed.copy()
                return computed

            edits[after] = edit
        return edits

    return _edited(make)


def _embeddings(model, function, remembered):
    wte, wpe = model.params["wte"]["weight"], model.params["wpe"]["weight"]
    return {"embed": lambda _: np.asarray(function(remembered["ids"], wte, wpe))[None]}


def _split_heads(model, function, remembered):
    names = [f"h.{i}.attn.{part}" for i in range(model.config.n_layer) for part in "qkv"]
    return {name: lambda heads: function(merge_heads(heads), model.config.n_head) for name in names}


def _merge_heads(model, function, remembered):
    names = [f"h.{i}.attn.heads" for i in range(model.config.n_layer)]
    return {name: lambda heads: split_heads(function(heads), model.config.n_head) for name in names}


def _gpt2(model, function):
    return lambda ids, trace: np.asarray(function(ids, model.params, model.config.n_head))


def _cached_attention(model, function):
    """The text in three pieces: what fits before, several tokens at once, and the last one alone."""

    def attention(q, k, v):
        past = k.shape[2] - q.shape[2]
        sequences = zip(q, k, v, strict=True)
        return np.stack([function(q, k[:, past:], v[:, past:], k[:, :past], v[:, :past])[0] for q, k, v in sequences])

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
