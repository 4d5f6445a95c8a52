"""Exercises of notebooks 06 and 07, decoding: from logits to the next token, and the cache that makes it cheap."""

import numpy as np
from hypothesis import strategies as st

from minigpt.exercises.attention import HUGE, maximum_not_subtracted
from minigpt.exercises.exercise import (
    ROUGH,
    Exercise,
    Mistake,
    Probe,
    arrays,
    large_input,
    numbers,
    sizes,
    small_integers,
)
from minigpt.generation import sampling
from minigpt.ops import plain
from minigpt.ops.plain import causal_mask, softmax


def whole(low, high):
    """A strategy for whole numbers as floats."""
    return st.integers(low, high).map(float)


@st.composite
def distinct(draw, n, elements):
    """An array of n different numbers."""
    return np.array(draw(st.lists(elements, min_size=n, max_size=n, unique=True)))


# ---------------------------------------------------------------- temperature


def temperature(logits, t):
    """minigpt.generation.sampling.temperature, and the softmax after it."""
    return softmax(sampling.temperature(logits, t))


# Powers of two: a large logit divided by them is exact in float32 as well.
POWERS = st.sampled_from([0.25, 0.5, 2.0, 4.0, 1.0])


@st.composite
def logits_and_temperature(draw, temperatures, elements=None):
    return draw(arrays(draw(sizes(2, 4)), elements=elements)), draw(temperatures)


@st.composite
def distant_logits_and_temperature(draw):
    """Logits near -1000, 0 and 1000."""
    logits, t = draw(logits_and_temperature(POWERS))
    return logits + draw(arrays(len(logits), elements=st.sampled_from([0.0, 1000.0, -1000.0]))), t


@st.composite
def equal_logits_and_temperature(draw):
    return np.full(draw(sizes(2, 4)), draw(numbers())), draw(POWERS)


def temperature_multiplied(logits, t):
    return softmax(logits * t)


def temperature_after_softmax(logits, t):
    return softmax(logits) / t


def temperature_without_effect(logits, t):
    scaled = softmax(logits) / t
    return scaled / scaled.sum()


def temperature_without_softmax(logits, t):
    return logits / t


def temperature_logarithm(logits, t):
    return sampling.log_softmax(logits / t)


def temperature_only_above(logits, t):
    logits = logits - logits.max()
    return np.exp(logits / t) / np.exp(logits).sum()


def temperature_overflows(logits, t):
    return maximum_not_subtracted(logits / t)


def temperature_minimum_subtracted(logits, t):
    return temperature_overflows(logits - logits.min(), t)


def temperature_mean_subtracted(logits, t):
    return temperature_overflows(logits - logits.mean(), t)


def temperature_first_subtracted(logits, t):
    return temperature_overflows(logits - logits[0], t)


# ---------------------------------------------------------------- top_k


def top_k(logits, k):
    """minigpt.generation.sampling.top_k for one row."""
    return sampling.top_k(logits[None], k)[0]


@st.composite
def different_logits_and_k(draw, least=lambda V: 1, most=lambda V: V):
    """k from least(V) to most(V)."""
    V = draw(sizes(2, 5))
    return draw(distinct(V, numbers())), draw(st.integers(least(V), most(V)))


@st.composite
def equal_logits_and_k(draw):
    """Logits of three different values, most of them several times."""
    values = draw(distinct(3, numbers()))
    logits = np.repeat(values, [draw(sizes(2, 3)), draw(sizes(1, 2)), draw(sizes(0, 2))])
    return logits[draw(st.permutations(range(len(logits))))], draw(st.integers(2, len(logits) - 1))


@st.composite
def any_logits_and_k(draw):
    """Also logits that are all far below 0, as those of GPT-2 are."""
    V = draw(sizes(1, 6))
    logits = draw(arrays(V, elements=draw(st.sampled_from([numbers(), numbers(0, 1)]))))
    return logits - draw(st.sampled_from([0.0, 100.0, 5000.0])), draw(st.integers(1, V + 2))


def kth_highest(logits, k):
    return np.sort(logits)[::-1][min(k, len(logits)) - 1]


def top_k_breaks_ties(logits, k):
    kept = np.full_like(logits, -np.inf)
    best = np.argsort(-logits, kind="stable")[:k]
    kept[best] = logits[best]
    return kept


def top_k_above_only(logits, k):
    return np.where(logits > kth_highest(logits, k), logits, -np.inf)


def top_k_one_more(logits, k):
    return top_k(logits, k + 1)


def top_k_lowest(logits, k):
    return -top_k(-logits, k) if k < len(logits) else logits.copy()


def top_k_distinct_values(logits, k):
    values = np.unique(logits)
    return np.where(logits >= values[-min(k, len(values))], logits, -np.inf)


def top_k_zeros(logits, k):
    return np.where(logits >= kth_highest(logits, k), logits, 0.0)


def top_k_probabilities(logits, k):
    return softmax(top_k(logits, k))


def top_k_values(logits, k):
    return np.sort(logits)[::-1][:k]


# ---------------------------------------------------------------- top_p


def top_p(logits, p):
    """minigpt.generation.sampling.top_p for one row."""
    return sampling.top_p(logits[None], p)[0]


@st.composite
def logits_and_p(draw, kept_at_least=1, in_order=False, around=0.0, distant=False):
    """Different logits, and a p that lies well between the mass of some of the tokens and that of one more.

    How a program rounds or orders equals does not matter then. in_order: the most probable token comes first; around:
    what the logits are near to; kept_at_least: how many tokens p must not be reached with. distant: some logits are so
    far below two others that their probability is 0.
    """
    V = draw(sizes(3 if distant else 2, 4))
    logits = draw(distinct(V, whole(-2, 2))) + around
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
    """p is less than the probability of the first of the tokens."""
    logits, _ = draw(logits_and_p())
    return logits, round(draw(st.sampled_from([0.25, 0.5, 0.75])) * float(softmax(logits).max()), 3)


def kept_tokens(logits, probabilities, rule):
    """logits of the tokens that a rule keeps. rule: from the mass before and with each token, the best first."""
    order = np.argsort(-probabilities, kind="stable")
    mass = np.cumsum(probabilities[order])
    kept = order[rule(mass - probabilities[order], mass)]
    filtered = np.full_like(logits, -np.inf)
    filtered[kept] = logits[kept]
    return filtered


def top_p_without_crossing(logits, p):
    filtered = kept_tokens(logits, softmax(logits), lambda before, mass: mass <= p)
    filtered[logits.argmax()] = logits.max()
    return filtered


def top_p_may_keep_none(logits, p):
    return kept_tokens(logits, softmax(logits), lambda before, mass: mass <= p)


def top_p_one_more(logits, p):
    return kept_tokens(logits, softmax(logits), lambda before, mass: np.append(True, before[:-1] < p))


def top_p_least_probable_first(logits, p):
    order = np.argsort(logits, kind="stable")
    probabilities = softmax(logits)[order]
    kept = order[np.cumsum(probabilities) - probabilities < p]
    filtered = np.full_like(logits, -np.inf)
    filtered[kept] = logits[kept]
    return filtered


def top_p_unsorted(logits, p):
    probabilities = softmax(logits)
    return np.where(np.cumsum(probabilities) - probabilities < p, logits, -np.inf)


def top_p_mask_not_put_back(logits, p):
    probabilities = np.sort(softmax(logits))[::-1]
    return np.where(np.cumsum(probabilities) - probabilities < p, logits, -np.inf)


def top_p_returns_sorted(logits, p):
    return np.sort(top_p(logits, p))[::-1]


def top_p_sums_logits(logits, p):
    return kept_tokens(logits, logits, lambda before, mass: before < p)


def top_p_each_alone(logits, p):
    probabilities = softmax(logits)
    return np.where(probabilities >= p * probabilities.max(), logits, -np.inf)


def top_p_zeros(logits, p):
    return np.where(top_p(logits, p) == -np.inf, 0.0, logits)


def top_p_probabilities(logits, p):
    return softmax(top_p(logits, p))


def top_p_overflows(logits, p):
    probabilities = np.exp(logits) / np.exp(logits).sum()
    return kept_tokens(logits, probabilities, lambda before, mass: before < p)


def top_p_minimum_subtracted(logits, p):
    probabilities = temperature_minimum_subtracted(logits, 1)
    return kept_tokens(logits, probabilities, lambda before, mass: before < p)


def top_p_mean_subtracted(logits, p):
    probabilities = temperature_mean_subtracted(logits, 1)
    return kept_tokens(logits, probabilities, lambda before, mass: before < p)


# ---------------------------------------------------------------- beam_step


def beam_step(scores, logprobs, n):
    """The heart of minigpt.generation.beams: the highest of all sums; place i is beam i // V and token i % V."""
    sums = scores[:, None] + logprobs  # [n, V]
    picked = sampling.top_indices(sums.ravel(), n)
    return picked // sums.shape[1], picked % sums.shape[1], sums.ravel()[picked]


@st.composite
def beams(draw, n, V, scores, before=0.0):
    """Of n beams with these scores all n V sums are different, so that there is one order of them.

    before: what all scores have besides, as after a long text.
    """
    scores = np.array(scores) + before
    sums = draw(distinct(n * V, numbers(-12, -4))).reshape(n, V) + before
    return scores, sums - scores[:, None], n


@st.composite
def one_beam(draw, score):
    return draw(beams(1, draw(sizes(2, 4)), [draw(score)]))


@st.composite
def equal_beams(draw):
    n = draw(sizes(2, 3))
    return draw(beams(n, draw(sizes(2, 4).filter(lambda V: n != V)), [draw(numbers(-3, 0))] * n))


@st.composite
def one_good_beam(draw):
    """One beam is so much better than the others that all the best continuations are its."""
    n = draw(sizes(2, 3))
    scores, logprobs, n = draw(beams(n, draw(sizes(n, 4)), draw(st.lists(numbers(-3, 0), min_size=n, max_size=n))))
    good = draw(st.integers(0, n - 1))
    scores[np.arange(n) != good] -= 16
    return scores, logprobs, n


@st.composite
def any_beams(draw):
    n, before = draw(sizes(1, 3)), draw(st.sampled_from([0.0, -500.0, -5000.0]))
    return draw(beams(n, draw(sizes(2, 4)), draw(st.lists(numbers(-3, 0), min_size=n, max_size=n)), before))


def best_of(sums, n):
    """Beams and tokens of the n highest of [n, V] sums."""
    return np.divmod(np.argsort(-sums, axis=None, kind="stable")[:n], sums.shape[1])


def beam_adds_probabilities(scores, logprobs, n):
    sums = scores[:, None] + np.exp(logprobs)
    beam, token = best_of(sums, n)
    return beam, token, sums[beam, token]


def beam_multiplies(scores, logprobs, n):
    sums = scores[:, None] * logprobs
    beam, token = best_of(sums, n)
    return beam, token, sums[beam, token]


def beam_forgets_scores(scores, logprobs, n):
    beam, token = best_of(logprobs, n)
    return beam, token, logprobs[beam, token]


def beam_chooses_without_scores(scores, logprobs, n):
    beam, token = best_of(logprobs, n)
    return beam, token, scores[beam] + logprobs[beam, token]


def beam_scores_of_last_token(scores, logprobs, n):
    beam, token = best_of(scores[:, None] + logprobs, n)
    return beam, token, logprobs[beam, token]


def beam_returns_probabilities(scores, logprobs, n):
    beam, token, sums = beam_step(scores, logprobs, n)
    return beam, token, np.exp(sums)


def beam_each_for_itself(scores, logprobs, n):
    token = logprobs.argmax(axis=1)
    sums = scores + logprobs.max(axis=1)
    beam = np.argsort(-sums, kind="stable")
    return beam, token[beam], sums[beam]


def beam_swapped(scores, logprobs, n):
    beam, token, sums = beam_step(scores, logprobs, n)
    return token, beam, sums


def beam_divides_by_beams(scores, logprobs, n):
    beam, token, sums = beam_step(scores, logprobs, n)
    place = beam * logprobs.shape[1] + token
    return place // n, place % n, sums


def beam_worst(scores, logprobs, n):
    sums = scores[:, None] + logprobs
    beam, token = best_of(-sums, n)
    return beam, token, sums[beam, token]


def beam_best_last(scores, logprobs, n):
    return tuple(part[::-1] for part in beam_step(scores, logprobs, n))


# ---------------------------------------------------------------- cached_attention


def cached_attention(q, k, v, k_cache, v_cache):
    """minigpt.ops.plain.attention over the tokens before and the new ones."""
    k, v = appended(k, v, k_cache, v_cache)
    return plain.attention(q[None], k[None], v[None])[0], k, v


def appended(k, v, k_cache, v_cache):
    return np.concatenate([k_cache, k], axis=1), np.concatenate([v_cache, v], axis=1)  # [H, S, K], S = P + T


ONE, SMALL = st.just(1), whole(-2, 2)


@st.composite
def cached(draw, past, new, heads=ONE, q=SMALL, k=SMALL, v=SMALL):
    """q, k, v of `new` tokens and the caches of `past`; how many these and the heads are, strategies say.

    q, k, v: strategies for their numbers, old and new.
    """
    H, P, T, K = draw(heads), draw(past), draw(new), draw(sizes())
    q, k, k_cache = (draw(arrays(H, n, K, elements=elements)) for n, elements in ((T, q), (T, k), (P, k)))
    v, v_cache = (draw(arrays(H, n, K, elements=v)) for n in (T, P))
    return q, k, v, k_cache, v_cache


def heads_of(q, k, v, mask, scale=None):
    """softmax(q k^T scale) v with another mask or scale than the right ones."""
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    return softmax(np.where(mask, q @ k.swapaxes(-1, -2) * scale, -np.inf)) @ v


def right_mask(q, k):
    return causal_mask(q.shape[1], k.shape[1])


def cached_mask_from_the_left(q, k, v, k_cache, v_cache):
    k, v = appended(k, v, k_cache, v_cache)
    return heads_of(q, k, v, np.tri(q.shape[1], k.shape[1], dtype=bool)), k, v


def cached_without_mask(q, k, v, k_cache, v_cache):
    k, v = appended(k, v, k_cache, v_cache)
    return heads_of(q, k, v, True), k, v


def cached_new_first(q, k, v, k_cache, v_cache):
    k, v = appended(k_cache, v_cache, k, v)
    return heads_of(q, k, v, right_mask(q, k)), k, v


def cached_scaled_by_tokens(q, k, v, k_cache, v_cache):
    k, v = appended(k, v, k_cache, v_cache)
    return heads_of(q, k, v, right_mask(q, k), k.shape[1] ** -0.5), k, v


def cached_without_scale(q, k, v, k_cache, v_cache):
    k, v = appended(k, v, k_cache, v_cache)
    return heads_of(q, k, v, right_mask(q, k), 1.0), k, v


def cached_overflows(q, k, v, k_cache, v_cache):
    k, v = appended(k, v, k_cache, v_cache)
    scores = np.where(right_mask(q, k), q @ k.swapaxes(-1, -2) * q.shape[-1] ** -0.5, -np.inf)
    return maximum_not_subtracted(scores) @ v, k, v


def cached_maximum_before_mask(q, k, v, k_cache, v_cache):
    k, v = appended(k, v, k_cache, v_cache)
    scores = q @ k.swapaxes(-1, -2) * q.shape[-1] ** -0.5
    scores = np.where(right_mask(q, k), scores - scores.max(axis=-1, keepdims=True), -np.inf)
    return maximum_not_subtracted(scores) @ v, k, v


def cached_returns_new(q, k, v, k_cache, v_cache):
    return cached_attention(q, k, v, k_cache, v_cache)[0], k, v


def cached_returns_old(q, k, v, k_cache, v_cache):
    return cached_attention(q, k, v, k_cache, v_cache)[0], k_cache, v_cache


def cached_attends_to_new(q, k, v, k_cache, v_cache):
    return heads_of(q, k, v, right_mask(q, k)), *appended(k, v, k_cache, v_cache)


def cached_attends_to_old(q, k, v, k_cache, v_cache):
    return heads_of(q, k_cache, v_cache, True), *appended(k, v, k_cache, v_cache)


EXERCISES = [
    Exercise(
        name="temperature",
        signature="temperature(logits, t)",
        task="The probabilities softmax(logits / t): p_i = exp(logits_i / t) / sum_j exp(logits_j / t). Logits [V] > "
        "probabilities [V]; t > 0. Large logits must not overflow: subtracting the same number from all of them "
        "changes no probability.",
        reference=temperature,
        probes=(
            Probe(
                "With t = 1 the division changes nothing: what remains is the softmax alone.",
                logits_and_temperature(st.just(1.0)),
            ),
            Probe(
                "Equal logits are equally probable at every temperature: each of V tokens has 1 / V.",
                equal_logits_and_temperature(),
            ),
            Probe(
                "The logits are divided by t, then comes the softmax, with all of its exponentials: "
                "t below 1 makes the most probable token more probable, t above 1 less.",
                logits_and_temperature(POWERS),
            ),
            Probe(
                "These logits are large, and their exponentials beyond all numbers. Their differences are small.",
                logits_and_temperature(POWERS, whole(990, 1000)),
                tolerance=ROUGH,
            ),
            Probe(
                "Some logits are near 0, others near 1000 or -1000. Only with the greatest one subtracted is none of "
                "them above 0, so that no exponential can overflow.",
                distant_logits_and_temperature(),
                tolerance=ROUGH,
            ),
            Probe("Any logits and any temperature.", logits_and_temperature(numbers(0, 4).map(lambda t: t + 0.125))),
        ),
        mistakes=(
            Mistake(
                temperature_multiplied,
                "Your function multiplies the logits by t. They are divided by it: a low temperature makes the "
                "differences between logits larger.",
            ),
            Mistake(
                temperature_after_softmax,
                "Your function divides the probabilities by t, so that they no longer sum to 1. The logits are "
                "divided, before the softmax.",
            ),
            Mistake(
                temperature_without_effect,
                "In your function the temperature has no effect: dividing probabilities by t and then by their sum "
                "gives them back. The logits are divided, before the softmax.",
            ),
            Mistake(
                temperature_without_softmax,
                "Your function returns logits divided by t. Probabilities are asked for: the softmax of that.",
            ),
            Mistake(
                temperature_logarithm,
                "Your function returns the logarithms of the probabilities. The probabilities are asked for.",
            ),
            Mistake(
                temperature_only_above,
                "Your function divides by t above the fraction bar, but the sum below it is that of the undivided "
                "logits. In exp(logits_i / t) / sum_j exp(logits_j / t) both have the same temperature.",
            ),
            Mistake(
                temperature_overflows,
                "Your function takes the exponential of large numbers, which becomes infinite. Subtract the greatest "
                "one first: the softmax stays the same, because the factor cancels.",
            ),
            Mistake(
                temperature_minimum_subtracted,
                "Your function subtracts the smallest logit, so that all others are above 0 and their exponentials can "
                "overflow. Subtract the greatest one.",
            ),
            Mistake(
                temperature_mean_subtracted,
                "Your function subtracts the mean of the logits. Those far above it still overflow: subtract the "
                "greatest one.",
            ),
            Mistake(
                temperature_first_subtracted,
                "Your function subtracts the first logit, whichever it is. Those far above it still overflow: subtract "
                "the greatest one.",
            ),
        ),
    ),
    Exercise(
        name="top_k",
        signature="top_k(logits, k)",
        task="Logits [V] > logits [V], in which every logit below the k-th highest has become -inf and all others are "
        "as before. So tokens that tie with the k-th stay. k >= 1 may be larger than V: then all stay.",
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
                "k is as large as the vocabulary or larger: there is nothing to leave out.",
                different_logits_and_k(least=lambda V: V, most=lambda V: V + 3),
            ),
            Probe(
                "Some logits are equal. Those that are equal to the k-th highest stay, even if there are more than k.",
                equal_logits_and_k(),
            ),
            Probe("Any logits and any k.", any_logits_and_k()),
        ),
        mistakes=(
            Mistake(
                top_k_breaks_ties,
                "Your function keeps exactly k tokens. Only those below the k-th highest logit are left out: tokens "
                "equal to it stay, all of them.",
            ),
            Mistake(
                top_k_above_only,
                "Your function keeps the logits above the k-th highest, but not the k-th itself. Only what is below it "
                "is left out.",
            ),
            Mistake(
                top_k_one_more,
                "Your function keeps k + 1 tokens: counted from 0, the k-th highest has number k - 1.",
            ),
            Mistake(
                top_k_lowest,
                "Your function keeps the k lowest logits. Check which end of your sorted list has the highest.",
            ),
            Mistake(
                top_k_distinct_values,
                "Your function takes equal logits as one when it looks for the k-th highest. Each token counts: "
                "of 5, 5, 3 the second highest is 5.",
            ),
            Mistake(
                top_k_zeros,
                "Your function sets the logits that are left out to 0. A logit of 0 has a probability, perhaps a "
                "large one; only -inf has none.",
            ),
            Mistake(
                top_k_probabilities,
                "Your function returns probabilities. The logits are asked for, with -inf for what is left out; the "
                "softmax comes later.",
            ),
            Mistake(
                top_k_values,
                "Your function returns the k highest logits alone. All V places are asked for: a logit's place says "
                "which token it belongs to.",
            ),
        ),
    ),
    Exercise(
        name="top_p",
        signature="top_p(logits, p)",
        task="Keep the smallest set of most probable tokens whose probabilities, softmax(logits), sum to at least p: "
        "the most probable token, the next one, and so on, up to and with the token that makes the sum reach p. "
        "Logits [V] > logits [V] with -inf for all other tokens. 0 < p < 1, so at least one token is kept; equal "
        "logits do not occur.",
        reference=top_p,
        uses=("minigpt.ops.plain.softmax",),
        probes=(
            Probe(
                "The tokens stand in order already, the most probable first, and one is not enough. Only the rule "
                "remains: a token stays if those before it hold less than p.",
                logits_and_p(kept_at_least=2, in_order=True),
            ),
            Probe(
                "The most probable token alone reaches p: it stays, and it alone.",
                logits_and_small_p(),
            ),
            Probe(
                "The tokens stand in any order. They are summed in the order of their probability, but each "
                "keeps its own place in the result.",
                logits_and_p(),
            ),
            Probe(
                "These logits are large, and their exponentials beyond all numbers. Their differences are small.",
                logits_and_p(around=1000.0),
            ),
            Probe(
                "Some logits are far below the others. Only with the greatest one subtracted is none of them above 0, "
                "so that no exponential can overflow.",
                logits_and_p(around=1000.0, distant=True),
            ),
            Probe("Any logits and any p.", logits_and_p() | logits_and_small_p() | logits_and_p(around=-1000.0)),
        ),
        mistakes=(
            Mistake(
                top_p_without_crossing,
                "Your function leaves out the token that makes the sum reach p. Without it the set holds less than p: "
                "a token stays if the sum before it, not with it, is below p.",
            ),
            Mistake(
                top_p_may_keep_none,
                "Your function leaves out the token that makes the sum reach p, and if that is the first one it keeps "
                "no token at all. A token stays if the sum before it, not with it, is below p.",
            ),
            Mistake(
                top_p_one_more,
                "Your function keeps one token too many: the sum had reached p already before it.",
            ),
            Mistake(
                top_p_least_probable_first,
                "Your function sums from the least probable token up. It keeps the most probable ones: begin there.",
            ),
            Mistake(
                top_p_unsorted,
                "Your function sums the probabilities in the order of the vocabulary. The most probable token comes "
                "first, wherever it stands.",
            ),
            Mistake(
                top_p_mask_not_put_back,
                "Your function finds in the sorted order which tokens stay, and applies that to the unsorted logits. "
                "The n-th most probable token is not the n-th of the vocabulary: bring it back to its place.",
            ),
            Mistake(
                top_p_returns_sorted,
                "Your function returns the right logits in sorted order. Each belongs at its token's place.",
            ),
            Mistake(
                top_p_sums_logits,
                "Your function sums logits. p is a probability: take their softmax, and sum that.",
            ),
            Mistake(
                top_p_each_alone,
                "Your function compares each probability with p times the greatest one. That is another filter, "
                "min-p; here the sum of the probabilities of the better tokens is compared with p.",
            ),
            Mistake(
                top_p_zeros,
                "Your function sets the logits that are left out to 0. A logit of 0 has a probability, perhaps a "
                "large one; only -inf has none.",
            ),
            Mistake(
                top_p_probabilities,
                "Your function returns probabilities. The logits are asked for, with -inf for what is left out.",
            ),
            Mistake(
                top_p_overflows,
                "Your function takes the exponential of large numbers, which becomes infinite. Subtract the greatest "
                "logit first: the softmax stays the same.",
            ),
            Mistake(
                top_p_minimum_subtracted,
                "Your softmax subtracts the smallest logit, so that all others are above 0 and their exponentials can "
                "overflow. Subtract the greatest one.",
            ),
            Mistake(
                top_p_mean_subtracted,
                "Your softmax subtracts the mean of the logits. Those far above it still overflow: subtract the "
                "greatest one.",
            ),
        ),
    ),
    Exercise(
        name="beam_step",
        signature="beam_step(scores, logprobs, n)",
        task="One step of beam search. scores [n] has the log-probability of each beam so far, logprobs [n, V] those "
        "of each beam's next token. A continuation, beam b and token i, has the score scores[b] + logprobs[b, i]. "
        "Returns the n best of all n V continuations, the best first: their beams [n], tokens [n] and scores [n]. "
        "Equal scores do not occur.",
        reference=beam_step,
        returns=("beams", "tokens", "scores"),
        probes=(
            Probe(
                "One beam, whose score is 0: its most probable token, with that token's log-probability.",
                one_beam(st.just(0.0)),
            ),
            Probe(
                "One beam with a score: logarithms of probabilities are added where the probabilities are multiplied.",
                one_beam(numbers(-3, 0)),
            ),
            Probe(
                "All beams have the same score, so the highest log-probabilities win. From a place among all n V "
                "continuations comes the beam, which has V of them, and the token.",
                equal_beams(),
            ),
            Probe(
                "One beam is far better than the others: all of the best continuations are its.",
                one_good_beam(),
            ),
            Probe("Several beams with different scores, of short texts and of long ones, far below 0.", any_beams()),
        ),
        mistakes=(
            Mistake(
                beam_adds_probabilities,
                "Your function adds probabilities to scores that are logarithms. The log-probabilities themselves "
                "are added: log(a b) = log a + log b.",
            ),
            Mistake(
                beam_multiplies,
                "Your function multiplies scores and log-probabilities. Probabilities are multiplied, their logarithms "
                "added.",
            ),
            Mistake(
                beam_forgets_scores,
                "Your function looks at the last token only. A continuation's score is that of its beam plus the log-"
                "probability of the token.",
            ),
            Mistake(
                beam_chooses_without_scores,
                "Your function chooses by the log-probability of the token and adds the beam's score afterwards. The "
                "sum decides: a likely token cannot save an unlikely beam.",
            ),
            Mistake(
                beam_scores_of_last_token,
                "Your function chooses rightly, but returns the log-probability of the last token as the score. The "
                "score is that of the whole text: the beam's plus the token's.",
            ),
            Mistake(
                beam_returns_probabilities,
                "Your function returns probabilities. Scores are their logarithms: those of a long text would be "
                "rounded to 0.",
            ),
            Mistake(
                beam_each_for_itself,
                "Your function takes the best token of each beam. That is greedy search for every beam alone: all "
                "continuations compete, and several may come from one beam, none from another.",
            ),
            Mistake(
                beam_swapped,
                "Your function has beams and tokens exchanged. Place b V + i among all continuations is token i of "
                "beam b, and beams are returned first.",
            ),
            Mistake(
                beam_divides_by_beams,
                "Your function divides the place among all continuations by the number of beams. Each beam has V "
                "continuations: V is what to divide by.",
            ),
            Mistake(
                beam_worst,
                "Your function takes the lowest scores. Log-probabilities are negative: the best are those nearest 0.",
            ),
            Mistake(
                beam_best_last,
                "Your function returns the right continuations with the best last. The best comes first.",
            ),
        ),
    ),
    Exercise(
        name="cached_attention",
        signature="cached_attention(q, k, v, k_cache, v_cache)",
        task="Causal attention of T new tokens that follow P cached ones. q, k, v [H, T, K] are of the new tokens, "
        "k_cache, v_cache [H, P, K] of those before (P may be 0). The new keys and values are put behind the cached "
        "ones; new token t, the (P + t)-th of the text, attends to all up to itself: "
        "heads = softmax(q k^T / sqrt(K) + mask) v. Returns heads [H, T, K] and the longer caches, keys and values "
        "[H, P + T, K]; the caches given are not changed.",
        reference=cached_attention,
        returns=("heads", "k_cache", "v_cache"),
        uses=("minigpt.ops.plain.softmax", "minigpt.ops.plain.causal_mask"),
        probes=(
            Probe(
                "Look at the keys returned: the cached ones first, then the new ones.",
                cached(sizes(1, 3), sizes(1, 3)),
                part=lambda result: result[1],
            ),
            Probe(
                "Look at the values returned: the cached ones first, then the new ones.",
                cached(sizes(1, 3), sizes(1, 3)),
                part=lambda result: result[2],
            ),
            Probe(
                "The cache is empty: the heads are those of ordinary causal attention.",
                cached(st.just(0), sizes()),
                part=lambda result: result[0],
            ),
            Probe(
                "One new token after cached ones: it is the last of the text, and attends to all of them and itself.",
                cached(sizes(), ONE),
                part=lambda result: result[0],
            ),
            Probe(
                "Several new tokens after cached ones: each attends to the whole cache, and of the new tokens "
                "to itself and those before. Row t of the mask is that of position P + t.",
                cached(sizes(1, 3), sizes(2, 4)),
                part=lambda result: result[0],
            ),
            Probe(
                "q and k are large here, and scores at least 800 apart. exp of such a number is inf: the softmax must "
                "subtract the maximum of each row first. And what is hidden with -100 is still above a score of "
                "-1600: it is -inf that hides.",
                cached(sizes(1, 3), sizes(2, 4), q=HUGE, k=HUGE),
                part=lambda result: result[0],
                tolerance=ROUGH,
            ),
            Probe(
                "All scores are -1600 or less here, and equal: every token weighs all that it sees alike. If it sees "
                "what comes later, that was hidden with a number which is larger: it is -inf that hides.",
                cached(sizes(1, 3), sizes(2, 4), q=st.just(40.0), k=st.just(-40.0)),
                part=lambda result: result[0],
                tolerance=ROUGH,
            ),
            Probe(
                "Any number of new and cached tokens, and of heads.",
                cached(sizes(0, 4), sizes(), sizes(1, 2), q=numbers(-2, 2), k=numbers(-2, 2), v=numbers(-2, 2)),
            ),
            large_input(lambda rng: tuple(small_integers(rng, 1, n, 4) for n in (30, 30, 30, 50, 50))),
        ),
        mistakes=(
            Mistake(
                cached_mask_from_the_left,
                "Your function's mask begins at the left: new token t attends to positions 0 to t. It is the "
                "(P + t)-th of the text: the mask is shifted by the length of the cache.",
            ),
            Mistake(
                cached_without_mask,
                "Your function lets the new tokens see each other's future. With one new token nothing is hidden, but "
                "of several the first must not see those after it.",
            ),
            Mistake(
                cached_new_first,
                "Your function puts the new keys and values before the cached ones. The text goes on at its end.",
            ),
            Mistake(
                cached_scaled_by_tokens,
                "Your function divides the scores by the root of the number of keys. The K in sqrt(K) is the width of "
                "a head, the last dimension of q, however long the cache is.",
            ),
            Mistake(
                cached_without_scale,
                "Your function does not divide the scores by sqrt(K).",
            ),
            Mistake(
                cached_overflows,
                "Your function takes exp of scores as they are, which is inf for large ones, and inf / inf is NaN. "
                "Subtract each row's maximum first: it cancels in the fraction.",
            ),
            Mistake(
                cached_maximum_before_mask,
                "Your function subtracts the maximum of all scores of a row, and masks afterwards. If the largest "
                "score is a hidden one, all visible ones can be so far below it that their exp is 0, and 0 / 0 is NaN: "
                "take the maximum of what is visible.",
            ),
            Mistake(
                cached_returns_new,
                "Your function returns the new keys and values alone. The next step needs those of the whole text.",
            ),
            Mistake(
                cached_returns_old,
                "Your function returns the caches as they were given. The new keys and values belong to them now: "
                "otherwise the next step does not see these tokens.",
            ),
            Mistake(
                cached_attends_to_new,
                "In your function the new tokens attend to each other only. The cached keys and values take part: "
                "that is what they are kept for.",
            ),
            Mistake(
                cached_attends_to_old,
                "In your function the new tokens attend to the cached ones only. Each attends to itself, too: put its "
                "key and value behind the others before computing the scores.",
            ),
        ),
    ),
]
