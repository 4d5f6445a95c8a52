"""minigpt generate: continue a text."""

from functools import partial

import click

from minigpt.cli.options import (
    json_option,
    load_model,
    load_tokenizer,
    model_option,
    offline_option,
    read_escapes,
    read_prompt,
    refuse,
    run_options,
)
from minigpt.cli.output import print_json, write

MAX_NEW_TOKENS = 250  # the default of --max-new-tokens
SAMPLING_OPTIONS = ("temperature", "top_k", "top_p", "min_p", "typical_p")
BEAM_OPTIONS = ("length_penalty", "early_stopping")


@click.command()
@click.argument("prompt")
@model_option
@click.option("--max-new-tokens", type=int, help="Add at most this many tokens. Default: 250, or as many as fit.")
@click.option("--do-sample/--greedy", default=None, help="Draw tokens (default), or always take the most probable one.")
@click.option("--temperature", type=float, default=0.8, show_default=True, help="Below 1: safer; above 1: wilder.")
@click.option("--top-k", type=int, default=50, show_default=True, help="Draw from the k most probable tokens; 0: all.")
@click.option(
    "--top-p",
    type=float,
    default=0.95,
    show_default=True,
    help="Draw from the most probable tokens that together have this probability.",
)
@click.option("--min-p", type=float, help="Draw from tokens with at least this fraction of the top probability.")
@click.option(
    "--typical-p",
    type=float,
    help="Draw from the tokens nearest to the expected surprise that together have this probability.",
)
@click.option("--repetition-penalty", type=float, default=1.0, show_default=True, help="Above 1: repeat tokens less.")
@click.option(
    "--no-repeat-ngram-size", type=int, default=0, help="Repeat no sequence of this many tokens; 0: no limit."
)
@click.option("--num-beams", type=int, default=1, show_default=True, help="Above 1: beam search.")
@click.option(
    "--length-penalty",
    type=float,
    default=1.0,
    show_default=True,
    help="Beam search: above 0 favours long texts.",
)
@click.option("--early-stopping", is_flag=True, help="Beam search: stop when as many texts as beams are finished.")
@click.option("--num-return-sequences", type=int, default=1, show_default=True, help="Number of continuations.")
@click.option(
    "--stop",
    multiple=True,
    metavar="TEXT",
    callback=read_escapes,
    help=r"End before this text, in which \n is a new line, \t a tab, \\ a backslash. May be given several times.",
)
@click.option("--eos-token-id", type=int, multiple=True, help="A token that ends the text, instead of the model's own.")
@click.option("--seed", type=int, help="The same seed gives the same text.")
@click.option("--slide", is_flag=True, help="Continue beyond the context: when it is full, drop its older half.")
@click.option(
    "--cache-dtype",
    type=click.Choice(["float16"]),
    help="Keep the keys and values of earlier tokens in 16 bits: half the memory, and faster by kernels.",
)
@click.option(
    "--prompt-lookup-num-tokens",
    type=int,
    help="Guess up to this many tokens from the text so far and check them together: faster where it repeats itself.",
)
@click.option(
    "--max-matching-ngram-size",
    type=int,
    default=2,
    show_default=True,
    help="Guess what followed the last tokens before: at most this many of them.",
)
@click.option("--assistant-model", help="A smaller model with the same vocabulary, which guesses tokens to check.")
@run_options
@offline_option
@json_option
@click.option("--no-stream", is_flag=True, help="Print the text only when it is complete.")
@click.pass_context
def generate(
    context,
    prompt,
    model,
    max_new_tokens,
    stop,
    eos_token_id,
    assistant_model,
    quantize,
    dtype,
    activations,
    ops,
    threads,
    offline,
    as_json,
    no_stream,
    **options,
):
    """Continue PROMPT ("-" reads it from standard input, without its last newline; "" starts from nothing)."""
    if options["do_sample"] is None:
        options["do_sample"] = options["num_beams"] == 1
    if not options["do_sample"]:
        search = "--greedy" if options["num_beams"] == 1 else "beam search without --do-sample"
        refuse(context, SAMPLING_OPTIONS, f"has no effect on {search}")
    if options["num_beams"] == 1:
        refuse(context, BEAM_OPTIONS, "has no effect without --num-beams")
    if options["prompt_lookup_num_tokens"] is None:
        refuse(context, ["max_matching_ngram_size"], "has no effect without --prompt-lookup-num-tokens")
    if eos_token_id:
        options["eos_token_id"] = list(eos_token_id)
    prompt = read_prompt(prompt)

    from minigpt import GenerationConfig
    from minigpt.generation.text import continue_text, encode_prompt

    if max_new_tokens is not None:
        options["max_new_tokens"] = max_new_tokens
    GenerationConfig(**options)  # checks the options before anything is downloaded or loaded
    formats = {"quantize": quantize, "dtype": dtype, "activations": activations}
    load = partial(load_model, offline=offline, **formats, ops=ops, threads=threads)
    gpt2, assistant = load(model), load(assistant_model) if assistant_model else None
    tokenizer = load_tokenizer(model, offline=offline)
    if max_new_tokens is None:
        options["max_new_tokens"] = MAX_NEW_TOKENS
        if not options["slide"]:
            room = gpt2.config.n_positions - len(encode_prompt(tokenizer, prompt, gpt2.config))
            options["max_new_tokens"] = min(MAX_NEW_TOKENS, max(1, room))
    streaming = not (as_json or no_stream) and options["num_return_sequences"] == options["num_beams"] == 1
    continuations = continue_text(
        gpt2, tokenizer, prompt, stop=stop, streaming=streaming, assistant_model=assistant, **options
    )
    if as_json:
        fields = [{"text": c.text, "ids": c.ids, "finish_reason": c.finish_reason} for c in continuations]
        print_json({"model": model, "prompt": prompt, "continuations": fields})
    elif streaming:
        write(prompt)
        for piece in continuations[0]:
            write(piece)
        write("\n")
    else:
        for number, continuation in enumerate(continuations, 1):
            if len(continuations) > 1:
                write(f"--- {number} ---\n")
            write(f"{prompt}{continuation.text}\n")
