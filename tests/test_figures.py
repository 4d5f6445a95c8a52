"""Figures display themselves, and drawing needs no pyplot."""

import subprocess
import sys

import matplotlib.style
from matplotlib.text import Text

from minigpt.looking import activation_statistics, attention_maps, beam_tree, head_scores, logit_lens, step


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


def test_in_the_style_of_the_course_no_letters_are_small(bundled):
    text = "Once upon a time there was a little girl"
    with matplotlib.style.context("minigpt.looking.projector"):
        maps, steps = attention_maps(*bundled, text), step(*bundled, text)
        plots = [maps.plot, lambda: maps.plot(0), lambda: maps.plot(0, 0), logit_lens(*bundled, text).plot]
        plots += [beam_tree(*bundled, text).plot, activation_statistics(*bundled, [text]).plot]
        plots += [steps.attribution(" who").plot, steps.token_attribution(" who").plot, head_scores(bundled[0]).plot]
        for plot in plots:
            figure = plot()
            assert min(letters.get_size() for letters in figure.findobj(Text) if letters.get_text()) > 9
            assert figure.dpi == 120 and figure.get_figwidth() <= 10
