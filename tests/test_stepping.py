"""Every step is an activation of the model, with the line that made it."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from letter_models import letter_model, letter_tokenizer, random_text
from reference import models

import minigpt
from minigpt.activations import activation_names
from minigpt.bundled import DEFAULT_MODEL
from minigpt.looking.labels import token_label
from minigpt.looking.pixels import as_characters
from minigpt.ops import plain

ROOT = Path(__file__).parents[1]
TEXT = "Once upon a time there was a clever girl named Alice.\n"


@given(models(dtype="float32"), st.integers(1, 12))
def test_steps_are_the_activations_of_the_model(model, length):
    text = random_text(model, length)
    steps = minigpt.step(model, letter_tokenizer(model), text)
    trace = {}
    model(letter_tokenizer(model).encode(text), trace=trace)
    assert [step.name for step in steps] == activation_names(model.config.n_layer)
    for step in steps:
        assert np.array_equal(step.array, trace[step.name]) and step.shape == trace[step.name].shape
        assert step.formula and step.meaning
    assert steps["h.0.mlp.act"].formula == f"{model.config.activation_function}(mlp.pre)"


def test_the_formula_of_the_scores_has_their_scale():
    for options, formula in (
        ({}, "q kᵀ / √K"),
        ({"scale_attn_weights": False}, "q kᵀ · 1"),
        ({"scale_attn_by_inverse_layer_idx": True}, "q kᵀ · 0.1667"),  # 1/√4 / 3
    ):
        model = letter_model(**options)
        steps = minigpt.step(model, letter_tokenizer(model), "abc")
        assert steps["h.2.attn.scores"].formula == formula
    assert steps["logits"].formula == "ln_f wteᵀ" and steps[-1] is steps["logits"] and len(steps[:3]) == 3


def test_a_step_finds_model_and_tokenizer_by_name(bundled):
    by_name, given = minigpt.step(DEFAULT_MODEL, "Once upon a time"), minigpt.step(bundled[0], "Once upon a time")
    assert by_name.tokens == given.tokens == ["Once", " upon", " a", " time"]
    assert by_name.next_tokens == given.next_tokens
    probs = plain.softmax(bundled[0](bundled[1].encode("Once upon a time"))[-1])
    assert given.next_tokens[0] == (bundled[1].decode([probs.argmax()]), float(probs.max()))
    with pytest.raises(ValueError, match="has no name by which to load its tokenizer: give tokenizer"):
        minigpt.step(letter_model(), "abc")


def test_step_takes_a_tokenizer_or_finds_it(bundled):
    model, tokenizer = bundled
    forms = [
        minigpt.step(model, tokenizer, "Once upon"),
        minigpt.step(model, "Once upon"),
        minigpt.step(model, text="Once upon"),
        minigpt.step(model, tokenizer=tokenizer, text="Once upon"),
    ]
    assert all(str(steps) == str(forms[0]) for steps in forms)
    for arguments in ((model, "Once", tokenizer), (model, tokenizer), (model,)):
        with pytest.raises(ValueError, match=r"text must be a string.*\(model, tokenizer, text\) or \(model, text\)"):
            minigpt.step(*arguments)


def test_steps_as_text(bundled):
    steps = minigpt.step(*bundled[:1], "Once upon a time")
    text = str(steps)
    names = [step.name for step in steps]
    shown = [name for name in names if f"\n{name}  [" in text]
    assert shown == [name for name in names if name.startswith("h.0.") or "." not in name]
    assert [f"\nh.{i}  14 activations as in h.0" in text for i in range(4)] == [False, True, True, True]
    second = steps.as_text(layer=2)
    assert "\nh.2.attn.q  [1, 4, 4, 32]" in second and "\nh.0.attn.q" not in second
    everything = steps.as_text(everything=True)
    assert all(f"\n{name}  [" in everything for name in names)
    for step in steps:
        assert all(part in everything for part in (step.formula, step.meaning, f"{step.file}:{step.line}"))
    with pytest.raises(ValueError, match="layer must be an integer, from 0 to 3, not 4"):
        steps.as_text(layer=4)


def test_the_picture_of_a_step_has_a_row_for_each_token_and_a_part_for_each_head(bundled):
    steps = minigpt.step(*bundled[:1], TEXT)
    weights = steps["h.0.attn.weights"]
    rows = [line.split("│") for line in weights.picture(max_rows=3).split("\n")]
    assert [row[0].strip() for row in rows] == [token_label(token) for token in steps.tokens[-3:]]
    for i, row in enumerate(rows):
        assert row[1:-1] == [as_characters(w[i - 3], weights.largest, False) for w in weights.array[0]]
    assert len(steps["embed"].picture().split("\n")) == 5


def test_steps_as_a_page(bundled):
    steps = minigpt.step(*bundled[:1], "Once <b> upon")
    page = steps._repr_html_()
    assert "<code>&lt;</code>" in page and "<b> upon" not in page
    assert page.count("<details>") == 4
    assert all(f"<code>{step.name}</code>" in page for step in steps)
    assert page.count("data:image/png;base64,") == sum(len(step.panels) for step in steps)
    assert page.count("<div") == page.count("</div>")


def test_the_command_step():
    run = partial(subprocess.run, capture_output=True, text=True, encoding="utf-8", timeout=100)
    command = [sys.executable, "-m", "minigpt", "step"]
    steps = minigpt.step(DEFAULT_MODEL, "Once upon")
    assert run([*command, "Once upon"]).stdout == f"{steps}\n"
    assert run([*command, "-", "--layer", "3"], input="Once upon\n").stdout == f"{steps.as_text(3)}\n"
    assert run([*command, "Once upon", "--all"]).stdout == f"{steps.as_text(everything=True)}\n"
    fields = json.loads(run([*command, "Once upon", "--json"]).stdout)
    assert [step["name"] for step in fields["steps"]] == [step.name for step in steps]
    assert fields["steps"][1]["source"] == steps[1].source and fields["tokens"] == ["Once", " upon"]
    for arguments, sentence in (
        ([""], "the text is empty"),
        (["a", "--layer", "4"], "layer must be an integer, from 0 to 3, not 4"),
    ):
        result = run([*command, *arguments])
        assert result.returncode == 2 and result.stdout == "" and sentence in result.stderr
        assert result.stderr.count("\n") == 1
