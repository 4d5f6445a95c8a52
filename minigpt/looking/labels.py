"""Tokens as labels of a picture or a table, and texts as lines that fit on a page."""

import textwrap
from functools import partial


def token_texts(tokenizer, ids):
    """Return the text of each id, a list. Half a character is U+FFFD."""
    return [tokenizer.token_text(token_id) for token_id in ids]


def token_label(text):
    """Return a token's text with visible signs for white space: ␣ for a space, ↵ for a line break, ⇥ for a tab."""
    text = text.replace(" ", "␣").replace("\r\n", "↵").replace("\n", "↵").replace("\t", "⇥")
    # Other control characters get their Unicode picture: a terminal would obey an escape, ␛.
    return "".join(chr(0x2400 + ord(c)) if ord(c) < 32 else c for c in text)


def wrap(text: str, width: int = 100) -> str:
    """Return a text whose longer lines are broken between words. Jupyter breaks them anywhere, within words too."""
    fill = partial(textwrap.fill, width=width, break_long_words=False, break_on_hyphens=False)
    return "\n".join(fill(line) if len(line) > width else line for line in text.split("\n"))
