"""Read a student's file, a notebook or Python, as sources that Python compiles one by one."""

import ast
import json
import re
import tokenize
from dataclasses import dataclass
from io import BytesIO

PYTHON_CELL_MAGICS = ("%%time", "%%timeit", "%%capture", "%%prun")  # the rest of such a cell is Python
# A line that looks like IPython's: %magic, !command, x = %magic, x = !command, help?
IPYTHON_LINE = re.compile(r"(\s*)([%!?].*|\w+\s*=\s*[%!].*|[\w.]+\?{1,2}\s*)$")


@dataclass(frozen=True)
class Source:
    """Code that is compiled by itself: a cell, named "cell 12", or a whole file, named like the file."""

    name: str
    text: str
    is_cell: bool = False

    def parse(self):
        """Return the statements as a list of AST nodes. In a cell, lines in IPython's syntax become `pass`.

        Raise SyntaxError, or whatever else the parser raises: ValueError, RecursionError, MemoryError.
        """
        if not self.is_cell:
            return ast.parse(self.text, self.name).body
        if self.text.lstrip().startswith("%%") and self.text.split()[0] not in PYTHON_CELL_MAGICS:
            return []  # another language, such as %%bash
        lines = self.text.split("\n")
        while True:
            try:
                return ast.parse("\n".join(lines), self.name).body
            except SyntaxError as error:
                # Replace a line only where the parser stops at it. Elsewhere such a line may be part of a string, or
                # continue an expression with the operator %.
                index = (error.lineno or 0) - 1
                magic = IPYTHON_LINE.match(lines[index]) if 0 <= index < len(lines) else None
                if not magic:
                    raise
                lines[index] = f"{magic[1]}pass"

    def position(self, line):
        """Return the position of a line in words: "cell 12, line 3", or "line 3" of a file."""
        return f"{self.name}, line {line}" if self.is_cell else f"line {line}"

    def describe(self, error):
        """Return a sentence for an error that `parse` raised."""
        if not isinstance(error, SyntaxError) or error.lineno is None:
            return f"{self.name} is not Python: {error or type(error).__name__}"
        code = f": {error.text.strip()}" if error.text and error.text.strip() else ""
        return f"{type(error).__name__}: {error.msg} ({self.position(error.lineno)}{code})"


def read_sources(path):
    """Return the Sources of a file: one for a Python file, one for each cell of a notebook that Jupyter runs.

    The n-th cell is the one that Jupyter shows as In [n] if all ran in order. Raise ValueError for a file of another
    kind, or OSError if it cannot be read.
    """
    if path.suffix.lower() == ".ipynb":
        cells = [cell_source(cell) for cell in read_notebook(path)["cells"] if cell["cell_type"] == "code"]
        return [Source(f"cell {number}", text, is_cell=True) for number, text in enumerate(filter(str.strip, cells), 1)]
    if path.suffix.lower() != ".py":
        raise ValueError(f"{path.name} is neither a Python file (.py) nor a notebook (.ipynb)")
    content = path.read_bytes()
    try:
        encoding, _ = tokenize.detect_encoding(BytesIO(content).readline)
        return [Source(path.name, content.decode(encoding).replace("\r\n", "\n"))]
    except (SyntaxError, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name} is not a text in UTF-8") from error


def read_notebook(path):
    """Return a notebook file as a dict. Raise ValueError if it is not a notebook."""
    try:
        notebook = json.loads(path.read_bytes().decode("utf-8-sig"))
        cells = notebook["cells"]
        if all(isinstance(cell["cell_type"] + cell_source(cell), str) for cell in cells):
            return notebook
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        pass
    raise ValueError(f"{path.name} is not a notebook that can be read (of nbformat 4)")


def cell_source(cell):
    """Return the text of a cell."""
    return "".join(cell["source"])  # nbformat allows a string or a list of its lines
