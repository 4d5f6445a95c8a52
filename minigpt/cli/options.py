"""Options that several commands share, and the prompt, model and tokenizer that they name."""

import os
import re
import sys

import click

from minigpt.bundled import DEFAULT_MODEL


def with_options(*options):
    """Return a decorator that adds click options to a command, in this order."""

    def decorate(command):
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


model_argument = click.argument("model", default=DEFAULT_MODEL)
model_option = click.option(
    "--model",
    default=DEFAULT_MODEL,
    show_default=True,
    help="A bundled model, a folder, or a hub model: gpt2, gpt2-medium, gpt2-large, gpt2-xl, distilgpt2, user/model.",
)
offline_option = click.option("--offline", is_flag=True, help="Use the local cache only, never the network.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
run_options = with_options(
    click.option(
        "--quantize",
        type=click.Choice(["int8", "int4"]),
        help="Keep the weights in 8 or 4 bits: fast, little memory; 4 bits are the fastest and the least exact.",
    ),
    click.option(
        "--dtype",
        type=click.Choice(["float32", "float64", "bfloat16"]),
        help="How to keep the weights; bfloat16 halves them. Default: float32, or that of the file.",
    ),
    click.option(
        "--activations",
        type=click.Choice(["int8", "bfloat16"]),
        help="Round the inputs of a prompt's products like the weights: faster, less exact.",
    ),
    click.option(
        "--ops",
        type=click.Choice(["auto", "plain", "jit"]),
        default="auto",
        show_default=True,
        help="plain: NumPy formulas; jit: compiled kernels, waiting for the compiler; auto: what suits the model.",
    ),
    click.option("--threads", type=int, help="Number of cores to use. Default: all physical ones."),
)


def is_given(context, name):
    """Return whether the option of that name was given on the command line."""
    return context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def refuse(context, names, reason):
    """Raise a UsageError if one of these options is given."""
    for name in names:
        if is_given(context, name):
            raise click.UsageError(f"--{name.replace('_', '-')} {reason}")


def refuse_empty(context, parameter, value):
    """Return the value of a parameter; a click callback. Raises BadParameter if it is, or has, an empty text."""
    if value == "" or (isinstance(value, tuple) and "" in value):
        raise click.BadParameter("it is empty", context, parameter)
    return value


def read_escapes(context, parameter, value):
    r"""Return texts with a new line for \n, a tab for \t, a backslash for \\; a click callback."""
    meanings = {"n": "\n", "t": "\t", "\\": "\\"}
    texts = refuse_empty(context, parameter, value)
    return tuple(re.sub(r"\\([nt\\])", lambda match: meanings[match[1]], text) for text in texts)


def refuse_empty_options(command):
    """Let every option of a command, and of the commands below it, refuse an empty text: nobody means that."""
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.callback is None:
            parameter.callback = refuse_empty
    for inner in getattr(command, "commands", {}).values():
        refuse_empty_options(inner)


def read_prompt(prompt):
    """Return the text to work on: the argument itself or, for "-", standard input without its last newline."""
    source = "standard input" if prompt == "-" else "the prompt"
    if prompt == "-" and sys.stdin is None:
        raise click.UsageError("standard input is closed")
    try:
        if prompt == "-":
            return sys.stdin.buffer.read().decode("utf-8").removesuffix("\n").removesuffix("\r")
        return os.fsencode(prompt).decode("utf-8")
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{source} is not UTF-8 text (byte {error.start})") from error


def load_model(name, *, offline=False, threads=None, **options):
    """Load the model of that name, after tuning the process, which on the command line is minigpt's own."""
    from minigpt import GPT2
    from minigpt.ops import tune_process

    tune_process(threads)
    return GPT2.from_pretrained(name, local_files_only=offline, **options)


def load_tokenizer(name, *, offline=False):
    """Load the tokenizer of the model of that name."""
    from minigpt import Tokenizer

    return Tokenizer.from_pretrained(name, local_files_only=offline)
