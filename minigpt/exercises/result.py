"""The result of a check, as text and as a small panel in a notebook."""

import html
import os
from dataclasses import dataclass


def is_under_nbgrader():
    """Return whether nbgrader runs this process."""
    return any(map(os.environ.get, ("NBGRADER_EXECUTION", "NBGRADER_VALIDATING")))


@dataclass(frozen=True)
class Result:
    """What a check found.

    verdict: a sentence. details: pairs (label, text) that show it. mistake: the Mistake that explains it, if known.
    """

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

    def _ipython_display_(self):
        """Show the panel as an output, not as the cell's value: nbgrader would try to read points from a value."""
        if not is_under_nbgrader():
            raise NotImplementedError  # as usual
        from IPython.display import HTML, display

        display(HTML(self._repr_html_()))

    def _repr_html_(self):
        colour = "#388e3c" if self.passed else "#e53935"  # readable on white and on black
        # Undo Jupyter's own style: cells aligned right and centred, a background, lines that break within words.
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
