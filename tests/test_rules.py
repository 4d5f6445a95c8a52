"""The rules that make mistakes: each is told by its sentence, and what is told is true of inputs that decided nothing."""

import random
from functools import cache

import hypothesis
import numpy as np
import pytest
from exercise_helpers import unwatched

from minigpt.exercises import EXERCISES, check
from minigpt.exercises.calling import call_unwatched
from minigpt.exercises.checking import examine
from minigpt.exercises.comparing import difference
from minigpt.exercises.drawing import SETTINGS
from minigpt.exercises.mutants import MAX_ITERATIONS, Program, mutants, pairs
from minigpt.exercises.patterns import fill, formula, match, parse
from minigpt.exercises.recognising import ONE_OF_SEVERAL
from minigpt.exercises.rules import COMMON, RULES

SMALL = [
    name for name in EXERCISES if name not in ("gpt2", "transformer_block", "self_attention")
]  # the others are slow


@cache
def mutants_by_rule():
    by_rule = {rank: [] for rank in range(len(RULES))}
    for name in SMALL:
        for mutant in mutants(EXERCISES[name]):
            by_rule[mutant.rewriting.rank].append((name, mutant))
    return by_rule


def told(name, function):
    return examine(EXERCISES[name], unwatched(function), shrink=False)


@cache
def fresh_inputs(name):
    """Inputs of every probe that no check draws, as (probe, arguments)."""
    return [(probe, arguments) for probe in EXERCISES[name].probes for arguments in drawn_anew(probe)]


def drawn_anew(probe):
    found = []

    @hypothesis.seed(22)
    @hypothesis.settings(max_examples=10, phases=[hypothesis.Phase.generate], **{**SETTINGS, "derandomize": False})
    @hypothesis.given(probe.inputs)
    def draw(arguments):
        found.append(arguments)

    draw()
    return found


def is_same_mistake(name, one, other):
    """Whether two functions agree on fresh inputs, or crash alike."""
    for probe, arguments in fresh_inputs(name):
        found, expected = call_unwatched(one, arguments), call_unwatched(other, arguments)
        if found.problem != expected.problem:
            return False
        parts = (
            zip(found.value, expected.value, strict=True)
            if isinstance(found.value, tuple)
            else [(found.value, expected.value)]
        )
        if not found.problem and any(
            difference(*pair, tolerance=probe.tolerance, nan_is_wrong=False) for pair in parts
        ):
            return False
    return True


def rule_name(rank):
    name = RULES[rank].__name__
    return f"{rank}-{name}"


@pytest.mark.parametrize("rank", range(len(RULES)), ids=rule_name)
def test_every_rule_makes_mistakes_that_are_told(rank):
    """A mutant gets the sentence of its rule, or that of a known mistake or a simpler rule with the same results."""
    made = mutants_by_rule()[rank]
    assert made
    results = [
        (name, mutant, told(name, mutant.function))
        for name, mutant in random.Random(rank).sample(made, min(5, len(made)))
    ]
    for name, mutant, result in results:
        if not result.passed and result.mistake:
            own = result.mistake.hint.removeprefix(ONE_OF_SEVERAL) == mutant.mistake.hint
            assert own or is_same_mistake(name, mutant.function, result.mistake.function), (
                name,
                mutant.mistake,
                result,
            )
    assert any(not result.passed for _, _, result in results)


def test_most_rules_are_told_by_their_own_sentence():
    own = 0
    for made in mutants_by_rule().values():
        for name, mutant in random.Random(0).sample(made, min(8, len(made))):
            if told(name, mutant.function).verdict.removeprefix(ONE_OF_SEVERAL) == mutant.mistake.hint:
                own += 1
                break
    assert own >= 0.75 * len(RULES)


def test_of_a_random_sample_of_pairs_none_is_told_wrongly():
    chance, named = random.Random(3), 0
    for _ in range(40):
        name = chance.choice(SMALL)
        first = chance.choice([mutant for mutant in mutants(EXERCISES[name]) if not mutant.rewriting.is_rare])
        function, _ = chance.choice(list(pairs(EXERCISES[name], first)))
        result = told(name, function)
        if not result.passed and result.mistake:
            named += 1
            assert is_same_mistake(name, function, result.mistake.function), (name, first.mistake.hint, result)
    assert named >= 12


@pytest.mark.parametrize("name", EXERCISES)
def test_formulations_are_right(name):
    for function in EXERCISES[name].formulations:
        assert told(name, function).passed, function


def test_a_mutant_without_a_way_out_ends():
    program = Program(EXERCISES["bpe_merge"].formulations[0], EXERCISES["bpe_merge"].parameter_names)
    endless = [r for r in program.rewritings() if "You leave out a step: i = i + 1." in r.hint]
    with endless[0].applied():
        function = program.build(endless[0].functions)
    assert call_unwatched(function, ([1, 2], (5, 6), 7)).message.startswith("EndlessLoopError")
    assert MAX_ITERATIONS <= 100_000


def test_rewriting_leaves_the_program_as_it_was():
    exercise = EXERCISES["layer_norm"]
    program = Program(exercise.formulations[0], exercise.parameter_names)
    for rewriting in program.rewritings():
        with rewriting.applied():
            pass
    assert told("layer_norm", program.build(program.functions)).passed


@pytest.mark.parametrize(
    "pattern, code, found",
    [
        ("a / np.sqrt(b)", "q @ k / np.sqrt(K + 1)", {"a": "q @ k", "b": "K + 1"}),
        ("a - a", "x - x", {"a": "x"}),
        ("a - a", "x - y", None),
        ("a**2", "x ** 3", None),
        ("np.sqrt(a)", "np.exp(x)", None),
        ("a + b", "f(x) + x.mean(axis=0)", {"a": "f(x)", "b": "mean(x, axis=0)"}),
    ],
)
def test_patterns(pattern, code, found):
    matched = match(pattern, parse(code))
    assert found == (None if matched is None else {letter: formula(node) for letter, node in matched.items()})


def test_formulas_are_short():
    node = parse("np.exp(x - x.max(axis=-1, keepdims=True)) ** 2 @ k.swapaxes(-1, -2)")
    assert formula(node) == "exp(x - max(x))^2 @ k.T"
    assert formula(fill("a * b", a=node, b=parse("t"))) == "exp(x - max(x))^2 @ k.T * t"


def test_hints_say_more_when_asked_again():
    def scores(q, k):
        return q @ k.T / q.shape[1] ** 1 / 2

    points, named, line = (check("scores", scores, hint=level) for level in (0, 1, 2))
    assert points.mistake is None and "by 2" not in str(points) and dict(points.details)["where to look"]
    assert "then by 2" in named.verdict and "the formula" not in dict(named.details)
    assert line.verdict == named.verdict and dict(line.details)["the formula"] == EXERCISES["scores"].task
    made = examine(EXERCISES["scores"], unwatched(scores), hint=2)
    assert "then by 2" in made.verdict and dict(made.details)["the formula"] == "the result is q @ k.T / sqrt(K)"
    known = check("scores", lambda q, k: q @ k.T, hint=2)
    assert dict(known.details)["the formula"] == EXERCISES["scores"].task
    with pytest.raises(ValueError, match="hint must be 0, 1 or 2"):
        check("scores", scores, hint=3)


def test_silu_is_not_sent_to_the_linear_layers():
    def feed_forward(x, c_fc, c_proj):
        h = x @ c_fc["weight"] + c_fc["bias"]
        return h / (1 + np.exp(-h)) @ c_proj["weight"] + c_proj["bias"]

    result = check("feed_forward", feed_forward)
    assert "silu in place of gelu" in result.verdict and "which function" in dict(result.details)["where to look"]


def test_rare_rules_are_not_combined():
    mutant = next(each for each in mutants(EXERCISES["scores"]) if each.rewriting.is_rare)
    assert mutant.rewriting.rank >= len(COMMON) and not list(pairs(EXERCISES["scores"], mutant))
