"""The source of a function, shown where it is used."""

import html
import inspect
import sys
import textwrap
from dataclasses import dataclass
from functools import partial
from pathlib import Path

PROJECT = Path(__file__).parents[2]
FRAME_STYLE = "background:#fafafa; color:#222; border-left:3px solid #bbb; padding:6px 12px; overflow-x:auto"
# Jupyter's own style of <pre> is dark in a dark theme, and breaks lines within words.
PRE_STYLE = (
    "margin:0; color:#222; background:none; font-family:menlo,consolas,monospace; font-size:85%; line-height:1.3; "
    "white-space:pre-wrap; word-break:normal; overflow-wrap:anywhere"
)
CARD_STYLE = (
    "display:flex; flex-wrap:wrap; gap:16px; align-items:center; padding:8px 12px; margin:4px 0; "
    "background:#fafafa; color:#222; border:1px solid #e4e4e4; border-radius:4px; text-align:left"
)


@dataclass(frozen=True)
class Source:
    """The source of a function and where it is, such as "minigpt/model.py, line 30". A notebook shows it in colours."""

    text: str
    place: str

    def __repr__(self):
        return f"{self.place}\n\n{self.text}"

    def _repr_html_(self):
        place = f'<div style="color:#666; font-size:90%">{html.escape(self.place)}</div>'
        return f'<div style="{FRAME_STYLE}">{place}{_as_html(self.text)}</div>'


def source(function: object) -> Source:
    """Return the Source of a function, method, class or module. Raises ValueError if there is no Python source."""
    unwrapped = function
    while isinstance(unwrapped, partial):
        unwrapped = unwrapped.func
    unwrapped = inspect.unwrap(unwrapped)  # the function inside Numba's or a decorator's wrapper
    try:
        lines, first = inspect.getsourcelines(unwrapped)
        path = inspect.getsourcefile(unwrapped)
    except (TypeError, OSError) as error:
        name = getattr(function, "__name__", repr(function))
        raise ValueError(f"{name} has no Python source: show takes functions, methods, classes and modules") from error
    text = textwrap.dedent("".join(lines)).rstrip("\n")
    return Source(text, f"{file_name(path)}, line {max(first, 1)}")


def show(*functions: object) -> None:
    """Show the source of functions with file and line: in colours in a notebook, printed elsewhere.

    >>> show(model.ops.softmax, model.ops.attention)

    It takes methods, classes and modules, too, and functions defined in a notebook. Raises ValueError for anything
    not written in Python.
    """
    for found in [source(function) for function in functions]:
        if in_notebook():
            from IPython.display import display

            display(found)
        else:
            print(found, end="\n\n")


def in_notebook():
    """Return whether this code runs in a notebook."""
    # In a notebook IPython has been imported already, so there is no need to import it here.
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return hasattr(shell, "kernel")


def file_name(path):
    """Return a file's path in the project, such as minigpt/model.py; for other files the whole path."""
    path = Path(path)
    if path.is_relative_to(PROJECT):
        return path.relative_to(PROJECT).as_posix()
    return str(path) if path.exists() else "a cell"  # the code of a notebook is in no file


def _as_html(text):
    """Return Python as HTML: in colours if pygments is installed, as it is with Jupyter."""
    try:
        from pygments import highlight
        from pygments.formatters import HtmlFormatter
        from pygments.lexers import PythonLexer
    except ImportError:
        return f"<pre>{html.escape(text)}</pre>"
    # nowrap leaves out the formatter's <div class="highlight">, to which Jupyter would give a background.
    return (
        f'<pre style="{PRE_STYLE}">{highlight(text, PythonLexer(), HtmlFormatter(noclasses=True, nowrap=True))}</pre>'
    )
