"""What generate gives beside the ids, and shows on the way: as transformers does."""

import io

import numpy as np
import pytest
import torch
import transformers
from reference import in_torch, lively_model, random_ids
from transformers_generation import TINY_CONFIG

from minigpt import Tokenizer
from minigpt.generation.sampling import log_softmax


@pytest.fixture
def model():
    return lively_model(TINY_CONFIG, seed=0)


def test_scores_and_logits_are_those_of_transformers(model):
    ids = random_ids(model, (2, 4))
    choice = {"max_length": 10, "repetition_penalty": 1.5, "suppress_tokens": [3, 7], "min_new_tokens": 2,
              "return_dict_in_generate": True, "output_scores": True, "output_logits": True}  # fmt: skip
    ours = model.generate(ids, **choice)
    theirs = in_torch(model).generate(torch.from_numpy(ids), do_sample=False, pad_token_id=0, **choice)
    assert np.array_equal(ours.sequences, theirs.sequences.numpy()) and ours.sequences.shape == (2, 10)
    for name in ("scores", "logits"):
        pairs = list(zip(getattr(ours, name), getattr(theirs, name), strict=True))
        assert len(pairs) == 6
        for mine, other in pairs:
            np.testing.assert_allclose(mine, other.numpy(), rtol=1e-4, atol=1e-4)
    log_p = [log_softmax(s)[[0, 1], t] for s, t in zip(ours.scores, ours.sequences[:, 4:].T, strict=True)]
    assert (np.array(log_p) == [log_softmax(s).max(-1) for s in ours.scores]).all()


def test_only_what_is_asked_for_is_kept(model):
    plain = model.generate([1, 2], return_dict_in_generate=True, num_beams=3)
    assert plain.scores is None and plain.logits is None
    assert np.array_equal(plain.sequences, model.generate([1, 2], num_beams=3))
    assert model.generate([1, 2], return_dict_in_generate=True, output_logits=True).scores is None


def test_a_streamer_of_transformers_prints_the_text(tmp_path, monkeypatch):
    from minigpt import GPT2

    model, tokenizer = GPT2.from_pretrained("stories"), Tokenizer.from_pretrained("stories")
    tokenizer.save_pretrained(tmp_path)
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    printed = io.StringIO()
    monkeypatch.setattr("sys.stdout", printed)
    ids = tokenizer.encode("Once upon a time")
    result = model.generate(ids, max_new_tokens=12, streamer=transformers.TextStreamer(theirs))
    assert printed.getvalue().strip() == tokenizer.decode(result[0]).strip()


def test_a_processor_of_the_users_own(model):
    seen = []

    def only_even(ids, scores):
        seen.append((ids.shape, scores.shape))
        scores[:, 1::2] = -np.inf
        return scores

    ids = random_ids(model, (2, 4))
    ours = model.generate(ids, max_new_tokens=6, eos_token_id=None, logits_processor=only_even)
    theirs = in_torch(model).generate(
        torch.from_numpy(ids), max_new_tokens=6, eos_token_id=None, do_sample=False, logits_processor=[only_even]
    )
    assert np.array_equal(ours, theirs.numpy()) and not (ours[:, 4:] % 2).any()
    assert set(seen[:12]) == {((1, n), (1, 50)) for n in range(4, 10)}
