"""Exercises: write each part of GPT-2 yourself, and be told precisely what is wrong with it.

>>> from minigpt.exercises import check
>>> check("softmax", my_softmax)
>>> check.in_model("softmax", my_softmax)

exercise.py       what an exercise is made of
tokens.py, attention.py, block.py, decoding.py, learning.py      the exercises, with the mistakes that people make
checking.py       check: on drawn inputs, one mechanism at a time
in_model.py       check.in_model: in place of minigpt's own inside a GPT-2
calling.py        running a function that somebody else wrote
result.py         what a check found, as text and as a panel
"""

from minigpt.exercises import attention, block, decoding, learning, tokens
from minigpt.exercises.checking import check
from minigpt.exercises.in_model import in_model

EXERCISES = {
    exercise.name: exercise
    for module in (tokens, attention, block, decoding, learning)
    for exercise in module.EXERCISES
}  # in the order of the notebooks

check.in_model = in_model

__all__ = ["EXERCISES", "check"]
