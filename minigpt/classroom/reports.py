"""The grades of a class as a table, as CSV for a spreadsheet, Canvas or Moodle, as JSON for Gradescope, and as HTML."""

import csv
import html
import json
import re
import tempfile
import tomllib
import unicodedata
from functools import partial
from pathlib import Path

from minigpt.classroom.copies import exercises_by_notebook
from minigpt.classroom.printable import one_line, printable
from minigpt.exercises import EXERCISES
from minigpt.exercises.catalogue import find_exercise
from minigpt.files import read_text, write_file

# A spreadsheet reads a text that starts like this as a formula, also after the ";" where that separates columns.
FORMULA_START = re.compile(r"(^|;)(?=\s*[\"']?[=+\-@＝＋－＠])")
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
  :root {{ color-scheme: light dark }}
  body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 55rem; margin: 2rem auto; padding: 0 1rem }}
</style>
<h1>{title}</h1>
<p>{score} of {max_score} points</p>
{panels}
"""


def chosen_points(exercises=None, points_file=None):
    """Return {exercise: points} in the order of the notebooks, or None if nothing is chosen.

    exercises: names of exercises or notebooks, such as "03_attention", with commas. points_file: a TOML file of lines
    such as `softmax = 2`; an exercise that it does not name has one point if `exercises` names it, else it is not
    graded. Raise ValueError or OSError.
    """
    points = {}
    notebooks = exercises_by_notebook(EXERCISES) if exercises else {}
    for name in filter(None, map(str.strip, (exercises or "").split(","))):
        names = notebooks.get(name) or [find_exercise(name).name]
        points |= dict.fromkeys(names, 1)
    if points_file:
        try:
            table = tomllib.loads(read_text(points_file))
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{points_file} is not TOML: {error}") from error
        for name, value in table.items():
            if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1e9:
                raise ValueError(f"{points_file}: {find_exercise(name).name} = {value!r} is not a number of points")
            if find_exercise(name).name in points or not exercises:
                points[name] = value
    return {name: points[name] for name in EXERCISES if name in points} or None


def as_table(grades):
    """Return a text: each submission with its score and its first message, then how many passed each exercise."""
    names = [one_line(grade.name, max_chars=40) for grade in grades]
    scores = [f"{grade.score:g} / {grade.max_score:g}" for grade in grades]
    width, score_width = max(map(len, names)), max(map(len, scores))
    lines = [
        f"{name:{width}}  {score:>{score_width}}  {next(iter(grade.messages), '')}".rstrip()
        for name, score, grade in zip(names, scores, grades, strict=True)
    ]
    by_exercise = {name: [g.results[name].passed for g in grades if name in g.results] for name in EXERCISES}
    if any(by_exercise.values()):
        lines += ["", "passed / handed in, by exercise:"]
    for name, passed in by_exercise.items():
        if passed:
            lines.append(f"  {name:24}{f'{sum(passed)} / {len(passed)}':>7}")
    return "\n".join(lines)


def write_csv(grades, path):
    """Write a row for each grade: 1 or 0 for each exercise, nothing if it is missing; the score; the messages."""
    rows = [["submission", *EXERCISES, "score", "out of", "messages"]]
    for grade in grades:
        passed = [int(grade.results[name].passed) if name in grade.results else "" for name in EXERCISES]
        name, messages = safe(grade.name), safe(" | ".join(grade.messages))
        rows.append([name, *passed, grade.score, grade.max_score, messages])
    _write_rows(rows, path)


def write_canvas(grades, path, assignment):
    """Write a file for Canvas's gradebook (Import). assignment: its column there, as in `minigpt (81234)`."""
    identity = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section"]
    rows = [[*identity, assignment], ["    Points Possible", "", "", "", "", grades[0].max_score]]
    rows += [[safe(grade.student), grade.student_id, "", "", "", grade.score] for grade in grades]
    _write_rows(rows, path)


def write_moodle(grades, path):
    """Write a grading worksheet for Moodle (Upload grading worksheet)."""
    columns = ["Identifier", "Full name", "Grade", "Maximum Grade", "Last modified (grade)", "Feedback comments"]
    rows = [columns]
    for grade in grades:
        identity = [f"Participant {grade.student_id}", safe(grade.student)]
        comments = html.escape(safe(" | ".join(grade.messages)), quote=False)  # Moodle reads them as HTML
        rows.append([*identity, grade.score, grade.max_score, "-", comments])
    _write_rows(rows, path)


def write_gradescope(grade, path):
    """Write results.json, as Gradescope reads it from an autograder."""
    tests = []
    for name, points in grade.points.items():
        result = grade.results.get(name)
        status, output = ("passed", "") if result and result.passed else ("failed", "")
        output = printable(str(result)) if result else "it is not in what you handed in"
        score = points if status == "passed" else 0
        tests.append({"name": name, "score": score, "max_score": points, "status": status, "output": output})
    content = {"score": grade.score, "output": "\n".join(map(one_line, grade.remarks)), "tests": tests}
    write_file(Path(path), lambda partial: partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8"))


def write_feedback(grades, folder):
    """Write a page for each student, with the panels of the checks, into a folder."""
    taken = set()
    for grade in grades:
        # Some systems tell neither the two cases of a letter apart nor the forms of an accent.
        stem = unicodedata.normalize("NFC", printable(grade.name))
        stem = re.sub(r"[^\w.-]+", "_", stem).strip("._")[:100] or "student"
        name = next(name for name in _numbered(stem) if name.casefold() not in taken)
        taken.add(name.casefold())
        write_file(Path(folder, name), partial(_write_text, text=feedback_page(grade)))


def _numbered(stem):
    yield f"{stem}.html"
    number = 2
    while True:
        yield f"{stem}_{number}.html"
        number += 1


def feedback_page(grade):
    """Return the HTML of the page for one student."""
    panels = [result._repr_html_() for result in grade.results.values()]
    missing = [name for name in grade.points if name not in grade.results]
    if missing:
        panels.append(f"<p>Not handed in: {', '.join(missing)}</p>")
    panels += [f"<p>{html.escape(one_line(remark))}</p>" for remark in grade.remarks]
    title = html.escape(one_line(grade.student or grade.name))
    page = PAGE.format(
        title=title, score=f"{grade.score:g}", max_score=f"{grade.max_score:g}", panels="\n".join(panels)
    )
    return printable(page) + "\n"


def require_students(submissions, platform):
    """Raise ValueError unless the platform's names say whose every submission is."""
    for submission in submissions:
        if not submission.student_id:
            example = {"Moodle": "Anna Li_123_assignsubmission_file_", "Canvas": "lianna_123_456_mine.ipynb"}[platform]
            raise ValueError(
                f"{printable(submission.name)} does not say which student of {platform} it is: keep the names that "
                f"{platform} gives when it hands out all submissions, as in {example}"
            )


def require_writable(path):
    """Raise OSError or ValueError if a file cannot be written.

    Call it before grading, so that a bad path fails at once.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder: give a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error.strerror}") from error


def safe(text):
    """Return a text as one line that a spreadsheet does not read as a formula: students choose names of files."""
    return FORMULA_START.sub(r"\1'", one_line(text, max_chars=100_000))


def _write_rows(rows, path):
    def write(partial):
        with open(partial, "w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)

    write_file(Path(path), write)


def _write_text(path, text):
    path.write_text(text, encoding="utf-8")
