"""What a model is made of, as a table: what repr shows in a terminal and a notebook shows as HTML."""

import html
import math

from minigpt.params import flatten, format_of


def parts(model):
    """Return rows (part, shape, number of parameters, what it is) of a GPT2."""
    c = model.config
    sizes = {}
    for name, array in flatten(model.params).items():
        part = name.split(".")[0]
        sizes[part] = sizes.get(part, 0) + math.prod(array.shape)
    blocks = (
        f"{c.n_head} heads of {c.head_size} numbers, MLP {c.n_embd} -> {c.mlp_width} -> {c.n_embd} "
        f"with {c.activation_function}"
    )
    described = {
        "wte": (f"[{c.vocab_size}, {c.n_embd}]", "a vector a token" + ", also the head" * c.tie_word_embeddings),
        "wpe": (f"[{c.n_positions}, {c.n_embd}]", "a vector a position"),
        "h": (f"{c.n_layer} blocks", blocks),
        "ln_f": (f"[{c.n_embd}]", "the last layer norm"),
        "lm_head": (f"[{c.vocab_size}, {c.n_embd}]", "the head"),
    }
    return [(part, described[part][0], sizes[part], described[part][1]) for part in described if part in sizes]


def title(model):
    """Return one line: the model's name, its size, the format of its weights, its operations."""
    name = f" {model.name!r}" if model.name else ""
    form = format_of(model.params["h"][0]["mlp"]["c_fc"]["weight"])
    ops = ", ".join([model.ops.name, *(f"{operation} of your own" for operation in model.ops.replaced)])
    return f"GPT2{name}: {model.num_parameters():,} parameters in {form}, operations: {ops}"


def as_text(model):
    """Return the table for a terminal."""
    lines = [title(model)]
    for part, shape, n, meaning in parts(model):
        lines.append(f"  {part:8}{shape:16}{n:>14,}  {meaning}")
    return "\n".join(lines)


def as_html(model):
    """Return the table for a notebook."""
    left = "style='text-align: left'"
    rows = "".join(
        f"<tr><th>{part}</th><td>{shape}</td><td>{n:,}</td><td {left}>{html.escape(meaning)}</td></tr>"
        for part, shape, n, meaning in parts(model)
    )
    head = f"<tr><th></th><th>shape</th><th>parameters</th><th {left}>what it is</th></tr>"
    return f"<table><caption>{html.escape(title(model))}</caption><thead>{head}</thead><tbody>{rows}</tbody></table>"
