"""What the commands print: text, JSON, sizes, progress bars and plots."""

import json
from pathlib import Path

import click


def write(text):
    """Write to standard output at once, so that a reader sees every piece of a text as it is made."""
    click.echo(text, nl=False)


def print_json(fields):
    """Write an object as JSON."""
    write(json.dumps(fields, ensure_ascii=False, indent=2) + "\n")


def human_size(n_bytes):
    """Return a number of bytes in GB, MB or kB."""
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if n_bytes >= size:
            return f"{n_bytes / size:,.1f} {unit}"
    return f"{n_bytes / 1e3:,.1f} kB"


def progress(iterable, total, unit):
    """Return the iterable with a progress bar on standard error, if that is a terminal."""
    from tqdm import tqdm

    return tqdm(iterable, total=total, unit=unit, disable=None)


def require_plottable(path):
    """Raise a UsageError unless matplotlib can write a picture of this name. Call this before any work."""
    try:
        from matplotlib.backend_bases import FigureCanvasBase
    except ImportError as error:
        raise click.UsageError("--plot needs matplotlib: pip install matplotlib") from error
    ending, formats = Path(path).suffix[1:], FigureCanvasBase.get_supported_filetypes()
    if ending not in formats:
        raise click.UsageError(f"--plot {path}: the name must end in one of {', '.join(sorted(formats))}")
