"""The commands: minigpt generate, train, eval, stories, exercises, info, tokenize, step, bench.

Heavy imports stand inside the commands, so that --help answers at once.
"""

import io
import json
import os
import signal
import sys
from pathlib import Path

import click

from minigpt import __version__
from minigpt.bundled import DEFAULT_MODEL

BEAMS = ("length_penalty", "early_stopping")
MOST = 250  # tokens that generate adds if nothing is said
SAMPLING = ("temperature", "top_k", "top_p", "min_p", "typical_p")

model_option = click.option(
    "--model",
    default=DEFAULT_MODEL,
    show_default=True,
    help="A bundled model, a folder, or a hub model: gpt2, gpt2-medium, gpt2-large, gpt2-xl, distilgpt2, user/model.",
)
offline_option = click.option("--offline", is_flag=True, help="Use the local cache only, never the network.")
run_options = (
    click.option("--quantize", type=click.Choice(["int8"]), help="Keep the weights in 8 bits: fastest, least memory."),
    click.option(
        "--dtype",
        type=click.Choice(["float32", "float64", "bfloat16"]),
        help="How to keep the weights; bfloat16 halves them. Default: float32, or the bfloat16 or int8 of the file.",
    ),
    click.option(
        "--ops",
        type=click.Choice(["auto", "plain", "jit"]),
        default="auto",
        show_default=True,
        help="plain NumPy formulas, compiled kernels (waiting for the compiler), or what suits the model.",
    ),
    click.option("--threads", type=int, help="How many cores to use. Default: all physical ones."),
)


def with_run_options(command):
    """A command that is told how to run a model."""
    for option in reversed(run_options):
        command = option(command)
    return command


json_option = click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli():
    """GPT-2 from scratch in NumPy: generate text, look at models and tokens."""


@cli.command()
@click.argument("prompt")
@model_option
@click.option("--max-new-tokens", type=int, help="How many tokens to add at most. Default: 250, or what fits.")
@click.option("--do-sample/--greedy", default=None, help="Draw tokens (default), or always take the most probable one.")
@click.option("--temperature", type=float, default=0.8, show_default=True, help="Below 1: safer; above 1: wilder.")
@click.option("--top-k", type=int, default=50, show_default=True, help="Draw from the k most probable tokens; 0: all.")
@click.option("--top-p", type=float, default=0.95, show_default=True, help="Draw from the tokens that hold this mass.")
@click.option("--min-p", type=float, help="Draw from tokens with at least this share of the best one's probability.")
@click.option("--typical-p", type=float, help="Draw from the tokens of typical surprise that hold this mass.")
@click.option("--repetition-penalty", type=float, default=1.0, show_default=True, help="Above 1: repeat fewer tokens.")
@click.option("--no-repeat-ngram-size", type=int, default=0, help="No run of so many tokens twice.")
@click.option("--num-beams", type=int, default=1, show_default=True, help="Above 1: beam search.")
@click.option("--length-penalty", type=float, default=1.0, show_default=True, help="Beams: above 0 favours long texts.")
@click.option("--early-stopping", is_flag=True, help="Beams: stop when there are as many finished texts as beams.")
@click.option("--num-return-sequences", type=int, default=1, show_default=True, help="How many continuations.")
@click.option("--stop", multiple=True, metavar="TEXT", help="End before this text. May be given several times.")
@click.option("--eos-token-id", type=int, multiple=True, help="A token that ends the text, for the model's own.")
@click.option("--seed", type=int, help="The same seed gives the same text.")
@click.option("--slide", is_flag=True, help="Run on past the context: when it is full, drop its older half.")
@with_run_options
@offline_option
@json_option
@click.option("--no-stream", is_flag=True, help="Print the text when it is complete, not as it comes.")
@click.pass_context
def generate(
    context,
    prompt,
    model,
    max_new_tokens,
    stop,
    eos_token_id,
    quantize,
    dtype,
    ops,
    threads,
    offline,
    as_json,
    no_stream,
    **options,
):
    """Continue PROMPT ("-" reads it from standard input, without its last newline; "" begins from nothing)."""
    if options["do_sample"] is None:
        options["do_sample"] = options["num_beams"] == 1
    if not options["do_sample"]:
        search = "--greedy" if options["num_beams"] == 1 else "beam search without --do-sample"
        _refuse(context, SAMPLING, f"has no effect on {search}")
    if options["num_beams"] == 1:
        _refuse(context, BEAMS, "has no effect without --num-beams")
    if eos_token_id:
        options["eos_token_id"] = list(eos_token_id)
    prompt = _prompt(prompt)

    from minigpt import GPT2, GenerationConfig, Tokenizer
    from minigpt.generation.text import continue_text, encode_prompt

    if max_new_tokens is not None:
        options["max_new_tokens"] = max_new_tokens
    GenerationConfig(**options)  # complains about the options before anything is loaded or downloaded
    gpt2 = GPT2.from_pretrained(
        model, ops=ops, quantize=quantize, dtype=dtype, threads=threads, local_files_only=offline
    )
    tokenizer = Tokenizer.from_pretrained(model, local_files_only=offline)
    if max_new_tokens is None:
        room = (
            MOST if options["slide"] else gpt2.config.n_positions - len(encode_prompt(tokenizer, prompt, gpt2.config))
        )
        options["max_new_tokens"] = min(MOST, max(1, room))
    streaming = not (as_json or no_stream) and options["num_return_sequences"] == options["num_beams"] == 1
    continuations = continue_text(gpt2, tokenizer, prompt, stop=stop, streaming=streaming, **options)
    if as_json:
        fields = [{"text": c.text, "ids": c.ids, "finish_reason": c.finish_reason} for c in continuations]
        _print_json({"model": model, "prompt": prompt, "continuations": fields})
    elif streaming:
        _write(prompt)
        for piece in continuations[0]:
            _write(piece)
        _write("\n")
    else:
        for number, continuation in enumerate(continuations, 1):
            if len(continuations) > 1:
                _write(f"--- {number} ---\n")
            _write(f"{prompt}{continuation.text}\n")


def _refuse(context, names, reason):
    for name in names:
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{name.replace('_', '-')} {reason}")


def _prompt(prompt):
    """The text to work on: the argument itself, or standard input without its last newline."""
    source = "standard input" if prompt == "-" else "the prompt"
    if prompt == "-" and sys.stdin is None:
        raise click.UsageError("standard input is closed")
    try:
        if prompt == "-":
            return sys.stdin.buffer.read().decode("utf-8").removesuffix("\n").removesuffix("\r")
        return os.fsencode(prompt).decode("utf-8")
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{source} is not UTF-8 text (byte {error.start})") from error


@cli.command()
@click.argument("model", default=DEFAULT_MODEL)
@offline_option
@json_option
def info(model, offline, as_json):
    """What MODEL is: its configuration, its size, and where its files are. Downloads no weights."""
    import weights_loader
    from minigpt import GPT2Config
    from minigpt.bundled import bundled_folder

    folder = bundled_folder(model) or weights_loader.locate_config(model, local_files_only=offline)
    config = GPT2Config.from_pretrained(folder)
    parameters = config.parameter_count()
    suffixes = (".json", ".safetensors", ".txt")
    files = {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.suffix in suffixes}
    cache = 2 * config.n_layer * config.n_positions * config.n_embd * 4
    if as_json:
        fields = {"model": model, "folder": str(folder), "files": files, "parameters": parameters}
        _print_json(fields | {"memory": {"float32": 4 * parameters, "full_cache": cache}, "config": config.to_dict()})
        return
    _write(f"{model}: {parameters:,} parameters\n\n")
    for name, value in config.to_dict().items():
        _write(f"  {name:32}{value}\n")
    _write(
        f"\nmemory in float32: {_size(4 * parameters)} of parameters, {_size(cache)} for the cache of a full context\n"
    )
    _write(f"folder: {folder}\n")
    for name, size in files.items():
        _write(f"  {name:32}{_size(size)}\n")
    if not any(name.endswith(".safetensors") for name in files):
        _write("  (no weights here; those of a hub model come when generate needs them)\n")


@cli.command()
@click.argument("text")
@model_option
@offline_option
@json_option
def tokenize(text, model, offline, as_json):
    """Show the tokens of TEXT ("-" reads it from standard input): the id of each and its piece of the vocabulary."""
    text = _prompt(text)
    from minigpt import Tokenizer

    tokenizer = Tokenizer.from_pretrained(model, local_files_only=offline)
    ids = tokenizer.encode(text)
    if as_json:
        _print_json({"model": model, "text": text, "ids": ids, "pieces": tokenizer.pieces(ids)})
        return
    for token_id, piece in zip(ids, tokenizer.pieces(ids), strict=True):
        _write(f"{token_id:>7}  {piece}\n")
    _write(f"{len(ids)} tokens, {len(text)} characters\n")


@cli.command()
@model_option
@with_run_options
@click.option(
    "--text",
    type=click.Path(exists=True, dir_okay=False),
    help="Also hold the packed weights against float32 on a text.",
)
@click.option("--plot", type=click.Path(dir_okay=False, writable=True), help="Draw the table to this file.")
@offline_option
@json_option
def bench(model, quantize, dtype, ops, threads, text, plot, offline, as_json):
    """How fast MODEL runs here, beside what the machine's memory and BLAS allow."""
    from minigpt import GPT2, Tokenizer
    from minigpt import bench as benchmarks
    from minigpt.ops.threads import get_threads

    if plot:
        _check_plot(plot)
    gpt2 = GPT2.from_pretrained(
        model, ops=ops, quantize=quantize, dtype=dtype, threads=threads, local_files_only=offline
    )
    measurements = benchmarks.bench(gpt2)
    agreement = None
    if text:
        ids = Tokenizer.from_pretrained(model, local_files_only=offline).encode(_read_text(text))
        if len(ids) < 2:
            raise click.UsageError(f"{text} has {len(ids)} tokens: at least 2 are needed")
        exact = GPT2.from_pretrained(model, ops=ops, dtype="float32", threads=threads, local_files_only=offline)
        agreement = benchmarks.agreement(gpt2, exact, ids)
    if plot:
        benchmarks.plot(measurements, plot)
    if as_json:
        fields = {"model": model, "threads": get_threads(), "measurements": benchmarks.as_dicts(measurements)}
        _print_json(fields | ({"agreement": vars(agreement)} if agreement else {}))
        return
    _write(benchmarks.as_table(measurements) + "\n")
    if agreement:
        change = agreement.perplexity / agreement.perplexity_float32 - 1
        _write(
            f"\nperplexity {agreement.perplexity:.3f}, in float32 {agreement.perplexity_float32:.3f} ({change:+.2%}); "
            f"the same most probable token at {agreement.same_top_token:.2%} of {agreement.tokens:,} places\n"
        )


@cli.command()
@click.argument("text")
@model_option
@click.option("--layer", type=int, default=0, show_default=True, help="The block to show in full.")
@click.option("--all", "everything", is_flag=True, help="Show every block in full.")
@offline_option
@json_option
def step(text, model, layer, everything, offline, as_json):
    """Walk through the forward pass on TEXT ("-": standard input): each activation and the line that made it."""
    text = _prompt(text)
    from minigpt import GPT2, Tokenizer
    from minigpt import step as walk

    gpt2 = GPT2.from_pretrained(model, local_files_only=offline)
    steps = walk(gpt2, Tokenizer.from_pretrained(model, local_files_only=offline), text)
    if as_json:
        names = ("name", "formula", "meaning", "shape", "file", "line", "source")
        fields = [{name: getattr(step, name) for name in names} for step in steps]
        _print_json({"model": model, "tokens": steps.tokens, "steps": fields, "next_tokens": steps.next_tokens})
        return
    _write(steps.as_text(layer, everything) + "\n")


# The defaults are the preset's, in training/trainer.py.
SETTINGS = (
    click.option("--text", multiple=True, type=click.Path(), help="A text to train on. May be given several times."),
    click.option("--data", type=click.Path(), help='Lines {"prompt": ..., "completion": ...}: learn the completions.'),
    click.option("--validation", type=click.Path(), help="What to measure on. Default: the last tenth."),
    click.option("--init", metavar="MODEL", help="Begin with this model in place of a random one: fine-tuning."),
    click.option("--tokenizer", metavar="char|bpe:SIZE|gpt2", help="For a random model."),
    click.option("--n-layer", type=int, help="Blocks of a random model."),
    click.option("--n-head", type=int, help="Its heads."),
    click.option("--n-embd", type=int, help="Its width."),
    click.option(
        "--initializer-range",
        type=float,
        help="Its matrices' standard deviation. A narrow one learns sooner with 1/sqrt(width).",
    ),
    click.option("--block-size", type=int, help="Tokens of a sequence."),
    click.option("--batch-size", type=int, help="Sequences of a batch."),
    click.option("--steps", type=int, help="How long to train."),
    click.option("--lr", type=float, help="The highest learning rate."),
    click.option("--min-lr", type=float, help="The last one."),
    click.option("--warmup", type=int, help="Steps until the highest one."),
    click.option("--beta2", type=float, help="AdamW's beta2: how long it remembers squared gradients."),
    click.option("--weight-decay", type=float, help="Of matrices."),
    click.option("--grad-clip", type=float, help="Shorten a gradient that is longer."),
    click.option("--grad-accum", type=int, help="Batches of a step."),
    click.option("--dropout", type=float, help="The share of numbers that are set to 0."),
    click.option("--eval-every", type=int, help="Steps between measurements; then it is saved, too."),
    click.option("--eval-batches", type=int, help="Batches of a measurement."),
    click.option("--sample-tokens", type=int, help="At each measurement, print a text of so many tokens."),
    click.option("--seed", type=int, help="The same seed and threads give the same model, bit for bit."),
    click.option("--threads", type=int, help="How many cores to use. Default: all physical ones."),
    click.option("--ops", type=click.Choice(["plain", "jit"]), help="Formulas, or compiled kernels (default)."),
)


def with_settings(command):
    """A command that is told the settings of a training."""
    for option in reversed(SETTINGS):
        command = option(command)
    return command


@cli.command()
@click.option("--out", type=click.Path(file_okay=False), help="The folder of the new training.")
@click.option("--resume", type=click.Path(file_okay=False), help="Go on with the training of this folder.")
@click.option(
    "--preset",
    type=click.Choice(["nano", "char", "gpt2", "finetune"]),
    help="What the other options do not say. Default: char, with --init finetune.",
)
@click.option("--plot", type=click.Path(dir_okay=False, writable=True), help="Draw the losses to this file at the end.")
@with_settings
def train(out, resume, preset, plot, **settings):
    """Train a model on text, or fine-tune one with --init. The best one is in the folder: --model FOLDER runs it."""
    given = {name: value for name, value in settings.items() if value not in (None, ())}
    if (out is None) == (resume is None):
        raise click.UsageError("give either --out FOLDER, for a new training, or --resume FOLDER")
    if resume and (given or preset):
        raise click.UsageError("--resume goes on as the training began: it takes no settings")
    if plot:
        _check_plot(plot)
    from tqdm import tqdm

    from minigpt.training.trainer import Settings, Training

    if given.get("init"):
        for name in ("tokenizer", "n_layer", "n_head", "n_embd", "initializer_range"):
            if name in given:
                raise click.UsageError(f"--{name.replace('_', '-')} has no effect with --init")
    training = Training.resume(resume) if resume else Training.start(out, Settings.from_preset(preset, **given))
    steps = training.settings.steps
    with tqdm(total=steps, initial=training.step, unit="step", disable=None) as bar:
        shown = {}

        def report(line):
            shown.update(loss=f"{line['loss']:.3f}", tokens_per_second=line["tokens_per_second"])
            if "validation_loss" in line:
                shown["validation"] = f"{line['validation_loss']:.4f}"
                text = f"step {line['step']:,} of {steps:,}: loss {line['loss']:.4f}, "
                bar.write(f"{text}validation {line['validation_loss']:.4f}, {line['tokens_per_second']:,} tokens/s")
                if training.settings.sample_tokens:
                    bar.write(training.sample())
            bar.set_postfix(shown, refresh=False)
            bar.update(line["step"] - bar.n)

        try:
            training.run(report)
        except KeyboardInterrupt:
            bar.close()
            click.echo(f"minigpt: stopped at step {training.step:,}; go on: --resume {training.folder}", err=True)
            raise
    if plot:
        from minigpt.looking import loss_curves
        from minigpt.looking.figures import save_figure

        save_figure(loss_curves(training.folder).plot(), plot)
    _write(f"validation loss {training.best:.4f}; run it: minigpt generate TEXT --model {training.folder}\n")


@cli.command("eval")
@click.argument("model", default=DEFAULT_MODEL)
@click.option("--text", required=True, type=click.Path(exists=True, dir_okay=False), help="The text to predict.")
@click.option("--stride", type=int, help="How far the window moves, in tokens. Default: half the model's context.")
@with_run_options
@offline_option
@json_option
def evaluate(model, text, stride, quantize, dtype, ops, threads, offline, as_json):
    """How well MODEL predicts a text: loss, perplexity, bits per byte."""
    from minigpt import GPT2, Tokenizer
    from minigpt.training import evaluate as evaluation
    from minigpt.training.data import text_pieces

    gpt2 = GPT2.from_pretrained(
        model, ops=ops, quantize=quantize, dtype=dtype, threads=threads, local_files_only=offline
    )
    result = evaluation.evaluate(
        gpt2, Tokenizer.from_pretrained(model, local_files_only=offline), text_pieces(text), stride
    )
    if as_json:
        fields = {"loss": result.loss, "perplexity": result.perplexity, "bits_per_byte": result.bits_per_byte}
        _print_json({"model": model, "tokens": result.tokens, "bytes": result.n_bytes} | fields)
        return
    _write(
        f"loss {result.loss:.4f}, perplexity {result.perplexity:.3f}, {result.bits_per_byte:.4f} bits per byte "
        f"({result.tokens:,} tokens)\n"
    )


@cli.command()
@click.option("--count", type=int, default=3, show_default=True, help="How many stories.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same stories.")
@click.option("--out", type=click.Path(dir_okay=False), help="Write them to this file: a text to train on.")
@click.option("--check", "to_check", metavar="FILE", help='Say where texts ("-": standard input) are no such stories.')
@click.option(
    "--judge", "model", metavar="MODEL", help="How near MODEL comes to the best, on --count stories (or else 1000)."
)
@click.option("--temperature", type=float, default=1.0, show_default=True, help="How --judge draws MODEL's stories.")
@json_option
@click.pass_context
def stories(context, count, seed, out, to_check, model, temperature, as_json):
    """Draw children's stories from a grammar whose entropy is known; check texts and judge models by it."""
    if sum(map(bool, (out, to_check, model))) > 1:
        raise click.UsageError("--out, --check and --judge are three things to do: choose one")
    from minigpt import stories as grammar

    if to_check:
        _check_stories(to_check, as_json)
    elif model:
        is_default = context.get_parameter_source("count") is click.core.ParameterSource.DEFAULT
        _judge(model, 1000 if is_default else count, seed, temperature, as_json)
    elif out:
        from weights_loader import write_file

        def write(path):
            with path.open("w", encoding="utf-8", newline="\n") as file:
                file.writelines(f"{story.text}{grammar.SEPARATOR}" for story in _progress(drawn, count, "story"))

        drawn = grammar.stories(count, seed)
        write_file(Path(out), write)
    else:
        drawn = list(grammar.stories(count, seed))
        if as_json:
            _print_json([{"text": story.text, "logprob": story.logprob} for story in drawn])
            return
        for story in drawn:
            _write(f"{story.text}\n(log p = {story.logprob:.3f})\n\n")
        facts = f"{grammar.number_of_stories():.1e} stories of {len(grammar.words())} words"
        _write(f"{facts}; entropy {grammar.entropy():.4f} nats a story\n")


def _check_stories(path, as_json):
    from minigpt import stories as grammar

    text = _prompt("-") if path == "-" else _read_text(path)
    texts = [part.strip("\n") for part in text.split(grammar.SEPARATOR)]
    problems = [grammar.find_problem(part) for part in texts if part]
    if as_json:
        _print_json([None if problem is None else str(problem) for problem in problems])
    else:
        for number, problem in enumerate(problems, 1):
            _write(f"story {number}: {problem}\n" if problem else "")
        _write(f"{problems.count(None):,} of {len(problems):,} are stories of the grammar\n")
    if problems.count(None) < len(problems):
        sys.exit(1)


def _judge(name, count, seed, temperature, as_json):
    from minigpt import GPT2, Tokenizer
    from minigpt import stories as grammar
    from minigpt.stories.judge import judge

    model = GPT2.from_pretrained(name, ops="jit", dtype="float32")
    result = judge(model, Tokenizer.from_pretrained(name), count, seed, temperature)
    if as_json:
        wrong = [{"text": text, "problem": str(problem)} for text, problem in result.wrong]
        of_loss = {"loss": result.loss, "best": result.best, "entropy": grammar.entropy(), "excess": result.excess}
        of_stories = {"temperature": temperature, "accepted": result.accepted, "wrong": wrong}
        _print_json({"model": name, "count": count} | of_loss | of_stories)
        return
    warmth = "" if temperature == 1 else f" at temperature {temperature:g}"
    _write(
        f"on {count:,} new stories: {result.loss:.2f} nats a story; the grammar itself {result.best:.2f}, on "
        f"average {grammar.entropy():.2f}, the entropy: {result.excess:.1%} above it\n"
        f"of {count:,} stories of its own{warmth} {result.accepted:.1%} are stories of the grammar\n"
    )
    for _, problem in result.wrong[:3]:
        _write(f"  {problem}\n")


@cli.group()
def exercises():
    """Write each part of GPT-2 yourself: notebooks to work in, checks, and grading for a class."""


@exercises.command("start")
@click.argument("folder")
def start_exercises(folder):
    """Put the notebooks without their solutions into FOLDER. What is there already stays as it is."""
    from minigpt.classroom.copies import start_course

    written, kept = start_course(folder)
    if kept:
        _write(f"kept as they are: {', '.join(kept)}\n")
    if written:
        _write(f"{len(written)} notebooks are in {folder}: run `jupyter lab {folder}` and begin with {written[0]}\n")


@exercises.command("list")
def list_exercises():
    """What there is to write: by notebook, with what each function is to compute."""
    import textwrap

    from minigpt.classroom.copies import exercises_by_notebook
    from minigpt.exercises import EXERCISES

    for notebook, names in exercises_by_notebook(EXERCISES).items():
        _write(f"{notebook or 'in no notebook'}\n")
        for name in names:
            lines = textwrap.wrap(EXERCISES[name].task, 104, max_lines=2, placeholder=" ...")
            _write(f"    {EXERCISES[name].signature}\n" + "".join(f"        {line}\n" for line in lines))


@exercises.command("check")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--only", multiple=True, metavar="NAME", help="Only this exercise. May be given several times.")
def check_exercises(file, only):
    """Check every exercise that FILE (.py or .ipynb) defines. Only its definitions run, no other lines."""
    from minigpt.classroom.printable import one_line, printable
    from minigpt.classroom.workbook import check_workbook, open_workbook
    from minigpt.exercises import EXERCISES

    handed_in, failed = open_workbook(file, only), []
    for result in check_workbook(handed_in, only):
        _write(f"{'✓' if result.passed else '✗'} {result.exercise:24}{one_line(result.verdict, max_chars=90)}\n")
        failed += [] if result.passed else [result]
    for result in failed:
        if result.details or one_line(result.verdict, max_chars=90) != result.verdict:
            _write(f"\n{printable(str(result))}\n")
    said = {result.verdict for result in failed}
    for problem in [problem for problem in handed_in.problems if problem not in said]:
        _write(f"\n{printable(problem)}\n")
    there = {*handed_in.functions, *handed_in.failed}
    if not only and not there.issuperset(EXERCISES):
        _write(f"\nnot in the file: {', '.join(name for name in EXERCISES if name not in there)}\n")
    if failed:
        sys.exit(1)


@exercises.command("grade")
@click.argument("folder", type=click.Path(exists=True, file_okay=False))
@click.option("--csv", "out", required=True, type=click.Path(), help="The table is written to this file.")
@click.option("--time", type=click.FloatRange(1, 86400), default=120, show_default=True, help="Of each, in seconds.")
@click.option("--memory", type=click.IntRange(256), default=2048, show_default=True, help="Of each, in MB.")
def grade_exercises(folder, out, time, memory):
    """Check all submissions in FOLDER: each .py and .ipynb file in it is one, and each folder, with all its files.

    Each runs in a process of its own, with limits of time and memory. All are copied before the first one runs. The
    table is written after each, so nothing is lost if this is stopped. It is no sandbox: see README.md.
    """
    from minigpt.classroom import grading
    from minigpt.classroom.printable import printable
    from minigpt.classroom.submissions import find_submissions, ignored_files

    found = find_submissions(folder)
    grading.require_writable(out)
    grades = []
    for one in _progress(found, len(found), "submission"):
        grades.append(grading.grade(one, time, memory))
        grading.write_csv(grades, out)
    _write(grading.as_table(grades) + f"\n\nthe table is in {printable(str(out))}\n")
    if others := ignored_files(folder, out):
        click.echo(f"minigpt: not looked at: {printable(', '.join(others))}", err=True)
    if not all("memory" in grade.limits for grade in grades if grade.limits is not None):
        click.echo("minigpt: this system does not limit the memory of a process; time was limited", err=True)


def _progress(iterable, total, unit):
    from tqdm import tqdm

    return tqdm(iterable, total=total, unit=unit, disable=None)


def _check_plot(path):
    """Before the work, not after it: whether a picture can be written in the format that the file's name asks for."""
    try:
        from matplotlib.backend_bases import FigureCanvasBase
    except ImportError as error:
        raise click.UsageError("--plot needs matplotlib: pip install matplotlib") from error
    ending, formats = Path(path).suffix[1:], FigureCanvasBase.get_supported_filetypes()
    if ending not in formats:
        raise click.UsageError(f"--plot {path}: the name must end in one of {', '.join(sorted(formats))}")


def _read_text(path):
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{path} is not UTF-8 text (byte {error.start})") from error


def _write(text):
    click.echo(text, nl=False)  # which flushes, so that a reader sees every piece at once


def _print_json(fields):
    _write(json.dumps(fields, ensure_ascii=False, indent=2) + "\n")


def _size(n_bytes):
    unit, size = next((u, s) for u, s in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)) if n_bytes >= s or u == "kB")
    return f"{n_bytes / size:,.1f} {unit}"


def main():
    """The entry point: errors become one line on standard error and exit code 2, never a traceback."""
    for stream in (sys.stdout, sys.stderr):  # a file or terminal of another encoding gets ? for what it does not have
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        cli(standalone_mode=False)  # which ends quietly by itself when the reader of our output is gone
    except (KeyboardInterrupt, click.Abort):
        sys.exit(128 + signal.SIGINT)
    except click.exceptions.NoArgsIsHelpError as error:  # the help, and no line of it less
        click.echo(error.format_message(), err=True)
        sys.exit(2)
    except click.ClickException as error:
        _fail(error.format_message())
    except ImportError as error:
        _fail(f"{error}: install it, or do without what needs it; --ops plain needs no kernels")
    except MemoryError as error:
        _fail(f"not enough memory: {error}")
    except (ValueError, OSError) as error:
        _fail(str(error))


def _fail(sentence):
    click.echo(f"minigpt: {' '.join(sentence.split())}", err=True)
    sys.exit(2)


if __name__ == "__main__":
    main()
