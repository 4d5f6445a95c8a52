"""The changes of a run: from what the page sends to an edit for model(ids, edit=...), and to Python that does it."""

from dataclasses import dataclass

from minigpt.activations import activation_names, find_activation
from minigpt.page.fields import as_slices, index_field, integer_field, list_field, number_field, shortened, text_field

KINDS = ("zero", "scale", "copy", "set")
MAX_CHANGES = 64  # in one run


@dataclass(frozen=True)
class Change:
    """One change of an activation: at `index`, which has an integer or None (all) for each axis but the batch's.

    number: the factor of "scale", the value of "set". run: the id of the run that "copy" takes the numbers from.
    fields: the change as the page described it, without what has no meaning for its kind.
    """

    kind: str
    name: str
    index: tuple[int | None, ...]
    number: float | None
    run: str | None
    fields: dict

    @property
    def slices(self):
        """The index as NumPy takes it, of the array with its batch axis; no more of it than is needed."""
        index = list(self.index)
        while index and index[-1] is None:
            index.pop()
        return (slice(None), *as_slices(index))

    def apply(self, x, other=None):
        """Change x in place. other: the same activation of the other run, for "copy"."""
        if self.kind == "zero":
            x[self.slices] = 0
        elif self.kind == "scale":
            x[self.slices] *= self.number
        elif self.kind == "set":
            x[self.slices] = self.number
        else:
            x[self.slices] = other[self.slices]

    def python(self, other=None):
        """Return the statement that changes x. other: the Python variable with the trace of the other run."""
        place = f"[{', '.join(':' if isinstance(i, slice) else str(i) for i in self.slices)}]"
        if self.kind == "zero":
            return f"x{place} = 0"
        if self.kind == "scale":
            return f"x{place} *= {self.number!r}"
        if self.kind == "set":
            return f"x{place} = {self.number!r}"
        return f'x{place} = {other}["{self.name}"]{place}'


def read_changes(question, config, n_tokens):
    """Return the Changes of a question for a run of that many tokens. Raises ValueError."""
    changes = list_field(question, "changes", MAX_CHANGES, default=[])
    return [_read_change(fields, config, n_tokens) for fields in changes]


def activation_shape(name, config, n_tokens):
    """Return the shape of an activation without its batch axis. Raises ValueError for an unknown name."""
    if name not in activation_names(config.n_layer):
        raise ValueError(f"this model has no activation {shortened(name)}: it has {config.n_layer} blocks")
    sizes = {"T": n_tokens, "S": n_tokens, "H": config.n_head, "K": config.head_size, "D": config.n_embd}
    sizes |= {"F": config.mlp_width, "V": config.vocab_size}
    return tuple(sizes[letter] for letter in find_activation(name).axes if letter != "B")


def _read_change(fields, config, n_tokens):
    if not isinstance(fields, dict):
        raise ValueError(f"a change must be an object, not {shortened(fields)}")
    kind, name = fields.get("kind"), text_field(fields, "name")
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {shortened(kind)}")
    shape = activation_shape(name, config, n_tokens)
    axes = find_activation(name).axes[1:]
    kept = {"kind": kind, "name": name}
    if fields.get("index") is not None:
        index = index_field(fields, "index", shape, name)
        kept["index"] = list(index)
    elif kind == "set":
        raise ValueError("set needs an index: the number that it sets")
    else:
        index = [None] * len(shape)
        kept |= {"head": fields.get("head"), "position": fields.get("position")}
        if kept["position"] is not None:
            index[axes.index("T")] = integer_field(fields, "position", 0, n_tokens - 1)
        if kept["head"] is not None:
            if "H" not in axes:
                raise ValueError(f"{name} has no heads: leave out head")
            index[axes.index("H")] = integer_field(fields, "head", 0, config.n_head - 1)
    number = run = None
    if kind in ("scale", "set"):
        field = "factor" if kind == "scale" else "value"
        number = kept[field] = number_field(fields, field)
    if kind == "copy":
        run = kept["run"] = text_field(fields, "run")
    return Change(kind, name, tuple(index), number, run, kept)


def edit_functions(changes, trace_of):
    """Return {name: edit} for model(ids, edit=...). trace_of: a function from a run's id to its trace."""
    return {name: _edit_function(group, trace_of) for name, group in changes_by_name(changes).items()}


def _edit_function(changes, trace_of):
    others = [trace_of(change.run)[change.name] if change.run else None for change in changes]

    def edit(x):
        for change, other in zip(changes, others, strict=True):
            change.apply(x, other)
        return x

    return edit


def changes_by_name(changes):
    """Return {name: [Change, ...]}, in their order."""
    groups = {}
    for change in changes:
        groups.setdefault(change.name, []).append(change)
    return groups


def python_of_run(run, find_run):
    """Return Python that does a run, given `model` and `tokenizer`: its last line is the call of the model.

    run: has ids, text, encodes (whether the tokenizer makes the ids from the text) and changes. find_run: a function
    from a run's id to such an object, for the runs that changes copy from; those are run first.
    """
    blocks, traces = [], {}

    def trace_variable(run_id):
        if run_id not in traces:
            other = find_run(run_id)
            call = _python_of_call(other, trace_variable, blocks, "other_ids")
            traces[run_id] = variable = f"trace_{len(traces) + 1}"
            blocks.append(f"{variable} = {{}}\nmodel(other_ids, trace={variable}{call})")
        return traces[run_id]

    call = _python_of_call(run, trace_variable, blocks, "ids")
    blocks.append(f"logits = model(ids{call})" if call else "trace = {}\nlogits = model(ids, trace=trace)")
    spaced = [f"\n{block}\n" if block.startswith("def") else block for block in blocks]
    return "\n".join(spaced).replace("\n\n\n", "\n\n")


def _python_of_call(run, trace_variable, blocks, ids):
    """Append to the blocks what a call of the model needs before it; return its edit argument or ""."""
    bodies = {
        name: [change.python(trace_variable(change.run) if change.run else None) for change in group]
        for name, group in changes_by_name(run.changes).items()
    }
    source = f"tokenizer.encode({run.text!r})" if run.encodes else f"{run.ids}"
    blocks.append(f"{ids} = {source}")
    for name, statements in bodies.items():
        lines = "".join(f"    {statement}\n" for statement in statements)
        blocks.append(f"def {_function_name(name)}(x):\n{lines}    return x")
    edits = ", ".join(f'"{name}": {_function_name(name)}' for name in bodies)
    return f", edit={{{edits}}}" if edits else ""


def _function_name(name):
    return f"edit_{name.replace('.', '_')}"
