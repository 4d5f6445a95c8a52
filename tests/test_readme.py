"""The READMEs: their Python runs, their commands exist, their links lead somewhere; the dozen lines are GPT-2."""

import json
import re
import shlex
from pathlib import Path

import click
import numpy as np
import pytest

from minigpt import GPT2, Tokenizer
from minigpt.cli import cli

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
READMES = [ROOT / "README.md", *sorted(ROOT.glob("[a-z]*/README.md")), *sorted(ROOT.glob("minigpt/*/README.md"))]


def blocks(path, language):
    """Return the blocks of code in a README."""
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


PYTHON = blocks(ROOT / "README.md", "python")


def name(path):
    return str(path.relative_to(ROOT).parent)


def test_the_python_in_the_readme_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec("\n".join(PYTHON), {})
    *_, shape, difference = capsys.readouterr().out.strip().splitlines()
    assert shape.startswith("(1, 4, ")
    assert float(difference) < 1e-4
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


@pytest.mark.parametrize("readme", READMES[1:], ids=name)
def test_the_python_of_a_room_runs(readme, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec("\n".join(blocks(readme, "python")), {})


@pytest.mark.parametrize("readme", READMES, ids=name)
def test_the_commands_exist_with_their_options(readme):
    for line in "\n".join(blocks(readme, "bash")).splitlines():
        for command in line.partition("#")[0].split("&&"):
            words = shlex.split(command)
            if words[:1] == ["minigpt"]:
                require_options(cli, words[1:])


def require_options(command, words):
    """Raise click.UsageError unless the command, or the one of its group that is named first, takes these words."""
    if isinstance(command, click.Group):
        assert words[0] in command.commands, words
        require_options(command.commands[words[0]], words[1:])
    else:
        command.make_parser(click.Context(command)).parse_args(words)


@pytest.mark.parametrize("readme", READMES, ids=name)
def test_the_links_lead_somewhere(readme):
    for link in re.findall(r"\]\(([^)#]+)\)", readme.read_text(encoding="utf-8")):
        assert link.startswith("http") or (readme.parent / link).exists(), link


def test_the_dozen_lines_are_gpt2():
    dozen = next(block for block in PYTHON if "def gpt2(" in block)
    namespace = {}
    exec(dozen, namespace)
    model = GPT2.from_pretrained("stories", dtype="float64", ops="plain")
    ids = np.array([Tokenizer.from_pretrained("stories").encode("Once upon a time there was a little")])
    logits = namespace["gpt2"](ids, model.params, model.config.n_head)
    assert np.abs(logits - model(ids)).max() < 1e-9 * np.abs(logits).max()


def test_the_dozen_lines_are_those_of_notebook_05():
    dozen = next(block for block in PYTHON if "def gpt2(" in block)
    cells = json.loads((ROOT / "notebooks" / "05_gpt2.ipynb").read_text(encoding="utf-8"))["cells"]
    assert any(dozen.strip() in "".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def test_the_readme_is_a_front_door():
    assert len(README.splitlines()) <= 150
