"""The source of a function, to read it where it is used."""

import html
import inspect
import sys
import textwrap
from dataclasses import dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[2]  # of the project
FRAME = "background:#fafafa; color:#222; border-left:3px solid #bbb; padding:6px 12px; overflow-x:auto"
# Without it Jupyter's own <pre> is dark in a dark theme, and breaks lines within words.
PRE = (
    "margin:0; color:#222; background:none; font-family:menlo,consolas,monospace; font-size:85%; line-height:1.3; "
    "white-space:pre-wrap; word-break:normal; overflow-wrap:anywhere"
)


@dataclass(frozen=True)
class Source:
    """The source of a function and its place, as in "minigpt/model.py, line 30". A notebook shows it in colours."""

    text: str
    place: str

    def __repr__(self):
        return f"{self.place}\n\n{self.text}"

    def _repr_html_(self):
        place = f'<div style="color:#666; font-size:90%">{html.escape(self.place)}</div>'
        return f'<div style="{FRAME}">{place}{highlighted(self.text)}</div>'


def source(function):
    """The Source of a function, method, class or module. Raises ValueError for what has no Python source."""
    unwrapped = function
    while isinstance(unwrapped, partial):
        unwrapped = unwrapped.func
    unwrapped = inspect.unwrap(unwrapped)  # of what Numba compiled or a decorator wrapped, the function itself
    try:
        lines, first = inspect.getsourcelines(unwrapped)
        path = inspect.getsourcefile(unwrapped)
    except (TypeError, OSError) as error:
        name = getattr(function, "__name__", repr(function))
        raise ValueError(f"{name} has no Python source: show takes functions, methods, classes and modules") from error
    text = textwrap.dedent("".join(lines)).rstrip("\n")
    return Source(text, f"{file_name(path)}, line {max(first, 1)}")


def show(*functions):
    """Show the source of functions, with file and line: in colours in a notebook, printed elsewhere.

    >>> show(model.ops.softmax, model.ops.attention)

    Takes methods, classes and modules, too, and functions of a notebook's own cells. Raises ValueError for what is not
    written in Python.
    """
    for found in [source(function) for function in functions]:
        if in_notebook():
            from IPython.display import display

            display(found)
        else:
            print(found, end="\n\n")


def in_notebook():
    """Whether there is a notebook to show things in. IPython is not imported to find out: it would have been."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return hasattr(shell, "kernel")


def file_name(path):
    """A file's path from the project's root, as in minigpt/model.py; or whatever it is elsewhere."""
    path = Path(path)
    if path.is_relative_to(ROOT):
        return path.relative_to(ROOT).as_posix()
    return str(path) if path.exists() else "a cell"  # of a notebook, whose code is in no file


def highlighted(text):
    """Python as HTML: in colours if pygments is there, as it is with Jupyter."""
    try:
        from pygments import highlight
        from pygments.formatters import HtmlFormatter
        from pygments.lexers import PythonLexer
    except ImportError:
        return f"<pre>{html.escape(text)}</pre>"
    # nowrap: without the formatter's own <div class="highlight">, to which Jupyter gives a background.
    return f'<pre style="{PRE}">{highlight(text, PythonLexer(), HtmlFormatter(noclasses=True, nowrap=True))}</pre>'
