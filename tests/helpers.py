"""What several test files share: running a command as a person does, notebook files, the number of drawn examples."""

import contextlib
import io
import json
import os
import subprocess
import sys

IS_CI = os.environ.get("HYPOTHESIS_PROFILE") == "ci"
MINIGPT = [sys.executable, "-m", "minigpt"]


def run(*arguments, stdin="", **options):
    """Run `minigpt ARGUMENTS` in a process of its own and return the CompletedProcess."""
    options = {"text": True, "encoding": "utf-8", "timeout": 300, "input": stdin, "capture_output": True, **options}
    return subprocess.run([*MINIGPT, *map(str, arguments)], **options)


def fails_with(sentence, *arguments, run=run, **options):
    """Assert that `minigpt ARGUMENTS` fails with exit code 2 and one line on standard error that has this sentence."""
    result = run(*arguments, **options)
    assert result.returncode == 2 and result.stdout == "", result
    assert result.stderr.startswith("minigpt: ") and result.stderr.count("\n") == 1, result.stderr
    assert sentence in result.stderr, result.stderr


def notebook(*cells):
    """Return the text of a notebook file. A cell is its code, or a dict of its fields."""
    cells = [cell if isinstance(cell, dict) else {"source": cell} for cell in cells]
    empty = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    return json.dumps({"cells": [empty | cell for cell in cells], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def run_here(*arguments):
    """Run `minigpt ARGUMENTS` in this process, which is faster, and return what `run` would."""
    from minigpt.cli import main

    stdout, stderr = io.StringIO(), io.StringIO()
    argv, sys.argv = sys.argv, ["minigpt", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
            main()
        code = 0
    except SystemExit as end:
        code = end.code or 0
    finally:
        sys.argv = argv
    return subprocess.CompletedProcess(arguments, code, stdout.getvalue(), stderr.getvalue())


def examples(n):
    """Return how many examples hypothesis draws: n where HYPOTHESIS_PROFILE is "ci", else about a fifth, at least 5."""
    return n if IS_CI else max(5, n // 5)
