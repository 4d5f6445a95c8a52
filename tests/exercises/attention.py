"""Right solutions of the exercises in minigpt/exercises/attention.py, each in several styles."""

import itertools
import math

import numpy as np

# ---------------------------------------------------------------- embeddings


def embeddings_by_rows(ids, wte, wpe):
    return np.array([[a + b for a, b in zip(wte[i], wpe[t], strict=True)] for t, i in enumerate(ids)])


def embeddings_by_indexing(ids, wte, wpe):
    return wte[ids] + wpe[: len(ids)]


def embeddings_by_one_hot_vectors(ids, wte, wpe):
    tokens = np.eye(len(wte))[ids]  # [T, V]
    positions = np.eye(len(wpe))[: len(ids)]  # [T, P]
    return tokens @ wte + positions @ wpe


def embeddings_in_float32(ids, wte, wpe):
    x = np.take(wte.astype(np.float32), ids, axis=0)
    x += wpe[range(len(ids))].astype(np.float32)
    return x


# ---------------------------------------------------------------- softmax


def softmax_by_elements(x):
    if x.ndim > 1:
        return np.array([softmax_by_elements(row) for row in x])
    highest = max(x)
    exps = [math.exp(value - highest) for value in x]
    return np.array([value / sum(exps) for value in exps])


def softmax_with_keepdims(x):
    shifted = x - np.max(x, axis=-1, keepdims=True)
    return np.exp(shifted) / np.sum(np.exp(shifted), axis=-1, keepdims=True)


def softmax_by_logarithms(x):
    return np.exp(x - np.logaddexp.reduce(x, axis=-1)[..., None])


def softmax_of_columns(x):
    columns = np.moveaxis(x, -1, 0)
    exps = np.exp(columns - columns.max(axis=0))
    return np.moveaxis(exps / exps.sum(axis=0), 0, -1)


def softmax_in_float32(x):
    x = x.astype(np.float32)
    exps = np.exp(x - x.max(-1, keepdims=True))
    return exps / exps.sum(-1, keepdims=True)


def softmax_by_logarithms_in_float32(x):
    return softmax_by_logarithms(x.astype(np.float32))


def softmax_by_differences(x):
    """1 / sum_j exp(x_j - x_i): one fraction less, and every exp that overflows gives 1 / inf = 0."""
    with np.errstate(invalid="ignore"):
        differences = x[..., None, :] - x[..., :, None]
    differences = np.where(np.isneginf(x)[..., :, None], np.inf, differences)
    return 1 / np.exp(differences).sum(axis=-1)


# ---------------------------------------------------------------- the causal mask


def mask_by_elements(T):
    return np.array([[s <= t for s in range(T)] for t in range(T)])


def mask_by_comparison(T):
    return np.arange(T) <= np.arange(T)[:, None]


def mask_by_tril(T):
    return np.tril(np.ones((T, T), dtype=bool))


def mask_by_rows(T):
    mask = np.zeros((T, T), bool)
    for t in range(T):
        mask[t, : t + 1] = True
    return mask


def mask_by_sums(T):
    return np.cumsum(np.eye(T), axis=0) > 0


# ---------------------------------------------------------------- scores


def scores_by_elements(q, k):
    T, K = q.shape
    result = np.zeros((T, T))
    for t, s in itertools.product(range(T), range(T)):
        result[t, s] = sum(q[t, i] * k[s, i] for i in range(K)) / math.sqrt(K)
    return result


def scores_by_product(q, k):
    return q @ k.T / np.sqrt(q.shape[-1])


def scores_by_einsum(q, k):
    return np.einsum("ti,si->ts", q * k.shape[1] ** -0.25, k * k.shape[1] ** -0.25)


def scores_in_float32(q, k):
    q, k = q.astype("float32"), k.astype("float32")
    return (q[:, None] * k).sum(axis=-1) / np.float32(math.sqrt(q.shape[1]))


# ---------------------------------------------------------------- attention of one head


def head_by_elements(q, k, v):
    T, K = q.shape
    rows = []
    for t in range(T):
        scores = [sum(q[t, i] * k[s, i] for i in range(K)) / math.sqrt(K) for s in range(t + 1)]
        weights = [math.exp(score - max(scores)) for score in scores]
        rows.append([sum(w * v[s, i] for s, w in enumerate(weights)) / sum(weights) for i in range(K)])
    return np.array(rows)


def head_with_where(q, k, v):
    T, K = q.shape
    scores = np.where(np.tri(T, dtype=bool), q @ k.T / np.sqrt(K), -np.inf)
    return softmax_with_keepdims(scores) @ v


def head_with_added_mask(q, k, v):
    scores = np.einsum("ti,si->ts", q, k) * q.shape[1] ** -0.5 + np.triu(np.full((len(q), len(q)), -1e10), 1)
    return np.einsum("ts,si->ti", softmax_by_logarithms(scores), v)


def head_renormalised(q, k, v):
    """Masked after the exp, and divided by what is left: the same fraction."""
    scores = q @ k.T / np.sqrt(q.shape[1])
    highest = np.maximum.accumulate(scores, axis=1).diagonal()[:, None]  # of each row's visible scores
    exps = np.exp(np.minimum(scores - highest, 0)) * np.tri(len(q))
    return exps @ v / exps.sum(axis=1, keepdims=True)


def head_row_by_row_in_float32(q, k, v):
    q, k, v = (x.astype(np.float32) for x in (q, k, v))
    heads = np.empty_like(v)
    for t in range(len(q)):
        heads[t] = softmax_in_float32(k[: t + 1] @ q[t] / np.float32(np.sqrt(q.shape[1]))) @ v[: t + 1]
    return heads


# ---------------------------------------------------------------- heads


def split_by_elements(x, n_head):
    B, T, D = x.shape
    K = D // n_head
    out = np.zeros((B, n_head, T, K))
    for b, h, t, k in np.ndindex(*out.shape):
        out[b, h, t, k] = x[b, t, h * K + k]
    return out


def split_by_reshape(x, n_head):
    B, T, D = x.shape
    return x.reshape(B, T, n_head, D // n_head).transpose(0, 2, 1, 3)


def split_by_slices(x, n_head):
    return np.stack(np.split(x, n_head, axis=-1), axis=1)


def split_in_float32(x, n_head):
    K = x.shape[-1] // n_head
    return np.array([[text[:, h * K : h * K + K] for h in range(n_head)] for text in x], dtype=np.float32)


def split_by_product(x, n_head):
    """With the matrices that choose the stretch of each head."""
    D = x.shape[-1]
    chosen = np.eye(D).reshape(D, n_head, D // n_head)
    return np.einsum("btd,dhk->bhtk", x, chosen)


def merge_by_elements(x):
    B, H, T, K = x.shape
    out = np.zeros((B, T, H * K))
    for b, h, t, k in np.ndindex(*x.shape):
        out[b, t, h * K + k] = x[b, h, t, k]
    return out


def merge_by_reshape(x):
    B, H, T, K = x.shape
    return x.transpose(0, 2, 1, 3).reshape(B, T, H * K)


def merge_by_concatenation(x):
    return np.concatenate([x[:, h] for h in range(x.shape[1])], axis=-1)


def merge_in_float32(x):
    return np.array([[np.hstack(token) for token in np.moveaxis(text, 1, 0)] for text in x], dtype=np.float32)


# ---------------------------------------------------------------- attention of all heads


def of_every_head(head):
    """attention by a function for one head."""

    def attention(q, k, v):
        return np.array([[head(q[b, h], k[b, h], v[b, h]) for h in range(q.shape[1])] for b in range(q.shape[0])])

    return attention


def attention_vectorised(q, k, v):
    T, K = q.shape[2:]
    scores = q @ k.transpose(0, 1, 3, 2) / np.sqrt(K)
    scores[..., ~np.tri(T, dtype=bool)] = -np.inf
    return softmax_with_keepdims(scores) @ v


def attention_by_einsum(q, k, v):
    scores = np.einsum("bhti,bhsi->bhts", q, k) / q.shape[-1] ** 0.5
    scores = scores + np.where(np.tri(q.shape[2]), 0, -1e9)
    return np.einsum("bhts,bhsi->bhti", softmax_of_columns(scores), v)


def attention_online_in_float32(q, k, v):
    """One key after the other, with the running maximum and sum of its softmax, as FlashAttention does."""
    q, k, v = (x.astype(np.float32) for x in (q, k, v))
    B, H, T, K = q.shape
    highest = np.full((B, H, T, 1), -np.inf, np.float32)
    total, heads = np.zeros_like(highest), np.zeros_like(v)
    for s in range(T):
        score = (q @ k[:, :, s, :, None]) * np.float32(K**-0.5)
        score[:, :, :s] = -np.inf
        new = np.maximum(highest, score)
        with np.errstate(invalid="ignore"):
            kept, weight = np.nan_to_num(np.exp(highest - new)), np.nan_to_num(np.exp(score - new))
        total, heads, highest = total * kept + weight, heads * kept + weight * v[:, :, s, None], new
    return heads / total


# ---------------------------------------------------------------- multi-head attention


def multi_head_by_elements(x, c_attn, c_proj, n_head):
    B, T, D = x.shape
    K = D // n_head
    out = np.zeros((B, T, D))
    for b in range(B):
        qkv = np.array([[sum(token * column) for column in c_attn["weight"].T] for token in x[b]]) + c_attn["bias"]
        for t in range(T):
            merged = []
            for h in range(n_head):
                q, k, v = (qkv[:, i * D + h * K : i * D + (h + 1) * K] for i in range(3))
                merged.extend(head_by_elements(q, k, v)[t])
            for d in range(D):
                out[b, t, d] = sum(merged[i] * c_proj["weight"][i, d] for i in range(D)) + c_proj["bias"][d]
    return out


def multi_head_vectorised(x, c_attn, c_proj, n_head):
    q, k, v = np.split(x @ c_attn["weight"] + c_attn["bias"], 3, axis=-1)
    heads = attention_vectorised(*(split_by_reshape(part, n_head) for part in (q, k, v)))
    return merge_by_reshape(heads) @ c_proj["weight"] + c_proj["bias"]


def multi_head_by_einsum(x, c_attn, c_proj, n_head):
    """Without merging: every head adds its own part of the projection."""
    D = x.shape[-1]
    weight = c_attn["weight"].reshape(D, 3, n_head, D // n_head)
    bias = c_attn["bias"].reshape(3, n_head, 1, D // n_head)
    q, k, v = np.moveaxis(np.einsum("btd,dchk->bchtk", x, weight) + bias, 1, 0)
    projection = c_proj["weight"].reshape(n_head, D // n_head, D)
    return np.einsum("bhtk,hkd->btd", attention_by_einsum(q, k, v), projection) + c_proj["bias"]


def multi_head_in_float32(x, c_attn, c_proj, n_head):
    x = x.astype(np.float32)
    qkv = x @ c_attn["weight"].astype(np.float32) + c_attn["bias"].astype(np.float32)
    heads = []
    for h in range(n_head):
        q, k, v = (np.array_split(part, n_head, axis=2)[h] for part in np.array_split(qkv, 3, axis=2))
        heads.append([head_row_by_row_in_float32(*text) for text in zip(q, k, v, strict=True)])
    merged = np.concatenate(heads, axis=-1)
    return merged @ c_proj["weight"].astype(np.float32) + c_proj["bias"].astype(np.float32)


RIGHT = {
    "embeddings": [
        embeddings_by_rows,
        embeddings_by_indexing,
        embeddings_by_one_hot_vectors,
        embeddings_in_float32,
    ],
    "softmax": [
        softmax_by_elements,
        softmax_with_keepdims,
        softmax_by_logarithms,
        softmax_by_logarithms_in_float32,
        softmax_of_columns,
        softmax_by_differences,
        softmax_in_float32,
    ],
    "causal_mask": [mask_by_elements, mask_by_comparison, mask_by_tril, mask_by_rows, mask_by_sums],
    "scores": [scores_by_elements, scores_by_product, scores_by_einsum, scores_in_float32],
    "attention_head": [
        head_by_elements,
        head_with_where,
        head_with_added_mask,
        head_renormalised,
        head_row_by_row_in_float32,
    ],
    "split_heads": [split_by_elements, split_by_reshape, split_by_slices, split_by_product, split_in_float32],
    "merge_heads": [merge_by_elements, merge_by_reshape, merge_by_concatenation, merge_in_float32],
    "attention": [
        of_every_head(head_by_elements),
        attention_vectorised,
        attention_by_einsum,
        of_every_head(head_renormalised),
        attention_online_in_float32,
    ],
    "multi_head_attention": [
        multi_head_by_elements,
        multi_head_vectorised,
        multi_head_by_einsum,
        multi_head_in_float32,
    ],
}
