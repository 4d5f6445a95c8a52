"""minigpt bench and eval, as a person runs them."""

import json
import os

import pytest
from helpers import fails_with, run, run_here
from reference import SHAKESPEARE

from minigpt import GPT2, Tokenizer, stories
from minigpt.training.evaluate import evaluate


@pytest.mark.slow
def test_bench(tmp_path):
    pytest.importorskip("matplotlib")
    text = tmp_path / "text"
    text.write_text("\n".join(story.text for story in stories.stories(5, seed=0)))
    shown = json.loads(run("bench", "--quantize", "int8", "--threads", 1, "--text", text, "--json").stdout)
    assert shown["threads"] == 1
    assert [m["work"] for m in shown["measurements"]] == ["prompt", "prompt", "new token", "new token"]
    assert [m["tokens"] for m in shown["measurements"]] == [32, 128, 32, 128]  # those that fit the context of 256
    for m in shown["measurements"]:
        assert m["milliseconds"] > 0 and m["share"] == pytest.approx(m["achieved"] / m["bound"])
    found = shown["agreement"]
    assert found["perplexity"] == pytest.approx(found["perplexity_float32"], rel=0.01)
    assert 1 < found["perplexity"] < 1000 and 0.9 < found["same_top_token"] <= 1
    table = run("bench", "--text", text, "--plot", tmp_path / "plot.png").stdout
    assert "tokens/s" in table and "(+0.00%); the same most probable token at 100.00%" in table
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    fails_with("plot.xyz: the name must end in one of", "bench", "--plot", "plot.xyz")
    fails_with("at least 2 are needed", "bench", "--text", os.devnull)


def test_eval(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("To be, or not to be: that is the question.")
    result = json.loads(run_here("eval", SHAKESPEARE, "--text", text, "--json").stdout)
    model, tokenizer = GPT2.from_pretrained(SHAKESPEARE), Tokenizer.from_pretrained(SHAKESPEARE)
    assert result["loss"] == pytest.approx(evaluate(model, tokenizer, text.read_text()).loss)
    fails_with("stride must be from 1 to 256", "eval", SHAKESPEARE, "--text", text, "--stride", "300", run=run_here)
