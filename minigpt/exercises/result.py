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
        colour = "#2e7d32" if self.passed else "#c62828"
        rows = "".join(
            f"<tr style='vertical-align:top;text-align:left'><td style='color:#777'>{html.escape(label)}</td>"
            f"<td style='text-align:left'><pre style='margin:0'>{html.escape(text)}</pre></td></tr>"
            for label, text in self.details
        )
        mark = "✓" if self.passed else "✗"
        return (
            f"<div style='border-left:4px solid {colour};padding:4px 12px;margin:4px 0'>"
            f"<div><b style='color:{colour}'>{mark} {html.escape(self.exercise)}</b>: {html.escape(self.verdict)}</div>"
            + (f"<table style='margin:4px 0'>{rows}</table>" if rows else "")
            + "</div>"
        )


def shown(value):
    """An argument or a result as a reader wants to see it: short numbers, the shape where there are several."""
    if isinstance(value, np.ndarray):
        value = value + 0.0 if value.dtype.kind == "f" else value  # -0 is 0
        text = _on_one_line(value.tolist())
        if len(text) > 100:
            text = np.array2string(value, precision=4, suppress_small=True, threshold=60, separator=", ")
        return text if value.ndim == 0 else f"{text}   shape {value.shape}"
    if isinstance(value, float | np.floating):
        return f"{value:.6g}"
    if isinstance(value, np.generic):
        return str(value.item())
    if isinstance(value, dict):
        lines = (f"{name}: {shown(item)}".splitlines() for name, item in _leaves(value))
        return "\n    ".join(["{", *("\n        ".join(line) for line in lines)]) + "\n}"
    if isinstance(value, tuple) and any(isinstance(item, np.ndarray) for item in value):
        return "(" + ",\n ".join(map(shown, value)) + ")"
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:300]} ..."


def _leaves(tree, path=()):
    """(name, value) of what is in nested dicts and lists, as in model.params: "h.0.ln_1.weight"."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) and tree else None
    if items is None:
        return [(".".join(path), tree)]
    return [leaf for key, item in items for leaf in _leaves(item, (*path, str(key)))]


def _on_one_line(numbers):
    if isinstance(numbers, list):
        return "[" + ", ".join(map(_on_one_line, numbers)) + "]"
    return f"{numbers:.4g}" if isinstance(numbers, float) else str(numbers)
