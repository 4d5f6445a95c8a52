"""Right solutions of bpe_merge, in the ways that people write it."""

import re

import numpy as np


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


RIGHT = [merge_with_index, merge_on_a_stack, merge_in_numpy, merge_by_pattern, merge_recursively]
