"""Calls of functions that crash, never end, print, ask, or are minigpt's own."""

import math
import sys
import threading
import time

import numpy as np
import pytest
from exercise_helpers import right_softmax

from minigpt.exercises import EXERCISES, check
from minigpt.exercises.calling import call
from minigpt.exercises.checking import examine


def test_a_crash_is_told_with_its_line():
    def softmax(x):
        return x @ np.ones(99)

    verdict = check("softmax", softmax).verdict
    assert verdict.startswith("ValueError: matmul") and "return x @ np.ones(99)" in verdict


def test_a_function_of_math_on_an_array_is_told():
    def gelu(x):
        return x / 2 * (1 + math.tanh(x))

    verdict = check("gelu", gelu).verdict
    assert "functions of math take a single number, those of NumPy an array" in verdict, verdict


def plain_loop(x):
    while True:
        pass


def loop_that_catches_everything(x):
    while True:
        try:
            while True:
                pass
        except:  # noqa: E722
            pass


def loop_that_catches_everything_below(x):
    def never(error):
        return plain_loop(x)

    while True:
        try:
            sorted(x.ravel(), key=never)
        except BaseException:
            continue


def loops_in_a_loop(x):
    while True:
        try:
            loop_that_catches_everything(x)
        except:  # noqa: E722
            continue


def loop_that_sleeps(x):
    while True:
        try:
            time.sleep(0.01)
        except:  # noqa: E722
            continue


@pytest.mark.parametrize(
    "softmax",
    [
        plain_loop,
        loop_that_catches_everything,
        loop_that_catches_everything_below,
        loops_in_a_loop,
        loop_that_sleeps,
    ],
)
def test_an_endless_loop_ends(softmax):
    # One that goes on in its thread takes the time of all that comes after.
    before = set(threading.enumerate())
    outcome = call(softmax, (np.zeros(3),), seconds=0.5)
    assert outcome.problem == "time" and "endless loop" in outcome.message and "still runs" not in outcome.message
    assert set(threading.enumerate()) <= before and threading.getprofile() is None


def test_an_endless_loop_is_a_verdict():
    result = examine(EXERCISES["softmax"], lambda arguments: call(plain_loop, arguments, seconds=0.5))
    assert "had not ended after 0.5 seconds: is there an endless loop?" in result.verdict


@pytest.mark.slow
def test_an_endless_loop_ends_after_five_seconds():
    assert "had not ended after 5 seconds: is there an endless loop?" in check("softmax", plain_loop).verdict


def test_what_cannot_be_ended_is_told():
    before = set(threading.enumerate())
    outcome = call(time.sleep, (2,), seconds=0.1)
    assert outcome.problem == "time" and "It still runs: restart Python (in a notebook, the kernel)" in outcome.message
    for thread in set(threading.enumerate()) - before:
        thread.join()


def test_not_yet_written():
    def softmax(x):
        raise NotImplementedError("write softmax")

    assert check("softmax", softmax).verdict == "it is not written yet"


def test_exit_is_no_way_out():
    verdict = check("softmax", lambda x: sys.exit(0)).verdict
    assert verdict.startswith("SystemExit: 0 (") and "sys.exit(0)" in verdict


@pytest.mark.slow
def test_recursion_without_an_end_is_no_cheating():
    def softmax(x):
        return softmax(x)

    def again(i):
        return i

    def endless(x):
        i = 0
        while True:
            i = again(i)

    assert check("softmax", softmax).verdict.startswith("RecursionError")
    for _ in range(3):
        outcome = call(endless, (np.zeros(3),), seconds=0.5)
        assert outcome.problem == "time" and "endless loop" in outcome.message


def test_who_switches_off_the_watch_is_told():
    def softmax(x):
        sys.setprofile(None)
        return right_softmax(x)

    assert "sys.setprofile" in check("softmax", softmax).verdict


def test_nobody_answers_input():
    verdict = check("softmax", lambda x: float(input("x? "))).verdict
    assert verdict.startswith("EOFError: input() waits for somebody to type")


def test_hiding_what_is_called_is_not_easy():
    from minigpt.exercises import calling
    from minigpt.ops import plain

    def without_home(x):
        calling.PACKAGE = "nowhere"
        return plain.softmax(x)

    def forgetful(x):
        result = plain.softmax(x)
        for value in sys._getframe(1).f_locals.values():
            if isinstance(value, list):
                value.clear()
        return result

    def from_inside(x, c_attn, c_proj, n_head):
        results, zero = [], np.zeros((1, 1, 1, 1))

        def tap(name, value):
            results.append(EXERCISES["self_attention"].reference(x, c_attn, c_proj, n_head))
            return value

        plain.attention(zero, zero, zero, tap=tap)
        return results[0]

    home = calling.PACKAGE
    try:
        for name, function in (
            ("softmax", without_home),
            ("softmax", forgetful),
            ("self_attention", from_inside),
        ):
            assert "which is minigpt's own solution" in check(name, function).verdict
    finally:
        calling.PACKAGE = home


def test_minigpts_own_solutions_are_refused():
    from minigpt.ops import plain
    from minigpt.training.backward import softmax_backward

    for name, function in (
        ("softmax", plain.softmax),
        ("softmax", lambda x: plain.softmax(x) + 0),
        ("attention", lambda q, k, v: plain.attention(q, k, v) + 0),
        ("softmax_backward", softmax_backward),
        ("softmax", EXERCISES["softmax"].reference),
    ):
        assert "which is minigpt's own solution" in check(name, function).verdict
    # What an exercise is made of may be used.
    assert "minigpt.ops.plain.softmax" in EXERCISES["attention"].uses
