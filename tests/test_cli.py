"""The command line as a whole, as a person runs it: help, errors, streams, interruptions."""

import os
import signal
import subprocess
import sys
import time

import click
import pytest
from helpers import MINIGPT, fails_with, run, run_here

from minigpt.cli import cli


def test_python_runs_it_as_a_module():
    result = subprocess.run([*MINIGPT, "--version"], capture_output=True, text=True)
    assert result.returncode == 0 and "version" in result.stdout and result.stderr == ""
    # Importing it runs nothing.
    assert subprocess.run([sys.executable, "-c", "import minigpt.__main__"], capture_output=True).stdout == b""


def test_where_the_output_has_another_encoding(tmp_path):
    (tmp_path / "anna.py").write_text("def softmax(x):\n    return x\n")
    environment = os.environ | {"PYTHONIOENCODING": "cp1252"}
    result = run("exercises", "check", str(tmp_path / "anna.py"), encoding="cp1252", env=environment)
    assert result.returncode == 1 and "softmax" in result.stdout and "?" in result.stdout and result.stderr == ""


def test_without_the_kernels(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['minigpt.ops.jit'] = None\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "MINIGPT_OPS": ""}
    assert run("generate", "Once", "--max-new-tokens", "3", env=environment).returncode == 0
    fails_with("--ops plain needs no Numba", "generate", "Once", "--ops", "jit", env=environment)


def test_with_a_switched_off_compiler():
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "MINIGPT_OPS": ""}
    assert run("generate", "Once", "--max-new-tokens", "3", env=environment).returncode == 0
    fails_with("NUMBA_DISABLE_JIT switches off the compiler", "generate", "Once", "--ops", "jit", env=environment)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no signals to one process")
def test_ctrl_c_while_modules_are_imported():
    code = """
import os, signal, sys
class Interrupt:
    def find_spec(self, name, *_):
        if name == "click":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
from minigpt.__main__ import main
main()
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 130 and result.stderr == ""


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


def test_without_arguments_there_is_help():
    result = run()
    assert result.returncode == 2 and result.stderr.startswith("Usage: ") and result.stderr.count("\n") > 8


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
        ("Invalid value for 'FOLDER': it is empty", ["exercises", "start", ""]),
        ("no folder or model ''", ["info", ""]),
        ("threads must be an integer from 1 to", ["generate", "x", "--threads", "0"]),
        ("choose int8 or float64", ["generate", "x", "--quantize", "int8", "--dtype", "float64"]),
        ("does not exist", ["bench", "--text", "nowhere"]),
        ("Missing argument 'PROMPT'", ["generate"]),
        ("No such option", ["generate", "x", "--nonsense"]),
        ("-5", ["generate", "-5 degrees"]),
        (". A text that begins with - goes behind --", ["generate", "-5 degrees"]),
        ("A text that begins with - goes behind --", ["generate", "- one"]),
        ("A text that begins with - goes behind --", ["tokenize", "--- x"]),
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


def options_with_a_value(command, path=()):
    """Yield the words of every option that takes a value, such as ("exercises", "grade", "--csv")."""
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.is_flag:
            yield *path, parameter.opts[0]
    for name, inner in getattr(command, "commands", {}).items():
        yield from options_with_a_value(inner, (*path, name))


def test_an_empty_option_is_refused():
    all_options = list(options_with_a_value(cli))
    assert (
        ("step", "--html") in all_options and ("exercises", "grade", "--csv") in all_options and len(all_options) > 60
    )
    for words in all_options:
        fails_with(f"Invalid value for '{words[-1]}': ", *words, "", run=run_here)
    fails_with("Invalid value for '--stop': it is empty", "generate", "x", "--stop", "a", "--stop", "", run=run_here)
    assert run_here("tokenize", "").returncode == 0  # a text may be empty


def test_standard_input_that_is_no_text():
    result = run("generate", "-", stdin=b"abc\xff", text=False, encoding=None)
    assert result.returncode == 2 and b"standard input is not UTF-8 text (byte 3)" in result.stderr


def test_a_prompt_argument_that_is_no_text():
    result = subprocess.run([*MINIGPT, "generate", b"abc\xff"], capture_output=True)
    assert result.returncode == 2 and result.stderr == b"minigpt: the prompt is not UTF-8 text (byte 3)\n"


def test_closed_standard_streams():
    closed = subprocess.run(["sh", "-c", f"{MINIGPT[0]} -m minigpt generate hi >&-"], capture_output=True)
    assert closed.returncode == 0 and closed.stderr == b""
    closed = subprocess.run(["sh", "-c", f"{MINIGPT[0]} -m minigpt generate - <&-"], capture_output=True)
    assert closed.returncode == 2 and closed.stderr == b"minigpt: standard input is closed\n"


# Without end: no token has the id 5000.
ENDLESS = ("generate", "Once", "--slide", "--max-new-tokens", "1000000", "--eos-token-id", "5000")


def start(*args, **options):
    def hear_ctrl_c():
        # Tests that run in the background ignore Ctrl-C, and a process inherits that.
        signal.signal(signal.SIGINT, signal.default_int_handler)

    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*MINIGPT, *args], **pipes, preexec_fn=hear_ctrl_c, **options)  # noqa: PLW1509


def test_ctrl_c_ends_cleanly():
    process = start(*ENDLESS)
    assert process.stdout.read(20).startswith(b"Once")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130 and errors.strip() == b""


def test_a_closed_pipe_ends_quietly():
    process = start(*ENDLESS)
    assert process.stdout.read(20)
    process.stdout.close()
    errors = process.stderr.read()
    assert process.wait(timeout=20) == 1 and errors == b""


def test_text_comes_as_it_is_made():
    process = start(*ENDLESS)
    first = time.monotonic()
    assert process.stdout.read(100)
    assert process.poll() is None and time.monotonic() - first < 20
    process.kill()
    process.communicate()
