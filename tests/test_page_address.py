"""The place in the page's address, in a real browser: links, reloads, the browser's Back and Forward."""

import itertools
import json
import shutil
from urllib.parse import quote, urlencode

import pytest
from browser_helpers import TEXT, VIEWS
from hostile_texts import HOSTILE_TEXTS, is_harmed

from minigpt.page.file import write_page

pytestmark = pytest.mark.browser

HEAD_OFF = {"kind": "zero", "name": "h.1.attn.heads", "head": 1}
SECOND = "Once upon a time there was a little bear"


def state(tab):
    """Return what must be the same where an address leads."""
    other = tab.page.evaluate("minigpt.other?.text ?? null")
    asked = tab.text("#why-title") if tab.page.locator("#why-title").count() else None
    return tab.place(), tab.run(), other, tab.page.get_attribute("#view", "data-view"), asked


def change(tab):
    tab.page.evaluate("(changes) => minigpt.newRun({ids: minigpt.run.ids, changes})", [HEAD_OFF])
    return tab.settled()


def compare(tab, text):
    tab.page.fill("#other-text", text)
    return tab.click("#compare-run")


def choose(tab, selector, value):
    tab.page.select_option(selector, value)
    return tab.settled()


# Each makes one entry in the browser's history.
STEPS = {
    "a head": lambda tab: tab.go("attention", layer=3, head=2, token=7, key=4, stage="scaled"),
    "a number": lambda tab: tab.why("h.3.attn.scores", 2, 7, 4),
    "where it comes from": lambda tab: tab.click("#why-follow"),
    "where that comes from": lambda tab: tab.click("#why-follow"),
    "the embedding in the lens": lambda tab: tab.go("lens", layer=-1, token=2),
    "one token more": lambda tab: tab.leave_field().press(" "),
    "a change": change,
    "another text": lambda tab: tab.type_text("Grüße, 你好 & #1 = 50 % + 👩‍👧!\nA line"),
    "the first text": lambda tab: tab.type_text(TEXT),
    "the view of two texts": lambda tab: tab.go("compare"),
    "a second text": lambda tab: compare(tab, SECOND),
    "one of its tokens": lambda tab: choose(tab, "#compare-token", "8"),
    "a copy": lambda tab: tab.click("#compare-copy"),
}


def assert_reload_leads_here(tab, what):
    expected, address = state(tab), tab.address_of_place()
    assert (state(tab.reload()), tab.address_of_place()) == (expected, address), what


def assert_link_leads_here(tab, open_tab, page_address, what=None):
    other = open_tab(page_address, place=tab.address_of_place(), is_offline=page_address.startswith("file:"))
    assert (state(other), other.address_of_place()) == (state(tab), tab.address_of_place()), what
    assert other.page.is_disabled("#back") and other.text("#status") == "", what
    other.page.context.close()


def test_a_reload_leads_to_every_view(tab):
    for view in VIEWS:
        tab.go(view, layer=2, head=1, token=5, name="h.2.ln_2")
        assert_reload_leads_here(tab, view)


def test_a_link_and_a_reload_lead_to_every_run(tab, open_tab, page_address):
    for what, step in STEPS.items():
        step(tab)
        assert_reload_leads_here(tab, what)
        if what in ("where that comes from", "another text", "a copy"):
            assert_link_leads_here(tab, open_tab, page_address, what)


WAYS_BACK = (
    lambda tab: tab.go_back(),
    lambda tab: tab.click("#back"),
    lambda tab: tab.leave_field().press("Backspace"),
)


def test_the_browser_and_the_page_go_back_the_same_way(tab):
    seen = [(state(tab), tab.address_of_place())]
    for step in STEPS.values():
        step(tab)
        seen.append((state(tab), tab.address_of_place()))
    for expected, back in zip(reversed(seen[:-1]), itertools.cycle(WAYS_BACK)):
        back(tab)
        assert (state(tab), tab.address_of_place()) == expected
    assert tab.page.is_disabled("#back")
    for expected in seen[1:]:
        tab.go_forward()
        assert (state(tab), tab.address_of_place()) == expected
    # The way back outlives a reload.
    assert state(tab.reload().click("#back")) == seen[-2][0]


def test_a_slider_and_the_same_place_make_no_entry(tab):
    tab.go("vectors", layer=1, head=1)
    first = tab.page.evaluate("history.length")
    tab.page.check("#query-token-3", force=True)
    tab.settled()
    assert "token=3" in tab.address_of_place()
    tab.go("vectors", layer=1, head=1, token=3)
    tab.type_text(TEXT)
    assert tab.page.evaluate("history.length") <= first + 1
    tab.click("#back")
    tab.click("#back")
    assert tab.place() == {"view": "overview"}


def test_two_entries_of_the_same_place_are_two_steps_back(tab):
    tab.page.evaluate("() => { location.hash = 'view=nowhere'; }")  # shows the overview, as the entry before does
    tab.settled().click("#back")
    assert tab.place() == {"view": "overview"} and tab.text("#status") == ""
    assert tab.page.is_disabled("#back") and tab.page.get_attribute("#view", "aria-busy") == "false"


HOLD_RUNS = """
const ask = minigpt.source.ask;
globalThis.held = [];
minigpt.source.ask = async (question) => {
  if (question.ask === "run") await new Promise((resolve) => held.push(resolve));
  return ask(question);
};
null
"""


@pytest.mark.parametrize("back", WAYS_BACK)
def test_while_the_program_does_not_answer_the_way_back_is_kept(tab, back):
    tab.expect_fault("ERR_FAILED")
    tab.go("lens", token=4)
    tab.type_text("the fox")
    before, address = tab.place(), tab.address_of_place()
    tab.context.route("**/ask", lambda route: route.abort())
    back(tab)
    assert tab.text("#status") == "the program does not answer: is `minigpt step --open` still running?"
    assert tab.page.get_attribute("#status", "class") == "bad"
    assert (tab.place(), tab.run()["text"]) == (before, "the fox")
    assert "view=lens" in tab.address_of_place() and "text=Once" in tab.address_of_place()
    tab.go_forward()
    assert (tab.place(), tab.address_of_place(), tab.text("#status")) == (before, address, "")
    tab.context.unroute("**/ask")
    back(tab)
    assert (tab.place(), tab.run()["text"]) == ({"view": "lens", "token": 4}, TEXT)


def test_a_way_back_that_fails_can_be_gone_on_from(tab):
    tab.expect_fault("ERR_FAILED")
    tab.type_text("the fox")
    tab.context.route("**/ask", lambda route: route.abort())
    tab.click("#back")
    assert tab.page.is_disabled("#back")  # the first entry
    tab.context.unroute("**/ask")
    tab.go("lens")
    assert tab.run()["text"] == "the fox" and "view=lens&text=the+fox" in tab.address_of_place()
    tab.click("#back")
    assert (tab.place(), tab.run()["text"]) == ({"view": "overview"}, TEXT)


def test_who_goes_elsewhere_while_the_way_back_takes_its_time_stays_there(tab):
    tab.type_text("the fox")
    tab.page.evaluate(HOLD_RUNS)
    tab.page.evaluate("document.getElementById('back').click()")
    assert any(tab.page.evaluate("held.length") for _ in range(1000))
    tab.go("mlp", layer=1)
    address = tab.address_of_place()
    tab.page.evaluate("held.forEach((release) => release())")
    tab.settled()
    assert tab.place() == {"view": "mlp", "layer": 1} and tab.run()["text"] == "the fox"
    assert tab.address_of_place() == address and "text=the+fox" in address


RELEASE = "async (i) => { held[i](); for (let n = 0; n < 3; n++) await new Promise(requestAnimationFrame); }"


@pytest.mark.parametrize("is_back_last", [False, True])
def test_of_a_second_text_and_a_way_back_the_later_counts(tab, is_back_last):
    tab.go("compare")
    tab.type_text("the fox")
    tab.page.evaluate(HOLD_RUNS)
    tab.page.fill("#other-text", "the bear")
    buttons = ["back", "compare-run"]
    for n, button in enumerate(reversed(buttons) if is_back_last else buttons, 1):
        tab.page.evaluate("(id) => document.getElementById(id).click()", button)
        assert any(tab.page.evaluate("held.length") == n for _ in range(1000))
    tab.page.evaluate(RELEASE, 1)  # the answer to what was asked first comes last
    tab.page.evaluate(RELEASE, 0)
    _, run, other, *_ = state(tab.settled())
    assert (run["text"], other) == ((TEXT, None) if is_back_last else ("the fox", "the bear"))
    assert ("second=the+bear" in tab.address_of_place()) is not is_back_last


def test_a_click_while_the_page_opens_does_nothing(chromium, page_address):
    """A large model takes seconds for its first run; the tabs are there before."""
    page, held, faults = chromium.new_page(), [], []
    is_run = lambda request: request.post_data_json["ask"] == "run"  # noqa: E731
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.route("**/ask", lambda route: held.append(route) if is_run(route.request) else route.continue_())
    with page.expect_request(lambda request: request.url.endswith("/ask") and is_run(request)):
        page.goto(page_address)
    page.click("#tabs [data-view=lens]")
    assert page.evaluate("[minigpt.run, minigpt.place.view]") == [None, "overview"] and len(held) == 1
    held[0].continue_()
    page.wait_for_selector("#view[data-view=overview][aria-busy=false]")
    page.click("#tabs [data-view=lens]")
    page.wait_for_selector("#view[data-view=lens]")
    assert not faults
    page.close()


BAD_PLACES = {
    "no view": {"view": "nowhere"},
    "a view of JavaScript": {"view": "constructor"},
    "no view of this page": {"text": TEXT},
    "an unknown part": {"view": "next", "onload": "window.hacked=1"},
    "a block that is not there": {"view": "mlp", "layer": 4},
    "a head that is not there": {"view": "attention", "head": 4},
    "a token that is not there": {"view": "next", "token": 9},
    "a key that is not there": {"view": "attention", "key": 9},
    "a layer before the first": {"view": "mlp", "layer": -2},
    "a number that is none": {"view": "mlp", "layer": "1e3"},
    "an activation that is not there": {"view": "activation", "name": "h.4.resid"},
    "a name of JavaScript": {"view": "activation", "name": "__proto__"},
    "a name of HTML": {"view": "activation", "name": "<img src=x onerror=window.hacked=1>"},
    "a number outside": {"view": "next", "why": "logits-3-1592"},
    "a number of too few axes": {"view": "next", "why": "logits-3"},
    "a number of too many axes": {"view": "next", "why": "logits-3-4-0"},
    "a way that leads nowhere": {"view": "next", "why": "logits-3-4", "from": "view=next&why=embed-0-999"},
    "a way without a number": {"view": "next", "why": "logits-3-4", "from": "view=next"},
    "a text that is too long": {"view": "next", "text": "fox " * 300},
    "an empty text": {"view": "next", "text": ""},
    "an id that is none": {"view": "next", "ids": "3-1592"},
    "ids that are no numbers": {"view": "next", "ids": "3,4"},
    "another model": {"view": "next", "model": "../../secret"},
    "changes that are no JSON": {"view": "next", "changes": "window.hacked=1"},
    "changes that are no list": {"view": "next", "changes": "{}"},
    "a change that is none": {"view": "next", "changes": json.dumps([HEAD_OFF | {"kind": "burn"}])},
    "a run that is not known": {"view": "next", "changes": json.dumps([HEAD_OFF | {"kind": "copy", "run": "gone"}])},
    "a second text that is empty": {"view": "compare", "second": ""},
    "no form": "%E0%A4%A",
    "HTML": quote(HOSTILE_TEXTS[0]),
}


def address_with(fields):
    return f"#{fields if isinstance(fields, str) else urlencode(fields)}"


@pytest.mark.parametrize("bad", ["no view", "a number outside", "a text that is too long", "HTML"])
def test_a_link_that_leads_nowhere_shows_the_overview_and_says_so(open_tab, page_address, bad):
    tab = open_tab(page_address, place=address_with(BAD_PLACES[bad]))
    tab.expect_fault("status 400")
    assert_is_overview_with_a_sentence(tab, bad)
    assert tab.run()["text"] == TEXT and tab.page.is_disabled("#back")
    assert tab.go("lens").text("#status") == ""


def test_an_address_that_leads_nowhere_keeps_the_run(tab):
    tab.expect_fault("status 400")
    tab.type_text("the fox")
    tab.go("lens")
    for bad, fields in BAD_PLACES.items():
        tab.page.evaluate("(place) => { location.hash = place; }", address_with(fields))
        assert_is_overview_with_a_sentence(tab.settled(), bad)
        tab.click("#back")
        assert tab.place()["view"] == "lens" and tab.run()["text"] == "the fox" and tab.text("#status") == ""


def assert_is_overview_with_a_sentence(tab, bad):
    assert (tab.place(), tab.page.get_attribute("#view", "data-view")) == ({"view": "overview"}, "overview"), bad
    sentence = tab.text("#status")
    assert sentence.startswith("This address leads nowhere: ") and 30 < len(sentence) < 250, (bad, sentence)
    assert tab.page.get_attribute("#status", "class") == "bad"
    assert tab.address_of_place().startswith("#view=overview&text=")
    assert not is_harmed(tab), bad


def test_a_hostile_text_in_an_address_is_only_text(open_tab, page_address):
    for text in HOSTILE_TEXTS:
        tab = open_tab(page_address, place=f"#{urlencode({'view': 'compare', 'text': text, 'second': text})}")
        assert tab.run()["text"] == text and not is_harmed(tab)
        tab.page.context.close()


def test_an_address_that_is_typed_is_an_entry(tab):
    tab.go("mlp", layer=1)
    tab.page.evaluate("() => { location.hash = 'token=3&view=next'; }")  # in an order of its own
    assert tab.settled().place() == {"view": "next", "token": 3}
    assert tab.address_of_place().startswith("#view=next&token=3&text=")
    tab.click("#back")
    assert tab.place() == {"view": "mlp", "layer": 1}
    tab.click("#back")
    assert tab.page.is_disabled("#back")
    tab.go_forward().go_forward()
    assert tab.place() == {"view": "next", "token": 3}


def test_a_link_to_a_file_leads_there_on_another_machine(open_tab, tmp_path, bundled):
    write_page(tmp_path / "fox.html", *bundled, TEXT)
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(tmp_path / "fox.html", tmp_path / "elsewhere" / "fox.html")
    tab = open_tab((tmp_path / "fox.html").as_uri(), is_offline=True)
    for view in ("attention", "changes"):
        tab.go(view, layer=1, token=3)
        assert_reload_leads_here(tab, view)
    tab.leave_field().press(" ", " ")
    tab.why("h.1.attn.out", 10, 3)
    tab.click("#why-follow")
    assert_link_leads_here(tab, open_tab, (tmp_path / "elsewhere" / "fox.html").as_uri())
    tab.click("#back")
    tab.go_back()
    assert tab.place()["view"] == "changes"
    write_page(tmp_path / "other.html", *bundled, "the bear")
    other = open_tab((tmp_path / "other.html").as_uri(), place=tab.address_of_place(), is_offline=True)
    assert_is_overview_with_a_sentence(other, "another file")
    assert "this file holds one run" in other.text("#status")


def test_a_key_that_is_held_down_leaves_the_address_in_order(open_tab, page_address):
    """A browser refuses too many changes of the address in a short time; those in between are one entry."""
    tab = open_tab(page_address)
    tab.page.clock.install()
    names = [step["name"] for step in tab.page.evaluate("minigpt.steps.map(({name}) => ({name}))")]
    tab.leave_field()
    for name in (names * 2)[:120]:
        tab.page.evaluate("(name) => minigpt.go({view: 'activation', name})", name)
    last = tab.settled().place()
    written = tab.address_of_place()
    assert f"name={last['name']}&" not in written
    # Back leads to the last place that has an entry.
    tab.click("#back")
    assert f"name={tab.place()['name']}&" in written
    tab.go("activation", name=last["name"])
    tab.go("lens", token=4)
    tab.page.clock.fast_forward(31_000)
    assert tab.settled().address_of_place().startswith("#view=lens&token=4&")
    tab.click("#back")
    assert tab.address_of_place() == written
