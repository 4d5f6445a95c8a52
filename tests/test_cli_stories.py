"""The command `minigpt stories`."""

import json
import re

import pytest
from click.testing import CliRunner

from minigpt.cli import cli
from minigpt.stories import SEPARATOR, entropy, stories
from minigpt.stories.judge import judge


def command(*arguments, status=0, **options):
    result = CliRunner().invoke(cli, ["stories", *arguments], standalone_mode=False, **options)
    got = result.return_value if result.exception is None else result.exception
    if isinstance(got, SystemExit):
        assert got.code == status, result.output
    elif got is not None:
        raise got
    else:
        assert status == 0, result.output
    return result.output


def test_command_writes_and_checks(tmp_path):
    (first, second) = stories(2, seed=3)
    shown = command("--count", "2", "--seed", "3")
    assert shown.startswith(f"{first.text}\n(log p = {first.logprob:.3f})\n\n{second.text}\n")
    assert f"entropy {entropy():.4f} nats a story" in shown
    assert json.loads(command("--count", "1", "--seed", "3", "--json")) == [
        {"text": first.text, "logprob": first.logprob}
    ]

    path = tmp_path / "stories.txt"
    assert command("--count", "2", "--seed", "3", "--out", str(path)) == ""
    assert path.read_text() == first.text + SEPARATOR + second.text + SEPARATOR
    assert command("--check", str(path)) == "2 of 2 are stories of the grammar\n"
    path.write_text(first.text + SEPARATOR + second.text.replace(" lived", " lifed"))
    checked = command("--check", str(path), status=1)
    assert re.fullmatch(r"story 2: at character \d+: found 'lifed', expected .*\n1 of 2 are stories of .*\n", checked)
    assert json.loads(command("--check", "-", "--json", input=first.text + "\n")) == [None]


def test_command_judges(story_tokenizer, untrained_storyteller, tmp_path, monkeypatch):
    # The model is so small that, on a busy machine, two threads would only wait for each other.
    monkeypatch.setattr("minigpt.ops.threads.default_threads", lambda: 1)
    for part in (untrained_storyteller, story_tokenizer):
        part.save_pretrained(tmp_path)
    shown = command("--judge", str(tmp_path), "--count", "2")
    assert shown.startswith("loss on 2 new stories: ")
    assert "of the model's own 2 stories, 0.0% are stories of the grammar" in shown
    shown = command("--judge", str(tmp_path), "--count", "2", "--temperature", "0.5")
    assert "of the model's own 2 stories at temperature 0.5, 0.0% are" in shown
    fields = json.loads(command("--judge", str(tmp_path), "--count", "2", "--json"))
    expected = judge(untrained_storyteller, story_tokenizer, 2)
    assert fields["loss"] == pytest.approx(expected.loss, rel=1e-5) and len(fields["wrong"]) == 2
    assert fields["entropy"] == entropy() and fields["accepted"] == 0


def test_command_does_one_thing(tmp_path):
    with pytest.raises(Exception, match="choose one"):
        command("--out", str(tmp_path / "x"), "--judge", "stories")
    with pytest.raises(ValueError, match="n must be an integer, at least 0, not -1"):
        command("--count", "-1", "--out", str(tmp_path / "x"))
    assert not list(tmp_path.iterdir())
