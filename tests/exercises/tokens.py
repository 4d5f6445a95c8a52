"""Right solutions of minigpt/exercises/tokens.py, as differently as people write them. None may be told it is wrong."""

import re
from collections import Counter
from itertools import pairwise

import numpy as np

# ---------------------------------------------------------------- bpe_merge


def merge_with_index(ids, pair, new_id):
    merged, i = [], 0
    while i < len(ids):
        if i + 1 < len(ids) and ids[i] == pair[0] and ids[i + 1] == pair[1]:
            merged.append(new_id)
            i += 2
        else:
            merged.append(ids[i])
            i += 1
    return merged


def merge_on_a_stack(ids, pair, new_id):
    stack = []
    for i in ids:
        stack.append(i)
        if tuple(stack[-2:]) == pair:
            stack[-2:] = [new_id]
    return stack


def merge_in_numpy(ids, pair, new_id):
    ids = np.array(ids, dtype=int)
    left = np.flatnonzero((ids[:-1] == pair[0]) & (ids[1:] == pair[1]))
    if pair[0] == pair[1] and len(left):  # of places in a row every second one
        runs = np.split(left, np.flatnonzero(np.diff(left) > 1) + 1)
        left = np.concatenate([run[::2] for run in runs])
    ids[left] = new_id
    return np.delete(ids, left + 1)


def merge_by_pattern(ids, pair, new_id):
    text = "".join(map(chr, ids))
    return [ord(c) for c in re.sub(re.escape(chr(pair[0]) + chr(pair[1])), chr(new_id), text)]


def merge_recursively(ids, pair, new_id):
    match ids:
        case [left, right, *rest] if (left, right) == pair:
            return [new_id, *merge_recursively(rest, pair, new_id)]
        case [first, *rest]:
            return [first, *merge_recursively(rest, pair, new_id)]
    return []


# ---------------------------------------------------------------- bpe_train


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


RIGHT = {
    "bpe_merge": [merge_with_index, merge_on_a_stack, merge_in_numpy, merge_by_pattern, merge_recursively],
    "bpe_train": [train_with_counter, train_with_sorted_list, train_in_numpy, train_recursively],
}
