"""Whether everyone can use the page: keyboard, focus, contrast, names for screen readers, small screens."""

import itertools

import pytest
from browser_helpers import DESKTOP, PHONE, PROJECTOR, VIEWS

pytestmark = pytest.mark.browser


def test_keys_alone_reach_the_controls_and_show_where_they_are(tab):
    reached, unseen = set(), []
    for _ in range(60):
        tab.page.keyboard.press("Tab")
        found = tab.page.evaluate(FOCUSED)
        reached.add(found["id"] or found["words"])
        if not found["isVisible"]:
            unseen.append(found)
    assert {"Skip to the view", "text", "run", "model", "add", "remove", "tour", "theme"} <= reached
    assert {"Attention", "Next token", "Logit lens", "MLP", "attention", "embed"} <= reached
    assert not unseen


FOCUSED = """
() => {
  const e = document.activeElement;
  const style = getComputedStyle(e);
  const around = [e, e.parentElement, e.nextElementSibling].filter(Boolean).map((x) => getComputedStyle(x));
  const isVisible = around.some((s) => (s.outlineStyle !== "none" && parseFloat(s.outlineWidth) > 0) || s.boxShadow !== "none");
  return {id: e.id, words: e.textContent.trim().slice(0, 40), tag: e.tagName, isVisible};
}
"""


def test_the_skip_link_leads_to_the_view(tab):
    tab.page.keyboard.press("Tab")
    tab.press("Enter")
    assert tab.page.evaluate("document.activeElement.id") == "view"


def test_the_focus_stays_when_the_view_is_drawn_anew(tab):
    tab.go("next")
    tab.page.focus("#top_k")
    tab.press("ArrowLeft", "ArrowLeft")
    assert tab.page.evaluate("document.activeElement.id") == "top_k"
    tab.page.focus("#token-8")
    tab.press("ArrowLeft", "ArrowLeft")
    assert tab.page.evaluate("document.activeElement.id") == "token-6"


@pytest.mark.parametrize("size", [PROJECTOR, PHONE], ids=["projector", "phone"])
def test_nothing_is_cut_off_on_a_small_screen(open_tab, page_address, size):
    tab = open_tab(page_address, size=size)
    tab.why("h.1.attn.scores", 2, 7, 3)
    for view in VIEWS:
        tab.go(view)
        # What is wider than the screen scrolls in a frame of its own; the page itself scrolls downwards only.
        assert tab.page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), view
        for selector in ("#text", "#run", "#add", f'#tabs [data-view="{view}"]', "#view > *"):
            locator = tab.page.locator(selector).first
            locator.scroll_into_view_if_needed()
            box = locator.bounding_box()
            assert box["width"] > 20 and box["height"] > 10, (view, selector)
            assert box["x"] >= 0 and box["x"] + min(box["width"], size[0]) <= size[0] + 1, (view, selector, box)


WIDTHS = (683, 1000, 1100, 1101, 1200, 1300, 1366)
# The names of the columns that are seen: the words, where they begin and where they end.
HEADINGS = """
() => [...document.querySelectorAll(".overview :is(.column:not(.of-block), .tokens .heading[style*='top: 22px'])")]
  .map((heading) => {
    const words = document.createRange();
    words.selectNodeContents(heading);
    const {left, right} = words.getBoundingClientRect();
    const frame = heading.closest(".scroller")?.getBoundingClientRect() ?? {left: 0, right: innerWidth};
    return [heading.textContent, Math.max(left, frame.left), Math.min(right, frame.right)];
  })
  .filter(([, left, right]) => right > left)
  .sort((a, b) => a[1] - b[1])
"""


@pytest.mark.parametrize("width", WIDTHS)
def test_no_heading_of_the_overview_runs_into_another(open_tab, page_address, width):
    tab = open_tab(page_address, size=(width, 384 if width == 683 else 768))
    headings = tab.page.evaluate(HEADINGS)
    assert [headings[0][0], headings[-1][0][-10:]] == ["tokenid", "next token"]
    for (first, _, end), (second, begin, _) in itertools.pairwise(headings):
        assert begin - end >= 4, (first, second, end, begin)
    assert headings[-1][2] <= width


COLOURS = """
() => {
  const of = (selector, name) => getComputedStyle(document.querySelector(selector))[name];
  return [of("body", "backgroundColor"), of("body", "color"), of("#lens-4-8", "backgroundColor"), of("#panel", "borderLeftColor")];
}
"""


@pytest.mark.parametrize("scheme, other", [("light", "dark"), ("dark", "light")])
def test_the_button_turns_light_into_dark_and_back(open_tab, page_address, scheme, other):
    own, opposite = (
        open_tab(page_address, color_scheme=kind).go("lens").page.evaluate(COLOURS) for kind in (scheme, other)
    )
    assert all(a != b for a, b in zip(own, opposite, strict=True))
    tab = open_tab(page_address, color_scheme=scheme).go("lens")
    for colours in (opposite, own):
        assert tab.click("#theme").page.evaluate(COLOURS) == colours


# Beside the colours, a dark page is the light one.
RULES = {"light": {}, "dark": {"runOnly": ["color-contrast"]}}
VIOLATIONS = "(rules) => axe.run({...rules, resultTypes: ['violations']}).then(({violations}) => violations)"


@pytest.mark.parametrize(
    "scheme, size", [("light", DESKTOP), ("dark", DESKTOP), ("light", PROJECTOR)], ids=["light", "dark", "projector"]
)
def test_every_view_is_accessible(open_tab, page_address, scheme, size):
    from axe_playwright_python.sync_playwright import Axe

    tab = open_tab(page_address, size=size, color_scheme=scheme)
    tab.page.evaluate(Axe().axe_script)
    violations = []
    for view in VIEWS:
        tab.go(view)
        if view == "activation":
            tab.why("h.1.attn.scores", 2, 7, 3)  # the panel with its arithmetic
        if view == "changes":
            tab.click('[aria-label="switch off head 0 of block 1"]')
        for violation in tab.page.evaluate(VIOLATIONS, RULES[scheme]):
            nodes = [(node["html"][:150], node["failureSummary"][:200]) for node in violation["nodes"][:2]]
            violations.append((view, violation["id"], len(violation["nodes"]), nodes))
    assert not violations, "\n".join(map(str, violations))
