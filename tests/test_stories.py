"""The grammar against texts written out by hand, its entropy against enumeration and samples, the checker against lies."""

import itertools
import json
import math
import re

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from minigpt import GPT2, GPT2Config, Tokenizer
from minigpt.bpe import BPE, train_bpe
from minigpt.cli import cli
from minigpt.stories import (
    GRAMMAR,
    SEPARATOR,
    Story,
    check,
    entropy,
    log_probability,
    number_of_stories,
    stories,
    story,
    words,
)
from minigpt.stories.grammar import END, Draw, Grammar, Tell, joined, names, pool
from minigpt.stories.judge import judge
from minigpt.stories.reading import Reading


@pytest.fixture(scope="module")
def sample():
    return list(stories(20_000, seed=1))


# ---------------------------------------------------------------- the machinery


def small_grammar():
    pools = {
        "child": pool("name he", "Ann | she\n Bob | he\n Cid | he"),
        "thing": names("apple, red ball"),
        "place": pool("name [spots]", "wood | under a tree, on a path\n lake | in the reeds, on a path"),
    }
    pieces = {
        "story": """
[75% Once|25% Long ago] {hero:child}
had {a thing:thing}.

In the {place:place} <search>[
| {Other:child.he} was {other}[, too|].
]
""",
        "search": "{hero.he} looked {one of place.spots}, then {two of place.spots} in the {place}.",
    }
    return Grammar(pieces, pools)


def small_grammar_by_hand():
    """{text: probability} of all that small_grammar says, without it."""
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


def all_walks(grammar):
    """Every walk through a graph, as (text, probability)."""
    ahead = [(grammar.start, {}, "", 1.0)]
    while ahead:
        node, drawn, text, so_far = ahead.pop()
        if node is END:
            yield text, so_far
        else:
            ahead += [(then, after, text + said, so_far * p) for p, said, then, after in node.ways(drawn)]


def test_a_small_grammar_says_what_is_written_out_by_hand():
    grammar, expected = small_grammar(), small_grammar_by_hand()
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
    grammar, expected = small_grammar(), small_grammar_by_hand()
    rng, n, counts = np.random.default_rng(0), 40_000, dict.fromkeys(expected, 0)
    for _ in range(n):
        said = grammar.story(rng)
        counts[said.text] += 1
        assert said.logprob == pytest.approx(math.log(expected[said.text]), abs=1e-12)
    chi_square = sum((counts[text] - n * p) ** 2 / (n * p) for text, p in expected.items())
    freedom = len(expected) - 1
    assert abs(chi_square - freedom) < 5 * math.sqrt(2 * freedom)


@st.composite
def notations(draw, depth=3):
    """A random piece of notation, in which no two ways say the same: every choice begins with words of its own."""
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


@settings(max_examples=60)
@given(notation=notations())
def test_entropy_and_number_equal_those_of_the_enumeration(notation):
    number = itertools.count()
    roles = iter(f"role{next(number)}" for _ in range(999))
    notation = re.sub(r"\{ROLE:(\w+)\} \{ROLE", lambda m: (lambda r: f"{{{r}:{m[1]}}} {{{r}")(next(roles)), notation)
    pools = {
        "two": pool("name twice", "x | xx\n y | yy"),
        "four": pool("name twice", "\n".join(f"{x} | {x}{x}" for x in "pqrs")),
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
    assert Reading(grammar, text).whole == pytest.approx(probability, rel=1e-9)


@pytest.mark.parametrize(
    "notation, sentence",
    [
        ("{hero}", "{hero} is told, but on some way it was not drawn"),
        ("[{hero:child}|] {hero}", "{hero} is told, but on some way it was not drawn"),
        ("{hero:child} {hero.age}", "{hero.age}: Ann has no 'age'"),
        ("{hero:child} {hero:child}", "'hero' is drawn a second time"),
        ("{a1:child} {b:child} {c:child}", "no word is left to draw for 'c'"),
        ("{hero:child} {x of hero.spots}", "there is no such list"),
        ("{x of place.spots}", "there is no such list"),
        ("{hero:man}", "there is no pool 'man'"),
        ("{hero child}", "is no slot"),
        ("<end>", "there is no piece <end>"),
        ("<story>", "the piece <story> contains itself"),
        ("[50% a|40% b]", "are not 100% together"),
        ("[50% a|b]", "are not 100% together"),
        ("[a|b", "a bracket that does not close"),
        ("a|b", "'|' outside of brackets"),
        ("a]", "']' outside of brackets"),
        ("{hero", "a brace or angle that does not close"),
    ],
)
def test_what_is_no_grammar(notation, sentence):
    pools = {"child": pool("name he", "Ann | she\n Bob | he"), "place": names("wood")}
    with pytest.raises(ValueError, match=re.escape(sentence)):
        Grammar({"story": notation}, pools)


def test_what_is_no_pool():
    with pytest.raises(ValueError, match="1 cells for 2 columns: Bob"):
        pool("name he", "Ann | she\n Bob")
    with pytest.raises(ValueError, match=re.escape("the lists of [spots] differ in length")):
        pool("name [spots]", "wood | a, b\n lake | a")
    ann = names("Ann")
    with pytest.raises(ValueError, match="a word is in two pools"):
        Grammar({"story": "{x:child}"}, {"child": joined(ann), "other": ann})


# ---------------------------------------------------------------- the stories: what is known of them exactly


def test_size():
    assert number_of_stories() >= 10**12 and isinstance(number_of_stories(), int)
    assert len(words()) >= 600
    assert log_probability("Once upon a time", beginning=True) == pytest.approx(math.log(0.66), abs=1e-12)


def test_entropy_is_the_mean_surprise(sample):
    surprise = -np.array([s.logprob for s in sample])
    standard_error = surprise.std() / math.sqrt(len(sample))
    assert standard_error < 0.001 * entropy()
    assert abs(surprise.mean() - entropy()) < 4 * standard_error


def test_number_of_choices_never_depends_on_the_words():
    # What entropy and number_of_stories rest on: following one word of a draw stands for all of them.
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
    """A node of which two ways can lead to the same text, whatever was drawn before it; or None.

    Two walks go side by side and are given up where their texts differ. What was drawn before the node is open: a role
    gets a word, the same for both, when one of them first needs it, and every word is tried. So nothing is left out.
    """
    for node, drawn in grammar.states():
        open_roles = {role: word.peers for role, word in drawn.items()}
        for known in settled(node, {}, open_roles):
            for one, two in itertools.combinations(node.ways(known), 2):
                if can_meet(one, two, open_roles):
                    return node
    return None


def settled(node, known, open_roles):
    """What is known, and a word for the role that the node needs; every possibility."""
    role = node.role if isinstance(node, Tell) else getattr(node, "owner", None)
    if role is None or role in known:
        return [known]
    return [known | {role: word} for word in open_roles[role] if word not in known.values()]


def can_meet(one, two, open_roles):
    ahead, seen = [(one[1:], two[1:])], set()  # of both: what it says that the other has not said yet, node, known
    while ahead:
        (text_a, a, known_a), (text_b, b, known_b) = ahead.pop()
        common = min(len(text_a), len(text_b))
        if text_a[:common] != text_b[:common]:
            continue
        text_a, text_b = text_a[common:], text_b[common:]
        if text_a == text_b and a is b and (a is END or known_a == known_b):
            return True
        if text_a or (a is END and not text_b):  # then it is for the other to go on
            (text_a, a, known_a), (text_b, b, known_b) = (text_b, b, known_b), (text_a, a, known_a)
        key = text_b, a, b, frozenset(known_a.items()), frozenset(known_b.items())
        if a is END or key in seen:
            continue
        seen.add(key)
        for known in settled(a, known_a, open_roles):
            new = {role: known[role] for role in known.keys() - known_a.keys()}
            ahead += [(way[1:], (text_b, b, known_b | new)) for way in a.ways(known)]
    return False


def test_no_text_comes_about_in_two_ways():
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
def test_what_comes_about_in_two_ways_is_found(notation, ambiguous):
    pools = {"letter": pool("name kind [spots]", "p | small | one, two\n q | small | two, twoone")}
    assert (same_text_in_two_ways(Grammar({"story": notation}, pools)) is not None) == ambiguous


# ---------------------------------------------------------------- the stories as texts


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


# ---------------------------------------------------------------- reading and checking


def test_what_is_drawn_is_accepted_and_has_its_probability(sample):
    for s in sample[:2000]:
        assert check(s.text) is None
    for s in sample[:500]:
        assert log_probability(s.text) == pytest.approx(s.logprob, abs=1e-9)


def told(rng):
    """A drawn story as [(what is said, node, words drawn)]."""
    node, drawn, parts = GRAMMAR.start, {}, []
    while node is not END:
        ways = node.ways(drawn)
        _, said, then, after = ways[int(rng.random() * len(ways))]
        if said:
            parts.append((said, node, drawn))
        node, drawn = then, after
    return parts


def test_every_word_that_must_be_remembered_is_checked():
    # Names, pronouns, colours, things, places, animals ...: another word of the same pool, wherever the text before has
    # already decided which it is. It goes wrong in just this word.
    rng, changed = np.random.default_rng(3), set()
    for _ in range(150):
        parts = told(rng)
        for i, (said, node, drawn) in enumerate(parts):
            if not isinstance(node, Tell):
                continue
            word = drawn[node.role]
            before = [n for _, n, _ in parts[:i] if isinstance(n, Tell) and n.role == node.role]
            others = [w for w in word.peers if node.said(w) != said]
            decided = all(any(n.said(w) != n.said(word) for n in before) for w in others)
            if not before or not decided or not others:
                continue
            wrong = node.said(others[int(rng.random() * len(others))])
            texts = [p[0] for p in parts]
            start = len("".join(texts[:i]))
            texts[i] = wrong
            problem = check("".join(texts))
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
    for s in sample[:60]:
        ends = [m.end() for m in re.finditer(r'[.!?]"?(?= [A-Z"]|\n|$)', s.text)]
        for start, end in itertools.pairwise([0, *ends]):
            sentence = s.text[start:end]
            left_out = s.text[:start] + s.text[end:]
            if not sentence.strip().startswith(OPTIONAL):
                problem = check(left_out.lstrip())
                assert problem is not None and (start == 0 or problem.position >= start), sentence
            problem = check(s.text[:end] + " " + sentence.strip() + s.text[end:])
            assert problem is not None and problem.position >= end, sentence


def test_texts_that_stop_or_go_on_are_noticed(sample):
    for s in sample[:40]:
        for n in range(0, len(s.text), 7):
            problem = check(s.text[:n])
            assert problem.position == n and problem.found == "the end"
        for more in (" ", "\n", ".", " The end.", s.text, "\n" + s.text, "<|endoftext|>"):
            problem = check(s.text + more)
            assert problem.position == len(s.text) and problem.expected == ("the end",)


@settings(max_examples=300)
@given(seed=st.integers(0, 10**6), at=st.floats(0, 1), n=st.integers(0, 3), put=st.text('aeshT ,.\n"', max_size=3))
def test_a_problem_is_where_no_story_goes_on(seed, at, n, put):
    (s,) = stories(1, seed)
    at = int(at * len(s.text))
    text = s.text[:at] + put + s.text[at + n :]
    problem = check(text)
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
    for s in sample[:20]:
        along = [log_probability(s.text[:n], beginning=True) for n in range(0, len(s.text) + 1, 3)]
        assert along[0] == pytest.approx(0, abs=1e-12) and all(a >= b - 1e-12 for a, b in itertools.pairwise(along))
        assert log_probability(s.text, beginning=True) == pytest.approx(s.logprob, abs=1e-9)
    begin = small_grammar()
    assert Reading(begin, "Long ago ").begun == pytest.approx(0.25, rel=1e-12)
    assert Reading(begin, "Once A").begun == pytest.approx(0.25, rel=1e-12)
    assert Reading(begin, "Once Ann had a red").begun == pytest.approx(0.125, rel=1e-12)


def test_no_story_has_probability_0():
    for text in ("", "Once upon a time", "Once upon a time there was a brave girl named Rumpelstiltskin."):
        assert log_probability(text) == -math.inf


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: stories(-1, 0), "n must be an integer, at least 0, not -1"),
        (lambda: stories(2.5, 0), "n must be an integer"),
        (lambda: stories(1, "x"), "seed must be an integer, at least 0, not 'x'"),
        (lambda: story(7), "rng must be a numpy Generator"),
        (lambda: check(7), "a story is a string, not 7"),
        (lambda: log_probability(None), "a story is a string, not None"),
    ],
)
def test_bad_arguments(call, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        call()


# ---------------------------------------------------------------- models of them


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    BPE(*train_bpe([s.text for s in stories(500, seed=4)], 400)).save_pretrained(folder)
    return Tokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def untrained(tokenizer):
    end = tokenizer.token_id(SEPARATOR)
    config = GPT2Config(len(tokenizer), 1000, n_embd=8, n_layer=1, n_head=2, bos_token_id=end, eos_token_id=end)
    return GPT2.random(config, seed=0)


def test_the_loss_of_a_model_is_held_against_the_entropy(tokenizer, untrained):
    drawn, end = list(stories(3, seed=5)), tokenizer.token_id(SEPARATOR)
    surprise = 0.0
    for s in drawn:
        ids = np.array([end, *tokenizer.encode(s.text), end])
        logits = untrained(ids[:-1]).astype(np.float64)
        chosen = logits[np.arange(len(ids) - 1), ids[1:]]
        surprise += (np.log(np.exp(logits).sum(-1)) - chosen).sum()
    result = judge(untrained, tokenizer, n=3, seed=5)
    assert result.loss == pytest.approx(surprise / 3, rel=1e-5)
    assert result.best == pytest.approx(-sum(s.logprob for s in drawn) / 3, rel=1e-12)
    assert result.excess == pytest.approx((surprise / 3 - result.best) / entropy(), rel=1e-4)
    assert result.accepted == 0 and len(result.wrong) == 3
    for text, problem in result.wrong:
        assert problem == check(text)
    assert len({text for text, _ in result.wrong}) == 3


def test_the_stories_of_a_model_are_checked(tokenizer, untrained, monkeypatch):
    end = tokenizer.token_id(SEPARATOR)
    calls = []

    def write(prompt, *, num_return_sequences, max_new_tokens, **options):
        """Two stories that are right, one with a wrong word, one that does not end."""
        assert prompt == [end] and max_new_tokens == untrained.config.n_positions - 1
        assert options.pop("temperature") == 0.9
        assert options == {"do_sample": True, "top_k": 0, "eos_token_id": end, "pad_token_id": end, "seed": 9}
        calls.append(num_return_sequences)
        one, two, three, four = (tokenizer.encode(s.text) for s in stories(4, seed=6))
        three[30:] = tokenizer.encode(" Q")
        rows = np.full((4, 1000), end)
        for row, ids in zip(rows, (one, two, three, four), strict=True):
            row[1 : 1 + len(ids)] = ids
        rows[3, 1 + len(four) :] = tokenizer.encode("a")[0]
        return rows

    monkeypatch.setattr(untrained, "generate", write, raising=False)
    result = judge(untrained, tokenizer, n=4, seed=9, temperature=0.9)
    assert calls == [4] and result.accepted == 0.5
    (cut, problem), (_, endless) = result.wrong
    assert cut.endswith(" Q") and problem == check(cut) and endless.expected == ("the end",)


def test_models_that_cannot_be_judged(tokenizer, untrained):
    with pytest.raises(ValueError, match="at least one story"):
        judge(untrained, tokenizer, n=0)
    config = GPT2Config(len(tokenizer), 100, n_embd=8, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0)
    with pytest.raises(ValueError, match="tokens, this model 100 positions"):
        judge(GPT2.random(config, seed=0), tokenizer, n=2)


def command(*arguments, status=0, **options):
    result = CliRunner().invoke(cli, ["stories", *arguments], standalone_mode=False, **options)
    got = result.return_value if result.exception is None else result.exception
    if isinstance(got, SystemExit):
        assert got.code == status, result.output
    elif got is not None:
        raise got
    else:
        assert status == 0, result.output
    return result.output


def test_command_writes_and_checks(tmp_path):
    (first, second) = stories(2, seed=3)
    shown = command("--count", "2", "--seed", "3")
    assert shown.startswith(f"{first.text}\n(log p = {first.logprob:.3f})\n\n{second.text}\n")
    assert f"entropy {entropy():.4f} nats a story" in shown
    assert json.loads(command("--count", "1", "--seed", "3", "--json")) == [
        {"text": first.text, "logprob": first.logprob}
    ]

    path = tmp_path / "stories.txt"
    assert command("--count", "2", "--seed", "3", "--out", str(path)) == ""
    assert path.read_text() == first.text + SEPARATOR + second.text + SEPARATOR
    assert command("--check", str(path)) == "2 of 2 are stories of the grammar\n"
    path.write_text(first.text + SEPARATOR + second.text.replace(" lived", " lifed"))
    checked = command("--check", str(path), status=1)
    assert re.fullmatch(r"story 2: at character \d+: found 'lifed', expected .*\n1 of 2 are stories of .*\n", checked)
    assert json.loads(command("--check", "-", "--json", input=first.text + "\n")) == [None]


def test_command_judges(tokenizer, untrained, tmp_path):
    for part in (untrained, tokenizer):
        part.save_pretrained(tmp_path)
    shown = command("--judge", str(tmp_path), "--count", "2")
    assert shown.startswith("on 2 new stories: ") and "of 2 stories of its own 0.0% are stories of the grammar" in shown
    shown = command("--judge", str(tmp_path), "--count", "2", "--temperature", "0.5")
    assert "of 2 stories of its own at temperature 0.5 0.0% are" in shown
    fields = json.loads(command("--judge", str(tmp_path), "--count", "2", "--json"))
    expected = judge(untrained, tokenizer, 2)
    assert fields["loss"] == pytest.approx(expected.loss, rel=1e-5) and len(fields["wrong"]) == 2
    assert fields["entropy"] == entropy() and fields["accepted"] == 0


def test_command_does_one_thing(tmp_path):
    with pytest.raises(Exception, match="choose one"):
        command("--out", str(tmp_path / "x"), "--judge", "stories")
    with pytest.raises(ValueError, match="n must be an integer, at least 0, not -1"):
        command("--count", "-1", "--out", str(tmp_path / "x"))
    assert not list(tmp_path.iterdir())
