"""How well a model predicts a text."""

import math
from dataclasses import replace

import numpy as np
import pytest

from minigpt import GPT2, GPT2Config, Tokenizer
from minigpt.ops.threads import set_threads
from minigpt.training.data import end_of_text
from minigpt.training.evaluate import evaluate
from minigpt.training.pieces import text_pieces


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    set_threads(1)  # a window at a time gives a second thread little to do
    yield
    set_threads()


@pytest.mark.parametrize("stride", [1, 3, 8])
def test_evaluate_is_what_each_token_costs(stride):
    tokenizer = Tokenizer.of_characters(set("abcdé"))
    model = GPT2.random(GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=5, n_positions=8, initializer_range=0.7))
    text = "abcdéabdcéédcbaabcéd"
    for end in (None, 0):
        model.config.__dict__["eos_token_id"] = end
        ids = ([] if end is None else [end]) + tokenizer.encode(text)
        result = evaluate(model, tokenizer, text, stride)
        total, scored = 0.0, 0
        for place in range(1, len(ids)):
            window_end = min(8 + -(-max(0, place - 8) // stride) * stride, len(ids) - 1)
            start = max(0, window_end - 8)
            logits = model(ids[start:place])[-1].astype(float)
            total += np.log(np.exp(logits).sum()) - logits[ids[place]]
            scored += 1
        assert result.tokens == scored == len(ids) - 1
        assert result.loss == pytest.approx(total / scored, rel=1e-5)
        n_bytes = len(text.encode()) - (1 if end is None else 0)
        assert result.bits_per_byte == pytest.approx(total / math.log(2) / n_bytes, rel=1e-5)
        assert result.perplexity == pytest.approx(math.exp(total / scored), rel=1e-5)


@pytest.mark.parametrize(("eos", "first"), [(None, None), (50256, None), ([4, 3], 4), (2, 2)])
def test_tokens_that_begin_and_end_texts(tmp_path, eos, first):
    """Several, none, and one that the vocabulary does not have, as in configurations that were copied from GPT-2's."""
    config = GPT2Config(n_layer=1, n_head=1, n_embd=4, vocab_size=5, n_positions=8, bos_token_id=None, eos_token_id=eos)
    tokenizer = Tokenizer.of_characters(set("abcde"))
    assert config.beginning_token_id == first == end_of_text(config, tokenizer)
    result = evaluate(GPT2.random(config), tokenizer, "abcdeabcde")
    assert result.tokens == result.n_bytes == (9 if first is None else 10)


def test_bytes_are_counted_as_they_are(tmp_path, shakespeare, shakespeare_tokenizer):
    path = tmp_path / "text.txt"
    path.write_bytes("To be,\r\nor not 汉字\r\n".encode() * 50)
    result = evaluate(shakespeare, shakespeare_tokenizer, text_pieces(path, shakespeare_tokenizer, 7))
    assert result.n_bytes == path.stat().st_size
    assert result == evaluate(shakespeare, shakespeare_tokenizer, path.read_bytes().decode())
    # Without a token that begins texts the first character's bytes are not predicted, though one may be a token.
    without = GPT2(replace(shakespeare.config, bos_token_id=None, eos_token_id=None), shakespeare.params)
    assert len(shakespeare_tokenizer.encode("é")) > 1
    assert evaluate(without, shakespeare_tokenizer, ["éa", " 汉字"]).n_bytes == 1 + 7


def test_a_tokenizer_of_another_model(shakespeare, gpt2_tokenizer):
    with pytest.raises(ValueError, match="50257 tokens, the model a vocabulary of 1024"):
        evaluate(shakespeare, gpt2_tokenizer, "To be")
