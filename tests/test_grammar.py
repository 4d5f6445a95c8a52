"""The grammar against texts written out by hand, its entropy and number against enumeration."""

import itertools
import math
import re

import numpy as np
import pytest
from helpers import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from small_grammar import small_grammar, small_grammar_texts

from minigpt.stories import GRAMMAR
from minigpt.stories.grammar import Grammar
from minigpt.stories.graph import END, Draw, Reference
from minigpt.stories.pools import pool_from_table
from minigpt.stories.reading import Reading


def all_walks(grammar):
    """Yield every walk through a graph, as (text, probability)."""
    ahead = [(grammar.start, {}, "", 1.0)]
    while ahead:
        node, drawn, text, so_far = ahead.pop()
        if node is END:
            yield text, so_far
        else:
            ahead += [(then, after, text + said, so_far * p) for p, said, then, after in node.ways(drawn)]


def test_a_small_grammar_says_what_is_written_out_by_hand():
    grammar, expected = small_grammar(), small_grammar_texts()
    assert sum(expected.values()) == pytest.approx(1, abs=1e-12)
    walks = dict(all_walks(grammar))
    assert walks.keys() == expected.keys() and len(list(all_walks(grammar))) == len(walks)
    for text, probability in expected.items():
        assert walks[text] == pytest.approx(probability, rel=1e-12)
        assert Reading(grammar, text).log_probability() == pytest.approx(math.log(probability), abs=1e-12)
    assert grammar.entropy() == pytest.approx(-sum(p * math.log(p) for p in expected.values()), rel=1e-12)
    assert grammar.number_of_stories() == len(expected)
    assert grammar.words() == {word for text in expected for word in re.findall("[a-z]+", text.lower())}


def test_a_small_grammar_says_each_text_as_often_as_it_should():
    grammar, expected = small_grammar(), small_grammar_texts()
    rng, n, counts = np.random.default_rng(0), examples(40_000), dict.fromkeys(expected, 0)
    for _ in range(n):
        said = grammar.story(rng)
        counts[said.text] += 1
        assert said.logprob == pytest.approx(math.log(expected[said.text]), abs=1e-12)
    chi_square = sum((counts[text] - n * p) ** 2 / (n * p) for text, p in expected.items())
    freedom = len(expected) - 1
    assert abs(chi_square - freedom) < 5 * math.sqrt(2 * freedom)


@st.composite
def notations(draw, depth=3):
    """Draw a notation in which no two walks have the same text: every option begins with a word of its own."""
    parts = []
    for i in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["word", "choice", "shares", "draw"] if depth else ["word"]))
        if kind == "word":
            parts.append(f"w{i} ")
        elif kind == "draw":
            parts.append("{ROLE:" + draw(st.sampled_from(["two", "four"])) + "} {ROLE.twice} ")
        else:
            options = draw(st.lists(notations(depth=depth - 1), min_size=2, max_size=4))
            shares = {2: (90, 10), 3: (50, 30, 20), 4: (40, 30, 20, 10)}[len(options)] if kind == "shares" else None
            options = [f"{chr(97 + k)}{option}" for k, option in enumerate(options)]
            if shares:
                options = [f"{share}% {option}" for share, option in zip(shares, options, strict=True)]
            parts.append("[" + "|".join(options) + "] ")
    return "".join(parts)


@settings(max_examples=examples(60))
@given(notation=notations())
def test_entropy_and_number_equal_those_of_the_enumeration(notation):
    number = itertools.count()
    roles = iter(f"role{next(number)}" for _ in range(999))
    notation = re.sub(r"\{ROLE:(\w+)\} \{ROLE", lambda m: (lambda r: f"{{{r}:{m[1]}}} {{{r}")(next(roles)), notation)
    pools = {
        "two": pool_from_table("name twice", "x | xx\n y | yy"),
        "four": pool_from_table("name twice", "\n".join(f"{x} | {x}{x}" for x in "pqrs")),
    }
    try:
        grammar = Grammar({"story": notation}, pools)
    except ValueError as error:
        assert "no word is left" in str(error)
        return
    if grammar.number_of_stories() > 20_000:
        return
    walks = list(all_walks(grammar))
    assert len(dict(walks)) == len(walks) == grammar.number_of_stories()
    assert sum(p for _, p in walks) == pytest.approx(1, abs=1e-9)
    assert grammar.entropy() == pytest.approx(-sum(p * math.log(p) for _, p in walks), abs=1e-9)
    text, probability = walks[len(walks) // 2]
    assert Reading(grammar, text).p_story == pytest.approx(probability, rel=1e-9)


def test_number_of_choices_never_depends_on_the_words():
    # entropy and number_of_stories rely on this when they follow one word of a draw in place of all.
    known = {(node, frozenset(drawn)): len(node.ways(drawn)) for node, drawn in GRAMMAR.states()}
    rng = np.random.default_rng(2)
    for _ in range(500):
        node, drawn = GRAMMAR.start, {}
        while node is not END:
            ways = node.ways(drawn)
            assert len(ways) == known[node, frozenset(drawn)]
            assert sum(p for p, *_ in ways) == pytest.approx(1, abs=1e-12)
            assert not isinstance(node, Draw) or len({p for p, *_ in ways}) == 1
            _, _, node, drawn = ways[int(rng.random() * len(ways))]


def test_no_choice_is_too_rare_to_be_learnt():
    for node, drawn in GRAMMAR.states():
        assert min(p for p, *_ in node.ways(drawn)) >= 1 / 60


def same_text_in_two_ways(grammar):
    """Return a node from which two ways can lead to the same text, whatever was drawn before it; or None.

    Two walks go side by side until their texts differ. The words drawn before the node are open: a role gets a word,
    the same for both walks, when one of them first needs it. Every word is tried, so that no case is left out.
    """
    for node, drawn in grammar.states():
        open_roles = {role: word.peers for role, word in drawn.items()}
        for known in with_needed_word(node, {}, open_roles):
            for one, two in itertools.combinations(node.ways(known), 2):
                if can_meet(one, two, open_roles):
                    return node
    return None


def with_needed_word(node, known, open_roles):
    """Return what is known together with a word for the role that the node needs, for every possible word."""
    role = node.role if isinstance(node, Reference) else getattr(node, "owner", None)
    if role is None or role in known:
        return [known]
    return [known | {role: word} for word in open_roles[role] if word not in known.values()]


def can_meet(one, two, open_roles):
    ahead, seen = [(one[1:], two[1:])], set()  # of both: its text that the other has not reached yet, node, known
    while ahead:
        (text_a, a, known_a), (text_b, b, known_b) = ahead.pop()
        common = min(len(text_a), len(text_b))
        if text_a[:common] != text_b[:common]:
            continue
        text_a, text_b = text_a[common:], text_b[common:]
        if text_a == text_b and a is b and (a is END or known_a == known_b):
            return True
        if text_a or (a is END and not text_b):  # the other one goes on next
            (text_a, a, known_a), (text_b, b, known_b) = (text_b, b, known_b), (text_a, a, known_a)
        key = text_b, a, b, frozenset(known_a.items()), frozenset(known_b.items())
        if a is END or key in seen:
            continue
        seen.add(key)
        for known in with_needed_word(a, known_a, open_roles):
            new = {role: known[role] for role in known.keys() - known_a.keys()}
            ahead += [(way[1:], (text_b, b, known_b | new)) for way in a.ways(known)]
    return False


def test_no_text_comes_about_by_two_walks():
    assert same_text_in_two_ways(GRAMMAR) is None


@pytest.mark.parametrize(
    "notation, ambiguous",
    [
        ("[a|b]", False),
        ("[a|a]", True),
        ("[a|a b]", False),
        ("[a|a b] [b c|c]", True),
        ("{x:letter} is [{x}|q]", True),  # if x is q
        ("{x:letter} is [{x}|r]", False),
        ("{x:letter} {y:letter} is [{x}|{y}]", False),
        ("{x:letter.kind} is here.", True),
        ("{x:letter.kind} is [here|there]. {x}", False),
        ("[{x:letter} and|p or] so", False),
        ("[{x:letter} and|p and] so", True),
        ("{x:letter} has {y of x.spots}[| or {z of x.spots}].", False),
        ("{x:letter} has {y of x.spots}[|one].", True),  # q has two, and one
    ],
)
def test_a_text_that_comes_about_by_two_walks_is_found(notation, ambiguous):
    pools = {"letter": pool_from_table("name kind [spots]", "p | small | one, two\n q | small | two, twoone")}
    assert (same_text_in_two_ways(Grammar({"story": notation}, pools)) is not None) == ambiguous
