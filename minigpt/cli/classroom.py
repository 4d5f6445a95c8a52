"""minigpt exercises: write each part of GPT-2 yourself, have it checked, grade a class."""

import sys

import click

from minigpt.cli.options import refuse_empty
from minigpt.cli.output import progress, write

MAX_VERDICT_CHARS = 90  # in a line of the table; a longer verdict is printed in full below it


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
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--only", multiple=True, metavar="NAME", help="Check only this exercise. May be given several times.")
def check(file, only):
    """Check every exercise that FILE (.py or .ipynb) defines. Only its definitions run, no other lines."""
    from minigpt.classroom.printable import one_line, printable
    from minigpt.classroom.workbook import check_workbook, open_workbook
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
    for problem in handed_in.problems:
        if problem not in verdicts:
            write(f"\n{printable(problem)}\n")
    found = {*handed_in.functions, *handed_in.failed}
    if not only and not found.issuperset(EXERCISES):
        write(f"\nnot in the file: {', '.join(name for name in EXERCISES if name not in found)}\n")
    if failed:
        sys.exit(1)


@exercises.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False))
@click.option("--csv", "out", required=True, type=click.Path(), help="Write the table to this file.")
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
def grade(folder, out, time, memory):
    """Check all submissions in FOLDER: each .py or .ipynb file is one, and each folder is one, with all its files.

    Each submission runs in a process of its own, with limits of time and memory. All are copied before the first one
    runs. The table is written after each submission, so nothing is lost if grading is stopped. This is not a sandbox:
    see minigpt/classroom/README.md.
    """
    from minigpt.classroom import grading
    from minigpt.classroom.printable import printable
    from minigpt.classroom.submissions import find_submissions, ignored_files

    submissions = find_submissions(folder)
    grading.require_writable(out)
    grades = []
    for submission in progress(submissions, len(submissions), "submission"):
        grades.append(grading.grade(submission, time, memory))
        grading.write_csv(grades, out)
    write(grading.as_table(grades) + f"\n\nthe table is in {printable(str(out))}\n")
    if others := ignored_files(folder, out):
        click.echo(f"minigpt: ignored: {printable(', '.join(others))}", err=True)
    if not all("memory" in grade.limits for grade in grades if grade.limits is not None):
        click.echo("minigpt: this system cannot limit the memory of a process; only time was limited", err=True)
