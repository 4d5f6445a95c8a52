"""What the views of the page show, in a real browser, against the same computed in Python."""

import itertools
import re

import numpy as np
import pytest
from browser_helpers import DESKTOP, PROJECTOR, TEXT, VIEWS, serve_in_thread
from letter_models import letter_tokenizer, random_text
from page_checks import assert_numbers_are_those_of, drawn_index, number_of, shows, size_of, trace_of

import minigpt
from minigpt import GPT2, GPT2Config
from minigpt.generation.options import GenerationConfig
from minigpt.generation.sampling import apply_filters, draw_token, top_indices
from minigpt.looking import beam_tree, logit_lens
from minigpt.ops.plain import softmax

pytestmark = pytest.mark.browser

# The fewest numbers with a name that a view shows; the others draw pictures of numbers.
FEWEST_NUMBERS = {"overview": 7, "attention": 4, "vectors": 4, "mlp": 10, "norm": 4, "stream": 1, "next": 20}


def test_every_number_with_a_name_is_that_of_the_trace(tab, bundled):
    model, _ = bundled
    trace = trace_of(model, tab.run()["ids"])
    config = model.config
    rng = np.random.default_rng(0)
    for view, _ in itertools.product(VIEWS, range(3)):
        layer, head, token = drawn_index(rng, (config.n_layer, config.n_head, len(tab.run()["ids"])))
        place = {"layer": layer, "head": head, "token": token}
        if view == "norm":
            place["name"] = str(rng.choice([f"h.{layer}.ln_1", f"h.{layer}.ln_2", "ln_f"]))
        tab.go(view, **place)
        numbers = tab.numbers("#view")
        assert len(numbers) >= FEWEST_NUMBERS.get(view, 0), (view, place, len(numbers))
        assert_numbers_are_those_of(trace, numbers)


def test_every_number_is_that_of_the_trace_after_a_change(tab, bundled):
    model, _ = bundled
    tab.expect_fault("beams")  # a beam search of a changed model is refused
    tab.page.evaluate("(changes) => minigpt.newRun({ids: minigpt.run.ids, changes})", [HEAD_OFF])
    tab.settled()
    trace = trace_of(model, tab.run()["ids"], edit={"h.1.attn.heads": head_off(1)})
    for view in VIEWS:
        assert_numbers_are_those_of(trace, tab.go(view, layer=1, head=1, token=6).numbers("#view"))
    assert_numbers_are_those_of(trace, tab.why("h.1.attn.out", 6, 3).numbers("#panel"))


HEAD_OFF = {"kind": "zero", "name": "h.1.attn.heads", "head": 1}


def head_off(head):
    def edit(x):
        x[:, head] = 0
        return x

    return edit


@pytest.mark.parametrize("stage", ["product", "scaled", "masked", "softmax"])
def test_the_stages_of_attention_are_computed_right(tab, bundled, stage):
    model, _ = bundled
    trace = trace_of(model, tab.run()["ids"])
    layer, head, t, s = 2, 1, 7, 4
    tab.go("attention", layer=layer, head=head, token=t, key=s, stage=stage)
    q, k, scores, weights = (trace[f"h.{layer}.attn.{part}"][head] for part in ("q", "k", "scores", "weights"))
    values = {"product": q @ k.T, "scaled": scores, "masked": scores, "softmax": weights}[stage]
    written = tab.texts(".attention-matrix .written span")
    if written:  # small matrices have their numbers in the cells
        for text, (row, column) in zip(written, np.ndindex(values.shape), strict=True):
            is_hidden = stage in ("masked", "softmax") and column > row
            assert (
                (text == "")
                if is_hidden
                else abs(number_of(text) - values[row, column]) <= 0.051 + 0.01 * abs(values[row, column])
            )
    field = tab.page.locator(".attention-matrix .field")
    field.focus()
    tab.press("ArrowLeft")  # the cursor begins at the chosen cell
    place, value = field.locator(".tip").inner_text().split(": ")
    assert re.findall(r"\((\d+)\)", place) == [str(t), str(s - 1)]
    assert shows(value, values[t, s - 1], size_of(values))
    assert_numbers_are_those_of(trace, tab.numbers("#view"))


@pytest.mark.parametrize("view", ["vectors", "mlp", "norm", "stream", "lens"])
def test_the_strips_of_a_view_read_the_trace(tab, bundled, view):
    model, _ = bundled
    trace = trace_of(model, tab.run()["ids"])
    tab.go(view, layer=2, head=1, token=5, name="h.2.ln_2")
    count = 0
    for field in tab.page.locator("#view .field").all():
        field.focus()
        tab.press("ArrowRight", "ArrowRight", "ArrowDown")
        tip = field.locator(".tip").inner_text()
        found = re.fullmatch(r"(?P<name>[\w.]+)\[(?P<index>[\d, ]+)\] (?P<value>\S+)", tip)
        if found and found["name"] in trace:  # others are of numbers on the way, such as weight × v
            value = trace[found["name"]][tuple(map(int, found["index"].split(", ")))]
            assert shows(found["value"], value, size_of(trace[found["name"]])), (tip, value)
            count += 1
    assert count >= {"lens": 1, "norm": 2}.get(view, 3)


def test_the_products_of_a_query_and_a_key_add_up_to_the_score(tab, bundled):
    model, _ = bundled
    trace = trace_of(model, tab.run()["ids"])
    layer, head, t, s = 1, 2, 8, 3
    tab.go("vectors", layer=layer, head=head, token=t, key=s)
    q, k, scores = (trace[f"h.{layer}.attn.{part}"][head] for part in ("q", "k", "scores"))
    bars = tab.page.eval_on_selector_all(
        "#view rect[data-value]", "(bars) => bars.map((bar) => Number(bar.dataset.value))"
    )
    assert bars == [pytest.approx(float(x), abs=1e-6 * size_of(q * k)) for x in q[t] * k[s]]
    assert sum(bars) * model.config.attention_scale(layer) == pytest.approx(float(scores[t, s]), rel=1e-4)
    assert_numbers_are_those_of(trace, tab.numbers("#view"))


def test_the_arithmetic_of_a_layer_norm_is_right(tab, bundled):
    model, _ = bundled
    trace = trace_of(model, tab.run()["ids"])
    tab.go("norm", name="h.1.ln_2", token=4)
    numbers = {name: (index, value) for name, index, value, _ in tab.numbers("#norm-arithmetic")}
    assert numbers.keys() == {"h.1.resid_mid", "h.1.ln_2"}
    (t, d), x = numbers["h.1.resid_mid"]
    row = trace["h.1.resid_mid"][t].astype(float)
    s = np.sqrt(row.var() + model.config.layer_norm_epsilon)
    norm = model.params["h"][1]["ln_2"]
    expected = [d, 128, 0, x, row.mean(), s, (x - row.mean()) / s]
    expected += [expected[-1], norm["weight"][d], norm["bias"][d], numbers["h.1.ln_2"][1]]
    text = tab.text("#norm-arithmetic").replace(" − ", " - ").replace("−", "-")
    shown = [float(number) for number in re.findall(r"(?<![\w.])-?\d[\d.]*(?:e-?\d+)?", text)]
    assert shown == [pytest.approx(float(value), rel=1e-3, abs=1e-9) for value in expected], text


def test_the_arcs_are_attention_weights(tab, bundled):
    model, _ = bundled
    trace = trace_of(model, tab.run()["ids"])
    for token in (0, 3, 8):
        arcs = [found for found in tab.go("overview", token=token).numbers("#view") if "attn.weights" in found[0]]
        assert_numbers_are_those_of(trace, arcs)
        for layer in range(model.config.n_layer):
            name = f"h.{layer}.attn.weights"
            strongest = trace[name][:, token, : token + 1].max()
            assert max(value for drawn, _, value, _ in arcs if drawn == name) == pytest.approx(
                float(strongest), abs=1e-6
            )


def drawn_sliders(rng, n_positions):
    return {
        "temperature": float(rng.choice([0, 0.3, 0.7, 1.0, 1.5])),
        "top_k": int(rng.integers(1, 30)),  # steps of the slider; the first 20 are the numbers themselves
        "top_p": float(rng.choice([0.1, 0.5, 0.9, 1.0])),
        "min_p": float(rng.choice([0, 0.02, 0.3])),
        "seed": int(rng.integers(1000)),
        "position": int(rng.integers(n_positions)),
    }


def test_the_sliders_keep_and_drop_the_tokens_that_generate_does(tab, bundled):
    model, tokenizer = bundled
    ids = tab.run()["ids"]
    logits = trace_of(model, ids)["logits"]
    rng = np.random.default_rng(4)
    for _ in range(6):
        drawn = drawn_sliders(rng, len(ids))
        position = drawn.pop("position")
        tab.go("next", token=position)
        for name, value in drawn.items():
            tab.page.fill(f"#{name}", str(value))
        options = tab.settled().module("next_settings.js", "({samplingOptions}) => samplingOptions()")
        assert (options["temperature"], options["top_p"]) == (drawn["temperature"], drawn["top_p"])
        is_greedy = not options["do_sample"]
        if is_greedy:
            options["temperature"] = 1.0
            kept = np.full(logits.shape[1], -np.inf)
            kept[logits[position].argmax()] = 0
        else:
            kept = apply_filters(logits[None, position], [[]], GenerationConfig(**options))[0]
        before, after = softmax(logits[position].astype(float)), softmax(kept.astype(float))
        rows = tab.page.eval_on_selector_all("#view tr[data-token]", ROWS)
        assert len(rows) >= 20
        best = top_indices(logits[position], 20).tolist()
        assert [row["token"] for row in rows[:20]] == best
        for row in rows:
            token = row["token"]
            assert row["text"] == tab.module(
                "dom.js", "({tokenText}, text) => tokenText(text)", tokenizer.decode([token])
            )
            assert row["fallen"] == (kept[token] == -np.inf), (options, row)
            assert row["before"] == pytest.approx(before[token], abs=1e-6)
            assert row["after"] == pytest.approx(after[token], abs=1e-5), (options, row)
        n_kept = int((kept > -np.inf).sum())
        assert f"{n_kept} of {len(kept)} tokens stay" in tab.text("#view tfoot")
        if not is_greedy:
            tab.click("#draw")
            seed = int(tab.page.input_value("#seed"))
            expected = draw_token(kept, np.random.default_rng([seed, 0]))
            drawn_rows = [row["token"] for row in tab.page.eval_on_selector_all("#view tr.drawn", ROWS)]
            assert drawn_rows == [expected] or (not drawn_rows and expected not in [row["token"] for row in rows])


ROWS = """
(rows) => rows.map((row) => ({
  token: Number(row.dataset.token), text: row.querySelector("bdi").textContent, fallen: row.classList.contains("fallen"),
  before: Number(row.querySelector("td[title][data-value]").dataset.value),
  after: Number(row.querySelector(".chance").dataset.value),
}))
"""


def test_the_python_of_the_next_token_draws_the_same(tab, bundled, capsys):
    for place, changes in (({"token": 8}, []), ({"token": 4}, []), ({"token": 8}, [HEAD_OFF])):
        tab.page.evaluate("(changes) => minigpt.newRun({ids: minigpt.run.ids, changes})", changes)
        tab.go("next", **place)
        for name, value in {"temperature": 1.3, "top_p": 0.9, "seed": 5}.items():
            tab.page.fill(f"#{name}", str(value))
        tab.settled()
        tab.page.evaluate("document.activeElement.blur()")
        if not tab.page.locator("#add-drawn").count():
            tab.page.fill("#seed", "5")
            tab.click("#draw")
        exec(tab.text("#view .next .code-block code"), {})
        printed = capsys.readouterr().out.removesuffix("\n")
        shown = tab.text("#view .draw .result bdi")
        seed = int(tab.page.input_value("#seed"))
        assert shown == tab.module("dom.js", "({tokenText}, text) => tokenText(text)", printed), (place, seed)


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
    assert_code_gives(tab, bundled, trace["logits"])
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


def assert_code_gives(tab, bundled, logits):
    """Execute the Python that the view of changes shows."""
    model, tokenizer = bundled
    names = {"model": model, "tokenizer": tokenizer}
    exec(tab.text("#view .code-block code"), names)
    assert np.allclose(names["logits"], logits, atol=1e-4 * size_of(logits))


def test_what_changes_downstream_is_the_difference_of_the_traces(tab, bundled):
    model, _ = bundled
    ids = tab.run()["ids"]
    tab.go("changes")
    tab.click('[aria-label="switch off the MLP of block 1"]')
    trace = trace_of(model, ids)
    changed = trace_of(model, ids, edit={"h.1.mlp.out": lambda x: 0 * x})
    assert_code_gives(tab, bundled, changed["logits"])
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
    assert_code_gives(tab, bundled, trace["logits"])
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
    assert_code_gives(tab, bundled, trace["logits"])


def test_the_lens_is_that_of_looking(tab, bundled):
    model, tokenizer = bundled
    lens = logit_lens(model, tokenizer, TEXT)
    tab.go("lens")
    cells = tab.page.eval_on_selector_all(
        "button[id^=lens-][data-row]",
        "(cells) => cells.map((c) => [Number(c.dataset.row), Number(c.dataset.token), c.textContent, Number(c.dataset.value)])",
    )
    probs = softmax(lens.logits.astype(float))
    assert len(cells) == probs.shape[0] * probs.shape[1]
    for row, position, text, p in cells:
        best = int(probs[row, position].argmax())
        assert p == pytest.approx(float(probs[row, position, best]), abs=1e-5)
        assert text == tab.module("dom.js", "({tokenText}, text) => tokenText(text)", tokenizer.decode([best]))
    for row, position in ((0, 2), (2, 5), (4, 8)):
        tab.click(f"#lens-{row}-{position}")
        values = tab.page.eval_on_selector_all(
            ".lens-best td[data-value]", "(cells) => cells.map((c) => Number(c.dataset.value))"
        )
        assert values == [pytest.approx(p, abs=1e-5) for _, p in lens.top(5, position)[row]]


@pytest.mark.parametrize("num_beams, steps", [(3, 5), (2, 1), (6, 4)])
def test_the_beams_are_those_of_looking(tab, bundled, num_beams, steps):
    model, tokenizer = bundled
    tree = beam_tree(model, tokenizer, TEXT, num_beams, steps)
    tab.go("beams")
    for name, value in (("num_beams", num_beams), ("steps", steps)):
        tab.page.fill(f"#{name}", str(value))
        tab.page.keyboard.press("Enter")
    nodes = tab.settled().page.eval_on_selector_all(
        "button.beam[data-node]",
        "(nodes) => nodes.map((n) => [n.querySelector('bdi').textContent, Number(n.dataset.value), Number(n.dataset.p), n.className])",
    )
    assert len(nodes) == len(tree.nodes)
    for i, ((text, score, p, classes), node) in enumerate(zip(nodes, tree.nodes, strict=True)):
        assert text == tab.module("dom.js", "({tokenText}, text) => tokenText(text)", node.token)
        assert (score, p) == (pytest.approx(node.score, abs=1e-4), pytest.approx(np.exp(node.logprob), abs=1e-5))
        assert node.state in classes and ("best" in classes) == (i in tree.best)
    tab.click(f"#beam-{tree.best[-1]}")
    assert tab.run()["ids"] == [*tokenizer.encode(TEXT), *tree.nodes[tree.best[-1]].ids]


def test_the_stream_is_pushed_by_the_parts_that_attribution_names(tab, bundled):
    model, tokenizer = bundled
    steps = minigpt.step(model, tokenizer, TEXT)
    trace = trace_of(model, tokenizer.encode(TEXT))
    for position in (8, 4):
        tab.go("stream", token=position)
        token = int(trace["logits"][position].argmax())
        found = steps.attribution(token, position=position)
        pushes = dict(
            tab.page.eval_on_selector_all(
                ".stream-table tbody tr",
                "(rows) => rows.map((row) => [row.dataset.name, Number(row.querySelector('.push-button').dataset.value)])",
            )
        )
        sizes = dict(tab.page.eval_on_selector_all(".stream-table tbody tr", SIZES))
        for name, size in sizes.items():
            assert size == pytest.approx(float(np.linalg.norm(trace[name][position])), rel=1e-5), name
        assert sizes.keys() == pushes.keys()
        assert pushes["embed"] == pytest.approx(found.wte + found.wpe, abs=1e-4)
        for layer in range(model.config.n_layer):
            assert pushes[f"h.{layer}.mlp.out"] == pytest.approx(found.mlps[layer], abs=1e-4)
            assert pushes[f"h.{layer}.attn.out"] == pytest.approx(
                found.heads[layer].sum() + found.attn_biases[layer], abs=1e-4
            )
        tab.click("#all-parts") if "all" in tab.text("#all-parts") else None
        parts = dict(
            tab.page.eval_on_selector_all(
                ".stream-parts tbody tr",
                "(rows) => rows.map((row) => [row.dataset.name, Number(row.querySelector('.push-button').dataset.value)])",
            )
        )
        expected = found.parts()
        expected.pop("rest")
        assert parts == {name: pytest.approx(value, abs=1e-4) for name, value in expected.items()}


SIZES = "(rows) => rows.map((row) => [row.dataset.name, Number(row.querySelector('.size [data-value]').dataset.value)])"
SECOND = "Once upon a time there was a little bear"


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
    assert effect == pytest.approx((now - without) / (goal - without), abs=1e-3)
    tab.go("changes")
    assert_code_gives(tab, bundled, trace["logits"])
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
        assert number_of(value) == pytest.approx((effect(name, t) - without) / (goal - without), abs=1e-3)


SMALLEST = GPT2Config(vocab_size=20, n_positions=16, n_embd=4, n_layer=1, n_head=1, initializer_range=0.5)
MODELS = {
    "one block, one head, 20 tokens": (SMALLEST, 5),
    "one token": (GPT2Config(vocab_size=20, n_positions=16, n_embd=8, n_layer=2, n_head=2, initializer_range=0.5), 1),
    "the smallest of all": (GPT2Config(vocab_size=3, n_positions=2, n_embd=1, n_layer=1, n_head=1), 1),
    "untied, relu": (
        GPT2Config(
            vocab_size=30, n_positions=16, n_embd=12, n_layer=2, n_head=3, n_inner=7, tie_word_embeddings=False,
            activation_function="relu", initializer_range=0.5,
        ),
        9,
    ),
    "60 tokens": (GPT2Config(vocab_size=40, n_positions=64, n_embd=8, n_layer=3, n_head=4, initializer_range=0.5), 60),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_every_view_shows_any_model(open_tab, tmp_path, name):
    config, length = MODELS[name]
    GPT2.random(config, seed=0).save_pretrained(tmp_path)
    model = GPT2.from_pretrained(tmp_path)
    tokenizer, text = letter_tokenizer(model), random_text(model, length)
    tab = open_tab(serve_in_thread(model, tokenizer, text))
    tab.expect_fault("beams")  # a text may leave no room for the steps of a beam search
    trace = trace_of(model, tokenizer.encode(text))
    for view in VIEWS:
        tab.go(view)
        no_room = view == "beams" and length + 5 > config.n_positions
        assert tab.page.locator("#view .bad").count() == no_room, (view, tab.texts("#view .bad"))
        assert len(tab.text("#view")) > 40
        assert_numbers_are_those_of(trace, tab.numbers("#view"))
        assert tab.page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), view
    for activation in trace:
        tab.go("activation", name=activation)
        assert tab.page.locator("#view .bad").count() == 0, activation
        tab.why(activation, *[size - 1 for size in trace[activation].shape])
        assert tab.page.locator("#panel .bad").count() == 0, activation
        value = float(tab.page.get_attribute(".why-value", "data-value"))
        assert value == pytest.approx(float(trace[activation].flat[-1]), abs=1e-6 * size_of(trace[activation]))


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
        for violation in tab.page.evaluate("axe.run({resultTypes: ['violations']}).then(({violations}) => violations)"):
            nodes = [(node["html"][:150], node["failureSummary"][:200]) for node in violation["nodes"][:2]]
            violations.append((view, violation["id"], len(violation["nodes"]), nodes))
    assert not violations, "\n".join(map(str, violations))


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
