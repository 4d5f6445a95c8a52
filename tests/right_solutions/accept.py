"""Right solutions of accept, in the ways that people write it."""

import random

import numpy as np


def accept_in_numpy(p, q, token, u):
    if u[0] < min(1, p[token] / q[token]):
        return token
    rest = np.clip(p - q, 0, None)
    rest /= rest.sum()
    return np.searchsorted(np.cumsum(rest), u[1], side="right")


def accept_in_loops(p, q, token, u):
    if u[0] * q[token] < p[token]:
        return token
    rest = [max(0.0, a - b) for a, b in zip(p, q, strict=True)]
    left = u[1] * sum(rest)
    for i, weight in enumerate(rest):
        left -= weight
        if left < 0:
            return i
    return len(p) - 1


def accept_by_the_minimum(p, q, token, u):
    shared = np.minimum(p, q)
    if u[0] <= shared[token] / q[token]:
        return int(token)
    rest = (p - shared) / (1 - shared.sum())
    return int((rest.cumsum() <= u[1]).sum())


def accept_in_float32(p, q, token, u):
    p, q, u = p.astype(np.float32), q.astype(np.float32), u.astype(np.float32)
    if u[0] < p[token] / q[token]:
        return token
    rest = np.where(p > q, p - q, np.float32(0))
    return np.argmax(rest.cumsum() > u[1] * rest.sum())


def accept_by_choices(p, q, token, u):
    if p[token] >= q[token] or u[0] < p[token] / q[token]:
        return token

    class Prepared(random.Random):
        def random(self):
            return float(u[1])

    weights = [max(0.0, float(a - b)) for a, b in zip(p, q, strict=True)]
    return Prepared().choices(range(len(p)), weights)[0]


RIGHT = [accept_in_numpy, accept_in_loops, accept_by_the_minimum, accept_in_float32, accept_by_choices]
