"""The losses of a training."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from minigpt.looking.figures import new_figure

if TYPE_CHECKING:
    import os

    from matplotlib.figure import Figure


@dataclass(frozen=True)
class LossCurves:
    """The training loss of every step, and the validation loss where it was measured."""

    steps: list[int]
    losses: list[float]
    validation_steps: list[int]
    validation_losses: list[float]

    def plot(self) -> Figure:
        """Draw both losses over the steps."""
        figure = new_figure(7, 3)
        axes = figure.subplots()
        axes.plot(self.steps, self.losses, color="tab:blue", alpha=0.5, linewidth=1, label="loss")
        axes.plot(self.validation_steps, self.validation_losses, ".-", color="tab:orange", label="validation loss")
        axes.set(xlabel="step", ylabel="nats per token")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        return figure


def loss_curves(folder: str | os.PathLike) -> LossCurves:
    """Return the LossCurves of a training's folder, read from its log.jsonl. The training may still be running.

    Raises ValueError for a folder without a log of at least one step.
    """
    path = Path(folder) / "log.jsonl"
    # A running training may have written only half of its last line: a line ends in a line break.
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    lines = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
    if not lines:
        raise ValueError(f"{folder} has no log of a training: there is no step in {path.name}")
    measured = [line for line in lines if "validation_loss" in line]
    return LossCurves(
        [line["step"] for line in lines],
        [line["loss"] for line in lines],
        [line["step"] for line in measured],
        [line["validation_loss"] for line in measured],
    )
