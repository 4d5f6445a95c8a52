"""Exercise bpe_merge, notebook 01: one merge of byte pair encoding."""

from itertools import pairwise

from hypothesis import strategies as st

from minigpt.exercises.drawing import sizes
from minigpt.exercises.exercise import Exercise, Probe


def bpe_merge(ids, pair, new_id):
    """Replace every occurrence of the pair by new_id, from left to right."""
    merged, i = [], 0
    while i < len(ids):
        found = tuple(ids[i : i + 2]) == pair
        merged.append(new_id if found else ids[i])
        i += 2 if found else 1
    return merged


ONE_AND_TWO = st.permutations((1, 2))
OTHERS = st.sampled_from((11, 12, 21, 22))  # written as text they may contain the pair: 11 2 contains 1 2
NEW_ID = st.integers(257, 260)


@st.composite
def merges_of_an_absent_pair(draw):
    """Draw ids without the pair; both of its ids may occur, also next to each other in the reverse order."""
    left, right = draw(ONE_AND_TWO)
    other, ids = draw(OTHERS), []
    for segment in draw(st.lists(st.sampled_from([(left,), (right,), (right, left), (other,)]), max_size=5)):
        ids += [other, *segment] if ids and (ids[-1], segment[0]) == (left, right) else segment
    return ids, (left, right), draw(NEW_ID)


@st.composite
def merges_of_different_ids(draw, least, most):
    """Draw ids in which a pair of two different ids occurs least to most times, with other ids around it."""
    left, right = draw(ONE_AND_TWO)
    between = st.lists(OTHERS, max_size=2)
    ids = draw(between)
    for _ in range(draw(st.integers(least, most))):
        ids += [left, right, *draw(between)]
    return ids, (left, right), draw(NEW_ID)


@st.composite
def merges_in_runs(draw):
    """Draw ids with runs of one id; the pair is that id twice."""
    repeated, between = draw(st.integers(1, 9)), st.lists(OTHERS, max_size=1)
    ids = draw(between)
    for _ in range(draw(sizes(1, 2))):
        ids += [repeated] * draw(sizes(2, 5)) + draw(between)
    return ids, (repeated, repeated), draw(NEW_ID)


@st.composite
def merges(draw):
    """Draw any list in which the ids of the pair are frequent; an id may be 0 or larger than a byte."""
    some = st.sampled_from((0, 1, 2, 12, 256, 300, 1000))
    left, right, other = draw(some), draw(some), draw(some)
    ids = draw(st.lists(st.sampled_from([left, right, other]), max_size=8))
    return as_other_objects(ids), (left, right), draw(NEW_ID)


def as_other_objects(ids):
    """Return equal ids that are other objects: Python shares only integers up to 256."""
    return [int(str(i)) for i in ids]


@st.composite
def merges_of_neighbours_that_read_alike(draw):
    """Draw a pair and other neighbours that give the same number in base 256, such as 1 0 and 0 256."""
    pair, like = draw(st.permutations(draw(st.sampled_from([((1, 0), (0, 256)), ((2, 1), (1, 257))]))))
    pieces = draw(st.permutations([pair, like, *draw(st.lists(st.sampled_from([pair, like, (7,)]), max_size=2))]))
    return as_other_objects([i for piece in pieces for i in piece]), pair, 999


exercise = Exercise(
    name="bpe_merge",
    notebook="01_tokens",
    order=1,
    signature="bpe_merge(ids, pair, new_id)",
    task="Return a new list of the ids in which new_id replaces every occurrence of the pair, (left, right) next to "
    "each other. Occurrences are found from left to right and do not overlap: in 7 7 7 the pair (7, 7) is the first "
    "two. ids is a list of integers and must not be changed.",
    reference=bpe_merge,
    probes=(
        Probe(
            "The pair does not occur in these ids. All of them must be returned unchanged, the last one included.",
            merges_of_an_absent_pair(),
        ),
        Probe(
            "The pair occurs once. new_id replaces both of its ids, and the others stay.",
            merges_of_different_ids(1, 1),
        ),
        Probe(
            "The pair occurs several times, and the occurrences do not overlap. Each becomes one new_id.",
            merges_of_different_ids(2, 3),
        ),
        Probe(
            "The pair is one id twice, and the list has runs of it. Look at what happens after a merge: the next "
            "occurrence can only begin after both of the merged ids.",
            merges_in_runs(),
        ),
        Probe(
            "An id may be 0, or larger than a byte. Compare the ids of the pair one by one and by value: 1 0 is not 0 "
            "256, and two equal integers need not be the same object.",
            merges_of_neighbours_that_read_alike(),
        ),
        Probe("Any list of ids, also one that is empty or too short for a pair.", merges()),
    ),
)


@exercise.formulation
def bpe_merge_in_steps(ids, pair, new_id):
    left, right = pair
    merged, i = [], 0
    while i < len(ids):
        if i + 1 < len(ids) and ids[i] == left and ids[i + 1] == right:
            merged.append(new_id)
            i = i + 2
        else:
            merged.append(ids[i])
            i = i + 1
    return merged


@exercise.mistake("You replace only the first occurrence of the pair. Continue to the end of the list.")
def merge_first_only(ids, pair, new_id):
    for i, neighbours in enumerate(pairwise(ids)):
        if neighbours == pair:
            return [*ids[:i], new_id, *ids[i + 2 :]]
    return list(ids)


@exercise.mistake(
    "You write new_id for the left id but keep the right id after it. new_id replaces both: every merge makes the list "
    "shorter by one."
)
def merge_second_stays(ids, pair, new_id):
    return [new_id if tuple(ids[i : i + 2]) == pair else ids[i] for i in range(len(ids))]


@exercise.mistake(
    "You let two occurrences share an id: in 7 7 7 you merge both pairs. A merged id is used up, so the next "
    "occurrence can only begin after it."
)
def merge_overlapping(ids, pair, new_id):
    begins = [neighbours == pair for neighbours in pairwise(ids)]
    ends = [False, *begins]
    begins = [*begins, False]
    return [new_id if begins[i] else ids[i] for i in range(len(ids)) if begins[i] or not ends[i]]


@exercise.mistake("You find occurrences from right to left. In 7 7 7 the first two are merged, not the last two.")
def merge_from_the_right(ids, pair, new_id):
    return bpe_merge(ids[::-1], pair[::-1], new_id)[::-1]


@exercise.mistake(
    "You lose the last id when it is not part of a pair. It has no right neighbour to compare with, but it belongs to "
    "the result."
)
def merge_drops_last(ids, pair, new_id):
    merged, i = [], 0
    while i < len(ids) - 1:
        found = (ids[i], ids[i + 1]) == pair
        merged.append(new_id if found else ids[i])
        i += 2 if found else 1
    return merged


@exercise.mistake(
    "You look for the pair only at every second place. It can begin anywhere: step by two after a merge and by one "
    "otherwise."
)
def merge_every_second_place(ids, pair, new_id):
    merged = []
    for i in range(0, len(ids), 2):
        two = ids[i : i + 2]
        merged += [new_id] if tuple(two) == pair else two
    return merged


@exercise.mistake(
    "You also merge the two ids in the reverse order. (left, right) is an ordered pair: left comes first."
)
def merge_either_order(ids, pair, new_id):
    merged, i = [], 0
    while i < len(ids):
        found = tuple(ids[i : i + 2]) in (pair, pair[::-1])
        merged.append(new_id if found else ids[i])
        i += 2 if found else 1
    return merged


@exercise.mistake(
    'You search the ids as text, where the end of one number can match: "11 2" contains "1 2". Compare the ids '
    "themselves."
)
def merge_as_text(ids, pair, new_id):
    text = " ".join(map(str, ids)).replace(" ".join(map(str, pair)), str(new_id))
    return [int(number) for number in text.split()]
