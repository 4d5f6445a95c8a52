"""The tour in a real browser: its stops, and the browser's Back, Forward and reload among them."""

import pytest
from browser_helpers import DESKTOP, PROJECTOR

pytestmark = pytest.mark.browser


def stop(tab):
    """Return what the box tells, and the view below it; None for no box."""
    if not tab.page.is_visible("#tour-box"):
        return None, tab.place()["view"]
    return (tab.text("#tour-count"), tab.text("#tour-text h2")), tab.page.get_attribute("#view", "data-view")


def test_the_tour_leads_through_the_page(tab):
    tab.click("#tour")
    stops = []
    while tab.page.is_visible("#tour-box"):
        stops.append(tab.text("#tour-text"))
        assert len(stops[-1]) > 40 and tab.page.locator("#view .bad").count() == 0
        tab.click("#tour-next")
        assert len(stops) < 40
    assert len(set(stops)) == len(stops) > 4
    assert tab.page.evaluate("document.activeElement.id") == "tour"


@pytest.mark.parametrize("size", [DESKTOP, PROJECTOR], ids=["desktop", "projector"])
def test_back_forward_and_reload_lead_to_the_stop(open_tab, page_address, size):
    tab = open_tab(page_address, size=size)
    seen = [stop(tab)]
    tab.click("#tour")
    while tab.page.is_visible("#tour-box"):
        seen.append(stop(tab))
        assert stop(tab.reload()) == seen[-1]
        tab.click("#tour-next")
    assert len(seen) == 16 and "stop=" not in tab.address_of_place()
    for expected in reversed(seen[1:-1]):
        assert stop(tab.go_back()) == expected
    assert stop(tab.go_back()) == seen[0]
    for expected in seen[1:-1]:
        assert stop(tab.go_forward()) == expected
    assert stop(tab.go_forward()) == (None, seen[-1][1])


def test_the_box_stays_while_the_reader_looks_around(tab):
    tab.click("#tour").click("#tour-next")
    expected = stop(tab)[0]
    tab.click("#tabs [data-view=lens]").type_text("the fox")
    assert stop(tab) == (expected, "lens")
    assert stop(tab.reload()) == (expected, "lens")
    tab.click("#tour-next").go_back()
    assert stop(tab) == (expected, "lens") and tab.run()["text"] == "the fox"


@pytest.mark.parametrize("bad", ["0", "16", "-1", "x"])
def test_an_address_with_no_stop_of_the_tour_leads_nowhere(open_tab, page_address, bad):
    tab = open_tab(page_address, place=f"#view=lens&stop={bad}")
    assert stop(tab) == (None, "overview") and "leads nowhere" in tab.text("#status")
