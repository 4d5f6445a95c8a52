"""Right solutions of transformer_block, in the ways that people write it."""

import math

import numpy as np

from minigpt.model import merge_heads, split_heads
from minigpt.ops import plain
from right_solutions.feed_forward import mlp_by_elements, mlp_in_float32, mlp_neuron_by_neuron, mlp_vectorised
from right_solutions.layer_norm import (
    norm_by_elements,
    norm_by_mean_of_squares,
    norm_by_product,
    norm_in_float32,
    norm_with_var,
)
from right_solutions.linear import linear_by_elements


def softmax(x):
    exps = np.exp(x - x.max(axis=-1, keepdims=True))
    return exps / exps.sum(axis=-1, keepdims=True)


def attention_token_by_token(x, c_attn, c_proj, n_head):
    """x [T, D]: token after token, head after head."""
    T, D = x.shape
    K = D // n_head
    qkv = linear_by_elements(x, c_attn["weight"], c_attn["bias"])
    merged = np.zeros((T, D))
    for t in range(T):
        for h in range(n_head):
            q = qkv[t, h * K : (h + 1) * K]
            k = qkv[: t + 1, D + h * K : D + (h + 1) * K]
            v = qkv[: t + 1, 2 * D + h * K : 2 * D + (h + 1) * K]
            scores = [sum(q * key) / math.sqrt(K) for key in k]
            exps = [math.exp(score - max(scores)) for score in scores]
            for weight, value in zip(exps, v, strict=True):
                merged[t, h * K : (h + 1) * K] += weight / sum(exps) * value
    return linear_by_elements(merged, c_proj["weight"], c_proj["bias"])


def attention_vectorised(x, c_attn, c_proj, n_head):
    B, T, D = x.shape
    qkv = x @ c_attn["weight"] + c_attn["bias"]
    q, k, v = qkv.reshape(B, T, 3, n_head, D // n_head).transpose(2, 0, 3, 1, 4)
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1]).astype(x.dtype)
    heads = softmax(np.where(np.tri(T, dtype=bool), scores, -np.inf)) @ v
    return heads.swapaxes(1, 2).reshape(B, T, D) @ c_proj["weight"] + c_proj["bias"]


def block_by_elements(x, ln_1, attn, ln_2, mlp, n_head):
    texts = []
    for text in x:
        normed = norm_by_elements(text, ln_1["weight"], ln_1["bias"], 1e-5)
        text = text + attention_token_by_token(normed, attn["c_attn"], attn["c_proj"], n_head)
        normed = norm_by_elements(text, ln_2["weight"], ln_2["bias"], 1e-5)
        texts.append(text + mlp_by_elements(normed, mlp["c_fc"], mlp["c_proj"]))
    return np.array(texts)


def block_vectorised(x, ln_1, attn, ln_2, mlp, n_head):
    x = x + attention_vectorised(norm_with_var(x, **ln_1, eps=1e-5), **attn, n_head=n_head)
    return x + mlp_vectorised(norm_with_var(x, **ln_2, eps=1e-5), **mlp)


def block_by_einsum(x, ln_1, attn, ln_2, mlp, n_head):
    """Every head adds to the stream by itself, and every neuron too."""
    T, D = x.shape[1:]
    K = D // n_head
    normed = norm_by_mean_of_squares(x, **ln_1, eps=1e-5)
    c_attn, c_proj = attn["c_attn"], attn["c_proj"]
    stream = x + c_proj["bias"]
    for h in range(n_head):
        places = np.arange(h * K, (h + 1) * K)
        q, k, v = (normed @ c_attn["weight"][:, places + i * D] + c_attn["bias"][places + i * D] for i in range(3))
        scores = np.einsum("bti,bsi->bts", q, k) / K**0.5 + np.triu(np.full((T, T), -1e9), 1)
        stream = stream + np.einsum("bts,bsi,id->btd", softmax(scores), v, c_proj["weight"][places])
    return stream + mlp_neuron_by_neuron(norm_by_product(stream, **ln_2, eps=1e-5), **mlp)


def in_float32(tree):
    if isinstance(tree, dict):
        return {name: in_float32(child) for name, child in tree.items()}
    return [in_float32(child) for child in tree] if isinstance(tree, list) else tree.astype(np.float32)


def block_in_float32(x, ln_1, attn, ln_2, mlp, n_head):
    x, ln_1, attn, ln_2, mlp = map(in_float32, (x, ln_1, attn, ln_2, mlp))
    x = x + attention_vectorised(norm_in_float32(x, **ln_1, eps=1e-5), **attn, n_head=n_head)
    return x + mlp_in_float32(norm_in_float32(x, **ln_2, eps=1e-5), **mlp)


def block_of_operations(x, ln_1, attn, ln_2, mlp, n_head):
    normed = plain.layer_norm(x, **ln_1)
    q, k, v = np.split(plain.linear(normed, **attn["c_attn"]), 3, axis=-1)
    heads = plain.attention(split_heads(q, n_head), split_heads(k, n_head), split_heads(v, n_head))
    x = x + plain.linear(merge_heads(heads), **attn["c_proj"])
    normed = plain.layer_norm(x, **ln_2)
    act = plain.gelu_new(plain.linear(normed, **mlp["c_fc"]))
    return x + plain.linear(act, **mlp["c_proj"])


RIGHT = [block_by_elements, block_vectorised, block_by_einsum, block_in_float32, block_of_operations]
