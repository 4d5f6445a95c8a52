"""The backward pass of GPT-2, by hand: from the gradient of the logits to that of every parameter.

The gradient of the loss by an array has the array's shape; `dx` is that of x. Every function here undoes one of the
forward and quotes it: it is given the gradient of what that function returned, and what it had been given, and returns
the gradients of that. One rule does all of it, the chain rule: what a number's change does to the loss is the sum of
what it does through everything that was computed from it.

`gpt2_backward` walks the forward pass of model.py from its end to its beginning, with the activations that the forward
named on its way (`Recorder`). Read it beside `gpt2`. Letters as there: B batch, T tokens, D width, H heads, K = D / H,
V vocabulary, F width of the MLP.
"""

import math
import sys

import numpy as np

from minigpt.model import merge_heads, split_heads
from minigpt.ops.plain import causal_mask, softmax

IGNORED = -100  # a target that does not count, as in PyTorch

# What the backward pass needs of the forward's activations. The others follow from these or have no part in it.
NEEDED = ("embed", "ln_1", "q", "k", "v", "weights", "heads", "resid_mid", "ln_2", "pre", "act", "resid", "ln_f")


class Recorder:
    """A tap that records what the backward pass needs, and applies dropout where GPT-2 has it.

    Dropout (Srivastava et al. 2014) sets each number to 0 with probability p and divides the others by 1 - p, so that
    the mean stays. Places: the embedding, the attention weights, and what attention and MLP add to the stream. trace
    has the activations as they were before it, masks what they were multiplied with.
    """

    PLACES = ("embed", "attn.weights", "attn.out", "mlp.out")

    def __init__(self, dropout=0.0, rng=None):
        self.dropout, self.rng = dropout, rng
        self.trace, self.masks = {}, {}

    def __call__(self, name, activation):
        if name.rpartition(".")[2] in NEEDED:
            self.trace[name] = activation
        if not self.dropout or not name.endswith(self.PLACES):
            return activation
        kept = self.rng.random(activation.shape, np.float32) >= self.dropout
        self.masks[name] = kept * activation.dtype.type(1 / (1 - self.dropout))
        return activation * self.masks[name]

    def masked(self, name, array):
        """An array times the mask of that place: forwards y = x mask, backwards dx = dy mask."""
        return array * self.masks[name] if name in self.masks else array


def operations(ops):
    """The set of the operations below that goes with a set of the forward's: compiled if that one is."""
    if ops is None or ops is not sys.modules.get("minigpt.ops.jit"):
        return sys.modules[__name__]
    from minigpt.training import jit

    return jit


# ---------------------------------------------------------------- operations


def cross_entropy(logits, targets, count):
    """loss = sum_n -log softmax(logits[n])[targets[n]] / count;  logits [N, V], targets [N] > loss, dlogits [N, V].

    dlogits[n, v] = (softmax(logits[n])[v] - (1 if v is the target else 0)) / count
    takes the place of the logits in their array: with a vocabulary of 50,257 a second one would be the largest array
    of all. Rows whose target is IGNORED add nothing and have gradient 0. The sum is kept in float64.
    """
    total = 0.0
    for row, target in zip(logits, targets, strict=True):
        if target == IGNORED:
            row[:] = 0
            continue
        row -= row.max()
        logit = row[target]
        np.exp(row, out=row)
        sum_exp = row.sum()
        total += float(np.log(sum_exp) - logit)
        row /= sum_exp * count
        row[target] -= 1 / count
    return total / count, logits


def linear_backward(dy, x, weight, dweight, dbias=None):
    """y = x weight + bias;  dy [..., out], x [..., in], weight [in, out] > dx [..., in]. Adds to dweight and dbias.

    y[r, o] = sum_i x[r, i] weight[i, o] + bias[o], so
    dx[r, i] = sum_o dy[r, o] weight[i, o],   dweight[i, o] = sum_r x[r, i] dy[r, o],   dbias[o] = sum_r dy[r, o]
    """
    dy_rows, x_rows = dy.reshape(-1, dy.shape[-1]), x.reshape(-1, x.shape[-1])  # [R, out], [R, in]
    dweight += x_rows.T @ dy_rows
    if dbias is not None:
        dbias += dy_rows.sum(axis=0)
    return (dy_rows @ weight.T).reshape(x.shape)


def layer_norm_backward(dy, x, weight, dweight, dbias, eps=1e-5):
    """y = n weight + bias with n = (x - mean(x)) / s, s = sqrt(var(x) + eps);  dy, x [..., D] > dx. Adds to the others.

    dn = dy weight. Through n itself x counts 1/s; but every x also moves the mean and the variance of all of its
    vector, which takes away what dn has in common with the constant vector and with n:
    dx = (dn - mean(dn) - n mean(dn n)) / s
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
    """y = x/2 (1 + tanh(u)), u = sqrt(2/pi) (x + 0.044715 x^3);  dy, x of any shape > dx.

    dx = dy ((1 + tanh(u))/2 + x/2 (1 - tanh(u)^2) u'),   u' = sqrt(2/pi) (1 + 3 * 0.044715 x^2)
    """
    root = math.sqrt(2 / math.pi)
    square = x * x
    tanh = np.tanh(root * x * (1 + 0.044715 * square))
    return dy * (0.5 * (1 + tanh) + 0.5 * x * (1 - tanh * tanh) * root * (1 + 3 * 0.044715 * square))


def gelu_backward(dy, x):
    """y = x P(x) with the normal distribution's P;  dy, x of any shape > dx = dy (P(x) + x p(x)), p its density."""
    erf = np.frompyfunc(math.erf, 1, 1)
    below = 0.5 * (1 + erf(x / math.sqrt(2)).astype(x.dtype))
    return dy * (below + x * np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi))


def relu_backward(dy, x):
    """y = max(x, 0);  dx = dy where x > 0, else 0."""
    return dy * (x > 0)


def softmax_backward(dy, y):
    """y = softmax(x) over the last axis;  dy, y > dx = y (dy - sum_j dy_j y_j): probability goes to one from all."""
    return y * (dy - (dy * y).sum(axis=-1, keepdims=True))


def attention_backward(dheads, q, k, v, scale, weights=None, mask=None):
    """heads = (weights mask) v, weights = softmax(q k^T scale);  dheads, q, k, v [B, H, T, K] > dq, dk, dv.

    weights [B, H, T, T] are computed again if they were not recorded. mask is dropout's, None without it.
    Two products and a softmax, undone one after the other; where causality hid a key its weight is 0, so is dscores.
    """
    if weights is None:
        scores = q @ k.swapaxes(-1, -2) * scale  # [B, H, T, T]
        weights = softmax(np.where(causal_mask(q.shape[2], k.shape[2]), scores, -np.inf))
    dropped = weights if mask is None else weights * mask
    dv = dropped.swapaxes(-1, -2) @ dheads  # [B, H, T, K]
    dweights = dheads @ v.swapaxes(-1, -2)  # [B, H, T, T]
    if mask is not None:
        dweights *= mask
    dscores = softmax_backward(dweights, weights) * scale
    return dscores @ k, dscores.swapaxes(-1, -2) @ q, dv


def embedding_backward(dx, ids, dwte, dwpe):
    """x[b, t] = wte[ids[b, t]] + wpe[t];  dx [B, T, D]. Adds to dwte [V, D] and dwpe [P, D]; ids may repeat."""
    np.add.at(dwte, ids, dx)
    dwpe[: ids.shape[1]] += dx.sum(axis=0)


# ---------------------------------------------------------------- the model


def mlp_backward(dout, normed, mlp, grads, config, ops, trace, name):
    """out = linear(activation(linear(normed, c_fc)), c_proj);  dout, normed [B, T, D] > dnormed."""
    pre, act = trace[f"{name}.pre"], trace[f"{name}.act"]  # [B, T, F]
    dact = ops.linear_backward(dout, act, mlp["c_proj"]["weight"], *_both(grads["c_proj"]))
    dpre = getattr(ops, f"{config.activation_function}_backward")(dact, pre)
    return ops.linear_backward(dpre, normed, mlp["c_fc"]["weight"], *_both(grads["c_fc"]))


def self_attention_backward(dout, normed, attn, grads, layer, config, ops, recorder):
    """q, k, v = linear(normed, c_attn), out = linear(attention(q, k, v), c_proj);  dout, normed [B, T, D] > dnormed."""
    name, trace = f"h.{layer}.attn", recorder.trace
    q, k, v, heads = (trace[f"{name}.{part}"] for part in ("q", "k", "v", "heads"))  # [B, H, T, K]
    dheads = ops.linear_backward(dout, merge_heads(heads), attn["c_proj"]["weight"], *_both(grads["c_proj"]))
    dheads = split_heads(dheads, config.n_head)
    weights, mask = trace.get(f"{name}.weights"), recorder.masks.get(f"{name}.weights")
    dq, dk, dv = ops.attention_backward(dheads, q, k, v, config.attention_scale(layer), weights, mask)
    dqkv = np.concatenate([merge_heads(dq), merge_heads(dk), merge_heads(dv)], axis=-1)  # [B, T, 3 D]
    return ops.linear_backward(dqkv, normed, attn["c_attn"]["weight"], *_both(grads["c_attn"]))


def transformer_block_backward(dx, x, block, grads, layer, config, ops, recorder):
    """x += attention(layer_norm(x)), x += mlp(layer_norm(x));  dx after the block, x before it, [B, T, D] > dx before.

    Where the stream is copied into a part that adds to it, both ways count: the gradient comes back as a sum.
    """
    eps, trace, name = config.layer_norm_epsilon, recorder.trace, f"h.{layer}"
    dout = recorder.masked(f"{name}.mlp.out", dx)
    dnormed = mlp_backward(dout, trace[f"{name}.ln_2"], block["mlp"], grads["mlp"], config, ops, trace, f"{name}.mlp")
    resid_mid = trace[f"{name}.resid_mid"]
    dx = dx + ops.layer_norm_backward(dnormed, resid_mid, block["ln_2"]["weight"], *_both(grads["ln_2"]), eps)

    dout = recorder.masked(f"{name}.attn.out", dx)
    normed = trace[f"{name}.ln_1"]
    dnormed = self_attention_backward(dout, normed, block["attn"], grads["attn"], layer, config, ops, recorder)
    return dx + ops.layer_norm_backward(dnormed, x, block["ln_1"]["weight"], *_both(grads["ln_1"]), eps)


def gpt2_backward(dlogits, ids, params, grads, config, ops, recorder):
    """logits = gpt2(ids, params);  dlogits [B, T, V], ids [B, T]. Adds every parameter's gradient to the tree grads.

    A tied head is wte: the same array gets the gradient of the head and that of the embedding.
    """
    trace = recorder.trace
    head = "wte" if config.tie_word_embeddings else "lm_head"
    dx = ops.linear_backward(dlogits, trace["ln_f"], params[head]["weight"].T, grads[head]["weight"].T)
    x = trace[f"h.{config.n_layer - 1}.resid"]
    dx = ops.layer_norm_backward(dx, x, params["ln_f"]["weight"], *_both(grads["ln_f"]), config.layer_norm_epsilon)
    for layer in reversed(range(config.n_layer)):
        # What the block saw; the embedding with dropout applied.
        x = trace[f"h.{layer - 1}.resid"] if layer else recorder.masked("embed", trace["embed"])
        block, block_grads = params["h"][layer], grads["h"][layer]
        dx = transformer_block_backward(dx, x, block, block_grads, layer, config, ops, recorder)
    ops.embedding_backward(recorder.masked("embed", dx), ids, grads["wte"]["weight"], grads["wpe"]["weight"])


def _both(grads):
    return grads["weight"], grads["bias"]
