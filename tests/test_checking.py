"""The result of a check: verdict, details, and what else a reader hears."""

import numpy as np
import pytest
from exercise_helpers import right_softmax, unwatched
from right_solutions import RIGHT

from minigpt.exercises import EXERCISES, check, drawing
from minigpt.exercises.calling import call
from minigpt.exercises.checking import NotPassedError, examine
from minigpt.exercises.drawing import drawn_inputs
from minigpt.exercises.trial import try_input


@pytest.mark.parametrize("name", ["softmax", "layer_norm", "adamw", "bpe_merge"])
def test_a_changed_argument_is_told(name):
    right, calls = RIGHT[name][0], []

    def changes(first, *others):
        result = right(first, *others)
        calls.append(1)
        if isinstance(first, list):
            first.append(1)
        else:
            first *= 2
            first += 1
        return result

    verdict = check(name, changes).verdict
    assert verdict.startswith("the result is right, but the function changes its argument")


def test_the_smallest_input_is_small():
    result = check(
        "layer_norm", lambda x, w, b, eps: (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True) * w + b
    )
    assert not result.passed
    assert len(dict(result.details)["smallest input"]) < 300


def test_without_shrinking_each_input_is_tried_once():
    calls = []

    def run(arguments):
        calls.append(arguments)
        return call(lambda x: x, arguments)

    result = examine(EXERCISES["softmax"], run, shrink=False)
    assert not result.passed and "on the input" in dict(result.details)
    assert len(calls) == len(list(drawn_inputs(EXERCISES["softmax"])))


def adds_to_the_table(ids, wte, wpe):
    x = []
    for t, i in enumerate(ids):
        row = wte[i]
        row += wpe[t]
        x.append(row.copy())
    return np.array(x)


def test_a_wrong_function_that_changes_an_argument_hears_of_both():
    result = check("embeddings", adds_to_the_table)
    assert "leave out copy" in result.verdict and "changes its argument wte" in dict(result.details)["besides"]


def test_a_changed_argument_is_shown_as_it_is_left():
    def softmax(x):
        result = right_softmax(x)
        x[...] = 7
        return result

    assert "7" in dict(check("softmax", softmax).details)["afterwards"]


def test_printing_is_shown_where_it_failed(capsys):
    def softmax(x):
        print("here", x.shape)
        return x

    result = check("softmax", softmax)
    assert dict(result.details)["it printed"].startswith("here (")
    assert capsys.readouterr().out == ""


def test_bad_calls():
    with pytest.raises(ValueError, match="there is no exercise 'sofmax'; did you mean 'softmax'"):
        check("sofmax", right_softmax)
    assert "must be a function" in check("softmax", 3).verdict
    assert "TypeError" in check("softmax", lambda: 3).verdict


def test_nbgrader_counts_a_cell_that_raises_nothing(monkeypatch):
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    assert check("softmax", right_softmax).passed
    with pytest.raises(NotPassedError, match="softmax"):
        check("softmax", lambda x: x)


def test_a_panel_shows_what_the_text_says():
    result = check("softmax", lambda x: x)
    panel = result._repr_html_()
    assert "<script" not in panel and "✗ softmax" in panel and "smallest input" in panel
    assert check("softmax", right_softmax)._repr_html_().count("✓") == 1


def test_a_seed_selects_other_inputs_and_repeats_them():
    exercise = EXERCISES["attention"]

    def drawn(seed):
        return [
            np.concatenate([part.ravel() for part in arguments]).tolist()
            for _, arguments in drawn_inputs(exercise, seed)
        ]

    first, second, usual = drawn(1), drawn(2), drawn(None)
    drawing._drawn.cache_clear()
    assert drawn(1) == first and drawn(None) == usual
    assert len(first[-1]) == len(usual[-1]) > 100  # the large input
    for one, other in ((first, second), (first, usual)):
        shared = [inputs for inputs in one if len(inputs) > 9 and inputs in other and any(inputs)]
        assert len(shared) < len(one) / 10 and one[-1] != other[-1]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_fresh_inputs_judge_as_the_usual_ones(seed):
    """Every right solution passes on them, and every known mistake fails."""
    for name, exercise in EXERCISES.items():
        for function in RIGHT[name]:
            result = examine(exercise, unwatched(function), shrink=False, seed=seed)
            assert result.passed, (function.__name__, result)
        for mistake in exercise.mistakes:
            inputs = drawn_inputs(exercise, seed)
            trials = (try_input(exercise, probe, arguments, unwatched(mistake.function)) for probe, arguments in inputs)
            assert any(trial.is_wrong for trial in trials), (name, mistake.hint)


@pytest.mark.parametrize("under_nbgrader", [False, True])
def test_under_nbgrader_a_cell_shows_the_panel_and_has_no_value(monkeypatch, under_nbgrader):
    """nbgrader takes points from a cell's value, and warns of any that is no number."""
    formatter = pytest.importorskip("IPython.core.formatters").DisplayFormatter()
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda panel: shown.append(panel.data))
    if under_nbgrader:
        monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    value, _ = formatter.format(check("softmax", right_softmax))
    assert bool(value) is not under_nbgrader and len(shown) == under_nbgrader
    assert "✓" in (shown[0] if under_nbgrader else value["text/html"])
