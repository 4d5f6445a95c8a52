"""The stories: how many there are, how they are written, and the entropy against samples."""

import math
import re

import numpy as np
import pytest

from minigpt.stories import Story, entropy, find_problem, log_probability, number_of_stories, stories, story, words


def test_size():
    assert number_of_stories() >= 10**12 and isinstance(number_of_stories(), int)
    assert len(words()) >= 600
    assert log_probability("Once upon a time", beginning=True) == pytest.approx(math.log(0.66), abs=1e-12)


def test_entropy_is_the_mean_surprise(sample):
    surprise = -np.array([s.logprob for s in sample])
    standard_error = surprise.std() / math.sqrt(len(sample))
    assert standard_error < 0.001 * entropy()
    assert abs(surprise.mean() - entropy()) < 4 * standard_error


def test_drawing(sample):
    assert all(isinstance(s, Story) for s in sample[:10])
    assert (
        list(stories(5, seed=1)) == sample[:5] == [story(rng) for rng in [np.random.default_rng(1)] for _ in range(5)]
    )
    assert len({s.text for s in sample}) == len(sample)
    assert not {s.text for s in stories(100, seed=2)} & {s.text for s in sample}
    assert list(stories(0, seed=0)) == []


def test_words_are_those_that_occur(sample):
    assert words() == {word for s in sample for word in re.findall("(?<![a-z'])[a-z]+", s.text.lower())}


def test_stories_are_well_written(sample):
    for text in (s.text for s in sample):
        assert text.isascii() and 90 <= len(re.findall("[A-Za-z'-]+", text)) <= 180
        assert 3 <= len(text.split("\n")) <= 4 and text.count('"') % 2 == 0
        assert not re.search(r"  |\n | \n|[ \n][.,!?:]|[.,!?:]{2}|\[|\||\{|<|%", text)
        assert not re.search(r"\b[Aa] [aeiou]|\b[Aa]n [^aeiouh]|\ban h(?!onest|our)", text)
        assert not re.search(r"\b(\w+) \1\b", text.lower())
        # Every paragraph begins with a capital letter and ends as a sentence does; so does every sentence.
        assert all(re.fullmatch(r'["A-Z].*[.!?]"?', paragraph) for paragraph in text.split("\n"))
        assert not re.search(r"[.] [a-z]", text)
        assert "Once upon a time" not in text[1:]


GIRLS = {"Anna", "Lily", "Mia", "Emma", "Nora", "Ella", "Clara", "Alice", "Molly", "Jane", "Ruth", "Julia"}


def test_pronouns_agree(sample):
    for s in sample[:5000]:
        kind, name, rest = re.search(r"(girl|boy) \w+ (\w+)\. (.*?)\.", s.text).groups()
        assert kind == ("girl" if name in GIRLS else "boy")
        assert set(re.findall(r"\b([Ss]?[Hh]e|his|her)\b", rest.lower())) == (
            {"she", "her"} if kind == "girl" else {"he", "his"}
        )


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: stories(-1, 0), "n must be an integer, at least 0, not -1"),
        (lambda: stories(2.5, 0), "n must be an integer"),
        (lambda: stories(1, "x"), "seed must be an integer, at least 0, not 'x'"),
        (lambda: story(7), "rng must be a numpy Generator"),
        (lambda: find_problem(7), "a story is a string, not 7"),
        (lambda: log_probability(None), "a story is a string, not None"),
    ],
)
def test_bad_arguments(call, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        call()
