"""Right solutions of logit_attribution, in the ways that people write it."""

import math

import numpy as np


def logit_attribution_in_numpy(parts, ln_f, direction, eps):
    x = parts.sum(0)
    scale = ((x - x.mean()) ** 2).mean() + eps
    return ((parts - parts.mean(1)[:, None]) * ln_f["weight"]) @ direction / scale**0.5


def logit_attribution_in_loops(parts, ln_f, direction, eps):
    N, D = parts.shape
    stream = [sum(parts[n, d] for n in range(N)) for d in range(D)]
    mean = sum(stream) / D
    sigma = math.sqrt(sum((value - mean) ** 2 for value in stream) / D + eps)
    attributions = []
    for part in parts.tolist():
        own = sum(part) / D
        attributions.append(sum((part[d] - own) / sigma * ln_f["weight"][d] * direction[d] for d in range(D)))
    return attributions


def logit_attribution_from_the_direction(parts, ln_f, direction, eps):
    """The mean is subtracted from the direction instead: (part - mean) . u = part . (u - mean(u))."""
    u = ln_f["weight"] * direction
    return parts @ (u - u.mean()) / np.sqrt(np.var(parts.sum(axis=0)) + eps)


def logit_attribution_in_float32(parts, ln_f, direction, eps):
    parts = parts.astype(np.float32)
    x = parts.sum(axis=0)
    centred = parts - parts.mean(axis=-1, keepdims=True)
    normed = centred / np.sqrt(x.var() + np.float32(eps))
    return (normed * ln_f["weight"].astype(np.float32)) @ direction.astype(np.float32)


RIGHT = [
    logit_attribution_in_numpy,
    logit_attribution_in_loops,
    logit_attribution_from_the_direction,
    logit_attribution_in_float32,
]
