"""Drawing with matplotlib: figures that display themselves, axes labelled with tokens, maps of numbers.

matplotlib is an extra and slow to import, so only the functions that need it import it.
"""

import io
from functools import partial
from pathlib import Path

from minigpt.files import write_file
from minigpt.looking.labels import token_label

SEQUENTIAL_COLOURS = "Blues"  # for numbers from 0 upwards
DIVERGING_COLOURS = "RdBu"  # for numbers of either sign
# matplotlib's own font, DejaVu Sans, has no Chinese.
CHINESE_FONTS = ("Noto Sans CJK SC", "Noto Sans SC", "WenQuanYi Zen Hei", "PingFang SC", "Microsoft YaHei", "SimHei")
MAX_LABELS = 40


def new_figure(width, height):
    """Return an empty Figure of this size in inches. Raises ImportError, saying what to install."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install matplotlib") from error
    # pyplot would keep every figure it makes. IPython displays a figure made without pyplot by its _repr_png_.
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    figure._repr_png_ = partial(_as_png, figure)
    return figure


def save_figure(figure, path):
    """Write a figure to a file by rename, in the format of the file's suffix. Raises ValueError, OSError."""
    path = Path(path)
    write_file(path, lambda partial: figure.savefig(partial, format=path.suffix[1:]))


def _as_png(figure):
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def text_style():
    """Return the text properties for tokens: fonts that have their characters, and plain dollar signs, not formulas."""
    from matplotlib import font_manager

    installed = set(font_manager.get_font_names())
    families = ["DejaVu Sans", *(family for family in CHINESE_FONTS if family in installed)]
    return {"parse_math": False, "family": families}


def label_tokens(axis, tokens, rotation=0, size="medium", max_labels=MAX_LABELS):
    """Label the positions 0, 1, 2 ... of axes.xaxis or axes.yaxis with tokens; if there are many, leave some out."""
    every = max(1, -(-len(tokens) // max_labels))
    positions = range(0, len(tokens), every)
    labels = [token_label(tokens[position]) for position in positions]
    axis.set_ticks(positions, labels, rotation=rotation, size=size, **text_style())
    axis.set_tick_params(length=0)


def draw_map(axes, values, colours=SEQUENTIAL_COLOURS, largest=None):
    """Draw a matrix as coloured cells. The colours end at `largest`, by default the largest absolute value."""
    largest = abs(values).max() if largest is None else largest
    lowest = -largest if colours == DIVERGING_COLOURS else 0
    axes.spines[:].set_visible(False)
    return axes.imshow(values, cmap=colours, vmin=lowest, vmax=largest, aspect="auto", interpolation="nearest")


def write_in_cells(axes, texts, image):
    """Write texts [rows][columns] into the cells of a map, in black or white, whichever is readable on the colour."""
    for i, row in enumerate(texts):
        for j, text in enumerate(row):
            red, green, blue, _ = image.cmap(image.norm(image.get_array()[i, j]))
            is_dark = 0.3 * red + 0.6 * green + 0.1 * blue < 0.5
            colour = "white" if is_dark else "black"
            axes.text(j, i, text, ha="center", va="center", size="small", color=colour, **text_style())


def draw_heads(axes, values, colours=SEQUENTIAL_COLOURS, largest=None, columns=None):
    """Draw numbers [L, columns] as a map with a row for each block, and write them into the cells if these are few.

    columns: the names of the columns; by default they are heads.
    """
    image = draw_map(axes, values, colours, largest)
    L, n_columns = values.shape
    if n_columns <= 8:
        write_in_cells(axes, [[f"{value:.2f}" for value in row] for row in values], image)
    if columns is None:
        columns = [f"head {head}" for head in range(n_columns)] if n_columns <= 8 else range(n_columns)
    axes.set_xticks(range(n_columns), columns)
    axes.set_yticks(range(L), [f"block {layer}" for layer in range(L)])
    axes.tick_params(length=0)
    return image
