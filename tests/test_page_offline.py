"""The page as one file, opened in a real browser from the disk, with the network cut off."""

import numpy as np
import pytest
from browser_helpers import PROJECTOR, TEXT, VIEWS
from helpers import run_here
from hostile_texts import HOSTILE_TEXTS, is_harmed
from page_checks import assert_numbers_are_those_of, assert_whys_are_those_of, size_of, trace_of

import minigpt
from minigpt.looking import beam_tree, logit_lens
from minigpt.ops.plain import softmax

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def saved_page(tmp_path_factory):
    """The address of a page that `minigpt step --html` has written."""
    path = tmp_path_factory.mktemp("page") / "fox.html"
    result = run_here("step", TEXT, "--html", path)
    assert result.returncode == 0, result.stderr
    return path.as_uri()


@pytest.fixture
def open_file(open_tab):
    """Return a function that opens a file's address without a network: any request then fails the test."""

    def open_file(address, **options):
        return open_tab(address, is_offline=True, **options)

    return open_file


def write_to(folder, model, tokenizer, text):
    from minigpt.page.file import write_page

    write_page(folder / "page.html", model, tokenizer, text)
    return (folder / "page.html").as_uri()


def test_the_file_has_the_numbers_of_the_text(open_file, saved_page, bundled):
    model, tokenizer = bundled
    tab = open_file(saved_page)
    run = tab.run()
    assert (run["text"], run["ids"]) == (TEXT, tokenizer.encode(TEXT))
    trace = trace_of(model, run["ids"])
    for name, array in trace.items():
        shape, found = tab.page.evaluate(
            "(name) => minigpt.numbers(name).then(({shape, data}) => [shape, Array.from(data)])", name
        )
        assert tuple(shape) == array.shape
        assert np.allclose(np.reshape(found, shape), array, rtol=0, atol=2e-6 * size_of(array)), name


def test_views_show_the_same_numbers(open_file, saved_page, bundled):
    model, tokenizer = bundled
    tab = open_file(saved_page)
    trace = trace_of(model, tokenizer.encode(TEXT))
    for view in VIEWS:
        for layer, head, token in ((1, 2, 6), (0, 0, 0)):
            tab.go(view, layer=layer, head=head, token=token)
            assert tab.page.locator("#view .bad").count() == 0, view
            assert_numbers_are_those_of(trace, tab.numbers("#view"))


def test_space_shows_the_tokens_that_the_model_added(open_file, saved_page, bundled):
    model, tokenizer = bundled
    ids = model.generate(tokenizer.encode(TEXT), max_new_tokens=12)[0].tolist()
    tab = open_file(saved_page).leave_field()
    for n in range(len(ids) - 11, len(ids) + 1):
        tab.press(" ")
        assert tab.run()["ids"] == ids[:n]
    assert_numbers_are_those_of(trace_of(model, ids), tab.go("next").numbers("#view"))
    tab.leave_field().press(" ")
    assert tab.run()["ids"] == ids and tab.page.get_attribute("#status", "class") == "bad"
    tab.click("#remove")
    assert tab.run()["ids"] == ids[:-1]
    assert tab.page.input_value("#text") == tokenizer.decode(ids[:-1])


def test_the_way_back_is_also_a_way_on(open_file, saved_page, bundled):
    model, tokenizer = bundled
    ids = tokenizer.encode(TEXT)
    guesses = model(ids).argmax(axis=-1)
    n = next(n for n in range(len(ids) - 1, 0, -1) if guesses[n - 1] != ids[n])  # the text is not the first guess here
    tab = open_file(saved_page)
    for _ in range(len(ids) - n):
        tab.click("#remove")
    assert tab.run()["ids"] == ids[:n]
    tab.leave_field().press(" ")
    assert tab.run()["ids"] == ids[: n + 1] and tab.page.get_attribute("#status", "class") != "bad"


def test_why_is_that_of_python(open_file, saved_page, bundled):
    model, tokenizer = bundled
    assert_whys_are_those_of(open_file(saved_page), minigpt.step(model, tokenizer, TEXT), seed=2, tolerance=1e-5)


def test_clicks_lead_to_where_the_way_ends(open_file, saved_page):
    tab = open_file(saved_page)
    tab.go("next")
    tab.page.locator("#view tr[data-token] button.value").first.click()
    while tab.settled().page.locator("#why-follow").count():
        tab.page.click("#why-follow")
    assert any("wte.weight" in text for text in tab.texts("#panel .terms .term .what code"))


def test_lens_and_beams_are_those_of_looking(open_file, saved_page, bundled):
    model, tokenizer = bundled
    tab = open_file(saved_page)
    probs = softmax(logit_lens(model, tokenizer, TEXT).logits.astype(float)).max(axis=-1)
    tab.go("lens")
    cells = tab.page.eval_on_selector_all(
        "button[data-row]",
        "(cells) => cells.map((c) => [Number(c.dataset.row), Number(c.dataset.token), Number(c.dataset.value)])",
    )
    assert len(cells) == probs.size
    for row, position, p in cells:
        assert p == pytest.approx(float(probs[row, position]), abs=1e-5)
    tab.go("beams")
    scores = tab.page.eval_on_selector_all(
        "button.beam[data-node]", "(nodes) => nodes.map((n) => Number(n.dataset.value))"
    )
    assert scores == [pytest.approx(node.score, abs=1e-4) for node in beam_tree(model, tokenizer, TEXT).nodes]


def test_the_beams_are_searched_with_the_settings_of_the_file(open_file, tmp_path, bundled, monkeypatch):
    options = {"num_beams": 2, "steps": 3}
    monkeypatch.setattr("minigpt.page.file.BEAM_OPTIONS", options)
    tab = open_file(write_to(tmp_path, *bundled, "the fox")).go("beams")
    nodes = beam_tree(*bundled, "the fox", **options).nodes
    assert tab.page.locator("button.beam[data-node]").count() == len(nodes)


def test_which_words_a_logit_came_from(open_file, saved_page, bundled):
    model, tokenizer = bundled
    tab = open_file(saved_page)
    last = len(tab.run()["ids"]) - 1
    best = np.argsort(-model(tab.run()["ids"])[-1])[:6].tolist()
    steps = minigpt.step(model, tokenizer, TEXT)
    shown = "(all) => all.map((e) => Number(e.dataset.value))"
    tab.why("logits", last, best[0])
    for rival, expected in (
        ("", steps.token_attribution(best[0])),
        (str(best[2]), steps.token_attribution(best[0], best[2])),
    ):
        tab.page.select_option("#why-rival", rival)
        values = tab.settled().page.eval_on_selector_all(".causes [data-position]", shown)
        largest = sorted(expected.by_token[:last], key=abs, reverse=True)
        assert values == pytest.approx(largest[: len(values)], abs=1e-4) and len(values) >= 4
    tab.page.select_option("#why-rival", str(best[5]))
    assert "most probable tokens alone" in tab.settled().text(".why-tokens") and not tab.texts(".causes")
    tab.page.select_option("#why-rival", "")  # and back again
    assert tab.settled().texts(".causes")


def test_what_a_file_cannot_do_is_said_in_a_sentence(open_file, saved_page):
    tab = open_file(saved_page)
    assert tab.page.locator("#run, #model").count() == 0 and tab.page.get_attribute("#text", "readonly") is not None
    assert "minigpt step" in tab.go("changes").text("#view") and "minigpt step" in tab.go("compare").text("#view")
    tab.why("h.0.attn.q", 1, 2, 3)
    assert tab.page.locator("#change-number").count() == 0
    error = tab.page.evaluate("minigpt.newRun({text: 'another text'}).catch((error) => error.message)")
    assert "one run" in error
    tab.go("beams")
    tab.click("button.beam.best")
    assert "saved page" in tab.text("#status")


def test_a_file_without_parameters_says_so(open_file, tmp_path, bundled, monkeypatch):
    monkeypatch.setattr("minigpt.page.file.MAX_PARAMETERS", 0)
    tab = open_file(write_to(tmp_path, *bundled, "the fox"))
    for name, index in (("embed", (1, 3)), ("h.1.attn.q", (0, 1, 2)), ("h.2.mlp.out", (1, 5)), ("logits", (1, 9))):
        tab.why(name, *index)
        assert "no parameters" in tab.text("#panel .why") and tab.page.locator("#panel .bad").count() == 0
    best = bundled[0](bundled[1].encode("the fox")).argmax(axis=-1).tolist()
    last = len(best) - 1
    tab.why("logits", last, best[last])
    assert tab.page.locator(".why-tokens .causes [data-value]").count() == last + 2  # the tokens and the biases
    tab.why("logits", 0, best[0])
    assert tab.page.locator(".why-tokens").bounding_box()["height"] < 120
    assert "most probable tokens alone" in tab.text(".why-tokens") and tab.page.locator("#why-rival").count() == 0
    tab.why("h.1.attn.scores", 1, 1, 0)  # made of activations alone
    assert tab.page.locator("#panel .terms .term").count() > 10


LACKS = {
    "colours": "CSS.supports = (_, value) => !value.startsWith('light-dark(')",
    "numbers": "delete globalThis.DecompressionStream",
}


@pytest.mark.parametrize("lack", LACKS)
@pytest.mark.parametrize("address", ["page_address", "saved_page"])
def test_a_browser_that_is_too_old_shows_nothing_but_a_sentence(chromium, request, address, lack):
    page = chromium.new_page()
    page.add_init_script(LACKS[lack])
    page.goto(request.getfixturevalue(address))
    page.get_by_text("too old for this page, which needs Chrome 123, Firefox 120, Safari 17.5").wait_for()
    assert page.inner_text("body").count("\n") == 0 and page.evaluate("globalThis.minigpt") is None
    page.close()


def test_a_hostile_vocabulary_is_only_text(open_file, tmp_path, hostile_model):
    model, tokenizer = hostile_model
    tab = open_file(write_to(tmp_path, model, tokenizer, "abc"))
    for view in VIEWS:
        tab.go(view)
        assert not is_harmed(tab), view
    tab.leave_field().press(" ", " ", " ")
    tab.why("logits", 3, 9)
    assert not is_harmed(tab)


@pytest.mark.parametrize("text", HOSTILE_TEXTS[::2])
def test_a_hostile_text_is_only_text(open_file, tmp_path, bundled, text):
    tab = open_file(write_to(tmp_path, *bundled, text))
    for view in ("overview", "next", "changes"):
        tab.go(view)
        assert not is_harmed(tab), view
    assert tab.page.input_value("#text") == text


def test_a_file_is_accessible_and_fits_a_small_screen(open_file, saved_page):
    from axe_playwright_python.sync_playwright import Axe

    tab = open_file(saved_page, size=PROJECTOR)
    tab.page.evaluate(Axe().axe_script)
    for view in ("overview", "beams", "compare", "changes"):  # the others are those of the served page
        tab.go(view)
        violations = tab.page.evaluate("axe.run({resultTypes: ['violations']}).then(({violations}) => violations)")
        assert not violations, (view, [(v["id"], v["nodes"][0]["html"][:200]) for v in violations])
        assert tab.page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), view
