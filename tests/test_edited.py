"""A model with edits that stay: the same as a call with these edits, in everything that runs it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import models, random_ids

from minigpt.looking import attention_maps, edited, logit_lens
from minigpt.looking.ablation import zero_head


def doubled(activation):
    return 2 * activation


@given(models(), st.integers(1, 6), st.integers(0, 999))
def test_every_call_is_edited(model, length, seed):
    ids = random_ids(model, length, seed)
    edit = {"h.0.attn.out": doubled}
    both = edited(model, edit)
    assert np.array_equal(both(ids), model(ids, edit=edit))
    assert np.array_equal(both(ids, edit={"h.0.mlp.out": doubled}), model(ids, edit={**edit, "h.0.mlp.out": doubled}))
    assert both.params is model.params


@given(models(), st.integers(1, 6), st.integers(0, 999))
def test_edits_of_the_same_activation_come_one_after_the_other(model, length, seed):
    ids = random_ids(model, length, seed)
    both = edited(edited(model, {"embed": doubled}), {"embed": lambda x: x + 1})
    assert np.array_equal(both(ids), model(ids, edit={"embed": lambda x: 2 * x + 1}))
    assert np.array_equal(
        both(ids, edit={"embed": lambda x: x**2}), model(ids, edit={"embed": lambda x: (2 * x + 1) ** 2})
    )


@given(models(), st.integers(1, 5), st.booleans())
def test_generation_is_edited_at_every_step(model, length, do_sample):
    """The expected text is chosen token by token without a cache."""
    ids, edit = random_ids(model, length), {"h.0.resid": lambda x: x * 0.5 + 1}
    options = {"max_new_tokens": 5, "eos_token_id": None}
    expected = list(ids)
    for _ in range(5):
        expected.append(int(model(expected, edit=edit)[-1].argmax()))
    assert edited(model, edit).generate(ids, **options)[0].tolist() == expected


def test_looking_takes_an_edited_model(bundled):
    model, tokenizer = bundled
    text = "Once upon a time"
    without = edited(model, {"h.0.attn.heads": zero_head(1)})
    ids = tokenizer.encode(text)
    assert np.array_equal(logit_lens(without, tokenizer, text).logits[-1], without(ids))
    maps = attention_maps(without, tokenizer, text).weights
    whole = attention_maps(model, tokenizer, text).weights
    assert np.array_equal(maps[0], whole[0]) and not np.array_equal(maps[1], whole[1])


def test_replaced_operations_keep_the_edits(bundled):
    model, tokenizer = bundled
    ids = tokenizer.encode("Once upon a time")
    without = edited(model, {"h.0.attn.out": np.zeros_like}).with_ops(attention=lambda q, k, v: v)
    expected = model.with_ops(attention=lambda q, k, v: v)(ids, edit={"h.0.attn.out": np.zeros_like})
    assert np.array_equal(without(ids), expected)


def test_an_edit_of_nothing_is_an_error(bundled):
    with pytest.raises(ValueError, match="no activation of a model of 4 blocks is called 'h.4.resid'"):
        edited(bundled[0], {"h.4.resid": doubled})([1])


@given(models(), st.integers(1, 5), st.booleans())
def test_generate_and_stream_edit_every_step(model, length, do_sample):
    ids, edit = random_ids(model, length), {"h.0.resid": lambda x: x * 0.5 + 1}
    options = {"max_new_tokens": 5, "eos_token_id": None, "do_sample": do_sample, "seed": 3}
    expected = edited(model, edit).generate(ids, **options)[0]
    assert np.array_equal(model.generate(ids, edit=edit, **options)[0], expected)
    assert list(model.stream(ids, edit=edit, **options)) == expected[length:].tolist()
    options = {"max_new_tokens": 4, "num_beams": 2}
    assert np.array_equal(model.generate(ids, edit=edit, **options), edited(model, edit).generate(ids, **options))
