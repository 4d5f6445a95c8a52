"""Exercises of notebook 01, tokens: byte pair encoding on lists of ids."""

from collections import Counter
from itertools import pairwise

from hypothesis import strategies as st

from minigpt.bpe import merge
from minigpt.exercises.exercise import Exercise, Mistake, Probe, sizes

# ---------------------------------------------------------------- bpe_merge


def bpe_merge(ids, pair, new_id):
    """minigpt.bpe.merge, which joins pieces, with ids for pieces: one joined of two becomes new_id."""
    left, right = pair
    pieces = merge([(i,) for i in ids], ((left,), (right,)))
    return [new_id if len(piece) == 2 else piece[0] for piece in pieces]


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


def merge_first_only(ids, pair, new_id):
    for i, neighbours in enumerate(pairwise(ids)):
        if neighbours == pair:
            return [*ids[:i], new_id, *ids[i + 2 :]]
    return list(ids)


def merge_second_stays(ids, pair, new_id):
    return [new_id if tuple(ids[i : i + 2]) == pair else ids[i] for i in range(len(ids))]


def merge_overlapping(ids, pair, new_id):
    begins = [neighbours == pair for neighbours in pairwise(ids)]
    ends = [False, *begins]
    begins = [*begins, False]
    return [new_id if begins[i] else ids[i] for i in range(len(ids)) if begins[i] or not ends[i]]


def merge_from_the_right(ids, pair, new_id):
    return bpe_merge(ids[::-1], pair[::-1], new_id)[::-1]


def merge_drops_last(ids, pair, new_id):
    merged, i = [], 0
    while i < len(ids) - 1:
        found = (ids[i], ids[i + 1]) == pair
        merged.append(new_id if found else ids[i])
        i += 2 if found else 1
    return merged


def merge_every_second_place(ids, pair, new_id):
    merged = []
    for i in range(0, len(ids), 2):
        two = ids[i : i + 2]
        merged += [new_id] if tuple(two) == pair else two
    return merged


def merge_either_order(ids, pair, new_id):
    merged, i = [], 0
    while i < len(ids):
        found = tuple(ids[i : i + 2]) in (pair, pair[::-1])
        merged.append(new_id if found else ids[i])
        i += 2 if found else 1
    return merged


def merge_as_text(ids, pair, new_id):
    text = " ".join(map(str, ids)).replace(" ".join(map(str, pair)), str(new_id))
    return [int(number) for number in text.split()]


# ---------------------------------------------------------------- bpe_train


def learn(ids, n_merges, count=pairwise, order=lambda pair: pair, least=2, new_id=lambda n: 256 + n):
    """BPE's training on a list of ids: the merged pairs, and the ids that are left.

    Every option is a step that can be got wrong; its default is right. count: what of the ids is counted; order: among
    the most frequent pairs the greatest by it is merged; least: how often a pair must occur; new_id: of the n-th merge.
    """
    learnt = []
    while len(learnt) < n_merges:
        times = Counter(count(ids))
        pair = max(times, key=lambda pair: (times[pair], order(pair)), default=None)
        if pair is None or times[pair] < least:
            break
        ids = bpe_merge(ids, pair, new_id(len(learnt)))
        learnt.append(pair)
    return learnt, ids


def bpe_train(ids, n_merges):
    """The pairs that are merged: always the most frequent, of equals the greatest, until none occurs twice."""
    return learn(ids, n_merges)[0]


def in_segments(segments):
    """The ids of all segments, with an id that occurs once after each: no pair but those inside occurs twice."""
    return [i for n, segment in enumerate(segments) for i in (*segment, 101 + n)]


@st.composite
def trainings_with_a_clear_winner(draw):
    """One pair is more frequent than all others; one merge is asked for."""
    a, b, c, d, *_ = draw(st.permutations(range(1, 7)))
    times = draw(sizes(2, 4))
    segments = [(a, b)] * times + [(c, d)] * draw(sizes(0, times - 1))
    return in_segments(draw(st.permutations(segments))), 1


@st.composite
def trainings_on_nothing_twice(draw):
    ids = draw(st.permutations(range(1, 7)))
    return ids[: draw(sizes(0, 6))], draw(sizes(1, 3))


@st.composite
def trainings_with_ties(draw):
    """Two or three pairs are the most frequent; they may have their left id in common. One merge is asked for."""
    pairs = [(left, right) for left in (1, 2, 3) for right in (4, 5, 6)]
    tied = draw(st.lists(st.sampled_from(pairs), min_size=2, max_size=3, unique=True))
    return in_segments(draw(st.permutations(tied * 2))), 1


@st.composite
def trainings_with_runs(draw):
    """An id several times in a row makes the most frequent pair, if every place where it begins counts."""
    same, c, d, *_ = draw(st.permutations(range(1, 7)))
    length = draw(sizes(3, 5))
    segments = [(same,) * length] + [(c, d)] * draw(sizes(0, length - 2))
    return in_segments(draw(st.permutations(segments))), 1


@st.composite
def trainings_of_words(draw):
    """One word several times: later merges join what earlier ones made."""
    word = draw(st.permutations(range(1, 7)))[: draw(sizes(4, 5))]
    return in_segments([word] * draw(sizes(2, 3))), draw(sizes(2, 4))


@st.composite
def trainings(draw):
    letters = draw(st.permutations((0, 1, 2, 97, 200, 255)))[: draw(sizes(2, 3))]
    return draw(st.lists(st.sampled_from(letters), max_size=12)), draw(sizes(0, 5))


@st.composite
def trainings_on_little(draw):
    """An id three or four times, and nothing else."""
    return [draw(st.sampled_from((0, 7, 255)))] * draw(sizes(3, 4)), draw(sizes(1, 2))


def train_ties_smallest(ids, n_merges):
    return learn(ids, n_merges, order=lambda pair: (-pair[0], -pair[1]))[0]


def train_ties_first_seen(ids, n_merges):
    return learn(ids, n_merges, order=lambda pair: 0)[0]


def train_counts_without_overlap(ids, n_merges):
    def count(ids):
        for pair in dict.fromkeys(pairwise(ids)):
            yield from [pair] * bpe_merge(ids, pair, None).count(None)

    return learn(ids, n_merges, count=count)[0]


def train_counts_every_second_place(ids, n_merges):
    return learn(ids, n_merges, count=lambda ids: zip(ids[::2], ids[1::2], strict=False))[0]


def train_never_merges(ids, n_merges):
    times = Counter(pairwise(ids))
    return sorted((pair for pair in times if times[pair] > 1), key=lambda pair: (times[pair], pair))[::-1][:n_merges]


def train_ids_after_the_greatest(ids, n_merges):
    return learn(ids, n_merges, new_id=lambda n: max(ids) + 1 + n)[0]


def train_one_new_id(ids, n_merges):
    return learn(ids, n_merges, new_id=lambda n: 256)[0]


def train_goes_on(ids, n_merges):
    return learn(ids, n_merges, least=1)[0]


def train_stops_early(ids, n_merges):
    return learn(ids, n_merges, least=3)[0]


def train_returns_new_ids(ids, n_merges):
    return [256 + n for n in range(len(bpe_train(ids, n_merges)))]


def train_returns_bytes(ids, n_merges):
    expanded = []

    def expand(i):
        return expanded[i - 256] if i >= 256 else (i,)

    for left, right in bpe_train(ids, n_merges):
        expanded.append(expand(left) + expand(right))
    return expanded


def train_returns_what_is_left(ids, n_merges):
    return learn(ids, n_merges)[1]


EXERCISES = [
    Exercise(
        name="bpe_merge",
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
                "The pair is an id and itself, in runs. Look at what happens after a merge: "
                "the next pair begins behind both of its ids.",
                merges_in_runs(),
            ),
            Probe(
                "An id may be 0, or more than a byte. Compare the ids of the pair one by one, as numbers: 1 0 is not "
                "0 256, and two equal ids need not be the same object.",
                merges_of_neighbours_that_read_alike(),
            ),
            Probe("Any list of ids, also an empty one or one that is too short for a pair.", merges()),
        ),
        mistakes=(
            Mistake(
                merge_first_only,
                "Your function replaces the first occurrence of the pair and then no other. Go on to the list's end.",
            ),
            Mistake(
                merge_second_stays,
                "Your function writes new_id for the left id, but the right id stays behind it. One new id takes the "
                "place of both: the list gets shorter by one with every merge.",
            ),
            Mistake(
                merge_overlapping,
                "Your function lets two occurrences share an id: of 7 7 7 both neighbouring pairs are merged. An id "
                "that is merged is gone, the next occurrence can only begin behind it.",
            ),
            Mistake(
                merge_from_the_right,
                "Your function takes occurrences from right to left. Of 7 7 7 the first two are merged, not the last.",
            ),
            Mistake(
                merge_drops_last,
                "Your function loses the last id where it is not part of a pair: it has no right neighbour to be "
                "compared with, but belongs to the result.",
            ),
            Mistake(
                merge_every_second_place,
                "Your function looks for the pair at every second place only. It can begin anywhere: step by two after "
                "a merge, by one otherwise.",
            ),
            Mistake(
                merge_either_order,
                "Your function also merges the two ids in reverse order. (left, right) is an ordered pair: left first.",
            ),
            Mistake(
                merge_as_text,
                'Your function searches the ids as text, where the end of one number can match: "11 2" contains "1 2". '
                "Compare the ids themselves.",
            ),
        ),
    ),
    Exercise(
        name="bpe_train",
        signature="bpe_train(ids, n_merges)",
        task="Learn at most n_merges merges from ids, a list of bytes (0 to 255). Again and again: count every pair of "
        "neighbours, at every place where it begins (7 7 7 has the pair (7, 7) twice); merge the most frequent pair, "
        "among equals the greatest as Python compares tuples, into a new id: 256, then 257, ... Stop early when no "
        "pair occurs twice. Returns the merged pairs in their order, a list of tuples (left, right) of ids.",
        reference=bpe_train,
        probes=(
            Probe(
                "One merge is asked for, and one pair occurs more often than all others: that one is the result.",
                trainings_with_a_clear_winner(),
            ),
            Probe(
                "No pair occurs twice, or there is no pair at all: nothing is worth a merge.",
                trainings_on_nothing_twice(),
            ),
            Probe(
                "Several pairs are the most frequent: the greatest of them is merged, as in max of tuples.",
                trainings_with_ties(),
            ),
            Probe(
                "An id occurs several times in a row: the pair of it and itself counts at every place where it begins.",
                trainings_with_runs(),
            ),
            Probe(
                "A word that occurs several times: after a merge the pairs are counted again in the merged ids, "
                "where the new id has neighbours, too.",
                trainings_of_words(),
            ),
            Probe(
                "Any ids from 0 to 255 and any number of merges, also none; the text may be as short as three ids.",
                trainings() | trainings_on_little(),
            ),
        ),
        mistakes=(
            Mistake(
                train_ties_smallest,
                "Among equally frequent pairs your function merges the smallest. The greatest is asked for.",
            ),
            Mistake(
                train_ties_first_seen,
                "Among equally frequent pairs your function merges the one that it met first. The greatest is asked "
                "for, so that the result does not depend on the order of counting.",
            ),
            Mistake(
                train_counts_without_overlap,
                "Your function counts only occurrences that do not overlap: (7, 7) once in 7 7 7. Every place where "
                "the pair begins counts, only merging does not overlap.",
            ),
            Mistake(
                train_counts_every_second_place,
                "Your function counts pairs at every second place. Every id but the last begins a pair.",
            ),
            Mistake(
                train_never_merges,
                "Your function counts once and takes the most frequent pairs of the original ids. After each merge "
                "the list is another, and its pairs must be counted again.",
            ),
            Mistake(
                train_ids_after_the_greatest,
                "Your function's new ids begin behind the greatest id of this text. They begin at 256: 0 to 255 are "
                "the bytes, whether they occur or not.",
            ),
            Mistake(
                train_one_new_id,
                "Your function gives every merge the same new id. The first is 256, the next 257, and so on: otherwise "
                "nobody can tell the merged tokens apart.",
            ),
            Mistake(
                train_goes_on,
                "Your function goes on when every pair occurs only once. Such a merge saves nothing: it stops there.",
            ),
            Mistake(
                train_stops_early,
                "Your function stops while a pair still occurs twice. It goes on until no pair does.",
            ),
            Mistake(
                train_returns_new_ids,
                "Your function returns the new ids. These are always 256, 257, ...; what was learnt are the pairs "
                "that they stand for.",
            ),
            Mistake(
                train_returns_bytes,
                "Your function spells out merged ids as the bytes they are made of. The two ids that were merged are "
                "asked for, also where one of them is new, such as (256, 3).",
            ),
            Mistake(
                train_returns_what_is_left,
                "Your function returns the text after all merges. The list of the merged pairs is asked for.",
            ),
        ),
    ),
]
