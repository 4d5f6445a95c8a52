"""What a run checks of its arguments: ids, masks, the number of tokens."""

import numpy as np
import pytest
from reference import TINY

from minigpt import ContextLengthError, KVCache
from minigpt.model import transformer_block
from minigpt.run import Run


@pytest.mark.parametrize(
    ("ids", "sentence"),
    [
        ([], "must be integers, not float64 .no tokens at all"),
        (np.empty((2, 0), int), "at least one token"),
        ([1.0, 2.0], "must be integers, not float64"),
        ([[1, 2], [3]], "rows of different lengths: pad them at the left"),
        ([[[1]]], r"must be \[T\] or \[B, T\]"),
        ([3, 50], "token id 50 is outside the vocabulary of 50"),
        ([-1, 3], "token id -1 is outside the vocabulary"),
    ],
)
def test_bad_ids(model, ids, sentence):
    with pytest.raises(ValueError, match=sentence):
        model(ids)


def test_more_tokens_than_positions(model):
    with pytest.raises(ContextLengthError, match="25 tokens, but the model has 24 positions"):
        model([1] * 25)
    cache = KVCache(TINY, dtype="float64")
    model([1] * 20, cache=cache)
    with pytest.raises(ContextLengthError, match="25 tokens"):
        model([1] * 5, cache=cache)


@pytest.mark.parametrize(
    ("mask", "sentence"),
    [
        ([[1, 0]], "padding stands at the left"),
        ([[0, 0]], "padding stands at the left"),
        ([[1, 1, 1]], r"attention_mask has shape \(1, 3\), the ids have \(1, 2\)"),
    ],
)
def test_bad_attention_masks(model, mask, sentence):
    with pytest.raises(ValueError, match=sentence):
        model([[1, 2]], attention_mask=mask)


def test_a_refused_call_leaves_the_cache_as_it_was(model):
    cache = KVCache(model.config, 1, dtype=model.dtype)
    with pytest.raises(ValueError, match="no activation"):
        model([[1, 2]], attention_mask=[[0, 1]], cache=cache, edit={"h.9.resid": np.copy})
    assert cache.padding is None and cache.length == 0


def test_a_block_runs_by_itself(model):
    run = Run(model.config).in_block(1)
    trace = {}
    model([[1, 2, 3]], trace=trace)
    assert np.array_equal(transformer_block(trace["h.0.resid"], **model.params["h"][1], run=run), trace["h.1.resid"])
