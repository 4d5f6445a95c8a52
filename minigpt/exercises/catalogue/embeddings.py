"""Exercise embeddings, notebook 02: a vector for each token and its position."""

import numpy as np
from hypothesis import strategies as st

from minigpt.exercises.drawing import arrays, large_input, numbers, sizes, small_integers, whole_numbers
from minigpt.exercises.exercise import Exercise, Probe
from minigpt.exercises.placing import edits, require_shape


def embeddings(ids, wte, wpe):
    """x[t] = wte[ids[t]] + wpe[t]."""
    return wte[ids] + wpe[np.arange(len(ids))]


@st.composite
def texts(draw, T=sizes(), full=st.just(False)):
    """Draw ids [T], V and P, where P > T and P >= V, so that a wrong position is a wrong row and not an IndexError.

    full: P = T, there are no more positions than tokens.
    """
    T, V = draw(T), draw(sizes(2, 5))
    ids = np.array(draw(st.lists(st.integers(0, V - 1), min_size=T, max_size=T)))
    return ids, V, T if draw(full) else max(T + 1, V) + draw(st.integers(0, 2))


@st.composite
def texts_and_tables(draw, T=sizes(), token=whole_numbers(), position=whole_numbers(), full=st.just(False)):
    """Draw ids [T], wte [V, D] and wpe [P, D]."""
    (ids, V, P), D = draw(texts(T, full)), draw(sizes())
    return ids, draw(arrays(V, D, elements=token)), draw(arrays(P, D, elements=position))


def embeddings_in_model(model, function, remembered):
    """Replace the embeddings of the model by the function's."""
    wte, wpe = model.params["wte"]["weight"], model.params["wpe"]["weight"]
    return {"embed": lambda embed: require_shape(function(remembered["ids"], wte, wpe), embed.shape[1:])[None]}


exercise = Exercise(
    name="embeddings",
    notebook="02_embeddings",
    order=1,
    signature="embeddings(ids, wte, wpe)",
    task="x[t] = wte[ids[t]] + wpe[t]: the vector of each token plus the vector of its position, counted from 0. ids "
    "[T] of integers, wte [V, D], wpe [P, D] with P >= T -> x [T, D].",
    reference=embeddings,
    probes=(
        Probe(
            "All position vectors are 0, so the result must be rows of wte: row ids[t] for token t.",
            texts_and_tables(position=st.just(0.0)),
        ),
        Probe(
            "All token vectors are 0, so the result must be rows of wpe: row t at place t, whichever token stands "
            "there.",
            texts_and_tables(token=st.just(0.0)),
        ),
        Probe(
            "A single token at position 0: one row of wte plus the first row of wpe.",
            texts_and_tables(T=st.just(1)),
        ),
        Probe(
            "Tokens and positions were each right alone. Here both count: add them.",
            texts_and_tables(),
        ),
        Probe(
            "The text may be as long as there are positions, and the numbers have fractions.",
            texts_and_tables(token=numbers(), position=numbers(), full=st.booleans()),
        ),
        large_input(lambda rng: (rng.integers(0, 50, 40), small_integers(rng, 50, 6), small_integers(rng, 64, 6))),
    ),
    in_model=edits(embeddings_in_model),
)


@exercise.formulation
def embeddings_in_steps(ids, wte, wpe):
    positions = np.arange(len(ids))
    return wte[ids] + wpe[positions]


@exercise.mistake(
    "You look up the tokens only. Add the vector of each position: without it the model could not tell the order of "
    "the tokens."
)
def tokens_alone(ids, wte, wpe):
    return wte[ids]


@exercise.mistake("You return only the vectors of the positions. Add wte[ids[t]], the vector of the token.")
def positions_alone(ids, wte, wpe):
    return wpe[: len(ids)]


@exercise.mistake(
    "You look up wpe with the ids of the tokens. The vector of a position depends on the place t alone: wpe[t]."
)
def positions_by_ids(ids, wte, wpe):
    return wte[ids] + wpe[ids]


@exercise.mistake(
    "You look up wte with the places 0, 1, 2 and so on. The token at place t is ids[t], so its vector is wte[ids[t]]."
)
def tokens_by_positions(ids, wte, wpe):
    return wte[np.arange(len(ids)) % len(wte)] + wpe[: len(ids)]


@exercise.mistake("You count positions from 1. The first token has position 0: wpe[0].")
def positions_from_1(ids, wte, wpe):
    return wte[ids] + wpe[1 : len(ids) + 1]


@exercise.mistake("You give every token the vector of position 0. The token at place t gets wpe[t].")
def first_position_for_all(ids, wte, wpe):
    return wte[ids] + wpe[0]


@exercise.mistake("You take the last T rows of wpe. Positions count from the beginning: take the first T rows.")
def last_positions(ids, wte, wpe):
    return wte[ids] + wpe[len(wpe) - len(ids) :]


@exercise.mistake("You multiply the two vectors. Add them: wte[ids[t]] + wpe[t].")
def multiplied(ids, wte, wpe):
    return wte[ids] * wpe[: len(ids)]


@exercise.mistake(
    "You multiply the token vectors by sqrt(D), as the transformer of 2017 did. GPT-2 adds them unscaled."
)
def scaled_by_root_of_width(ids, wte, wpe):
    return wte[ids] * wte.shape[1] ** 0.5 + wpe[: len(ids)]
