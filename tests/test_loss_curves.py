"""The curves against the log of a training."""

import json
import subprocess
import sys

import pytest

from minigpt.looking import loss_curves


def test_loss_curves_of_a_training_and_its_plot(tmp_path):
    (tmp_path / "text.txt").write_text("the cat sat on the mat.\n" * 80, encoding="utf-8")
    options = ["--out", str(tmp_path / "out"), "--text", str(tmp_path / "text.txt"), "--preset", "nano"]
    options += ["--steps", "5", "--eval-every", "2", "--ops", "plain", "--plot", str(tmp_path / "loss.png")]
    result = subprocess.run([sys.executable, "-m", "minigpt", "train", *options], capture_output=True, timeout=100)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")
    log = tmp_path / "out" / "log.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    curves = loss_curves(tmp_path / "out")
    assert curves.steps == [1, 2, 3, 4, 5] and curves.losses == [line["loss"] for line in lines]
    assert curves.validation_steps == [2, 4, 5]
    assert curves.validation_losses == [lines[i]["validation_loss"] for i in (1, 3, 4)]
    losses, validation = curves.plot().axes[0].lines
    assert list(losses.get_ydata()) == curves.losses and list(validation.get_xdata()) == [2, 4, 5]

    with log.open("a") as file:
        file.write('{"step": 6, "lo')  # as a running training writes it
    assert loss_curves(str(tmp_path / "out")) == curves


def test_no_loss_curves(tmp_path):
    with pytest.raises(ValueError, match="has no log of a training"):
        loss_curves(tmp_path)
    (tmp_path / "log.jsonl").write_text('{"step": 1')
    with pytest.raises(ValueError, match="there is no step in log.jsonl"):
        loss_curves(tmp_path)
