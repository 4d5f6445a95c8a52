"""Right solutions of the exercises in minigpt/exercises/block.py, each in several styles.

All but the last one of block and gpt2, which call what these exercises allow, stand by themselves.
"""

import math

import numpy as np

from minigpt.model import merge_heads, split_heads
from minigpt.ops import plain

# ---------------------------------------------------------------- linear


def linear_by_elements(x, weight, bias):
    if x.ndim > 1:
        return np.array([linear_by_elements(row, weight, bias) for row in x])
    return np.array([bias[o] + sum(x[i] * weight[i, o] for i in range(len(x))) for o in range(len(bias))])


def linear_by_product(x, weight, bias):
    return x @ weight + bias


def linear_by_einsum(x, weight, bias):
    return np.einsum("...i,io->...o", x, weight) + bias


def linear_with_bias_as_a_weight(x, weight, bias):
    with_1 = np.concatenate([x, np.ones((*x.shape[:-1], 1))], axis=-1)
    return with_1 @ np.vstack([weight, bias])


def linear_in_float32(x, weight, bias):
    y = np.tensordot(x.astype(np.float32), weight.astype(np.float32), axes=1)
    y += bias.astype(np.float32)
    return y


# ---------------------------------------------------------------- gelu


def gelu_by_elements(x):
    out = np.empty(x.shape)
    for place, value in np.ndenumerate(x):
        u = math.sqrt(2 / math.pi) * (value + 0.044715 * value**3)
        out[place] = value / 2 * (1 + math.tanh(u))
    return out


def gelu_vectorised(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * np.power(x, 3))))


def gelu_by_the_logistic_function(x):
    """(1 + tanh(u)) / 2 = 1 / (1 + exp(-2 u))"""
    return x / (1 + np.exp(-2 * np.sqrt(2 / np.pi) * x * (1 + 0.044715 * x * x)))


def gelu_in_float32(x):
    x = x.astype(np.float32)
    return np.float32(0.5) * x * (1 + np.tanh(np.float32(0.7978846) * (x + np.float32(0.044715) * x * x * x)))


# ---------------------------------------------------------------- layer norm


def norm_by_elements(x, weight, bias, eps):
    if x.ndim > 1:
        return np.array([norm_by_elements(row, weight, bias, eps) for row in x])
    mean = sum(x) / len(x)
    variance = sum((value - mean) ** 2 for value in x) / len(x)
    return np.array([(x[i] - mean) / math.sqrt(variance + eps) * weight[i] + bias[i] for i in range(len(x))])


def norm_with_var(x, weight, bias, eps):
    mean, variance = x.mean(axis=-1, keepdims=True), x.var(axis=-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + eps) * weight + bias


def norm_by_mean_of_squares(x, weight, bias, eps):
    """var(x) = mean(x^2) - mean(x)^2"""
    mean = np.mean(x, -1)[..., None]
    variance = np.mean(x * x, -1)[..., None] - mean**2
    return weight * (x - mean) * (variance + eps) ** -0.5 + bias


def norm_by_product(x, weight, bias, eps):
    """The mean subtracted by a matrix, as it is linear."""
    D = x.shape[-1]
    centred = x @ (np.eye(D) - np.full((D, D), 1 / D))
    length = np.sqrt(np.einsum("...d,...d->...", centred, centred) / D + eps)
    return np.einsum("...d,...,d->...d", centred, 1 / length, weight) + bias


def norm_in_float32(x, weight, bias, eps):
    x, weight, bias = (array.astype(np.float32) for array in (x, weight, bias))
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + np.float32(eps)) * weight + bias


# ---------------------------------------------------------------- the MLP


def mlp_by_elements(x, c_fc, c_proj):
    pre = linear_by_elements(x, c_fc["weight"], c_fc["bias"])
    return linear_by_elements(gelu_by_elements(pre), c_proj["weight"], c_proj["bias"])


def mlp_vectorised(x, c_fc, c_proj):
    return gelu_vectorised(x @ c_fc["weight"] + c_fc["bias"]) @ c_proj["weight"] + c_proj["bias"]


def mlp_neuron_by_neuron(x, c_fc, c_proj):
    """Every one of the F neurons adds its row of c_proj, as much as it is active."""
    out = np.zeros(x.shape) + c_proj["bias"]
    for f in range(len(c_fc["bias"])):
        active = gelu_by_the_logistic_function(x @ c_fc["weight"][:, f] + c_fc["bias"][f])
        out += active[..., None] * c_proj["weight"][f]
    return out


def mlp_in_float32(x, c_fc, c_proj):
    act = gelu_in_float32(linear_in_float32(x, **c_fc))
    return linear_in_float32(act, **c_proj)


# ---------------------------------------------------------------- the block


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


def block_by_elements(x, params, n_head):
    texts = []
    for text in x:
        normed = norm_by_elements(text, params["ln_1"]["weight"], params["ln_1"]["bias"], 1e-5)
        text = text + attention_token_by_token(normed, params["attn"]["c_attn"], params["attn"]["c_proj"], n_head)
        normed = norm_by_elements(text, params["ln_2"]["weight"], params["ln_2"]["bias"], 1e-5)
        texts.append(text + mlp_by_elements(normed, params["mlp"]["c_fc"], params["mlp"]["c_proj"]))
    return np.array(texts)


def block_vectorised(x, params, n_head):
    x = x + attention_vectorised(norm_with_var(x, **params["ln_1"], eps=1e-5), **params["attn"], n_head=n_head)
    return x + mlp_vectorised(norm_with_var(x, **params["ln_2"], eps=1e-5), **params["mlp"])


def block_by_einsum(x, params, n_head):
    """Every head adds to the stream by itself, and every neuron too."""
    T, D = x.shape[1:]
    K = D // n_head
    normed = norm_by_mean_of_squares(x, **params["ln_1"], eps=1e-5)
    c_attn, c_proj = params["attn"]["c_attn"], params["attn"]["c_proj"]
    stream = x + c_proj["bias"]
    for h in range(n_head):
        places = np.arange(h * K, (h + 1) * K)
        q, k, v = (normed @ c_attn["weight"][:, places + i * D] + c_attn["bias"][places + i * D] for i in range(3))
        scores = np.einsum("bti,bsi->bts", q, k) / K**0.5 + np.triu(np.full((T, T), -1e9), 1)
        stream = stream + np.einsum("bts,bsi,id->btd", softmax(scores), v, c_proj["weight"][places])
    return stream + mlp_neuron_by_neuron(norm_by_product(stream, **params["ln_2"], eps=1e-5), **params["mlp"])


def in_float32(tree):
    if isinstance(tree, dict):
        return {name: in_float32(child) for name, child in tree.items()}
    return [in_float32(child) for child in tree] if isinstance(tree, list) else tree.astype(np.float32)


def block_in_float32(x, params, n_head):
    x, params = in_float32(x), in_float32(params)
    x = x + attention_vectorised(norm_in_float32(x, **params["ln_1"], eps=1e-5), **params["attn"], n_head=n_head)
    return x + mlp_in_float32(norm_in_float32(x, **params["ln_2"], eps=1e-5), **params["mlp"])


def block_of_operations(x, params, n_head):
    normed = plain.layer_norm(x, **params["ln_1"])
    q, k, v = np.split(plain.linear(normed, **params["attn"]["c_attn"]), 3, axis=-1)
    heads = plain.attention(split_heads(q, n_head), split_heads(k, n_head), split_heads(v, n_head))
    x = x + plain.linear(merge_heads(heads), **params["attn"]["c_proj"])
    normed = plain.layer_norm(x, **params["ln_2"])
    act = plain.gelu_new(plain.linear(normed, **params["mlp"]["c_fc"]))
    return x + plain.linear(act, **params["mlp"]["c_proj"])


# ---------------------------------------------------------------- the whole model


def gpt2_with(block, norm):
    """gpt2 by a block and a layer norm."""

    def gpt2(ids, params, n_head):
        wte = params["wte"]["weight"]
        x = wte[ids][None] + params["wpe"]["weight"][: len(ids)]
        for one in params["h"]:
            x = block(x, one, n_head)
        return norm(x[0], params["ln_f"]["weight"], params["ln_f"]["bias"], 1e-5) @ wte.T

    return gpt2


def gpt2_by_elements(ids, params, n_head):
    """Every token is read anew with all before it, as if it were the last."""
    wte, wpe = params["wte"]["weight"], params["wpe"]["weight"]
    logits = []
    for n in range(1, len(ids) + 1):
        x = np.array([[[wte[i, d] + wpe[t, d] for d in range(wte.shape[1])] for t, i in enumerate(ids[:n])]])
        for one in params["h"]:
            x = block_by_elements(x, one, n_head)
        last = norm_by_elements(x[0, -1], params["ln_f"]["weight"], params["ln_f"]["bias"], 1e-5)
        logits.append([sum(last * row) for row in wte])
    return np.array(logits)


def gpt2_in_float32(ids, params, n_head):
    params = in_float32(params)
    return gpt2_with(block_in_float32, norm_in_float32)(ids, params, n_head)


RIGHT = {
    "linear": [
        linear_by_elements,
        linear_by_product,
        linear_by_einsum,
        linear_with_bias_as_a_weight,
        linear_in_float32,
    ],
    "gelu": [gelu_by_elements, gelu_vectorised, gelu_by_the_logistic_function, gelu_in_float32],
    "layer_norm": [norm_by_elements, norm_with_var, norm_by_mean_of_squares, norm_by_product, norm_in_float32],
    "mlp": [mlp_by_elements, mlp_vectorised, mlp_neuron_by_neuron, mlp_in_float32],
    "block": [block_by_elements, block_vectorised, block_by_einsum, block_in_float32, block_of_operations],
    "gpt2": [
        gpt2_by_elements,
        gpt2_with(block_vectorised, norm_with_var),
        gpt2_with(block_by_einsum, norm_by_product),
        gpt2_in_float32,
        gpt2_with(block_of_operations, plain.layer_norm),
    ],
}
