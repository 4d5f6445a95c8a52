"""Right solutions of bpe_train, in the ways that people write it."""

from collections import Counter
from itertools import pairwise

import numpy as np

from right_solutions.bpe_merge import merge_by_pattern, merge_in_numpy, merge_on_a_stack, merge_with_index


def train_with_counter(ids, n_merges):
    merges = []
    for n in range(n_merges):
        counts = Counter(pairwise(ids))
        if not counts:
            break
        best = max(counts, key=lambda pair: (counts[pair], pair))
        if counts[best] < 2:
            break
        merges.append(best)
        ids = merge_with_index(ids, best, 256 + n)
    return merges


def train_with_sorted_list(ids, n_merges):
    merges = []
    while len(merges) < n_merges:
        pairs = sorted([(ids[i], ids[i + 1]) for i in range(len(ids) - 1)], reverse=True)
        best, most = None, 1
        for pair in pairs:
            if pairs.count(pair) > most:
                best, most = pair, pairs.count(pair)
        if best is None:
            return merges
        ids = merge_on_a_stack(ids, best, 256 + len(merges))
        merges.append(best)
    return merges


def train_in_numpy(ids, n_merges):
    ids, merges = np.array(ids, dtype=int), []
    for n in range(n_merges):
        pairs, counts = np.unique(np.stack([ids[:-1], ids[1:]], axis=1), axis=0, return_counts=True)
        if counts.max(initial=0) < 2:
            break
        best = pairs[len(counts) - 1 - counts[::-1].argmax()]  # the pairs are sorted: the last of the most frequent
        merges.append((int(best[0]), int(best[1])))
        ids = merge_in_numpy(ids, merges[-1], 256 + n)
    return merges


def train_recursively(ids, n_merges, new_id=256):
    places = {}
    for i in range(1, len(ids)):
        places.setdefault((ids[i - 1], ids[i]), []).append(i)
    candidates = [(len(where), pair) for pair, where in places.items() if len(where) > 1]
    if not candidates or not n_merges:
        return []
    _, pair = max(candidates)
    return [pair, *train_recursively(merge_by_pattern(ids, pair, new_id), n_merges - 1, new_id + 1)]


RIGHT = [train_with_counter, train_with_sorted_list, train_in_numpy, train_recursively]
