"""Right solutions of temperature, in the ways that people write it."""

import math

import numpy as np


def temperature_in_numpy(logits, t):
    scaled = logits / t
    exp = np.exp(scaled - scaled.max())
    return exp / exp.sum()


def temperature_in_loops(logits, t):
    highest = max(logits)
    exp = [math.exp((logit - highest) / t) for logit in logits]
    return np.array([e / sum(exp) for e in exp])


def temperature_by_logarithms(logits, t):
    return np.exp(logits / t - np.logaddexp.reduce(logits / t))


def temperature_by_logarithms_in_float32(logits, t):
    return temperature_by_logarithms(logits.astype(np.float32), np.float32(t))


def temperature_of_differences(logits, t):
    return 1 / np.exp((logits[None, :] - logits[:, None]) / t).sum(axis=1)


def temperature_in_float32(logits, t):
    logits = logits.astype(np.float32) / np.float32(t)
    exp = np.exp(logits - logits.max())
    return exp / exp.sum()


RIGHT = [
    temperature_in_numpy,
    temperature_in_loops,
    temperature_by_logarithms,
    temperature_by_logarithms_in_float32,
    temperature_of_differences,
    temperature_in_float32,
]
