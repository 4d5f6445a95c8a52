"""Exercise temperature, notebook 06: sharper or flatter probabilities."""

import numpy as np
from hypothesis import strategies as st

from minigpt.exercises.catalogue.softmax import logarithm_of_softmax, maximum_not_subtracted
from minigpt.exercises.drawing import arrays, numbers, sizes, whole_numbers
from minigpt.exercises.exercise import TOLERANCE_NEAR_1000, Exercise, Probe
from minigpt.ops.plain import softmax


def temperature(logits, t):
    """softmax(logits / t)."""
    return softmax(logits / t)


# A large logit divided by them is exact in float32 as well.
POWERS_OF_2 = st.sampled_from([0.25, 0.5, 2.0, 4.0, 1.0])


@st.composite
def logits_and_temperature(draw, temperatures, elements=None):
    """Draw logits [V] and t."""
    return draw(arrays(draw(sizes(2, 4)), elements=elements)), draw(temperatures)


@st.composite
def distant_logits_and_temperature(draw, temperatures=POWERS_OF_2):
    """Draw logits near -1000, 0 and 1000, and t."""
    logits, t = draw(logits_and_temperature(temperatures))
    return logits + draw(arrays(len(logits), elements=st.sampled_from([0.0, 1000.0, -1000.0]))), t


@st.composite
def equal_logits_and_temperature(draw):
    """Draw equal logits, and t."""
    return np.full(draw(sizes(2, 4)), draw(numbers())), draw(POWERS_OF_2)


exercise = Exercise(
    name="temperature",
    notebook="06_decoding",
    order=1,
    signature="temperature(logits, t)",
    task="Return the probabilities softmax(logits / t): p_i = exp(logits_i / t) / sum_j exp(logits_j / t). logits "
    "[V], t > 0 -> probabilities [V]. Large logits must not overflow: subtracting the same number from all of them "
    "changes no probability.",
    reference=temperature,
    probes=(
        Probe(
            "With t = 1 the division changes nothing: only the softmax is left.",
            logits_and_temperature(st.just(1.0)),
        ),
        Probe(
            "Equal logits are equally probable at every temperature: each of V tokens has 1 / V.",
            equal_logits_and_temperature(),
        ),
        Probe(
            "Divide the logits by t, then apply the softmax with all of its exponentials. t below 1 makes the most "
            "probable token more probable, t above 1 less.",
            logits_and_temperature(POWERS_OF_2),
        ),
        Probe(
            "The logits are so large that their exponentials overflow. Their differences are small.",
            logits_and_temperature(POWERS_OF_2, whole_numbers(990, 1000)),
            tolerance=TOLERANCE_NEAR_1000,
        ),
        Probe(
            "Some logits are near 0, others near 1000 or -1000. Subtract the largest: then none of them is above 0, "
            "and no exponential can overflow.",
            distant_logits_and_temperature(),
            tolerance=TOLERANCE_NEAR_1000,
        ),
        Probe(
            "The temperature is so high that even a token whose own probability is rounded to 0 has a share: "
            "divide the logits. A power of the probabilities cannot bring back what is lost.",
            distant_logits_and_temperature(st.sampled_from([256.0, 1024.0])),
            tolerance=TOLERANCE_NEAR_1000,
        ),
        Probe("Any logits and any temperature.", logits_and_temperature(numbers(0, 4).map(lambda t: t + 0.125))),
    ),
)


@exercise.formulation
def temperature_in_steps(logits, t):
    scaled = logits / t
    shifted = scaled - scaled.max()
    return np.exp(shifted) / np.exp(shifted).sum()


@exercise.formulation
def temperature_after_the_maximum(logits, t):
    shifted = logits - logits.max()
    exps = np.exp(shifted / t)
    return exps / exps.sum()


@exercise.mistake(
    "You multiply the logits by t. Divide by it: a low temperature makes the differences between logits larger."
)
def temperature_multiplied(logits, t):
    return softmax(logits * t)


@exercise.mistake(
    "You divide the probabilities by t, so they no longer sum to 1. Divide the logits, before the softmax."
)
def temperature_after_softmax(logits, t):
    return softmax(logits) / t


@exercise.mistake(
    "The temperature has no effect on your result: what is added to all logits, or multiplies all exponentials, "
    "cancels. Divide the logits, before the softmax."
)
def temperature_without_effect(logits, t):
    scaled = softmax(logits) / t
    return scaled / scaled.sum()


@exercise.mistake(
    "You take a power of the probabilities, p_i^(1 / t), and divide by the sum. On paper that is the same, but a "
    "probability that was rounded to 0 stays 0: divide the logits, before the softmax."
)
def power_of_probabilities(logits, t):
    powers = softmax(logits) ** (1 / t)
    return powers / powers.sum()


@exercise.mistake("You return the logits divided by t. Return probabilities: the softmax of that.")
def temperature_without_softmax(logits, t):
    return logits / t


@exercise.mistake("You return the logarithms of the probabilities. Return the probabilities.")
def temperature_logarithm(logits, t):
    return logarithm_of_softmax(logits / t)


@exercise.mistake(
    "You divide by t in the numerator, but the denominator sums the exponentials of the undivided logits. In "
    "exp(logits_i / t) / sum_j exp(logits_j / t) both have the same temperature."
)
def temperature_only_above(logits, t):
    logits = logits - logits.max()
    return np.exp(logits / t) / np.exp(logits).sum()


@exercise.mistake(
    "You take the exponential of large numbers, which becomes infinite. Subtract the largest number first: the softmax "
    "stays the same, because the factor cancels."
)
def temperature_overflows(logits, t):
    return maximum_not_subtracted(logits / t)


@exercise.mistake(
    "You subtract the smallest logit, so all others are above 0 and their exponentials can overflow. Subtract the "
    "largest."
)
def temperature_minimum_subtracted(logits, t):
    return temperature_overflows(logits - logits.min(), t)


@exercise.mistake("You subtract the mean of the logits. Those far above it still overflow: subtract the largest.")
def temperature_mean_subtracted(logits, t):
    return temperature_overflows(logits - logits.mean(), t)


@exercise.mistake(
    "You subtract the first logit, whichever it is. Those far above it still overflow: subtract the largest."
)
def temperature_first_subtracted(logits, t):
    return temperature_overflows(logits - logits[0], t)
