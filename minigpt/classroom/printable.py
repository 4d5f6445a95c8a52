"""Texts of students, made safe to print: nothing moves the cursor, and everything can be encoded."""


def printable(text):
    """Return the text with a replacement character for each control or invalid character. Line breaks stay."""
    lines = text.expandtabs().splitlines()
    return "\n".join("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line) for line in lines)


def one_line(text, max_chars=200):
    """Return the text as one printable line. A longer one is cut off after max_chars."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= max_chars else f"{line[:max_chars]} ..."
