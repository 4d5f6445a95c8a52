"""The course as HTML pages that load nothing from elsewhere, with links that lead somewhere and formulas as MathML."""

import re
import sys
from html.parser import HTMLParser

import pytest
from helpers import fails_with, run_here

from minigpt.classroom.copies import course_files, course_notebooks

LOADING = {"src", "srcset", "poster", "data", "background", "action"}  # attributes that make a browser load something


class Page(HTMLParser):
    """The links of a page, what it loads, and its text outside of code."""

    def __init__(self, text):
        super().__init__()
        self.links, self.loaded, self.tags, self.ids, self.text, self.open = [], [], [], set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag in ("pre", "code", "style", "title", "math"):
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.add(value)
            if name in LOADING or (name.endswith("href") and tag != "a"):
                self.loaded.append(value)
            if name == "href" and tag == "a":
                self.links.append(value)
            if name == "style":
                self.loaded += re.findall(r"url\(['\"]?([^)'\"]*)", value or "")

    def handle_endtag(self, tag):
        if tag in self.open:
            self.open.remove(tag)

    def handle_data(self, data):
        if "style" in self.open:
            self.loaded += re.findall(r"url\(|@import", data)
        if not self.open:
            self.text.append(data)


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    folder = tmp_path_factory.mktemp("book") / "out"
    result = run_here("exercises", "book", folder)
    assert (result.returncode, result.stdout) == (0, f"open {folder / 'index.html'}\n"), result.stderr
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}


def test_every_page_of_the_course_is_there(book):
    wanted = {f"{name.removesuffix('.ipynb')}.html" for name in course_files()}
    assert set(book) == wanted | {"index.html"}


def test_pages_load_nothing_and_their_links_lead_somewhere(book):
    pages = {name: Page(path.read_text(encoding="utf-8")) for name, path in book.items()}
    reached = set()
    for name, page in pages.items():
        assert all(value.startswith("data:image/") for value in page.loaded), (name, page.loaded)
        assert not {"script", "link", "iframe", "object", "embed"} & set(page.tags), name
        for link in page.links:
            target, _, anchor = link.partition("#")
            if target.startswith("https://"):
                continue
            path = (book[name].parent / target).resolve() if target else book[name]
            assert path in book.values(), (name, link)
            there = next(key for key, value in book.items() if value == path)
            reached.add(there)
            assert not anchor or anchor in pages[there].ids, (name, link)
    assert reached == set(book), "a page that no link leads to"


def test_formulas_are_mathml_and_solutions_are_shown_only_if_asked_for(book, tmp_path, monkeypatch):
    page = Page(book["03_attention.html"].read_text(encoding="utf-8"))
    assert page.tags.count("math") > 50 and "img" in page.tags
    for name, path in book.items():
        text = "".join(Page(path.read_text(encoding="utf-8")).text)
        assert name.startswith("source/") or not re.search(r"\$|\\[a-z]{2}", text), name
    assert "write softmax" in book["03_attention.html"].read_text() and "BEGIN SOLUTION" not in book["03_attention.html"].read_text()  # fmt: skip
    attention = next(path for path in course_notebooks() if path.stem == "03_attention")
    monkeypatch.setattr("minigpt.classroom.book.course_notebooks", lambda: [attention])
    assert run_here("exercises", "book", tmp_path / "solved", "--solutions").returncode == 0
    assert "BEGIN SOLUTION" in (tmp_path / "solved" / "03_attention.html").read_text()


def test_a_book_is_written_over_nothing(tmp_path, monkeypatch):
    (tmp_path / "mine.txt").touch()
    fails_with("is not an empty folder", "exercises", "book", tmp_path, run=run_here)
    fails_with("is not an empty folder", "exercises", "book", tmp_path / "mine.txt", run=run_here)
    monkeypatch.setitem(sys.modules, "latex2mathml.converter", None)
    fails_with("pip install 'minigpt[notebooks]'", "exercises", "book", tmp_path / "new", run=run_here)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
