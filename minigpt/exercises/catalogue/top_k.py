"""Exercise top_k, notebook 06: only the k most probable tokens."""

import numpy as np
from hypothesis import strategies as st

from minigpt.exercises.drawing import arrays, distinct, numbers, sizes
from minigpt.exercises.exercise import Exercise, Probe
from minigpt.ops.plain import softmax


def top_k(logits, k):
    """Return the logits, with -inf where they are below the k-th highest."""
    return np.where(logits >= kth_highest(logits, k), logits, -np.inf)


def kth_highest(logits, k):
    """Return the k-th highest logit, or the lowest if there are fewer."""
    return np.sort(logits)[::-1][min(k, len(logits)) - 1]


@st.composite
def different_logits_and_k(draw, least=lambda V: 1, most=lambda V: V):
    """Draw different logits [V], and k from least(V) to most(V)."""
    V = draw(sizes(2, 5))
    return draw(distinct(V, numbers())), draw(st.integers(least(V), most(V)))


@st.composite
def equal_logits_and_k(draw):
    """Draw logits of three different values, most of them several times, and k."""
    values = draw(distinct(3, numbers()))
    logits = np.repeat(values, [draw(sizes(2, 3)), draw(sizes(1, 2)), draw(sizes(0, 2))])
    return logits[draw(st.permutations(range(len(logits))))], draw(st.integers(2, len(logits) - 1))


@st.composite
def any_logits_and_k(draw):
    """Draw logits that may all be far below 0, as those of GPT-2 are, and k."""
    V = draw(sizes(1, 6))
    logits = draw(arrays(V, elements=draw(st.sampled_from([numbers(), numbers(0, 1)]))))
    return logits - draw(st.sampled_from([0.0, 100.0, 5000.0])), draw(st.integers(1, V + 2))


exercise = Exercise(
    name="top_k",
    notebook="06_decoding",
    order=2,
    signature="top_k(logits, k)",
    task="Return the logits with -inf for every logit below the k-th highest; all others stay. So tokens that tie "
    "with the k-th stay, too. logits [V] -> logits [V]. k >= 1 may be larger than V: then all stay.",
    reference=top_k,
    probes=(
        Probe(
            "With k = 1 only the highest logit stays, all others become -inf.",
            different_logits_and_k(most=lambda V: 1),
        ),
        Probe(
            "All logits differ, so exactly k stay: the k highest, at their places.",
            different_logits_and_k(),
        ),
        Probe(
            "k is as large as the vocabulary or larger: all stay.",
            different_logits_and_k(least=lambda V: V, most=lambda V: V + 3),
        ),
        Probe(
            "Some logits are equal. Those equal to the k-th highest stay, even if more than k tokens stay then.",
            equal_logits_and_k(),
        ),
        Probe("Any logits and any k.", any_logits_and_k()),
    ),
)


@exercise.formulation
def top_k_in_steps(logits, k):
    ordered = np.sort(logits)[::-1]
    lowest = ordered[min(k, len(ordered)) - 1]
    return np.where(logits >= lowest, logits, -np.inf)


EXACTLY_K = (
    "You keep exactly k tokens. Remove only those below the k-th highest logit: all tokens that are equal to it stay."
)


def at_places(places, logits):
    """Return the logits at these places, and -inf elsewhere."""
    kept = np.full_like(logits, -np.inf)
    kept[places] = logits[places]
    return kept


@exercise.mistake(EXACTLY_K)
def top_k_keeps_first_of_ties(logits, k):
    return at_places(np.argsort(-logits, kind="stable")[:k], logits)


@exercise.mistake(EXACTLY_K)
def top_k_keeps_last_of_ties(logits, k):
    return at_places(np.argsort(logits, kind="stable")[::-1][:k], logits)


@exercise.mistake("You keep the logits above the k-th highest, but not the k-th itself. Remove only what is below it.")
def top_k_above_only(logits, k):
    return np.where(logits > kth_highest(logits, k), logits, -np.inf)


@exercise.mistake("You keep k + 1 tokens: counted from 0, the k-th highest has index k - 1.")
def top_k_one_more(logits, k):
    return top_k(logits, k + 1)


@exercise.mistake("You keep the k lowest logits. Check which end of your sorted list has the highest.")
def top_k_lowest(logits, k):
    return np.where(-logits >= kth_highest(-logits, k), logits, -np.inf)


@exercise.mistake(
    "You count equal logits once when you look for the k-th highest. Every token counts: of 5, 5, 3 the second highest "
    "is 5."
)
def top_k_distinct_values(logits, k):
    values = np.unique(logits)
    return np.where(logits >= values[-min(k, len(values))], logits, -np.inf)


@exercise.mistake(
    "You set the removed logits to 0. A logit of 0 has a probability, perhaps a large one; only -inf has none."
)
def top_k_zeros(logits, k):
    return np.where(logits >= kth_highest(logits, k), logits, 0.0)


@exercise.mistake(
    "You return probabilities. Return the logits, with -inf for the removed ones; the softmax comes later."
)
def top_k_probabilities(logits, k):
    return softmax(top_k(logits, k))


@exercise.mistake(
    "You return only the k highest logits. Return all V places: the place of a logit says which token it belongs to."
)
def top_k_values(logits, k):
    return np.sort(logits)[::-1][:k]
