"""Reading a text by the grammar: how probable it is, and where it first goes wrong.

A reader walks the graph as the writer does, but on every way at once, and leaves a way as soon as it says something
else than the text does. Few ways last longer than a word.
"""

import math
from dataclasses import dataclass

from minigpt.stories.grammar import END, Tell


@dataclass(frozen=True)
class Problem:
    """Where a text stops being a story: some story begins with text[:position], and none with one character more."""

    position: int
    found: str  # the word there, or what stands in its place
    expected: tuple  # what could have stood there
    because: str  # what a pronoun or the like has to agree with; or empty

    def __str__(self):
        text = f"at character {self.position}: found {self.found}, expected "
        text += "one of " * (len(self.expected) > 1) + ", ".join(self.expected[:8])
        if len(self.expected) > 8:
            text += f" and {len(self.expected) - 8} more"
        return text + f" ({self.because})" * bool(self.because)


class Reading:
    """A text, read by a grammar. Raises ValueError for what is no text.

    whole is the probability of the text as a story, begun the probability that a story begins with the text.
    furthest is the length of the longest beginning that the text and some story share; stops are the ways that end
    there: (what they say from there on, the node that says it, the words drawn).
    """

    def __init__(self, grammar, text):
        if not isinstance(text, str):
            raise ValueError(f"a story is a string, not {text!r}")
        self.text, self.whole, self.begun = text, 0.0, 0.0
        self.furthest, self.stops = 0, []
        ahead = [(grammar.start, {}, 0, 1.0)]  # node, words drawn, characters read, probability
        while ahead:
            node, drawn, at, so_far = ahead.pop()
            if node is END:
                if at == len(text):
                    self.whole += so_far
                    self.begun += so_far
                self._stop(at, "", node, drawn)
                continue
            for probability, said, following, then in node.ways(drawn):
                if text.startswith(said, at):
                    ahead.append((following, then, at + len(said), so_far * probability))
                    continue
                same = 0
                while text[at + same : at + same + 1] == said[same]:
                    same += 1
                if at + same == len(text):
                    self.begun += so_far * probability
                self._stop(at + same, said[same:], node, drawn)

    def _stop(self, at, said, node, drawn):
        if at > self.furthest:
            self.furthest, self.stops = at, []
        if at == self.furthest:
            self.stops.append((said, node, drawn))

    def log_probability(self, beginning=False):
        probability = self.begun if beginning else self.whole
        return math.log(probability) if probability > 0 else -math.inf

    def problem(self):
        """None for a story, otherwise the Problem."""
        if self.whole > 0:
            return None
        at, text = self.furthest, self.text
        # Where a word goes wrong in its middle or at its end ("kites" for "kite"), the whole words are shown.
        before = text[len(text[:at].rstrip(LETTERS)) : at]
        in_a_word = text[at : at + 1] in LETTERS and at < len(text)
        expected = {_shown(before, said, in_a_word) for said, _, _ in self.stops}
        in_a_word = in_a_word or any(said[:1] and said[0] in LETTERS for said, _, _ in self.stops)
        reasons = {
            f"{node.role} is {drawn[node.role]}" if isinstance(node, Tell) and node.attribute != "name" else ""
            for _, node, drawn in self.stops
        }
        found = _shown(before, text[at:], in_a_word) if at < len(text) else THE_END
        return Problem(at, found, tuple(sorted(expected)), reasons.pop() if len(reasons) == 1 else "")


LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
THE_END = "the end"


def _shown(before, text, in_a_word):
    """What stands first in the text, in quotation marks: a word, to which the letters before belong, or a character."""
    rest = text[: len(text) - len(text.lstrip(LETTERS))]
    if before + rest and (rest or in_a_word):
        return f"'{before + rest}'"
    return {"": THE_END, " ": "a space", "\n": "a new paragraph"}.get(text[:1], f"'{text[:1]}'")
