"""Which exercises a student has solved, and what is left."""

import contextlib
import html
from dataclasses import dataclass
from pathlib import Path

from minigpt.classroom.checks import check_workbook, open_workbook
from minigpt.classroom.copies import exercises_by_notebook
from minigpt.exercises import EXERCISES
from minigpt.exercises.calling import UNWRITTEN

MARKS = {True: "✓", False: "✗", None: "·"}
LEGEND = "✓ solved, ✗ wrong, · not written yet"


@dataclass(frozen=True)
class Progress:
    """solved: {exercise: True, False for a wrong solution, or None if there is none yet}."""

    solved: dict

    def __str__(self):
        rows = [f"{notebook:22}{' '.join(marked)}" for notebook, marked in self._rows()]
        return "\n".join([*rows, "", LEGEND, self.summary])

    __repr__ = __str__

    def _repr_html_(self):
        rows = "".join(
            f"<tr><td style='text-align:left'>{_link(notebook)}</td><td style='text-align:left'>"
            + " &nbsp; ".join(f"<span style='white-space:nowrap'>{html.escape(name)}</span>" for name in marked)
            + "</td></tr>"
            for notebook, marked in self._rows()
        )
        return f"<table>{rows}</table><p>{LEGEND}<br>{html.escape(self.summary)}</p>"

    def _rows(self):
        """Return (notebook, its exercises with their marks)."""
        return [
            (notebook, [f"{MARKS[self.solved[name]]} {name}" for name in names])
            for notebook, names in exercises_by_notebook(self.solved).items()
        ]

    @property
    def summary(self):
        """How many are solved, which are wrong, and which comes next."""
        left = [name for name, solved in self.solved.items() if not solved]
        wrong = [name for name in left if self.solved[name] is False]
        done = f"{len(self.solved) - len(left)} of {len(self.solved)} solved"
        if wrong:
            done += f"; wrong: {', '.join(wrong)} (check says what is wrong)"
        return f"{done}; next: {left[0]}" if left else f"{done}: that is all"


def _link(notebook):
    """Return a link to a notebook of the course in the same folder; nothing for exercises that are in none."""
    return f"<a href='{notebook}.ipynb'>{notebook}</a>" if notebook else ""


def progress(folder="."):
    """Return the Progress of a student: of the .py and .ipynb files in a folder, of which only the definitions run.

    An exercise is solved if one of the files solves it. Files that define no exercise are ignored.
    """
    solved = dict.fromkeys(EXERCISES)
    for path in sorted(path for path in Path(folder).iterdir() if path.suffix.lower() in (".py", ".ipynb")):
        with contextlib.suppress(ValueError):  # it defines no exercise
            for result in check_workbook(open_workbook(path), shrink=False):
                if result.verdict != UNWRITTEN:
                    solved[result.exercise] = solved[result.exercise] or result.passed
    return Progress(solved)
