"""minigpt info, tokenize, step: look at a model, at tokens, at a forward pass."""

from pathlib import Path

import click

from minigpt.cli.options import (
    is_given,
    json_option,
    load_model,
    load_tokenizer,
    model_argument,
    model_option,
    offline_option,
    read_prompt,
    refuse,
)
from minigpt.cli.output import human_size, print_json, progress, write


@click.command()
@model_argument
@click.option("--verify", is_flag=True, help="Compare the files of a hub model in the cache with their sha256 again.")
@offline_option
@json_option
def info(model, verify, offline, as_json):
    """Show the configuration and size of MODEL, and where its files are. Downloads no weights."""
    import weights_loader
    from minigpt import GPT2Config
    from minigpt.bundled import bundled_folder

    verified = weights_loader.verify_cached(model) if verify else []
    folder = bundled_folder(model) or weights_loader.locate_config(model, local_files_only=offline)
    config = GPT2Config.from_pretrained(folder)
    parameters = config.parameter_count()
    suffixes = (".json", ".safetensors", ".txt")
    files = {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.suffix in suffixes}
    memory = {"float32": 4 * parameters, "full_cache": 2 * config.n_layer * config.n_positions * config.n_embd * 4}
    if as_json:
        fields = {"model": model, "folder": str(folder), "files": files, "verified": verified, "parameters": parameters}
        print_json(fields | {"memory": memory, "config": config.to_dict()})
        return
    write(f"{model}: {parameters:,} parameters\n\n")
    for name, value in config.to_dict().items():
        write(f"  {name:32}{value}\n")
    write(
        f"\nmemory in float32: {human_size(memory['float32'])} of parameters, "
        f"{human_size(memory['full_cache'])} for the cache of a full context\n"
    )
    write(f"folder: {folder}\n")
    for name, size in files.items():
        write(f"  {name:32}{human_size(size)}{', its sha256 is right' * (name in verified)}\n")
    if not any(name.endswith(".safetensors") for name in files):
        write("  (no weights here yet: those of a hub model are downloaded when a command needs them)\n")


@click.command()
@click.argument("text")
@model_option
@offline_option
@json_option
def tokenize(text, model, offline, as_json):
    """Show the tokens of TEXT ("-" reads it from standard input): the id and the vocabulary entry of each."""
    from minigpt.training.pieces import chunks_of, cut_up

    text = read_prompt(text)
    tokenizer = load_tokenizer(model, offline=offline)
    ids = [i for piece in cut_up(chunks_of(text), tokenizer) for i in tokenizer.encode(piece)]
    if as_json:
        print_json({"model": model, "text": text, "ids": ids, "pieces": tokenizer.convert_ids_to_tokens(ids)})
        return
    for token_id, piece in zip(ids, tokenizer.convert_ids_to_tokens(ids), strict=True):
        write(f"{token_id:>7}  {piece}\n")
    write(f"{len(ids)} tokens, {len(text)} characters\n")


@click.command()
@click.argument("text")
@model_option
@click.option("--layer", type=int, default=0, show_default=True, help="The block to show in full.")
@click.option("--all", "everything", is_flag=True, help="Show every block in full.")
@click.option("--why", metavar="NAME[INDEX]", help='Show where one number comes from, as "h.2.attn.scores[1,5,3]".')
@click.option("--open", "opens_page", is_flag=True, help="Step through it on a page in the browser, until Ctrl-C.")
@click.option("--port", type=click.IntRange(1, 65535), help="The port of that page. Default: a free one.")
@click.option("--no-browser", is_flag=True, help="Print the address of that page, and open no browser.")
@click.option("--html", type=click.Path(dir_okay=False), help="Write the page to this file, which needs no program.")
@offline_option
@json_option
@click.pass_context
def step(context, text, model, layer, everything, why, opens_page, port, no_browser, html, offline, as_json):
    """Walk through the forward pass on TEXT ("-": standard input): each activation and the line that made it."""
    if opens_page and html:
        raise click.UsageError("--open shows a page and --html writes one: choose one of them")
    if (opens_page or html) and (everything or as_json or why is not None or is_given(context, "layer")):
        raise click.UsageError("--layer, --all, --why and --json have no effect on a page")
    if not opens_page:
        refuse(context, ["port", "no_browser"], "is for the page of --open")
    text = read_prompt(text)
    if opens_page:
        return open_page(text, model, offline, port or 0, no_browser)
    if html:
        return save_page(html, text, model, offline)
    from minigpt import step as walk

    steps = walk(load_model(model, offline=offline), load_tokenizer(model, offline=offline), text)
    if why is not None:
        found = steps.why(why)
        if as_json:
            print_json({"model": model, "tokens": steps.tokens, "why": found.to_dict()})
        else:
            write(f"{found}\n")
        return
    if as_json:
        names = ("name", "formula", "meaning", "shape", "file", "line", "source")
        fields = [{name: getattr(step, name) for name in names} for step in steps]
        print_json({"model": model, "tokens": steps.tokens, "steps": fields, "next_tokens": steps.next_tokens})
        return
    write(steps.as_text(layer, everything) + "\n")


def open_page(text, model, offline, port, no_browser):
    """Serve the page of a text and a model until Ctrl-C."""
    from minigpt.page.server import require_uvicorn, serve
    from minigpt.page.session import Session

    try:
        require_uvicorn()  # before the model is loaded
    except ImportError as error:
        raise click.UsageError(str(error)) from error
    session = Session(load_model(model, offline=offline), load_tokenizer(model, offline=offline), text)
    session.answer({"ask": "run", "text": text})  # a text that is too long ends here, in a sentence
    serve(session, port, not no_browser, lambda url: write(f"{url}\nCtrl-C ends it.\n"))


def save_page(path, text, model, offline):
    """Write the page of a text and a model to a file."""
    from minigpt.page.file import write_page

    model, tokenizer = load_model(model, offline=offline), load_tokenizer(model, offline=offline)
    contents = write_page(path, model, tokenizer, text, progress)
    write(f"{path}: {human_size(Path(path).stat().st_size)}, {contents}; open it in a browser\n")
