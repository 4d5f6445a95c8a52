"""The key-value cache: cached = uncached, selected rows, what does not fit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import TINY, assert_close, models, random_ids

from minigpt import KVCache


@settings(max_examples=30)
@given(models(), st.lists(st.integers(1, 5), min_size=1, max_size=5), st.booleans())
def test_cached_equals_uncached(model, steps, padded):
    n = min(sum(steps), 16)
    ids = random_ids(model, (2, n))
    mask = np.arange(n) >= np.array([[0], [min(steps[0] - 1, 2)]]) if padded else None
    whole = model(ids, attention_mask=mask)
    cache, start = KVCache(model.config, batch_size=2, dtype="float64"), 0
    for step in steps:
        end = min(start + step, n)
        if start == end:
            break
        first_mask = mask[:, :end] if padded and start == 0 else None
        assert_close(model(ids[:, start:end], cache=cache, attention_mask=first_mask), whole[:, start:end], 1e-9)
        start = end
    assert cache.length == n


def test_cache_goes_on_with_selected_rows(model):
    ids = random_ids(model, (3, 6))
    for rows in ([0, 1, 2], [2, 2, 0], [1, 0], [0, 1, 2, 2, 1]):
        cache = KVCache(TINY, 3, dtype="float64")
        model(ids, cache=cache)
        cache.select(rows)
        more = random_ids(model, (len(rows), 2), seed=1)
        logits = model(more, cache=cache)
        assert_close(logits, model(np.concatenate([ids[rows], more], axis=1))[:, 6:], 1e-9)


def test_cache_keeps_each_rows_padding_through_select(model):
    ids = random_ids(model, (2, 6))
    cache = KVCache(TINY, 2, dtype="float64")
    model(ids, attention_mask=[[1] * 6, [0, 0, 1, 1, 1, 1]], cache=cache)
    cache.select([1, 1, 0])
    logits = model([[5], [6], [7]], cache=cache)
    assert_close(logits[1, -1], model([*ids[1, 2:], 6])[-1], 1e-9)
    assert_close(logits[2, -1], model([*ids[0], 7])[-1], 1e-9)


def test_a_failed_call_leaves_the_cache_as_it_was(model):
    ids = random_ids(model, (1, 5))
    cache = KVCache(TINY, dtype="float64")
    model(ids, cache=cache)
    with pytest.raises(ZeroDivisionError):
        model([[1, 2]], cache=cache, edit={"h.2.mlp.out": lambda x: 1 // 0})
    assert cache.length == 5
    assert_close(model([[3]], cache=cache)[0], model([*ids[0], 3])[-1:], 1e-9)
    cache.clear()
    assert_close(model(ids, cache=cache), model(ids), 1e-12)


def test_edits_of_keys_go_into_the_cache(model):
    ids = random_ids(model, (1, 6))
    cache = KVCache(TINY, dtype="float64")
    edit = {"h.0.attn.k": lambda k: k * 2}
    model(ids[:, :5], cache=cache, edit=edit)
    assert_close(model(ids[:, 5:], cache=cache, edit=edit), model(ids, edit=edit)[:, 5:], 1e-9)


def test_a_cache_that_does_not_fit(model):
    with pytest.raises(ValueError, match="cache has room for 4 tokens: 0 are taken, 5 more do not fit"):
        model([1] * 5, cache=KVCache(TINY, max_length=4, dtype="float64"))
    with pytest.raises(ValueError, match="the cache holds float32, the model float64: make it with dtype=model.dtype"):
        model([1], cache=KVCache(TINY))
    with pytest.raises(ValueError, match="cache holds 1 sequences, the input has 2"):
        model([[1], [2]], cache=KVCache(TINY, dtype="float64"))


def test_a_mask_in_the_middle_of_a_cached_text_is_refused(model):
    cache = KVCache(TINY, dtype="float64")
    model([[1, 2]], cache=cache)
    with pytest.raises(ValueError, match="belongs to the first call"):
        model([[1, 2]], cache=cache, attention_mask=[[0, 1]])
