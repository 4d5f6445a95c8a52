"""Texts of students, made safe to print: nothing moves the cursor, and everything can be encoded."""


def printable(text):
    """Return the text with a replacement character for each control or invalid character. Line breaks stay."""
    lines = text.expandtabs().splitlines()
    return "\n".join("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line) for line in lines)


def one_line(text, max_chars=200):
    """Return the text as one printable line. A longer one is cut off after a sentence or a word."""
    line = printable(" ".join(text.split()))
    if len(line) <= max_chars:
        return line
    places = max_chars // 3, max_chars
    cut = line.rfind(". ", *places) + 1 or line.rfind(" ", *places)  # -1 for a word that is too long
    return f"{line[: cut if cut > 0 else max_chars]} ..."
