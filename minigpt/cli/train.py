"""minigpt train: train a model on text, or fine-tune one."""

from dataclasses import fields
from typing import get_args, get_origin

import click

from minigpt.cli.options import refuse, with_options
from minigpt.cli.output import require_plottable, write
from minigpt.training.settings import PRESETS, RANDOM_MODEL_SETTINGS, Settings

RESUMED_WITH = ("steps", "lr")  # settings that --resume can change


def option_of(field):
    """Return the click option of a field of Settings. It has no default: defaults come from the preset."""
    inner_types = get_args(field.type) or (field.type,)  # str | None: (str, NoneType); tuple[str, ...]: (str, ...)
    kind = inner_types[0]
    if "choices" in field.metadata:
        kind = click.Choice(field.metadata["choices"])
    elif field.metadata.get("metavar") == "PATH":
        kind = click.Path()
    return click.option(
        f"--{field.name.replace('_', '-')}",
        type=kind,
        metavar=field.metadata.get("metavar"),
        multiple=get_origin(field.type) is tuple,
        help=field.metadata["help"],
    )


@click.command()
@click.option("--out", type=click.Path(file_okay=False), help="The folder of the new training.")
@click.option(
    "--resume",
    type=click.Path(file_okay=False),
    help="Continue the training in this folder; with --steps or --lr, also a finished one.",
)
@click.option(
    "--preset",
    type=click.Choice([*PRESETS]),
    help="Take options that are not given from this preset. Default: char, or finetune with --init.",
)
@click.option("--plot", type=click.Path(dir_okay=False, writable=True), help="Draw the losses to this file at the end.")
@with_options(*map(option_of, fields(Settings)))
def train(out, resume, preset, plot, **settings):
    """Train a model on text, or fine-tune one with --init. The folder holds the best one: --model FOLDER runs it."""
    given = {name: value for name, value in settings.items() if value not in (None, ())}
    if (out is None) == (resume is None):
        raise click.UsageError("give either --out FOLDER, for a new training, or --resume FOLDER")
    if resume:
        refuse(
            click.get_current_context(),
            ["preset", *(name for name in settings if name not in RESUMED_WITH)],
            "has no effect with --resume: of its settings, a training can change --steps and --lr",
        )
    if plot:
        require_plottable(plot)
    from minigpt.training.trainer import Training

    if given.get("init"):
        for name in RANDOM_MODEL_SETTINGS:
            if name in given:
                raise click.UsageError(f"--{name.replace('_', '-')} has no effect with --init")
    training = (
        Training.resume(resume, **given) if resume else Training.start(out, Settings.from_preset(preset, **given))
    )
    for name, (old, new) in training.changed.items():
        click.echo(f"from step {training.step + 1:,} on: {name} {new:g}, until now {old:g}", err=True)
    run_with_progress(training)
    if plot:
        from minigpt.looking import loss_curves
        from minigpt.looking.figures import save_figure

        save_figure(loss_curves(training.folder).plot(), plot)
    write(f"validation loss {training.best:.4f}; run it: minigpt generate TEXT --model {training.folder}\n")


def run_with_progress(training):
    """Run a training with a progress bar; print a line for each measurement, with a sample if one is wanted."""
    from tqdm import tqdm

    steps = training.settings.steps
    with tqdm(total=steps, initial=training.step, unit="step", disable=None) as bar:
        postfix = {}

        def report(line):
            postfix.update(loss=f"{line['loss']:.3f}", tokens_per_second=line["tokens_per_second"])
            if "validation_loss" in line:
                postfix["validation"] = f"{line['validation_loss']:.4f}"
                bar.write(
                    f"step {line['step']:,} of {steps:,}: loss {line['loss']:.4f}, "
                    f"validation {line['validation_loss']:.4f}, {line['tokens_per_second']:,} tokens/s"
                )
                if training.settings.sample_tokens:
                    bar.write(training.sample())
            bar.set_postfix(postfix, refresh=False)
            bar.update(line["step"] - bar.n)

        try:
            training.run(report)
        except KeyboardInterrupt:
            bar.close()
            click.echo(f"minigpt: stopped at step {training.step:,}; to continue: --resume {training.folder}", err=True)
            raise
