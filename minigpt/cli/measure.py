"""minigpt bench, eval: how fast a model runs, and how well it predicts."""

import click

from minigpt.cli.options import (
    json_option,
    load_model,
    load_tokenizer,
    model_argument,
    model_option,
    offline_option,
    run_options,
)
from minigpt.cli.output import print_json, require_plottable, write


@click.command()
@model_option
@run_options
@click.option(
    "--text",
    type=click.Path(exists=True, dir_okay=False),
    help="Also compare the model with its float32 weights on this text.",
)
@click.option("--plot", type=click.Path(dir_okay=False, writable=True), help="Draw the table to this file.")
@offline_option
@json_option
def bench(model, text, plot, offline, as_json, **run_options):
    """Measure how fast MODEL runs, beside what this machine's memory and BLAS allow."""
    from minigpt import bench as benchmarks
    from minigpt.files import read_text
    from minigpt.ops.threads import get_threads

    if plot:
        require_plottable(plot)
    gpt2 = load_model(model, offline=offline, **run_options)
    measurements = benchmarks.bench(gpt2)
    agreement = None
    if text:
        ids = load_tokenizer(model, offline=offline).encode(read_text(text))
        if len(ids) < 2:
            raise click.UsageError(f"{text} has {len(ids)} tokens: at least 2 are needed")
        exact = {"quantize": None, "dtype": "float32", "activations": None}
        in_float32 = load_model(model, offline=offline, **run_options | exact)
        agreement = benchmarks.agreement(gpt2, in_float32, ids)
    if plot:
        benchmarks.plot(measurements, plot)
    if as_json:
        fields = {"model": model, "threads": get_threads(), "measurements": benchmarks.as_dicts(measurements)}
        print_json(fields | ({"agreement": vars(agreement)} if agreement else {}))
        return
    write(benchmarks.as_table(measurements) + "\n")
    if agreement:
        change = agreement.perplexity / agreement.perplexity_float32 - 1
        write(
            f"\nperplexity {agreement.perplexity:.3f}, in float32 {agreement.perplexity_float32:.3f} ({change:+.2%}); "
            f"the same most probable token at {agreement.same_top_token:.2%} of {agreement.tokens:,} positions\n"
        )


@click.command("eval")
@model_argument
@click.option("--text", required=True, type=click.Path(exists=True, dir_okay=False), help="The text to predict.")
@click.option("--stride", type=int, help="Move the window by this many tokens. Default: half the model's context.")
@run_options
@offline_option
@json_option
def evaluate(model, text, stride, offline, as_json, **run_options):
    """Measure how well MODEL predicts a text: loss, perplexity, bits per byte."""
    from minigpt.training import evaluate as evaluation
    from minigpt.training.pieces import text_pieces

    gpt2 = load_model(model, offline=offline, **run_options)
    tokenizer = load_tokenizer(model, offline=offline)
    result = evaluation.evaluate(gpt2, tokenizer, text_pieces(text, tokenizer), stride)
    if as_json:
        fields = {"loss": result.loss, "perplexity": result.perplexity, "bits_per_byte": result.bits_per_byte}
        print_json({"model": model, "tokens": result.tokens, "bytes": result.n_bytes} | fields)
        return
    write(
        f"loss {result.loss:.4f}, perplexity {result.perplexity:.3f}, {result.bits_per_byte:.4f} bits per byte "
        f"({result.tokens:,} tokens)\n"
    )
