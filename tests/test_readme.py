"""The front README: its Python runs as it stands there, and its dozen lines are GPT-2."""

import json
import re
from pathlib import Path

import numpy as np

from minigpt import GPT2, Tokenizer

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


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
    ]


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
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert link.startswith("http") or (ROOT / link).exists(), link
