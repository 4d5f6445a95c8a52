"""The page as one file: it holds what a session answers, asks nobody for anything, and no text breaks out of it."""

import base64
import json
import re
import subprocess
import sys
import zlib
from html.parser import HTMLParser

import numpy as np
import pytest
from helpers import fails_with, run_here
from letter_models import letter_model, letter_tokenizer

from minigpt import GPT2Config, Tokenizer
from minigpt.page import file as page_file
from minigpt.page import modules
from minigpt.page.file import file_html, write_page
from minigpt.page.session import Session
from minigpt.params import flatten

HOSTILE = "</script><img src=x onerror=alert(1)>\u2028<!--<script>\u202e\x00'\"&amp;]]>"
TEXT = "Once upon a time"


class Scripts(HTMLParser):
    """The elements of a page and the contents of its scripts, as a browser reads them."""

    def __init__(self, page):
        super().__init__(convert_charrefs=False)
        self.elements, self.scripts, self.script = [], {}, None
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag == "script":
            attributes = dict(attributes)
            self.script = attributes.get("id") or attributes["type"]
            self.scripts[self.script] = ""

    def handle_endtag(self, tag):
        self.script = None if tag == "script" else self.script

    def handle_data(self, data):
        if self.script:
            self.scripts[self.script] += data


@pytest.fixture(scope="module")
def story(bundled):
    return file_html(*bundled, TEXT)


def test_a_file_refers_to_nothing_outside(story):
    page = Scripts(story)
    for tag, attributes in page.elements:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            assert attributes.get(name, "#").startswith(("#", "data:")), (tag, attributes)
    (policy,) = [a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy and "connect-src" not in policy and "http" not in policy and "*" not in policy
    # The policy stands before everything that it is for.
    tags = [tag for tag, _ in page.elements]
    assert tags.index("meta") < tags.index("script") and story.index("Content-Security-Policy") < story.index("<style")
    code = story.replace(page.scripts["numbers"], "").replace(page.scripts["data"], "")
    assert not re.search(r"https?://(?!www\.w3\.org/)", code)  # the name of SVG is no address
    for url in json.loads(page.scripts["importmap"])["imports"].values():
        module = base64.b64decode(url.partition("base64,")[2]).decode()
        assert not re.search(r"https?://(?!www\.w3\.org/)", module)


def test_the_modules_find_each_other(story):
    imports = json.loads(Scripts(story).scripts["importmap"])["imports"]
    assert set(imports) == {f"minigpt/{path.name}" for path in modules.WEB.glob("*.js")}
    for url in imports.values():
        code = base64.b64decode(url.partition("base64,")[2]).decode()
        imported = re.findall(r"""^(?:import|export)\b[^;"']*?\bfrom\s*["']([^"']+)""", code, re.MULTILINE)
        assert set(imported) <= set(imports)
    assert not re.search(
        r"""from\s*["']\./""", "".join(base64.b64decode(u.partition("base64,")[2]).decode() for u in imports.values())
    )


def test_a_file_holds_the_run(story, bundled):
    scripts = Scripts(story).scripts
    data, numbers = json.loads(scripts["data"]), scripts["numbers"]
    model, tokenizer = bundled
    ids = model.generate(tokenizer.encode(TEXT), max_new_tokens=page_file.NEW_TOKENS)[0]
    assert data["run"]["ids"] == ids.tolist() and data["n_text"] == 4 and len(data["prefixes"]) == len(ids)
    assert data["start"]["live"] is False and data["vocabulary"] == [tokenizer.decode([i]) for i in range(1592)]
    trace = {}
    model(ids, trace=trace)

    def stored(place):
        raw = zlib.decompress(base64.b64decode(numbers[place["start"] : place["start"] + place["length"]]))
        dtype = np.dtype(place["dtype"]).newbyteorder("<")
        by_place = np.frombuffer(raw, np.uint8).reshape(dtype.itemsize, -1)
        return by_place.T.copy().view(dtype).reshape(place["shape"])

    for name, place in data["arrays"]["activations"].items():
        assert np.array_equal(stored(place), trace[name][0]), name
    parameters = flatten(model.params)
    assert data["arrays"]["parameters"].keys() == parameters.keys()
    for name, place in data["arrays"]["parameters"].items():
        assert np.array_equal(stored(place), parameters[name]), name
        assert place["dtype"] == "float16" or parameters[name].ndim == 1


def hostile_model():
    """A model whose vocabulary has characters that could end a script, and a text of them."""
    tokenizer = Tokenizer.of_characters(set(HOSTILE))
    config = GPT2Config(len(tokenizer), 100, n_layer=1, n_head=1, n_embd=4, bos_token_id=None, eos_token_id=None)
    return letter_model(
        **{k: v for k, v in config.to_dict().items() if k not in ("architectures", "model_type")}
    ), tokenizer


def test_no_text_breaks_out(bundled):
    ordinary = [tag for tag, _ in Scripts(file_html(*bundled, "Once")).elements]
    for model, tokenizer in (bundled, hostile_model()):
        page = Scripts(file_html(model, tokenizer, HOSTILE))
        assert [tag for tag, _ in page.elements] == ordinary
        data = page.scripts["data"]
        assert data.isascii() and "<" not in data
        assert json.loads(data)["start"]["text"] == HOSTILE


def test_models_of_all_kinds():
    for options in (
        {"n_layer": 1, "n_head": 1},
        {"activation_function": "relu", "tie_word_embeddings": False},
        {"n_positions": 4},
    ):
        model = letter_model(**options)
        data = json.loads(Scripts(file_html(model, letter_tokenizer(model), "abc")).scripts["data"])
        n_positions = model.config.n_positions
        assert len(data["run"]["ids"]) == min(15, n_positions) and data["start"]["has_parameters"]
        # A search of five steps has no room at the end.
        assert [int(n) for n in data["beams"]] == [
            n for n in range(3, len(data["run"]["ids"]) + 1) if n + 5 <= n_positions
        ]


def test_a_model_that_is_not_finite():
    model = letter_model()
    model.params["ln_f"]["weight"][0] = np.inf
    with pytest.raises(ValueError, match="not finite: it is damaged"):
        file_html(model, letter_tokenizer(model), "abc")


def test_too_many_numbers(monkeypatch):
    monkeypatch.setattr(page_file, "MAX_BYTES", 10_000)
    with pytest.raises(ValueError, match="more than 0 MB of numbers: shorten the text"):
        file_html(letter_model(), letter_tokenizer(letter_model()), "abc")


def test_the_command_writes_a_file(tmp_path, bundled):
    path = tmp_path / "new" / "once.html"
    result = run_here("step", TEXT, "--html", path)
    size = f"{path.stat().st_size / 1e6:.1f} MB"
    contents = "16 tokens, of which the model added 12, with the model's parameters"
    assert result.returncode == 0 and result.stdout == f"{path}: {size}, {contents}; open it in a browser\n"
    assert result.stderr == ""  # which is no terminal
    # Made here, because the command has set the number of BLAS's threads, by which its last digits can differ.
    story = file_html(*bundled, TEXT)
    assert path.read_text(encoding="utf-8") == story and [p.name for p in path.parent.iterdir()] == ["once.html"]
    fails_with("the text is empty", "step", "", "--html", path, run=run_here)
    fails_with("the page takes at most 256", "step", "word " * 300, "--html", path, run=run_here)
    assert path.read_text(encoding="utf-8") == story
    fails_with("is a directory", "step", TEXT, "--html", tmp_path, run=run_here)
    fails_with("once.html", "step", TEXT, "--html", path / "below.html", run=run_here)


def test_what_takes_long_is_shown(tmp_path):
    shown = {}

    def progress(items, total, unit):
        items = list(items)
        assert total == len(items)
        shown[unit] = total
        return items

    model = letter_model(n_positions=50)
    contents = write_page(tmp_path / "page.html", model, letter_tokenizer(model), "abcdefgh", progress)
    assert contents == "20 tokens, of which the model added 12, with the model's parameters"
    assert shown == {"activation": 17 + 2 * 14, "attribution": 20, "beam search": 13, "token": 20}


def test_an_interrupted_page_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    path.write_text("the old page")

    def interrupted(*_):
        yield "<!doctype html>"
        raise KeyboardInterrupt

    monkeypatch.setattr(page_file, "page_parts", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_page(path, letter_model(), letter_tokenizer(letter_model()), "abc")
    assert path.read_text() == "the old page" and [p.name for p in tmp_path.iterdir()] == ["page.html"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_a_full_disk(tmp_path):
    path = tmp_path / "once.html"
    path.write_text("the old page")
    script = f"""
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
sys.argv = ["minigpt", "step", "Once", "--html", {str(path)!r}]
from minigpt.cli import main
main()
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 2 and result.stderr.count("\n") == 1 and "File too large" in result.stderr
    assert path.read_text() == "the old page" and len(list(tmp_path.iterdir())) == 1


def answered(page, question):
    """Ask the source of an open file; arrays come back as lists, an error as a text."""
    return page.evaluate(
        """async (question) => {
          const { FileSource } = await import("minigpt/source_file.js");
          globalThis.source ??= await FileSource.open();
          try {
            const { arrays, ...head } = await source.ask(question);
            return { head, arrays: arrays.map(({ shape, data }) => ({ shape, type: data.constructor.name, data: [...data] })) };
          } catch (error) {
            return { error: error.message };
          }
        }""",
        question,
    )


def close(found, expected):
    """Whether two heads are the same, numbers to rounding."""
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(close(found[name], expected[name]) for name in expected)
    if isinstance(expected, list | tuple):
        return len(found) == len(expected) and all(map(close, found, expected))
    return found == (pytest.approx(expected, rel=1e-4, abs=2e-5) if isinstance(expected, float) else expected)


@pytest.mark.browser
@pytest.mark.parametrize("kind", ["bundled", "letters"])
def test_a_file_answers_as_a_session(kind, open_tab, tmp_path, bundled):
    model, tokenizer, text = *bundled, TEXT
    if kind == "letters":  # in float64
        model, text = letter_model(), "face"
        tokenizer = letter_tokenizer(model)
    write_page(tmp_path / "page.html", model, tokenizer, text)
    page = open_tab((tmp_path / "page.html").as_uri(), is_offline=True).page
    session = Session(model, tokenizer, text)
    expected, _ = session.answer({"ask": "start"})
    found = answered(page, {"ask": "start"})["head"]
    assert found == expected | {"live": False, "models": [expected["model"]], "max_tokens": found["max_tokens"]}
    text_ids = answered(page, {"ask": "run", "text": text})["head"]["ids"]
    assert text_ids == tokenizer.encode(text)
    ids = model.generate(text_ids, max_new_tokens=12)[0].tolist()
    for n in (1, len(text_ids), len(ids)):
        compare_runs(page, session, ids[:n], len(text_ids))


def compare_runs(page, session, ids, n_text):
    config = session.models.first.model.config

    def compare(question):
        head, arrays = session.answer(question)
        found = answered(page, question)
        assert close(found.get("head"), head), question
        for array, ours in zip(arrays, found["arrays"], strict=True):
            assert ours["shape"] == list(array.shape)
            types = {"float64": "Float64Array", "float32": "Float32Array", "int32": "Int32Array"}
            assert ours["type"] == types[array.dtype.name]
            assert np.allclose(ours["data"], array.ravel(), rtol=1e-4, atol=2e-5)
        return head

    run = compare({"ask": "run", "ids": ids} if len(ids) != n_text else {"ask": "run", "text": session.text})["run"]
    last = len(ids) - 1
    for name, index in (
        ("h.1.attn.weights", [None, None, None]),
        ("h.1.attn.q", [1, last, None]),
        ("embed", [last, 3]),
        ("logits", [last, None]),
    ):
        compare({"ask": "numbers", "run": run, "of": [[name, index]]})
    rows = [["h.1.attn.scores", [None, None, None]], ["h.1.attn.scores", [0, last, None]], ["logits", [None, None]]]
    rows += [["embed", [last, None]], ["h.0.attn.heads", [1, None, None]]]
    for columns in (1, 5, 2000):
        compare({"ask": "pooled", "run": run, "of": rows, "columns": columns})
    compare({"ask": "numbers", "run": run, "of": rows})
    compare({"ask": "lengths", "run": run, "of": rows})
    compare({"ask": "uncertainty", "run": run})
    for name, index in (("wte.weight", [5, None]), ("h.0.attn.c_attn.weight", [None, 3]), ("ln_f.bias", [2])):
        compare({"ask": "parameters", "run": run, "of": [[name, index]]})
    compare({"ask": "tokens", "ids": [0, config.vocab_size - 1]})
    for question in ({"k": 5}, {"k": 2, "position": last}, {"position": None}, {"last": True}):
        compare({"ask": "lens", "run": run, **question})
    if n_text <= len(ids) <= config.n_positions - 5:
        compare({"ask": "beams", "run": run, "num_beams": 3, "steps": 5})
    logits = session.answer({"ask": "numbers", "run": run, "of": [["logits", [last, None]]]})[1][0]
    first, second = np.argsort(-logits)[:2].tolist()
    for token, other in ((first, None), (second, None), (first, second), (second, first)):
        for ask in ("attribution", "token_attribution"):
            compare({"ask": ask, "run": run, "position": last, "token": token, "other": other})
    assert answered(page, {"ask": "forget", "run": run}) == {"head": {}, "arrays": []}


@pytest.mark.browser
def test_what_a_file_does_not_hold(open_tab, tmp_path, story):
    (tmp_path / "page.html").write_text(story, encoding="utf-8")
    page = open_tab((tmp_path / "page.html").as_uri(), is_offline=True).page
    run = answered(page, {"ask": "run", "text": TEXT})["head"]["run"]
    (logits,) = answered(page, {"ask": "numbers", "run": run, "of": [["logits", [3, None]]]})["arrays"]
    best = int(np.argmax(logits["data"]))
    for sentence, question in (
        ("this file holds one run", {"ask": "run", "text": "The end"}),
        ("this file holds one run", {"ask": "run", "ids": [1, 2]}),
        ("this file holds one run", {"ask": "run", "text": TEXT, "changes": [{"kind": "zero", "name": "embed"}]}),
        ("this file holds one run", {"ask": "run", "text": TEXT, "model": "gpt2"}),
        ("this file holds one run", {"ask": "numbers", "run": "x", "of": [["embed", [0, 0]]]}),
        (
            "this file holds one run",
            {"ask": "pooled", "run": run, "of": [["embed", [0, None]]], "columns": 1, "minus": run},
        ),
        ("no activation __proto__", {"ask": "numbers", "run": run, "of": [["__proto__", [0, 0]]]}),
        ("but the index has 1", {"ask": "numbers", "run": run, "of": [["embed", [0]]]}),
        ("4 is no index of an axis of 4", {"ask": "numbers", "run": run, "of": [["embed", [4, 0]]]}),
        ("no parameter x", {"ask": "parameters", "of": [["x", [0]]]}),
        ("does not hold the answer", {"ask": "lens", "run": run, "k": 6}),
        ("position must be an integer from 0 to 3", {"ask": "lens", "run": run, "position": 4}),
        ("does not hold the answer", {"ask": "beams", "run": run, "num_beams": 4}),
        ("does not hold the answer", {"ask": "attribution", "run": run, "position": 3, "token": 1591}),
        ("most probable tokens alone", {"ask": "token_attribution", "run": run, "position": 3, "token": 1591}),
        (
            "most probable tokens alone",
            {"ask": "token_attribution", "run": run, "position": 3, "token": best, "other": 1591},
        ),
        (
            "position must be an integer from 0 to 3",
            {"ask": "token_attribution", "run": run, "position": 4, "token": best},
        ),
        ("ids must be integers", {"ask": "tokens", "ids": [1592]}),
        ("ask must be one of", {"ask": "toString"}),
    ):
        assert sentence in answered(page, question).get("error", ""), question
