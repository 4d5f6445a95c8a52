"""minigpt stories: draw stories from the grammar, check texts by it, judge models by it."""

import sys
from pathlib import Path

import click

from minigpt.cli.options import is_given, json_option, load_model, load_tokenizer, read_prompt
from minigpt.cli.output import print_json, progress, write

JUDGED_STORIES = 1000  # the default of --count with --judge


@click.command()
@click.option("--count", type=int, default=3, show_default=True, help="Number of stories.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same stories.")
@click.option("--out", type=click.Path(dir_okay=False), help="Write the stories to this file: a text to train on.")
@click.option(
    "--check",
    "to_check",
    metavar="FILE",
    help='Check whether the texts of this file ("-": standard input) are stories of the grammar; show the errors.',
)
@click.option(
    "--judge",
    "model",
    metavar="MODEL",
    help="Measure how near MODEL comes to the best possible, on --count stories (default: 1000).",
)
@click.option(
    "--temperature",
    type=float,
    default=1.0,
    show_default=True,
    help="The temperature at which --judge draws MODEL's stories.",
)
@json_option
@click.pass_context
def stories(context, count, seed, out, to_check, model, temperature, as_json):
    """Draw children's stories from a grammar whose entropy is known; check texts and judge models by it."""
    if sum(map(bool, (out, to_check, model))) > 1:
        raise click.UsageError("choose one of --out, --check and --judge")
    if to_check:
        check_texts(to_check, as_json)
    elif model:
        judge_model(model, count if is_given(context, "count") else JUDGED_STORIES, seed, temperature, as_json)
    elif out:
        write_stories(out, count, seed)
    else:
        print_stories(count, seed, as_json)


def print_stories(count, seed, as_json):
    """Print stories with their probabilities."""
    from minigpt import stories as grammar

    drawn = list(grammar.stories(count, seed))
    if as_json:
        print_json([{"text": story.text, "logprob": story.logprob} for story in drawn])
        return
    for story in drawn:
        write(f"{story.text}\n(log p = {story.logprob:.3f})\n\n")
    size = f"{grammar.number_of_stories():.1e} stories of {len(grammar.words())} words"
    write(f"{size}; entropy {grammar.entropy():.4f} nats a story\n")


def write_stories(out, count, seed):
    """Write stories to a file, as a text to train on."""
    from minigpt import stories as grammar
    from minigpt.files import write_file

    drawn = grammar.stories(count, seed)

    def write_all(path):
        with path.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{story.text}{grammar.SEPARATOR}" for story in progress(drawn, count, "story"))

    write_file(Path(out), write_all)


def check_texts(path, as_json):
    """Print which texts of a file are stories of the grammar; exit with 1 unless all are."""
    from minigpt import stories as grammar
    from minigpt.files import read_text

    text = read_prompt("-") if path == "-" else read_text(path)
    texts = [part.strip("\n") for part in text.split(grammar.SEPARATOR)]
    problems = [grammar.find_problem(part) for part in texts if part]
    if as_json:
        print_json([None if problem is None else str(problem) for problem in problems])
    else:
        for number, problem in enumerate(problems, 1):
            if problem:
                write(f"story {number}: {problem}\n")
        write(f"{problems.count(None):,} of {len(problems):,} are stories of the grammar\n")
    if problems.count(None) < len(problems):
        sys.exit(1)


def judge_model(name, count, seed, temperature, as_json):
    """Print how near a model comes to the best possible."""
    from minigpt import stories as grammar
    from minigpt.stories.judge import judge

    model, tokenizer = load_model(name, ops="jit", dtype="float32"), load_tokenizer(name)
    result = judge(model, tokenizer, count, seed, temperature)
    if as_json:
        wrong = [{"text": text, "problem": str(problem)} for text, problem in result.wrong]
        of_loss = {"loss": result.loss, "best": result.best, "entropy": grammar.entropy(), "excess": result.excess}
        of_stories = {"temperature": temperature, "accepted": result.accepted, "wrong": wrong}
        print_json({"model": name, "count": count} | of_loss | of_stories)
        return
    at_temperature = "" if temperature == 1 else f" at temperature {temperature:g}"
    write(
        f"loss on {count:,} new stories: {result.loss:.2f} nats a story; the grammar's own: {result.best:.2f}, on "
        f"average {grammar.entropy():.2f}; {result.excess:.1%} above the best possible\n"
        f"of the model's own {count:,} stories{at_temperature}, {result.accepted:.1%} are stories of the grammar\n"
    )
    for _, problem in result.wrong[:3]:
        write(f"  {problem}\n")
