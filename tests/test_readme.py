"""The README's Python, as it stands there."""

import re
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


def test_the_python_in_the_readme_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = "\n".join(re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL))
    exec(code, {})
    *_, shape, difference = capsys.readouterr().out.strip().splitlines()
    assert shape.startswith("(1, 4, ")
    assert float(difference) < 1e-4
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
