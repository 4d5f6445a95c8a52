"""Right solutions of self_attention, in the ways that people write it."""

import numpy as np

from right_solutions.attention import attention_by_einsum, attention_vectorised
from right_solutions.attention_head import head_by_elements, head_row_by_row_in_float32
from right_solutions.merge_heads import merge_by_reshape
from right_solutions.split_heads import split_by_reshape


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


RIGHT = [multi_head_by_elements, multi_head_vectorised, multi_head_by_einsum, multi_head_in_float32]
