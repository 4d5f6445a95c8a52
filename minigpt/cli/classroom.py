"""minigpt exercises: write each part of GPT-2 yourself, have it checked, grade a class."""

import os
import sys

import click

from minigpt.cli.options import refuse_empty
from minigpt.cli.output import progress as with_progress
from minigpt.cli.output import write

MAX_VERDICT_CHARS = 90  # in a line of the table; a longer verdict is printed in full below it


def _add_exercises(context, parameter, folder):
    if folder is not None:
        from minigpt.exercises.catalogue import add_exercises

        add_exercises(folder)


with_catalogue = click.option(
    "--catalogue",
    type=click.Path(exists=True, file_okay=False),
    expose_value=False,
    is_eager=True,
    callback=_add_exercises,
    help="A folder with exercises of your own: see minigpt/exercises/README.md.",
)


def _require_file(context, parameter, path):
    if os.path.isdir(path):
        raise click.BadParameter(f"{path} is a folder: `minigpt exercises progress {path}` shows what is solved in it")
    return path


def _require_folder(context, parameter, path):
    if not os.path.isdir(path):
        raise click.BadParameter(f"{path} is a file: `minigpt exercises check {path}` checks what it defines")
    return path


@click.group()
def exercises():
    """Write each part of GPT-2 yourself: notebooks to work in, checks, and grading for a class."""


@exercises.command()
@click.argument("folder", callback=refuse_empty)
@click.option("--update", is_flag=True, help="Bring existing copies up to date; what you wrote in them is kept.")
def start(folder, update):
    """Copy the notebooks without their solutions into FOLDER. Existing files stay as they are.

    With --update, existing copies get the pages of the installed version. Answers, changed cells and added cells stay,
    and the files as they were are saved in FOLDER.
    """
    from minigpt.classroom.copies import start_course
    from minigpt.classroom.updating import update_course

    written, kept = start_course(folder)
    if update:
        updated, refused, backup = update_course(folder)
        for name, reason in refused.items():
            click.echo(f"minigpt: {name} stays as it is: {reason}", err=True)
        if updated:
            write(f"updated: {', '.join(updated)}\nas they were, they are in {backup}; reload open pages in Jupyter\n")
        elif not written:
            write(f"the pages in {folder} are up to date\n")
    elif kept:
        write(f"kept as they are: {', '.join(kept)}\n")
    if written:
        write(f"{len(written)} notebooks are in {folder}: run `jupyter lab {folder}` and begin with {written[0]}\n")


@exercises.command()
@click.argument("out", callback=refuse_empty)
@click.option("--solutions", is_flag=True, help="Show the exercises solved.")
def book(out, solutions):
    """Write the course as HTML pages into OUT, a new folder. They need no network: open OUT/index.html."""
    from minigpt.classroom.book import write_book

    try:
        write(f"open {write_book(out, solutions)}\n")
    except ImportError as error:
        raise click.UsageError(str(error)) from error


@exercises.command("list")
@with_catalogue
def list_exercises():
    """List the exercises by notebook, with what each function has to compute."""
    import textwrap

    from minigpt.classroom.copies import exercises_by_notebook
    from minigpt.exercises import EXERCISES

    for notebook, names in exercises_by_notebook(EXERCISES).items():
        write(f"{notebook or 'in no notebook'}\n")
        for name in names:
            lines = textwrap.wrap(EXERCISES[name].task, 104, max_lines=2, placeholder=" ...")
            write(f"    {EXERCISES[name].signature}\n" + "".join(f"        {line}\n" for line in lines))


@exercises.command()
@with_catalogue
@click.argument("file", type=click.Path(exists=True), callback=_require_file)
@click.option("--only", multiple=True, metavar="NAME", help="Check only this exercise. May be given several times.")
def check(file, only):
    """Check every exercise that FILE (.py or .ipynb) defines. Only its definitions run, no other lines."""
    from minigpt.classroom.checks import check_workbook, open_workbook, rename_hints, renamed_exercises
    from minigpt.classroom.printable import one_line, printable
    from minigpt.exercises import EXERCISES

    handed_in = open_workbook(file, only)
    failed = []
    for result in check_workbook(handed_in, only):
        mark = "✓" if result.passed else "✗"
        write(f"{mark} {result.exercise:24}{one_line(result.verdict, max_chars=MAX_VERDICT_CHARS)}\n")
        if not result.passed:
            failed.append(result)
    for result in failed:
        if result.details or one_line(result.verdict, max_chars=MAX_VERDICT_CHARS) != result.verdict:
            write(f"\n{printable(str(result))}\n")
    verdicts = {result.verdict for result in failed}
    for problem in [*handed_in.problems, *rename_hints(renamed_exercises(handed_in))]:
        if problem not in verdicts:
            write(f"\n{printable(problem)}\n")
    found = {*handed_in.functions, *handed_in.failed}
    pages = {exercise.notebook for name, exercise in EXERCISES.items() if name in found}
    missing = [name for name, exercise in EXERCISES.items() if name not in found and exercise.notebook in pages]
    if missing and not only:
        write(f"\nnot in the file: {', '.join(missing)}\n")
    if failed:
        sys.exit(1)


@exercises.command()
@with_catalogue
@click.argument("folder", default=".", type=click.Path(exists=True), callback=_require_folder)
def progress(folder):
    """Show which exercises the notebooks and .py files in FOLDER solve, and what is left. Only definitions run."""
    from minigpt.classroom.progress import progress

    write(f"{progress(folder)}\n")


@exercises.command()
@with_catalogue
@click.argument("folder", type=click.Path(exists=True, file_okay=False))
@click.option("--csv", type=click.Path(), help="Write a table of all results to this file.")
@click.option("--moodle", type=click.Path(), help="Write a grading worksheet for Moodle to this file.")
@click.option("--canvas", type=click.Path(), help="Write a table for Canvas's gradebook to this file.")
@click.option("--assignment", default="minigpt", help="The column of Canvas's gradebook, as in 'Week 3 (81234)'.")
@click.option("--gradescope", type=click.Path(), help="Write Gradescope's results.json; FOLDER is one submission.")
@click.option("--feedback", type=click.Path(), help="Write an HTML page for each submission into this folder.")
@click.option("--exercises", "chosen", metavar="NAMES", help="Grade these only: exercises or notebooks.")
@click.option("--points", type=click.Path(exists=True, dir_okay=False), help="TOML file of lines as in: softmax = 2")
@click.option("--seed", type=click.IntRange(0), help="Repeat a grading on its inputs. Default: a new secret one.")
@click.option(
    "--isolation",
    type=click.Choice(["auto", "bwrap", "process"]),
    default="auto",
    show_default=True,
    help="Where submissions run: inside bubblewrap, or only in processes of their own; auto: bubblewrap if it works.",
)
@click.option("--jobs", type=click.IntRange(1), help="Submissions graded at the same time. Default: one for each core.")
@click.option(
    "--time",
    type=click.FloatRange(1, 86400),
    default=120,
    show_default=True,
    help="Time limit for each submission, in seconds.",
)
@click.option(
    "--memory",
    type=click.IntRange(256),
    default=2048,
    show_default=True,
    help="Memory limit for each submission, in MB.",
)
def grade(
    folder, csv, moodle, canvas, assignment, gradescope, feedback, chosen, points, seed, isolation, jobs, time, memory
):
    """Check all submissions in FOLDER: each .py, .ipynb or .zip file is one, and each folder with all its files.

    Each submission runs in a process of its own, isolated by bubblewrap where that works, with limits of time and
    memory. All are copied before the first one runs. The tables are written after each submission, so nothing is lost
    if grading is stopped. What is defended, and what is not: minigpt/classroom/README.md.
    """
    import secrets
    from functools import partial

    from minigpt.classroom import grading, reports
    from minigpt.classroom.printable import printable
    from minigpt.classroom.submissions import find_submissions, ignored_files, whole_folder
    from minigpt.ops.threads import usable_cpus

    if not any((csv, moodle, canvas, gradescope, feedback)):
        raise click.UsageError("give --csv, --moodle, --canvas, --gradescope or --feedback: where the grades go")
    points = reports.chosen_points(chosen, points)
    submissions = whole_folder(folder) if gradescope else find_submissions(folder)
    for platform in ("Moodle" * bool(moodle), "Canvas" * bool(canvas)):
        if platform:
            reports.require_students(submissions, platform)
    writers = {
        csv: reports.write_csv,
        moodle: reports.write_moodle,
        canvas: partial(reports.write_canvas, assignment=assignment),
        gradescope: lambda grades, path: reports.write_gradescope(grades[0], path),
    }
    writers = {path: write for path, write in writers.items() if path}
    for path in (*writers, *([os.path.join(feedback, "page.html")] if feedback else [])):
        reports.require_writable(path)
    seed = secrets.randbits(32) if seed is None else seed
    place = {submission.name: number for number, submission in enumerate(submissions)}
    grades = []
    with grading.isolated(isolation, folder) as (isolation, reason):
        if reason:
            click.echo(f"minigpt: submissions run without bubblewrap, because {reason}; see --isolation", err=True)
        options = {"seconds": time, "memory_mb": memory, "seed": seed, "points": points}
        for graded in with_progress(
            grading.grade_all(submissions, isolation, jobs or usable_cpus(), **options), len(submissions), "submission"
        ):
            grades.append(graded)
            grades.sort(key=lambda grade: place[grade.name])
            if points is None:
                grading.count_what_somebody_handed_in(grades)
            for path, write_grades in writers.items():
                write_grades(grades, path)
    if feedback:
        reports.write_feedback(grades, feedback)
    where = {"bwrap": "inside bubblewrap", "process": "in processes of their own, without bubblewrap"}[isolation.name]
    files = ", ".join(printable(str(path)) for path in writers)
    write(reports.as_table(grades) + f"\n\nsubmissions ran {where}\n")
    write(f"the inputs were drawn with --seed {seed}, which repeats them: keep it from the students\n")
    write(f"the grades are in {files}\n" if files else "")
    if feedback:
        write(f"the pages for the students are in {printable(feedback)}\n")
    if not gradescope and (others := ignored_files(folder, [*writers])):
        click.echo(f"minigpt: ignored: {printable(', '.join(others))}", err=True)
    if not all("memory" in grade.limits for grade in grades if grade.limits is not None):
        click.echo("minigpt: this system cannot limit the memory of a process; only time was limited", err=True)
