"""The page in one piece of HTML: for a file that is sent to others, and for the frame in a notebook.

The modules of web/ import each other by relative names, which mean nothing in a page without an address. Here they get
bare names, and an import map that says where each module is: in a data: URL. Nothing is fetched from anywhere.
"""

import base64
import json
import re
from pathlib import Path

WEB = Path(__file__).parent / "web"
POLICY = (
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src 'unsafe-inline' data:; "
    "style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'\">"
)
CHARSET = '<meta charset="utf-8">'
# from "./dom.js", import "./dom.js", import("./dom.js")
RELATIVE_IMPORT = re.compile(r"""(\bfrom\s*|\bimport\s*\(?\s*)(["'])\./([\w.-]+\.js)\2""")
STYLESHEET = re.compile(r'<link rel="stylesheet" href="([\w.-]+\.css)">')
START = '<script type="module" src="main.js"></script>'


def page_html(source: str) -> str:
    """Return the page as one text. source: "file" or "frame", see web/open_source.js."""
    return "".join(page_around_data(source))


def page_around_data(source: str) -> tuple[str, str]:
    """Return the page as two texts, before and after the place of its data."""
    page = STYLESHEET.sub(_style, (WEB / "index.html").read_text(encoding="utf-8"))
    for old, new in (("<html ", f'<html data-source="{source}" '), (CHARSET, f"{CHARSET}\n{POLICY}")):
        _require_once(old, page)
        page = page.replace(old, new)
    _require_once(START, page)
    before, _, after = page.partition(START)
    start = (
        f'<script type="importmap">{json_for_html({"imports": module_urls()})}</script>\n'
        '<script type="module">import "minigpt/main.js";</script>'
    )
    return before, start + after


def _require_once(part, page):
    if page.count(part) != 1:
        raise RuntimeError(f"web/index.html must have {part!r} once")


def module_urls() -> dict[str, str]:
    """Return the modules of web/ as data: URLs, by their bare names, such as minigpt/dom.js."""
    return {f"minigpt/{path.name}": _data_url(path) for path in sorted(WEB.glob("*.js"))}


def json_for_html(value: object) -> str:
    """Return JSON that may stand in a <script>: no < that could begin </script> or <!--, nothing but ASCII."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _style(link):
    return f"<style>\n{(WEB / link[1]).read_text(encoding='utf-8')}</style>"


def _data_url(path):
    text = RELATIVE_IMPORT.sub(r"\1\2minigpt/\3\2", path.read_text(encoding="utf-8"))
    return f"data:text/javascript;charset=utf-8;base64,{base64.b64encode(text.encode()).decode()}"
