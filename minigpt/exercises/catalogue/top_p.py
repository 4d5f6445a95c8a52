"""Exercise top_p, notebook 06: only the most probable tokens that together reach p."""

import numpy as np
from hypothesis import strategies as st

from minigpt.exercises.catalogue.temperature import temperature_mean_subtracted, temperature_minimum_subtracted
from minigpt.exercises.catalogue.top_k import top_k
from minigpt.exercises.drawing import arrays, distinct, sizes, whole_numbers
from minigpt.exercises.exercise import Exercise, Probe
from minigpt.ops.plain import softmax


def top_p(logits, p):
    """Return the logits of the most probable tokens, as many as are needed to reach p, and -inf for all others."""
    return kept_tokens(logits, softmax(logits), lambda before, mass: before < p)


def kept_tokens(logits, probabilities, rule):
    """Return the logits of the tokens that a rule keeps: rule(mass before each token, mass with it), best first."""
    order = np.argsort(-probabilities, kind="stable")
    mass = np.cumsum(probabilities[order])
    kept = order[rule(mass - probabilities[order], mass)]
    filtered = np.full_like(logits, -np.inf)
    filtered[kept] = logits[kept]
    return filtered


@st.composite
def logits_and_p(draw, kept_at_least=1, in_order=False, around=0.0, distant=False):
    """Draw different logits, and a p well between the mass of some tokens and that of one more.

    Rounding therefore does not matter. kept_at_least: p is not reached with fewer tokens. in_order: the most probable
    token comes first. around: the number that the logits are near. distant: some logits are so far below two others
    that their probability is 0.
    """
    V = draw(sizes(3 if distant else 2, 4))
    logits = draw(distinct(V, whole_numbers(-2, 2))) + around
    if distant:
        below = draw(arrays(V, elements=st.sampled_from([0.0, 1000.0, 8000.0])))
        below[list(draw(st.permutations(range(V)))[:2])] = 0
        logits -= below
    highest_first = np.sort(logits)[::-1]
    mass = np.concatenate([[0.0], np.cumsum(softmax(highest_first))])
    kept = draw(st.integers(kept_at_least, int((softmax(logits) > 0).sum())))
    p = round(float(mass[kept - 1] + mass[kept]) / 2, 3)
    return highest_first if in_order else logits, p


@st.composite
def logits_and_small_p(draw):
    """Draw different logits, and a p below the probability of the most probable token."""
    logits, _ = draw(logits_and_p())
    return logits, round(draw(st.sampled_from([0.25, 0.5, 0.75])) * float(softmax(logits).max()), 3)


exercise = Exercise(
    name="top_p",
    notebook="06_decoding",
    order=3,
    signature="top_p(logits, p)",
    task="Keep the smallest set of most probable tokens whose probabilities, softmax(logits), sum to at least p: the "
    "most probable token, the next one, and so on, up to and including the token that makes the sum reach p. logits "
    "[V] -> logits [V], with -inf for all other tokens. 0 < p < 1, so at least one token is kept; equal logits do not "
    "occur.",
    reference=top_p,
    uses=("minigpt.ops.plain.softmax",),
    probes=(
        Probe(
            "The tokens are already in order, the most probable first, and one is not enough. Only the rule is left: a "
            "token stays if those before it together hold less than p.",
            logits_and_p(kept_at_least=2, in_order=True),
        ),
        Probe(
            "The most probable token alone reaches p: only it stays.",
            logits_and_small_p(),
        ),
        Probe(
            "The tokens are in any order. Sum them in the order of their probability, but leave each at its own place "
            "in the result.",
            logits_and_p(),
        ),
        Probe(
            "The logits are so large that their exponentials overflow. Their differences are small.",
            logits_and_p(around=1000.0),
        ),
        Probe(
            "Some logits are far below the others. Subtract the largest: then none of them is above 0, and no "
            "exponential can overflow.",
            logits_and_p(around=1000.0, distant=True),
        ),
        Probe("Any logits and any p.", logits_and_p() | logits_and_small_p() | logits_and_p(around=-1000.0)),
    ),
)


@exercise.formulation
def top_p_in_steps(logits, p):
    exps = np.exp(logits - logits.max())
    probabilities = exps / exps.sum()
    order = np.argsort(-probabilities)
    sums = np.cumsum(probabilities[order])
    before = sums - probabilities[order]
    kept = order[before < p]
    result = np.full(len(logits), -np.inf)
    result[kept] = logits[kept]
    return result


@exercise.formulation
def top_p_by_number(logits, p):
    exps = np.exp(logits - logits.max())
    probabilities = exps / exps.sum()
    order = np.argsort(probabilities)[::-1]
    sums = np.cumsum(probabilities[order])
    n = np.searchsorted(sums, p) + 1
    kept = order[:n]
    result = np.full(len(logits), -np.inf)
    result[kept] = logits[kept]
    return result


@exercise.mistake(
    "You remove the token that makes the sum reach p. Without it the set holds less than p: a token stays if the sum "
    "before it, not including it, is below p."
)
def top_p_without_crossing(logits, p):
    filtered = kept_tokens(logits, softmax(logits), lambda before, mass: mass <= p)
    filtered[logits.argmax()] = logits.max()
    return filtered


@exercise.mistake(
    "You remove the token that makes the sum reach p; if that is the first one, you keep no token at all. A token "
    "stays if the sum before it, not including it, is below p."
)
def top_p_may_keep_none(logits, p):
    return kept_tokens(logits, softmax(logits), lambda before, mass: mass <= p)


@exercise.mistake("You keep one token too many: the sum had already reached p before it.")
def top_p_one_more(logits, p):
    return kept_tokens(logits, softmax(logits), lambda before, mass: np.append(True, before[:-1] < p))


OF_NUMBER = (
    "You keep p of the number of tokens. p is a share of the probability: keep the most probable tokens until their "
    "probabilities sum to p, however many that are."
)


@exercise.mistake(OF_NUMBER)
def top_p_of_number_rounded_up(logits, p):
    return top_k(logits, int(np.ceil(p * len(logits))))


@exercise.mistake(OF_NUMBER)
def top_p_of_number_rounded_down(logits, p):
    return top_k(logits, max(1, int(p * len(logits))))


@exercise.mistake(OF_NUMBER)
def top_p_of_number_rounded(logits, p):
    return top_k(logits, max(1, round(p * len(logits))))


LEAST_REMOVED = (
    "You remove the least probable tokens until what is removed sums to p. It is what stays that must sum to p: begin "
    "with the most probable token, and keep."
)


@exercise.mistake(LEAST_REMOVED)
def top_p_removes_until_p(logits, p):
    return kept_tokens(logits, softmax(logits), lambda before, mass: mass[-1] - mass >= p)


@exercise.mistake(LEAST_REMOVED)
def top_p_removes_at_most_p(logits, p):
    return kept_tokens(logits, softmax(logits), lambda before, mass: mass[-1] - before > p)


@exercise.mistake(
    "You compare each token's own probability with p. Sum them, from the most probable token on: a token stays if the "
    "sum before it is below p."
)
def top_p_each_against_p(logits, p):
    return np.where(softmax(logits) >= p, logits, -np.inf)


@exercise.mistake("You sum from the least probable token up. Begin with the most probable one.")
def top_p_least_probable_first(logits, p):
    order = np.argsort(logits, kind="stable")
    probabilities = softmax(logits)[order]
    kept = order[np.cumsum(probabilities) - probabilities < p]
    filtered = np.full_like(logits, -np.inf)
    filtered[kept] = logits[kept]
    return filtered


@exercise.mistake(
    "You sum the probabilities in the order of the vocabulary. Begin with the most probable token, wherever it stands."
)
def top_p_unsorted(logits, p):
    probabilities = softmax(logits)
    return np.where(np.cumsum(probabilities) - probabilities < p, logits, -np.inf)


@exercise.mistake(
    "You find in the sorted order which tokens stay, but apply that to the unsorted logits. The n-th most probable "
    "token is not the n-th of the vocabulary: put the choice back in the order of the vocabulary."
)
def top_p_mask_not_put_back(logits, p):
    probabilities = np.sort(softmax(logits))[::-1]
    return np.where(np.cumsum(probabilities) - probabilities < p, logits, -np.inf)


@exercise.mistake("You return the right logits in sorted order. Each belongs at its token's place.")
def top_p_returns_sorted(logits, p):
    return np.sort(top_p(logits, p))[::-1]


@exercise.mistake("You sum logits. p is a probability: take the softmax of the logits, and sum that.")
def top_p_sums_logits(logits, p):
    return kept_tokens(logits, logits, lambda before, mass: before < p)


@exercise.mistake(
    "You compare each probability with p times the largest one. That is another filter, min-p; here the sum of the "
    "probabilities of the better tokens is compared with p."
)
def top_p_each_alone(logits, p):
    probabilities = softmax(logits)
    return np.where(probabilities >= p * probabilities.max(), logits, -np.inf)


@exercise.mistake(
    "You set the removed logits to 0. A logit of 0 has a probability, perhaps a large one; only -inf has none."
)
def top_p_zeros(logits, p):
    return np.where(top_p(logits, p) == -np.inf, 0.0, logits)


@exercise.mistake("You return probabilities. Return the logits, with -inf for the removed ones.")
def top_p_probabilities(logits, p):
    return softmax(top_p(logits, p))


@exercise.mistake(
    "You take the exponential of large numbers, which becomes infinite. Subtract the largest logit first: the softmax "
    "stays the same."
)
def top_p_overflows(logits, p):
    probabilities = np.exp(logits) / np.exp(logits).sum()
    return kept_tokens(logits, probabilities, lambda before, mass: before < p)


@exercise.mistake(
    "Your softmax subtracts the smallest logit, so all others are above 0 and their exponentials can overflow. "
    "Subtract the largest."
)
def top_p_minimum_subtracted(logits, p):
    probabilities = temperature_minimum_subtracted(logits, 1)
    return kept_tokens(logits, probabilities, lambda before, mass: before < p)


@exercise.mistake(
    "Your softmax subtracts the mean of the logits. Those far above it still overflow: subtract the largest."
)
def top_p_mean_subtracted(logits, p):
    probabilities = temperature_mean_subtracted(logits, 1)
    return kept_tokens(logits, probabilities, lambda before, mass: before < p)
