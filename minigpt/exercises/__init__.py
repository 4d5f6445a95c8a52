"""Exercises: write each part of GPT-2 yourself, and read precisely what is wrong with it.

>>> from minigpt.exercises import check
>>> check("softmax", my_softmax)
>>> check.in_model("softmax", my_softmax)

catalogue/       the exercises, one file each
exercise.py      the parts of an exercise
drawing.py       the inputs that exercises draw
placing.py       the places inside a GPT-2 that a function can take
checking.py      check: run on drawn inputs, one mechanism at a time
trial.py         one input, and what a function returns for it
shrinking.py     the smallest input that goes wrong
comparing.py     how a result differs from the expected one
recognising.py   which mistake explains the results: a known one, one that the rules make, or two together
repair.py        which place of the function's own source makes it right
mutants.py       right solutions rewritten into wrong ones
rules.py         the rules that rewrite them, each with its sentence
rule_table.py    those rules that are a pattern, a replacement and a sentence
patterns.py      pieces of Python as patterns and as formulas
in_model.py      check.in_model: inside a GPT-2, in place of minigpt's own
helpers.py       a function that calls another exercise's, judged by itself
calling.py       calls of functions that somebody else wrote
result.py        what a check found, as text and as a panel
formatting.py    arguments and results as short text
"""

from minigpt.exercises.catalogue import EXERCISES
from minigpt.exercises.checking import check
from minigpt.exercises.exercise import Exercise, Mistake, Probe
from minigpt.exercises.in_model import check_in_model

check.in_model = check_in_model

__all__ = ["EXERCISES", "Exercise", "Mistake", "Probe", "check"]
