"""Changing a run on the page, and comparing two texts, against edits of the model."""

import re

import numpy as np
import pytest
from browser_helpers import DESKTOP, PROJECTOR, TEXT, serve_in_thread
from letter_models import letter_model, letter_tokenizer
from page_checks import drawn_index, head_off, shows, size_of, trace_of

from minigpt import GPT2, GPT2Config
from minigpt.ops.plain import softmax

pytestmark = pytest.mark.browser

SECOND = "Once upon a time there was a little bear"


def test_a_head_that_is_switched_off_is_off_in_python(tab, bundled):
    model, _ = bundled
    ids = tab.run()["ids"]
    before = trace_of(model, ids)["logits"][-1]
    tab.go("changes")
    for layer, head in ((0, 0), (2, 3)):
        tab.click(f'[aria-label="switch off head {head} of block {layer}"]')
    edit = {"h.0.attn.heads": head_off(0), "h.2.attn.heads": head_off(3)}
    trace = trace_of(model, ids, edit=edit)
    assert_logits_are(tab, trace["logits"])
    assert_code_gives(tab, trace["logits"])
    rows = tab.page.eval_on_selector_all("table.outcome tbody tr", OUTCOME)
    assert len(rows) == 10
    for row in rows:
        p = [float(softmax(logits.astype(float))[row["id"]]) for logits in (before, trace["logits"][-1])]
        assert row["p"] == [pytest.approx(x, abs=1e-6) for x in p]
        assert row["difference"] == pytest.approx(p[1] - p[0], abs=1e-6)
    assert tab.text("#show-changes") == "2 changes"
    tab.click('[aria-label="switch off head 0 of block 0"]')  # once more: on again
    assert_logits_are(tab, trace_of(model, ids, edit={"h.2.attn.heads": head_off(3)})["logits"])
    tab.click("#undo-all")
    assert_logits_are(tab, trace_of(model, ids)["logits"])


OUTCOME = """
(rows) => rows.map((row) => {
  const cells = [...row.querySelectorAll("td[data-value]")];
  return {id: Number(cells[0].dataset.id), p: cells.slice(0, 2).map((cell) => Number(cell.dataset.value)), difference: Number(cells[2].dataset.value)};
})
"""
LOGITS = "minigpt.numbers('logits').then(({data}) => Array.from(data))"


def assert_logits_are(tab, logits):
    found = np.array(tab.page.evaluate(LOGITS)).reshape(logits.shape)
    assert np.allclose(found, logits, atol=1e-5 * size_of(logits))


def assert_code_gives(tab, logits):
    """Execute the Python that the view of changes shows, as it is copied."""
    names = {}
    exec(tab.text("#view .code-block code"), names)
    assert np.allclose(names["logits"], logits, atol=1e-4 * size_of(logits))


def test_a_change_that_the_answer_hardly_depends_on_says_so(tab, bundled):
    """The logit falls, the probability is still close to 1: two decimals tell the difference."""
    model, _ = bundled
    tab.type_text("Once upon a time there was a little girl named Julia. She lived with")
    ids = tab.run()["ids"]
    tab.go("changes")
    tab.click('[aria-label="switch off head 3 of block 3"]')
    runs = [trace_of(model, ids), trace_of(model, ids, edit={"h.3.attn.heads": head_off(3)})]
    logits = [trace["logits"][-1].astype(float) for trace in runs]
    best = logits[0].argmax()
    p = [100 * softmax(x)[best] for x in logits]
    said = tab.text("#verdict")
    assert p[0] > 99.995 and 98 < p[1] < 99
    shown = ["> 99.99 %", f"{p[1]:.2f} %"]
    assert f": {shown[0]} before, {shown[1]} after." in said
    before, after = (x[best] for x in logits)
    lead = [x[best] - np.delete(x, best).max() for x in logits]
    reason = tab.text("#reason")
    numbers = [float(x) for x in re.findall(r"[\d.]*\d", reason)]
    assert "fell by" in reason and numbers == pytest.approx([before - after, before, after, *lead], rel=1e-3)
    assert "other parts are enough for this answer" in reason
    row = tab.page.locator(f'table.outcome tr:has([data-id="{best}"])')
    assert row.locator(".number").all_inner_texts() == shown
    assert row.locator(".difference").inner_text() == f"−{p[0] - p[1]:.1f}"
    assert "percentage points" in tab.text("table.outcome thead")
    tab.click('[aria-label="switch off the MLP of block 0"]')  # now it says something else
    assert "now it says" in tab.text("#verdict") and not tab.page.locator("#reason").count()


def test_what_changes_downstream_is_the_difference_of_the_traces(tab, bundled):
    model, _ = bundled
    ids = tab.run()["ids"]
    tab.go("changes")
    tab.click('[aria-label="switch off the MLP of block 1"]')
    trace = trace_of(model, ids)
    changed = trace_of(model, ids, edit={"h.1.mlp.out": lambda x: 0 * x})
    assert_code_gives(tab, changed["logits"])
    closed = "details:not([open]) > summary[id^=differences]"
    while tab.page.locator(closed).count():
        tab.page.locator(closed).first.click()
    rows = tab.settled().page.eval_on_selector_all(
        "table.differences tbody tr",
        "(rows) => rows.map((row) => [row.dataset.name, Number(row.dataset.value), row.querySelector('td:last-child').textContent])",
    )
    assert {name for name, _, _ in rows} == trace.keys()
    for name, value, place in rows:
        a, b = ((t[name][-1:] if name == "logits" else t[name]) for t in (trace, changed))
        apart = np.abs(b - a)
        if name.endswith("scores"):
            apart = np.tril(apart)
        assert value == pytest.approx(float(apart.max()), abs=1e-5 * size_of(a)), name
        if value:
            index = tuple(int(i) for i in place.strip("[]").split(", "))
            where = trace[name][index], changed[name][index]
            assert abs(where[1] - where[0]) == pytest.approx(value, abs=1e-5 * size_of(a)), name


def test_a_single_number_can_be_set(tab, bundled):
    model, _ = bundled
    ids = tab.run()["ids"]
    tab.why("h.1.mlp.act", 5, 17)
    tab.click("#change-number")
    assert tab.page.input_value("#change-index") == "5, 17"
    tab.page.fill("#change-value", "3.5")
    tab.click("#change-do")

    def put(x):
        x[:, 5, 17] = 3.5
        return x

    trace = trace_of(model, ids, edit={"h.1.mlp.act": put})
    assert_logits_are(tab, trace["logits"])
    assert_code_gives(tab, trace["logits"])
    tab.why("h.1.mlp.act", 5, 17)
    assert "edited" in tab.text("#panel .why")
    assert float(tab.page.get_attribute(".why-value", "data-value")) == 3.5


def test_an_activation_can_be_scaled(tab, bundled):
    model, _ = bundled
    ids = tab.run()["ids"]
    tab.go("changes")
    tab.click("#change-scale")
    tab.page.select_option("#change-name", "h.2.attn.v")
    tab.page.select_option("#change-head", "1")
    tab.page.select_option("#change-token", "3")
    tab.page.fill("#change-factor", "-1.5")
    tab.click("#change-do")

    def scale(x):
        x[:, 1, 3] *= -1.5
        return x

    trace = trace_of(model, ids, edit={"h.2.attn.v": scale})
    assert_logits_are(tab, trace["logits"])
    assert_code_gives(tab, trace["logits"])


def test_a_model_that_was_chosen_brings_its_own_limit_and_python(open_tab, tmp_path, bundled):
    GPT2.random(GPT2Config(vocab_size=20, n_positions=6, n_embd=4, n_layer=1, n_head=1), seed=0).save_pretrained(
        tmp_path
    )
    model = GPT2.from_pretrained(tmp_path)
    tab = open_tab(serve_in_thread(model, letter_tokenizer(model), "abcd"))
    tab.leave_field().press(" ", " ", " ")
    assert len(tab.run()["ids"]) == 6 and "as many as fit" in tab.text("#status")
    tab.page.fill("#text", TEXT)
    tab.page.select_option("#model", "stories")
    tab.settled().click("#add")
    model, tokenizer = bundled
    ids = tokenizer.encode(TEXT)
    assert tab.run()["ids"] == model.generate(ids, max_new_tokens=1)[0].tolist()
    tab.go("changes")
    assert_code_gives(tab, trace_of(model, tab.run()["ids"])["logits"])


def test_two_texts_are_compared_number_by_number(tab, bundled):
    model, tokenizer = bundled
    ids, second = tokenizer.encode(TEXT), tokenizer.encode(SECOND)
    assert len(ids) == len(second)
    tab.go("compare")
    tab.page.fill("#other-text", SECOND)
    tab.click("#compare-run")
    trace, other = trace_of(model, ids), trace_of(model, second)
    differing = sum(a != b for a, b in zip(ids, second, strict=True))
    assert tab.text("#compare-count").startswith(f"{differing} position")
    rows = tab.page.eval_on_selector_all("table.outcome tbody tr", OUTCOME)
    for row in rows:
        p = [float(softmax(t["logits"][-1].astype(float))[row["id"]]) for t in (trace, other)]
        assert row["p"] == [pytest.approx(x, abs=1e-6) for x in p]
    rng = np.random.default_rng(5)
    for name in ("h.1.resid", "h.2.attn.weights", "h.0.mlp.act"):
        tab.page.select_option("#compare-name", name)
        tab.settled()
        for title, values in (("this text", trace), ("second text", other), ("second − this", None)):
            field = tab.page.locator(f'[id="field {name}, {title}"]')
            field.focus()
            ups, rights = drawn_index(rng, (3, 5))
            tab.press(*["ArrowUp"] * ups, *["ArrowRight"] * (rights + 1))
            words = field.locator(".tip").inner_text()
            place, value = words.rsplit("] ", 1)
            index = tuple(int(i) for i in place[place.index("[") + 1 :].split(", "))
            expected = other[name][index] - trace[name][index] if values is None else values[name][index]
            assert "hidden" in value or shows(value, expected, size_of(trace[name])), (words, expected)


def test_two_long_texts_are_compared_by_the_numbers_that_stand_out(tab, bundled):
    model, tokenizer = bundled
    first, second = (" ".join([text] * 8) for text in (TEXT, SECOND))
    tab.type_text(first)
    tab.go("compare")
    tab.page.fill("#other-text", second)
    tab.click("#compare-run")
    trace, other = (trace_of(model, tokenizer.encode(text)) for text in (first, second))
    tab.page.select_option("#compare-name", "logits")
    tab.settled()
    cells = int(re.search(r"1592 numbers of a row share (\d+) cells", tab.text("#view .legend"))[1])
    assert 40 < cells < 400
    edges = np.arange(cells + 1) * 1592 // cells
    wholes = {"this text": trace["logits"], "second text": other["logits"]}
    for title, whole in (wholes | {"second − this": other["logits"] - trace["logits"]}).items():
        field = tab.page.locator(f'[id="field logits, {title}"]')
        field.focus()
        for cell in range(4):
            tab.press("ArrowRight" if cell else "ArrowLeft")
            words, value = field.locator(".tip").inner_text().rsplit("] ", 1)
            t, column = (int(i) for i in words[words.index("[") + 1 :].split(", "))
            part = np.abs(whole[t, edges[cell] : edges[cell + 1]])
            assert edges[cell] <= column < edges[cell + 1] and t == len(whole) - 1
            assert shows(value, whole[t, column], size_of(whole)), (title, words, value)
            assert abs(whole[t, column]) == pytest.approx(part.max(), abs=1e-5)


def test_two_short_texts_are_compared_by_every_number_of_a_wide_mlp(open_tab):
    model = letter_model(n_inner=3072)  # as wide as that of GPT-2 small
    tokenizer = letter_tokenizer(model)
    tab = open_tab(serve_in_thread(model, tokenizer, "face"))
    tab.go("compare", name="h.1.mlp.pre")
    tab.page.fill("#other-text", "fade")
    tab.click("#compare-run")
    assert tab.page.locator("#view .bad").count() == 0, tab.texts("#view .bad")
    first, second = (trace_of(model, tokenizer.encode(text))["h.1.mlp.pre"] for text in ("face", "fade"))
    field = tab.page.locator('[id="field h.1.mlp.pre, second − this"]')
    field.focus()
    tab.press("ArrowDown", "ArrowDown")
    words, value = field.locator(".tip").inner_text().rsplit("] ", 1)
    t, column = (int(i) for i in words[words.index("[") + 1 :].split(", "))
    assert shows(value, second[t, column] - first[t, column], size_of(first)), (words, value)


def test_a_copied_activation_moves_the_answer(tab, bundled):
    model, tokenizer = bundled
    ids, second = tokenizer.encode(TEXT), tokenizer.encode(SECOND)
    tab.go("compare")
    tab.page.fill("#other-text", SECOND)
    tab.click("#compare-run")
    tab.page.select_option("#compare-name", "h.2.resid")
    tab.page.select_option("#compare-token", "8")
    tab.click("#compare-copy")
    other = trace_of(model, second)

    def copy(x):
        x[:, 8] = other["h.2.resid"][8]
        return x

    trace = trace_of(model, ids, edit={"h.2.resid": copy})
    assert_logits_are(tab, trace["logits"])
    logits = [t["logits"][-1] for t in (trace_of(model, ids), trace, other)]
    answer, wrong = (int(tab.page.input_value(f"#patch-{which}")) for which in ("answer", "wrong"))
    without, now, goal = (float(x[answer] - x[wrong]) for x in logits)
    effect = float(tab.page.get_attribute("#patch-effect", "data-value"))
    assert effect == pytest.approx((now - without) / (goal - without), abs=1e-6)
    assert f"The changes go {100 * effect:.0f} % of the way" in tab.text("#patch-effect")
    tab.go("changes")
    assert_code_gives(tab, trace["logits"])
    tab.go("compare")
    tab.click("#compare-swap")
    assert tab.run()["text"] == SECOND and tab.run()["changes"] == []


def test_every_patch_is_measured(tab, bundled):
    model, tokenizer = bundled
    tab.type_text("The fox was")
    tab.go("compare")
    tab.page.fill("#other-text", "The bear was")
    tab.click("#compare-run")
    texts = [tokenizer.encode(tab.run()["text"]), tokenizer.encode("The bear was")]
    assert len(texts[0]) == len(texts[1])
    answer, wrong = (int(tab.page.input_value(f"#patch-{which}")) for which in ("answer", "wrong"))
    part = tab.page.input_value("#compare-name").split(".", 2)[2]
    tab.click("#patch-all")
    other = trace_of(model, texts[1])

    def effect(name, t):
        def copy(x):
            x[:, t] = other[name][t]
            return x

        logits = trace_of(model, texts[0], edit={name: copy})["logits"][-1]
        return float(logits[answer] - logits[wrong])

    without, goal = (
        float(trace["logits"][-1][answer] - trace["logits"][-1][wrong]) for trace in (trace_of(model, texts[0]), other)
    )
    field = tab.page.locator(f'[id="field effect of {part}"]')
    field.focus()
    T = len(texts[0])
    tab.press("ArrowUp")
    for t in range(1, T):
        tab.press("ArrowRight")
        words, value = field.locator(".tip").inner_text().split(": effect ")
        name = words.split(",")[0]
        assert f"token {t} " in words
        assert shows(value, (effect(name, t) - without) / (goal - without))


@pytest.mark.parametrize("size", [PROJECTOR, DESKTOP])
def test_all_of_the_second_text_is_shown_and_the_word_to_change_selected(open_tab, page_address, size):
    tab = open_tab(page_address, size=size)
    first = (
        "One sunny morning Anna and her friend Ben found a red ball in the forest. It lay under a tree. She was glad."
    )
    tab.type_text(first)
    tab.go("compare")
    second = first.replace("Ben", "Tom").replace("glad", "sad")
    tab.page.fill("#other-text", f"{first} ")
    tab.press("Enter")
    tab.page.fill("#other-text", second)
    tab.click("#compare-run")
    field = tab.page.locator("#other-text")
    assert field.evaluate("(text) => text.scrollHeight <= text.clientHeight && text.scrollWidth <= text.clientWidth")
    selected = "(text) => text.value.slice(text.selectionStart, text.selectionEnd)"
    assert field.evaluate(selected) == "Tom" and field.input_value() == second
