"""The judge against losses computed by hand, and against stories that are known to be right or wrong."""

import numpy as np
import pytest

from minigpt import GPT2, GPT2Config
from minigpt.stories import SEPARATOR, entropy, find_problem, stories
from minigpt.stories.judge import judge


def test_the_loss_of_a_model_is_compared_with_the_entropy(story_tokenizer, untrained_storyteller):
    drawn, end = list(stories(3, seed=5)), story_tokenizer.token_id(SEPARATOR)
    surprise = 0.0
    for s in drawn:
        ids = np.array([end, *story_tokenizer.encode(s.text), end])
        logits = untrained_storyteller(ids[:-1]).astype(np.float64)
        chosen = logits[np.arange(len(ids) - 1), ids[1:]]
        surprise += (np.log(np.exp(logits).sum(-1)) - chosen).sum()
    result = judge(untrained_storyteller, story_tokenizer, n=3, seed=5)
    assert result.loss == pytest.approx(surprise / 3, rel=1e-5)
    assert result.best == pytest.approx(-sum(s.logprob for s in drawn) / 3, rel=1e-12)
    assert result.excess == pytest.approx((surprise / 3 - result.best) / entropy(), rel=1e-4)
    assert result.accepted == 0 and len(result.wrong) == 3
    for text, problem in result.wrong:
        assert problem == find_problem(text)
    assert len({text for text, _ in result.wrong}) == 3


def test_the_stories_of_a_model_are_read(story_tokenizer, untrained_storyteller, monkeypatch):
    end = story_tokenizer.token_id(SEPARATOR)
    calls = []

    def write(prompt, *, num_return_sequences, max_new_tokens, **options):
        """Two stories that are right, one with a wrong word, one that does not end."""
        assert prompt == [end] and max_new_tokens == untrained_storyteller.config.n_positions - 1
        assert options.pop("temperature") == 0.9
        assert options == {"do_sample": True, "top_k": 0, "eos_token_id": end, "pad_token_id": end, "seed": 9}
        calls.append(num_return_sequences)
        one, two, three, four = (story_tokenizer.encode(s.text) for s in stories(4, seed=6))
        three[30:] = story_tokenizer.encode(" Q")
        rows = np.full((4, 250), end)
        for row, ids in zip(rows, (one, two, three, four), strict=True):
            row[1 : 1 + len(ids)] = ids
        rows[3, 1 + len(four) :] = story_tokenizer.encode("a")[0]
        return rows

    monkeypatch.setattr(untrained_storyteller, "generate", write, raising=False)
    result = judge(untrained_storyteller, story_tokenizer, n=4, seed=9, temperature=0.9)
    assert calls == [4] and result.accepted == 0.5
    (cut, problem), (_, endless) = result.wrong
    assert cut.endswith(" Q") and problem == find_problem(cut) and endless.expected == ("the end",)


def test_models_that_cannot_be_judged(story_tokenizer, untrained_storyteller):
    with pytest.raises(ValueError, match="at least one story"):
        judge(untrained_storyteller, story_tokenizer, n=0)
    config = GPT2Config(len(story_tokenizer), 100, n_embd=8, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0)
    with pytest.raises(ValueError, match="tokens, this model 100 positions"):
        judge(GPT2.random(config, seed=0), story_tokenizer, n=2)
