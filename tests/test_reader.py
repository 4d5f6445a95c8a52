"""The reader: each token is read once, and a window that slides."""

import pytest
from reference import assert_close, lively_model, random_ids
from transformers_generation import TINY_CONFIG

from minigpt.generation.reader import Reader


@pytest.fixture
def model():
    return lively_model(TINY_CONFIG, seed=0)


def test_reader_reads_every_token_once(model):
    read = []
    spied = model.with_ops(attention=lambda q, k, v: read.append(q.shape[2]) or model.ops.attention(q, k, v))
    reader = Reader(spied, 1, 10, None, slide=False)
    text = random_ids(model, (1, 10))
    for length in (4, 5, 8):
        assert_close(reader.next_logits(text[:, :length]), model(text[:, :length])[:, -1], 1e-9)
    assert read[:: TINY_CONFIG.n_layer] == [4, 1, 3]


def test_reader_goes_on_after_tokens_that_were_not_kept(model):
    reader = Reader(model, 1, 20, None, slide=False)
    text, other = random_ids(model, (2, 1, 12))
    assert reader.room_after(4) == 0  # the prompt is still to be read
    reader.next_logits(text[:, :4])
    assert_close(reader.last_logits(text[:, :8], 4), model(text[:, :8])[:, 4:], 1e-9)
    reader.keep(6)
    other[:, :6] = text[:, :6]
    assert_close(reader.last_logits(other, 3), model(other)[:, -3:], 1e-9)


def test_nothing_is_read_beyond_the_window(model):
    reader = Reader(model, 1, 100, None, slide=True)
    text = random_ids(model, (1, 40))
    reader.next_logits(text[:, :20])
    assert reader.room_after(21) == 3 and reader.room_after(24) == reader.room_after(25) == 0
    reader.next_logits(text[:, :25])  # drops 13
    assert reader.room_after(26) == 11
    reader.keep(20)
    assert_close(reader.next_logits(text[:, :22]), model(text[:, 13:22])[:, -1], 1e-9)


def test_sliding_sees_the_newest_tokens_only(model):
    text = [1, 2, 3]
    window = text
    for _ in range(60):
        if len(window) > 24:
            window = window[-12:]
        text = [*text, int(model(window)[-1].argmax())]
        window = [*window, text[-1]]
    slid = model.generate([1, 2, 3], max_new_tokens=60, eos_token_id=None, slide=True)
    assert slid[0].tolist() == text
    # The same for a prompt that is longer than the window.
    assert model.generate([1] * 30 + [2], max_new_tokens=1, slide=True)[0, -1] == model([1] * 11 + [2])[-1].argmax()


def test_sliding_with_padding_still_in_the_window(model):
    long = [int(i) for i in random_ids(model, 20)]
    both = model.generate([[1, 2, 3], long], max_new_tokens=30, eos_token_id=None, slide=True)
    for row, padding in zip(both, (17, 0), strict=True):
        text, dropped = list(row[:20]), 0
        for _ in range(30):
            if len(text) - dropped > 24:
                dropped = len(text) - 12  # at first 13: four of the short row's 17 columns of padding remain
            text.append(int(model(text[max(padding, dropped) :])[-1].argmax()))
        assert row.tolist() == text


def test_sliding_memory_does_not_grow(model):
    reader = Reader(model, 1, 10_000, None, slide=True)
    assert reader.cache.max_length == 24
