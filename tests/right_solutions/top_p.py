"""Right solutions of top_p, in the ways that people write it."""

import math

import numpy as np

from minigpt.ops.plain import softmax


def top_p_by_sorting(logits, p):
    order = np.argsort(logits)[::-1]
    sorted_logits = logits[order]
    probabilities = np.exp(sorted_logits - sorted_logits[0])
    probabilities /= probabilities.sum()
    kept = order[: np.searchsorted(np.cumsum(probabilities), p) + 1]
    filtered = np.full(len(logits), -np.inf)
    filtered[kept] = logits[kept]
    return filtered


def top_p_in_loops(logits, p):
    highest = max(logits)
    total = sum(math.exp(logit - highest) for logit in logits)
    filtered, mass = [-math.inf] * len(logits), 0.0
    for i in sorted(range(len(logits)), key=lambda i: -logits[i]):
        filtered[i] = logits[i]
        mass += math.exp(logits[i] - highest) / total
        if mass >= p:
            break
    return np.array(filtered)


def top_p_by_mass_above(logits, p):
    probabilities = softmax(logits)
    above = ((logits[None, :] > logits[:, None]) * probabilities).sum(axis=1)
    return np.where(above < p, logits, -np.inf)


def top_p_in_float32(logits, p):
    logits = logits.astype(np.float32)
    exp = np.exp(logits - logits.max())
    probabilities = exp / exp.sum()
    order = np.argsort(-probabilities)
    mass_before = np.cumsum(probabilities[order], dtype=np.float32) - probabilities[order]
    drop = np.empty(len(logits), bool)
    drop[order] = mass_before >= np.float32(p)
    logits[drop] = -np.inf
    return logits


RIGHT = [top_p_by_sorting, top_p_in_loops, top_p_by_mass_above, top_p_in_float32]
