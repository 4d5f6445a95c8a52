"""What a check says: as text, or as a small panel in a notebook."""

import html
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Result:
    """Whether an exercise is solved. verdict: a sentence. details: (label, text) that show it. mistake: if known."""

    exercise: str
    passed: bool
    verdict: str
    details: tuple = ()
    mistake: object = None

    def __str__(self):
        lines = [f"{'✓' if self.passed else '✗'} {self.exercise}: {self.verdict}"]
        for label, text in self.details:
            first, *rest = text.splitlines() or [""]
            lines.append(f"    {label}: {first}" if not rest else f"    {label}:\n        {first}")
            lines += [f"        {line}" for line in rest]
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self):
        colour = "#388e3c" if self.passed else "#e53935"  # readable on white and on black
        # Jupyter's own: to the right and in the middle; a background, and lines that break within words.
        cell = "vertical-align:top; text-align:left"
        pre = (
            "margin:0; background:none; font-family:menlo,consolas,monospace; white-space:pre-wrap; "
            "word-break:normal; overflow-wrap:anywhere"
        )
        rows = "".join(
            f"<tr><td style='{cell}; opacity:0.7; white-space:nowrap'>{html.escape(label)}</td>"
            f"<td style='{cell}'><pre style='{pre}'>{html.escape(text)}</pre></td></tr>"
            for label, text in self.details
        )
        mark = "✓" if self.passed else "✗"
        return (
            f"<div style='border-left:4px solid {colour}; padding:4px 12px; margin:4px 0; overflow-wrap:anywhere'>"
            f"<div><b style='color:{colour}'>{mark} {html.escape(self.exercise)}</b>: {html.escape(self.verdict)}</div>"
            + (f"<table style='margin:4px 0'>{rows}</table>" if rows else "")
            + "</div>"
        )


FEW = 60  # numbers that are shown one by one; of more only the first and the last


def shown(value, digits=4):
    """An argument or a result as a reader wants to see it: short numbers, the shape where there are several.

    digits: of the numbers in arrays; numbers alone have two more.
    """
    try:
        return _shown(value, digits)
    except Exception:  # of the student's own making, and cannot be shown; or an integer of thousands of digits
        name = type(value).__name__
        return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def shown_apart(found, expected):
    """Both as `shown`, with more digits where they would read the same."""
    for digits in (4, 7, 10, 15):
        texts = shown(found, digits), shown(expected, digits)
        if texts[0] != texts[1]:
            return texts
    return shown(found), shown(expected)


def shortened(text, most=300):
    """A text of more letters than that with its beginning alone."""
    return text if len(text) <= most else f"{text[:most]} ..."


def _shown(value, digits):
    if isinstance(value, np.ndarray):
        return _array_shown(np.asarray(value), digits)
    if isinstance(value, float | np.floating):
        return f"{value:.{digits + 2}g}"
    if isinstance(value, np.generic):
        return str(value.item())
    if isinstance(value, dict):
        lines = (f"{name}: {shown(item)}".splitlines() for name, item in _leaves(value))
        return "\n    ".join(["{", *("\n        ".join(line) for line in lines)]) + "\n}"
    if isinstance(value, tuple) and any(isinstance(item, np.ndarray) for item in value):
        return "(" + ",\n ".join(shown(item, digits) for item in value) + ")"
    return shortened(repr(value))


def _array_shown(array, digits):
    text = ""
    if array.size <= FEW:
        array = array + 0.0 if array.dtype.kind == "f" else array  # -0 is 0
        text = _numbers_shown(array.tolist(), digits) if array.size else "[]"  # [1000000, 0] would be a million lists
    elif array.ndim > 4:  # the first and the last along each axis are still too many
        text = f"an array of {array.dtype}"
    if not text or len(text) > 100:
        text = np.array2string(array, precision=digits, suppress_small=True, threshold=FEW, separator=", ")
    return text if array.ndim == 0 else f"{text}   shape {array.shape}"


def _leaves(tree, path=()):
    """(name, value) of what is in nested dicts and lists, as in model.params: "h.0.ln_1.weight"."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) and tree else None
    if items is None:
        return [(".".join(path), tree)]
    return [leaf for key, item in items for leaf in _leaves(item, (*path, str(key)))]


def _numbers_shown(numbers, digits):
    if isinstance(numbers, list):
        return "[" + ", ".join(_numbers_shown(number, digits) for number in numbers) + "]"
    return f"{numbers:.{digits}g}" if isinstance(numbers, float) else str(numbers)
