"""The backward pass of GPT-2, by hand: from the gradient of the logits to that of every parameter.

The gradient of the loss with respect to an array has the array's shape; `dx` is that of x. Each function belongs to one
of the forward pass and quotes it: from the gradient of its result it computes those of its arguments. All of it is one
rule, the chain rule: the gradient of a number is the sum, over everything computed from it, of that thing's gradient
times its derivative by the number.

`gpt2_backward` walks the forward pass of model.py from its end to its beginning; read it beside `gpt2`. Letters as
in model.py. `run` is the Recording of that forward pass (recording.py): its activations, and the operations below.
"""

import math

import numpy as np

from minigpt.model import causal_mask, merge_heads, split_heads
from minigpt.ops.plain import softmax


def gpt2_backward(dlogits, ids, params, grads, run):
    """logits = gpt2(ids, params);  dlogits [B, T, V], ids [B, T]. Add every parameter's gradient to the tree grads.

    A tied head is wte: the same array gets the gradient of the head and that of the embedding.
    """
    head = "lm_head" if "lm_head" in params else "wte"
    weight, dweight = params[head]["weight"].T, grads[head]["weight"].T  # views: what is added to dweight is in grads
    dx = run.linear_backward(dlogits, run["ln_f"], {"weight": weight}, {"weight": dweight})
    dx = run.layer_norm_backward(dx, run.stream(len(params["h"])), params["ln_f"], grads["ln_f"])

    for layer in reversed(range(len(params["h"]))):
        dx = transformer_block_backward(dx, **params["h"][layer], grads=grads["h"][layer], run=run.in_block(layer))

    run.embedding_backward(run.dropout_backward("embed", dx), ids, grads)


def transformer_block_backward(dx, ln_1, attn, ln_2, mlp, grads, run):
    """x = x + self_attention(layer_norm(x)), x = x + feed_forward(layer_norm(x));  dx [B, T, D] -> dx before the block.

    x reaches the result directly and through the part that adds to it, so its gradient is the sum of both.
    """
    dout = run.dropout_backward("mlp.out", dx)
    dnormed = feed_forward_backward(dout, run["ln_2"], **mlp, grads=grads["mlp"], run=run)
    dx = dx + run.layer_norm_backward(dnormed, run["resid_mid"], ln_2, grads["ln_2"])

    dout = run.dropout_backward("attn.out", dx)
    dnormed = self_attention_backward(dout, run["ln_1"], **attn, grads=grads["attn"], run=run)
    return dx + run.layer_norm_backward(dnormed, run.stream(run.layer), ln_1, grads["ln_1"])


def self_attention_backward(dout, x, c_attn, c_proj, grads, run):
    """q, k, v = linear(x, c_attn), out = linear(attention(q, k, v), c_proj);  dout, x [B, T, D] -> dx."""
    dheads = run.linear_backward(dout, merge_heads(run["attn.heads"]), c_proj, grads["c_proj"])
    dheads = split_heads(dheads, run.n_head)  # [B, H, T, K]
    dq, dk, dv = run.attention_backward(dheads, run["attn.q"], run["attn.k"], run["attn.v"])
    dqkv = np.concatenate([merge_heads(dq), merge_heads(dk), merge_heads(dv)], axis=-1)  # [B, T, 3 D]
    return run.linear_backward(dqkv, x, c_attn, grads["c_attn"])


def feed_forward_backward(dout, x, c_fc, c_proj, grads, run):
    """out = linear(activation(linear(x, c_fc)), c_proj);  dout, x [B, T, D] -> dx."""
    dact = run.linear_backward(dout, run["mlp.act"], c_proj, grads["c_proj"])  # [B, T, F]
    dpre = run.activation_function_backward(dact, run["mlp.pre"])
    return run.linear_backward(dpre, x, c_fc, grads["c_fc"])


def linear_backward(dy, x, weight, dweight, dbias=None):
    """y = x weight + bias;  dy [..., out], x [..., in], weight [in, out] -> dx [..., in]. Adds to dweight, dbias.

    y[r, o] = sum_i x[r, i] weight[i, o] + bias[o], so
    dx[r, i] = sum_o dy[r, o] weight[i, o],   dweight[i, o] = sum_r x[r, i] dy[r, o],   dbias[o] = sum_r dy[r, o]
    """
    dy_rows, x_rows = dy.reshape(-1, dy.shape[-1]), x.reshape(-1, x.shape[-1])  # R rows: [R, out], [R, in]
    dweight += x_rows.T @ dy_rows
    if dbias is not None:
        dbias += dy_rows.sum(axis=0)
    return (dy_rows @ weight.T).reshape(x.shape)


def layer_norm_backward(dy, x, weight, dweight, dbias, eps=1e-5):
    """y = n weight + bias with n = (x - mean(x)) / s, s = sqrt(var(x) + eps);  dy, x [..., D] -> dx.

    dn = dy weight. If mean and s were constants, dx would be dn / s. They depend on x, which takes away the mean of dn
    and its component along n:
    dx = (dn - mean(dn) - n mean(dn n)) / s
    Adds to dweight and dbias.
    """
    centred = x - x.mean(axis=-1, keepdims=True)
    s = np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + eps)  # [..., 1]
    n = centred / s
    vectors = tuple(range(dy.ndim - 1))
    dweight += (dy * n).sum(axis=vectors)
    dbias += dy.sum(axis=vectors)
    dn = dy * weight
    return (dn - dn.mean(axis=-1, keepdims=True) - n * (dn * n).mean(axis=-1, keepdims=True)) / s


def gelu_new_backward(dy, x):
    """y = x/2 (1 + tanh(u)), u = sqrt(2/pi) (x + 0.044715 x^3);  dy, x of any shape -> dx.

    dx = dy ((1 + tanh(u))/2 + x/2 (1 - tanh(u)^2) u'),   u' = sqrt(2/pi) (1 + 3 * 0.044715 x^2)
    """
    root = math.sqrt(2 / math.pi)
    square = x * x
    tanh = np.tanh(root * x * (1 + 0.044715 * square))
    return dy * (0.5 * (1 + tanh) + 0.5 * x * (1 - tanh * tanh) * root * (1 + 3 * 0.044715 * square))


def gelu_backward(dy, x):
    """y = x P(x), P the normal distribution;  dy, x of any shape -> dx = dy (P(x) + x p(x)), p its density."""
    erf = np.frompyfunc(math.erf, 1, 1)
    below = 0.5 * (1 + np.asarray(erf(x / math.sqrt(2)), x.dtype))
    return dy * (below + x * np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi))


def relu_backward(dy, x):
    """y = max(x, 0);  dx = dy where x > 0, else 0."""
    return dy * (x > 0)


def softmax_backward(dy, y):
    """y = softmax(x) over the last axis;  dy, y -> dx = y (dy - sum_j dy_j y_j).

    Raising one score raises its own weight and lowers all the others; the sum is what that costs.
    """
    return y * (dy - (dy * y).sum(axis=-1, keepdims=True))


def attention_backward(dheads, q, k, v, scale, weights=None, dropout_mask=None):
    """heads = weights v, weights = softmax(q k^T scale + mask);  dheads, q, k, v [B, H, T, K] -> dq, dk, dv.

    weights [B, H, T, T] are computed again if they were not recorded. With dropout, heads = (weights dropout_mask) v.
    Two products and a softmax are undone one after the other. A hidden key has weight 0, so softmax_backward gives 0
    there and no mask is needed.
    """
    if weights is None:
        scores = q @ k.swapaxes(-1, -2) * scale  # [B, H, T, T]
        weights = softmax(np.where(causal_mask(q.shape[2], k.shape[2]), scores, -np.inf))
    dropped = weights if dropout_mask is None else weights * dropout_mask
    dv = dropped.swapaxes(-1, -2) @ dheads  # [B, H, T, K]
    dweights = dheads @ v.swapaxes(-1, -2)  # [B, H, T, T]
    if dropout_mask is not None:
        dweights *= dropout_mask
    dscores = softmax_backward(dweights, weights) * scale
    return dscores @ k, dscores.swapaxes(-1, -2) @ q, dv


def embedding_backward(dx, ids, dwte, dwpe):
    """x[b, t] = wte[ids[b, t]] + wpe[t];  dx [B, T, D]. Adds to dwte [V, D], dwpe [n_positions, D]; ids may repeat."""
    np.add.at(dwte, ids, dx)
    dwpe[: ids.shape[1]] += dx.sum(axis=0)
