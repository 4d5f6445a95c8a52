"""Short stories for children, drawn from a grammar: a corpus whose best possible loss is known.

Every choice in a story has a known probability. The probability of each story is therefore known, and so is the entropy
of all of them: on average, no model of any size can have a lower loss on new stories, and how near one comes is
measured, not guessed. Nor is it a matter of taste whether a text is a story: `find_problem` finds the first wrong
pronoun, colour or comma.

    plots.py      the stories
    world.py      who and what they are about
    notation.py   the notation of both, and how it is read
    pools.py      pools of words
    graph.py      the graph that the notation becomes
    grammar.py    drawing a story, and the entropy
    reading.py    how probable a text is, and where it goes wrong
    judge.py      how near a model comes to the best possible
"""

from collections.abc import Iterator

import numpy as np

from minigpt.checks import require_integer
from minigpt.stories.grammar import Grammar, Story
from minigpt.stories.plots import RULES
from minigpt.stories.reading import Problem, Reading
from minigpt.stories.world import POOLS

__all__ = [
    "SEPARATOR",
    "Problem",
    "Story",
    "entropy",
    "find_problem",
    "log_probability",
    "number_of_stories",
    "stories",
    "story",
    "words",
]

GRAMMAR = Grammar(RULES, POOLS)
SEPARATOR = "<|endoftext|>"  # follows every story in a text of many


def story(rng: np.random.Generator) -> Story:
    """Draw a Story: its text and its logprob, the natural logarithm of its probability."""
    if not isinstance(rng, np.random.Generator):
        raise ValueError(f"rng must be a numpy Generator, such as numpy.random.default_rng(0), not {rng!r}")
    return GRAMMAR.story(rng)


def stories(n: int, seed: int) -> Iterator[Story]:
    """Return an iterator that draws n stories one after the other. The same seed gives the same stories."""
    require_integer("n", n, 0)
    require_integer("seed", seed, 0)
    rng = np.random.default_rng(seed)
    return (GRAMMAR.story(rng) for _ in range(n))


def log_probability(text: str, beginning: bool = False) -> float:
    """Return the natural log p(text), -inf for a text that is not a story.

    With beginning, p is the probability that a story begins with the text. The difference of two such values is the
    log probability that the best possible model gives to the text between.
    """
    return Reading(GRAMMAR, text).log_probability(beginning)


def find_problem(text: str) -> Problem | None:
    """Return None for a story, otherwise the Problem: the position, what was found, what was expected."""
    return Reading(GRAMMAR, text).problem()


def entropy() -> float:
    """Return the exact entropy of the stories in nats: the least loss of any model, per story with its end."""
    return GRAMMAR.entropy()


def number_of_stories() -> int:
    """Return how many different stories there are, exactly."""
    return GRAMMAR.number_of_stories()


def words() -> set[str]:
    """Return the words of all stories, in lower case."""
    return GRAMMAR.words()
