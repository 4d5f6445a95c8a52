"""The graph that the grammar's notation becomes. A story is a walk through it.

Every node has `ways(drawn)`: the ways on from it, given the words drawn so far, {role: Word}. A way is a tuple
(probability, text, next node, words drawn after it).
"""

from dataclasses import dataclass

END = None  # where every walk ends


@dataclass(eq=False)
class Literal:
    """A text that is always the same."""

    text: str
    next: object

    def ways(self, drawn):
        return [(1.0, self.text, self.next, drawn)]


@dataclass(eq=False)
class Reference:
    """An attribute of a word drawn earlier, which a reader has to remember."""

    role: str
    attribute: str
    has_article: bool
    is_capitalised: bool
    next: object

    def text_of(self, word):
        text = word.texts[self.attribute]
        if self.has_article:
            # The first letter decides: no pool has an exception such as hour or unicorn.
            text = ("an " if text[0] in "aeiou" else "a ") + text
        return text[0].upper() + text[1:] if self.is_capitalised else text

    def ways(self, drawn):
        return [(1.0, self.text_of(drawn[self.role]), self.next, drawn)]


@dataclass(eq=False)
class Draw:
    """Draw a word from a pool, or from a list of an owner drawn before. No word is drawn twice in a story."""

    role: str
    owner: str | None
    source: object  # the pool, or the name of the owner's list
    next: object

    def ways(self, drawn):
        words = self.source if self.owner is None else drawn[self.owner].lists[self.source]
        taken = set(drawn.values())
        left = [word for word in words if word not in taken]
        return [(1 / len(left), "", self.next, drawn | {self.role: word}) for word in left]


@dataclass(eq=False)
class Choice:
    """One of several ways to go on."""

    options: list  # of (probability, node)

    def ways(self, drawn):
        return [(probability, "", node, drawn) for probability, node in self.options]


def distinct_ways(node, drawn):
    """Return node.ways(drawn) with equivalent ones merged: a list of (count, probability of each, text, next, drawn).

    All words of a draw are equivalent. Their texts differ, but no later decision depends on which word it was: the
    lists of a pool's words have the same length, and the same number of their entries is drawn already.
    """
    ways = node.ways(drawn)
    if isinstance(node, Draw):
        return [(len(ways), *ways[0])] if ways else []
    return [(1, *way) for way in ways]
