"""GPT-2 (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"): the whole forward pass.

    B batch    T tokens    S visible tokens             V vocabulary    L layers
    D width    H heads     K = D / H, width of a head   F width of the MLP

`params` is the official checkpoint as nested dicts, params["h"][0]["attn"]["c_attn"]["weight"]; each function gets its
branch of that tree as keyword arguments, under the official names. `run` (run.py) has the operations linear,
layer_norm, softmax and activation_function, as the formulas of ops/plain.py or the kernels of ops/jit, and all that is
not mathematics:

    run.tap("name", x)   x, unless somebody records or edits it; training applies dropout here
    run.in_block(layer)  the run inside a block: names begin with h.LAYER., and the cache stores for that layer
    run.needed(x)        x; but if only the last token's logits are wanted, its last token, in the last block
"""

import numpy as np


def gpt2(ids, params, run):
    """The forward pass: token ids [B, T] -> logits [B, T, V], whose softmax is the probability of the next token."""
    x = params["wte"]["weight"][ids] + params["wpe"]["weight"][run.positions(ids)]
    x = run.tap("embed", x)  # [B, T, D]: the residual stream, a vector for each token, to which every block adds

    for layer, block in enumerate(params["h"]):
        x = transformer_block(x, **block, run=run.in_block(layer))

    x = run.tap("ln_f", run.layer_norm(x, **params["ln_f"]))
    head = params.get("lm_head", params["wte"])  # tied: the table that reads tokens also predicts them, [V, D]
    return run.tap("logits", run.linear(x, head["weight"].T))


def transformer_block(x, ln_1, attn, ln_2, mlp, run):
    """Attention, then the MLP: each reads the normalised stream and adds to the stream;  x [B, T, D] -> [B, T, D]."""
    normed = run.tap("ln_1", run.layer_norm(x, **ln_1))
    x = run.tap("resid_mid", run.needed(x) + self_attention(normed, **attn, run=run))

    normed = run.tap("ln_2", run.layer_norm(x, **ln_2))
    return run.tap("resid", x + feed_forward(normed, **mlp, run=run))


def self_attention(x, c_attn, c_proj, run):
    """Each token gathers from itself and from the tokens before it;  x [B, T, D] -> [B, T, D]."""
    q, k, v = split_qkv(run.linear(x, **c_attn))  # what a token looks for, is found by, hands on: [B, T, D] each
    q = run.tap("attn.q", split_heads(run.needed(q), run.n_head))  # [B, H, T, K]
    k = run.tap("attn.k", split_heads(k, run.n_head))
    v = run.tap("attn.v", split_heads(v, run.n_head))
    k, v = run.remember(k, v)  # [B, H, S, K]: a cache puts those of earlier tokens first

    heads = run.tap("attn.heads", run.attention(q, k, v))  # `attention` below, or a kernel for it, unless ops="plain"
    return run.tap("attn.out", run.linear(merge_heads(heads), **c_proj))


def attention(q, k, v, run):
    """Each query gathers the values of the keys it matches: softmax(q k^T / sqrt(K) + mask) v  -> [B, H, T, K]."""
    scores = run.tap("attn.scores", q @ k.swapaxes(-1, -2) * run.scale)  # [B, H, T, S]; run.scale is 1 / sqrt(K)
    mask = causal_mask(q.shape[2], k.shape[2], run.padding)
    weights = run.tap("attn.weights", run.softmax(np.where(mask, scores, -np.inf)))  # each row sums to 1
    return weights @ v


def feed_forward(x, c_fc, c_proj, run):
    """The MLP, each token by itself: widen, apply the activation function, narrow;  x [B, T, D] -> [B, T, D]."""
    pre = run.tap("mlp.pre", run.linear(x, **c_fc))  # [B, T, F]
    act = run.tap("mlp.act", run.activation_function(pre))
    return run.tap("mlp.out", run.linear(act, **c_proj))


def causal_mask(T, S, padding=None):
    """Return which of S keys each of the last T positions may look at: bool [T, S], or [B, 1, T, S] with padding.

    Position t sees key s when s <= t: itself and the past. padding [B] is the number of keys at the left of each
    sequence that are padding; no other position sees them.
    """
    t = np.arange(S - T, S)[:, None]  # [T, 1]
    s = np.arange(S)  # [S]
    mask = s <= t  # [T, S]
    if padding is None:
        return mask
    text = s >= padding[:, None, None, None]  # [B, 1, 1, S]
    return (mask & text) | (s == t)  # a padding position sees itself, so that its softmax is finite


def split_qkv(x):
    """[B, T, 3 D] -> three of [B, T, D]."""
    D = x.shape[-1] // 3
    return x[..., :D], x[..., D : 2 * D], x[..., 2 * D :]


def split_heads(x, n_head):
    """[B, T, H K] -> [B, H, T, K]: head h gets the numbers h K to (h + 1) K of each token."""
    B, T, D = x.shape
    return x.reshape(B, T, n_head, D // n_head).swapaxes(1, 2)


def merge_heads(x):
    """[B, H, T, K] -> [B, T, H K], the reverse of split_heads."""
    B, H, T, K = x.shape
    return x.swapaxes(1, 2).reshape(B, T, H * K)
