"""A grammar whose every choice has a known probability: it draws texts, and its entropy is known exactly.

Its rules, in the notation of notation.py, become a graph (graph.py). The probability of a story, the entropy and the
reading of texts all follow from that graph. There is no second description of what a story is.
"""

import math
import re
from dataclasses import dataclass

import numpy as np

from minigpt.stories.graph import END, Draw, Literal, Reference, distinct_ways
from minigpt.stories.notation import compile_rule


@dataclass(frozen=True)
class Story:
    """A text and the natural logarithm of the probability that the grammar draws exactly this text."""

    text: str
    logprob: float


class Grammar:
    """A grammar: rules {name: notation}, of which "story" is the first, and pools {name: words}.

    Raises ValueError for a grammar that cannot work: a word is referred to but not drawn, a pool runs out, ...
    """

    def __init__(self, rules, pools):
        self.start = compile_rule("story", rules, pools)
        if len({word for words in pools.values() for word in words}) < sum(map(len, pools.values())):
            raise ValueError("a word is in two pools: the number of words left would depend on which were drawn")
        for node, drawn in self.states():
            if isinstance(node, Reference):
                _require_reference(node, drawn)
            elif isinstance(node, Draw):
                _require_draw(node, drawn)

    def story(self, rng: np.random.Generator) -> Story:
        """Walk through the graph, taking each way with its probability; rng.random() gives a number in [0, 1)."""
        node, drawn, texts, logprob = self.start, {}, [], 0.0
        while node is not END:
            ways = node.ways(drawn)
            way = ways[0]
            if len(ways) > 1:
                remaining = rng.random()
                for way in ways:
                    remaining -= way[0]
                    if remaining < 0:
                        break
                logprob += math.log(way[0])
            _, text, node, drawn = way
            texts.append(text)
        return Story("".join(texts), logprob)

    def states(self):
        """Yield every node with the words drawn before it, once for all interchangeable words."""
        seen, ahead = set(), [(self.start, {})]
        while ahead:
            node, drawn = ahead.pop()
            state = node, frozenset(drawn.items())
            if node is not END and state not in seen:
                seen.add(state)
                yield node, drawn
                ahead += [(following, then) for _, _, _, following, then in distinct_ways(node, drawn)]

    def entropy(self) -> float:
        """Return H = -sum of p(story) log p(story) over all stories, in nats: the least loss a model can have. Exact.

        By the chain rule, H(node) = sum over its ways of p (-log p + H(next node)). This is the entropy of the texts
        because no two walks give the same text, as the tests check.
        """
        return self._sum_over_walks(lambda n, probability, rest: n * probability * (rest - math.log(probability)), 0.0)

    def number_of_stories(self) -> int:
        """Return how many different texts have a probability above 0. Exact, an integer of any size."""
        return self._sum_over_walks(lambda n, probability, rest: n * rest, 1)

    def _sum_over_walks(self, term, at_end):
        """Return total(start): total(node) = sum over its distinct ways of term(n, probability, total(next node)).

        n is the number of equivalent ways. Many walks meet in few nodes, so each node is computed once for every set
        of roles drawn before it.
        """
        totals = {}

        def total(node, drawn):
            if node is END:
                return at_end
            state = node, frozenset(drawn.items())
            if state not in totals:
                totals[state] = sum(
                    term(n, probability, total(following, then))
                    for n, probability, _, following, then in distinct_ways(node, drawn)
                )
            return totals[state]

        return total(self.start, {})

    def words(self) -> set[str]:
        """Return the words of all stories, in lower case. The letters after an apostrophe are not a word."""
        texts = set()
        for node, drawn in self.states():
            if isinstance(node, Literal):
                texts.add(node.text)
            elif isinstance(node, Reference):
                texts.update(map(node.text_of, drawn[node.role].peers))
        return {word for text in texts for word in re.findall("(?<![a-z'])[a-z]+", text.lower())}


def _require_reference(node, drawn):
    if node.role not in drawn:
        raise ValueError(f"{{{node.role}}} is used, but not drawn before on every way")
    lacking = [word for word in drawn[node.role].peers if node.attribute not in word.texts]
    if lacking:
        raise ValueError(f"{{{node.role}.{node.attribute}}}: {lacking[0]!r} has no {node.attribute!r}")


def _require_draw(node, drawn):
    if node.role in drawn:
        raise ValueError(f"{node.role!r} is drawn a second time")
    if node.owner and node.source not in getattr(drawn.get(node.owner), "lists", ()):
        raise ValueError(f"{{{node.role} of {node.owner}.{node.source}}}: there is no such list")
    if not node.ways(drawn):
        raise ValueError(f"no word is left to draw for {node.role!r}")
