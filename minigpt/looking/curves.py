"""How a training went."""

import json
from dataclasses import dataclass
from pathlib import Path

from minigpt.looking.figures import new_figure


@dataclass(frozen=True)
class LossCurves:
    """The losses of a training, step by step, and those on the validation text, measured now and then."""

    steps: list[int]
    losses: list[float]
    validation_steps: list[int]
    validation_losses: list[float]

    def plot(self):
        """Both losses over the steps, a Figure."""
        figure = new_figure(7, 3)
        axes = figure.subplots()
        axes.plot(self.steps, self.losses, color="tab:blue", alpha=0.5, linewidth=1, label="loss")
        axes.plot(self.validation_steps, self.validation_losses, ".-", color="tab:orange", label="validation loss")
        axes.set(xlabel="step", ylabel="nats per token")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        return figure


def loss_curves(folder):
    """The LossCurves of a training's folder, from its log.jsonl, whether it is over or still running.

    Raises ValueError for a folder without a log of at least one step.
    """
    path = Path(folder) / "log.jsonl"
    # The last line of a running training may be half written: only what ends in a line break is a line.
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
