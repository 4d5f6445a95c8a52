"""Right solutions of patching_effect, in the ways that people write it."""

import numpy as np


def patching_effect_in_numpy(clean, corrupted, patched, answer, wrong):
    def difference(logits):
        return logits[..., -1, answer] - logits[..., -1, wrong]

    low = difference(corrupted)
    return (difference(patched) - low) / (difference(clean) - low)


def patching_effect_in_loops(clean, corrupted, patched, answer, wrong):
    before = corrupted[-1][answer] - corrupted[-1][wrong]
    whole = clean[-1][answer] - clean[-1][wrong] - before
    return [(run[-1][answer] - run[-1][wrong] - before) / whole for run in patched]


def patching_effect_wrong_minus_answer(clean, corrupted, patched, answer, wrong):
    clean, corrupted, patched = (x[..., -1, [wrong, answer]] @ [1, -1] for x in (clean, corrupted, patched))
    return (corrupted - patched) / (corrupted - clean)


def patching_effect_of_logprobs(clean, corrupted, patched, answer, wrong):
    """The logarithm of the sum of exponentials cancels in a difference of two log-probabilities."""

    def log_odds(logits):
        last = logits[..., -1, :]
        logprobs = last - np.logaddexp.reduce(last, axis=-1, keepdims=True)
        return logprobs[..., answer] - logprobs[..., wrong]

    return (log_odds(patched) - log_odds(corrupted)) / (log_odds(clean) - log_odds(corrupted))


def patching_effect_in_float32(clean, corrupted, patched, answer, wrong):
    runs = np.concatenate([clean[None], corrupted[None], patched]).astype(np.float32)[:, -1]
    difference = runs[:, answer] - runs[:, wrong]
    return (difference[2:] - difference[1]) / (difference[0] - difference[1])


RIGHT = [
    patching_effect_in_numpy,
    patching_effect_in_loops,
    patching_effect_wrong_minus_answer,
    patching_effect_of_logprobs,
    patching_effect_in_float32,
]
