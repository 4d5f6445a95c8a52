"""From texts and pairs to batches."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minigpt import Tokenizer
from minigpt.training import IGNORED
from minigpt.training import pieces as pieces_module
from minigpt.training.data import PairBatches, TextBatches, read_pairs
from minigpt.training.pieces import PIECE_BYTES, text_pieces

GPT2_FILES = Path(__file__).parent / "data" / "gpt2-tokenizer"


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
    text=st.text(st.characters(codec="utf-8"), max_size=80) | st.text("ab0 \n\t.'", max_size=80),
    size=st.integers(1, 99),
)
@example(text="a\n\n", size=1)
@example(text="0" * 80, size=1)
def test_a_text_in_pieces_has_the_same_tokens(file_for_pieces, gpt2_tokenizer, monkeypatch_module, text, size):
    context = 90  # no word and no run of spaces is longer
    text = text.removeprefix("\ufeff") if text.strip() else "a"
    text = (text + "\n\n") * (500 // (len(text) + 2) + 1)
    file_for_pieces.write_text(text, encoding="utf-8", newline="")
    monkeypatch_module.setattr(pieces_module, "CONTEXT", context)
    pieces = list(text_pieces(file_for_pieces, gpt2_tokenizer, size))
    assert "".join(pieces) == text and len(pieces) > 1
    assert [i for piece in pieces for i in gpt2_tokenizer.encode(piece)] == gpt2_tokenizer.encode(text)


@pytest.fixture(scope="module")
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield monkeypatch


DNA = "".join(random.Random(0).choices("ACGT", k=300_000))
JSON = json.dumps([{"id": i, "name": f"n{i * 7919 % 1000}"} for i in range(9000)], separators=(",", ":"))
CHINESE = "今天天气很好，我们一起去公园玩吧。" * 9000


@pytest.mark.parametrize("kind", ["bytes", "characters", "after a space"])
@pytest.mark.parametrize("text", [DNA, JSON, CHINESE], ids=["dna", "json", "chinese"])
def test_a_line_without_spaces_comes_in_pieces(tmp_path, gpt2_tokenizer, kind, text):
    tokenizer = gpt2_tokenizer if kind == "bytes" else Tokenizer.of_characters(set(text))
    if kind == "after a space":
        for name in ("vocab.json", "merges.txt"):
            (tmp_path / name).write_bytes((GPT2_FILES / name).read_bytes())
        (tmp_path / "tokenizer_config.json").write_text('{"add_prefix_space": true}')
        tokenizer = Tokenizer.from_pretrained(tmp_path)
    (tmp_path / "text").write_text(text, encoding="utf-8")
    pieces = list(text_pieces(tmp_path / "text", tokenizer))
    assert "".join(pieces) == text and max(map(len, pieces)) <= 5 * PIECE_BYTES
    assert len(pieces) > 3 or kind == "after a space"
    ids, expected = [i for piece in pieces for i in tokenizer.encode(piece)], tokenizer.encode(text)
    if kind == "after a space":  # every piece gets one where nothing else is possible
        assert abs(len(ids) - len(expected)) <= 2 * len(pieces)
    else:
        assert ids == expected


@pytest.mark.parametrize("fields", [{}, {"lstrip": True}, {"rstrip": True}])
def test_an_added_token_with_a_space_is_not_cut(tmp_path, gpt2_tokenizer, fields):
    from tokenizers import AddedToken

    gpt2_tokenizer.save_pretrained(tmp_path)
    tokenizer = Tokenizer.from_pretrained(tmp_path)
    tokenizer.backend.add_tokens([AddedToken("< new line >", **fields)])
    text = "a< new line >\n  b  < new line > c\n" * 3000
    (tmp_path / "text").write_text(text)
    for size in (100, 777, 2**16):
        pieces = list(text_pieces(tmp_path / "text", tokenizer, size))
        assert len(pieces) > 2 and "".join(pieces) == text
        assert [i for piece in pieces for i in tokenizer.encode(piece)] == tokenizer.encode(text)


def test_marks_of_editors(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(b"\xef\xbb\xbfab\xef\xbb\xbf")
    for size in (1, 2, 100):
        assert "".join(text_pieces(path, None, size)) == "ab\ufeff"  # the second one is a character of the text
    path.write_text("abc", encoding="utf-16")
    with pytest.raises(ValueError, match="text is UTF-16 text: save it as UTF-8"):
        list(text_pieces(path))


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
