"""Generation by transformers, the inputs to compare on, and where the two may differ."""

import numpy as np
import pytest
import torch
from hypothesis import assume
from hypothesis import strategies as st
from reference import in_torch, models, random_ids

from minigpt import GPT2Config
from minigpt.generation import beams, generate, search

# At least four numbers per head: with a residual stream of one or two numbers, many sequences tie.
small_models = models("float32", n_positions=32, min_head_size=4)
TINY_CONFIG = GPT2Config(
    vocab_size=50, n_positions=24, n_embd=12, n_layer=3, n_head=3, initializer_range=0.5, eos_token_id=0
)


@st.composite
def prompts(draw, model):
    """Draw ids [B, T] and an attention mask: rows of different lengths, padded at the left."""
    lengths = draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
    T = max(lengths)
    ids = random_ids(model, (len(lengths), T), draw(st.integers(0, 1000)))
    return ids, (np.arange(T) >= T - np.array(lengths)[:, None]).astype(np.int64)


@st.composite
def options(draw, model):
    """Draw the options that greedy search, sampling and beam search share."""
    V = model.config.vocab_size
    # Several eos ids, so that texts do end.
    eos = draw(st.none() | st.lists(st.integers(1, V - 1), min_size=1, max_size=5, unique=True))
    several = st.lists(st.integers(0, V - 1), min_size=1, max_size=3)
    rare = {}
    if draw(st.booleans()):  # forbid some tokens; of more than one of a vocabulary of two, nothing would be left
        least = draw(st.integers(0, 4))
        rare = {"min_new_tokens": least} if draw(st.booleans()) else {"min_length": 6 + least}
        if V > 20:
            rare |= {"suppress_tokens": draw(several), "bad_words_ids": draw(st.lists(several, min_size=1, max_size=8))}
        rare |= {"renormalize_logits": draw(st.booleans())}
    return rare | {
        "max_new_tokens": draw(st.integers(12 if rare else 1, 12)),
        "repetition_penalty": draw(st.sampled_from([1.0, 1.0, 0.7, 1.8])),
        "eos_token_id": eos,
        "pad_token_id": draw(st.integers(1, V - 1)),
    }


class ClosestCall:
    """The smallest difference between two scores that generate chose between.

    If float32 cannot tell them apart, two implementations may both be right and yet differ.
    """

    def __init__(self, monkeypatch):
        self.difference = np.inf
        top_indices = beams.top_indices
        monkeypatch.setattr(beams, "top_indices", lambda x, n: self.record(x, n + 1) or top_indices(x, n))
        for module in (beams, search):
            monkeypatch.setattr(module, "require_candidates", lambda x: self.record(x, 2))

    def record(self, scores, n):
        best = np.sort(scores.reshape(len(scores), -1), axis=1)[:, -n:]
        if n > 2:
            # The order of empty beams does not matter.
            best = np.where(best < -1e6, np.arange(best.shape[1]) * -1e9, best)
        with np.errstate(invalid="ignore"):
            self.difference = np.nanmin(np.append(np.abs(np.diff(best)), self.difference))

    def is_clear(self):
        return self.difference > 1e-4


def compare_with_transformers(model, ids, mask, **choice):
    """Assert that transformers generates the same tokens with the same options, unless the scores almost tie."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        call = ClosestCall(monkeypatch)
        ours = generate(model, ids, attention_mask=mask, **choice)
    assume(call.is_clear())
    sampling = {} if "do_sample" in choice else {"do_sample": False}
    choice.pop("seed", None)
    theirs = in_torch(model).generate(
        torch.from_numpy(ids), attention_mask=torch.from_numpy(mask), **sampling, **choice
    )
    assert np.array_equal(ours, theirs.numpy())
