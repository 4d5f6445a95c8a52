"""A run that begins where it first differs from another one of the same ids: what comes before is taken over."""

import numpy as np

from minigpt.gpt2 import GPT2
from minigpt.looking.edited import in_sequence
from minigpt.looking.provenance import TraceWithOrigins
from minigpt.model import gpt2
from minigpt.page.changes import Change, changes_by_name
from minigpt.run import Run
from minigpt.trace import Tap


def first_block_that_differs(changes: list[Change], others: list[Change], n_layer: int) -> int:
    """Return the first block in which two runs of the same ids differ; n_layer if only what follows the blocks does."""
    fields, other_fields = (
        {name: [change.fields for change in group] for name, group in changes_by_name(both).items()}
        for both in (changes, others)
    )
    names = [name for name in fields.keys() | other_fields.keys() if fields.get(name) != other_fields.get(name)]
    return min((_block_of(name, n_layer) for name in names), default=n_layer)


def continued_trace(model: GPT2, ids: list[int], before: TraceWithOrigins, first: int, edits: dict) -> TraceWithOrigins:
    """Return the trace of model(ids, edit=edits), computed from block `first` on, which is 1 to n_layer.

    before: the trace of a run that is the same up to there. Its arrays are shared, and all others are the same to the
    last bit as in a run from the beginning. Raises ValueError for an edit that is never reached.
    """
    trace = TraceWithOrigins()
    for name, array in before.items():
        if _block_of(name, model.config.n_layer) < first:
            trace.take_over(name, array, before.origins[name])
    edits = in_sequence(getattr(model, "edit", {}), edits)
    later = {name: edit for name, edit in edits.items() if name not in trace}
    stream = before[f"h.{first - 1}.resid"]
    recorded = TraceWithOrigins()
    run = _LaterBlocks(first, model.config, model.ops, tap=Tap(recorded, later | {"embed": lambda _: stream}))
    gpt2(np.array([ids]), {**model.params, "h": model.params["h"][first:]}, run)
    run.finish(len(ids))
    for name, array in recorded.items():
        if name != "embed":
            trace.take_over(name, array, recorded.origins[name])
    return trace


class _LaterBlocks(Run):
    """A run of some of the model's blocks, the first of which is block `first`."""

    def __init__(self, first, *arguments, **options):
        super().__init__(*arguments, **options)
        self.first = first

    def in_block(self, layer):
        return super().in_block(self.first + layer)


def _block_of(name, n_layer):
    """Return the block that an activation belongs to: 0 for the embedding, n_layer for what follows the blocks."""
    if name == "embed":
        return 0
    return int(name.split(".")[1]) if name.startswith("h.") else n_layer
