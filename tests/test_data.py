"""From texts and pairs to batches."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minigpt import Tokenizer
from minigpt.training import IGNORED
from minigpt.training.data import PairBatches, TextBatches, read_pairs, text_pieces


def test_stretches_of_many_texts_begin_where_a_text_does():
    end, block = 9, 8
    texts = [[1, 2, 3, 4], [5] * 3, [0, *[6] * 40], [7, 8]]
    tokens = np.array([token for text in texts for token in [end, *text]] * 2, np.uint16)
    batches = TextBatches(tokens, 500, block, seed=0, separator=end)
    inputs, targets = batches.draw(0)
    rows = set(map(tuple, inputs.tolist()))
    for row, target in zip(inputs, targets, strict=True):
        assert any(np.array_equal(tokens[i : i + block + 1], [*row, target[-1]]) for i in range(len(tokens) - block))
    # Short texts are read from their beginning, with the separator and without it, and no other way.
    assert {(9, 1, 2, 3, 4, 9, 5, 5), (1, 2, 3, 4, 9, 5, 5, 5)} <= rows
    assert not any(row[0] in (2, 3, 4, 8) for row in rows)
    # The long one is, where no beginning is near.
    assert (inputs == 6).all(axis=1).sum() > 50
    # About half of them with the separator: exactly half only of long texts.
    with_separator = (inputs[:, 0] == end).sum()
    without = np.isin(inputs[:, 0], [1, 5, 0, 7]).sum()
    assert 0.5 < with_separator / without < 2
    plain = TextBatches(tokens, 500, block, seed=0).draw(0)[0]
    assert np.array_equal(
        plain,
        tokens[np.random.default_rng([0, 0, 0]).integers(0, len(tokens) - block, 500)[:, None] + np.arange(block)],
    )


@given(
    text=st.text(st.characters(codec="utf-8"), max_size=80) | st.text("ab \n\t.'", max_size=80), size=st.integers(1, 9)
)
@example(text="a\n\n", size=1)
def test_a_text_in_pieces_has_the_same_tokens(file_for_pieces, gpt2_tokenizer, text, size):
    file_for_pieces.write_text(text, encoding="utf-8", newline="")
    pieces = list(text_pieces(file_for_pieces, size))
    assert "".join(pieces) == text
    assert [i for piece in pieces for i in gpt2_tokenizer.encode(piece)] == gpt2_tokenizer.encode(text)


@pytest.fixture(scope="module")
def file_for_pieces(tmp_path_factory):
    return tmp_path_factory.mktemp("pieces") / "text.txt"


def test_only_completions_count(tmp_path):
    tokenizer = Tokenizer.of_characters(set("abcdefgh"))
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"prompt": "abc", "completion": "de"}\n\n{"prompt": "f", "completion": "gh"}\n')
    batches = PairBatches(read_pairs(path, tokenizer, None, 8), 2, 0)
    inputs, targets = next(batches.spread(9))
    assert inputs.tolist() == [[0, 1, 2, 3], [5, 6, 0, 0]]
    assert targets.tolist() == [[IGNORED, IGNORED, 3, 4], [6, 7, IGNORED, IGNORED]]
    epochs = [sorted(batches.draw(number)[0][:, 0].tolist()) for number in range(8)]
    assert epochs == [[0, 5]] * 8  # each pair once an epoch
    assert len({tuple(batches.draw(number)[0][:, 0]) for number in range(8)}) == 2  # in orders that change
