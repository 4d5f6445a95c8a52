"""Exercise accept, notebook 10: keep a drafted token, or draw another in its place."""

import numpy as np
from hypothesis import strategies as st

from minigpt.exercises.drawing import large_input, sizes
from minigpt.exercises.exercise import Exercise, Probe


def accept(p, q, token, u):
    """The drafted token with probability min(1, p / q), else one drawn from max(0, p - q), normalised."""
    return token if is_kept(p, q, token, u) else drawn(np.maximum(p - q, 0), u[1])


def is_kept(p, q, token, u):
    return u[0] < p[token] / q[token]


def drawn(weights, u):
    """Return the first token up to which the weights, normalised, sum to more than u."""
    return int(np.argmax(np.cumsum(weights / weights.sum()) > u))


@st.composite
def eighths(draw, V):
    """Draw the probabilities of V tokens, in eighths."""
    tokens = draw(st.lists(st.integers(0, V - 1), min_size=8, max_size=8))
    return np.bincount(tokens, minlength=V) / 8


@st.composite
def drafts(draw, V=sizes(2, 4), certain=False):
    """Draw p, q, a token that q allows, and u, which rounding does not take to the other side of a bound.

    certain: q is 1 for the token.
    """
    V = draw(V)
    p, token = draw(eighths(V)), draw(st.integers(0, V - 1))
    q = np.eye(V)[token] if certain else draw(eighths(V).filter(lambda q: q[token] > 0))
    missing = np.maximum(p - q, 0)
    bounds = np.append(np.cumsum(missing) / max(missing.sum(), 1 / 8), p[token] / q[token])
    uniform = st.integers(1, 99).map(lambda n: n / 100).filter(lambda u: np.abs(bounds - u).min() > 0.004)
    return p, q, token, np.array([draw(uniform), draw(uniform)])


def has_more_in_p(arguments):
    p, q, token, _ = arguments
    return p[token] >= q[token]


def is_kept_with_high_u(arguments):
    """Whether p gives the token more than q does, u[0] is above q / p, and u[1] would choose another token."""
    p, q, token, u = arguments
    return p[token] * u[0] > q[token] and drawn(np.maximum(p - q, 0), u[1]) != token


def has_less_in_p(arguments):
    return not has_more_in_p(arguments)


def is_rejected_with_a_choice(arguments):
    """Whether the token is not kept, and p gives several others more than q does."""
    p, q, _, _ = arguments
    return not is_kept(*arguments) and (p > q).sum() > 1


def large_draft(rng):
    """Return a token of 300 that p does not allow, so that another is drawn."""
    p, q = rng.random((2, 300))
    p[7] = 0
    return p / p.sum(), q / q.sum(), 7, np.array([0.5, 0.8])


exercise = Exercise(
    name="accept",
    notebook="10_fast",
    order=1,
    signature="accept(p, q, token, u)",
    task="A small model has drawn `token` with its probabilities q [V]. Return a token with the probabilities p [V] of "
    "the large model. Keep the drafted one with the probability min(1, p[token] / q[token]): if u[0] is less than "
    "p[token] / q[token]. Otherwise draw another from max(0, p - q), divided by its sum: return the first token i for "
    "which the probabilities of the tokens up to and including i sum to more than u[1]. u [2] are two numbers drawn "
    "evenly from 0 to 1; q[token] is above 0.",
    reference=accept,
    probes=(
        Probe(
            "p gives the drafted token at least as much as q does: it is always kept, whatever u is.",
            drafts().filter(is_kept_with_high_u) | drafts().filter(has_more_in_p),
        ),
        Probe(
            "Two tokens, and p gives the drafted one less than q does. It is kept if u[0] < p[token] / q[token]; if it "
            "is not, only the other one is left.",
            drafts(st.just(2)).filter(has_less_in_p),
        ),
        Probe(
            "The small model was certain: q is 1 for the drafted token. It is kept with its probability in p; if it "
            "is not, the others are drawn as p has them.",
            drafts(sizes(3, 4), certain=True),
        ),
        Probe(
            "The drafted token is not kept, and p gives several tokens more than q does. One of these is drawn with "
            "u[1]: the more p - q, the more often.",
            drafts(sizes(3, 4)).filter(is_rejected_with_a_choice),
        ),
        Probe("Any p, q and u, and any token that q allows.", drafts()),
        large_input(large_draft),
    ),
)


@exercise.formulation
def accept_in_steps(p, q, token, u):
    if u[0] < p[token] / q[token]:
        return token
    missing = np.maximum(p - q, 0)
    probabilities = missing / missing.sum()
    sums = np.cumsum(probabilities)
    return int(np.argmax(sums > u[1]))


@exercise.mistake(
    "You always keep the drafted token. Then tokens come with the probabilities q of the small model: keep it with "
    "probability min(1, p / q) only."
)
def accept_always(p, q, token, u):
    return token


@exercise.mistake(
    "You never keep the drafted token, even where u[0] < p / q. Nothing would be gained, and tokens which q likes too "
    "little would come too often."
)
def accept_never(p, q, token, u):
    missing = np.maximum(p - q, 0)
    return drawn(missing, u[1]) if missing.any() else drawn(p, u[1])


@exercise.mistake(
    "You always draw from p. That has the right distribution, but it ignores the draft: keep the drafted token where "
    "u[0] < p / q."
)
def accept_ignores_draft(p, q, token, u):
    return drawn(p, u[1])


@exercise.mistake(
    "You draw from p when the drafted token is not kept. The tokens that q likes have been drafted already, so they "
    "would come too often: draw from what q lacks, max(0, p - q)."
)
def accept_redraws_from_p(p, q, token, u):
    return token if is_kept(p, q, token, u) else drawn(p, u[1])


@exercise.mistake(
    "You draw from p without the drafted token when it is not kept. Other tokens that q likes would come too often: "
    "draw from max(0, p - q)."
)
def accept_redraws_from_others(p, q, token, u):
    return token if is_kept(p, q, token, u) else drawn(np.where(np.arange(len(p)) == token, 0, p), u[1])


@exercise.mistake("You draw from q again when the drafted token is not kept. Draw from what q lacks: max(0, p - q).")
def accept_redraws_from_q(p, q, token, u):
    return token if is_kept(p, q, token, u) else drawn(q, u[1])


@exercise.mistake(
    "You draw from max(0, q - p) when the drafted token is not kept. That is what q has too much of. Draw from what it "
    "lacks: max(0, p - q)."
)
def accept_redraws_from_excess(p, q, token, u):
    return token if is_kept(p, q, token, u) else drawn(np.maximum(q - p, 0), u[1])


@exercise.mistake(
    "You draw from |p - q| when the drafted token is not kept. Only tokens with too little in q may come: where q has "
    "more than p, the probability is 0, as max(0, p - q) says."
)
def accept_redraws_from_distance(p, q, token, u):
    return token if is_kept(p, q, token, u) else drawn(np.abs(p - q), u[1])


@exercise.mistake(
    "You leave out the max: p - q is negative where q has more, and its sum is 0. Draw from max(0, p - q), divided by "
    "its sum."
)
def accept_without_maximum(p, q, token, u):
    return token if is_kept(p, q, token, u) else int(np.argmax(np.cumsum(p - q) > u[1]))


@exercise.mistake(
    "You do not divide max(0, p - q) by its sum. It is less than 1, so u[1] may be beyond it: probabilities sum to 1."
)
def accept_without_normalising(p, q, token, u):
    return token if is_kept(p, q, token, u) else int((np.cumsum(np.maximum(p - q, 0)) <= u[1]).sum())


@exercise.mistake(
    "You do not divide max(0, p - q) by its sum, and return token 0 where u[1] is beyond that sum. Probabilities sum "
    "to 1: divide."
)
def accept_without_normalising_first(p, q, token, u):
    return token if is_kept(p, q, token, u) else int(np.argmax(np.cumsum(np.maximum(p - q, 0)) > u[1]))


@exercise.mistake(
    "You take the token with the largest p - q when the drafted one is not kept. It is the most probable one, but the "
    "others must come, too: draw it with u[1]."
)
def accept_takes_largest_difference(p, q, token, u):
    return token if is_kept(p, q, token, u) else int((p - q).argmax())


@exercise.mistake(
    "You take the most probable token of p when the drafted one is not kept. Draw one from max(0, p - q) with u[1]."
)
def accept_takes_largest(p, q, token, u):
    return token if is_kept(p, q, token, u) else int(p.argmax())


@exercise.mistake(
    "You keep the drafted token only if p gives it at least as much as q. If p gives it less, it must still be kept "
    "with the probability p / q."
)
def accept_only_more_probable(p, q, token, u):
    return token if p[token] >= q[token] else drawn(np.maximum(p - q, 0), u[1])


@exercise.mistake(
    "You keep the drafted token with its probability p. It is already there with probability q, so keep it with p / q: "
    "q times p / q is p."
)
def accept_with_p(p, q, token, u):
    missing = np.maximum(p - q, 0)
    return token if u[0] < p[token] or not missing.any() else drawn(missing, u[1])


@exercise.mistake("You keep the drafted token with probability q / p. The ratio is the other way round: p / q.")
def accept_with_inverse_ratio(p, q, token, u):
    missing = np.maximum(p - q, 0)
    return token if u[0] * p[token] < q[token] or not missing.any() else drawn(missing, u[1])


@exercise.mistake("You keep the drafted token where u[0] is above p / q. It is kept where u[0] is below.")
def accept_reversed(p, q, token, u):
    missing = np.maximum(p - q, 0)
    return drawn(missing, u[1]) if is_kept(p, q, token, u) and missing.any() else token


@exercise.mistake(
    "You keep the drafted token only if it is the most probable one of p. That is the rule of greedy search."
)
def accept_greedily(p, q, token, u):
    missing = np.maximum(p - q, 0)
    return token if token == p.argmax() or not missing.any() else drawn(missing, u[1])


@exercise.mistake(
    "You use u[0] twice. When the drafted token is not kept, u[0] is known to be large, so a token drawn with it is "
    "one of the last too often: draw with u[1]."
)
def accept_same_number(p, q, token, u):
    return accept(p, q, token, u[[0, 0]])


@exercise.mistake("You exchange the two numbers: u[0] is for keeping the drafted token, u[1] for drawing another.")
def accept_exchanged_numbers(p, q, token, u):
    return accept(p, q, token, u[::-1])


@exercise.mistake(
    "You draw the token before the right one. It is the first whose probability, with all before it, sums to more than "
    "u[1]: that token itself counts."
)
def accept_one_before(p, q, token, u):
    return token if is_kept(p, q, token, u) else drawn(np.maximum(p - q, 0), u[1]) - 1


@exercise.mistake("You return a row of probabilities. Return one token, the drafted or the drawn one, as an integer.")
def accept_returns_probabilities(p, q, token, u):
    return np.eye(len(p))[accept(p, q, token, u)]
