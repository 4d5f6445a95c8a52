"""Right solutions of minigpt/exercises/decoding.py, as differently as people write them. None may be told it is wrong."""

import heapq
import math

import numpy as np

from minigpt.ops.plain import causal_mask, softmax

# ---------------------------------------------------------------- temperature


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


# ---------------------------------------------------------------- top_k


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


# ---------------------------------------------------------------- top_p


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


# ---------------------------------------------------------------- beam_step


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


# ---------------------------------------------------------------- cached_attention


def cached_attention_in_numpy(q, k, v, k_cache, v_cache):
    k, v = np.concatenate([k_cache, k], axis=1), np.concatenate([v_cache, v], axis=1)
    T, S = q.shape[1], k.shape[1]
    scores = q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[2])
    scores += np.triu(np.full((T, S), -np.inf), k=S - T + 1)
    weights = np.exp(scores - scores.max(axis=2, keepdims=True))
    return weights / weights.sum(axis=2, keepdims=True) @ v, k, v


def cached_attention_in_loops(q, k, v, k_cache, v_cache):
    H, T, K = q.shape
    P = k_cache.shape[1]
    all_k, all_v = np.zeros((H, P + T, K)), np.zeros((H, P + T, K))
    heads = np.zeros((H, T, K))
    for h in range(H):
        for s in range(P + T):
            all_k[h, s] = k_cache[h, s] if s < P else k[h, s - P]
            all_v[h, s] = v_cache[h, s] if s < P else v[h, s - P]
        for t in range(T):
            scores = [float(q[h, t] @ all_k[h, s]) / math.sqrt(K) for s in range(P + t + 1)]
            weights = [math.exp(score - max(scores)) for score in scores]
            for s, weight in enumerate(weights):
                heads[h, t] += weight / sum(weights) * all_v[h, s]
    return heads, all_k, all_v


def cached_attention_with_minigpt(q, k, v, k_cache, v_cache):
    k, v = np.hstack([k_cache, k]), np.hstack([v_cache, v])
    scores = np.einsum("htk,hsk->hts", q, k) * q.shape[-1] ** -0.5
    mask = causal_mask(q.shape[1], k.shape[1])
    return np.einsum("hts,hsk->htk", softmax(np.where(mask, scores, -np.inf)), v), k, v


def cached_attention_token_by_token(q, k, v, k_cache, v_cache):
    heads = []
    for t in range(q.shape[1]):
        k_cache = np.append(k_cache, k[:, t : t + 1], axis=1)
        v_cache = np.append(v_cache, v[:, t : t + 1], axis=1)
        scores = (k_cache * q[:, t : t + 1]).sum(axis=-1) / q.shape[-1] ** 0.5
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        heads.append((weights[..., None] * v_cache).sum(axis=1) / weights.sum(axis=-1, keepdims=True))
    return np.stack(heads, axis=1), k_cache, v_cache


def cached_attention_in_float32(q, k, v, k_cache, v_cache):
    q, k, v, k_cache, v_cache = (array.astype(np.float32) for array in (q, k, v, k_cache, v_cache))
    k, v = np.append(k_cache, k, axis=1), np.append(v_cache, v, axis=1)
    visible = np.tri(q.shape[1], k.shape[1], k_cache.shape[1], dtype=bool)
    scores = np.where(visible, q @ k.mT / math.sqrt(q.shape[-1]), -np.inf)
    exp = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exp / exp.sum(axis=-1, keepdims=True) @ v, k, v


RIGHT = {
    "temperature": [
        temperature_in_numpy,
        temperature_in_loops,
        temperature_by_logarithms,
        temperature_by_logarithms_in_float32,
        temperature_of_differences,
        temperature_in_float32,
    ],
    "top_k": [top_k_by_sorting, top_k_by_rank, top_k_by_heap, top_k_in_float32],
    "top_p": [top_p_by_sorting, top_p_in_loops, top_p_by_mass_above, top_p_in_float32],
    "beam_step": [
        beam_step_in_numpy,
        beam_step_in_loops,
        beam_step_by_heap,
        beam_step_by_greatest_again,
        beam_step_in_float32,
    ],
    "cached_attention": [
        cached_attention_in_numpy,
        cached_attention_in_loops,
        cached_attention_with_minigpt,
        cached_attention_token_by_token,
        cached_attention_in_float32,
    ],
}
