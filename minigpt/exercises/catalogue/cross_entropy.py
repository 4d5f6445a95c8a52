"""Exercise cross_entropy, notebook 08: the loss."""

import math

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minigpt.exercises.catalogue.softmax import logarithm_of_softmax
from minigpt.exercises.drawing import arrays, numbers, sizes, whole_numbers
from minigpt.exercises.exercise import TOLERANCE_NEAR_1000, Exercise, Probe
from minigpt.ops.plain import softmax

IGNORED = -100  # the target of a row that does not count


def cross_entropy(logits, targets):
    """The mean of -log softmax(logits[n])[targets[n]] over the rows that count."""
    return surprises(logits, targets).mean()


def surprises(logits, targets):
    """Return -log softmax(logits[n])[targets[n]] of the rows that count."""
    counted = targets != IGNORED
    return -logarithm_of_softmax(logits[counted])[np.arange(counted.sum()), targets[counted]]


@st.composite
def logits_and_targets(draw, rows=sizes(1, 3), masked=False, elements=None):
    """Draw logits [N, V] and targets [N]. masked: some targets do not count, but never all."""
    N, V = draw(rows), draw(sizes(2, 4))
    targets = draw(hnp.arrays(np.int64, N, elements=st.integers(0, V - 1), fill=st.nothing()))
    if masked:
        targets[draw(st.permutations(range(N)))[: draw(st.integers(1, N - 1))]] = IGNORED
    return draw(arrays(N, V, elements=elements)), targets


@st.composite
def equal_logits(draw):
    """Draw equal logits, and targets."""
    logits, targets = draw(logits_and_targets())
    return np.full_like(logits, draw(numbers())), targets


@st.composite
def shifted_logits(draw):
    """Draw logits whose exponentials are all infinite or all 0, each row with its own height, and targets."""
    logits, targets = draw(logits_and_targets(elements=whole_numbers(-4, 4)))
    return logits + draw(arrays(len(logits), 1, elements=st.sampled_from([1000.0, -1000.0]))), targets


@st.composite
def distant_logits(draw):
    """Draw logits of which one in each row is so high that the probabilities of the others round to 0, and targets."""
    logits, targets = draw(logits_and_targets(elements=whole_numbers(-4, 4)))
    for row in logits:
        row[draw(st.integers(0, len(row) - 1))] += 1000
    return logits, targets


exercise = Exercise(
    name="cross_entropy",
    notebook="08_learning",
    order=1,
    signature="cross_entropy(logits, targets)",
    task="Return how surprised the logits are by the targets: the mean of -log softmax(logits[n])[targets[n]] over "
    "the rows n whose target is not -100. logits [N, V], targets [N] of integers -> a number; at least one target "
    "counts. Large logits must not overflow, and large differences between them must not give infinity: log "
    "softmax(x)_i = x_i - max(x) - log sum_j exp(x_j - max(x)).",
    reference=cross_entropy,
    probes=(
        Probe(
            "All V logits are equal, so every token has the probability 1 / V: the loss is log V, the natural "
            "logarithm, whatever the targets are.",
            equal_logits(),
        ),
        Probe(
            "One row: the loss is -log of the probability that the softmax of the row's V logits gives to the target.",
            logits_and_targets(st.just(1)),
        ),
        Probe(
            "Several rows, all of which count: the loss is the mean of -log p over them.",
            logits_and_targets(sizes(2, 4)),
        ),
        Probe(
            "Some targets are -100: their rows count neither in the sum nor in the number that divides it.",
            logits_and_targets(sizes(2, 4), masked=True),
        ),
        Probe(
            "The logits of a row are large, or very negative, but close to each other: only their exponentials "
            "overflow or become 0, and each row has its own maximum.",
            shifted_logits(),
            tolerance=TOLERANCE_NEAR_1000,
        ),
        Probe(
            "One logit of each row is far above the others, whose probabilities are so small that they become 0. Their "
            "logarithms are finite, unless you take the logarithm of a probability rounded to 0.",
            distant_logits(),
            tolerance=TOLERANCE_NEAR_1000,
        ),
        Probe(
            "Any logits, and some targets that do not count.",
            logits_and_targets(sizes(2, 4), masked=True, elements=numbers(-8, 8)),
        ),
    ),
)


@exercise.formulation
def cross_entropy_in_steps(logits, targets):
    counted = targets != -100
    shifted = logits - logits.max(axis=-1, keepdims=True)
    logprobs = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    losses = -logprobs[counted, targets[counted]]
    return losses.mean()


@exercise.formulation
def cross_entropy_of_counted_rows(logits, targets):
    counted = targets != -100
    rows, right = logits[counted], targets[counted]
    exps = np.exp(rows - rows.max(axis=-1, keepdims=True))
    logprobs = rows - rows.max(axis=-1, keepdims=True) - np.log(exps.sum(axis=-1, keepdims=True))
    losses = -logprobs[np.arange(len(right)), right]
    return losses.sum() / len(losses)


@exercise.mistake(
    "You divide by the number of all rows. The mean is over the rows that count: those with the target -100 do not."
)
def loss_counts_masked(logits, targets):
    return surprises(logits, targets).sum() / len(targets)


@exercise.mistake(
    "You return the sum over the rows. Return the mean, so that the loss does not grow with the length of the text."
)
def loss_is_sum(logits, targets):
    return surprises(logits, targets).sum()


@exercise.mistake("You divide by the number of all logits. Each row has one target, so the mean is over the rows.")
def loss_divides_by_everything(logits, targets):
    return surprises(logits, targets).sum() / ((targets != IGNORED).sum() * logits.shape[1])


@exercise.mistake("You return a loss for every row. Return their mean, one number.")
def loss_of_each_row(logits, targets):
    return surprises(logits, targets)


@exercise.mistake("The minus sign is missing: the logarithm of a probability is negative, the loss is not.")
def loss_without_minus(logits, targets):
    return -surprises(logits, targets).mean()


@exercise.mistake(
    "You take the logarithm to base 2. Take the natural logarithm, which undoes the exponential of the softmax."
)
def loss_in_bits(logits, targets):
    return surprises(logits, targets).mean() / math.log(2)


@exercise.mistake(
    "You take the probabilities themselves. The loss is the mean of their negative logarithms: a target with a "
    "probability near 0 costs a lot."
)
def loss_without_logarithm(logits, targets):
    return -np.exp(-surprises(logits, targets)).mean()


@exercise.mistake(
    "You take the logarithm of the mean probability. Take the logarithm of each row's probability first, and the mean "
    "last."
)
def loss_of_mean_probability(logits, targets):
    return -np.log(np.exp(-surprises(logits, targets)).mean())


@exercise.mistake(
    "You take the logits of the targets as their log-probabilities. The logarithm of the sum of all exponentials is "
    "missing: log softmax(x)_i = x_i - log sum_j exp(x_j)."
)
def loss_without_softmax(logits, targets):
    counted = targets != IGNORED
    return -logits[counted, targets[counted]].mean()


@exercise.mistake(
    "Your softmax runs down the rows. Each row is a distribution over the V tokens, so its sum runs along the last "
    "axis."
)
def loss_softmax_over_rows(logits, targets):
    counted = targets != IGNORED
    return -logarithm_of_softmax(logits.T).T[counted, targets[counted]].mean()


@exercise.mistake(
    "You take exponentials of the logits as they are, which become infinite for large ones and all 0 for very negative "
    "ones. Subtract the row's largest logit first: the softmax stays the same."
)
def loss_overflows(logits, targets):
    counted = targets != IGNORED
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return -np.log(probabilities[counted, targets[counted]]).mean()


@exercise.mistake(
    "You subtract the largest of all logits. In a row far below it every exponential becomes 0, and log 0 is minus "
    "infinity: subtract each row's own maximum."
)
def loss_with_one_maximum(logits, targets):
    counted = targets != IGNORED
    shifted = logits - logits.max()
    logprobs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -logprobs[counted, targets[counted]].mean()


@exercise.mistake(
    "You take the logarithm of a probability that has been rounded to 0, which gives minus infinity. Simplify on paper "
    "first: log softmax(x)_i = x_i - max(x) - log sum_j exp(x_j - max(x)) needs no such logarithm."
)
def loss_of_rounded_probabilities(logits, targets):
    counted = targets != IGNORED
    return -np.log(softmax(logits)[counted, targets[counted]]).mean()
