"""How large activations are over many texts: the mean, the spread and the extremes of every number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from minigpt.activations import activation_names, find_activation
from minigpt.gpt2 import GPT2
from minigpt.looking.figures import new_figure
from minigpt.looking.inputs import encode_text
from minigpt.tokenizer import Tokenizer

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class ActivationStatistics:
    """The statistics of one activation over all tokens; every array has one entry for each of its numbers.

    The arrays are [D], [F] or [V] for an activation [B, T, numbers], and [H, K] for one of heads. For scores and
    weights [B, H, T, S] they are [H]: the statistics are those of all pairs of tokens that the mask lets through.
    zeros: the share of values that are exactly 0. std is that of the values themselves: it divides by their count.
    """

    count: int  # of values: tokens, or pairs of tokens
    mean: np.ndarray
    std: np.ndarray
    min: np.ndarray
    max: np.ndarray
    zeros: np.ndarray

    @property
    def overall(self) -> ActivationStatistics:
        """The same statistics of all numbers together: scalars in place of arrays."""
        mean = self.mean.mean()
        variance = (self.std**2 + (self.mean - mean) ** 2).mean()
        count = self.count * self.mean.size
        return ActivationStatistics(count, mean, np.sqrt(variance), self.min.min(), self.max.max(), self.zeros.mean())


class Statistics(dict):
    """{name of an activation: its ActivationStatistics}. print shows a table of the overall statistics.

    n_tokens: how many tokens all texts have.
    """

    def __init__(self, by_name: dict[str, ActivationStatistics], n_tokens: int):
        super().__init__(by_name)
        self.n_tokens = n_tokens

    def __repr__(self):
        width = max(map(len, self))
        lines = [f"{self.n_tokens} tokens".ljust(width) + "".join(f"{head:>10}" for head in COLUMNS)]
        for name, statistics in self.items():
            overall = statistics.overall
            numbers = "".join(f"{getattr(overall, column):10.3g}" for column in COLUMNS)
            lines.append(f"{name:{width}}{numbers}")
        return "\n".join(lines)

    def plot(self) -> Figure:
        """Draw the overall statistics of each activation, block by block.

        The dot is the mean, the thick line goes one standard deviation up and down, the thin one from min to max.
        """
        panels = {}  # {"resid": {"0": statistics of h.0.resid, ...}}
        for name, statistics in self.items():
            activation = find_activation(name)
            block = name.split(".")[1] if activation.in_block else ""
            panels.setdefault(activation.name, {})[block] = statistics.overall
        n_columns = min(4, len(panels))
        n_rows = -(-len(panels) // n_columns)
        figure = new_figure(0.5 + 2.3 * n_columns, 0.3 + 1.7 * n_rows)
        grid = figure.subplots(n_rows, n_columns, squeeze=False)
        for axes in grid.flat[len(panels) :]:
            axes.set_axis_off()
        for axes, (name, blocks) in zip(grid.flat, panels.items(), strict=False):
            x, overall = range(len(blocks)), blocks.values()
            axes.vlines(x, [one.min for one in overall], [one.max for one in overall], lw=1)
            mean, std = [one.mean for one in overall], [one.std for one in overall]
            axes.errorbar(x, mean, std, fmt="o", elinewidth=4, markersize=5)
            axes.set_title(name, size="medium")
            axes.set_xticks(x, blocks)
            axes.tick_params(labelsize="small")
        return figure


COLUMNS = ("mean", "std", "min", "max", "zeros")


def activation_statistics(
    model: GPT2, tokenizer: Tokenizer, texts: Iterable[str], names: Sequence[str] | None = None
) -> Statistics:
    """Return the statistics of activations over many texts, by name: Statistics with .plot().

    statistics["h.0.mlp.act"].mean [F], and .std, .min, .max, .zeros (the share of exact zeros), over all tokens of all
    texts. names: those of some activations; by default all of them. No activation is kept: each one is added to the
    statistics as soon as it is made, so the memory does not grow with the number of texts. The sums are in float64
    and are merged by the update of Chan, Golub and LeVeque 1983, in which nothing cancels.
    Raises ValueError for no text, an empty text or an unknown name, ContextLengthError for a text that is too long.
                       TransformerLens: a hook for run_with_hooks that keeps sums, or ActivationCache for a single text
    """
    texts = [texts] if isinstance(texts, str) else texts
    known = activation_names(model.config.n_layer)
    names = known if names is None else list(names)
    if unknown := set(names) - set(known):
        raise ValueError(
            f"no activation of a model of {model.config.n_layer} blocks is called {min(unknown)!r}; "
            "minigpt.activations.activation_names lists them"
        )
    sums, n_tokens = StreamingTrace(names), 0
    for text in texts:
        ids = encode_text(tokenizer, text)
        model(ids, trace=sums)
        n_tokens += len(ids)
    if not n_tokens:
        raise ValueError("there is no text: statistics need at least one")
    if missing := set(names) - set(sums.by_name):
        raise ValueError(f"{min(missing)!r} was never made: the replaced attention does not tap it")
    return Statistics({name: sums.by_name[name].finished() for name in names}, n_tokens)


class StreamingTrace(dict):
    """A trace that adds every activation to sums and forgets it; the dict itself stays empty."""

    def __init__(self, names):
        super().__init__()
        self.names = set(names)
        self.by_name = {}

    def __setitem__(self, name, activation):
        if name in self.names:
            new = Sums.of(name, activation)
            self.by_name[name] = self.by_name[name].merged(new) if name in self.by_name else new


@dataclass(frozen=True, eq=False)
class Sums:
    """What must be kept of the values so far: M2 is the sum of their squared distances from their mean."""

    count: int
    mean: np.ndarray
    M2: np.ndarray
    min: np.ndarray
    max: np.ndarray
    n_zeros: np.ndarray

    @classmethod
    def of(cls, name, activation):
        """Return the Sums of one activation [1, ...]."""
        values = values_by_number(name, activation)
        wide = values.astype(np.float64)
        mean = wide.mean(axis=0)
        M2 = ((wide - mean) ** 2).sum(axis=0)
        return cls(len(values), mean, M2, values.min(axis=0), values.max(axis=0), (values == 0).sum(axis=0))

    def merged(self, new):
        """Return the Sums of both sets of values."""
        count, step = self.count + new.count, new.mean - self.mean
        return Sums(
            count,
            self.mean + step * (new.count / count),
            self.M2 + new.M2 + step**2 * (self.count * new.count / count),
            np.minimum(self.min, new.min),
            np.maximum(self.max, new.max),
            self.n_zeros + new.n_zeros,
        )

    def finished(self):
        """Return the ActivationStatistics of the values."""
        std, zeros = np.sqrt(self.M2 / self.count), self.n_zeros / self.count
        return ActivationStatistics(self.count, self.mean, std, self.min, self.max, zeros)


def values_by_number(name, activation):
    """Return an activation of one text as [values, ...]: a row for each token, or for each pair that may attend."""
    axes, activation = find_activation(name).axes, activation[0]
    if axes == "BHTS":
        t, s = np.tril_indices(activation.shape[1])
        return activation[:, t, s].T  # [T (T + 1) / 2, H]
    if axes == "BHTK":
        return activation.swapaxes(0, 1)  # [T, H, K]
    return activation  # [T, numbers]
