"""Right solutions of beam_step, in the ways that people write it."""

import heapq

import numpy as np


def beam_step_in_numpy(scores, logprobs, n):
    sums = scores[:, None] + logprobs
    best = np.argsort(sums.reshape(-1))[::-1][:n]
    return best // logprobs.shape[1], best % logprobs.shape[1], sums.reshape(-1)[best]


def beam_step_in_loops(scores, logprobs, n):
    continuations = []
    for beam in range(len(scores)):
        for token in range(len(logprobs[beam])):
            continuations.append((scores[beam] + logprobs[beam][token], beam, token))
    best = sorted(continuations, reverse=True)[:n]
    return [beam for _, beam, _ in best], [token for _, _, token in best], [score for score, _, _ in best]


def beam_step_by_heap(scores, logprobs, n):
    sums = {(b, i): scores[b] + logprobs[b, i] for b, i in np.ndindex(*logprobs.shape)}
    best = heapq.nlargest(n, sums, key=sums.get)
    return np.array([b for b, _ in best]), np.array([i for _, i in best]), np.array([sums[place] for place in best])


def beam_step_by_greatest_again(scores, logprobs, n):
    sums, beams, tokens, best = scores.reshape(-1, 1) + logprobs, [], [], []
    for _ in range(n):
        beam, token = np.unravel_index(sums.argmax(), sums.shape)
        beams.append(beam)
        tokens.append(token)
        best.append(sums[beam, token])
        sums[beam, token] = -np.inf
    return np.array(beams), np.array(tokens), np.array(best)


def beam_step_in_float32(scores, logprobs, n):
    sums = scores.astype(np.float32)[:, None] + logprobs.astype(np.float32)
    best = np.argpartition(-sums, n - 1, axis=None)[:n]
    best = best[np.argsort(-sums.flat[best])]
    beams, tokens = np.divmod(best, sums.shape[1])
    return beams, tokens, sums.flat[best]


RIGHT = [beam_step_in_numpy, beam_step_in_loops, beam_step_by_heap, beam_step_by_greatest_again, beam_step_in_float32]
