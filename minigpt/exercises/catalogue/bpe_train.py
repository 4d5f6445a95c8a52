"""Exercise bpe_train, notebook 01: learning the merges of byte pair encoding."""

from collections import Counter
from itertools import pairwise

from hypothesis import strategies as st

from minigpt.exercises.catalogue.bpe_merge import bpe_merge
from minigpt.exercises.drawing import sizes
from minigpt.exercises.exercise import Exercise, Probe


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


exercise = Exercise(
    name="bpe_train",
    notebook="01_tokens",
    order=2,
    signature="bpe_train(ids, n_merges)",
    task="Learn at most n_merges merges from ids, a list of bytes (0 to 255). Again and again: count every pair of "
    "neighbours, at every place where it begins (7 7 7 has the pair (7, 7) twice); merge the most frequent pair, "
    "among equals the greatest as Python compares tuples, into a new id: 256, then 257, ... Stop early when no pair "
    "occurs twice. Returns the merged pairs in their order, a list of tuples (left, right) of ids.",
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
            "A word that occurs several times: after a merge the pairs are counted again in the merged ids, where the "
            "new id has neighbours, too.",
            trainings_of_words(),
        ),
        Probe(
            "Any ids from 0 to 255 and any number of merges, also none; the text may be as short as three ids.",
            trainings() | trainings_on_little(),
        ),
    ),
)


@exercise.mistake("Among equally frequent pairs your function merges the smallest. The greatest is asked for.")
def train_ties_smallest(ids, n_merges):
    return learn(ids, n_merges, order=lambda pair: (-pair[0], -pair[1]))[0]


@exercise.mistake(
    "Among equally frequent pairs your function merges the one that it met first. The greatest is asked for, so that "
    "the result does not depend on the order of counting."
)
def train_ties_first_seen(ids, n_merges):
    return learn(ids, n_merges, order=lambda pair: 0)[0]


@exercise.mistake(
    "Your function counts only occurrences that do not overlap: (7, 7) once in 7 7 7. Every place where the pair "
    "begins counts, only merging does not overlap."
)
def train_counts_without_overlap(ids, n_merges):
    def count(ids):
        for pair in dict.fromkeys(pairwise(ids)):
            yield from [pair] * bpe_merge(ids, pair, None).count(None)

    return learn(ids, n_merges, count=count)[0]


@exercise.mistake("Your function counts pairs at every second place. Every id but the last begins a pair.")
def train_counts_every_second_place(ids, n_merges):
    return learn(ids, n_merges, count=lambda ids: zip(ids[::2], ids[1::2], strict=False))[0]


@exercise.mistake(
    "Your function counts once and takes the most frequent pairs of the original ids. After each merge the list is "
    "another, and its pairs must be counted again."
)
def train_never_merges(ids, n_merges):
    times = Counter(pairwise(ids))
    return sorted((pair for pair in times if times[pair] > 1), key=lambda pair: (times[pair], pair))[::-1][:n_merges]


@exercise.mistake(
    "Your function's new ids begin behind the greatest id of this text. They begin at 256: 0 to 255 are the bytes, "
    "whether they occur or not."
)
def train_ids_after_the_greatest(ids, n_merges):
    return learn(ids, n_merges, new_id=lambda n: max(ids) + 1 + n)[0]


@exercise.mistake(
    "Your function gives every merge the same new id. The first is 256, the next 257, and so on: otherwise nobody can "
    "tell the merged tokens apart."
)
def train_one_new_id(ids, n_merges):
    return learn(ids, n_merges, new_id=lambda n: 256)[0]


@exercise.mistake("Your function goes on when every pair occurs only once. Such a merge saves nothing: it stops there.")
def train_goes_on(ids, n_merges):
    return learn(ids, n_merges, least=1)[0]


@exercise.mistake("Your function stops while a pair still occurs twice. It goes on until no pair does.")
def train_stops_early(ids, n_merges):
    return learn(ids, n_merges, least=3)[0]


@exercise.mistake(
    "Your function returns the new ids. These are always 256, 257, ...; what was learnt are the pairs that they stand "
    "for."
)
def train_returns_new_ids(ids, n_merges):
    return [256 + n for n in range(len(bpe_train(ids, n_merges)))]


@exercise.mistake(
    "Your function spells out merged ids as the bytes they are made of. The two ids that were merged are asked for, "
    "also where one of them is new, such as (256, 3)."
)
def train_returns_bytes(ids, n_merges):
    expanded = []

    def expand(i):
        return expanded[i - 256] if i >= 256 else (i,)

    for left, right in bpe_train(ids, n_merges):
        expanded.append(expand(left) + expand(right))
    return expanded


@exercise.mistake("Your function returns the text after all merges. The list of the merged pairs is asked for.")
def train_returns_what_is_left(ids, n_merges):
    return learn(ids, n_merges)[1]
