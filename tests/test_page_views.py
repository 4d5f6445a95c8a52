"""What the views of the page show, in a real browser, against the same computed in Python."""

import io
import itertools
import re

import numpy as np
import pytest
from browser_helpers import DESKTOP, PROJECTOR, TEXT, VIEWS, serve_in_thread
from letter_models import letter_model, letter_tokenizer, random_text
from page_checks import assert_numbers_are_those_of, drawn_index, head_off, number_of, shows, size_of, trace_of
from PIL import Image

import minigpt
from minigpt import GPT2, GPT2Config
from minigpt.generation.options import GenerationConfig
from minigpt.generation.sampling import apply_filters, draw_token, top_indices
from minigpt.looking import beam_tree, logit_lens
from minigpt.ops.plain import softmax

pytestmark = pytest.mark.browser

HEAD_OFF = {"kind": "zero", "name": "h.1.attn.heads", "head": 1}

# The fewest numbers with a name that a view shows; the others draw pictures of numbers.
FEWEST_NUMBERS = {"overview": 7, "attention": 4, "vectors": 4, "mlp": 10, "norm": 2, "stream": 1, "next": 20}


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
    tab.page.evaluate("(changes) => minigpt.newRun({ids: minigpt.run.ids, changes})", [HEAD_OFF])
    tab.settled()
    trace = trace_of(model, tab.run()["ids"], edit={"h.1.attn.heads": head_off(1)})
    for view in VIEWS:
        assert_numbers_are_those_of(trace, tab.go(view, layer=1, head=1, token=6).numbers("#view"))
    assert_numbers_are_those_of(trace, tab.why("h.1.attn.out", 6, 3).numbers("#panel"))


CARDS = """
(cards) => cards.map((card) => {
  const text = (selector) => card.querySelector(selector).innerText;
  return [card.dataset.activation, text("h2"), text(".formula"), text(".origin"), text("pre"), card.checkVisibility()];
})
"""


def activations_in_panel(tab):
    """Return {name: (heading, formula, origin, source)} of what the panel says of activations without a click."""
    cards = tab.page.eval_on_selector_all("#panel .details", CARDS)
    assert all(is_visible for *_, is_visible in cards)
    found = {name: tuple(words) for name, *words, _ in cards}
    assert len(found) == len(cards)
    return found


def assert_panel_describes(tab, steps, names):
    """Assert that the panel has the shape, the formula and the line of these activations, and of no other."""
    found = activations_in_panel(tab)
    described = {}
    for name, (heading, formula, origin, source) in found.items():
        of_blocks = [name.replace("*", str(layer)) for layer in range(steps.n_layer)] if "*" in name else [name]
        expected = f"{of_blocks[0]} to {of_blocks[-1]}" if len(of_blocks) > 1 else name
        for one in of_blocks:
            step = steps[one]
            assert heading == f"{expected} {list(step.shape[1:])}"
            assert formula == f"= {step.formula}" and origin == f"{step.file}:{step.line}" and source == step.source
            described[one] = step
    assert described.keys() >= names, names - described.keys()


DRAWN_NAMES = (
    "(elements) => elements.map((e) => e.dataset.name ?? e.id.replace(/^field (.*? )?([a-z][\\w.]*)\\[.*/, '$2'))"
)


@pytest.mark.parametrize("size", [DESKTOP, PROJECTOR], ids=["desktop", "projector"])
def test_the_line_of_every_activation_that_is_shown_stands_in_the_panel(open_tab, page_address, bundled, size):
    tab = open_tab(page_address, size=size)
    steps = minigpt.step(*bundled, TEXT)
    names = {step.name for step in steps}
    for view, layer in itertools.product(VIEWS, (0, 2)):
        tab.go(view, layer=layer, head=1, token=5)
        drawn = names.intersection(tab.page.eval_on_selector_all("#view :is([data-name], .field)", DRAWN_NAMES))
        assert len(drawn) >= {"attention": 4, "vectors": 5, "mlp": 4, "norm": 2, "overview": 7, "stream": 17}.get(
            view, 0
        )
        assert_panel_describes(tab, steps, drawn)
    tab.go("changes")
    tab.click('[aria-label="switch off head 1 of block 1"]')
    assert_panel_describes(tab, steps, names)
    tab.why("h.1.mlp.act", 5, 3)
    assert_panel_describes(
        tab.go("attention", layer=2, why={"name": "h.1.attn.q", "index": [0, 1, 2]}),
        steps,
        {"h.1.attn.q", "h.2.attn.q"},
    )


def test_a_replaced_attention_that_taps_nothing_leaves_the_rest_of_the_page(open_tab):
    model = letter_model()
    model = model.with_ops(attention=lambda q, k, v: v)
    tab = open_tab(serve_in_thread(model, letter_tokenizer(model), "face"))
    tab.expect_fault("status 400")  # the arcs of the overview
    assert tab.page.locator("#view .overview").count() == 1
    steps = minigpt.step(model, letter_tokenizer(model), "face")
    assert_panel_describes(tab, steps, {"embed", "ln_f", "logits"})
    tab.go("stream", layer=1)
    assert_panel_describes(tab, steps, {"embed", "h.1.attn.out", "h.1.resid"})


def test_three_clicks_lead_to_any_activation(tab, bundled):
    model, _ = bundled
    steps = minigpt.step(*bundled, TEXT)
    trace = trace_of(model, tab.run()["ids"])
    for name in (step.name for step in steps):
        tab.go("overview")
        tab.click("#tabs [data-view=activation]")
        tab.page.select_option("#activation", name)  # two clicks: it opens, and one is chosen
        assert activations_in_panel(tab.settled()).keys() == {name}
        assert_panel_describes(tab, steps, {name})
        field = tab.page.locator("#view .field").first
        box = field.bounding_box()
        tab.page.mouse.move(box["x"] + 1, box["y"] + 1)
        found, index, value = re.fullmatch(r"([\w.]+)\[([\d, ]+)\] (\S+)", field.locator(".tip").inner_text()).groups()
        assert found == name and shows(value, trace[name][tuple(map(int, index.split(", ")))], size_of(trace[name]))
    # From a view of a block, the panel leads there.
    tab.go("attention", layer=2, head=1)
    tab.click("#panel .details >> text=h.2.attn.k")
    assert tab.place() == {"view": "activation", "name": "h.2.attn.k"}


def test_the_stages_of_attention_are_computed_right(tab, bundled):
    model, _ = bundled
    trace = trace_of(model, tab.run()["ids"])
    layer, head, t, s = 2, 1, 7, 4
    q, k, scores, weights = (trace[f"h.{layer}.attn.{part}"][head] for part in ("q", "k", "scores", "weights"))
    stages = {"product": q @ k.T, "scaled": scores, "masked": scores, "softmax": weights}
    for stage, values in stages.items():
        tab.go("attention", layer=layer, head=head, token=t, key=s, stage=stage)
        assert_stage_shows(tab, values, (t, s), is_masked=stage in ("masked", "softmax"))
        assert_numbers_are_those_of(trace, tab.numbers("#view"))


def assert_stage_shows(tab, values, cell, is_masked):
    """The matrix has these values: written in the cells where there is room for one digit, and under the cursor."""
    written = tab.texts(".attention-matrix .written span")
    for text, (row, column) in zip(written, np.ndindex(values.shape), strict=True):
        value = values[row, column]
        is_hidden = is_masked and column > row
        assert text == "" if is_hidden else abs(number_of(text) - value) <= 0.051 + 0.01 * abs(value)
    field = tab.page.locator(".attention-matrix .field")
    field.focus()
    tab.press("ArrowLeft")  # the cursor begins at the chosen cell
    place, value = field.locator(".tip").inner_text().split(": ")
    t, s = cell
    assert re.findall(r"\((\d+)\)", place) == [str(t), str(s - 1)]
    assert shows(value, values[t, s - 1], size_of(values))


def test_the_strips_of_a_view_read_the_trace(tab, bundled):
    model, _ = bundled
    trace = trace_of(model, tab.run()["ids"])
    for view, fewest in {"vectors": 3, "mlp": 3, "norm": 2, "stream": 3, "lens": 1}.items():
        tab.go(view, layer=2, head=1, token=5, name="h.2.ln_2")
        count = 0
        for field in tab.page.locator("#view .field").all():
            field.focus()
            tab.press("ArrowRight", "ArrowDown")
            tip = field.locator(".tip").inner_text()
            found = re.fullmatch(r"(?P<name>[\w.]+)\[(?P<index>[\d, ]+)\] (?P<value>\S+)", tip)
            if found and found["name"] in trace:  # others are of numbers on the way, such as weight × v
                value = trace[found["name"]][tuple(map(int, found["index"].split(", ")))]
                assert shows(found["value"], value, size_of(trace[found["name"]])), (tip, value)
                count += 1
        assert count >= fewest, view


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
        tokens = [row["token"] for row in rows]
        assert tokens[:20] == top_indices(logits[position], 20).tolist()
        assert [row["text"] for row in rows] == shown_texts(tab, [tokenizer.decode([token]) for token in tokens])
        for token, row in zip(tokens, rows, strict=True):
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
            assert drawn_rows == [expected] or (not drawn_rows and expected not in tokens)


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
        if not tab.settled().page.locator("#add-drawn").count():
            tab.click("#draw")
        exec(tab.text("#view .next .code-block code"), {})
        printed = capsys.readouterr().out.removesuffix("\n")
        shown = tab.text("#view .draw .result bdi")
        seed = int(tab.page.input_value("#seed"))
        assert shown == shown_texts(tab, [printed])[0], (place, seed)


def test_a_view_that_is_never_shown_takes_no_clicks(tab):
    """While a page goes on, a view may be made in vain; the one that is shown stays the one that is used."""
    tab.go("next", token=8)
    tab.page.evaluate(
        """async () => {
          const { view } = await import(new URL("view_next.js", document.baseURI));
          await view.render(minigpt, { ...minigpt.place, token: 4 });
        }"""
    )
    tab.click("#draw")
    assert tab.text("#view .draw .result bdi")
    tab.page.fill("#temperature", "0")
    assert "Greedy" in tab.settled().text("#view .draw .result")


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
    best = [tokenizer.decode([probs[row, position].argmax()]) for row, position, *_ in cells]
    assert [text for _, _, text, _ in cells] == shown_texts(tab, best)
    for row, position, _, p in cells:
        assert p == pytest.approx(float(probs[row, position].max()), abs=1e-5)
    for row, position in ((0, 2), (2, 5), (4, 8)):
        tab.click(f"#lens-{row}-{position}")
        values = tab.page.eval_on_selector_all(
            ".lens-best td[data-value]", "(cells) => cells.map((c) => Number(c.dataset.value))"
        )
        assert values == [pytest.approx(p, abs=1e-5) for _, p in lens.top(5, position)[row]]


def test_the_beams_are_those_of_looking(tab, bundled):
    model, tokenizer = bundled
    tab.go("beams")
    for num_beams, steps in ((3, 5), (2, 1), (6, 4)):
        tree = beam_tree(model, tokenizer, TEXT, num_beams, steps)
        for name, value in (("num_beams", num_beams), ("steps", steps)):
            tab.page.fill(f"#{name}", str(value))
            tab.press("Enter")
        nodes = tab.page.eval_on_selector_all("button.beam[data-node]", NODES)
        assert [text for text, *_ in nodes] == shown_texts(tab, [node.token for node in tree.nodes])
        for i, ((_, score, p, classes), node) in enumerate(zip(nodes, tree.nodes, strict=True)):
            assert (score, p) == (pytest.approx(node.score, abs=1e-4), pytest.approx(np.exp(node.logprob), abs=1e-5))
            assert node.state in classes and ("best" in classes) == (i in tree.best)
    tab.click(f"#beam-{tree.best[-1]}")
    assert tab.run()["ids"] == [*tokenizer.encode(TEXT), *tree.nodes[tree.best[-1]].ids]


HOLD_THE_LENS = """
const ask = minigpt.source.ask;
minigpt.source.ask = async (question) => {
  if (question.ask === "lens" && question.position === null) await new Promise((resolve) => (globalThis.release = resolve));
  return ask(question);
};
null
"""


def test_the_lens_of_the_chosen_token_does_not_wait_for_the_others(tab, bundled):
    lens = logit_lens(*bundled, TEXT)
    tab.page.evaluate(HOLD_THE_LENS)
    tab.page.evaluate("() => { minigpt.go({view: 'lens', token: 4, layer: 1}); }")
    tab.page.wait_for_selector(".lens-best")
    assert tab.page.locator(".lens-table").count() == 0 and "reads on" in tab.text("#view [role=status]")

    def best():
        texts, values = (
            tab.texts(".lens-best th"),
            tab.page.eval_on_selector_all(
                ".lens-best td[data-value]", "(cells) => cells.map((cell) => Number(cell.dataset.value))"
            ),
        )
        return list(zip(texts, values, strict=True))

    expected = lens.top(5, 4)[2]
    texts = shown_texts(tab, [text for text, _ in expected])
    expected = [(text, pytest.approx(p, rel=1e-4)) for text, (_, p) in zip(texts, expected, strict=True)]
    assert best() == expected
    tab.page.evaluate("release()")
    tab.settled().page.wait_for_selector(".lens-table")
    assert best() == expected and tab.page.locator("#view [role=status]").count() == 0


NODES = """
(nodes) => nodes.map((node) => [
  node.querySelector("bdi").textContent, Number(node.dataset.value), Number(node.dataset.p), node.className,
])
"""


def test_what_cannot_be_searched_is_not_asked(tab, open_tab):
    tab.go("beams")
    tab.page.evaluate("(changes) => minigpt.newRun({ids: minigpt.run.ids, changes})", [HEAD_OFF])
    assert "undo the changes" in tab.settled().text("#no-beams")
    tab.click("#undo-all")
    assert tab.page.locator("button.beam").count() and not tab.page.locator("#no-beams").count()
    model = letter_model(n_positions=8)
    small = open_tab(serve_in_thread(model, letter_tokenizer(model), "abcde")).go("beams")
    assert "room for 3 steps" in small.text("#no-beams")
    small.page.fill("#steps", "3")
    small.press("Enter")
    assert small.page.locator("button.beam").count()
    small.type_text("abcdefgh")
    assert "no room for another token" in small.text("#no-beams")


def shown_texts(tab, texts):
    """Return the texts of tokens as the page shows them: ␣ for a space."""
    return tab.module("dom.js", "({tokenText}, texts) => texts.map(tokenText)", texts)


PART_SIZES = (
    "(rows) => rows.map((row) => [row.dataset.name, Number(row.querySelector('.size [data-value]').dataset.value)])"
)


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
        sizes = dict(tab.page.eval_on_selector_all(".stream-table tbody tr", PART_SIZES))
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
    trace = trace_of(model, tokenizer.encode(text))
    for view in VIEWS:
        tab.go(view)
        assert tab.page.locator("#view .bad").count() == 0, (view, tab.texts("#view .bad"))
        no_room = view == "beams" and length + 5 > config.n_positions
        assert tab.page.locator("#no-beams").count() == no_room
        assert len(tab.text("#view")) > 40
        assert_numbers_are_those_of(trace, tab.numbers("#view"))
        assert tab.page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), view
    last = f"h.{config.n_layer - 1}."
    for activation in trace:
        if activation.startswith("h.") and not activation.startswith(last):
            continue
        tab.go("activation", name=activation)
        assert tab.page.locator("#view .bad").count() == 0, activation
        tab.why(activation, *[size - 1 for size in trace[activation].shape])
        assert tab.page.locator("#panel .bad").count() == 0, activation
        value = float(tab.page.get_attribute(".why-value", "data-value"))
        assert value == pytest.approx(float(trace[activation].flat[-1]), abs=1e-6 * size_of(trace[activation]))


@pytest.mark.parametrize("size", [PROJECTOR, DESKTOP])
def test_what_the_marks_of_the_overview_mean_stands_above_them(open_tab, page_address, size):
    tab = open_tab(page_address, size=size)
    tab.type_text("Once upon a time there was a little girl called Julia. She lived with her mother and")
    legend, picture = (tab.page.locator(f".overview {part}").bounding_box() for part in (".legend", ".whole"))
    assert legend["y"] + legend["height"] <= picture["y"] < size[1] - 100
    keys = [tab.page.get_by_text(text).last for text in ("adds a token", "Space adds the next token")]
    boxes = [key.bounding_box() for key in keys if key.is_visible()]
    assert any(box["y"] + box["height"] < size[1] for box in boxes)


def test_a_guess_has_a_bar_as_long_as_its_probability(tab):
    """Its track, which is the scale, is as wide as the box, and it lies below the text."""
    bars = tab.page.eval_on_selector_all(
        ".next-box .candidate",
        """(all) => all.map((one) => {
          const [bar, text] = ["i", ".token"].map((part) => one.querySelector(part).getBoundingClientRect());
          const share = parseFloat(getComputedStyle(one.querySelector("i")).backgroundSize) / 100;
          return [share, bar.width / one.clientWidth, bar.top - text.bottom, Number(one.dataset.value)];
        })""",
    )
    shares, widths, below, logits = np.array(bars).T
    assert len(bars) == 7 and (widths > 0.9).all() and (below >= 0).all()
    assert np.allclose(np.log(shares / shares[0]), logits - logits[0], atol=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_largest_numbers_stand_out_on_the_page(open_tab, page_address, scheme):
    """Of the values of a head, which are smaller than its queries; on a dark page they are bright."""
    tab = open_tab(page_address, color_scheme=scheme)
    tab.go("vectors", layer=0, head=0)
    tab.page.evaluate("document.querySelectorAll('.row-mark').forEach((mark) => mark.remove())")
    assert largest_contrast(tab, ".vectors-picture:last-child canvas") > (6 if scheme == "dark" else 3)
    tab.go("activation", name="h.0.resid")
    assert largest_contrast(tab, "#view .field canvas") > (6 if scheme == "dark" else 3)


def largest_contrast(tab, selector):
    """Return the largest contrast of WCAG 2 between a pixel of an element and the page behind it."""
    image = Image.open(io.BytesIO(tab.page.locator(selector).last.screenshot())).convert("RGB")
    pixels = np.array(image)[2:-2, 2:-2].reshape(-1, 3)
    back = [
        int(x) for x in re.findall(r"\d+", tab.page.evaluate("getComputedStyle(document.body).backgroundColor"))[:3]
    ]
    seen, behind = (luminance(np.array(colour) / 255) for colour in (pixels, back))
    return ((np.maximum(seen, behind) + 0.05) / (np.minimum(seen, behind) + 0.05)).max()


def luminance(colour):
    linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]
