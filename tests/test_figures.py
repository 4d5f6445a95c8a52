"""Figures display themselves, and drawing needs no pyplot."""

import subprocess
import sys


def test_figures_show_themselves_without_pyplot():
    program = """
import sys, minigpt.looking
assert not {"matplotlib", "IPython"} & set(sys.modules), "imported without need"
from IPython.core.formatters import DisplayFormatter
from minigpt import GPT2, Tokenizer
from minigpt.bundled import DEFAULT_MODEL
model, tokenizer = GPT2.from_pretrained(DEFAULT_MODEL), Tokenizer.from_pretrained(DEFAULT_MODEL)
figure = minigpt.looking.attention_maps(model, tokenizer, "Once upon").plot()
formats, _ = DisplayFormatter().format(figure)
assert formats["image/png"].startswith(b"\\x89PNG"), formats
assert "matplotlib.pyplot" not in sys.modules, "pyplot keeps figures"
sys.modules["matplotlib.figure"] = None
try:
    minigpt.looking.attention_maps(model, tokenizer, "Once upon").plot()
except ImportError as error:
    print(error)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100)
    assert (result.stdout, result.stderr) == ("pictures need matplotlib: pip install matplotlib\n", "")
