"""Exercise bpe_merge, notebook 01: one merge of byte pair encoding."""

from itertools import pairwise

from hypothesis import strategies as st

from minigpt.exercises.drawing import sizes
from minigpt.exercises.exercise import Exercise, Probe


def bpe_merge(ids, pair, new_id):
    """The ids with new_id for every occurrence of the pair, from left to right."""
    merged, i = [], 0
    while i < len(ids):
        found = tuple(ids[i : i + 2]) == pair
        merged.append(new_id if found else ids[i])
        i += 2 if found else 1
    return merged


ONE_AND_TWO = st.permutations((1, 2))


OTHERS = st.sampled_from((11, 12, 21, 22))  # written one after the other they may look like 1 and 2, as 11 2 does


NEW_ID = st.integers(257, 260)


@st.composite
def merges_of_an_absent_pair(draw):
    """Both ids may be there, and next to each other the other way round, but never as the pair."""
    left, right = draw(ONE_AND_TWO)
    other, ids = draw(OTHERS), []
    for segment in draw(st.lists(st.sampled_from([(left,), (right,), (right, left), (other,)]), max_size=5)):
        ids += [other, *segment] if ids and (ids[-1], segment[0]) == (left, right) else segment
    return ids, (left, right), draw(NEW_ID)


@st.composite
def merges_of_different_ids(draw, least, most):
    """The pair occurs least to most times, always with the same two ids, and others stand around."""
    left, right = draw(ONE_AND_TWO)
    between = st.lists(OTHERS, max_size=2)
    ids = draw(between)
    for _ in range(draw(st.integers(least, most))):
        ids += [left, right, *draw(between)]
    return ids, (left, right), draw(NEW_ID)


@st.composite
def merges_in_runs(draw):
    """The pair is an id and itself, which occurs several times in a row."""
    same, between = draw(st.integers(1, 9)), st.lists(OTHERS, max_size=1)
    ids = draw(between)
    for _ in range(draw(sizes(1, 2))):
        ids += [same] * draw(sizes(2, 5)) + draw(between)
    return ids, (same, same), draw(NEW_ID)


@st.composite
def merges(draw):
    """Any list, of ids among which the pair's are frequent: also 0, and ids that are more than a byte."""
    some = st.sampled_from((0, 1, 2, 12, 256, 300, 1000))
    left, right, other = draw(some), draw(some), draw(some)
    ids = draw(st.lists(st.sampled_from([left, right, other]), max_size=8))
    return as_other_objects(ids), (left, right), draw(NEW_ID)


def as_other_objects(ids):
    """The same ids: equal ones above 256 are not the same object of Python's."""
    return [int(str(i)) for i in ids]


@st.composite
def merges_of_neighbours_that_read_alike(draw):
    """As one number of base 256 the pair and other neighbours are the same, such as 1 0 and 0 256."""
    pair, like = draw(st.permutations(draw(st.sampled_from([((1, 0), (0, 256)), ((2, 1), (1, 257))]))))
    pieces = draw(st.permutations([pair, like, *draw(st.lists(st.sampled_from([pair, like, (7,)]), max_size=2))]))
    return as_other_objects([i for piece in pieces for i in piece]), pair, 999


exercise = Exercise(
    name="bpe_merge",
    notebook="01_tokens",
    order=1,
    signature="bpe_merge(ids, pair, new_id)",
    task="A new list of the ids in which every occurrence of the pair, (left, right) next to each other, is one "
    "new_id. Occurrences are taken from left to right and do not overlap: of 7 7 7 the pair (7, 7) takes the first "
    "two. ids is a list of integers; a list is returned, the one given stays as it is.",
    reference=bpe_merge,
    probes=(
        Probe(
            "The pair does not occur in these ids: all of them must come back as they are, the last one, too.",
            merges_of_an_absent_pair(),
        ),
        Probe(
            "The pair occurs once: both of its ids go, new_id stands in their place, and the others stay.",
            merges_of_different_ids(1, 1),
        ),
        Probe(
            "The pair occurs several times, and no id belongs to two occurrences: each becomes new_id.",
            merges_of_different_ids(2, 3),
        ),
        Probe(
            "The pair is an id and itself, in runs. Look at what happens after a merge: the next pair begins behind "
            "both of its ids.",
            merges_in_runs(),
        ),
        Probe(
            "An id may be 0, or more than a byte. Compare the ids of the pair one by one, as numbers: 1 0 is not 0 "
            "256, and two equal ids need not be the same object.",
            merges_of_neighbours_that_read_alike(),
        ),
        Probe("Any list of ids, also an empty one or one that is too short for a pair.", merges()),
    ),
)


@exercise.mistake("Your function replaces the first occurrence of the pair and then no other. Go on to the list's end.")
def merge_first_only(ids, pair, new_id):
    for i, neighbours in enumerate(pairwise(ids)):
        if neighbours == pair:
            return [*ids[:i], new_id, *ids[i + 2 :]]
    return list(ids)


@exercise.mistake(
    "Your function writes new_id for the left id, but the right id stays behind it. One new id takes the place of "
    "both: the list gets shorter by one with every merge."
)
def merge_second_stays(ids, pair, new_id):
    return [new_id if tuple(ids[i : i + 2]) == pair else ids[i] for i in range(len(ids))]


@exercise.mistake(
    "Your function lets two occurrences share an id: of 7 7 7 both neighbouring pairs are merged. An id that is merged "
    "is gone, the next occurrence can only begin behind it."
)
def merge_overlapping(ids, pair, new_id):
    begins = [neighbours == pair for neighbours in pairwise(ids)]
    ends = [False, *begins]
    begins = [*begins, False]
    return [new_id if begins[i] else ids[i] for i in range(len(ids)) if begins[i] or not ends[i]]


@exercise.mistake(
    "Your function takes occurrences from right to left. Of 7 7 7 the first two are merged, not the last."
)
def merge_from_the_right(ids, pair, new_id):
    return bpe_merge(ids[::-1], pair[::-1], new_id)[::-1]


@exercise.mistake(
    "Your function loses the last id where it is not part of a pair: it has no right neighbour to be compared with, "
    "but belongs to the result."
)
def merge_drops_last(ids, pair, new_id):
    merged, i = [], 0
    while i < len(ids) - 1:
        found = (ids[i], ids[i + 1]) == pair
        merged.append(new_id if found else ids[i])
        i += 2 if found else 1
    return merged


@exercise.mistake(
    "Your function looks for the pair at every second place only. It can begin anywhere: step by two after a merge, by "
    "one otherwise."
)
def merge_every_second_place(ids, pair, new_id):
    merged = []
    for i in range(0, len(ids), 2):
        two = ids[i : i + 2]
        merged += [new_id] if tuple(two) == pair else two
    return merged


@exercise.mistake(
    "Your function also merges the two ids in reverse order. (left, right) is an ordered pair: left first."
)
def merge_either_order(ids, pair, new_id):
    merged, i = [], 0
    while i < len(ids):
        found = tuple(ids[i : i + 2]) in (pair, pair[::-1])
        merged.append(new_id if found else ids[i])
        i += 2 if found else 1
    return merged


@exercise.mistake(
    'Your function searches the ids as text, where the end of one number can match: "11 2" contains "1 2". Compare the '
    "ids themselves."
)
def merge_as_text(ids, pair, new_id):
    text = " ".join(map(str, ids)).replace(" ".join(map(str, pair)), str(new_id))
    return [int(number) for number in text.split()]
