"""The key-value cache: cached = uncached, selected rows, 16 bits, what does not fit."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import TINY, assert_close, models, random_ids

from minigpt import KVCache
from minigpt.ops import plain


def to_16_bits(x):
    return x.astype(np.float16).astype(x.dtype)


def attention_in_16_bits(q, k, v, scale, padding):
    return plain.attention(q, to_16_bits(k), to_16_bits(v), scale, padding)


@settings(max_examples=30)
@given(
    models(),
    st.lists(st.integers(1, 5), min_size=1, max_size=5),
    st.booleans(),
    st.sampled_from(["float64", "float16"]),
)
def test_cached_equals_uncached(model, steps, padded, dtype):
    n = min(sum(steps), 16)
    ids = random_ids(model, (2, n))
    mask = np.arange(n) >= np.array([[0], [min(steps[0] - 1, 2)]]) if padded else None
    uncached = model if dtype == "float64" else model.with_ops(attention=attention_in_16_bits)
    whole = uncached(ids, attention_mask=mask)
    cache, start = KVCache(model.config, batch_size=2, dtype=dtype), 0
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


def test_a_cropped_cache_goes_on_as_if_it_had_never_held_more(model):
    ids, others = random_ids(model, (2, 6)), random_ids(model, (2, 3), seed=1)
    cache = KVCache(TINY, 2, dtype="float64")
    model(ids, cache=cache)
    cache.crop(9)
    assert cache.length == 6
    cache.crop(4)
    assert cache.length == 4
    assert_close(model(others, cache=cache), model(np.concatenate([ids[:, :4], others], axis=1))[:, 4:], 1e-9)


def test_rows_that_part_after_a_crop_share_only_what_is_left(model):
    ids, others = random_ids(model, (1, 6)), random_ids(model, (2, 4), seed=1)
    cache = KVCache(TINY, dtype="float64")
    model(ids, cache=cache)
    cache.select([0, 0])
    cache.crop(2)
    model(others, cache=cache)
    cache.select([1, 0])
    whole = np.concatenate([np.repeat(ids[:, :2], 2, axis=0), others], axis=1)[::-1]
    assert_close(model([[7], [7]], cache=cache)[:, 0], model(np.c_[whole, [7, 7]])[:, -1], 1e-9)


def test_edits_of_keys_go_into_the_cache(model):
    ids = random_ids(model, (1, 6))
    cache = KVCache(TINY, dtype="float64")
    edit = {"h.0.attn.k": lambda k: k * 2}
    model(ids[:, :5], cache=cache, edit=edit)
    assert_close(model(ids[:, 5:], cache=cache, edit=edit), model(ids, edit=edit)[:, 5:], 1e-9)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"do_sample": True, "seed": 1, "num_return_sequences": 3},
        {"num_beams": 3},
        {"slide": True, "max_new_tokens": 40},
    ],
)
def test_generation_in_16_bits(model, options):
    prompts = [[1, 2, 3], [4], [int(i) for i in random_ids(model, 7)]]
    options = {"max_new_tokens": 9, "eos_token_id": None} | options
    rounding = model.with_ops(attention=attention_in_16_bits)
    expected = rounding.generate(prompts, **options)
    read = set()
    spied = model.with_ops(
        attention=lambda q, k, v, scale, padding: (
            read.add((k.dtype.name, v.dtype.name)) or plain.attention(q, k, v, scale, padding)
        )
    )
    assert np.array_equal(spied.generate(prompts, cache_dtype="float16", **options), expected)
    assert read == {("float16", "float16")}


def test_a_cache_in_16_bits_is_half_as_large_and_serves_traces_edits_and_ones_own_attention(model):
    ids = random_ids(model, (1, 6))
    cache, trace = KVCache(TINY, dtype="float16"), {}
    assert cache.k.nbytes * 4 == KVCache(TINY, dtype="float64").k.nbytes
    edit = {"h.0.attn.k": lambda k: k * 2, "h.1.attn.scores": lambda scores: scores + 1}
    model(ids[:, :5], cache=cache, edit=edit)
    logits = model(ids[:, 5:], cache=cache, edit=edit, trace=trace)
    rounded = {f"h.{layer}.attn.{name}": to_16_bits for layer in range(3) for name in "kv"}
    rounded |= {"h.0.attn.k": lambda k: to_16_bits(k * 2)}
    assert_close(logits, model(ids, edit=edit | rounded)[:, 5:], 1e-9)
    assert np.abs(logits - model(ids, edit=edit)[:, 5:]).max() > 1e-6
    assert trace["h.2.attn.weights"].shape == (1, 3, 1, 6) and trace["h.2.attn.weights"].dtype == np.float64

    own = model.with_ops(attention=lambda q, k, v: np.einsum("bhts,bhsk->bhtk", _weights(q, k), v))
    cache.clear()
    own(ids[:, :5], cache=cache)
    assert_close(own(ids[:, 5:], cache=cache), model.with_ops(attention=attention_in_16_bits)(ids)[:, 5:], 1e-9)


def _weights(q, k):
    scores = np.einsum("bhtk,bhsk->bhts", q, k) / q.shape[-1] ** 0.5
    scores[:, :, ~np.tri(q.shape[2], k.shape[2], k.shape[2] - q.shape[2], bool)] = -np.inf
    return plain.softmax(scores)


def test_a_cache_that_does_not_fit(model):
    with pytest.raises(ValueError, match="dtype of a cache must be float16, float32, float64, not 'bfloat16'"):
        KVCache(TINY, dtype="bfloat16")
    with pytest.raises(ValueError, match="dtype of a cache must be float16, float32, float64, not 'int8'"):
        KVCache(TINY, dtype="int8")
    with pytest.raises(ValueError, match="cache has room for 4 tokens: 0 are taken, 5 more do not fit"):
        model([1] * 5, cache=KVCache(TINY, max_length=4, dtype="float64"))
    with pytest.raises(ValueError, match="the cache holds float32, the model float64: make it with dtype=model.dtype"):
        model([1], cache=KVCache(TINY))
    another = KVCache(replace(TINY, n_layer=1))
    with pytest.raises(ValueError, match="cache was made for another model: it holds 1 layers of"):
        model([1, 2], cache=another)
    with pytest.raises(ValueError, match="cache holds 1 sequences, the input has 2"):
        model([[1], [2]], cache=KVCache(TINY, dtype="float64"))


def test_a_mask_in_the_middle_of_a_cached_text_is_refused(model):
    cache = KVCache(TINY, dtype="float64")
    model([[1, 2]], cache=cache)
    with pytest.raises(ValueError, match="belongs to the first call"):
        model([[1, 2]], cache=cache, attention_mask=[[0, 1]])


@pytest.mark.parametrize("rows", [[9], [-1], [0.5], "a", None, [[0]], [[0], [0, 1]]])
def test_rows_that_a_cache_does_not_have(rows):
    cache = KVCache(TINY, 2)
    with pytest.raises(ValueError, match="rows must be places of sequences, from 0 to 1, not"):
        cache.select(rows)
