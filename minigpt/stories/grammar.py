"""A grammar of texts whose every choice has a known probability: its notation, its graph, and what is known exactly.

The notation is the text itself, with

    [red|dark blue]         one of these, each as probable as the others; they may nest, and one may be empty
    [70% red|30% blue]      one of these, as often as it says
    {hero:child}            draw the hero from the pool "child", among those not drawn before, and say it
    {hero}                  say again what was drawn as hero
    {hero.his}              say an attribute of it; {hero:child.kind} draws and says an attribute
    {spot of place.spots}   draw a spot from a list that belongs to what was drawn as place
    {a thing}               say it with its article: a kite, an umbrella
    {Hero.he}               a role with a capital letter: say it with a capital letter
    <weather>               another piece of the grammar, by its name

A line break is a space, but nothing after [ or | and before | or ]; an empty line begins a new paragraph.

So written, the pieces become a graph of nodes, each of which knows the ways on from it (`ways`). A story is a walk
through the graph; its probability, the entropy and the reading of texts follow from `ways`, too. There is no second
description of what a story is.
"""

import math
import re
from dataclasses import dataclass

END = None  # where every walk ends


class Word:
    """One entry of a pool: what it says by attribute ("name" is its own text), and its lists of further words.

    Two words are the same only if they are the same entry.
    """

    def __init__(self, texts, lists=()):
        self.texts, self.lists = texts, dict(lists)
        self.peers = [self]  # all words that could stand where this one does

    def __repr__(self):
        return self.texts["name"]


def pool(columns, table):
    """Words from a table: a line for each, the columns between bars. A column named in brackets, [spots], holds a list.

    Every list of a column must have the same length, so that how many choices there are never depends on the word.
    """
    columns = columns.split()
    words = []
    for line in filter(str.strip, table.splitlines()):
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) != len(columns):
            raise ValueError(f"{len(cells)} cells for {len(columns)} columns: {line.strip()}")
        row = dict(zip(columns, cells, strict=True))
        lists = {name[1:-1]: _names(cell.split(",")) for name, cell in row.items() if name[0] == "["}
        words.append(Word({name: cell for name, cell in row.items() if name[0] != "["}, lists))
    for name in words[0].lists:
        if len({len(word.lists[name]) for word in words}) > 1:
            raise ValueError(f"the lists of [{name}] differ in length")
        of_all = [entry for word in words for entry in word.lists[name]]
        for entry in of_all:
            entry.peers = of_all
    return joined(words)


def names(text):
    """Words that have nothing but their names, from a text with commas."""
    return joined(_names(text.split(",")))


def joined(*parts):
    """One pool of several."""
    words = [word for part in parts for word in part]
    for word in words:
        word.peers = words
    return words


def _names(texts):
    return [Word({"name": " ".join(text.split())}) for text in texts]


# ---------------------------------------------------------------- the graph
# ways(drawn): every way on from a node, given the words drawn so far, {role: Word}; a list of
# (probability, what is said, the next node, the words drawn then).


@dataclass(eq=False)
class Say:
    """A text that is always the same."""

    text: str
    next: object

    def ways(self, drawn):
        return [(1.0, self.text, self.next, drawn)]


@dataclass(eq=False)
class Tell:
    """A text that was decided earlier: this is what a reader has to remember."""

    role: str
    attribute: str
    article: bool
    capital: bool
    next: object

    def said(self, word):
        text = word.texts[self.attribute]
        if self.article:
            # By the letter: none of the words that sound otherwise (hour, unicorn) is in a pool.
            text = ("an " if text[0] in "aeiou" else "a ") + text
        return text[0].upper() + text[1:] if self.capital else text

    def ways(self, drawn):
        return [(1.0, self.said(drawn[self.role]), self.next, drawn)]


@dataclass(eq=False)
class Draw:
    """A word from a pool, or from a list of a word drawn before (owner); never one that is drawn already."""

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
class Choose:
    """One of several ways to go on."""

    options: list  # of (probability, node)

    def ways(self, drawn):
        return [(probability, "", node, drawn) for probability, node in self.options]


# ---------------------------------------------------------------- from the notation to the graph

SLOT = re.compile(r"\{(?:(a|A) )?(\w+)(?::(\w+)| of (\w+)\.(\w+))?(?:\.(\w+))?\}")
SHARE = re.compile(r"(\d+)% ")


def compiled(name, pieces, pools, following=END, within=()):
    """The first node of the graph of a piece; its ends lead to the node `following`. Raises ValueError."""
    if name not in pieces:
        raise ValueError(f"there is no piece <{name}>")
    if name in within:
        raise ValueError(f"the piece <{name}> contains itself, and would never end")
    notation = re.sub(r"\s*\n\s*(?=[\]|])|(?<=[\[|])\s*\n\s*", "", pieces[name].strip())
    notation = "\n".join(" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", notation))
    tokens = re.findall(r"[\[|\]]|\{[^}]*\}|<[^>]*>|[^\[|\]{<]+", notation)
    if "".join(tokens) != notation:
        raise ValueError(f"a brace or angle that does not close in <{name}>")

    def sequence(depth):
        """The parts up to a bar, a bracket or the end; a choice is a list of such sequences."""
        parts = []
        while tokens and tokens[0] not in "|]":
            token = tokens.pop(0)
            if token != "[":
                parts.append(token)
                continue
            options = [sequence(depth + 1)]
            while tokens and tokens[0] == "|":
                tokens.pop(0)
                options.append(sequence(depth + 1))
            if not tokens:
                raise ValueError(f"a bracket that does not close in <{name}>")
            tokens.pop(0)
            parts.append(options)
        if depth == 0 and tokens:
            raise ValueError(f"{tokens[0]!r} outside of brackets in <{name}>")
        return parts

    def linked(parts, node):
        """From the last part to the first, each node knows the next one."""
        for part in reversed(parts):
            if isinstance(part, list):
                node = choice(part, node)
            elif part[0] == "<":
                node = compiled(part[1:-1], pieces, pools, node, (*within, name))
            elif part[0] == "{":
                node = slot(part, node)
            else:
                node = Say(part, node)
        return node

    def choice(options, node):
        shares = [SHARE.match(parts[0]) if parts and isinstance(parts[0], str) else None for parts in options]
        if not any(shares):
            return Choose([(1 / len(options), linked(parts, node)) for parts in options])
        if not all(shares) or sum(int(share[1]) for share in shares) != 100:
            raise ValueError(f"the shares of a choice in <{name}> are not 100% together: {options}")
        weighted = []
        for share, (first, *rest) in zip(shares, options, strict=True):
            first = first[share.end() :]
            weighted.append((int(share[1]) / 100, linked([first, *rest] if first else rest, node)))
        return Choose(weighted)

    def slot(text, node):
        match = SLOT.fullmatch(text)
        if not match:
            raise ValueError(f"{text} in <{name}> is no slot")
        article, role, source, owner, of, attribute = match.groups()
        capital = article == "A" or role[0].isupper()
        role = role.lower()
        node = Tell(role, attribute or "name", article is not None, capital, node)
        if source is not None and source not in pools:
            raise ValueError(f"{text} in <{name}>: there is no pool {source!r}")
        if source or owner:
            node = Draw(role, owner, of if owner else pools[source], node)
        return node

    return linked(sequence(0), following)


# ---------------------------------------------------------------- the grammar


@dataclass(frozen=True)
class Story:
    """A text and the natural logarithm of the probability that the grammar says just this."""

    text: str
    logprob: float


class Grammar:
    """Texts in the notation above. pieces: {name: notation}, of which "story" is the whole; pools: {name: words}.

    Raises ValueError for what cannot be a grammar: a word is told that was not drawn, a pool runs out, ...
    """

    def __init__(self, pieces, pools):
        self.start = compiled("story", pieces, pools)
        if len({word for words in pools.values() for word in words}) < sum(map(len, pools.values())):
            raise ValueError("a word is in two pools: how many are left would depend on which were drawn")
        for node, drawn in self.states():
            if isinstance(node, Tell):
                if node.role not in drawn:
                    raise ValueError(f"{{{node.role}}} is told, but on some way it was not drawn before")
                lacking = [word for word in drawn[node.role].peers if node.attribute not in word.texts]
                if lacking:
                    raise ValueError(f"{{{node.role}.{node.attribute}}}: {lacking[0]!r} has no {node.attribute!r}")
            elif isinstance(node, Draw):
                if node.role in drawn:
                    raise ValueError(f"{node.role!r} is drawn a second time")
                if node.owner and node.source not in getattr(drawn.get(node.owner), "lists", ()):
                    raise ValueError(f"{{{node.role} of {node.owner}.{node.source}}}: there is no such list")
                if not node.ways(drawn):
                    raise ValueError(f"no word is left to draw for {node.role!r}")

    def story(self, rng):
        """Walk through the graph, every way as often as its probability says; rng.random() gives a number in [0, 1)."""
        node, drawn, said, logprob = self.start, {}, [], 0.0
        while node is not END:
            ways = node.ways(drawn)
            way = ways[0]
            if len(ways) > 1:
                below = rng.random()
                for way in ways:
                    below -= way[0]
                    if below < 0:
                        break
                logprob += math.log(way[0])
            _, text, node, drawn = way
            said.append(text)
        return Story("".join(said), logprob)

    def states(self):
        """Every node with the words drawn before it, once for all words that could stand in one another's place."""
        seen, left = set(), [(self.start, {})]
        while left:
            node, drawn = left.pop()
            key = node, frozenset(drawn.items())
            if node is not END and key not in seen:
                seen.add(key)
                yield node, drawn
                left += [(following, then) for _, _, _, following, then in different_ways(node, drawn)]

    def entropy(self):
        """H = -sum of p(story) log p(story) over all stories, in nats: the least loss a model can have. Exact.

        By the chain rule: H(node) = sum over its ways of p (-log p + H(next node)). It holds for the texts because no
        text comes about in two ways, which the tests prove.
        """
        return self._total(lambda n, probability, rest: n * probability * (rest - math.log(probability)), 0.0)

    def number_of_stories(self):
        """How many different texts have a probability above 0. Exact, an integer of any size."""
        return self._total(lambda n, probability, rest: n * rest, 1)

    def _total(self, term, at_end):
        """total(node) = sum over the ways on from it of term(n, probability, total(next node)), n of them being alike.

        Computed once for every node and set of roles drawn before it: many walks meet in few nodes.
        """
        known = {}

        def total(node, drawn):
            key = node, frozenset(drawn.items())
            if node is END:
                return at_end
            if key not in known:
                known[key] = sum(
                    term(n, probability, total(following, then))
                    for n, probability, _, following, then in different_ways(node, drawn)
                )
            return known[key]

        return total(self.start, {})

    def words(self):
        """The different words, in small letters, of all stories; a set. What follows an apostrophe is none."""
        texts = set()
        for node, drawn in self.states():
            if isinstance(node, Say):
                texts.add(node.text)
            elif isinstance(node, Tell):
                texts.update(map(node.said, drawn[node.role].peers))
        return {word for text in texts for word in re.findall("(?<![a-z'])[a-z]+", text.lower())}


def different_ways(node, drawn):
    """node.ways(drawn) with equals put together: a list of (how many, probability of each, text, next node, drawn).

    The words of a draw are equals. What they say differs, but nothing that is decided later depends on which it was:
    the lists of a pool's words have the same length, and of those drawn already the same number is missing.
    """
    ways = node.ways(drawn)
    if isinstance(node, Draw):
        return [(len(ways), *ways[0])] if ways else []
    return [(1, *way) for way in ways]
