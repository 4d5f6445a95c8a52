"""The keys of the page in a real browser: what Space does after a click, and after the Tab key."""

import pytest
from browser_helpers import TEXT

pytestmark = pytest.mark.browser

# What a reader has clicked before the Space bar is pressed, one after the other.
CLICKS = {
    "a tab": ('#tabs [data-view="lens"]',),
    "a tab and a cell": ('#tabs [data-view="lens"]', "#lens-2-4"),
    "a token of the arcs": ('#tabs [data-view="attention"]', ".arcs .place:nth-child(4) .token"),
    "a part of the map": ("#map .part >> nth=2",),
    "a guess, whose panel is open": (".next-box .candidate",),
    "the next stop of the tour": ("#tour", "#tour-next"),
    "what a stop is about": ("#tour", "#tour-again"),
}


def length(tab):
    return len(tab.run()["ids"])


@pytest.mark.parametrize("what", CLICKS)
def test_space_adds_a_token_after_a_click(tab, what):
    for selector in CLICKS[what]:
        tab.click(selector)
    before, view = length(tab), tab.place()["view"]
    tab.press(" ", " ")
    assert (length(tab), tab.place()["view"]) == (before + 2, view)


def test_space_adds_a_token_after_escape_has_closed_the_panel(tab):
    before = length(tab)
    tab.click(".next-box .candidate").press("Escape", " ")
    assert length(tab) == before + 1 and "why" not in tab.place()


def test_space_presses_the_button_that_the_keyboard_led_to(tab):
    before = length(tab)
    tab.click("#back" if tab.page.is_enabled("#back") else "#tabs [data-view=lens]")
    tab.press("Tab", " ")
    assert (length(tab), tab.place()["view"]) == (before, "next")
    tab.page.focus("#remove")
    tab.press(" ")
    assert length(tab) == before - 1
    # The arrow keys, too, lead to a button.
    tab.click("#tabs [data-view=lens]").click("#lens-2-4").press("ArrowUp", " ")
    assert (length(tab), tab.place()["layer"]) == (before - 1, 2)


def test_space_in_a_field_is_the_fields(tab):
    tab.click("#text")
    tab.page.keyboard.press("End")
    tab.press(" ")
    assert tab.page.input_value("#text") == f"{TEXT} "
    tab.click("#tabs [data-view=next]").click("#temperature").press(" ")
    tab.click("#tabs [data-view=attention]")
    tab.page.focus("#choose-block")
    tab.page.dispatch_event("#choose-block", "keydown", {"key": " "})
    assert tab.settled().run()["text"] == TEXT
