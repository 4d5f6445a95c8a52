"""Read a text by the grammar: how probable it is, and where it first goes wrong.

A reading walks the graph as drawing does, but along all ways at once, and leaves a way as soon as its text differs.
Few ways match for longer than a word.
"""

import math
from dataclasses import dataclass

from minigpt.stories.graph import END, Reference

MAX_EXPECTED = 8  # alternatives that a message lists


@dataclass(frozen=True)
class Problem:
    """Where a text stops being a story: some story begins with text[:position], and none with one character more."""

    position: int
    found: str  # the word or the sign at this position
    expected: tuple[str, ...]  # what could be there instead
    because: str  # what the word must agree with, such as "hero is Anna"; or empty

    def __str__(self):
        text = f"at character {self.position}: found {self.found}, expected "
        text += "one of " * (len(self.expected) > 1) + ", ".join(self.expected[:MAX_EXPECTED])
        if len(self.expected) > MAX_EXPECTED:
            text += f" and {len(self.expected) - MAX_EXPECTED} more"
        return text + f" ({self.because})" * bool(self.because)


class Reading:
    """A text, read by a grammar. Raises ValueError for anything but a string.

    p_story is the probability of the text as a story, p_prefix the probability that a story begins with the text.
    furthest is the length of the longest prefix that the text shares with some story; stops are the ways that end
    there: (how they would continue, their node, the words drawn).
    """

    def __init__(self, grammar, text):
        if not isinstance(text, str):
            raise ValueError(f"a story is a string, not {text!r}")
        self.text = text
        self.p_story = self.p_prefix = 0.0
        self.furthest = 0
        self.stops = []
        ahead = [(grammar.start, {}, 0, 1.0)]  # node, words drawn, characters read, probability
        while ahead:
            node, drawn, position, p_walk = ahead.pop()
            if node is END:
                if position == len(text):
                    self.p_story += p_walk
                    self.p_prefix += p_walk
                self._add_stop(position, "", node, drawn)
                continue
            for probability, said, following, then in node.ways(drawn):
                if text.startswith(said, position):
                    ahead.append((following, then, position + len(said), p_walk * probability))
                    continue
                n_common = 0
                while text[position + n_common : position + n_common + 1] == said[n_common]:
                    n_common += 1
                if position + n_common == len(text):
                    self.p_prefix += p_walk * probability
                self._add_stop(position + n_common, said[n_common:], node, drawn)

    def _add_stop(self, position, said, node, drawn):
        if position > self.furthest:
            self.furthest = position
            self.stops = []
        if position == self.furthest:
            self.stops.append((said, node, drawn))

    def log_probability(self, beginning: bool = False) -> float:
        """Return log p of the text as a story or, with beginning, as the beginning of one; -inf if it is neither."""
        probability = self.p_prefix if beginning else self.p_story
        return math.log(probability) if probability > 0 else -math.inf

    def problem(self) -> Problem | None:
        """Return None for a story, otherwise the Problem."""
        if self.p_story > 0:
            return None
        position, text = self.furthest, self.text
        # A word that goes wrong in its middle or at its end ("kites" for "kite") is quoted whole.
        before = text[len(text[:position].rstrip(LETTERS)) : position]
        in_a_word = text[position : position + 1] in LETTERS and position < len(text)
        expected = {_first_token(before, said, in_a_word) for said, _, _ in self.stops}
        in_a_word = in_a_word or any(said[:1] and said[0] in LETTERS for said, _, _ in self.stops)
        reasons = {
            f"{node.role} is {drawn[node.role]}" if isinstance(node, Reference) and node.attribute != "name" else ""
            for _, node, drawn in self.stops
        }
        found = _first_token(before, text[position:], in_a_word) if position < len(text) else THE_END
        return Problem(position, found, tuple(sorted(expected)), reasons.pop() if len(reasons) == 1 else "")


LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
THE_END = "the end"


def _first_token(before, text, in_a_word):
    """Return the text's first word, with the letters before it, or its first character, in quotation marks."""
    rest = text[: len(text) - len(text.lstrip(LETTERS))]
    if before + rest and (rest or in_a_word):
        return f"'{before + rest}'"
    return {"": THE_END, " ": "a space", "\n": "a new paragraph"}.get(text[:1], f"'{text[:1]}'")
