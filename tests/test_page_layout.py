"""What stays in its place on the page, and what shows that there is more of it, in a real browser."""

import pytest
from browser_helpers import DESKTOP, PHONE, PROJECTOR, VIEWS, serve_in_thread

pytestmark = pytest.mark.browser

SIZES = pytest.mark.parametrize("size", [DESKTOP, PROJECTOR], ids=["desktop", "projector"])
LONG = "Once upon a time there was a little girl called Julia. She lived with her grandmother"


@pytest.fixture(scope="module")
def long_address(bundled):
    """The address of a page with a text that is longer than a row."""
    return serve_in_thread(*bundled, LONG)


@pytest.mark.parametrize("size", [DESKTOP, PROJECTOR, PHONE], ids=["desktop", "projector", "phone"])
def test_a_switch_moves_none_of_the_others(open_tab, page_address, size):
    tab = open_tab(page_address, size=size).go("changes").type_text(LONG.removesuffix(" grandmother"))
    tops = "[...document.querySelectorAll('.switches button')].map((e) => e.offsetTop + e.offsetParent.offsetTop)"
    switches = "(e) => e.getBoundingClientRect().top - document.getElementById('view').getBoundingClientRect().top"
    expected = tab.page.eval_on_selector(".switches", switches), tab.page.evaluate(tops)
    for what in ("head 0 of block 1", "head 2 of block 3", "the MLP of block 0"):
        tab.click(f'[aria-label="switch off {what}"]')
        assert (tab.page.eval_on_selector(".switches", switches), tab.page.evaluate(tops)) == expected, what


# The place that a tab opens, and what the map marks of it.
MARKED = {
    "overview": ["9 tokens"],
    "activation": ["embed"],
    "attention": ["block 0: attention"],
    "vectors": ["block 0: attention"],
    "mlp": ["block 0: MLP"],
    "norm": ["block 0: attention"],
    "next": ["next token"],
}
MARKS = """
[...document.querySelectorAll('#map [aria-current="location"]')].map((part) => {
  const block = part.closest(".block")?.getAttribute("aria-label");
  return (block ? block + ": " : "") + part.textContent;
})
"""


def test_the_map_marks_where_a_tab_leads(tab):
    for view, expected in MARKED.items():
        tab.go(view)
        assert tab.page.evaluate(MARKS) == expected, view
    for name, expected in {"h.2.ln_2": "block 2: MLP", "ln_f": "ln_f", "h.3.ln_1": "block 3: attention"}.items():
        assert tab.go("norm", name=name).page.evaluate(MARKS) == [expected]
    tab.go("vectors", layer=1)
    assert tab.page.evaluate(MARKS) == ["block 1: attention"]


def test_all_tabs_are_seen_on_a_projector(open_tab, page_address):
    tab = open_tab(page_address, size=PROJECTOR)
    for view in VIEWS:
        box = tab.page.locator(f'#tabs [data-view="{view}"]').bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= PROJECTOR[0], view
    assert tab.page.eval_on_selector("#top", "(e) => e.offsetHeight") <= 90
    tab.click('#tabs [data-view="changes"]')
    before = tab.page.locator("#view").bounding_box()["y"]
    tab.page.evaluate("minigpt.newRun({ids: minigpt.run.ids, changes: [{kind: 'zero', name: 'h.1.mlp.out'}]})")
    assert tab.settled().page.locator("#view").bounding_box()["y"] == before


# Of each that scrolls, which of its edges are marked, and those behind which there is more.
EDGES = """
(selector) => [...document.querySelectorAll(selector)].map((e) => [
  e.dataset.more ?? "",
  [["left", e.scrollLeft > 2], ["right", e.scrollLeft + e.clientWidth < e.scrollWidth - 2],
   ["up", e.scrollTop > 2], ["down", e.scrollTop + e.clientHeight < e.scrollHeight - 2]]
    .filter(([, isMore]) => isMore).map(([edge]) => edge).join(" "),
])
"""
SCROLLERS = {
    "overview": ".next-box",
    "attention": ".arcs-scroll",
    "vectors": ".vectors-box",
    "lens": ".lens-frame",
    "norm": ".token-strip",
    "beams": ".tree-frame",
}


def test_what_is_cut_off_fades(open_tab, long_address):
    tab = open_tab(long_address, size=PROJECTOR)
    seen = set()
    for view, selector in SCROLLERS.items():
        tab.go(view)
        for scrolled in (0, 10_000):
            [[marked, more]] = tab.page.evaluate(EDGES, selector)
            assert marked == more, (view, scrolled)
            seen |= {(view, edge) for edge in more.split()}
            tab.page.eval_on_selector(selector, "(e, x) => e.scrollTo(x, x)", scrolled)
            tab.settled()
    assert {("overview", "right"), ("attention", "left"), ("vectors", "up"), ("lens", "left")} <= seen
    assert {("norm", "left"), ("beams", "right")} <= seen
    assert tab.page.eval_on_selector(".tree-frame", "(e) => getComputedStyle(e).maskImage") != "none"


ROWS = {
    "attention": (".arcs-scroll", "#arc-token-{} + .token"),
    "norm": (".token-strip", "#token-{}"),
    "lens": (".lens-frame", "#lens-4-{}"),
}


@SIZES
@pytest.mark.parametrize("view", ROWS)
def test_a_click_on_what_is_seen_scrolls_no_row(open_tab, long_address, size, view):
    tab = open_tab(long_address, size=size).go(view)
    row, token = ROWS[view]
    tab.page.locator(row).scroll_into_view_if_needed()
    for position in (14, 15, 13):
        selector = token.format(position)
        before = tab.page.locator(selector).bounding_box()
        tab.click(selector)
        assert tab.place()["token"] == position
        assert tab.page.locator(selector).bounding_box()["x"] == before["x"]
    # What is out of sight is scrolled to; a row that begins anew begins at its left.
    tab.go(view, token=0)
    frame, first = (tab.page.locator(one).bounding_box() for one in (row, token.format(0)))
    assert frame["x"] <= first["x"] and first["x"] + first["width"] <= frame["x"] + frame["width"]
    tab.reload()
    assert tab.page.eval_on_selector(row, "(e) => e.scrollLeft") <= 8
