"""The page that `minigpt step --open` serves, in a real browser: the text, the keys, the way from number to number."""

import re

import numpy as np
import pytest
from browser_helpers import DESKTOP, PROJECTOR, TEXT, VIEWS, serve_in_thread
from hostile_texts import HOSTILE_TEXTS, is_harmed
from page_checks import assert_numbers_are_those_of, drawn_index, shows, size_of, trace_of

import minigpt
from minigpt.activations import ACTIVATIONS, activation_names

pytestmark = pytest.mark.browser

PROMPTS = ("the", "A line.\nAnother line, with a\ttab", "Grüße, 你好, שלום, 👩‍👧!")


def test_the_tokens_of_a_text_are_those_of_the_tokenizer(tab, bundled):
    _, tokenizer = bundled
    for prompt in PROMPTS:
        tab.type_text(prompt)
        ids = tokenizer.encode(prompt)
        assert tab.run()["ids"] == ids
        if tab.page.locator("button.fold").count():  # a long text is folded
            tab.click("button.fold")
        assert [int(text) for text in tab.texts("[id^=overview-token-] .id")] == ids


def test_a_field_tells_every_number_under_the_mouse(tab, bundled):
    model, _ = bundled
    trace = trace_of(model, tab.run()["ids"])
    rng = np.random.default_rng(0)
    names = activation_names(model.config.n_layer)
    for name in rng.choice(names, 8, replace=False):
        index = drawn_index(rng, trace[name].shape)
        tab.go("activation", name=str(name))
        field = field_of(tab, name, index)
        field.scroll_into_view_if_needed()
        box = field.locator("canvas").bounding_box()
        across, down = ((i + 0.5) / size for i, size in zip(index[:-3:-1], trace[name].shape[:-3:-1], strict=True))
        tab.page.mouse.move(box["x"] + across * box["width"], box["y"] + down * box["height"])
        place, found, value = read_tip(field)
        assert place == name and found[:-1] == index[:-1]
        # Where there are more numbers than pixels, the mouse cannot point at each.
        assert abs(found[-1] - index[-1]) <= trace[name].shape[-1] / box["width"]
        assert "hidden" in value or shows(value, trace[name][found], size_of(trace[name])), (name, found, value)


def test_the_keyboard_reads_every_number_and_asks_where_it_comes_from(tab, bundled):
    model, _ = bundled
    trace = trace_of(model, tab.run()["ids"])
    rng = np.random.default_rng(1)
    for activation in ACTIVATIONS:
        name = f"h.{rng.integers(model.config.n_layer)}.{activation.name}" if activation.in_block else activation.name
        shape, size = trace[name].shape, size_of(trace[name])
        tab.go("activation", name=name)
        index = (*drawn_index(rng, shape[:-2]), shape[-2] - 1, 0)  # the cursor begins at the last token's first number
        field = field_of(tab, name, index)
        field.focus()
        ups, rights = int(rng.integers(shape[-2])), int(rng.integers(1, min(6, shape[-1])))
        tab.press(*["ArrowUp"] * ups, *["ArrowRight"] * rights)
        index = (*index[:-2], index[-2] - ups, index[-1] + rights)
        place, found, value = read_tip(field)
        assert (place, found) == (name, index)
        assert value == "hidden by the mask" or shows(value, trace[name][index], size), (name, index, value)
        tab.press("Enter")
        assert asked(tab) == (name, index, pytest.approx(float(trace[name][index]), abs=1e-6 * size))
        assert shows(tab.text(".why-value").removeprefix("= "), trace[name][index], size)
        terms = tab.page.eval_on_selector_all(
            ".terms .term", "(terms) => terms.map((term) => Number(term.dataset.value))"
        )
        assert terms == sorted(terms, key=abs, reverse=True)


def field_of(tab, name, index):
    """The picture of an activation that has the number at an index: that of its head, or the only one."""
    label = f"{name}, head {index[0]}" if len(index) == 3 else name
    return tab.page.locator(f'#view [id="field {label}"]')


def read_tip(field):
    """Return the name, the index and the number that a field's tip tells."""
    words = field.locator(".tip").inner_text()
    place, value = words.split("] ")
    name, index = place.split("[")
    return name, tuple(map(int, index.split(", "))), value


LONG = " ".join([TEXT] * 12)  # 108 tokens


def test_of_many_numbers_a_picture_shows_those_that_stand_out(tab, bundled):
    model, _ = bundled
    tab.type_text(LONG)
    trace = trace_of(model, tab.run()["ids"])
    logits, size = trace["logits"], size_of(trace["logits"])
    tab.go("activation", name="logits")
    cells = int(re.search(r"1592 numbers of a row share (\d+) cells", tab.text("#view .legend"))[1])
    assert 100 < cells < 800
    field = field_of(tab, "logits", (0, 0))
    field.focus()
    edges = np.arange(cells + 1) * 1592 // cells
    for t in (len(logits) - 1, len(logits) - 2):
        for cell in range(5):
            tab.press("ArrowRight" if cell else "ArrowUp" if t < len(logits) - 1 else "ArrowLeft")
            place, (row, column), value = read_tip(field)
            part = np.abs(logits[t, edges[cell] : edges[cell + 1]])
            assert (place, row) == ("logits", t) and abs(logits[t, column]) == part.max()
            assert edges[cell] <= column < edges[cell + 1] and shows(value, logits[t, column], size)
        tab.press("Enter")
        assert asked(tab) == ("logits", (t, column), pytest.approx(float(logits[t, column]), abs=1e-6 * size))
        cursor = tab.page.locator("#view .cursor:not([hidden])")
        assert cursor.count() == 1 and float(cursor.evaluate("(e) => parseFloat(e.style.left)")) == pytest.approx(
            100 * 4 / cells, abs=1e-3
        )
        field.focus()
        tab.press(*["ArrowLeft"] * 4)


# What a page may receive after an action, and how many questions it may ask: what is looked at, not everything.
ACTIONS = {
    "another text": ("(text) => minigpt.newRun({text})", LONG, 10),
    "one more token": ("() => document.getElementById('add').click()", None, 10),
    "the stream": ("() => minigpt.go({view: 'stream', token: 60})", None, 6),
    "the logits": ("() => minigpt.go({view: 'activation', name: 'logits'})", None, 3),
    "the MLP": ("() => minigpt.go({view: 'activation', name: 'h.2.mlp.act'})", None, 3),
    "attention": ("() => minigpt.go({view: 'attention', layer: 1, head: 2})", None, 3),
    "an open next token": ("({mostOpenPosition}) => mostOpenPosition(minigpt)", "open_choice.js", 1),
    "changes": ("() => minigpt.go({view: 'changes'})", None, 3),
    "a head off": ("() => document.querySelector('[aria-label=\"switch off head 1 of block 1\"]').click()", None, 12),
}
WATCH = """
globalThis.received = [];
const ask = minigpt.source.ask;
minigpt.source.ask = async (question) => {
  const answer = await ask(question);
  received.push(JSON.stringify({...answer, arrays: null}).length + answer.arrays.reduce((n, {data}) => n + data.byteLength, 0));
  return answer;
};
null
"""


def test_an_action_fetches_what_is_looked_at(tab):
    tab.page.evaluate(WATCH)
    for action, (script, argument, questions) in ACTIONS.items():
        tab.page.evaluate("received.length = 0")
        tab.module(argument, script) if action == "an open next token" else tab.page.evaluate(script, argument)
        received = tab.settled().page.evaluate("received")
        assert 0 < len(received) <= questions, (action, received)
        assert sum(received) < 400_000, (action, received)


def test_numbers_that_are_asked_for_in_one_go_are_one_question(tab, bundled):
    model, _ = bundled
    trace = trace_of(model, tab.run()["ids"])
    tab.page.evaluate(WATCH)
    places = [["h.2.mlp.out", [3, None]], ["embed", [2, 5]], ["h.2.mlp.out", [3, None]], ["h.1.attn.q", [0, None, 2]]]
    script = """
    (places) => Promise.all(places.map(([name, index]) => minigpt.numbers(name, index).then(
      ({shape, data}) => ({shape, data: [...data], apart: data.buffer.byteLength === data.byteLength}))))
    """
    found = tab.page.evaluate(script, places)
    assert len(tab.page.evaluate("received")) == 1
    for (name, index), answer in zip(places, found, strict=True):
        expected = trace[name][tuple(slice(None) if i is None else i for i in index)]
        assert answer["shape"] == list(expected.shape) and np.array_equal(answer["data"], expected.ravel())
        assert answer["apart"]  # it does not keep the others in memory


def test_a_place_that_does_not_exist_is_refused_alone(tab):
    tab.expect_fault("status 400")
    found = tab.page.evaluate(
        """() => Promise.allSettled([["embed", [2, 5]], ["embed", [99, 5]], ["embed", [3, 5]]].map(
          ([name, index]) => minigpt.numbers(name, index))).then((all) => all.map(({status, reason}) => [status, reason?.message]))"""
    )
    assert [status for status, _ in found] == ["fulfilled", "rejected", "fulfilled"]
    assert "99 is no index" in found[1][1]


def test_a_cell_of_a_strip_names_its_largest_number(tab, bundled):
    model, _ = bundled
    trace = trace_of(model, tab.run()["ids"])
    for name in ("embed", "h.1.resid", "ln_f"):
        strip = tab.page.locator(f'canvas.strip[data-name="{name}"]')
        box, T = strip.bounding_box(), len(trace[name])
        across, t = (7.5 / 12) * box["width"], 4
        tab.page.mouse.move(box["x"] + across, box["y"] + (t + 0.5) / T * box["height"])
        start, end = 7 * 128 // 12, 8 * 128 // 12
        column = start + int(np.abs(trace[name][t, start:end]).argmax())
        words = strip.get_attribute("title")
        assert words.startswith(f"{name}[{t}, {column}] = ")
        assert shows(words.split(" = ")[1].split(",")[0], trace[name][t, column], size_of(trace[name]))
        tab.page.mouse.click(box["x"] + across, box["y"] + (t + 0.5) / T * box["height"])
        assert asked(tab.settled())[:2] == (name, (t, column))
        marked = tab.page.locator(".asked-cell").bounding_box()
        strip_box = tab.page.locator(f'canvas.strip[data-name="{name}"]').bounding_box()
        middle = marked["x"] + marked["width"] / 2 - strip_box["x"]
        assert middle == pytest.approx(7.5 / 12 * strip_box["width"], abs=0.5)


def test_the_arrow_keys_visit_every_activation_in_order(tab, bundled):
    model, _ = bundled
    names = activation_names(model.config.n_layer)
    tab.leave_field()
    visited = []
    for _ in names:
        tab.press("ArrowRight")
        visited.append(tab.page.get_attribute("#view", "data-place"))
        assert tab.text("#view h2 code") == visited[-1]
    assert visited == names
    tab.press("ArrowRight")
    assert tab.place()["name"] == names[-1]
    tab.page.evaluate("globalThis.visited = []; minigpt.on('place', () => visited.push(minigpt.place.name)); null")
    for _ in names[1:]:
        tab.keyboard.press("ArrowLeft")
    assert tab.settled().page.evaluate("visited") == names[-2::-1]
    assert tab.page.get_attribute("#view", "data-place") == names[0]


def test_space_adds_the_most_probable_token(tab, bundled):
    model, tokenizer = bundled
    ids = model.generate(tokenizer.encode(TEXT), max_new_tokens=3)[0].tolist()
    tab.leave_field().press(" ", " ")
    tab.click("#add")
    assert tab.run()["ids"] == ids
    assert tab.page.input_value("#text") == tokenizer.decode(ids)
    tab.click("#remove")
    assert tab.run()["ids"] == ids[:-1]


def test_back_returns_step_by_step(tab):
    places = [tab.place()]
    for view, place in (
        ("attention", {"layer": 1, "head": 2}),
        ("activation", {"name": "h.2.mlp.act"}),
        ("next", {}),
        ("lens", {"token": 3}),
    ):
        tab.go(view, **place)
        places.append(tab.place())
    tab.why("logits", 8, 3)
    for place in reversed(places[1:]):
        tab.leave_field().press("Backspace")
        assert tab.place() == place and tab.page.get_attribute("#view", "data-view") == place["view"]
    tab.click("#back")
    assert tab.place() == places[0]
    assert tab.page.is_disabled("#back")


def test_clicks_lead_from_a_logit_to_a_row_of_wte_and_back(tab, bundled):
    model, tokenizer = bundled
    trace = trace_of(model, tab.run()["ids"])
    tab.go("next")
    tab.page.locator("#view tr[data-token] button.value").first.click()
    way = [asked(tab.settled())]
    name, index, _ = way[0]
    path = minigpt.step(model, tokenizer, TEXT).why(name, *index).path()
    assert name == "logits"
    while tab.page.locator("#why-follow").count():
        tab.click("#why-follow")
        way.append(asked(tab))
        assert len(way) <= len(path)
    assert [place[:2] for place in way] == [(why.name, why.index) for why in path]
    for name, index, value in way:
        assert value == pytest.approx(float(trace[name][index]), abs=1e-6 * size_of(trace[name]))
    assert name == "embed"
    learnt = tab.texts("#panel .terms .term .what code")
    token_id = tokenizer.encode(TEXT)[index[0]]
    assert sorted(learnt) == [f"wpe.weight[{index[0]}, {index[1]}]", f"wte.weight[{token_id}, {index[1]}]"]
    row = tab.page.locator("#panel .term", has_text="wte.weight")
    expected = float(np.asarray(model.params["wte"]["weight"])[token_id, index[1]])
    assert float(row.get_attribute("data-value")) == pytest.approx(expected, rel=1e-6)
    for step in reversed(way[:-1]):
        tab.click("#back")
        assert asked(tab) == step
    tab.click("#back")
    assert tab.page.locator("#panel .why").count() == 0


def asked(tab):
    """Return name, index and value of the number that the panel explains."""
    why = tab.page.locator("#panel .why")
    index = tuple(map(int, why.get_attribute("data-index").split(",")))
    return why.get_attribute("data-name"), index, float(why.locator(".why-value").get_attribute("data-value"))


def test_of_two_numbers_in_a_term_the_way_leads_to_the_value_or_the_key(tab, bundled):
    steps = minigpt.step(*bundled, TEXT)
    for name, index, part in (("h.2.attn.heads", (0, 8, 4), "attn.v"), ("h.1.attn.scores", (2, 7, 3), "attn.k")):
        expected = steps.why(name, *index).terms[0].why()
        tab.why(name, *index)
        tab.click("#why-follow")
        assert asked(tab)[:2] == (expected.name, expected.index) and expected.name.endswith(part)


def test_a_click_on_any_factor_asks_for_it(tab, bundled):
    model, _ = bundled
    trace = trace_of(model, tab.run()["ids"])
    tab.why("h.1.attn.scores", 2, 7, 3)
    for part in ("attn.q", "ln_1", "h.0.resid"):
        buttons = tab.page.locator("#panel .terms button.factor", has_text=part)
        buttons.first.click()
        name, index, value = asked(tab.settled())
        assert name.endswith(part) and value == pytest.approx(float(trace[name][index]), abs=1e-5)
    assert len(tab.texts("#panel .trail .crumb")) == 3
    tab.page.locator("#panel .trail .crumb").first.click()
    assert asked(tab.settled())[:2] == ("h.1.attn.scores", (2, 7, 3))


def test_a_text_that_cannot_be_run_is_refused_in_a_sentence(tab):
    tab.expect_fault("status 400")
    before = tab.run()
    for text, words in (("", "empty"), ("fox " * 300, "tokens")):
        tab.type_text(text)
        assert words in tab.text("#status") and tab.page.get_attribute("#status", "class") == "bad"
        assert tab.run() == before
    tab.type_text("the fox")
    assert tab.run()["text"] == "the fox" and tab.page.get_attribute("#status", "class") != "bad"


def test_a_message_goes_with_the_next_thing_done(tab):
    tab.expect_fault("status 400")
    messages = (
        lambda: tab.type_text("fox " * 300),  # an error
        lambda: tab.click("#add"),  # what was added
        lambda: tab.why("logits", 3, 5),  # where the answer is
        lambda: tab.go("next").click(".next .code-block button"),  # that the lines are copied
    )
    next_things = (
        lambda: tab.click("#tabs [data-view=mlp]"),
        lambda: tab.click("#map .part >> nth=0"),
        lambda: tab.leave_field().press("ArrowRight"),
        lambda: tab.click("#back"),
        tab.go_back,
        lambda: tab.type_text("the fox and the bear"),
        lambda: tab.click("#theme"),
    )
    for say in messages:
        for do in next_things:
            tab.go("overview")
            say()
            assert tab.text("#status") != ""
            do()
            assert tab.text("#status") == "" and tab.page.get_attribute("#status", "class") == "", (say, do)
    tab.go("next")
    messages[-1]()
    assert tab.text("#status") and tab.click("#draw").text("#status") == ""
    messages[-1]()
    tab.page.fill("#temperature", "1.5")
    tab.page.dispatch_event("#temperature", "change")
    assert tab.text("#status") == ""


def test_a_program_that_has_ended_is_said_in_a_sentence(tab):
    tab.expect_fault("ERR_FAILED")
    tab.context.route("**/ask", lambda route: route.abort())
    tab.type_text("the fox")
    assert "still running" in tab.text("#status")


def test_a_hostile_text_is_only_text(tab):
    for prompt in HOSTILE_TEXTS:
        tab.type_text(prompt)
        for view in VIEWS:
            tab.go(view)
            assert not is_harmed(tab), view
        tab.why("h.1.attn.weights", 1, 3, 1)
        assert not is_harmed(tab)
        assert tab.page.input_value("#text") == tab.run()["text"] == prompt


def test_a_hostile_second_text_is_only_text(tab):
    tab.go("compare")
    tab.page.fill("#other-text", HOSTILE_TEXTS[0])
    tab.click("#compare-run")
    assert not is_harmed(tab)
    tab.type_text(HOSTILE_TEXTS[0].replace("x", "y"))
    assert not is_harmed(tab)


def test_a_hostile_vocabulary_is_only_text(open_tab, hostile_model):
    tab = open_tab(serve_in_thread(*hostile_model, "abc"))
    for view in VIEWS:
        tab.go(view)
        assert not is_harmed(tab), view
    tab.leave_field().press(" ", " ")
    tab.go("overview")
    tab.why("logits", 3, 5)
    assert not is_harmed(tab)


def test_a_run_of_other_questions_does_not_win(tab, bundled):
    """Two texts, one after the other without waiting: the page shows the second."""
    tab.page.evaluate("() => { minigpt.newRun({text: 'the fox'}); minigpt.newRun({text: 'a bear'}); }")
    tab.settled()
    assert tab.run()["text"] == "a bear"
    model, _ = bundled
    tab.go("next")
    assert_numbers_are_those_of(trace_of(model, tab.run()["ids"]), tab.numbers())


def test_a_logit_names_the_word_that_it_came_from(tab, bundled):
    model, _ = bundled
    tab.type_text("Once upon a time there was a little girl called Julia. She lived with")
    trace = trace_of(model, tab.run()["ids"])
    tab.click(".next-box .candidate")
    name, index, value = asked(tab)
    assert name == "logits" and index[1] == trace["logits"][-1].argmax()
    assert "came from “␣girl”" in tab.text(".why-tokens .cause")
    tab.page.get_by_text("10 more").click()
    parts = tab.page.eval_on_selector_all(".causes [data-value]", "(all) => all.map((e) => Number(e.dataset.value))")
    assert len(parts) == len(trace["logits"]) + 1  # and the learnt biases
    assert sum(parts) == pytest.approx(value, rel=1e-4)
    tab.click("#why-cause")
    name, (head, query, key), weight = asked(tab)
    assert (query, tab.run()["tokens"][key]) == (index[0], " girl")
    assert weight == pytest.approx(float(trace[name][head, query, key]), abs=1e-6) and weight > 0.5
    # Another token can be looked at without losing the way back.
    place = tab.place()
    tab.page.locator(".arcs .word", has_text="girl").click()
    assert len(tab.settled().texts("#panel .trail .crumb")) == 1 and tab.place()["token"] == key
    tab.click("#back")
    assert tab.place() == place


def words_of_logit(tab, bundled, text):
    """Ask for the best next token of a text: what the panel says, and Steps.token_attribution of the same logit."""
    tab.go("overview")
    tab.type_text(text)
    tab.click(".next-box .candidate")
    _, (position, token), _ = asked(tab)
    return tab.text(".why-tokens .cause"), minigpt.step(*bundled, text).token_attribution(token, position=position)


def test_the_answer_about_a_logit_says_how_much_of_it_a_word_is(tab, bundled):
    """With the last word and the biases first; "most" is more than half of what speaks for it."""
    start = "Once upon a time there was a little"
    for text, is_most in (
        (f"{start} girl named Julia. She lived with", True),
        (f"{start} boy named Tom. Tom lived with", False),
    ):
        said, found = words_of_logit(tab, bundled, text)
        earlier = found.by_token[:-1]
        assert (earlier.max() > earlier[earlier > 0].sum() / 2) == is_most
        assert ("most of" in said, "than from any other earlier word" in said) == (is_most, not is_most)
        logit, own, biases, cause = (float(x) for x in re.findall(r"[+-]?\d+\.\d+", said.replace("−", "-"))[:4])
        assert [logit, own, biases, cause] == pytest.approx(
            [found.logit, found.by_token[-1], found.bias, earlier.max()], rel=1e-3
        )


def test_a_word_that_hands_on_another_says_so(tab, bundled):
    said, found = words_of_logit(tab, bundled, "Once upon a time there was a boy named Tom. He lived with")
    boy = found.tokens.index(" boy")
    edge = found.edges[boy]
    assert found.tokens[edge.query] == " named" == found.tokens[int(found.by_token[:-1].argmax())]
    assert (
        f"“␣named”, which had read “␣boy” ({100 * edge.weight:.0f} %)" in said
        and f"+{found.by_token[boy]:.4g}." in said
    )
    said, _ = words_of_logit(tab, bundled, "Once upon a time there was a little boy named Tom. Tom lived with")
    assert "which had read" not in said  # no other word comes by way of this one


def test_a_piece_is_named_with_its_word(tab, bundled):
    said, _ = words_of_logit(tab, bundled, "The fox was sad because")
    assert "came from “u” (in “because”)" in said and "the last token “se” (in “because”) itself" in said
    assert "“␣sad”" in tab.texts(".causes .from")  # a token that is a word stands alone
    tab.why("h.0.attn.weights", 0, 7, 6)
    assert "“se” (in “because”) gives to “u” (in “because”)" in tab.text(".why .say")


@pytest.mark.parametrize("size", [PROJECTOR, DESKTOP])
def test_the_panel_of_a_logit_begins_with_the_answer(open_tab, page_address, size):
    tab = open_tab(page_address, size=size)
    tab.click(".next-box .candidate")
    heading, answer, number = (
        tab.page.locator(selector).bounding_box() for selector in (".why-tokens h2", ".why-tokens .cause", "#why-title")
    )
    assert heading["y"] < answer["y"] < answer["y"] + answer["height"] < min(size[1], number["y"])
    assert heading["y"] > tab.page.locator("#panel").bounding_box()["y"]


def test_a_longer_text_is_looked_at_from_its_end(tab):
    tab.go("attention", layer=1, head=0, token=3)
    tab.type_text(f"{TEXT} in the forest")
    assert tab.page.get_attribute("#view .attention", "data-token") == str(len(tab.run()["ids"]) - 1)
    tab.type_text(TEXT.replace("fox", "bear"))
    tab.go("attention", layer=1, head=0, token=3)
    tab.type_text(TEXT)  # as many tokens: the same place can be compared
    assert tab.place()["token"] == 3
