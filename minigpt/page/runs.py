"""Runs of the forward pass with everything that a page shows of them, and the runs that are kept."""

import hashlib
import json
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from minigpt.activations import find_activation
from minigpt.looking.labels import token_texts
from minigpt.looking.provenance import TraceWithOrigins
from minigpt.looking.stepping import describe
from minigpt.page.changes import Change, edit_functions, python_of_run
from minigpt.page.continued import continued_trace, first_block_that_differs
from minigpt.page.models import Loaded, Models

MAX_BYTES = 10**9  # of the traces that are kept
MIN_RUNS = 2  # kept whatever their size: those that a page compares
MAX_KNOWN = 5000  # runs that can be computed again


@dataclass(frozen=True, eq=False)
class PageRun:
    """One run of a model: what was run, and every activation."""

    id: str
    loaded: Loaded
    ids: list[int]
    text: str
    changes: list[Change]
    trace: TraceWithOrigins
    answers: dict = field(default_factory=dict)  # to questions that take long, by question
    answering: threading.Lock = field(default_factory=threading.Lock)  # held while one of them is made

    @property
    def config(self):
        return self.loaded.model.config

    @cached_property
    def n_bytes(self):
        """The memory of the trace, also of arrays that it shares with another run's."""
        return sum(array.nbytes for array in self.trace.values())

    @property
    def encodes(self):
        """Whether the tokenizer makes the ids from the text."""
        try:
            return self.loaded.tokenizer.encode(self.text) == self.ids
        except ValueError:  # a token of several characters, of which one alone is no token
            return False

    @property
    def tokens(self):
        """The text of every token."""
        return token_texts(self.loaded.tokenizer, self.ids)

    def steps(self):
        """Return the description of every activation, in the order of the forward pass."""
        return [self._step(name, array) for name, array in self.trace.items()]

    def _step(self, name, array):
        formula, meaning = describe(name, self.config)
        file, line, source = self.trace.origins[name]
        largest = float(np.abs(array).max())
        activation = find_activation(name)
        return {
            "name": name,
            "shape": list(array.shape[1:]),
            "axes": activation.axes[1:],
            "formula": formula,
            "meaning": meaning,
            "file": file,
            "line": line,
            "source": source,
            "largest": largest if np.isfinite(largest) else None,
            "signed": not activation.is_probability,
        }


class Runs:
    """The runs of all pages, by id. The oldest traces are dropped when there are too many, and computed again if asked.

    A run's id is made from what was run, so two pages that run the same share it. The model runs once at a time,
    because a run uses all cores and Numba's threads serve one caller; kept runs answer meanwhile.
    """

    def __init__(self, models: Models):
        self.models = models
        self.computing = threading.RLock()
        self._lock = threading.Lock()  # of the two dicts, held for moments only
        self._known = OrderedDict()  # what was run, by id
        self._kept = OrderedDict()  # PageRuns by id; the last is the one used last

    def run(self, loaded: Loaded, ids: list[int], text: str, changes: list[Change]) -> PageRun:
        """Run a model, or find the same run among those that are kept. Raises ValueError."""
        for change in changes:
            if change.run:
                self._require_copyable(change, loaded, ids)
        run_id = id_of_run(loaded.name, ids, changes)
        with self._lock:
            self._known[run_id] = (loaded.name, ids, text, changes)
            self._known.move_to_end(run_id)
            while len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)
        return self.find(run_id)

    def find(self, run_id: str) -> PageRun:
        """Return the run of that id, computed again if its trace was dropped. Raises ValueError."""
        found = self._find_kept(run_id)
        if found is None:
            with self.computing:
                # Another thread may have computed it while this one waited.
                found = self._find_kept(run_id) or self._compute(run_id)
        return found

    def forget(self, run_id: str) -> None:
        """Drop the trace of a run. It stays known, because another page may show the same run."""
        with self._lock:
            self._kept.pop(run_id, None)

    def python(self, run: PageRun) -> str:
        """Return Python that does the run."""
        return python_of_run(run, self.find)

    def edits(self, run: PageRun) -> dict:
        """Return the functions of the run's changes, as model(ids, edit=...) takes them."""
        return self._edits(run.changes)

    def _edits(self, changes):
        return edit_functions(changes, lambda other: self.find(other).trace)

    def _find_kept(self, run_id):
        with self._lock:
            for runs in (self._known, self._kept):
                if run_id in runs:
                    runs.move_to_end(run_id)
            return self._kept.get(run_id)

    def _compute(self, run_id):
        with self._lock:
            if run_id not in self._known:
                raise ValueError("this run is not known any more: run the text again")
            name, ids, text, changes = self._known[run_id]
        loaded = self.models.find(name)
        # A change may lead to numbers beyond float32; the page shows them as they are.
        with np.errstate(all="ignore"):
            trace = self._trace(loaded, ids, changes)
        run = PageRun(run_id, loaded, ids, text, changes, trace)
        with self._lock:
            self._kept[run_id] = run
            total = sum(run.n_bytes for run in self._kept.values())
            while total > MAX_BYTES and len(self._kept) > MIN_RUNS:
                total -= self._kept.popitem(last=False)[1].n_bytes
        return run

    def _trace(self, loaded, ids, changes):
        """Return the trace of a run, of which the beginning is taken over from a kept run if there is one like it."""
        edits, n_layer = self._edits(changes), loaded.model.config.n_layer
        with self._lock:
            others = [run for run in self._kept.values() if run.loaded is loaded and run.ids == ids]
        firsts = [first_block_that_differs(changes, run.changes, n_layer) for run in others]
        first = max(firsts, default=0)
        if first:
            return continued_trace(loaded.model, ids, others[firsts.index(first)].trace, first, edits)
        trace = TraceWithOrigins()
        loaded.model(ids, trace=trace, edit=edits)
        return trace

    def _require_copyable(self, change, loaded, ids):
        other = self.find(change.run)
        if other.loaded.name != loaded.name:
            raise ValueError(f"the run to copy from is of another model, {other.loaded.name}")
        if len(other.ids) != len(ids):
            raise ValueError(
                f"the run to copy from has {len(other.ids)} tokens, this one {len(ids)}: a copy needs the same number"
            )


def id_of_run(model_name, ids, changes=()):
    """Return the id of the run of these ids with these changes: the same run always has the same id."""
    described = json.dumps([model_name, ids, [change.fields for change in changes]])
    return hashlib.sha256(described.encode()).hexdigest()[:16]
