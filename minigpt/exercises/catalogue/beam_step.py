"""Exercise beam_step, notebook 06: one step of beam search."""

import numpy as np
from hypothesis import strategies as st

from minigpt.exercises.drawing import distinct, numbers, sizes
from minigpt.exercises.exercise import Exercise, Probe


def beam_step(scores, logprobs, n):
    """Return the n highest of all sums, the highest first."""
    sums = scores[:, None] + logprobs  # [n, V]
    beam, token = best_of(sums, n)
    return beam, token, sums[beam, token]


def best_of(sums, n):
    """Return beams and tokens of the n highest of [n, V] sums: flat index i is beam i // V, token i % V."""
    return np.divmod(np.argsort(-sums, axis=None, kind="stable")[:n], sums.shape[1])


@st.composite
def beams(draw, n, V, scores, before=0.0):
    """Draw n beams with these scores, all of whose n V sums differ, so that their order is unique.

    before: added to all scores, as after a long text.
    """
    scores = np.array(scores) + before
    sums = draw(distinct(n * V, numbers(-12, -4))).reshape(n, V) + before
    return scores, sums - scores[:, None], n


@st.composite
def one_beam(draw, score):
    """Draw one beam."""
    return draw(beams(1, draw(sizes(2, 4)), [draw(score)]))


@st.composite
def equal_beams(draw):
    """Draw beams with equal scores."""
    n = draw(sizes(2, 3))
    return draw(beams(n, draw(sizes(2, 4).filter(lambda V: n != V)), [draw(numbers(-3, 0))] * n))


@st.composite
def one_good_beam(draw):
    """Draw beams of which one is so much better than the others that it has all the best continuations."""
    n = draw(sizes(2, 3))
    scores, logprobs, n = draw(beams(n, draw(sizes(n, 4)), draw(st.lists(numbers(-3, 0), min_size=n, max_size=n))))
    good = draw(st.integers(0, n - 1))
    scores[np.arange(n) != good] -= 16
    return scores, logprobs, n


@st.composite
def any_beams(draw):
    """Draw beams of any scores."""
    n, before = draw(sizes(1, 3)), draw(st.sampled_from([0.0, -500.0, -5000.0]))
    return draw(beams(n, draw(sizes(2, 4)), draw(st.lists(numbers(-3, 0), min_size=n, max_size=n)), before))


exercise = Exercise(
    name="beam_step",
    notebook="06_decoding",
    order=4,
    signature="beam_step(scores, logprobs, n)",
    task="Take one step of beam search. scores [n] has the log-probability of each beam so far, logprobs [n, V] those "
    "of each beam's next token. A continuation, beam b and token i, has the score scores[b] + logprobs[b, i]. Return "
    "the n best of all n V continuations, the best first: their beams [n], tokens [n] and scores [n]. Equal scores do "
    "not occur.",
    reference=beam_step,
    returns=("beams", "tokens", "scores"),
    probes=(
        Probe(
            "One beam whose score is 0: its most probable token, with that token's log-probability.",
            one_beam(st.just(0.0)),
        ),
        Probe(
            "One beam with any score: multiplying probabilities means adding their logarithms.",
            one_beam(numbers(-3, 0)),
        ),
        Probe(
            "All beams have the same score, so the highest log-probabilities win. Each beam has V of the n V "
            "continuations, so the place among all gives both beam and token.",
            equal_beams(),
        ),
        Probe(
            "One beam is far better than the others: all of the best continuations are its own.",
            one_good_beam(),
        ),
        Probe("Several beams with different scores; those of long texts are far below 0.", any_beams()),
    ),
)


@exercise.formulation
def beam_step_in_steps(scores, logprobs, n):
    V = logprobs.shape[1]
    sums = scores[:, None] + logprobs
    places = np.argsort(-sums.ravel())[:n]
    beam = places // V
    token = places % V
    return beam, token, sums.ravel()[places]


@exercise.mistake(
    "You add probabilities to scores that are logarithms. Add the log-probabilities themselves: log(a b) = log a + log "
    "b."
)
def beam_adds_probabilities(scores, logprobs, n):
    sums = scores[:, None] + np.exp(logprobs)
    beam, token = best_of(sums, n)
    return beam, token, sums[beam, token]


@exercise.mistake(
    "You multiply scores and log-probabilities. Probabilities are multiplied, their logarithms are added."
)
def beam_multiplies(scores, logprobs, n):
    sums = scores[:, None] * logprobs
    beam, token = best_of(sums, n)
    return beam, token, sums[beam, token]


@exercise.mistake(
    "You look at the last token only. The score of a continuation is that of its beam plus the log-probability of the "
    "token."
)
def beam_forgets_scores(scores, logprobs, n):
    beam, token = best_of(logprobs, n)
    return beam, token, logprobs[beam, token]


@exercise.mistake(
    "You choose by the log-probability of the token and add the beam's score afterwards. The sum decides: a likely "
    "token cannot save an unlikely beam."
)
def beam_chooses_without_scores(scores, logprobs, n):
    beam, token = best_of(logprobs, n)
    return beam, token, scores[beam] + logprobs[beam, token]


@exercise.mistake(
    "You choose the right continuations, but return the log-probability of the last token as the score. The score is "
    "that of the whole text: the beam's plus the token's."
)
def beam_scores_of_last_token(scores, logprobs, n):
    beam, token = best_of(scores[:, None] + logprobs, n)
    return beam, token, logprobs[beam, token]


@exercise.mistake(
    "You return probabilities. Scores are their logarithms, because the probability of a long text would be rounded to "
    "0."
)
def beam_returns_probabilities(scores, logprobs, n):
    beam, token, sums = beam_step(scores, logprobs, n)
    return beam, token, np.exp(sums)


@exercise.mistake(
    "You take the best token of each beam, which is greedy search for every beam alone. All continuations compete: "
    "several may come from one beam and none from another."
)
def beam_each_for_itself(scores, logprobs, n):
    token = logprobs.argmax(axis=1)
    sums = scores + logprobs.max(axis=1)
    beam = np.argsort(-sums, kind="stable")
    return beam, token[beam], sums[beam]


@exercise.mistake(
    "You exchange beams and tokens. Place b V + i among all continuations is token i of beam b, and beams are returned "
    "first."
)
def beam_swapped(scores, logprobs, n):
    beam, token, sums = beam_step(scores, logprobs, n)
    return token, beam, sums


@exercise.mistake(
    "You divide the place among all continuations by the number of beams. Each beam has V continuations, so divide by "
    "V."
)
def beam_divides_by_beams(scores, logprobs, n):
    beam, token, sums = beam_step(scores, logprobs, n)
    place = beam * logprobs.shape[1] + token
    return place // n, place % n, sums


@exercise.mistake("You take the lowest scores. Log-probabilities are negative, and the best are those nearest 0.")
def beam_worst(scores, logprobs, n):
    sums = scores[:, None] + logprobs
    beam, token = best_of(-sums, n)
    return beam, token, sums[beam, token]


@exercise.mistake("You return the right continuations with the best last. The best comes first.")
def beam_best_last(scores, logprobs, n):
    return tuple(part[::-1] for part in beam_step(scores, logprobs, n))
