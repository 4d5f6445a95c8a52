"""Byte-level BPE against the tokenizers library, and against the course's definition written down naively."""

import json
import random
import re
import sys
import tracemalloc
import unicodedata
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from helpers import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, ByteLevelBPETokenizer, Regex, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as LibraryTokenizer

import minigpt.bpe
from minigpt import Tokenizer
from minigpt.bpe import BPE, BYTE_CHARACTERS, SINGLE_BYTES, in_characters, pre_token_pattern, pre_tokens, train_bpe
from weights_loader import CheckpointError

GPT2_FILES = Path(__file__).parent / "data" / "gpt2-tokenizer"
HELDOUT = Path(__file__).parent / "data" / "shakespeare-heldout.txt"
END = "<|endoftext|>"

# All of Unicode except halves of surrogate pairs, and characters that the library may know and this Python does not.
ASSIGNED = [c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(c) not in ("Cn", "Co", "Cs")]

# Any text, and more often what is hard for tokenizers.
texts = st.lists(
    st.text(st.characters(exclude_categories=("Cn", "Cs")))
    | st.text("ab c'", min_size=1)
    | st.sampled_from(
        [
            "  ",
            " \n",
            "'s",
            "'LL",
            "'ll",
            " 12345",
            END,
            "🤖👩‍👩‍👧",
            "汉字",
            "नमस्ते",
            "é",
            "\u0301",
            "\r\n\t",
            " a",
            "\x1c",
        ]
    )
).map("".join)


@pytest.fixture(scope="module")
def official():
    return BPE.from_pretrained(GPT2_FILES)


@pytest.fixture(scope="module")
def library():
    return Tokenizer.from_pretrained(GPT2_FILES).backend


def test_pre_tokens_of_every_character():
    split = pre_tokenizers.ByteLevel(add_prefix_space=False)
    for first in range(0, len(ASSIGNED), 1000):
        text = "".join(f"a{c} {c}1{c}{c}'s " for c in ASSIGNED[first : first + 1000])
        ours = pre_token_pattern().findall(text)
        theirs = [text[start:end] for _, (start, end) in split.pre_tokenize_str(text)]
        assert ours == theirs


@settings(max_examples=examples(300))
@given(text=texts, cuts=st.lists(st.integers(0, 60)), specials=st.lists(st.sampled_from([END, "<|", "aba", "'s"])))
def test_pre_tokens_do_not_depend_on_how_a_text_is_cut(text, cuts, specials):
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    chunks = [text[start:end] for start, end in pairwise(places)]
    whole = list(pre_tokens([text], specials))
    assert "".join(whole) == text
    assert list(pre_tokens(chunks, specials)) == whole == list(pre_tokens(list(text), specials))


def test_special_tokens_come_out_whole():
    assert list(pre_tokens(["a <|x|><|x|>y b"], ["<|x|>", "<|x|>y"])) == ["a", " ", "<|x|>", "<|x|>y", " b"]


def train_naively(text, n_merges, specials=(END,)):
    """Learn merges by the course's definition: count all pairs for every merge; of the most frequent, the greatest."""
    for special in specials:
        text = text.replace(special, "\0SPECIAL\0")
    words = [
        [bytes([byte]) for byte in word.encode()]
        for part in text.split("\0SPECIAL\0")
        for word in pre_token_pattern().findall(part)
    ]
    merges = []
    while len(merges) < n_merges:
        counts = Counter(pair for word in words for pair in pairwise(word))
        if not counts:
            break
        pair = max(counts, key=lambda p: (counts[p], p))
        merges.append(pair)
        for word in words:
            i = 0
            while i < len(word) - 1:
                if (word[i], word[i + 1]) == pair:
                    word[i : i + 2] = [word[i] + word[i + 1]]
                i += 1
    return merges


@settings(max_examples=examples(200))
@given(text=texts.filter(lambda text: "\0" not in text))
@example(text="aaaa aaaaa aaa")
@example(text="abab ab abc" + END + "abc")
@example(text="ÿþ ÿþ þÿ a b ab")
def test_training_is_the_courses_definition(text):
    vocab, merges = train_bpe(text, 257 + 20)
    assert merges == train_naively(text, 20)
    assert list(vocab) == list(range(257 + len(merges)))
    assert list(vocab.values()) == [END.encode(), *SINGLE_BYTES, *(left + right for left, right in merges)]


def test_the_greater_pair_wins():
    assert train_bpe("ab\nba\nbb", 260)[1] == [(b"b", b"b"), (b"b", b"a"), (b"a", b"b")]
    # b"ab" is greater than b"a", whatever follows.
    assert train_bpe("ab\nabc\naz", 260)[1] == [(b"a", b"b"), (b"ab", b"c"), (b"a", b"z")]


def train_with_library(text, vocab_size):
    tokenizer = LibraryTokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # The trainer does not look for special tokens in the text.
    tokenizer.train_from_iterator(text.split(END), trainer)
    return tokenizer


@settings(max_examples=examples(100))
@given(text=texts)
@example(text="aaaa aaaaa aaa aa a")
def test_training_with_the_librarys_ties_is_the_library(text):
    expected = train_with_library(text, 300)
    assert same_as_library(*train_bpe(text, 300, ties="tokenizers"), expected)


def same_as_library(vocab, merges, library):
    found = json.loads(library.to_str())["model"]
    theirs = [tuple(merge) for merge in found["merges"]]
    ours = {token.decode() if token == END.encode() else in_characters(token): i for i, token in vocab.items()}
    return [tuple(map(in_characters, pair)) for pair in merges] == theirs and ours == found["vocab"]


def test_training_on_a_real_text_is_the_library():
    text = HELDOUT.read_text(encoding="utf-8")
    expected = train_with_library(text, 2000)
    assert same_as_library(*train_bpe(Path(HELDOUT), 2000, ties="tokenizers"), expected)
    # The two rules for ties differ here; otherwise the comparison would not test them.
    assert train_bpe(text, 2000)[1] != train_bpe(text, 2000, ties="tokenizers")[1]


def test_a_text_a_file_and_several(tmp_path):
    text = HELDOUT.read_bytes().decode()
    half = text.index("\n", len(text) // 2)
    for name, part in (("one", text[:half]), ("two", text[half:])):
        (tmp_path / name).write_bytes(part.encode())
    expected = train_bpe(text, 600)
    assert train_bpe(HELDOUT, 600) == expected
    assert (
        train_bpe([tmp_path / "one", tmp_path / "two"], 600) == expected == train_bpe([text[:half], text[half:]], 600)
    )


def test_lines_end_as_they_do_in_the_file(tmp_path):
    (tmp_path / "dos").write_bytes(b"a\r\nb\r\nc\r\n" * 10)
    assert (b"\r", b"\n") in train_bpe(tmp_path / "dos", 260)[1]


def test_nothing_is_learnt_from_or_across_special_tokens():
    text = "xy" + END + "zx" + END
    assert set(train_bpe(text, 300)[1]) == {(b"x", b"y"), (b"z", b"x")}
    vocab, _ = train_bpe("a", 258, ["<pad>", END])
    assert vocab[0] == b"<pad>" and vocab[1] == END.encode() and vocab[2] == b"!"
    assert train_bpe("ab", 257, [])[1] == [(b"a", b"b")]


def test_a_text_that_runs_out_of_pairs():
    vocab, merges = train_bpe("abc", 1000)
    assert merges == [(b"b", b"c"), (b"a", b"bc")] and len(vocab) == 259
    assert train_bpe("", 1000)[1] == []


@settings(max_examples=examples(500))
@given(text=texts)
@example(text="  a  'll  \n\n  b")
@example(text="Hello, I'll say: it's 'LLAMA's  12345 days…")
def test_encoding_with_the_official_files_is_the_library(official, library, text):
    ids = official.encode(text)
    assert ids == library.encode(text).ids
    assert official.decode(ids) == text


def test_encoding_of_every_character_is_the_library(official, library):
    for first in range(0, len(ASSIGNED), 5000):
        text = " ".join(ASSIGNED[first : first + 5000])
        assert official.encode(text) == library.encode(text).ids


def test_encoding_by_rank_and_not_by_length():
    bpe = BPE(dict(enumerate([*SINGLE_BYTES, b"bc", b"ab", b"abc"])), [(b"b", b"c"), (b"a", b"b"), (b"ab", b"c")])
    assert [bpe.vocab[i] for i in bpe.encode("abc")] == [b"a", b"bc"]


@given(ids=st.lists(st.integers(0, 50256), max_size=8))
def test_decoding_is_the_library(official, library, ids):
    assert official.decode(ids) == library.decode(ids, skip_special_tokens=False)


@pytest.mark.slow
def test_the_ids_of_a_file_in_constant_memory(official, tmp_path):
    path, line = tmp_path / "long.txt", HELDOUT.read_text(encoding="utf-8")[:2000]
    path.write_text(line * 300, encoding="utf-8")
    with path.open(encoding="utf-8") as file:
        encoded = official.encode_iterable(file)
        first = [next(encoded) for _ in range(1000)]
        tracemalloc.start()
        rest = sum(1 for _ in encoded)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert most < path.stat().st_size / 2 and rest > 100_000
    assert first == official.encode(line * 2)[:1000]


@given(text=texts, size=st.integers(1, 7))
def test_the_ids_of_chunks_are_those_of_the_text(official, text, size):
    chunks = [text[at : at + size] for at in range(0, len(text), size)]
    assert list(official.encode_iterable(chunks)) == official.encode(text)


def test_the_cache_of_words_changes_nothing(monkeypatch):
    bpe = BPE(*train_bpe(HELDOUT, 500))
    text = HELDOUT.read_text(encoding="utf-8")[:5000]
    expected = bpe.encode(text)
    monkeypatch.setattr(minigpt.bpe, "MAX_CACHED_WORDS", 3)
    bpe.cache.clear()
    assert bpe.encode(text) == expected and len(bpe.cache) <= 3


def test_special_tokens_that_a_vocabulary_lacks_come_after_it(official):
    bpe = BPE(official.vocab, official.merges, [END, "<pad>", "<sep>"])
    assert bpe.encode(f"a{END}<sep>a<pad>") == [64, 50256, 50258, 64, 50257] and len(bpe) == 50259
    assert "<pad>" not in official.special_tokens and len(official.encode("<pad>")) > 1


def test_show(official):
    # The ranks are the lines of merges.txt: "Ġ t" is the first.
    assert official.show("Hi the" + END).splitlines() == [
        "'Hi'",
        "         H i",
        f"{official.rank[(b'H', b'i')]:>7}  Hi",
        f"    ids  {official.ids[b'Hi']}",
        "' the'",
        "         Ġ t h e",
        "      0  Ġt h e",
        "      2  Ġt he",
        f"{official.rank[(b' t', b'he')]:>7}  Ġthe",
        "    ids  262",
        f"'{END}'",
        "     id  50256",
    ]


def test_saved_files_are_read_by_all(tmp_path):
    bpe = BPE(*train_bpe(HELDOUT, 700, [END, "<|pad|>"]))
    bpe.save_pretrained(tmp_path)
    text = HELDOUT.read_text(encoding="utf-8")[:3000] + f"{END}é<|pad|> 🤖"
    expected = bpe.encode(text)
    assert 0 in expected and 1 in expected
    again = BPE.from_pretrained(tmp_path)
    assert (again.vocab, again.merges, again.encode(text)) == (bpe.vocab, bpe.merges, expected)
    assert BPE.from_pretrained(str(tmp_path)).encode(text) == expected
    assert Tokenizer.from_pretrained(tmp_path).encode(text) == expected
    theirs = ByteLevelBPETokenizer(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt"))
    theirs.add_special_tokens([AddedToken(END), AddedToken("<|pad|>")])
    assert theirs.encode(text).ids == expected


def test_files_that_begin_with_a_hash(tmp_path):
    bpe = BPE(*train_bpe("## ## ##a", 259))
    assert bpe.merges[0] == (b"#", b"#")
    bpe.save_pretrained(tmp_path)
    assert BPE.from_pretrained(tmp_path).merges == bpe.merges


def test_bytes_as_characters(library):
    assert len(set(BYTE_CHARACTERS.values())) == 256
    assert set(BYTE_CHARACTERS.values()) == set(pre_tokenizers.ByteLevel.alphabet())
    assert in_characters(b" a\n\xff") == "ĠaĊÿ"
    assert [library.id_to_token(i) for i in range(256)] == list(BYTE_CHARACTERS.values())


def wordpiece(folder):
    tokenizer = LibraryTokenizer(models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    tokenizer.save(str(folder / "tokenizer.json"))


def split_otherwise(folder):
    tokenizer = train_with_library("a b", 260)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("b"), "isolated")
    tokenizer.save(str(folder / "tokenizer.json"))


@pytest.mark.parametrize("other", [wordpiece, split_otherwise])
def test_tokenizers_of_other_kinds(tmp_path, other):
    other(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "gpt2", "vocab_size": 300}')
    with pytest.raises(ValueError, match="is not byte-level BPE like GPT-2's"):
        BPE.from_pretrained(str(tmp_path))
    with pytest.raises(ValueError, match=r"has a tokenizer.json, which would be read first"):
        BPE(*train_bpe("ab", 258)).save_pretrained(tmp_path)


BYTES = dict(enumerate(SINGLE_BYTES))


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: train_bpe("a", 256), "vocab_size must be an integer, at least 257 (256 bytes, 1 special tokens)"),
        (lambda: train_bpe("a", "many"), "vocab_size must be an integer"),
        (lambda: train_bpe("a", 300, ties="random"), 'ties must be "bytes" or "tokenizers", not \'random\''),
        (lambda: train_bpe("a\ud800", 300), "text has U+D800 at character 1: half a surrogate pair"),
        (lambda: train_bpe("a", 300, ["x"]), "a special token must have at least two bytes"),
        (lambda: train_bpe(str(HELDOUT), 300), "is a file: give pathlib.Path("),
        (lambda: BPE(BYTES, []).encode("a\udc00"), "U+DC00 at character 1"),
        (lambda: BPE(BYTES, []).encode_iterable([b"a"]).__next__(), "text must be a str, not bytes"),
        (lambda: BPE(BYTES, []).decode([256]), "there is no id 256 in this vocabulary of 256 tokens"),
        (lambda: BPE(BYTES | {256: b"a"}, []), "the same bytes under two ids"),
        (lambda: BPE({0: b"a"}, []), "it needs every byte and every merge's result"),
        (lambda: BPE(BYTES, [(b"a", b"b")]), "the vocabulary lacks b'ab'"),
        (lambda: BPE(BYTES | {256: b"ab"}, [(b"a", b"b")], ["ab"]), "the special token 'ab' is an ordinary token"),
    ],
)
def test_bad_arguments(call, sentence):
    with pytest.raises((TypeError, ValueError), match=re.escape(sentence)):
        call()


def test_bad_files(tmp_path):
    (tmp_path / "latin").write_bytes(b"caf\xe9")
    with pytest.raises(ValueError, match="latin must be a text in UTF-8"):
        train_bpe(tmp_path / "latin", 300)
    vocab, merges = tmp_path / "vocab.json", tmp_path / "merges.txt"
    for bad_vocab, bad_merges, error, sentence in (
        ("[]", "", CheckpointError, "vocab.json must hold a JSON object, not a list"),
        ('{"a": 0}', "a b c\n", CheckpointError, "the tokenizer in .* cannot be read"),
        ('{"a": 0}', "", ValueError, "is not byte-level BPE like GPT-2's: the vocabulary lacks"),
        ('{"a": 0, "b": 0}', "", ValueError, "is not byte-level BPE like GPT-2's: the vocabulary lacks"),
    ):
        vocab.write_text(bad_vocab)
        merges.write_text(bad_merges)
        with pytest.raises(error, match=sentence):
            BPE.from_pretrained(tmp_path)


def test_any_merges_give_back_any_text():
    """The same holds for merges in an order that no training gives."""
    rng = random.Random(0)
    vocab, merges = train_bpe(HELDOUT, 400)
    learnt = list(merges)
    rng.shuffle(learnt)
    bpe = BPE(vocab, learnt)
    text = HELDOUT.read_text(encoding="utf-8")[:4000]
    assert bpe.decode(bpe.encode(text)) == text and bpe.encode(text) != BPE(vocab, merges).encode(text)
