"""A page's questions against the model itself, and every bad question by its sentence."""

import threading
from itertools import pairwise

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from letter_models import letter_model, letter_tokenizer, random_text
from reference import models

import minigpt
from minigpt import GPT2, ContextLengthError, Tokenizer
from minigpt.activations import activation_names
from minigpt.looking import beam_tree, logit_lens
from minigpt.ops.plain import softmax
from minigpt.page import runs as page_runs
from minigpt.page.session import Session
from minigpt.page.wire import encode_answer
from minigpt.params import flatten

TEXT = "Once upon a time"


def letter_session(model, text="abc"):
    return Session(model, letter_tokenizer(model), text)


def run_of(session, **question):
    return session.answer({"ask": "run", "text": session.text, **question})[0]


def numbers(session, run, name, index):
    return session.answer({"ask": "numbers", "run": run["run"], "of": [[name, index]]})[1][0]


@given(models(dtype="float32"), st.integers(1, 12), st.data())
def test_numbers_are_those_of_the_trace(model, length, data):
    session = letter_session(model, random_text(model, length))
    run, trace = run_of(session), {}
    model(run["ids"], trace=trace)
    assert [step["name"] for step in run["steps"]] == activation_names(model.config.n_layer)
    for step in run["steps"]:
        whole = trace[step["name"]][0]
        assert step["shape"] == list(whole.shape) and step["largest"] == np.abs(whole).max()
        assert len(step["axes"]) == whole.ndim and step["formula"] and step["meaning"] and step["source"]
        index = [data.draw(st.none() | st.integers(0, size - 1)) for size in whole.shape]
        expected = whole[tuple(slice(None) if i is None else i for i in index)]
        found = numbers(session, run, step["name"], index)
        assert np.array_equal(found, expected) and found.dtype == expected.dtype and found.shape == expected.shape


def test_several_places_in_one_question(bundled):
    session = Session(*bundled, TEXT)
    run = run_of(session)
    places = [["h.1.attn.q", [2, None, 5]], ["logits", [3, 7]], ["h.1.attn.q", [2, None, 5]]]
    _, found = session.answer({"ask": "numbers", "run": run["run"], "of": places})
    assert all(np.array_equal(a, numbers(session, run, *place)) for a, place in zip(found, places, strict=True))
    places = [["wte.weight", [5, None]], ["ln_f.bias", [None]]]
    _, (row, bias) = session.answer({"ask": "parameters", "of": places})
    assert np.array_equal(row, bundled[0].params["wte"]["weight"][5])
    assert np.array_equal(bias, bundled[0].params["ln_f"]["bias"])


def trace_of(session, run):
    return {name: array[0] for name, array in session.runs.find(run["run"]).trace.items()}


def pooled_by_hand(row, columns):
    """The numbers of largest absolute value in each cell of one row, NaN passed over, and their columns."""
    cells = min(columns, len(row))
    edges = [cell * len(row) // cells for cell in range(cells + 1)]
    parts = [range(start, end) for start, end in pairwise(edges)]
    where = [max(part, key=lambda i: -1 if np.isnan(row[i]) else abs(row[i])) for part in parts]  # the first of several
    return row[where], where


@given(models(dtype="float32"), st.integers(1, 12), st.integers(1, 40), st.data())
def test_rows_are_pooled_to_the_numbers_of_largest_absolute_value(model, length, columns, data):
    session = letter_session(model, random_text(model, length))
    run = run_of(session)
    other = run_of(session, changes=[{"kind": "scale", "name": "h.0.attn.v", "factor": 3}])
    minus = data.draw(st.sampled_from([None, run["run"]]))
    traces = trace_of(session, run), trace_of(session, other)
    places = [[name, [None] * array.ndim] for name, array in traces[0].items()]
    question = {"ask": "pooled", "run": other["run"], "of": places, "columns": columns, "minus": minus}
    _, found = session.answer(question)
    for (name, _), values, where in zip(places, found[::2], found[1::2], strict=True):
        whole = traces[1][name] - traces[0][name] if minus else traces[1][name]
        if name.endswith("attn.scores"):
            whole = np.tril(whole)
        assert values.dtype == "float32" and where.dtype == "int32" and values.shape == where.shape
        assert values.shape == (*whole.shape[:-1], min(columns, whole.shape[-1]))
        rows = [array.reshape(-1, array.shape[-1]) for array in (whole, values, where)]
        for row, row_values, row_where in zip(*rows, strict=True):
            expected = pooled_by_hand(row, columns)
            assert np.array_equal(row_values, expected[0]) and row_where.tolist() == expected[1]


def test_the_mask_hides_scores_of_a_single_row(bundled):
    session = Session(*bundled, TEXT)
    run = run_of(session)
    for t in range(4):
        question = {"ask": "pooled", "run": run["run"], "of": [["h.1.attn.scores", [2, t, None]]], "columns": 4}
        _, (values, _) = session.answer(question)
        expected = numbers(session, run, "h.1.attn.scores", [2, t, None])
        assert np.array_equal(values, np.where(np.arange(4) <= t, expected, 0))


def test_numbers_that_are_not_finite_are_pooled():
    model = letter_model()
    model.params["ln_f"]["weight"][:2] = np.nan, np.inf
    session = letter_session(model)
    run = run_of(session)
    _, (values, where) = session.answer({"ask": "pooled", "run": run["run"], "of": [["ln_f", [0, None]]], "columns": 2})
    expected = pooled_by_hand(numbers(session, run, "ln_f", [0, None]), 2)
    assert where.tolist() == expected[1] == [1, expected[1][1]] and np.array_equal(values, expected[0])
    assert np.isinf(values[0])


@given(models(dtype="float32"), st.integers(1, 12))
def test_the_lengths_of_rows(model, length):
    session = letter_session(model, random_text(model, length))
    run = run_of(session)
    trace = trace_of(session, run)
    places = [[name, [None] * array.ndim] for name, array in trace.items()]
    _, found = session.answer({"ask": "lengths", "run": run["run"], "of": places})
    for (name, _), lengths in zip(places, found, strict=True):
        expected = np.linalg.norm(trace[name].astype("float64"), axis=-1)
        assert lengths.dtype == "float64" and np.allclose(lengths, expected, rtol=1e-12)


@given(models(), st.integers(1, 12))
def test_how_open_the_next_token_is(model, length):
    session = letter_session(model, random_text(model, length))
    run = run_of(session)
    _, (entropies, largest) = session.answer({"ask": "uncertainty", "run": run["run"]})
    probs = softmax(numbers(session, run, "logits", [None, None]))
    assert np.allclose(entropies, -(probs * np.log(np.maximum(probs, 1e-300))).sum(axis=-1), atol=1e-9)
    assert np.allclose(largest, probs.max(axis=-1), rtol=1e-12)


def test_how_open_is_a_token_that_nothing_else_can_follow():
    model = letter_model()
    session = letter_session(model)
    run = run_of(session, changes=[{"kind": "set", "name": "logits", "index": [1, 3], "value": 1e6}])
    _, (entropies, largest) = session.answer({"ask": "uncertainty", "run": run["run"]})
    assert entropies[1] == 0 and largest[1] == 1 and entropies[0] > 0


@given(models(), st.data())
def test_parameters(model, data):
    session = letter_session(model)
    for name, array in flatten(model.params).items():
        index = [data.draw(st.none() | st.integers(0, size - 1)) for size in array.shape]
        _, (found,) = session.answer({"ask": "parameters", "of": [[name, index]]})
        assert np.array_equal(found, array[tuple(slice(None) if i is None else i for i in index)])


@pytest.mark.parametrize("options", [{"quantize": "int8"}, {"quantize": "int4"}, {"dtype": "bfloat16"}])
def test_parameters_of_a_packed_model(options, bundled):
    model = GPT2.from_pretrained("stories", **options)
    session = Session(model, bundled[1], TEXT)
    for name in ("wte.weight", "h.1.mlp.c_fc.weight", "h.1.ln_1.weight"):
        whole = np.asarray(flatten(model.params)[name])
        for index in ([3, None], [None, 5], [3, 5], [None, None]):
            index = index[: whole.ndim]
            _, (found,) = session.answer({"ask": "parameters", "of": [[name, index]]})
            assert np.array_equal(found, whole[tuple(slice(None) if i is None else i for i in index)])


def test_start(bundled):
    session = Session(*bundled, TEXT)
    head, arrays = session.answer({"ask": "start"})
    assert head["text"] == TEXT and head["model"] == "stories" and "stories" in head["models"] and head["live"]
    assert head["config"]["n_layer"] == 4 and head["config"]["parameters"] == 1_029_888 and head["config"]["tied"]
    assert head["config"]["scales"] == pytest.approx([32**-0.5] * 4)
    assert [a["axes"] for a in head["activations"]][:3] == ["TD", "TD", "HTK"] and len(head["activations"]) == 17
    assert head["max_tokens"] == 256 and head["has_parameters"] and not arrays
    names = {}
    exec(run_of(session)["python"], names)
    assert np.array_equal(names["model"](names["tokenizer"].encode(TEXT)), bundled[0](bundled[1].encode(TEXT)))


def test_a_run_of_ids_and_of_text_is_the_same_run(bundled):
    session = Session(*bundled, TEXT)
    by_text = run_of(session)
    by_ids = run_of(session, ids=by_text["ids"])
    assert by_ids == by_text and by_text["encodes"] and by_text["tokens"] == ["Once", " upon", " a", " time"]
    other = run_of(session, text="The end")
    assert other["run"] != by_text["run"]


def test_ids_whose_text_the_tokenizer_cannot_encode():
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "xyz": 1}))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Split(tokenizers.Regex(r"[\s\S]"), "isolated")
    session = Session(letter_model(vocab_size=2), Tokenizer(backend), "a")
    run = run_of(session, ids=[0, 1])
    assert run["ids"] == [0, 1] and "ids = [0, 1]" in run["code"] and not run["encodes"]


def test_a_run_that_was_dropped_is_computed_again(monkeypatch):
    monkeypatch.setattr(page_runs, "MAX_BYTES", 0)
    session = letter_session(letter_model())
    texts = ["abc", "bcd", "cde", "def"]
    runs = [run_of(session, text=text) for text in texts]
    expected = [numbers(session, run, "h.1.resid", [None, 3]) for run in runs]
    assert len(session.runs._kept) == page_runs.MIN_RUNS
    session.answer({"ask": "forget", "run": runs[0]["run"]})
    for run, before in zip(runs, expected, strict=True):
        assert np.array_equal(numbers(session, run, "h.1.resid", [None, 3]), before)


def test_questions_from_many_threads():
    session, wrong = letter_session(letter_model()), []

    def ask(seed):
        text = random_text(letter_model(), 5 + seed % 3, seed)
        run = run_of(session, text=text)
        logits = numbers(session, run, "logits", [None, None])
        if not np.array_equal(logits, letter_model()(letter_tokenizer(letter_model()).encode(text))):
            wrong.append(text)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_lens(bundled):
    session = Session(*bundled, TEXT)
    run = run_of(session)
    head, _ = session.answer({"ask": "lens", "run": run["run"], "position": None, "k": 4})
    lens = logit_lens(*bundled, TEXT)
    for t in range(4):
        expected = lens.top(4, t)
        for row, pairs in enumerate(expected):
            assert head["texts"][row][t] == [text for text, _ in pairs]
            assert head["probabilities"][row][t] == pytest.approx([p for _, p in pairs], rel=1e-5)
    assert_parts_of_the_lens(session, run, head)


def assert_parts_of_the_lens(session, run, head):
    """Assert that the lens of one position, and that of the last block, are parts of the whole one."""
    question = {"ask": "lens", "run": run["run"], "k": 4}
    for t in range(len(run["ids"])):
        one, _ = session.answer(question | {"position": t})
        assert one["ids"] == [rows[t : t + 1] for rows in head["ids"]]
        assert one["texts"] == [rows[t : t + 1] for rows in head["texts"]]
        expected = np.array(head["probabilities"])[:, [t]]
        assert np.allclose(one["probabilities"], expected, rtol=1e-5)
    last, _ = session.answer(question | {"last": True})
    assert last == {name: rows[-1:] for name, rows in head.items()}


def test_the_lens_of_a_changed_run_ends_with_its_logits(bundled):
    session = Session(*bundled, TEXT)
    changes = [{"kind": "zero", "name": "h.3.mlp.out"}, {"kind": "scale", "name": "ln_f", "factor": 0.5}]
    run = run_of(session, changes=changes)
    head, _ = session.answer({"ask": "lens", "run": run["run"], "k": 3})
    probs = softmax(numbers(session, run, "logits", [None, None]))
    assert head["ids"][-1] == np.argsort(-probs, axis=-1)[:, :3].tolist()
    changes[1]["position"] = 2  # of one position alone
    run = run_of(session, changes=changes)
    assert_parts_of_the_lens(session, run, session.answer({"ask": "lens", "run": run["run"], "k": 4})[0])


def test_beams(bundled):
    session = Session(*bundled, TEXT)
    run = run_of(session)
    head, _ = session.answer({"ask": "beams", "run": run["run"], "num_beams": 3, "steps": 4})
    tree = beam_tree(*bundled, TEXT, 3, 4)
    assert head["best"] == tree.best and head["text"] == tree.text and len(head["nodes"]) == len(tree.nodes)
    for node, expected in zip(head["nodes"], tree.nodes, strict=True):
        assert (node["ids"], node["state"], node["step"]) == (list(expected.ids), expected.state, expected.step)


def test_a_beam_search_goes_on_from_the_run(monkeypatch):
    session = letter_session(letter_model())
    run = run_of(session)
    called, call = [], GPT2.__call__
    monkeypatch.setattr(
        GPT2, "__call__", lambda self, ids, **options: called.append(ids.shape) or call(self, ids, **options)
    )
    session.answer({"ask": "beams", "run": run["run"], "num_beams": 3, "steps": 4})
    assert called == [(3, 1)] * 3


def test_other_pages_may_run_the_model_between_the_steps_of_a_beam_search():
    session = letter_session(letter_model())
    run = run_of(session)
    lock, searching, answered = threading.RLock(), threading.current_thread(), []

    class Computing:
        """The session's lock. Whenever the search releases it, another page asks for a run."""

        def __enter__(self):
            lock.acquire()

        def __exit__(self, *_):
            lock.release()
            if threading.current_thread() is searching:
                text = "abcdefgh"[len(answered) :]
                page = threading.Thread(target=lambda: answered.append(run_of(session, text=text)), daemon=True)
                page.start()
                page.join(10)

    session.runs.computing = Computing()
    session.answer({"ask": "beams", "run": run["run"], "num_beams": 3, "steps": 4})
    assert [len(run["ids"]) for run in answered] == [8, 7, 6]


def test_a_beam_search_of_a_damaged_model():
    model = letter_model()
    model.params["ln_f"]["weight"][0] = np.inf
    session = letter_session(model)
    with pytest.raises(ValueError, match="not finite: there is nothing to search"):
        session.answer({"ask": "beams", "run": run_of(session)["run"]})


def test_the_attribution_of_a_logit(bundled):
    session = Session(*bundled, TEXT)
    run = run_of(session)
    head, _ = session.answer({"ask": "attribution", "run": run["run"], "position": 3, "token": 7, "other": 9})
    logits = numbers(session, run, "logits", [3, None])
    parts = [head["wte"], head["wpe"], *np.ravel(head["heads"]), *head["attn_biases"], *head["mlps"], head["ln_f_bias"]]
    assert sum(parts) == pytest.approx(logits[7] - logits[9], abs=1e-4)
    assert np.shape(head["by_token"]) == (4, 4, 4) and head["other"] is not None


@pytest.mark.parametrize("changes", [[], [{"kind": "zero", "name": "h.1.attn.heads", "head": 2}]])
def test_which_tokens_a_logit_came_from(bundled, changes):
    session = Session(*bundled, TEXT)
    run = run_of(session, changes=changes)

    def head_off(heads):
        heads[:, 2] = 0
        return heads

    steps = minigpt.step(*bundled, TEXT, edit={change["name"]: head_off for change in changes})
    for position, token, other in ((3, 7, None), (2, 7, 9)):
        question = {"ask": "token_attribution", "run": run["run"], "position": position, "token": token, "other": other}
        head, _ = session.answer(question)
        expected = steps.token_attribution(token, other, position)
        for name in ("logit", "bias", "rest"):
            assert head[name] == pytest.approx(getattr(expected, name), abs=1e-4)
        assert head["by_token"] == pytest.approx(expected.by_token[: position + 1], abs=1e-4)
        edges = [edge and pytest.approx([*edge[:4]], abs=1e-5) for edge in expected.edges[: position + 1]]
        assert head["edges"] == edges and head["edges"][0] and not head["edges"][-1]
        assert (abs(head["rest"]) > 1e-3) == bool(changes)


def test_which_tokens_a_logit_that_is_not_finite_came_from(bundled):
    session = Session(*bundled, TEXT)
    names = [f"h.{layer}.{name}" for layer in range(4) for name in ("attn.v", "attn.heads", "resid_mid", "resid")]
    run = run_of(session, changes=[{"kind": "scale", "name": name, "factor": 1e6} for name in names])
    head, arrays = session.answer({"ask": "token_attribution", "run": run["run"], "position": 2, "token": 3})
    assert len(head["by_token"]) == 3 and not np.isfinite(head["rest"])
    assert b"NaN" not in encode_answer(head, arrays)


def test_other_models_of_this_machine(tmp_path, bundled):
    model = letter_model()
    model.save_pretrained(tmp_path / "mine")
    letter_tokenizer(model).save_pretrained(tmp_path / "mine")
    session = Session(*bundled, TEXT)
    name = str(tmp_path / "mine")
    run = run_of(session, text="abc", model=name)
    assert run["model"] == name and run["config"]["n_layer"] == 3
    assert session.answer({"ask": "tokens", "ids": [0, 1], "run": run["run"]})[0]["texts"] == ["A", "B"]
    assert name in session.answer({"ask": "start"})[0]["models"]
    # A page never downloads.
    for missing in ("gpt2-xl", "nobody/nothing", str(tmp_path / "none"), ""):
        with pytest.raises(ValueError, match="local cache|there is no folder"):
            run_of(session, model=missing)


def test_texts_stay_data(bundled):
    session = Session(*bundled, TEXT)
    hostile = "</script><img src=x onerror=alert(1)>\u2028\u202e\x00\x1b[31m 'quoted' \"twice\" \\"
    run = run_of(session, text=hostile)
    assert run["text"] == hostile and bundled[1].decode(run["ids"]) == "".join(run["text"])
    names = {"tokenizer": bundled[1], "model": bundled[0]}
    exec(run["code"], names)  # the text stands there as a literal, whatever is in it
    assert names["ids"] == run["ids"]


BAD_QUESTIONS = {
    "a question must be an object, not \\[\\]": [],
    "ask must be one of start, run, .*, not 'sing'": {"ask": "sing"},
    "ask must be one of .*, not \\['run'\\]": {"ask": ["run"]},
    "text must be a text, not 5": {"ask": "run", "text": 5},
    "the text is empty": {"ask": "run", "text": ""},
    "half a character at place 1": {"ask": "run", "text": "a\ud800"},
    "no token for the character 'é'": {"ask": "run", "text": "é"},
    "the text has 17 tokens; the page takes at most 16": {"ask": "run", "text": "a" * 17},
    "ids is empty": {"ask": "run", "ids": []},
    "ids must be integers from 0 to 29, not 30": {"ask": "run", "ids": [30]},
    "ids must be integers from 0 to 29, not -1": {"ask": "run", "ids": [-1]},
    "ids must be integers from 0 to 29, not True": {"ask": "run", "ids": [True]},
    "ids must be a list, not 'abc'": {"ask": "run", "ids": "abc"},
    "ids has 17 items; at most 16": {"ask": "run", "ids": [1] * 17},
    "model must be a text, not 3": {"ask": "run", "text": "a", "model": 3},
    "this run is not known any more": {"ask": "numbers", "run": "nothing", "of": [["embed", [0, 0]]]},
    "run must be a text, not None": {"ask": "numbers"},
    "no activation 'h.9.resid'": {"ask": "numbers", "run": "RUN", "of": [["h.9.resid", [0, 0]]]},
    "embed has 2 axes, \\[3, 8\\], but the index has 1": {
        "ask": "numbers",
        "run": "RUN",
        "of": [["embed", [0, 0]], ["embed", [0]]],
    },
    "3 is no index of an axis of 3": {"ask": "numbers", "run": "RUN", "of": [["embed", [3, 0]]]},
    "-1 is no index of an axis of 3": {"ask": "numbers", "run": "RUN", "of": [["embed", [-1, 0]]]},
    "1.5 is no index": {"ask": "numbers", "run": "RUN", "of": [["embed", [1.5, 0]]]},
    "of must be a list of pairs \\[name, index\\], not of 'embed'": {"ask": "numbers", "run": "RUN", "of": ["embed"]},
    "the index of embed must be a list, not None": {"ask": "numbers", "run": "RUN", "of": [["embed", None]]},
    "of has 1001 items; at most 1000": {"ask": "numbers", "run": "RUN", "of": [["embed", [0, 0]]] * 1001},
    "columns must be an integer from 1 to 100000, not 0": {
        "ask": "pooled",
        "run": "RUN",
        "of": [["embed", [None, None]]],
        "columns": 0,
    },
    "takes whole rows of embed": {"ask": "pooled", "run": "RUN", "of": [["embed", [None, 0]]], "columns": 2},
    "takes rows of embed, not single numbers": {"ask": "lengths", "run": "RUN", "of": [["embed", [0, 0]]]},
    "embed has not the same shape in both runs": {
        "ask": "pooled",
        "run": "RUN",
        "of": [["embed", [None, None]]],
        "columns": 2,
        "minus": "OTHER",
    },
    "no parameter 'h.0.attn'": {"ask": "parameters", "of": [["h.0.attn", [0]]]},
    "position must be an integer from 0 to 2, not 3": {"ask": "lens", "run": "RUN", "position": 3},
    "k must be an integer from 1 to 30, not 31": {"ask": "lens", "run": "RUN", "k": 31},
    "num_beams must be an integer from 2 to 8, not 1": {"ask": "beams", "run": "RUN", "num_beams": 1},
    "max_new_tokens is 20": {"ask": "beams", "run": "RUN", "steps": 20},
    "token must be an integer from 0 to 29, not 30": {"ask": "attribution", "run": "RUN", "position": 0, "token": 30},
    "other must be an integer from 0 to 29, not -1": {
        "ask": "token_attribution",
        "run": "RUN",
        "position": 0,
        "token": 1,
        "other": -1,
    },
}


@pytest.mark.parametrize("sentence", BAD_QUESTIONS)
def test_bad_questions(sentence):
    session = letter_session(letter_model())
    question = BAD_QUESTIONS[sentence]
    if isinstance(question, dict) and question.get("run") == "RUN":
        question = question | {"run": run_of(session)["run"]}
    if isinstance(question, dict) and question.get("minus") == "OTHER":
        question = question | {"minus": run_of(session, text="ab")["run"]}
    with pytest.raises(ValueError, match=sentence):
        session.answer(question)


def test_too_long_a_text_is_a_context_length_error():
    with pytest.raises(ContextLengthError, match="shorten it"):
        run_of(letter_session(letter_model()), text="a" * 17)
