"""Right solutions of top_k, in the ways that people write it."""

import heapq
import math

import numpy as np


def top_k_by_sorting(logits, k):
    threshold = np.sort(logits)[-min(k, len(logits))]
    return np.where(logits < threshold, -np.inf, logits)


def top_k_by_rank(logits, k):
    filtered = logits.copy()
    for i, logit in enumerate(logits):
        if sum(other > logit for other in logits) >= k:
            filtered[i] = float("-inf")
    return filtered


def top_k_by_heap(logits, k):
    lowest_kept = heapq.nlargest(k, logits.tolist())[-1]
    return [logit if logit >= lowest_kept else -math.inf for logit in logits.tolist()]


def top_k_in_float32(logits, k):
    logits = logits.astype(np.float32)
    if k >= len(logits):
        return logits
    logits[logits < np.partition(logits, -k)[-k]] = -np.inf
    return logits


RIGHT = [top_k_by_sorting, top_k_by_rank, top_k_by_heap, top_k_in_float32]
