"""The command line: minigpt generate, train, eval, stories, exercises, info, tokenize, step, bench.

Each command imports what it needs when it runs, so that --help answers at once.
"""

import io
import re
import signal
import sys

import click

from minigpt import __version__
from minigpt.cli import classroom, generate, look, measure, stories, train
from minigpt.cli.options import refuse_empty_options


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli():
    """GPT-2 from scratch in NumPy: generate text, train models, look inside."""


for command in (
    generate.generate,
    train.train,
    measure.evaluate,
    measure.bench,
    look.info,
    look.tokenize,
    look.step,
    stories.stories,
    classroom.exercises,
):
    cli.add_command(command)
refuse_empty_options(cli)


def main():
    """Run a command. An error becomes one line on standard error and exit code 2, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Characters that the encoding of a file or terminal lacks are written as "?".
            stream.reconfigure(errors="replace")
    try:
        cli(standalone_mode=False)  # click itself exits quietly when the output pipe is closed
    except (KeyboardInterrupt, click.Abort):
        sys.exit(128 + signal.SIGINT)
    except click.exceptions.NoArgsIsHelpError as error:  # the help, with all its lines
        click.echo(error.format_message(), err=True)
        sys.exit(2)
    except click.NoSuchOption as error:
        is_text = not re.fullmatch(r"--[a-z][a-z-]*", error.option_name)
        _exit_with(
            error.format_message().removesuffix(".")
            + ". A text that begins with - goes behind --, as in: -- '-5 degrees'" * is_text
        )
    except click.ClickException as error:
        _exit_with(error.format_message())
    except ImportError as error:
        _exit_with(
            f"{error}: install what is missing, or leave out the option that needs it; --ops plain needs no Numba"
        )
    except MemoryError as error:
        _exit_with(f"not enough memory: {error}")
    except (ValueError, OSError) as error:
        _exit_with(str(error))


def _exit_with(message):
    click.echo(f"minigpt: {' '.join(message.split())}", err=True)
    sys.exit(2)
