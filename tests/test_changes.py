"""Changes of a run against model(ids, edit=...), and against the Python that the page shows for them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from letter_models import letter_model, letter_tokenizer, random_text

from minigpt.activations import activation_names, find_activation
from minigpt.page.changes import activation_shape
from minigpt.page.session import Session
from minigpt.page.wire import encode_answer

MODEL = letter_model()
NAMES = activation_names(MODEL.config.n_layer)
TOKENIZER = letter_tokenizer(MODEL)


def run_of(session, text, changes=()):
    return session.answer({"ask": "run", "text": text, "changes": list(changes)})[0]


def trace_of(session, run):
    return session.runs.find(run["run"]).trace


@st.composite
def changes(draw, n_tokens, other_run):
    name = draw(st.sampled_from(NAMES))
    kind = draw(st.sampled_from(["zero", "scale", "copy", "set"]))
    shape = activation_shape(name, MODEL.config, n_tokens)
    change = {"kind": kind, "name": name}
    if kind == "set" or draw(st.booleans()):
        change["index"] = [draw(st.none() | st.integers(0, size - 1)) for size in shape]
    else:
        change["position"] = draw(st.none() | st.integers(0, n_tokens - 1))
        if "H" in find_activation(name).axes:
            change["head"] = draw(st.none() | st.integers(0, MODEL.config.n_head - 1))
    value = st.integers(-300, 300).map(lambda n: n / 100)
    return (
        change
        | {
            "zero": {},
            "scale": {"factor": draw(value)},
            "copy": {"run": other_run},
            "set": {"value": draw(value)},
        }[kind]
    )


@given(st.integers(1, 8), st.integers(0, 1000), st.data())
def test_the_python_of_a_run_does_the_same(n_tokens, seed, data):
    session = Session(MODEL, TOKENIZER, "a")
    text, other_text = random_text(MODEL, n_tokens, seed), random_text(MODEL, n_tokens, seed + 1)
    plain = run_of(session, other_text)
    other = run_of(session, other_text, data.draw(st.lists(changes(n_tokens, plain["run"]), max_size=2)))
    run = run_of(session, text, data.draw(st.lists(changes(n_tokens, other["run"]), max_size=4)))
    names = {"model": MODEL, "tokenizer": TOKENIZER}
    exec(run["code"], names)
    assert np.array_equal(names["logits"], trace_of(session, run)["logits"][0])
    assert run["code"].splitlines()[-1].startswith("logits = model(ids")
    # The changes of an answer are a question that gives the same run.
    assert run_of(session, text, run["changes"]) == run


def test_each_kind_against_an_edit():
    session = Session(MODEL, TOKENIZER, "abcd")
    other = run_of(session, "bcde")
    source = trace_of(session, other)["h.1.resid"]

    def without_head(x):
        x[:, 1] = 0
        return x

    def half(x):
        x[:, 2] *= 0.5
        return x

    def copied(x):
        x[:, 3] = source[:, 3]
        return x

    def one(x):
        x[:, 0, 3, 1] = 0.25
        return x

    for change, edit in (
        ({"kind": "zero", "name": "h.0.attn.heads", "head": 1}, without_head),
        ({"kind": "zero", "name": "h.2.mlp.out"}, np.zeros_like),
        ({"kind": "scale", "name": "h.1.ln_2", "position": 2, "factor": 0.5}, half),
        ({"kind": "copy", "name": "h.1.resid", "position": 3, "run": other["run"]}, copied),
        ({"kind": "set", "name": "h.1.attn.weights", "index": [0, 3, 1], "value": 0.25}, one),
    ):
        run, trace = run_of(session, "abcd", [change]), {}
        MODEL(TOKENIZER.encode("abcd"), trace=trace, edit={change["name"]: edit})
        assert all(np.array_equal(trace[name], array) for name, array in trace_of(session, run).items())
        assert not np.array_equal(trace["logits"], trace_of(session, run_of(session, "abcd"))["logits"])


def test_a_copy_of_a_run_that_was_dropped(monkeypatch):
    session = Session(MODEL, TOKENIZER, "abcd")
    source = run_of(session, "bcde")
    change = {"kind": "copy", "name": "h.0.resid", "run": source["run"]}
    first = run_of(session, "abcd", [change])
    before = trace_of(session, first)["logits"]
    for run in (source, first):
        session.answer({"ask": "forget", "run": run["run"]})
    assert np.array_equal(trace_of(session, first)["logits"], before)


def test_a_run_that_becomes_infinite():
    session = Session(MODEL, TOKENIZER, "abcd")
    every = [{"kind": "scale", "name": name, "factor": 1e6} for name in NAMES for _ in range(64 // len(NAMES))]
    huge = [{"kind": "scale", "name": "embed", "factor": 1e6}] * 60
    for changes in (every, huge):
        run = run_of(session, "abcd", changes)
        assert all(step["largest"] is None or step["largest"] >= 0 for step in run["steps"])
        head, _ = session.answer({"ask": "lens", "run": run["run"]})
        assert all(len(best) == 5 for rows in head["ids"] for best in rows)
        encode_answer(head, [])  # nothing that JSON cannot hold


GOOD = {"kind": "zero", "name": "h.0.attn.heads"}
BAD_CHANGES = {
    "changes must be a list, not 'all'": "all",
    "changes has 65 items; at most 64": [GOOD] * 65,
    "a change must be an object, not 5": [5],
    "kind must be one of zero, scale, copy, set, not 'burn'": [GOOD | {"kind": "burn"}],
    "no activation 'h.7.resid': it has 3 blocks": [GOOD | {"name": "h.7.resid"}],
    "name must be a text, not None": [{"kind": "zero"}],
    "head must be an integer from 0 to 1, not 2": [GOOD | {"head": 2}],
    "h.0.resid has no heads": [GOOD | {"name": "h.0.resid", "head": 0}],
    "position must be an integer from 0 to 3, not 4": [GOOD | {"position": 4}],
    "factor must be a number .*, not None": [GOOD | {"kind": "scale"}],
    "factor must be a number .*, not nan": [GOOD | {"kind": "scale", "factor": float("nan")}],
    "factor must be a number from -1e\\+06 to 1e\\+06, not 1e\\+30": [GOOD | {"kind": "scale", "factor": 1e30}],
    "set needs an index": [GOOD | {"kind": "set", "value": 1}],
    "value must be a number .*, not '1'": [GOOD | {"kind": "set", "value": "1", "index": [0, 0, 0]}],
    "9 is no index": [GOOD | {"kind": "set", "value": 1, "index": [0, 0, 9]}],
    "run must be a text": [GOOD | {"kind": "copy"}],
    "this run is not known": [GOOD | {"kind": "copy", "run": "nothing"}],
    "the run to copy from has 3 tokens, this one 4": [GOOD | {"kind": "copy", "run": "SHORT"}],
}


@pytest.mark.parametrize("sentence", BAD_CHANGES)
def test_bad_changes(sentence):
    session = Session(MODEL, TOKENIZER, "abcd")
    short = run_of(session, "abc")["run"]
    changes = BAD_CHANGES[sentence]
    if isinstance(changes, list):
        changes = [c | {"run": short} if isinstance(c, dict) and c.get("run") == "SHORT" else c for c in changes]
    with pytest.raises(ValueError, match=sentence):
        session.answer({"ask": "run", "text": "abcd", "changes": changes})


def test_a_beam_search_takes_no_changes():
    session = Session(MODEL, TOKENIZER, "abcd")
    run = run_of(session, "abcd", [GOOD])
    with pytest.raises(ValueError, match="undo the changes first"):
        session.answer({"ask": "beams", "run": run["run"]})
