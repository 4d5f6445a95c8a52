"""Right solutions of cross_entropy, in the ways that people write it."""

import math

import numpy as np


def cross_entropy_in_numpy(logits, targets):
    kept = targets != -100
    logits, targets = logits[kept], targets[kept]
    logits = logits - logits.max(axis=1, keepdims=True)
    logprobs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return -logprobs[np.arange(len(targets)), targets].mean()


def cross_entropy_in_loops(logits, targets):
    total, count = 0.0, 0
    for row, target in zip(logits.tolist(), targets.tolist(), strict=True):
        if target == -100:
            continue
        # The target's own exponential is 1: the loss is the logarithm of what all weigh beside it.
        highest = max(row)
        total += math.log(sum(math.exp(logit - highest) for logit in row)) + highest - row[target]
        count += 1
    return total / count


def cross_entropy_with_one_hot(logits, targets):
    one_hot = targets[:, None] == np.arange(logits.shape[1])  # a target of -100 is nowhere
    logprobs = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
    return -(one_hot * logprobs).sum() / one_hot.sum()


def cross_entropy_with_one_hot_in_float32(logits, targets):
    return cross_entropy_with_one_hot(logits.astype(np.float32), targets)


def cross_entropy_in_float32(logits, targets):
    logits = logits.astype(np.float32)
    losses = np.zeros(len(targets), np.float32)
    for n, target in enumerate(targets):
        if target >= 0:
            shifted = logits[n] - logits[n].max()
            losses[n] = np.log(np.exp(shifted).sum()) - shifted[target]
    return losses.sum() / np.float32(np.count_nonzero(targets >= 0))


RIGHT = [
    cross_entropy_in_numpy,
    cross_entropy_in_loops,
    cross_entropy_with_one_hot,
    cross_entropy_with_one_hot_in_float32,
    cross_entropy_in_float32,
]
