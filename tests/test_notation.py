"""Notation that is not a grammar is refused, and the message says why."""

import re

import pytest

from minigpt.stories.grammar import Grammar
from minigpt.stories.pools import pool_from_names, pool_from_table


@pytest.mark.parametrize(
    "notation, sentence",
    [
        ("{hero}", "{hero} is used, but not drawn before on every way"),
        ("[{hero:child}|] {hero}", "{hero} is used, but not drawn before on every way"),
        ("{hero:child} {hero.age}", "{hero.age}: Ann has no 'age'"),
        ("{hero:child} {hero:child}", "'hero' is drawn a second time"),
        ("{a1:child} {b:child} {c:child}", "no word is left to draw for 'c'"),
        ("{hero:child} {x of hero.spots}", "there is no such list"),
        ("{x of place.spots}", "there is no such list"),
        ("{hero:man}", "there is no pool 'man'"),
        ("{hero child}", "is not a slot"),
        ("<end>", "there is no rule <end>"),
        ("<story>", "the rule <story> contains itself"),
        ("[50% a|40% b]", "are not 100% together"),
        ("[50% a|b]", "are not 100% together"),
        ("[a|b", "a bracket in <story> is not closed"),
        ("a|b", "'|' outside of brackets"),
        ("a]", "']' outside of brackets"),
        ("{hero", "a brace or angle bracket in <story> is not closed"),
    ],
)
def test_notation_that_is_not_a_grammar(notation, sentence):
    pools = {"child": pool_from_table("name he", "Ann | she\n Bob | he"), "place": pool_from_names("wood")}
    with pytest.raises(ValueError, match=re.escape(sentence)):
        Grammar({"story": notation}, pools)
