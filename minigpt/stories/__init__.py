"""Short stories for children from a grammar of our own: a corpus whose best possible loss is known.

Every choice in a story has a known probability. So the probability of each story is known, and the entropy of all of
them: on new stories no model of any size can have a lower loss on average, and how near one comes is measured and not
guessed. Whether a text is such a story is no matter of taste either: `check` finds the first pronoun, colour or comma
that is wrong.

    plots.py      the stories
    world.py      who and what they are about
    grammar.py    the notation of both, writing, and the entropy
    reading.py    how probable a text is, and where it goes wrong
    judge.py      how near a model comes
"""

import numpy as np

from minigpt.stories.grammar import Grammar, Story
from minigpt.stories.plots import PIECES
from minigpt.stories.reading import Problem, Reading
from minigpt.stories.world import POOLS

__all__ = [
    "SEPARATOR",
    "Problem",
    "Story",
    "check",
    "entropy",
    "log_probability",
    "number_of_stories",
    "stories",
    "story",
    "words",
]

GRAMMAR = Grammar(PIECES, POOLS)
SEPARATOR = "<|endoftext|>"  # what follows every story in a text of many


def story(rng):
    """A Story, drawn with a numpy Generator: its text and its logprob, the natural logarithm of its probability."""
    if not isinstance(rng, np.random.Generator):
        raise ValueError(f"rng must be a numpy Generator, such as numpy.random.default_rng(0), not {rng!r}")
    return GRAMMAR.story(rng)


def stories(n, seed):
    """An iterator over n stories, drawn one after the other; the same seed gives the same stories."""
    for name, value in (("n", n), ("seed", seed)):
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 0:
            raise ValueError(f"{name} must be an integer, at least 0, not {value!r}")
    rng = np.random.default_rng(seed)
    return (GRAMMAR.story(rng) for _ in range(n))


def log_probability(text, beginning=False):
    """log p(text), natural, of any text: -inf for what is no story.

    With beginning, the logarithm of the probability that a story begins with the text; so the difference of two of
    them is what the best possible model would say of the piece between.
    """
    return Reading(GRAMMAR, text).log_probability(beginning)


def check(text):
    """None for a text that is a story, otherwise the Problem: its position, what stands there and what should."""
    return Reading(GRAMMAR, text).problem()


def entropy():
    """The entropy of the stories in nats, exact: the least loss that a model can have, per story and its end."""
    return GRAMMAR.entropy()


def number_of_stories():
    """How many different stories there are, exact."""
    return GRAMMAR.number_of_stories()


def words():
    """The set of the words of all stories, in small letters."""
    return GRAMMAR.words()
