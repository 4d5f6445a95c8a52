"""A Why as text for a terminal and as HTML for a notebook."""

import html
import textwrap

from minigpt.looking.labels import token_label
from minigpt.looking.source import CARD_STYLE, PRE_STYLE

MAX_TERMS = 12
MAX_ALSO = 6  # numbers that take part without being a term
WIDTH = 80  # of a terminal
NUMBER_WIDTH, BAR_WIDTH, TOKEN_WIDTH = 11, 8, 12
POSITIVE, NEGATIVE = "#2166ac", "#b2182b"
ROW = "<tr style='background:none'>"  # Jupyter's own rows are dark in a dark theme


def as_text(why):
    """Return a Why in lines of at most 80 characters."""
    lines = [f"{title(why)} = {why.value:.6g}"]
    paragraphs = [why.where, why.formula, *why.numbers.split("\n")]
    for paragraph in filter(None, paragraphs):
        lines += textwrap.wrap(paragraph, WIDTH, initial_indent="  ", subsequent_indent="      ")
    lines.append("")
    lines += _term_lines(why)
    for paragraph in filter(None, (also(why), why.note)):
        lines += textwrap.wrap(paragraph, WIDTH, initial_indent="  ", subsequent_indent="      ")
    return "\n".join(lines).rstrip()


def as_html(why):
    """Return a Why as a card. Blue bars add, red bars take away."""
    largest = max((abs(term.value) for term in why.terms), default=0)
    rows = "".join(_row(term, largest) for term in why.terms[:MAX_TERMS])
    if rest := the_rest(why):
        rows += f"{ROW}{_cell(f'{rest[1]:+.4g}', 'right')}<td></td>{_cell(f'and {rest[0]} more, together')}</tr>"
    grey = "<div style='color:#666'>{}</div>"
    parts = [
        f"<div><b><code>{html.escape(title(why))}</code></b> = {why.value:.6g}</div>",
        grey.format(html.escape(why.where)) if why.where else "",
        f"<div>{html.escape(why.formula)}</div>",
        f"<pre style='{PRE_STYLE}'>{html.escape(why.numbers)}</pre>" if why.numbers else "",
        f"<table style='border-collapse:collapse; color:#222; margin:4px 0'>{rows}</table>",
        grey.format(html.escape(also(why))) if why.also else "",
        f"<div>{html.escape(why.note)}</div>" if why.note else "",
    ]
    return f"<div style='{CARD_STYLE}; display:block'>{''.join(parts)}</div>"


def title(why):
    """Return the place as in "h.2.attn.q[1, 5, 3]"; a gradient's begins with d loss / d."""
    place = f"{why.name}{list(why.index)}"
    return place if why.kind == "activation" else f"d loss / d {place}"


def also(why):
    """Return the sentence about the numbers that are not terms, or ""."""
    if not why.also:
        return ""
    block = block_of(why.name)
    parts = [f"{factor.label(block)} = {factor.value:.4g}" for factor in why.also[:MAX_ALSO]]
    if len(why.also) > MAX_ALSO:
        parts.append(f"and {len(why.also) - MAX_ALSO} more")
    return f"It also depends on {', '.join(parts)}."


def block_of(name):
    """Return the prefix "h.2." of a name, or ""."""
    return ".".join(name.split(".")[:2]) + "." if name.startswith("h.") else ""


def the_rest(why):
    """Return how many terms are not shown, and their sum; None if all are."""
    rest = [term.value for term in why.terms[MAX_TERMS:]]
    return (len(rest), sum(rest)) if rest else None


def share(value, largest):
    """Return |value| / largest; 0 for what is not a number."""
    return abs(value) / largest if abs(value) <= largest and 0 < largest < float("inf") else 0


def clipped(text, width):
    """Return the text, or its beginning with an ellipsis."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _term_lines(why):
    shown = why.terms[:MAX_TERMS]
    largest = max((abs(term.value) for term in why.terms), default=0)
    tokens = ["" if term.token is None else clipped(token_label(term.token), TOKEN_WIDTH) for term in shown]
    # Labels get the width that the longest token leaves.
    rest_width = WIDTH - NUMBER_WIDTH - BAR_WIDTH - 3 - max(map(len, tokens), default=0)
    label_width = min(rest_width, max((len(term.label) for term in shown), default=0))
    lines = []
    for term, token in zip(shown, tokens, strict=True):
        bar = "█" * round(BAR_WIDTH * share(term.value, largest))
        label = clipped(term.label, label_width)
        lines.append(f"{term.value:>+{NUMBER_WIDTH}.4g} {bar:<{BAR_WIDTH}} {label:<{label_width}} {token}".rstrip())
    if rest := the_rest(why):
        lines.append(f"{rest[1]:>+{NUMBER_WIDTH}.4g} {'':<{BAR_WIDTH}} and {rest[0]} more, together")
    return lines


def _row(term, largest):
    colour = POSITIVE if term.value > 0 else NEGATIVE
    width = round(80 * share(term.value, largest))
    bar = f"<span style='display:inline-block; height:8px; background:{colour}; width:{width}px'></span>"
    numbers = " * ".join(f"{factor.value:.4g}" for factor in term.factors)
    token = "" if term.token is None else token_label(term.token)
    return (
        f"{ROW}{_cell(f'{term.value:+.4g}', 'right')}<td style='padding:1px 8px'>{bar}</td>"
        f"{_cell(term.label)}{_cell(numbers)}{_cell(token)}</tr>"
    )


def _cell(text, align="left"):
    style = f"text-align:{align}; font-family:monospace; padding:1px 8px"
    return f"<td style='{style}'>{html.escape(text)}</td>"
