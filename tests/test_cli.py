"""The commands as a person runs them: each in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from reference import SHAKESPEARE

from minigpt import Tokenizer, stories

MINIGPT = [sys.executable, "-m", "minigpt.cli"]


def run(*args, stdin="", **options):
    options = {"text": True, "encoding": "utf-8", "timeout": 100, "input": stdin, **options}
    return subprocess.run([*MINIGPT, *args], capture_output=True, **options)


def fails_with(sentence, *args, **options):
    result = run(*args, **options)
    assert result.returncode == 2 and result.stdout == ""
    assert result.stderr.startswith("minigpt: ") and result.stderr.count("\n") == 1, result.stderr
    assert sentence in result.stderr


def test_generate():
    result = run("generate", "Once upon a time", "--seed", "1")
    assert result.returncode == 0 and result.stderr == ""
    assert result.stdout.startswith("Once upon a time") and len(result.stdout) > 100
    assert result.stdout == run("generate", "Once upon a time", "--seed", "1", "--no-stream").stdout
    assert result.stdout != run("generate", "Once upon a time", "--seed", "2").stdout
    assert run("generate", "-", "--seed", "1", stdin="Once upon a time\n").stdout == result.stdout


def test_where_the_output_has_another_encoding(tmp_path):
    (tmp_path / "anna.py").write_text("def softmax(x):\n    return x\n")
    environment = os.environ | {"PYTHONIOENCODING": "cp1252"}
    result = run("exercises", "check", str(tmp_path / "anna.py"), encoding="cp1252", env=environment)
    assert result.returncode == 1 and "softmax" in result.stdout and "?" in result.stdout and result.stderr == ""


def test_without_a_number_the_text_goes_on_to_its_end_or_that_of_the_context():
    story = json.loads(run("generate", "Once upon a time", "--seed", "1", "--json").stdout)["continuations"][0]
    assert story["finish_reason"] == "eos" and "<|" not in story["text"]
    args = ["generate", "To be " * 60, "--json", "--greedy", "--model", SHAKESPEARE]
    room = 256 - len(Tokenizer.from_pretrained(SHAKESPEARE).encode("To be " * 60))
    assert 0 < room < 200
    assert len(json.loads(run(*args).stdout)["continuations"][0]["ids"]) == room
    assert len(json.loads(run(*args, "--slide").stdout)["continuations"][0]["ids"]) == 250


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
        ({"do_sample": False, "eos_token_id": [199, 10]}, "--greedy --eos-token-id 199 --eos-token-id 10"),
        ({"do_sample": False, "stop": ["e", "\n"]}, "--greedy --stop e --stop \n"),
    ):  # fmt: skip
        shown = json.loads(run(*args, *flags.split(" ")).stdout)
        expected = continue_text(shakespeare, shakespeare_tokenizer, "ROMEO:\n", max_new_tokens=12, **options)
        assert [c["ids"] for c in shown["continuations"]] == [c.ids for c in expected], flags
        assert [c["text"] for c in shown["continuations"]] == [c.text for c in expected]
        assert [c["finish_reason"] for c in shown["continuations"]] == [c.finish_reason for c in expected]
        assert shown["prompt"] == "ROMEO:\n" and shown["model"] == SHAKESPEARE


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
    assert len(run(*args, "--slide", "--max-new-tokens", "400", "--seed", "0").stdout) > 400
    args = (*args, "--greedy", "--max-new-tokens", "10")
    assert run(*args, "--dtype", "float64").stdout == run(*args).stdout


def test_how_weights_are_kept_and_run():
    args = ["generate", "Once upon a time", "--greedy", "--max-new-tokens", "20"]
    exact = run(*args).stdout
    for options in (
        "--quantize int8",
        "--dtype bfloat16",
        "--quantize int8 --ops jit --threads 1",
        "--ops plain --threads 1",
    ):
        result = run(*args, *options.split())
        assert result.returncode == 0 and result.stderr == "" and len(result.stdout) > 20
        if "int8" not in options and "bfloat16" not in options:
            assert result.stdout == exact


def test_bench(tmp_path):
    text = tmp_path / "text"
    text.write_text("\n".join(story.text for story in stories.stories(5, seed=0)))
    shown = json.loads(run("bench", "--quantize", "int8", "--text", str(text), "--json").stdout)
    assert [m["work"] for m in shown["measurements"]] == ["prompt", "prompt", "new token", "new token"]
    assert [m["tokens"] for m in shown["measurements"]] == [32, 128, 32, 128]  # those that fit the context of 256
    for m in shown["measurements"]:
        assert m["milliseconds"] > 0 and m["share"] == pytest.approx(m["achieved"] / m["bound"])
    found = shown["agreement"]
    assert found["perplexity"] == pytest.approx(found["perplexity_float32"], rel=0.01)
    assert 1 < found["perplexity"] < 1000 and 0.9 < found["same_top_token"] <= 1
    table = run("bench", "--text", str(text)).stdout
    assert "tokens/s" in table and "(+0.00%); the same most probable token at 100.00%" in table
    fails_with("at least 2 are needed", "bench", "--text", os.devnull)


def test_without_the_kernels(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['minigpt.ops.jit'] = None\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "MINIGPT_OPS": ""}
    assert run("generate", "Once", "--max-new-tokens", "3", env=environment).returncode == 0
    fails_with("--ops plain needs no kernels", "generate", "Once", "--ops", "jit", env=environment)


def test_bench_draws_a_plot(tmp_path):
    pytest.importorskip("matplotlib")
    assert run("bench", "--plot", str(tmp_path / "plot.png")).returncode == 0
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    fails_with("plot.xyz: the name must end in one of", "bench", "--plot", "plot.xyz")


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="memory is read from /proc")
def test_ten_thousand_tokens_do_not_grow_memory():
    script = """
import re
from minigpt import GPT2
def memory():
    return int(re.search(r"VmRSS:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
model = GPT2.from_pretrained("stories")
options = {"max_new_tokens": 10_000, "slide": True, "do_sample": True, "seed": 0, "eos_token_id": None}
for n, _ in enumerate(model.stream([1, 2, 3], **options)):
    if n == 1000:
        before = memory()
print(memory() - before)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(result.stdout) < 4000  # kB; the cache alone of 10,000 tokens would be 40,000


def test_info():
    shown = run("info").stdout
    assert "stories: 1,029,888 parameters" in shown and "n_layer" in shown and "model.safetensors" in shown
    fields = json.loads(run("info", SHAKESPEARE, "--json").stdout)
    assert fields["parameters"] == 957_184 and fields["config"]["n_embd"] == 128
    assert fields["memory"]["float32"] == 4 * 957_184
    # Keys and values of 4 layers, 256 positions and 128 numbers each, in float32.
    assert fields["memory"]["full_cache"] == 2 * 4 * 256 * 128 * 4
    assert fields["files"]["model.safetensors"] < 3e6


def test_tokenize(shakespeare_tokenizer):
    shown = run("tokenize", "ROMEO: 🤖", "--model", SHAKESPEARE).stdout.splitlines()
    ids = shakespeare_tokenizer.encode("ROMEO: 🤖")
    assert [int(line.split()[0]) for line in shown[:-1]] == ids
    assert shown[-1] == f"{len(ids)} tokens, 8 characters"
    fields = json.loads(run("tokenize", "-", "--json", "--model", SHAKESPEARE, stdin="To be\n").stdout)
    assert fields["ids"] == shakespeare_tokenizer.encode("To be") and len(fields["pieces"]) == len(fields["ids"])


@pytest.mark.parametrize("command", [[], ["generate"], ["info"], ["tokenize"], ["bench"]])
def test_help_imports_nothing_heavy(command):
    code = """
import sys
sys.argv = ["minigpt", *{}, "--help"]
from minigpt.cli import main
try:
    main()
finally:
    heavy = {{"numpy", "tokenizers", "safetensors", "huggingface_hub", "numba", "torch"}} & set(sys.modules)
    print("heavy:", sorted(heavy))
"""
    result = subprocess.run([sys.executable, "-c", code.format(command)], capture_output=True, text=True)
    assert "Usage: minigpt" in result.stdout and result.stdout.endswith("heavy: []\n"), result.stderr


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("sentence", "args"),
    [
        ("no folder or model 'gpt9'", ["generate", "x", "--model", "gpt9"]),
        ("temperature must be a number from", ["generate", "x", "--temperature", "0"]),
        ("top_p must be a number from 0 to 1", ["generate", "x", "--top-p", "2"]),
        ("'many' is not a valid integer", ["generate", "x", "--top-k", "many"]),
        ("--temperature has no effect on --greedy", ["generate", "x", "--greedy", "--temperature", "0.5"]),
        ("--top-k has no effect on beam search", ["generate", "x", "--num-beams", "2", "--top-k", "5"]),
        ("greedy search has one result", ["generate", "x", "--greedy", "--num-return-sequences", "2"]),
        ("max_new_tokens is 300", ["generate", "x", "--max-new-tokens", "300"]),
        ("--early-stopping has no effect without --num-beams", ["generate", "x", "--early-stopping"]),
        ("stop needs texts that are not empty", ["generate", "x", "--stop", ""]),
        ("threads must be an integer from 1 to", ["generate", "x", "--threads", "0"]),
        ("choose int8 or float64", ["generate", "x", "--quantize", "int8", "--dtype", "float64"]),
        ("does not exist", ["bench", "--text", "nowhere"]),
        ("Missing argument 'PROMPT'", ["generate"]),
        ("No such option", ["generate", "x", "--nonsense"]),
        ("No such command 'sing'", ["sing"]),
        (
            "is not in the local cache, and the network is switched off",
            ["generate", "x", "--model", "gpt2", "--offline"],
        ),
        ("no folder or model", ["info", "nothing"]),
        ("no folder or model", ["tokenize", "x", "--model", "nothing"]),
    ],
)
def test_bad_input_is_one_line(sentence, args, tmp_path):
    fails_with(sentence, *args, env={**os.environ, "HF_HOME": str(tmp_path)})


def test_a_prompt_that_is_too_long():
    fails_with("the model has 256 positions", "generate", "word " * 300)


def test_standard_input_that_is_no_text():
    result = run("generate", "-", stdin=b"abc\xff", text=False, encoding=None)
    assert result.returncode == 2 and b"standard input is not UTF-8 text (byte 3)" in result.stderr


def test_a_prompt_argument_that_is_no_text():
    result = subprocess.run([*MINIGPT, "generate", b"abc\xff"], capture_output=True)
    assert result.returncode == 2 and result.stderr == b"minigpt: the prompt is not UTF-8 text (byte 3)\n"


def test_without_arguments_there_is_help():
    result = run()
    assert result.returncode == 2 and result.stderr.startswith("Usage: ") and result.stderr.count("\n") > 8


def test_closed_standard_streams():
    closed = subprocess.run(["sh", "-c", f"{MINIGPT[0]} -m minigpt.cli generate hi >&-"], capture_output=True)
    assert closed.returncode == 0 and closed.stderr == b""
    closed = subprocess.run(["sh", "-c", f"{MINIGPT[0]} -m minigpt.cli generate - <&-"], capture_output=True)
    assert closed.returncode == 2 and closed.stderr == b"minigpt: standard input is closed\n"


# ---------------------------------------------------------------- interruptions


def start(*args, **options):
    def hear_ctrl_c():  # whoever runs the tests in the background ignores it, and so would the command
        signal.signal(signal.SIGINT, signal.default_int_handler)

    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*MINIGPT, *args], **pipes, preexec_fn=hear_ctrl_c, **options)  # noqa: PLW1509


# Without end: no token has the id 5000.
LONG = ("generate", "Once", "--slide", "--max-new-tokens", "1000000", "--eos-token-id", "5000")


def test_ctrl_c_ends_cleanly():
    process = start(*LONG)
    assert process.stdout.read(20).startswith(b"Once")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130 and errors.strip() == b""


def test_a_closed_pipe_ends_quietly():
    process = start(*LONG)
    assert process.stdout.read(20)
    process.stdout.close()
    errors = process.stderr.read()
    assert process.wait(timeout=20) == 1 and errors == b""


def test_text_comes_as_it_is_made():
    process = start(*LONG)
    first = time.monotonic()
    assert process.stdout.read(100)
    assert process.poll() is None and time.monotonic() - first < 20
    process.kill()
    process.communicate()
