"""Exercise bpe_train, notebook 01: learning the merges of byte pair encoding."""

from collections import Counter
from itertools import pairwise

from hypothesis import strategies as st

from minigpt.exercises.catalogue.bpe_merge import bpe_merge
from minigpt.exercises.drawing import sizes
from minigpt.exercises.exercise import Exercise, Probe


def learn(ids, n_merges, count=pairwise, order=lambda pair: pair, least=2, new_id=lambda n: 256 + n):
    """Return the merged pairs and the ids that are left, as BPE learns from a list of ids.

    Each option is a step that can go wrong; its default is right. count: yields the pairs to be counted. order: on a
    tie the greatest pair by this key is merged. least: how often a pair must occur. new_id(n): the id of the n-th
    merge.
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
    """Return the merged pairs: always the most frequent, on a tie the greatest, until none occurs twice."""
    return learn(ids, n_merges)[0]


def in_segments(segments):
    """Return the ids of all segments, each followed by an id that occurs only once: no other pair occurs twice."""
    return [i for n, segment in enumerate(segments) for i in (*segment, 101 + n)]


@st.composite
def trainings_with_a_clear_winner(draw):
    """Draw ids in which one pair is more frequent than all others; one merge is asked for."""
    a, b, c, d, *_ = draw(st.permutations(range(1, 7)))
    times = draw(sizes(2, 4))
    segments = [(a, b)] * times + [(c, d)] * draw(sizes(0, times - 1))
    return in_segments(draw(st.permutations(segments))), 1


@st.composite
def trainings_on_nothing_twice(draw):
    """Draw ids in which no pair occurs twice."""
    ids = draw(st.permutations(range(1, 7)))
    return ids[: draw(sizes(0, 6))], draw(sizes(1, 3))


@st.composite
def trainings_with_ties(draw):
    """Draw ids in which two or three pairs are equally frequent, perhaps with the same left id, and one merge."""
    pairs = [(left, right) for left in (1, 2, 3) for right in (4, 5, 6)]
    tied = draw(st.lists(st.sampled_from(pairs), min_size=2, max_size=3, unique=True))
    return in_segments(draw(st.permutations(tied * 2))), 1


@st.composite
def trainings_with_runs(draw):
    """Draw one merge, of a pair of equal ids that is most frequent only if every place where it begins counts."""
    repeated, c, d, *_ = draw(st.permutations(range(1, 7)))
    length = draw(sizes(3, 5))
    segments = [(repeated,) * length] + [(c, d)] * draw(sizes(0, length - 2))
    return in_segments(draw(st.permutations(segments))), 1


@st.composite
def trainings_of_words(draw):
    """Draw a word several times, so that later merges join what earlier ones made."""
    word = draw(st.permutations(range(1, 7)))[: draw(sizes(4, 5))]
    return in_segments([word] * draw(sizes(2, 3))), draw(sizes(2, 4))


@st.composite
def trainings(draw):
    """Draw any text of two or three different ids."""
    letters = draw(st.permutations((0, 1, 2, 97, 200, 255)))[: draw(sizes(2, 3))]
    return draw(st.lists(st.sampled_from(letters), max_size=12)), draw(sizes(0, 5))


@st.composite
def trainings_on_little(draw):
    """Draw one id three or four times, and nothing else."""
    return [draw(st.sampled_from((0, 7, 255)))] * draw(sizes(3, 4)), draw(sizes(1, 2))


exercise = Exercise(
    name="bpe_train",
    notebook="01_tokens",
    order=2,
    signature="bpe_train(ids, n_merges)",
    task="Learn at most n_merges merges from ids, a list of bytes (0 to 255). Repeat: count every pair of neighbours, "
    "at every place where it begins (7 7 7 has the pair (7, 7) twice); merge the most frequent pair, on a tie the "
    "greatest as Python compares tuples, into a new id: 256, then 257, ... Stop early when no pair occurs twice. "
    "Return the merged pairs in order, a list of tuples (left, right) of ids.",
    reference=bpe_train,
    probes=(
        Probe(
            "One merge is asked for, and one pair is more frequent than all others: it is the result.",
            trainings_with_a_clear_winner(),
        ),
        Probe(
            "No pair occurs twice, or there is no pair at all, so there is nothing to merge.",
            trainings_on_nothing_twice(),
        ),
        Probe(
            "Several pairs are equally frequent: merge the greatest of them, as max compares tuples.",
            trainings_with_ties(),
        ),
        Probe(
            "An id occurs several times in a row: its pair with itself counts at every place where it begins.",
            trainings_with_runs(),
        ),
        Probe(
            "A word occurs several times. After a merge, count the pairs again in the merged ids, where the new id "
            "has neighbours, too.",
            trainings_of_words(),
        ),
        Probe(
            "Any ids from 0 to 255 and any number of merges, also none. The text may have as few as three ids.",
            trainings() | trainings_on_little(),
        ),
    ),
)


@exercise.formulation
def bpe_train_in_steps(ids, n_merges):
    merges, ids = [], list(ids)
    while len(merges) < n_merges:
        counts = Counter(pairwise(ids))
        pair = max(counts, key=lambda pair: (counts[pair], pair), default=(0, 0))
        if counts[pair] < 2:
            break
        ids = bpe_merge(ids, pair, 256 + len(merges))
        merges.append(pair)
    return merges


@exercise.mistake("On a tie you merge the smallest of the most frequent pairs. Merge the greatest.")
def train_ties_smallest(ids, n_merges):
    return learn(ids, n_merges, order=lambda pair: (-pair[0], -pair[1]))[0]


@exercise.mistake(
    "On a tie you merge the pair that you met first. Merge the greatest, so that the result does not depend on the "
    "order of counting."
)
def train_ties_first_seen(ids, n_merges):
    return learn(ids, n_merges, order=lambda pair: 0)[0]


@exercise.mistake(
    "You count only occurrences that do not overlap: (7, 7) once in 7 7 7. Count every place where the pair begins; "
    "only merges must not overlap."
)
def train_counts_without_overlap(ids, n_merges):
    def count(ids):
        for pair in dict.fromkeys(pairwise(ids)):
            yield from [pair] * bpe_merge(ids, pair, None).count(None)

    return learn(ids, n_merges, count=count)[0]


@exercise.mistake("You count pairs only at every second place. Every id but the last begins a pair.")
def train_counts_every_second_place(ids, n_merges):
    return learn(ids, n_merges, count=lambda ids: zip(ids[::2], ids[1::2], strict=False))[0]


@exercise.mistake(
    "You count once and take the most frequent pairs of the original ids. Every merge changes the list, so the pairs "
    "must be counted again."
)
def train_never_merges(ids, n_merges):
    times = Counter(pairwise(ids))
    return sorted((pair for pair in times if times[pair] > 1), key=lambda pair: (times[pair], pair))[::-1][:n_merges]


@exercise.mistake(
    "Your new ids begin after the greatest id of this text. They begin at 256: 0 to 255 are the bytes, whether they "
    "occur or not."
)
def train_ids_after_the_greatest(ids, n_merges):
    return learn(ids, n_merges, new_id=lambda n: max(ids) + 1 + n)[0]


@exercise.mistake(
    "You give every merge the same new id. The first is 256, the next 257, and so on; otherwise merged tokens cannot "
    "be told apart."
)
def train_one_new_id(ids, n_merges):
    return learn(ids, n_merges, new_id=lambda n: 256)[0]


@exercise.mistake("You continue when every pair occurs only once. Such a merge saves nothing: stop there.")
def train_goes_on(ids, n_merges):
    return learn(ids, n_merges, least=1)[0]


@exercise.mistake("You stop while a pair still occurs twice. Continue until none does.")
def train_stops_early(ids, n_merges):
    return learn(ids, n_merges, least=3)[0]


@exercise.mistake("You return the new ids, which are always 256, 257, ... Return the pairs that they stand for.")
def train_returns_new_ids(ids, n_merges):
    return [256 + n for n in range(len(bpe_train(ids, n_merges)))]


@exercise.mistake(
    "You spell out merged ids as the bytes that they are made of. Return the two ids that were merged, even where one "
    "of them is new, as in (256, 3)."
)
def train_returns_bytes(ids, n_merges):
    expanded = []

    def expand(i):
        return expanded[i - 256] if i >= 256 else (i,)

    for left, right in bpe_train(ids, n_merges):
        expanded.append(expand(left) + expand(right))
    return expanded


@exercise.mistake("You return the text after all merges. Return the list of the merged pairs.")
def train_returns_what_is_left(ids, n_merges):
    return learn(ids, n_merges)[1]
