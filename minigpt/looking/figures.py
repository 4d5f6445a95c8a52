"""What the pictures have in common: figures that show themselves, axes of tokens, maps of numbers.

matplotlib is an extra and slow to import: only what draws imports it.
"""

import io
from functools import partial
from pathlib import Path

import numpy as np

from minigpt.looking.tokens import readable
from weights_loader import write_file

AMOUNTS, CHANGES = "Blues", "RdBu"  # colours of what is at least 0, and of what can have either sign
# DejaVu Sans, matplotlib's own, has no Chinese.
CHINESE_FONTS = ("Noto Sans CJK SC", "Noto Sans SC", "WenQuanYi Zen Hei", "PingFang SC", "Microsoft YaHei", "SimHei")
MOST_LABELS = 40


def new_figure(width, height):
    """An empty Figure of that size in inches. Raises ImportError, saying what to install."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install matplotlib") from error
    # Not by pyplot, which keeps every figure it makes. Then IPython does not know how to show it, and asks for this.
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    figure._repr_png_ = partial(_as_png, figure)
    return figure


def save_figure(figure, path):
    """Write a figure to a file whose name ends as its format is called, by rename. Raises ValueError, OSError."""
    path = Path(path)
    write_file(path, lambda partial: figure.savefig(partial, format=path.suffix[1:]))


def _as_png(figure):
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100)
    return file.getvalue()


def text_style():
    """How to write tokens: in a font that has them, and with a dollar sign that is one and begins no formula."""
    from matplotlib import font_manager

    installed = set(font_manager.get_font_names())
    families = ["DejaVu Sans", *(family for family in CHINESE_FONTS if family in installed)]
    return {"parse_math": False, "family": families}


def label_tokens(axis, tokens, rotation=0, size=9, most=MOST_LABELS):
    """Write tokens along an axis, axes.xaxis or axes.yaxis, where 0, 1, 2 ... are; of very many only some."""
    every = max(1, -(-len(tokens) // most))
    places = range(0, len(tokens), every)
    labels = [readable(tokens[place]) for place in places]
    axis.set_ticks(places, labels, rotation=rotation, size=size, **text_style())
    axis.set_tick_params(length=0)


def draw_map(axes, values, colours=AMOUNTS, largest=None):
    """A picture of a matrix, a cell a number. The colours end at `largest`, by default the largest absolute value."""
    largest = abs(values).max() if largest is None else largest
    lowest = -largest if colours == CHANGES else 0
    axes.spines[:].set_visible(False)
    return axes.imshow(values, cmap=colours, vmin=lowest, vmax=largest, aspect="auto", interpolation="nearest")


def write_values(axes, texts, image):
    """Write texts [rows][columns] into the cells of a map, in black or white, whichever its colour leaves readable."""
    for i, row in enumerate(texts):
        for j, text in enumerate(row):
            red, green, blue, _ = image.cmap(image.norm(image.get_array()[i, j]))
            dark = 0.3 * red + 0.6 * green + 0.1 * blue < 0.5
            axes.text(j, i, text, ha="center", va="center", size=8, color="white" if dark else "black", **text_style())


def checked_index(argument, value, n):
    """An index from 0 to n - 1. Raises ValueError."""
    if not isinstance(value, int | np.integer) or not 0 <= value < n:
        raise ValueError(f"{argument} must be from 0 to {n - 1}, not {value!r}")
    return int(value)
