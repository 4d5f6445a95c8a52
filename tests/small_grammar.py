"""A small grammar, and all its texts written out by hand."""

import itertools

from minigpt.stories.grammar import Grammar
from minigpt.stories.pools import pool_from_names, pool_from_table


def small_grammar():
    pools = {
        "child": pool_from_table("name he", "Ann | she\n Bob | he\n Cid | he"),
        "thing": pool_from_names("apple, red ball"),
        "place": pool_from_table("name [spots]", "wood | under a tree, on a path\n lake | in the reeds, on a path"),
    }
    rules = {
        "story": """
[75% Once|25% Long ago] {hero:child}
had {a thing:thing}.

In the {place:place} <search>[
| {Other:child.he} was {other}[, too|].
]
""",
        "search": "{hero.he} looked {one of place.spots}, then {two of place.spots} in the {place}.",
    }
    return Grammar(rules, pools)


def small_grammar_texts():
    """Return {text: probability} of all texts of small_grammar, without using it."""
    he = {"Ann": "she", "Bob": "he", "Cid": "he"}
    spots = {"wood": ["under a tree", "on a path"], "lake": ["in the reeds", "on a path"]}
    texts = {}
    for (opening, p), hero, thing, place in itertools.product(
        [("Once", 0.75), ("Long ago", 0.25)], he, ["an apple", "a red ball"], spots
    ):
        for one, two in itertools.permutations(spots[place]):
            start = f"{opening} {hero} had {thing}.\nIn the {place} {he[hero]} looked {one}, then {two} in the {place}."
            p_start = p / 3 / 2 / 2 / 2
            texts[start] = p_start / 2
            for other in set(he) - {hero}:
                for end in (", too.", "."):
                    texts[f"{start} {he[other].title()} was {other}{end}"] = p_start / 2 / 2 / 2
    return texts
