"""The course as a book of HTML pages that needs no network: formulas as MathML, pictures and styles in the files.

nbconvert and latex2mathml are an extra and slow to import, so only the functions that need them import them.
"""

import html
import re
from pathlib import Path

from minigpt.classroom.copies import (
    PACKAGE,
    SOURCE_FOLDER,
    course_notebooks,
    linked_sources,
    notebook_bytes,
    with_local_links,
    without_solutions,
)
from minigpt.classroom.sources import cell_source, read_notebook
from minigpt.files import write_file

# Large enough for a projector; text in lines that one reads easily, code in lines of 120 characters. Figures have a
# white ground of their own, so that they can be read in the dark theme. A narrow window shrinks pictures and scrolls
# what else is wide.
STYLE = """
:root { color-scheme: light dark; --ground: #fff; --text: #1b1b1b; --quiet: #5c5c5c; --line: #ddd; --code: #f5f5f5;
  --link: #0b57d0 }
@media (prefers-color-scheme: dark) { :root { --ground: #16181c; --text: #e4e4e4; --quiet: #a0a0a0; --line: #3a3d42;
  --code: #22252b; --link: #8ab4f8 } }
body { margin: 0 auto; padding: 0 1.2rem 4rem; max-width: 68rem; background: var(--ground); color: var(--text);
  font: 1.1rem/1.6 system-ui, sans-serif }
a { color: var(--link) }
nav { display: flex; justify-content: space-between; gap: 1rem; padding: 0.8rem 0;
  border-bottom: 1px solid var(--line) }
p, ul, ol { max-width: 52rem }
h1, h2, h3 { line-height: 1.25; margin: 2rem 0 0.8rem }
.anchor-link { display: none }
h1 { overflow-wrap: anywhere }
table { display: block; overflow-x: auto; border-collapse: collapse; margin: 0.8rem 0 }
th, td { border-bottom: 1px solid var(--line); padding: 0.25rem 0.7rem; text-align: left; vertical-align: top }
pre, code { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: 0.88em }
pre { white-space: pre-wrap; word-break: normal; overflow-wrap: anywhere; line-height: 1.4; margin: 0 }
:not(pre) > code { background: var(--code); padding: 0.05em 0.3em; border-radius: 3px }
.highlight { background: var(--code) !important; padding: 0.7rem 1rem; margin: 0.8rem 0; border-radius: 5px }
.output_subarea { margin: 0.5rem 0 1rem; padding-left: 1rem; border-left: 3px solid var(--line); overflow-x: auto }
.output_subarea img, .rendered_html img { max-width: 100%; height: auto }
.output_png img { background: #fff; border-radius: 4px }
.output_stderr { color: var(--quiet) }
math { font-size: 1.12em }
math[display=block] { margin: 1rem 0; overflow-x: auto; overflow-y: hidden }
"""


def write_book(folder, solutions=False):
    """Write the course into a folder as index.html, a page for each notebook, and the sources that they link to.

    solutions: whether the exercises are shown solved. Return the path of index.html. Raise ValueError if the folder is
    a file or not empty, or there are no notebooks; ImportError, saying what to install.
    """
    folder, paths = Path(folder), course_notebooks()
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ValueError(f"{folder} is not an empty folder: give one that does not exist yet")
    if not paths:
        raise ValueError(f"there are no notebooks in {PACKAGE / 'notebooks'}: install minigpt again")
    notebooks = {path.stem: read_notebook(path) for path in paths}
    titles = {name: _title(notebook) for name, notebook in notebooks.items()}
    links = [("index", "Contents"), *titles.items()]
    exporter = _exporter()
    for place, (name, notebook) in enumerate(notebooks.items(), 1):
        shown = with_local_links(notebook if solutions else without_solutions(notebook))
        _write_page(folder / f"{name}.html", titles[name], _navigation(links, place) + _body(exporter, shown))
    contents = "".join(f'<li><a href="{name}.html">{html.escape(title)}</a></li>' for name, title in titles.items())
    _write_page(folder / "index.html", "GPT-2 from scratch", f"<h1>GPT-2 from scratch</h1><ul>{contents}</ul>")
    for target in sorted({target for notebook in notebooks.values() for target in linked_sources(notebook)}):
        up = "../" * (target.count("/") + 1)
        source = (PACKAGE / target).read_text(encoding="utf-8")
        page = f'<nav><a href="{up}index.html">Contents</a></nav><h1>minigpt/{target}</h1>{_highlighted(source)}'
        _write_page(folder / SOURCE_FOLDER / f"{target}.html", target, page)
    return folder / "index.html"


def _exporter():
    try:
        from latex2mathml.converter import convert
        from nbconvert.exporters import HTMLExporter
        from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
    except ImportError as error:
        raise ImportError("the book needs nbconvert and latex2mathml: pip install 'minigpt[notebooks]'") from error

    class Renderer(IPythonRenderer):
        """Markdown as HTML, with formulas as MathML."""

        def block_math(self, body):
            return convert(body, display="block")

        def inline_math(self, body):
            return convert(body)

    class BookExporter(HTMLExporter):
        def default_filters(self):
            yield from super().default_filters()
            yield "markdown2html", lambda text: MarkdownWithMath(renderer=Renderer(escape=False)).render(text)

    return BookExporter(template_name="basic", exclude_input_prompt=True, exclude_output_prompt=True)


def _body(exporter, notebook):
    import nbformat

    body, _ = exporter.from_notebook_node(nbformat.reads(notebook_bytes(notebook).decode(), as_version=4))
    # Links of the text and of outputs lead to the book's own pages.
    body = re.sub(r"""(?<=href=)(["'])(\w+)\.ipynb""", r"\1\2.html", body)
    body = re.sub(rf'(?<=href=)"({SOURCE_FOLDER}/[^"#]+)', r'"\1.html', body)
    # Each image that Markdown does not describe is a figure, described by the text around it.
    return body.replace('alt="No description has been provided for this image"', 'alt="figure"')


def _title(notebook):
    """Return the first heading of a notebook, without its sign."""
    return cell_source(notebook["cells"][0]).splitlines()[0].lstrip("# ")


def _navigation(links, place):
    """Return links to the page before, the contents, and the page after."""
    near = [links[place - 1], links[0], *links[place + 1 : place + 2]] if place > 1 else [links[0], *links[2:3]]
    return "<nav>" + "".join(f'<a href="{name}.html">{html.escape(title)}</a>' for name, title in near) + "</nav>"


def _highlighted(source):
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    return highlight(source, PythonLexer(), HtmlFormatter())


def _write_page(path, title, body):
    from pygments.formatters import HtmlFormatter

    light, dark = (HtmlFormatter(style=style).get_style_defs(".highlight") for style in ("default", "github-dark"))
    style = f"{STYLE}{light}\n@media (prefers-color-scheme: dark) {{ {dark} }}\n.highlight {{ color: var(--text) }}"
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{style}</style></head>\n'
        f"<body>\n{body}\n</body></html>\n"
    )
    write_file(path, lambda partial: partial.write_text(page, encoding="utf-8"))
