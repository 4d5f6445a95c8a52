"""The line that is reported for an activation is the one that makes it."""

import inspect
import re
from pathlib import Path

import pytest
from letter_models import letter_model, letter_tokenizer

import minigpt
from minigpt.activations import ACTIVATIONS, find_activation
from minigpt.looking.provenance import TraceWithOrigins
from minigpt.model import attention, feed_forward, gpt2, self_attention, transformer_block

ROOT = Path(__file__).parents[1]
MAKERS = {
    gpt2: ["embed", "ln_f", "logits"],
    transformer_block: ["ln_1", "resid_mid", "ln_2", "resid"],
    self_attention: ["attn.q", "attn.k", "attn.v", "attn.heads", "attn.out"],
    attention: ["attn.scores", "attn.weights"],
    feed_forward: ["mlp.pre", "mlp.act", "mlp.out"],
}


@pytest.mark.parametrize("ops", ["plain", "jit"])
def test_the_line_of_a_step_is_in_the_function_that_makes_the_activation(ops):
    model = letter_model()
    model = minigpt.GPT2(model.config, model.params, ops, model.name)
    steps = minigpt.step(model, letter_tokenizer(model), "abc")
    makers = {name: function for function, names in MAKERS.items() for name in names}
    assert makers.keys() == {a.name for a in ACTIVATIONS}
    for step in steps:
        name = find_activation(step.name).name
        body, first = inspect.getsourcelines(makers[name])
        source = step.source.splitlines()
        assert Path(inspect.getsourcefile(makers[name])).as_posix().endswith(f"/{step.file}")
        assert first <= step.line and step.line + len(source) <= first + len(body)
        found = [line.strip() for line in body[step.line - first :][: len(source)]]
        assert found == [line.strip() for line in source]
        assert re.search(rf'\btap\("(\w+\.)?{name.rpartition(".")[2]}"', source[-1])
        assert len(source) == 1 or not re.search(r"\btap\(", source[0])  # a line above it that makes what is tapped
    assert steps["embed"].source.count("\n") >= 1 and '["wpe"]' in steps["embed"].source


def test_the_line_of_a_replaced_attention(bundled):
    def attention(q, k, v, tap):
        scores = q @ k.swapaxes(-1, -2)
        scores = tap("scores", scores)
        return v

    model, _ = bundled
    steps = minigpt.step(model.with_ops(attention=attention), "Once upon")  # with_ops keeps the model's name
    assert steps.tokens == ["Once", " upon"]
    scores = steps["h.1.attn.scores"]
    assert scores.source == 'scores = q @ k.swapaxes(-1, -2)\nscores = tap("scores", scores)'
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    # The path is relative to the project, or absolute if minigpt is installed elsewhere.
    assert ROOT / scores.file == Path(__file__)
    assert lines[scores.line - 1].strip() == "scores = q @ k.swapaxes(-1, -2)"
    with pytest.raises(KeyError, match="no activation is called 'h.1.attn.weights'"):
        steps["h.1.attn.weights"]


def test_code_that_is_in_no_file_has_a_line_and_no_source():
    trace = TraceWithOrigins()
    exec("x = 1\ntrace['embed'] = x", {"trace": trace})
    assert trace == {"embed": 1} and trace.origins == {"embed": ("a cell", 2, "")}
