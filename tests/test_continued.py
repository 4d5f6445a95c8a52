"""A run that is computed from the first block that differs: to the last bit what the whole forward pass gives."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from letter_models import letter_model, letter_tokenizer

from minigpt import GPT2
from minigpt.activations import activation_names
from minigpt.page import continued
from minigpt.page.session import Session

MODELS = [
    letter_model(),
    letter_model(scale_attn_by_inverse_layer_idx=True, tie_word_embeddings=False),
    letter_model(n_layer=1, n_head=1),
]
TEXT = "face"


@st.composite
def some_changes(draw, n_layer):
    names = draw(st.lists(st.sampled_from(activation_names(n_layer)), max_size=3))
    return [{"kind": "scale", "name": name, "factor": draw(st.sampled_from([0.5, -2.0]))} for name in names]


def run_of(session, changes):
    return session.runs.find(session.answer({"ask": "run", "text": TEXT, "changes": changes})[0]["run"])


@given(st.sampled_from(MODELS), st.data())
def test_a_changed_run_is_the_whole_forward_pass(model, data):
    session = Session(model, letter_tokenizer(model), TEXT)
    for _ in range(3):
        changes = data.draw(some_changes(model.config.n_layer))
        assert_is_the_whole_pass(session, run_of(session, changes))


def assert_is_the_whole_pass(session, run):
    alone = Session(session.models.first.model, session.models.first.tokenizer, TEXT)
    whole = run_of(alone, [change.fields for change in run.changes])
    assert list(run.trace) == list(whole.trace) and run.trace.origins == whole.trace.origins
    for name, array in whole.trace.items():
        assert np.array_equal(run.trace[name], array), name


@pytest.mark.parametrize("options", [{}, {"dtype": "float64"}, {"quantize": "int8"}])
def test_a_changed_run_of_the_bundled_model(options, bundled):
    session = Session(GPT2.from_pretrained("stories", **options), bundled[1], TEXT)
    run_of(session, [])
    for name in ("embed", "h.0.attn.heads", "h.2.attn.scores", "h.3.mlp.out", "h.3.resid", "ln_f", "logits"):
        assert_is_the_whole_pass(session, run_of(session, [{"kind": "zero", "name": name}]))


def test_only_blocks_that_differ_are_computed(monkeypatch):
    blocks = []
    in_block = continued.Run.in_block
    monkeypatch.setattr(continued.Run, "in_block", lambda run, layer: blocks.append(layer) or in_block(run, layer))
    session = Session(MODELS[0], letter_tokenizer(MODELS[0]), TEXT)
    off = {"kind": "zero", "name": "h.1.attn.heads", "head": 0}
    for changes, expected in (
        ([], [0, 1, 2]),
        ([off], [1, 2]),
        ([off, {"kind": "zero", "name": "h.2.mlp.out"}], [2]),  # from the run before, not from the one without changes
        ([off, {"kind": "scale", "name": "h.2.mlp.out", "factor": 3}], [2]),
        ([off, {"kind": "scale", "name": "h.2.mlp.out", "factor": 4}], [2]),
        ([off, {"kind": "zero", "name": "logits"}], []),
        ([{"kind": "zero", "name": "embed"}], [0, 1, 2]),
        ([off, {"kind": "scale", "name": "h.0.ln_1", "factor": 2}], [0, 1, 2]),
        ([{"kind": "zero", "name": "h.2.mlp.out"}, off], []),  # another order of the same: nothing is left to do
    ):
        blocks.clear()
        run = run_of(session, changes)
        assert blocks == expected, changes
        assert_is_the_whole_pass(session, run)
    blocks.clear()
    session.answer({"ask": "run", "text": "faces"})
    assert blocks == [0, 1, 2]
