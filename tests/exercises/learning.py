"""Right solutions of minigpt/exercises/learning.py, as differently as people write them. None may be told it is wrong."""

import math

import numpy as np

from minigpt.ops.plain import softmax
from minigpt.training.backward import softmax_backward

# ---------------------------------------------------------------- cross_entropy


def cross_entropy_in_numpy(logits, targets):
    kept = targets != -100
    logits, targets = logits[kept], targets[kept]
    logits = logits - logits.max(axis=1, keepdims=True)
    logprobs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return -logprobs[np.arange(len(targets)), targets].mean()


def cross_entropy_in_loops(logits, targets):
    total, count = 0.0, 0
    for row, target in zip(logits.tolist(), targets.tolist(), strict=True):
        if target == -100:
            continue
        # The target's own exponential is 1: the loss is the logarithm of what all weigh beside it.
        highest = max(row)
        total += math.log(sum(math.exp(logit - highest) for logit in row)) + highest - row[target]
        count += 1
    return total / count


def cross_entropy_with_one_hot(logits, targets):
    one_hot = targets[:, None] == np.arange(logits.shape[1])  # a target of -100 is nowhere
    logprobs = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
    return -(one_hot * logprobs).sum() / one_hot.sum()


def cross_entropy_with_one_hot_in_float32(logits, targets):
    return cross_entropy_with_one_hot(logits.astype(np.float32), targets)


def cross_entropy_in_float32(logits, targets):
    logits = logits.astype(np.float32)
    losses = np.zeros(len(targets), np.float32)
    for n, target in enumerate(targets):
        if target >= 0:
            shifted = logits[n] - logits[n].max()
            losses[n] = np.log(np.exp(shifted).sum()) - shifted[target]
    return losses.sum() / np.float32(np.count_nonzero(targets >= 0))


# ---------------------------------------------------------------- softmax_backward


def softmax_backward_in_numpy(dy, y):
    return y * dy - y * np.sum(y * dy, axis=-1, keepdims=True)


def softmax_backward_with_jacobian(dy, y):
    jacobian = y[..., :, None] * np.eye(y.shape[-1]) - y[..., :, None] * y[..., None, :]
    return (jacobian @ dy[..., None])[..., 0]


def softmax_backward_in_loops(dy, y):
    if y.ndim > 1:
        return np.array([softmax_backward_in_loops(one, other) for one, other in zip(dy, y, strict=True)])
    dx = [0.0] * len(y)
    for i in range(len(y)):
        for j in range(len(y)):
            dx[i] += dy[j] * (y[i] * (1 - y[i]) if i == j else -y[j] * y[i])
    return np.array(dx)


def softmax_backward_in_float32(dy, y):
    dy, y = dy.astype(np.float32), y.astype(np.float32)
    return y * (dy - np.einsum("...i,...i->...", dy, y)[..., None])


# ---------------------------------------------------------------- layer_norm_backward


def layer_norm_backward_in_numpy(dy, x, weight, eps):
    s = np.sqrt(x.var(axis=1, keepdims=True) + eps)
    n = (x - x.mean(axis=1, keepdims=True)) / s
    dn = dy * weight
    dx = (dn - dn.mean(axis=1, keepdims=True) - n * (dn * n).mean(axis=1, keepdims=True)) / s
    return dx, (dy * n).sum(axis=0), dy.sum(axis=0)


def layer_norm_backward_step_by_step(dy, x, weight, eps):
    """Each line of the forward pass undone, with the variance and the mean as numbers of their own."""
    D = x.shape[1]
    centred = x - x.sum(axis=1, keepdims=True) / D
    variance = (centred**2).sum(axis=1, keepdims=True) / D
    root = (variance + eps) ** -0.5
    dn = dy * weight
    droot = (dn * centred).sum(axis=1, keepdims=True)
    dvariance = droot * -0.5 * (variance + eps) ** -1.5
    dcentred = dn * root + dvariance * 2 * centred / D
    dmean = -dcentred.sum(axis=1, keepdims=True)
    return dcentred + dmean / D, np.einsum("nd,nd->d", dy, centred * root), np.einsum("nd->d", dy)


def layer_norm_backward_in_loops(dy, x, weight, eps):
    N, D = x.shape
    dx, dweight, dbias = np.zeros((N, D)), np.zeros(D), np.zeros(D)
    for row in range(N):
        mean = sum(x[row]) / D
        s = math.sqrt(sum((number - mean) ** 2 for number in x[row]) / D + eps)
        n = [(number - mean) / s for number in x[row]]
        for i in range(D):
            dweight[i] += dy[row, i] * n[i]
            dbias[i] += dy[row, i]
            for j in range(D):
                dx[row, i] += dy[row, j] * weight[j] * ((i == j) - 1 / D - n[i] * n[j] / D) / s
    return dx, dweight, dbias


def layer_norm_backward_with_jacobian(dy, x, weight, eps):
    D = x.shape[-1]
    centring = np.eye(D) - 1 / D
    centred = x @ centring
    s = np.sqrt((centred * centred).mean(axis=-1) + eps)
    n = centred / s[:, None]
    jacobian = (centring - n[:, :, None] * n[:, None, :] / D) / s[:, None, None]  # [N, D, D]
    return np.einsum("nij,nj,j->ni", jacobian, dy, weight), np.diag(dy.T @ n), dy.T @ np.ones(len(dy))


def layer_norm_backward_in_float32(dy, x, weight, eps):
    return layer_norm_backward_in_numpy(*(a.astype(np.float32) for a in (dy, x, weight)), np.float32(eps))


# ---------------------------------------------------------------- attention_backward


def attention_backward_with_minigpt(dheads, q, k, v):
    T, K = q.shape[2:]
    scores = q @ k.transpose(0, 1, 3, 2) / np.sqrt(K)
    weights = softmax(np.where(np.tril(np.ones((T, T), bool)), scores, -np.inf))
    dv = weights.transpose(0, 1, 3, 2) @ dheads
    dscores = softmax_backward(dheads @ v.transpose(0, 1, 3, 2), weights) / np.sqrt(K)
    return dscores @ k, dscores.transpose(0, 1, 3, 2) @ q, dv


def attention_backward_with_einsum(dheads, q, k, v):
    T, K = q.shape[2:]
    scores = np.einsum("bhtk,bhsk->bhts", q, k) / K**0.5 + np.triu(np.full((T, T), -1e30), 1)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    dweights = np.einsum("bhtk,bhsk->bhts", dheads, v)
    # sum_s weights dweights is heads dheads: what the softmax takes away.
    heads = np.einsum("bhts,bhsk->bhtk", weights, v)
    dscores = weights * (dweights - (heads * dheads).sum(-1, keepdims=True)) / K**0.5
    return (
        np.einsum("bhts,bhsk->bhtk", dscores, k),
        np.einsum("bhts,bhtk->bhsk", dscores, q),
        np.einsum("bhts,bhtk->bhsk", weights, dheads),
    )


def attention_backward_in_loops(dheads, q, k, v):
    B, H, T, K = q.shape
    dq, dk, dv = np.zeros(q.shape), np.zeros(q.shape), np.zeros(q.shape)
    for b in range(B):
        for h in range(H):
            for t in range(T):
                scores = [sum(q[b, h, t] * k[b, h, s]) / math.sqrt(K) for s in range(t + 1)]
                exp = [math.exp(score - max(scores)) for score in scores]
                weights = [e / sum(exp) for e in exp]
                dweights = [sum(dheads[b, h, t] * v[b, h, s]) for s in range(t + 1)]
                common = sum(w * dw for w, dw in zip(weights, dweights, strict=True))
                for s in range(t + 1):
                    dscore = weights[s] * (dweights[s] - common) / math.sqrt(K)
                    dq[b, h, t] += dscore * k[b, h, s]
                    dk[b, h, s] += dscore * q[b, h, t]
                    dv[b, h, s] += weights[s] * dheads[b, h, t]
    return dq, dk, dv


def attention_backward_in_float32(dheads, q, k, v):
    return attention_backward_with_einsum(*(array.astype(np.float32) for array in (dheads, q, k, v)))


# ---------------------------------------------------------------- adamw


def adamw_in_numpy(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    m = beta1 * m + (1 - beta1) * grad
    v = beta2 * v + (1 - beta2) * grad**2
    m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
    return w - lr * (m_hat / (np.sqrt(v_hat) + eps) + weight_decay * w), m, v


def adamw_in_loops(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    w, m, v = w.copy(), m.copy(), v.copy()
    for place in np.ndindex(*w.shape):
        g = float(grad[place])
        m[place] += (1 - beta1) * (g - m[place])
        v[place] += (1 - beta2) * (g * g - v[place])
        step = m[place] / (1 - math.pow(beta1, t)) / (math.sqrt(v[place] / (1 - math.pow(beta2, t))) + eps)
        w[place] = w[place] * (1 - lr * weight_decay) - lr * step
    return w, m, v


def adamw_with_corrected_rate(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    """The end of section 2 of Kingma and Ba: both corrections in the learning rate, and in eps what undoes them."""
    m, v = np.average([m, grad], axis=0, weights=[beta1, 1 - beta1]), beta2 * v + (1 - beta2) * np.square(grad)
    root = math.sqrt(1 - beta2**t)
    return w - lr * weight_decay * w - lr * root / (1 - beta1**t) * m / (np.sqrt(v) + eps * root), m, v


def adamw_in_float32(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    w, grad, m, v = (array.astype(np.float32) for array in (w, grad, m, v))
    return adamw_in_numpy(w, grad, m, v, t, *map(np.float32, (lr, beta1, beta2, eps, weight_decay)))


RIGHT = {
    "cross_entropy": [
        cross_entropy_in_numpy,
        cross_entropy_in_loops,
        cross_entropy_with_one_hot,
        cross_entropy_with_one_hot_in_float32,
        cross_entropy_in_float32,
    ],
    "softmax_backward": [
        softmax_backward_in_numpy,
        softmax_backward_with_jacobian,
        softmax_backward_in_loops,
        softmax_backward_in_float32,
    ],
    "layer_norm_backward": [
        layer_norm_backward_in_numpy,
        layer_norm_backward_step_by_step,
        layer_norm_backward_in_loops,
        layer_norm_backward_with_jacobian,
        layer_norm_backward_in_float32,
    ],
    "attention_backward": [
        attention_backward_with_minigpt,
        attention_backward_with_einsum,
        attention_backward_in_loops,
        attention_backward_in_float32,
    ],
    "adamw": [adamw_in_numpy, adamw_in_loops, adamw_with_corrected_rate, adamw_in_float32],
}
