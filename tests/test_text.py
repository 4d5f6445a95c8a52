"""From text to text: continuations, stop strings, generate_text."""

import itertools
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import SHAKESPEARE

from minigpt import GPT2, GPT2Config, Tokenizer, generate_text
from minigpt.generation.text import Continuation, continue_text, encode_prompt, ids_without_a_token


def continuation(tokenizer, text, stop=(), eos=()):
    return Continuation(tokenizer, tokenizer.encode("x"), tokenizer.encode(text), eos, stop)


@given(
    st.text(alphabet="ab\n🤖", max_size=30), st.lists(st.text(alphabet="ab\n🤖", min_size=1, max_size=4), max_size=3)
)
def test_stop_strings(shakespeare_tokenizer, text, stop):
    c = continuation(shakespeare_tokenizer, text, stop)
    chunks = list(c)
    ends = [text.find(s) for s in stop if s in text]
    expected = text[: min(ends)] if ends else text
    # The first complete stop string decides; a longer one may have begun earlier.
    assert c.text == "".join(chunks) and text.startswith(c.text)
    assert not any(s in c.text for s in stop)
    if not ends:
        assert c.text == text and c.finish_reason == "length"
    else:
        assert c.finish_reason == "stop" and len(c.text) >= len(expected)
    if len(stop) == 1:
        assert c.text == expected


def test_chunks_come_as_soon_as_they_are_safe(shakespeare_tokenizer):
    c = continuation(shakespeare_tokenizer, "one two three STOP four", ["STOP"])
    chunks = [chunk for chunk in c if chunk]
    assert len(chunks) > 3 and "".join(chunks) == c.text == "one two three "
    assert shakespeare_tokenizer.decode(c.ids).startswith("one two three STOP")


def test_end_of_text(shakespeare_tokenizer):
    c = continuation(shakespeare_tokenizer, "so<|endoftext|>more", eos=[0])
    assert "".join(c) == "so" and c.finish_reason == "eos" and c.ids[-1] == 0


def test_several_prompts():
    options = {"max_length": 12, "seed": 1, "num_return_sequences": 2}
    prompts = ["Once upon a time", "A girl"]
    assert generate_text(prompts, **options) == [generate_text(prompt, **options) for prompt in prompts]
    assert generate_text([]) == []


def test_generate_text_sees_what_lies_in_the_folder_now(tmp_path, monkeypatch):
    options = {"max_length": 12, "do_sample": False}
    tokenizer = Tokenizer.from_pretrained("stories")
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        tokenizer.save_pretrained(tmp_path / place / "model")
        GPT2.from_pretrained("stories").save_pretrained(tmp_path / place / "model")
    expected = generate_text("Once", **options)
    monkeypatch.chdir(tmp_path / "a")
    assert generate_text("Once", model="model", **options) == expected
    other = GPT2.random(GPT2Config(vocab_size=len(tokenizer), n_embd=8, n_layer=1, n_head=1), seed=3)
    other.save_pretrained("model")  # a training into the same folder
    changed = generate_text("Once", model="model", **options)
    assert changed != expected
    monkeypatch.chdir(tmp_path / "b")  # another folder of the same name
    assert generate_text("Once", model="model", **options) == expected


def test_ids_without_a_token_are_never_drawn(shakespeare_tokenizer):
    n = len(shakespeare_tokenizer)
    model = GPT2.random(GPT2Config(vocab_size=n + 40, n_embd=8, n_layer=1, n_head=1, eos_token_id=0), seed=0)
    model.params["wte"]["weight"][n:] = 10 * model.params["wte"]["weight"][5]
    assert (model.generate([5], max_new_tokens=5, eos_token_id=None)[0, 1:] >= n).any()
    for options in ({"do_sample": False}, {"do_sample": True, "seed": 0}, {"num_beams": 3}):
        (c,) = continue_text(model, shakespeare_tokenizer, "a", max_new_tokens=9, suppress_tokens=[7], **options)
        assert max(c.ids) < n and 7 not in c.ids
    assert ids_without_a_token(shakespeare_tokenizer, model.config) == list(range(n, n + 40))


def test_half_a_character_at_the_end(shakespeare_tokenizer):
    ids = shakespeare_tokenizer.encode("a🤖")
    c = Continuation(shakespeare_tokenizer, [], ids[:-1], [])
    assert list(c)[-1] == "\ufffd" and c.text == "a\ufffd"


def test_a_long_text_takes_little_memory(shakespeare_tokenizer):
    n, ids = 30_000, shakespeare_tokenizer.encode("What light through yonder window breaks? ")
    continued = Continuation(shakespeare_tokenizer, [], itertools.islice(itertools.cycle(ids), n), [])
    tracemalloc.start()
    for _ in continued:
        pass
    used = tracemalloc.get_traced_memory()[0] - sys.getsizeof(continued.text)
    tracemalloc.stop()
    assert len(continued.ids) == n and used < 12 * n  # 8 bytes an id, and what an array has in reserve


def test_streaming_and_not_are_the_same(shakespeare, shakespeare_tokenizer):
    for options in ({}, {"do_sample": True, "seed": 7}, {"do_sample": True, "seed": 7, "stop": ["\n"]}):
        options = options | {"max_new_tokens": 40}
        (streamed,) = continue_text(shakespeare, shakespeare_tokenizer, "ROMEO:", streaming=True, **options)
        assert streamed.text == ""
        chunks = list(streamed)
        (whole,) = continue_text(shakespeare, shakespeare_tokenizer, "ROMEO:", **options)
        assert "".join(chunks) == streamed.text == whole.text
        assert (streamed.ids, streamed.finish_reason) == (whole.ids, whole.finish_reason)


@pytest.mark.parametrize("streaming", [False, True])
def test_drafts_do_not_change_the_text(shakespeare, shakespeare_tokenizer, streaming):
    for options in ({"stop": "in"}, {"max_new_tokens": 60}, {"do_sample": True, "seed": 5, "stop": ["\n\n"]}):
        (expected,) = continue_text(shakespeare, shakespeare_tokenizer, "ROMEO:", **options)
        drafters = [{"prompt_lookup_num_tokens": 6}]
        if "do_sample" not in options:
            drafters.append({"assistant_model": shakespeare})
        for drafter in drafters:
            (found,) = continue_text(
                shakespeare, shakespeare_tokenizer, "ROMEO:", streaming=streaming, **options, **drafter
            )
            assert streaming == bool(list(found))
            assert (found.text, found.ids, found.finish_reason) == (expected.text, expected.ids, expected.finish_reason)


def test_generate_text_with_an_assistant_by_name():
    options = {"max_length": 40, "do_sample": False, "model": SHAKESPEARE}
    expected = generate_text("ROMEO:", **options)
    assert generate_text("ROMEO:", assistant_model=SHAKESPEARE, **options) == expected
    assert generate_text("ROMEO:", prompt_lookup_num_tokens=5, **options) == expected
    with pytest.raises(ValueError, match="assistant_model has a vocabulary of"):
        generate_text("ROMEO:", assistant_model="stories", **options)


def test_stop_strings_end_the_work_early(shakespeare, shakespeare_tokenizer):
    reads = []
    counting = shakespeare.with_ops(layer_norm=lambda *a, **k: reads.append(1) or shakespeare.ops.layer_norm(*a, **k))
    options = {"max_new_tokens": 200, "do_sample": True, "num_return_sequences": 3, "seed": 0, "stop": ["\n"]}
    found = continue_text(counting, shakespeare_tokenizer, "ROMEO:\nI", **options)
    assert {c.finish_reason for c in found} == {"stop"} and not any("\n" in c.text for c in found)
    assert len(reads) / 9 < 100
    beams = continue_text(shakespeare, shakespeare_tokenizer, "ROMEO:\nI", max_new_tokens=60, num_beams=2, stop=["\n"])
    assert "\n" not in beams[0].text


def test_generate_text(shakespeare, shakespeare_tokenizer):
    prompt = "ROMEO:\nWhat light"
    texts = generate_text(
        prompt, max_length=40, top_k=50, top_p=0.95, num_return_sequences=2, seed=3, model=SHAKESPEARE
    )
    assert len(texts) == 2 and texts[0] != texts[1] and all(text.startswith(prompt) for text in texts)
    assert texts == generate_text(prompt, max_length=40, num_return_sequences=2, seed=3, model=SHAKESPEARE)
    assert max(len(shakespeare_tokenizer.encode(text)) for text in texts) <= 40
    greedy = generate_text(prompt, max_length=30, do_sample=False)
    assert greedy == generate_text(prompt, max_length=30, do_sample=False)
    assert len(generate_text("Once upon a time", seed=0)[0]) > 100
    n = len(shakespeare_tokenizer.encode(prompt))
    (ten,) = continue_text(shakespeare, shakespeare_tokenizer, prompt, max_new_tokens=10)
    assert generate_text(prompt, max_length=n + 10, do_sample=False, model=SHAKESPEARE) == [prompt + ten.text]
    long = "word " * 60
    assert generate_text(long, max_new_tokens=5)[0].startswith(long)
    with pytest.raises(ValueError, match="max_length = 3 leaves no room: the prompt alone has"):
        generate_text(prompt, max_length=3)


def test_an_empty_prompt_becomes_the_token_that_begins_a_text(shakespeare, shakespeare_tokenizer):
    (c,) = continue_text(shakespeare, shakespeare_tokenizer, "", max_new_tokens=10)
    assert c.ids == shakespeare.generate([0], max_new_tokens=10)[0, 1:].tolist()
    assert generate_text("", max_length=5, do_sample=False)


def test_an_empty_prompt_needs_a_token_to_begin_with(shakespeare_tokenizer):
    assert encode_prompt(shakespeare_tokenizer, "", GPT2Config(bos_token_id=None, eos_token_id=[99999, 3])) == [3]
    assert encode_prompt(shakespeare_tokenizer, "x", GPT2Config()) == shakespeare_tokenizer.encode("x")
    with pytest.raises(ValueError, match="the prompt is empty and this model has no token to begin a text with"):
        encode_prompt(shakespeare_tokenizer, "", GPT2Config(bos_token_id=None, eos_token_id=None))


def test_a_prompt_that_ends_in_the_replacement_character(shakespeare, shakespeare_tokenizer):
    for streaming in (True, False):
        (c,) = continue_text(shakespeare, shakespeare_tokenizer, "hi \ufffd", max_new_tokens=4, streaming=streaming)
        continuation = "".join(c) or c.text
        ids = shakespeare_tokenizer.encode("hi \ufffd")
        assert "hi \ufffd" + continuation == shakespeare_tokenizer.decode(ids + c.ids)


def test_stop_as_one_text_or_several(shakespeare, shakespeare_tokenizer):
    def text(stop):
        return continue_text(shakespeare, shakespeare_tokenizer, "ROMEO:\n", max_new_tokens=30, stop=stop)[0].text

    assert text("lord") == text(["lord"]) != text(list("lord"))
    with pytest.raises(ValueError, match="stop must be a text or a list of texts, none of them empty"):
        text([""])


def test_stop_strings_never_match_half_a_character(shakespeare, shakespeare_tokenizer, monkeypatch):
    ids = shakespeare_tokenizer.encode("a🤖b")
    script = iter(ids)  # what the model is made to say
    monkeypatch.setattr(
        "minigpt.generation.search.apply_filters", lambda *arguments, n_new: np.eye(1024)[[next(script)]]
    )
    (c,) = continue_text(shakespeare, shakespeare_tokenizer, "x", max_new_tokens=len(ids), stop=["\ufffd"])
    assert c.text == "a🤖b" and c.finish_reason == "length"


def test_the_shakespeare_model_has_learnt_english(shakespeare, shakespeare_tokenizer):
    # Speakers' names in capitals, then a colon and a new line; and a loss far below that of chance, log(1024) = 6.9.
    assert any(
        word in generate_text("ROMEO:\nMy", max_length=80, seed=0, model=SHAKESPEARE)[0]
        for word in (" the ", " to ", " and ")
    )
    text = "ROMEO:\nBut, soft! what light through yonder window breaks?\nIt is the east, and Juliet is the sun."
    ids = np.array(shakespeare_tokenizer.encode(text))
    logits = shakespeare(ids[:-1])
    logprobs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    assert -logprobs[np.arange(len(ids) - 1), ids[1:]].mean() < 5
