"""Stories are read with their probability; changed stories have a problem, and it is where they were changed."""

import itertools
import math
import re

import numpy as np
import pytest
from helpers import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from small_grammar import small_grammar

from minigpt.stories import GRAMMAR, find_problem, log_probability, stories
from minigpt.stories.graph import END, Reference
from minigpt.stories.reading import Reading


def test_a_drawn_story_is_accepted_with_its_probability(sample):
    for s in sample[: examples(2000)]:
        assert find_problem(s.text) is None
    for s in sample[: examples(500)]:
        assert log_probability(s.text) == pytest.approx(s.logprob, abs=1e-9)


def story_parts(rng):
    """Draw a story as a list of (text, node, words drawn)."""
    node, drawn, parts = GRAMMAR.start, {}, []
    while node is not END:
        ways = node.ways(drawn)
        _, said, then, after = ways[int(rng.random() * len(ways))]
        if said:
            parts.append((said, node, drawn))
        node, drawn = then, after
    return parts


def test_every_word_that_must_be_remembered_is_checked():
    # Names, pronouns, colours, things, places, animals ...: wherever the text before has decided which word it is,
    # another word of the same pool is a problem, and the problem is at this word.
    rng, changed = np.random.default_rng(3), set()
    for _ in range(max(50, examples(150))):
        parts = story_parts(rng)
        for i, (said, node, drawn) in enumerate(parts):
            if not isinstance(node, Reference):
                continue
            word = drawn[node.role]
            before = [n for _, n, _ in parts[:i] if isinstance(n, Reference) and n.role == node.role]
            others = [w for w in word.peers if node.text_of(w) != said]
            decided = all(any(n.text_of(w) != n.text_of(word) for n in before) for w in others)
            if not before or not decided or not others:
                continue
            wrong = node.text_of(others[int(rng.random() * len(others))])
            texts = [p[0] for p in parts]
            start = len("".join(texts[:i]))
            texts[i] = wrong
            problem = find_problem("".join(texts))
            same = next(
                (k for k, (x, y) in enumerate(zip(said, wrong, strict=False)) if x != y), min(len(said), len(wrong))
            )
            assert problem is not None and start + same <= problem.position <= start + len(wrong), problem
            changed.add((node.role, node.attribute))
    roles = {"hero", "friend", "family", "colour", "thing", "place", "helper", "task", "game", "shelter", "guest", "baby",
             "stuck", "reward", "trap"}  # fmt: skip
    assert roles <= {role for role, _ in changed}
    assert {("hero", "he"), ("hero", "his"), ("hero", "him"), ("friend", "him"), ("friend", "his")} <= changed


OPTIONAL = ("They looked", "Nothing in the world", "No other toy")


def test_missing_and_repeated_sentences_are_noticed(sample):
    for s in sample[: examples(60)]:
        ends = [m.end() for m in re.finditer(r'[.!?]"?(?= [A-Z"]|\n|$)', s.text)]
        for start, end in itertools.pairwise([0, *ends]):
            sentence = s.text[start:end]
            left_out = s.text[:start] + s.text[end:]
            if not sentence.strip().startswith(OPTIONAL):
                problem = find_problem(left_out.lstrip())
                assert problem is not None and (start == 0 or problem.position >= start), sentence
            problem = find_problem(s.text[:end] + " " + sentence.strip() + s.text[end:])
            assert problem is not None and problem.position >= end, sentence


def test_texts_that_stop_or_go_on_are_noticed(sample):
    for s in sample[: examples(40)]:
        for n in range(0, len(s.text), 7):
            problem = find_problem(s.text[:n])
            assert problem.position == n and problem.found == "the end"
        for more in (" ", "\n", ".", " The end.", s.text, "\n" + s.text, "<|endoftext|>"):
            problem = find_problem(s.text + more)
            assert problem.position == len(s.text) and problem.expected == ("the end",)


@settings(max_examples=examples(300))
@given(seed=st.integers(0, 10**6), at=st.floats(0, 1), n=st.integers(0, 3), put=st.text('aeshT ,.\n"', max_size=3))
def test_a_problem_is_where_no_story_goes_on(seed, at, n, put):
    (s,) = stories(1, seed)
    at = int(at * len(s.text))
    text = s.text[:at] + put + s.text[at + n :]
    problem = find_problem(text)
    assert (problem is None) == (log_probability(text) > -math.inf)
    if problem is not None:
        assert log_probability(text[: problem.position], beginning=True) > -math.inf
        if problem.position < len(text):
            assert log_probability(text[: problem.position + 1], beginning=True) == -math.inf
        assert problem.found not in problem.expected and str(problem).startswith(f"at character {problem.position}: ")


@pytest.mark.parametrize(
    "old, new, position, sentence",
    [
        ("Ann", "Dan", 5, "found 'Dan', expected one of 'Ann', 'Bob', 'Cid'"),
        ("she", "he", 35, "found 'he', expected 'she' (hero is Ann)"),
        ("apple", "apples", 21, "found 'apples', expected 'apple'"),
        ("apple", "app", 19, "found 'app', expected 'apple'"),
        ("apple.", "apple,", 21, "found ',', expected '.'"),
        (".\n", ". ", 22, "found a space, expected a new paragraph"),
        ("wood.", "woods.", 86, "found 'woods', expected 'wood'"),
        (" tree", "  tree", 54, "found a space, expected 'tree'"),
        ("on a path in the wood.", "on a", 69, "found the end, expected a space"),
        ("in the wood.", "in the wood. So", 88, "found 'So', expected 'He'"),
        ("Once", "", 0, "found a space, expected one of 'Long', 'Once'"),
    ],
)
def test_what_a_problem_says(old, new, position, sentence):
    text = "Once Ann had an apple.\nIn the wood she looked under a tree, then on a path in the wood."
    assert Reading(small_grammar(), text).problem() is None
    problem = Reading(small_grammar(), text.replace(old, new)).problem()
    assert str(problem) == f"at character {problem.position}: {sentence}" and problem.position == position


def test_the_probability_of_a_beginning(sample):
    for s in sample[: examples(20)]:
        along = [log_probability(s.text[:n], beginning=True) for n in range(0, len(s.text) + 1, 3)]
        assert along[0] == pytest.approx(0, abs=1e-12) and all(a >= b - 1e-12 for a, b in itertools.pairwise(along))
        assert log_probability(s.text, beginning=True) == pytest.approx(s.logprob, abs=1e-9)
    begin = small_grammar()
    assert Reading(begin, "Long ago ").p_prefix == pytest.approx(0.25, rel=1e-12)
    assert Reading(begin, "Once A").p_prefix == pytest.approx(0.25, rel=1e-12)
    assert Reading(begin, "Once Ann had a red").p_prefix == pytest.approx(0.125, rel=1e-12)


def test_no_story_has_probability_0():
    for text in ("", "Once upon a time", "Once upon a time there was a brave girl named Rumpelstiltskin."):
        assert log_probability(text) == -math.inf
