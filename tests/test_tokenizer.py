"""The tokenizers against those of transformers, and streaming that never shows half a character."""

import json
from pathlib import Path

import pytest
from helpers import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, BertTokenizer, GPT2Tokenizer

from minigpt import GPT2, GPT2Config, Tokenizer
from weights_loader import CheckpointError

GPT2_FILES = Path(__file__).parent / "data" / "gpt2-tokenizer"
CHINESE = "今天天气很好我们一起去公园玩吧"

# Any text, and more often what is hard for tokenizers: spaces, contractions, digits, emoji, scripts, the special token.
texts = st.lists(
    st.text()
    | st.sampled_from(
        ["  ", " \n", "'s", "'LL", " 12345", "<|endoftext|>", "🤖👩‍👩‍👧", "汉字", "नमस्ते", "é", "\u0301", "\r\n\t", " a"]
    )
).map("".join)


@pytest.fixture(scope="module")
def gpt2():
    return Tokenizer.from_pretrained(GPT2_FILES)


@pytest.fixture(scope="module")
def gpt2_twin():
    return GPT2Tokenizer.from_pretrained(GPT2_FILES)


@pytest.fixture(scope="module")
def wordpiece_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wordpiece")
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *CHINESE,
        *"abcdefghij.,!",
        "hi",
        "##a",
        "##b",
        "##gh",
        "##i",
        "cafe",
        "i",
    ]
    (folder / "vocab.txt").write_text("\n".join(dict.fromkeys(words)) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def wordpiece(wordpiece_folder):
    return Tokenizer.from_pretrained(wordpiece_folder)


@pytest.fixture(scope="module")
def wordpiece_twin(wordpiece_folder):
    return BertTokenizer.from_pretrained(wordpiece_folder)


def test_known_ids(gpt2):
    assert gpt2.encode("Hello world") == [15496, 995]
    assert gpt2.encode("Alan Turing theorized that") == [36235, 39141, 18765, 1143, 326]
    assert gpt2.encode("<|endoftext|>") == [50256] and gpt2.token_id("<|endoftext|>") == 50256
    assert gpt2.decode([15496, 995, 50256]) == "Hello world<|endoftext|>"
    assert gpt2.decode([15496, 995, 50256], skip_special_tokens=True) == "Hello world"
    assert gpt2.batch_decode([[15496], [995]]) == ["Hello", " world"]
    assert gpt2.convert_ids_to_tokens([15496, 995]) == ["Hello", "Ġworld"]
    assert len(gpt2) == 50257
    assert gpt2.encode("") == []


@settings(max_examples=examples(300))
@given(texts)
def test_byte_level_bpe_equals_transformers(gpt2, gpt2_twin, text):
    ids = gpt2.encode(text)
    assert ids == gpt2_twin.encode(text) == gpt2.encode(text, add_special_tokens=True)
    assert gpt2.decode(ids) == text


@settings(max_examples=examples(200))
@given(st.lists(st.integers(0, 50256)))
def test_decoding_any_ids_equals_transformers(gpt2, gpt2_twin, ids):
    for skip in (False, True):
        assert gpt2.decode(ids, skip) == gpt2_twin.decode(ids, skip_special_tokens=skip)


@settings(max_examples=examples(300))
@given(texts | st.text(alphabet=CHINESE + "abcghi !,[]é"))
@example("[MASK] hi [SEP]")
def test_wordpiece_equals_transformers(wordpiece, wordpiece_twin, text):
    for special in (False, True):
        ids = wordpiece.encode(text, add_special_tokens=special)
        assert ids == wordpiece_twin.encode(text, add_special_tokens=special)
    ids = wordpiece.encode(text)
    assert wordpiece.decode(ids) == wordpiece_twin.decode(ids)


@pytest.mark.parametrize(
    "settings",
    [{}, {"do_lower_case": False}, {"strip_accents": False}, {"strip_accents": True, "do_lower_case": False},
     {"tokenize_chinese_chars": False}],
)  # fmt: skip
def test_wordpiece_follows_its_settings(wordpiece_folder, tmp_path, settings):
    (tmp_path / "vocab.txt").write_bytes((wordpiece_folder / "vocab.txt").read_bytes() + "café\n今天\n".encode())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    ours, theirs = Tokenizer.from_pretrained(tmp_path), BertTokenizer.from_pretrained(tmp_path, **settings)
    for text in ("HI hi", "Café cafe", "今天 hi今天"):
        assert ours.encode(text) == theirs.encode(text, add_special_tokens=False)


def test_byte_level_bpe_follows_its_settings(gpt2, tmp_path):
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / name).write_bytes((GPT2_FILES / name).read_bytes())
    (tmp_path / "tokenizer_config.json").write_text('{"add_prefix_space": true}')
    assert Tokenizer.from_pretrained(tmp_path).encode("Hello") == gpt2.encode(" Hello") != gpt2.encode("Hello")


def test_a_tokenizer_json_that_cuts_and_pads_does_neither_here(gpt2, tmp_path):
    gpt2.backend.save(str(tmp_path / "tokenizer.json"))
    values = json.loads((tmp_path / "tokenizer.json").read_text())
    values["truncation"] = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
    values["padding"] = {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
                         "pad_type_id": 0, "pad_token": "!"}  # fmt: skip
    (tmp_path / "tokenizer.json").write_text(json.dumps(values))
    tokenizer = Tokenizer.from_pretrained(tmp_path)
    for text in ("one two three four five", "one"):
        assert tokenizer.encode(text) == gpt2.encode(text)


def test_tokenizer_json_is_preferred_and_the_same(gpt2, tmp_path):
    gpt2.backend.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "vocab.json").write_text("not even JSON")
    text = "Hello <|endoftext|> world's  汉字 🤖"
    assert Tokenizer.from_pretrained(tmp_path).encode(text) == gpt2.encode(text)


def test_added_tokens(tmp_path):
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / name).write_bytes((GPT2_FILES / name).read_bytes())
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<pad>": 50258, "<bot>": 50257}))
    tokenizer = Tokenizer.from_pretrained(tmp_path)
    assert tokenizer.encode("Hello<bot> world<pad>") == [15496, 50257, 995, 50258]
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<bot>": 60000}))
    with pytest.raises(CheckpointError, match="'<bot>' the id 60000"):
        Tokenizer.from_pretrained(tmp_path)


def gpt2_files(folder, **files):
    """Write GPT-2's vocab.json and merges.txt into a folder, and other files as JSON."""
    for name in ("vocab.json", "merges.txt"):
        (folder / name).write_bytes((GPT2_FILES / name).read_bytes())
    for name, values in files.items():
        (folder / f"{name}.json").write_text(json.dumps(values), encoding="utf-8")
    return folder


def test_files_as_editors_on_windows_write_them(gpt2, tmp_path):
    gpt2_files(tmp_path, tokenizer_config={"add_prefix_space": False}, added_tokens={"<pad>": 50257})
    for path in list(tmp_path.iterdir()):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    text = "Hello world's  \r\n 汉字 🤖<|endoftext|>"
    assert Tokenizer.from_pretrained(tmp_path).encode(text + "<pad>") == [*gpt2.encode(text), 50257]
    gpt2.save_pretrained(tmp_path / "json")
    for path in (tmp_path / "json").iterdir():
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert Tokenizer.from_pretrained(tmp_path / "json").encode(text) == gpt2.encode(text)


PAD = {"content": "<pad>", "lstrip": False, "rstrip": False, "single_word": False, "normalized": False}
END = {"50256": {**PAD, "content": "<|endoftext|>", "special": True}}


@pytest.mark.parametrize(
    "files",
    [
        {"special_tokens_map": {"pad_token": "<pad>", "bos_token": {**PAD, "content": "<bos>", "lstrip": True}}},
        {"special_tokens_map": {"eos_token": " the"}},
        {"special_tokens_map": {"additional_special_tokens": ["< b >"]}, "added_tokens": {"<a>": 50258, "<pad>": 50257}},
        {"tokenizer_config": {"added_tokens_decoder": END | {"50257": {**PAD, "special": True}}}},
        {"tokenizer_config": {"added_tokens_decoder": END | {"50257": {**PAD, "special": False}}, "pad_token": "<pad>"}},
        {"tokenizer_config": {"added_tokens_decoder": {**END, "50257": {**PAD, "lstrip": True}}}},
        {"tokenizer_config": {"added_tokens_decoder": {**END, "50257": {**PAD, "rstrip": True, "special": True}}}},
        {"tokenizer_config": {"added_tokens_decoder": {**END, "50257": {**PAD, "single_word": True}}}},
        {"tokenizer_config": {"added_tokens_decoder": END, "mask_token": "<mask>", "image_token": "<bos>"},
         "special_tokens_map": {"pad_token": "<pad>"}},
        {"tokenizer_config": {"pad_token": {**PAD, "__type": "AddedToken"}, "extra_special_tokens": {"a_token": "<a>"}}},
        {"added_tokens": {"<pad>": 50258, "<bos>": 50257}, "special_tokens_map": {"pad_token": "<pad>"}},
    ],
)  # fmt: skip
def test_added_and_special_tokens_are_those_of_transformers(tmp_path, files):
    ours, theirs = Tokenizer.from_pretrained(gpt2_files(tmp_path, **files)), GPT2Tokenizer.from_pretrained(tmp_path)
    for token in ("<pad>", "<bos>", "<a>", "< b >", "<mask>", " the", "<|endoftext|>"):
        for text in (f"x{token}y", f"x {token} y", f"{token}{token}", f"  {token}  z"):
            ids = theirs.encode(text)
            assert ours.encode(text) == ids
            for skip in (False, True):
                assert ours.decode(ids, skip) == theirs.decode(ids, skip_special_tokens=skip)


@pytest.mark.parametrize("kind", ["characters", "word pieces", "bytes", "bytes after a space", "trained"])
def test_what_is_saved_gives_the_same_ids_in_transformers(gpt2, wordpiece, tmp_path, kind):
    if kind == "bytes after a space":
        for name in ("vocab.json", "merges.txt"):
            (tmp_path / name).write_bytes((GPT2_FILES / name).read_bytes())
        (tmp_path / "tokenizer_config.json").write_text('{"add_prefix_space": true}')
        tokenizer = Tokenizer.from_pretrained(tmp_path)
    else:
        tokenizer = {
            "characters": Tokenizer.of_characters("abc .,\n"),
            "word pieces": wordpiece,
            "bytes": gpt2,
            "trained": Tokenizer.from_pretrained("stories"),
        }[kind]
    folder = tmp_path / "saved"
    GPT2.random(GPT2Config(vocab_size=len(tokenizer), n_embd=4, n_layer=1, n_head=1), ops="plain").save_pretrained(
        folder
    )
    tokenizer.save_pretrained(folder)
    theirs = AutoTokenizer.from_pretrained(folder)
    text = "a b, c.\n\nab  c" if kind == "characters" else "hi cafe, we go on.\n\n今天 Once upon  a time"
    ids = tokenizer.encode(text)
    assert theirs.encode(text, add_special_tokens=False) == ids
    assert theirs.decode(ids) == tokenizer.decode(ids)
    assert theirs.eos_token_id == tokenizer.eos_token_id
    assert len(theirs) == len(tokenizer)
    assert Tokenizer.from_pretrained(folder).encode(text) == ids


def test_the_names_of_transformers(gpt2, gpt2_twin):
    text = "Hello world<|endoftext|>"
    assert gpt2.tokenize(text) == gpt2_twin.tokenize(text)
    assert gpt2.get_vocab() == gpt2_twin.get_vocab()
    assert (gpt2.vocab_size, gpt2.eos_token_id) == (gpt2_twin.vocab_size, gpt2_twin.eos_token_id)
    for texts in ("Hello", ["Hello world", "a"]):
        theirs = gpt2_twin(texts)
        assert gpt2(texts) == {name: theirs[name] for name in ("input_ids", "attention_mask")}
    assert gpt2.convert_ids_to_tokens(995) == gpt2_twin.convert_ids_to_tokens(995) == "Ġworld"
    assert gpt2.decode(15496) == gpt2_twin.decode(15496) == "Hello"
    assert repr(gpt2) == "<Tokenizer: BPE, 50,257 tokens>"


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda t: t.encode(["a"]), "text must be a str, not list; tokenizer(...) takes several texts"),
        (lambda t: t(["a", 1]), "text must be a str, not int"),
        (lambda t: t.decode([-1]), "the vocabulary of 50257 tokens has no id -1"),
        (lambda t: t.decode([50257]), "the vocabulary of 50257 tokens has no id 50257"),
        (lambda t: t.decode([2**70]), "has no id 1180591620717411303424"),
        (lambda t: t.decode([5.9]), "ids must be integers, not 5.9"),
        (lambda t: t.decode([[1, 2], [3, 4]]), "ids must be integers, not .1, 2.; batch_decode takes several rows"),
        (lambda t: t.convert_ids_to_tokens([50257]), "has no id 50257"),
    ],
)
def test_bad_texts_and_ids(gpt2, call, sentence):
    with pytest.raises((TypeError, ValueError), match=sentence.replace("(...)", r"\(\[\.\.\.\]\)")):
        call(gpt2)


def test_saved_and_loaded(gpt2, wordpiece, tmp_path):
    for i, tokenizer in enumerate((gpt2, wordpiece)):
        tokenizer.save_pretrained(tmp_path / str(i))
        text = "Hello <|endoftext|> world's  汉字 今天 🤖"
        assert Tokenizer.from_pretrained(tmp_path / str(i)).encode(text) == tokenizer.encode(text)


@settings(max_examples=examples(300))
@given(texts)
def test_a_streamed_text_comes_in_whole_characters(gpt2, text):
    stream = gpt2.text_stream(skip_special_tokens=False)
    added = [stream.add(i) for i in gpt2.encode(text)]
    if "\ufffd" not in text:
        assert not any("\ufffd" in part for part in added)
        assert "".join(added) == text and stream.finish() == ""
    else:
        assert "".join(added) + stream.finish() == text


@settings(max_examples=examples(300))
@given(st.lists(st.integers(0, 50256) | st.integers(127, 255)), st.booleans())
def test_a_stream_of_any_ids_is_what_decode_gives(gpt2, ids, skip):
    stream = gpt2.text_stream(skip)
    assert "".join([stream.add(i) for i in ids]) + stream.finish() == gpt2.decode(ids, skip)


@settings(max_examples=examples(100))
@given(st.lists(st.integers(0, 37)))
def test_a_stream_of_wordpieces_is_what_decode_gives(wordpiece, ids):
    stream = wordpiece.text_stream()
    assert "".join([stream.add(i) for i in ids]) + stream.finish() == wordpiece.decode(ids, skip_special_tokens=True)


@given(st.text(alphabet=CHINESE + "hi "), st.lists(st.integers(0, 37)))
def test_a_stream_continues_a_text_that_was_shown(wordpiece, text, ids):
    # WordPiece puts spaces between words, but none before the first: a continuation must know what it follows.
    before = wordpiece.encode(text)
    stream = wordpiece.text_stream(after=before)
    shown = "".join([stream.add(i) for i in ids]) + stream.finish()
    assert wordpiece.decode(before, True) + shown == wordpiece.decode(before + ids, True)


def test_an_emoji_of_several_tokens_waits_until_it_is_whole(gpt2):
    ids = gpt2.encode("a🤖b")
    stream = gpt2.text_stream()
    assert len(ids) > 3
    assert [stream.add(i) for i in ids] == ["a", *[""] * (len(ids) - 3), "🤖", "b"]
    half = gpt2.text_stream()
    assert [half.add(i) for i in ids[:2]] == ["a", ""] and half.finish() == "\ufffd"


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({}, "has no tokenizer: expected tokenizer.json, or vocab.json and merges.txt, or vocab.txt"),
        ({"vocab.json": "{}"}, "has no tokenizer"),
        ({"tokenizer.json": "{"}, "the tokenizer in .* cannot be read"),
        ({"tokenizer.json": "[]"}, "the tokenizer in .* cannot be read"),
        ({"vocab.json": "{", "merges.txt": ""}, "vocab.json is not valid JSON"),
        ({"vocab.json": '{"a": 0}', "merges.txt": "#version: 0.2\na b\n"}, "the tokenizer in .* cannot be read"),
        ({"vocab.txt": "[UNK]\n", "tokenizer_config.json": "{"}, "tokenizer_config.json is not valid JSON"),
        ({"vocab.txt": "[CLS]\n[SEP]\n"}, r"the tokenizer in .* cannot be read: vocab.txt has no \[UNK\]"),
        (
            {"vocab.json": '{"a": 2147483647}', "merges.txt": ""},
            "has the number 2147483647; ids .* may be at most 10,000",
        ),
        ({"tokenizer.json": '{"model": {"vocab": {"a": 2147483647}}}'}, "has the number 2147483647; ids and sizes may"),
        ({"vocab.txt": "[UNK]\n[CLS]\n"}, r"the tokenizer in .* cannot be read: vocab.txt has no \[SEP\]"),
    ],
)
def test_bad_tokenizer_files(tmp_path, files, sentence):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(CheckpointError, match=sentence):
        Tokenizer.from_pretrained(tmp_path)
