"""minigpt generate, as a person runs it: the options in this process, which is faster."""

import json

from helpers import fails_with, run, run_here
from reference import SHAKESPEARE

from minigpt import Tokenizer
from minigpt.cli.options import read_escapes


def test_generate():
    result = run("generate", "Once upon a time", "--seed", "1")
    assert result.returncode == 0 and result.stderr == ""
    assert result.stdout.startswith("Once upon a time") and len(result.stdout) > 100
    assert result.stdout == run("generate", "Once upon a time", "--seed", "1", "--no-stream").stdout
    assert result.stdout != run("generate", "Once upon a time", "--seed", "2").stdout
    assert run("generate", "-", "--seed", "1", stdin="Once upon a time\n").stdout == result.stdout


def test_without_a_number_the_text_goes_on_to_its_end_or_that_of_the_context():
    story = json.loads(run_here("generate", "Once upon a time", "--seed", "1", "--json").stdout)["continuations"][0]
    assert story["finish_reason"] == "eos" and "<|" not in story["text"]
    args = ["generate", "To be " * 60, "--json", "--greedy", "--model", SHAKESPEARE]
    room = 256 - len(Tokenizer.from_pretrained(SHAKESPEARE).encode("To be " * 60))
    assert 0 < room < 200
    assert len(json.loads(run_here(*args).stdout)["continuations"][0]["ids"]) == room
    assert len(json.loads(run_here(*args, "--slide").stdout)["continuations"][0]["ids"]) == 250


def test_every_option_reaches_the_model(shakespeare, shakespeare_tokenizer):
    from minigpt.generation.text import continue_text

    args = ["generate", "ROMEO:\n", "--json", "--max-new-tokens", "12", "--model", SHAKESPEARE]
    for options, flags in (
        ({"do_sample": False}, "--greedy"),
        ({"do_sample": False, "num_beams": 3, "length_penalty": 2.0, "early_stopping": True, "num_return_sequences": 2},
         "--num-beams 3 --length-penalty 2.0 --early-stopping --num-return-sequences 2"),
        ({"do_sample": True, "num_beams": 2, "seed": 1, "temperature": 0.8, "top_p": 0.95}, "--num-beams 2 --do-sample --seed 1"),
        ({"do_sample": True, "temperature": 1.5, "top_k": 7, "top_p": 0.6, "min_p": 0.01, "typical_p": 0.8, "seed": 4},
         "--temperature 1.5 --top-k 7 --top-p 0.6 --min-p 0.01 --typical-p 0.8 --seed 4"),
        ({"do_sample": False, "repetition_penalty": 1.5, "no_repeat_ngram_size": 2},
         "--greedy --repetition-penalty 1.5 --no-repeat-ngram-size 2"),
        ({"do_sample": False, "cache_dtype": "float16"}, "--greedy --cache-dtype float16"),
        ({"do_sample": False, "eos_token_id": [199, 10]}, "--greedy --eos-token-id 199 --eos-token-id 10"),
        ({"do_sample": False, "stop": ["e", "\n"]}, "--greedy --stop e --stop \n"),
        ({"do_sample": False, "stop": ["\n"]}, r"--greedy --stop \n"),
    ):  # fmt: skip
        shown = json.loads(run_here(*args, *flags.split(" ")).stdout)
        expected = continue_text(shakespeare, shakespeare_tokenizer, "ROMEO:\n", max_new_tokens=12, **options)
        assert [c["ids"] for c in shown["continuations"]] == [c.ids for c in expected], flags
        assert [c["text"] for c in shown["continuations"]] == [c.text for c in expected]
        assert [c["finish_reason"] for c in shown["continuations"]] == [c.finish_reason for c in expected]
        assert shown["prompt"] == "ROMEO:\n" and shown["model"] == SHAKESPEARE


def test_escapes_in_stop():
    def read(text):
        return read_escapes(None, None, (text,))[0]

    assert [read(r"\n"), read(r"a\tb"), read(r"\\n"), read(r"\\\n"), read(r"\x")] == [
        "\n",
        "a\tb",
        r"\n",
        "\\\n",
        r"\x",
    ]


def test_drafts():
    args = ["generate", "ROMEO: I am. JULIET: I am.", "--max-new-tokens", "40", "--model", SHAKESPEARE]
    text = run_here(*args, "--greedy").stdout
    assert run_here(*args, "--greedy", "--prompt-lookup-num-tokens", 5, "--max-matching-ngram-size", 3).stdout == text
    assert run_here(*args, "--greedy", "--assistant-model", SHAKESPEARE).stdout == text
    assert run_here(*args, "--seed", 1, "--assistant-model", SHAKESPEARE).stdout.startswith(args[1])
    fails_with("assistant_model has a vocabulary of", *args, "--assistant-model", "stories", run=run_here)
    for option in ("--prompt-lookup-num-tokens=5", f"--assistant-model={SHAKESPEARE}"):
        for several in ("--num-beams=2", "--num-return-sequences=2"):
            fails_with("is for one prompt and one continuation, without beams", *args, option, several, run=run_here)
    fails_with("no effect without --prompt-lookup", *args, "--max-matching-ngram-size", 3, run=run_here)
    fails_with("prompt_lookup_num_tokens must be", *args, "--prompt-lookup-num-tokens", 0, run=run_here)


def test_several_continuations():
    result = run("generate", "ROMEO:", "--num-return-sequences", "2", "--max-new-tokens", "5", "--seed", "1")
    assert result.stdout.startswith("--- 1 ---\nROMEO:") and "\n--- 2 ---\nROMEO:" in result.stdout


def test_an_empty_prompt_begins_from_nothing():
    assert len(run("generate", "", "--seed", "0", "--max-new-tokens", "20").stdout) > 10
    assert len(run("generate", "-", "--seed", "0", "--max-new-tokens", "20").stdout) > 10


def test_chinese_and_emoji_come_through():
    result = run("generate", "汉字 🤖", "--max-new-tokens", "5", "--seed", "0")
    assert result.returncode == 0 and result.stdout.startswith("汉字 🤖")


def test_slide_and_float64():
    args = ("generate", "ROMEO:", "--model", SHAKESPEARE)
    assert len(run_here(*args, "--slide", "--max-new-tokens", "400", "--seed", "0").stdout) > 400
    args = (*args, "--greedy", "--max-new-tokens", "10")
    assert run_here(*args, "--dtype", "float64").stdout == run_here(*args).stdout


def test_how_weights_are_kept_and_run():
    args = ["generate", "Once upon a time", "--greedy", "--max-new-tokens", "20"]
    exact = run_here(*args).stdout
    for options in (
        "--quantize int8",
        "--quantize int4",
        "--dtype bfloat16",
        "--quantize int8 --ops jit --threads 1",
        "--ops plain --threads 1",
    ):
        result = run_here(*args, *options.split())
        assert result.returncode == 0 and result.stderr == "" and len(result.stdout) > 20
        if "quantize" not in options and "bfloat16" not in options:
            assert result.stdout == exact


def test_a_prompt_that_is_too_long():
    fails_with("the model has 256 positions", "generate", "word " * 300)
