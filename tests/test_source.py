"""The source that is shown is the source that runs."""

import re
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from minigpt import GPT2
from minigpt.looking import show
from minigpt.looking.source import source
from minigpt.ops import plain
from minigpt.ops.jit.layer_norm import layer_norm_kernel

ROOT = Path(__file__).parents[1]


def test_show_prints_a_source_with_its_place(capsys):
    show(plain.softmax, GPT2.with_ops)
    out = capsys.readouterr().out
    place, _, rest = out.partition("\n")
    file, line = place.split(", line ")
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    assert file == "minigpt/ops/plain.py" and lines[int(line) - 1] == "def softmax(x, axis=-1):"
    assert rest.startswith("\ndef softmax(x, axis=-1):\n") and "    return exp_x / exp_x.sum(axis=axis" in rest
    assert re.search(r"\ndef with_ops\(self, .*\n    \S", out)  # a method is shown without its indentation


def test_sources_of_what_is_wrapped():
    assert source(partial(partial(plain.softmax), axis=0)) == source(plain.softmax)
    assert source(layer_norm_kernel).place.startswith("minigpt/ops/jit/layer_norm.py, line ")
    assert source(GPT2).text.startswith("class GPT2:") and source(plain).place == "minigpt/ops/plain.py, line 1"


@pytest.mark.parametrize("thing", [len, np.exp, 3, "softmax"])
def test_what_has_no_source(thing):
    with pytest.raises(ValueError, match="has no Python source"):
        show(thing)


def test_show_in_a_notebook(monkeypatch):
    import IPython
    import IPython.display

    shown = []
    monkeypatch.setattr(IPython, "get_ipython", lambda: type("Shell", (), {"kernel": True}))
    monkeypatch.setattr(IPython.display, "display", shown.append)
    show(plain.softmax)
    page = shown[0]._repr_html_()
    assert "minigpt/ops/plain.py, line " in page and "color: #" in page and "softmax" in page
    monkeypatch.setitem(sys.modules, "pygments", None)
    assert "<pre>def softmax(x, axis=-1):" in source(plain.softmax)._repr_html_()
