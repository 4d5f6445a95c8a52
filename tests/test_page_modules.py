"""The page's JavaScript against the Python that it repeats: where a number comes from, sampling, random numbers."""

from functools import partial

import numpy as np
import pytest
from browser_helpers import serve_in_thread
from letter_models import letter_model, letter_tokenizer, random_text
from page_checks import WHYS, assert_same_why, assert_whys_are_those_of

import minigpt
from minigpt.generation.options import GenerationConfig
from minigpt.generation.sampling import apply_filters, draw_token
from minigpt.ops import plain
from minigpt.ops.plain import softmax

pytestmark = pytest.mark.browser

SMALL_MODELS = {
    "untied, relu": {"tie_word_embeddings": False, "activation_function": "relu", "n_inner": 5},
    "gelu, scaled by the block": {"activation_function": "gelu", "scale_attn_by_inverse_layer_idx": True},
    "one block, one head, unscaled": {"n_layer": 1, "n_head": 1, "scale_attn_weights": False},
}


def test_why_is_that_of_python(tab, bundled):
    model, tokenizer = bundled
    steps = minigpt.step(model, tokenizer, tab.run()["text"])
    assert_whys_are_those_of(tab, steps, seed=0)


@pytest.mark.parametrize("options", SMALL_MODELS.values(), ids=SMALL_MODELS)
def test_why_is_that_of_python_for_other_models(open_tab, options):
    model = letter_model(**options)
    tokenizer, text = letter_tokenizer(model), random_text(model, 7)
    tab = open_tab(serve_in_thread(model, tokenizer, text))
    assert_whys_are_those_of(tab, minigpt.step(model, tokenizer, text), seed=1, tolerance=1e-12)


def test_the_activation_function_far_below_0_is_that_of_python(tab, bundled):
    """Where float32 has only rounding left, the page shows the digits of the run, as Python does."""
    tab.type_text("She lived with her mother in a small house. One day a bear came.")
    steps = minigpt.step(*bundled, tab.run()["text"])
    places = []
    for layer in range(steps.n_layer):
        pre, act = (steps[f"h.{layer}.mlp.{part}"].array[0] for part in ("pre", "act"))
        places += [[f"h.{layer}.mlp.act", index] for index in np.argwhere((pre < -4) & (act > -1e-3)).tolist()]
    places = places[:: len(places) // 100]
    values = []
    for found, (name, index) in zip(tab.module("why.js", WHYS, places), places, strict=True):
        expected = steps.why(name, *index).to_dict()
        assert [found["value"], found["numbers"], found["note"]] == [expected["value"], expected["numbers"], ""]
        assert found["terms"][0]["value"] == expected["terms"][0]["value"] == found["value"]
        values.append(found["value"])
    assert min(values) < -1e-7 and max(values) == 0 and len(set(values)) > 20


def test_the_activation_functions_are_those_of_python(tab):
    rng = np.random.default_rng(6)
    drawn = np.concatenate([rng.normal(0, 3, 2000), rng.uniform(-8, -4, 1000), [0, -30, 30]])
    for name, function in (("gelu_new", plain.gelu_new), ("gelu", plain.gelu), ("relu", plain.relu)):
        for dtype in ("float32", "float64"):
            x = drawn.astype(dtype)
            found = np.array(tab.module("activation_functions.js", FUNCTIONS, [name, dtype, x.tolist()]))
            expected = function(x).astype(float)
            apart = np.abs(found - expected) / np.maximum(np.abs(x.astype(float)), 1e-9)
            # tanh and erf may be off by their last bits, and nothing else.
            last_bits = 2**-50 if dtype == "float64" else 2**-23 if name == "gelu_new" else 0
            assert apart.max() <= last_bits, (name, dtype)


FUNCTIONS = """
({ACTIVATION_FUNCTIONS}, [name, dtype, numbers]) =>
  numbers.map((x) => ACTIVATION_FUNCTIONS[name].at(x, dtype === "float32" ? Math.fround : undefined))
"""


def test_why_of_an_edited_number_is_that_of_python(tab, bundled):
    model, tokenizer = bundled

    def switch_off(x):
        x[:, 1] = 0
        return x

    text = tab.run()["text"]
    edit = {"h.1.attn.heads": switch_off}
    steps = minigpt.step(model, tokenizer, text, edit=edit)
    tab.page.evaluate("(changes) => minigpt.newRun({ids: minigpt.run.ids, changes})", CHANGE)
    tab.settled()
    places = [
        ["h.1.attn.heads", [1, 4, 3]],
        ["h.1.attn.heads", [0, 4, 3]],
        ["h.1.attn.out", [4, 3]],
        ["logits", [8, 5]],
    ]
    for found, (name, index) in zip(tab.module("why.js", WHYS, places), places, strict=True):
        assert_same_why(found, steps.why(name, *index), steps[name].largest)


CHANGE = [{"kind": "zero", "name": "h.1.attn.heads", "head": 1}]
CAUSES = """
({causesOf}, logits) => Promise.all(logits.map(async ([t, v, rival]) => {
  const { value, words, apart } = await causesOf(minigpt, minigpt.run, t, v, rival);
  return { value, words, apart: apart.map(({ value, note }) => [value, note]) };
}))
"""


def assert_causes_are_those_of(tab, steps, tolerance):
    """Ask the page and Steps.token_attribution which words some logits came from."""
    last = len(steps.tokens) - 1
    logits = [(last, 5, None), (last, 5, 7), (last - 1, 2, None), (0, 3, None)]
    for found, (t, v, rival) in zip(tab.module("why_tokens.js", CAUSES, logits), logits, strict=True):
        expected = steps.token_attribution(v, rival, t)
        close = partial(pytest.approx, rel=tolerance, abs=tolerance * max(1, np.abs(expected.by_token).sum()))
        assert found["value"] == close(expected.logit)
        by_token = {word["position"]: word["value"] for word in found["words"]}
        assert [by_token[s] for s in range(t)] == close(expected.by_token[:t].tolist())
        sizes = [abs(word["value"]) for word in found["words"]]
        assert sizes == sorted(sizes, reverse=True)
        for word in found["words"]:
            edge = expected.edges[word["position"]]
            assert word["edge"] == {name: close(getattr(edge, name)) for name in ("layer", "head", "query", "weight")}
        own, biases, *unexplained = found["apart"]
        assert own[0] == close(expected.by_token[t]) and biases[0] == close(expected.bias)
        rest = [close(expected.rest), "something was changed"]
        assert unexplained == ([rest] if steps.numbers.edited else [])


def test_the_words_of_a_logit_are_those_of_python(tab, bundled):
    assert_causes_are_those_of(tab, minigpt.step(*bundled, tab.run()["text"]), 1e-5)


def test_the_words_of_a_logit_of_a_changed_run(tab, bundled):
    def switch_off(x):
        x[:, 1] = 0
        return x

    steps = minigpt.step(*bundled, tab.run()["text"], edit={"h.1.attn.heads": switch_off})
    tab.page.evaluate("(changes) => minigpt.newRun({ids: minigpt.run.ids, changes})", CHANGE)
    assert_causes_are_those_of(tab.settled(), steps, 1e-5)


def test_the_words_of_a_logit_that_is_not_finite(tab):
    names = [f"h.{layer}.{name}" for layer in range(4) for name in ("attn.v", "attn.heads", "resid_mid", "resid")]
    changes = [{"kind": "scale", "name": name, "factor": 1e6} for name in names]
    tab.go("activation", name="embed")
    tab.page.evaluate("(changes) => minigpt.newRun({ids: minigpt.run.ids, changes})", changes)
    tab.settled().why("logits", 3, 5)
    assert set(tab.texts(".why-tokens .causes .value")) == {"NaN"}


@pytest.mark.parametrize("options", SMALL_MODELS.values(), ids=SMALL_MODELS)
def test_the_words_of_a_logit_for_other_models(open_tab, options):
    model = letter_model(**options)
    tokenizer, text = letter_tokenizer(model), random_text(model, 7)
    tab = open_tab(serve_in_thread(model, tokenizer, text))
    assert_causes_are_those_of(tab, minigpt.step(model, tokenizer, text), 1e-12)


def test_what_the_formula_gives_for_an_edited_number_is_that_of_python(tab, bundled):
    model, tokenizer = bundled
    pre = minigpt.step(model, tokenizer, tab.run()["text"])["h.2.mlp.pre"].array[0]
    t, f = np.argwhere((pre < -5.8) & (pre > -6.8))[0].tolist()  # gelu_new of it is 0 in float32, and not in float64
    change = {"kind": "set", "name": "h.2.mlp.act", "index": [t, f], "value": 0.5}

    def put(x):
        x[:, t, f] = 0.5
        return x

    steps = minigpt.step(model, tokenizer, tab.run()["text"], edit={"h.2.mlp.act": put})
    tab.page.evaluate("(changes) => minigpt.newRun({ids: minigpt.run.ids, changes})", [change])
    (found,) = tab.settled().module("why.js", WHYS, [["h.2.mlp.act", [t, f]]])
    expected = steps.why("h.2.mlp.act", t, f)
    assert found["note"] == expected.note == "h.2.mlp.act was edited: the formula gives 0 here."
    assert_same_why(found, expected, steps["h.2.mlp.act"].largest)


def drawn_options(rng):
    """Draw settings of the sliders: any of them can be off."""
    return {
        "do_sample": bool(rng.random() < 0.9),
        "temperature": float(rng.choice([1.0, 0.05, 0.7, 1.35, 2.0])),
        "top_k": int(rng.choice([0, 1, 2, 7, 50, 1000])),
        "top_p": float(rng.choice([1.0, 0.0, 0.05, 0.5, 0.9, 0.99])),
        "min_p": rng.choice([None, 0.01, 0.1, 0.5, 1.0]),
    }


def drawn_logits(rng):
    """Draw logits: spread out or nearly alike, also with ties."""
    spread = rng.choice([0.01, 1.0, 5.0])
    scores = rng.normal(0, spread, rng.choice([1, 2, 30, 1500]))
    if spread > 0.01 and rng.random() < 0.4:
        scores = scores.round(1)
    return scores.astype(rng.choice(["float32", "float64"]))


def filtered(scores, options):
    """Return what apply_filters makes of the scores. In float32 only the temperature is: the page adds up in float64."""
    if options["do_sample"] and scores.dtype == np.float32:
        scores = (scores / np.float32(options["temperature"])).astype("float64")
        options = options | {"temperature": 1.0}
    return apply_filters(scores[None], [[]], GenerationConfig(**options))[0]


FILTER = """
({applyFilters, softmax, drawToken, greedy}, cases) => cases.map(({scores, dtype, options, uniform}) => {
  const Type = dtype === "float32" ? Float32Array : Float64Array;
  const answer = applyFilters(Type.from(scores), options);
  return {
    scores: Array.from(answer.scores, (x) => (x === -Infinity ? null : x)), reasons: answer.reasons,
    probs: Array.from(softmax(answer.scores)),
    token: options.do_sample ? drawToken(answer.scores, uniform) : greedy(answer.scores),
  };
})
"""


class FixedRandom:
    """A generator that always draws the same number."""

    def __init__(self, number):
        self.number = number

    def random(self):
        return self.number


def test_sampling_is_that_of_python(tab):
    rng = np.random.default_rng(2)
    cases = [(drawn_logits(rng), drawn_options(rng), float(rng.random())) for _ in range(80)]
    sent = [
        {"scores": scores.tolist(), "dtype": scores.dtype.name, "options": options, "uniform": uniform}
        for scores, options, uniform in cases
    ]
    for answer, (scores, options, uniform) in zip(tab.module("sampling.js", FILTER, sent), cases, strict=True):
        expected = filtered(scores, options)
        found = np.array([-np.inf if x is None else x for x in answer["scores"]])
        assert np.array_equal(np.isneginf(found), np.isneginf(expected)), options
        assert np.allclose(found, expected, rtol=1e-6)
        assert [reason == "" for reason in answer["reasons"]] == (expected > -np.inf).tolist()
        assert np.allclose(answer["probs"], softmax(expected.astype(float)), atol=1e-9)
        drawn = draw_token(expected, FixedRandom(uniform)) if options["do_sample"] else expected.argmax()
        assert answer["token"] == drawn


def test_random_numbers_are_those_of_numpy(tab):
    seeds = [[0, 0], [1, 0], [12345, 0], [2**31, 1], [2**40 + 7, 0], [1, 2, 3, 4, 5, 6]]
    found = tab.module("random.js", "({uniforms}, seeds) => seeds.map((seed) => uniforms(seed, 5))", seeds)
    assert found == [np.random.default_rng(seed).random(5).tolist() for seed in seeds]


def test_a_column_is_found_in_its_cell(tab):
    cases = [(columns, cells) for columns in (1, 2, 7, 128, 1592) for cells in (1, 3, 12, 128, 400)]
    script = "({cellOf}, cases) => cases.map(([n, cells]) => Array.from({length: n}, (_, i) => cellOf(i, n, cells)))"
    for (columns, cells), found in zip(cases, tab.module("picture.js", script, cases), strict=True):
        edges = np.arange(min(cells, columns) + 1) * columns // min(cells, columns)
        assert found == (np.searchsorted(edges, np.arange(columns), side="right") - 1).tolist(), (columns, cells)


def test_an_answer_is_kept_and_a_failure_is_not(tab):
    tab.context.route("**/ask", lambda route: route.abort())
    tab.expect_fault("ERR_FAILED")
    script = """async ({guessesSoFar, lastGuesses, once}) => {
      let count = 0;
      const run = {...minigpt.run};
      const sizes = () => once(run, "sizes", () => (count++ ? Promise.resolve(count) : Promise.reject(Error())));
      const all = async () => [await guessesSoFar(minigpt, run, 2), await lastGuesses(minigpt, run),
        await sizes().catch(() => "failed")];
      globalThis.askAgain = all;
      return all();
    }"""
    assert tab.module("overview_numbers.js", script) == [None, None, "failed"]
    tab.context.unroute("**/ask")
    so_far, last, sizes = tab.page.evaluate("askAgain()")
    assert so_far[-1] == last[2] and sizes == 2
    assert tab.page.evaluate("askAgain()") == [so_far, last, 2]


def test_numbers_have_four_digits(tab):
    rng = np.random.default_rng(3)
    values = [*(rng.normal(size=200) * 10.0 ** rng.integers(-7, 8, 200)), 0.0, 1.0, -0.00012345, 99999.9, 1e5]
    shown = tab.module("dom.js", "({number}, values) => values.map(number)", values)
    for text, value in zip(shown, values, strict=True):
        assert float(text.replace("−", "-")) == pytest.approx(float(f"{value:.3e}"), rel=2e-12), (text, value)
        assert "-" not in text.removeprefix("−").replace("e-", ""), text  # a minus, not a hyphen


def test_tokens_are_visible(tab):
    texts = [" a", "\n", "\t", "", "\u200b", "\u202e", "\u2028", "\x00", "\r\n", "␣", "ä👩‍👧"]
    shown = tab.module("dom.js", "({tokenText}, texts) => texts.map(tokenText)", texts)
    assert shown[:4] == ["␣a", "↵", "⇥", "∅"]
    assert shown[4:8] == ["\\u{200b}", "\\u{202e}", "\\u{2028}", "\\u{0}"]
    assert all(shown) and "\u200d" not in shown[-1]


WORDS = [  # tokens, text, the word that each is a piece of
    (["T", "om", " was", " be", "ca", "u", "se", ",", "\n", "L", "."], None,
     ["Tom", "Tom", None, "because", "because", "because", "because", None, None, None, None]),
    (["un", "##happi", "##ness", "is", "##n", "!"], "unhappiness isn!",
     ["unhappiness", "unhappiness", "unhappiness", "isn", "isn", None]),
    (["##", "head", "er"], None, [None, "header", "header"]),  # of byte-level BPE
    (["東京"] * 20, None, [None] * 20),
    ([" na", "\ufffd", "\ufffd", "ve"], " naïve", [None] * 4),  # bytes that are no letters alone
    (["<b>", "x", "y"], None, [None, "xy", "xy"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("tokens", "text", "expected"), WORDS, ids=["bpe", "wordpiece", "hashes", "long", "bytes", "markup"]
)
def test_the_tokens_of_a_word_are_joined(tab, tokens, text, expected):
    run = {"tokens": tokens, "text": text or "".join(tokens)}
    script = "({wordOf}, run) => run.tokens.map((_, t) => wordOf(run, t))"
    assert tab.module("words.js", script, run) == expected
