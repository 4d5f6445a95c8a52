"""The operations of backward.py and optimizer.py compiled by Numba for float32: same names, same results.

Products are BLAS's, shared out over the cores; kernels do in one pass over memory what lies between them. What they
are not made for (float64, dropout) the formulas compute. The forward's operations are those of ops/jit.py.
"""

import math
from functools import partial

import numpy as np

from minigpt.ops import jit
from minigpt.ops.jit import (  # noqa: F401  the forward's, as they are
    CACHED,
    EXACT,
    FLOAT32,
    QUERIES,
    SMALL,
    by_rows,
    causal_softmax,
    exp,
    forked,
    gelu,
    gelu_new,
    heads_at_a_time,
    kernel,
    layer_norm,
    linear,
    part_of,
    relu,
    share_out,
    share_out_whole,
    softmax_in_place,
    suits,
)
from minigpt.ops.plain import untapped
from minigpt.params import flatten, zeros_like
from minigpt.training import adamw, backward, loss

ROWS = 512  # of a gradient's that are computed, then added; with fewer BLAS is slower

relu_backward = backward.relu_backward  # one pass over memory: nothing to gain


def share_batch(work, inputs, targets, grads, rng):
    """The sum of work(inputs, targets, grads, rng) over parts of the batch, one for each core.

    work adds to the tree grads, unless it is None. For a small model it costs more to wake the other cores for every
    operation than what they save: here it happens once a step. Each core has gradients of its own, which are added in
    the order of the batch, so that the result is always the same. A large model's would need too much memory.
    """
    trees, losses, rngs = {0: grads}, {}, rng.spawn(len(inputs)) if rng else [None] * len(inputs)

    def part(first, last):
        if first:
            trees[first] = grads and zeros_like(grads)
        losses[first] = work(inputs[first:last], targets[first:last], trees[first], rngs[first])

    share_out_whole(part, len(inputs))
    sums, *others = (flatten(trees[first] or {}) for first in sorted(trees))
    for name, other in ((name, other) for tree in others for name, other in tree.items()):
        sums[name] += other
    return sum(losses[first] for first in sorted(losses))


# ---------------------------------------------------------------- linear


def linear_backward(dy, x, weight, dweight, dbias=None):
    """dx = dy weight^T;  adds x^T dy to dweight and the sum of dy's rows to dbias.

    Each core takes its share of the columns of dx and of the rows of dweight^T, which lie so in memory.
    """
    if not (suits(dy) and suits(x) and suits(weight.T) and suits(dweight.T)):
        return backward.linear_backward(dy, x, weight, dweight, dbias)
    n_in, n_out = weight.shape
    dy_rows, x_rows = dy.reshape(-1, n_out), x.reshape(-1, n_in)
    dx = np.empty_like(x_rows)

    def work(first, last):
        np.matmul(dy_rows, weight[first:last].T, out=dx[:, first:last])
        first, last = first * n_out // n_in, last * n_out // n_in
        for start in range(first, last, ROWS):
            some = slice(start, min(start + ROWS, last))
            dweight.T[some] += dy_rows[:, some].T @ x_rows
        if dbias is not None:
            dbias[first:last] += dy_rows[:, first:last].sum(axis=0)

    share_out(work, n_in)
    return dx.reshape(x.shape)


# ---------------------------------------------------------------- layer norm


def layer_norm_backward(dy, x, weight, dweight, dbias, eps=1e-5):
    """dx = (dn - mean(dn) - n mean(dn n)) / s with dn = dy weight;  adds sums of dy n to dweight, of dy to dbias."""
    if not (suits(dy) and suits(x) and suits(weight)):
        return backward.layer_norm_backward(dy, x, weight, dweight, dbias, eps)
    dx = np.empty_like(x)
    dy_rows, x_rows, dx_rows = (array.reshape(-1, x.shape[-1]) for array in (dy, x, dx))
    sums = {}  # of every core its own; added in the order of the rows, so that the result is always the same

    def work(rows):
        sums[rows.start] = np.zeros((2, x.shape[-1]), np.float32)
        _layer_norm_backward(dy_rows[rows], x_rows[rows], weight, np.float32(eps), dx_rows[rows], sums[rows.start])

    by_rows(work, x_rows)
    for start in sorted(sums):
        dweight += sums[start][0]
        dbias += sums[start][1]
    return dx


@kernel("void(f4[:,::1], f4[:,::1], f4[::1], f4, f4[:,::1], f4[:,::1])", parallel=False)
def _layer_norm_backward(dy, x, weight, eps, dx, sums):
    """Four passes over each vector, which stays in the cache; sums [2, D] are added to."""
    rows, D = x.shape
    dweight, dbias = sums[0], sums[1]
    for row in range(rows):
        mean = variance = np.float32(0)
        for i in range(D):
            mean += x[row, i]
        mean /= np.float32(D)
        for i in range(D):
            variance += (x[row, i] - mean) * (x[row, i] - mean)
        s = np.sqrt(variance / np.float32(D) + eps)
        mean_dn = mean_dn_n = np.float32(0)
        for i in range(D):
            n = (x[row, i] - mean) / s
            dweight[i] += dy[row, i] * n
            dbias[i] += dy[row, i]
            mean_dn += dy[row, i] * weight[i]
            mean_dn_n += dy[row, i] * weight[i] * n
        mean_dn /= np.float32(D)
        mean_dn_n /= np.float32(D)
        for i in range(D):
            n = (x[row, i] - mean) / s
            dx[row, i] = (dy[row, i] * weight[i] - mean_dn - n * mean_dn_n) / s


# ---------------------------------------------------------------- activations


def gelu_new_backward(dy, x):
    """y = x g with g = (1 + tanh(u))/2 = 1 / (1 + exp(-2 u));  dx = dy (g + x 2 g (1 - g) u')."""
    if not (suits(dy) and suits(x)):
        return backward.gelu_new_backward(dy, x)
    return _elementwise(_gelu_new_backward, dy, x)


@kernel("void(f4[::1], f4[::1], f4[::1])", parallel=False, fastmath=EXACT)
def _gelu_new_backward(dy, x, dx):
    """One pass, with exp inline, where NumPy makes an array of every step."""
    for i in range(x.size):
        square = x[i] * x[i]
        u = np.float32(0.7978845608) * x[i] * (np.float32(1) + np.float32(0.044715) * square)
        slope = np.float32(0.7978845608) * (np.float32(1) + np.float32(0.134145) * square)
        g = np.float32(1) / (np.float32(1) + exp(np.float32(-2) * u))
        dx[i] = dy[i] * (g + x[i] * np.float32(2) * g * (np.float32(1) - g) * slope)


def gelu_backward(dy, x):
    """y = x P(x);  dx = dy (P(x) + x p(x)), P the normal distribution and p its density."""
    if not (suits(dy) and suits(x)):
        return backward.gelu_backward(dy, x)
    return _elementwise(_gelu_backward, dy, x)


@kernel("void(f4[::1], f4[::1], f4[::1])", parallel=False, fastmath=EXACT)
def _gelu_backward(dy, x, dx):
    """One pass; NumPy has no erf."""
    for i in range(x.size):
        below = np.float32(0.5) * (np.float32(1) + math.erf(x[i] * np.float32(0.7071067812)))
        density = np.float32(0.3989422804) * exp(np.float32(-0.5) * x[i] * x[i])
        dx[i] = dy[i] * (below + x[i] * density)


def _elementwise(compiled, dy, x):
    dx = np.empty_like(x)
    dy_flat, x_flat, dx_flat = dy.reshape(-1), x.reshape(-1), dx.reshape(-1)
    by_rows(lambda some: compiled(dy_flat[some], x_flat[some], dx_flat[some]), x_flat)
    return dx


# ---------------------------------------------------------------- attention


def attention(q, k, v, scale=None, padding=None, tap=untapped):
    """The forward's; of a short text it shows the tap its weights, for the backward pass.

    Fetching those of a long one from memory costs more than to compute them again.
    """
    B, H, T, K = q.shape
    if T > QUERIES or forked.is_set() or q.dtype is not FLOAT32:
        return jit.attention(q, k, v, scale, padding)
    scale = np.float32(K**-0.5 if scale is None else scale)
    weights = np.empty((B, H, T, T), np.float32)
    heads = np.empty((B, T, H, K), np.float32).swapaxes(1, 2)  # as merge_heads wants them

    def work(first, last):
        for some in heads_at_a_time(first, last, H, T * T):
            np.matmul(q[some], k[some].swapaxes(-1, -2), out=weights[some])
            causal_softmax(_by_head(weights[some]), 0, 0, scale)
            np.matmul(weights[some], v[some], out=heads[some])

    share_out(work, B * H)
    tap("weights", weights)
    return heads


def attention_backward(dheads, q, k, v, scale, weights=None, mask=None):
    """dq, dk, dv of heads = softmax(q k^T scale + mask) v;  each [B, H, T, K].

    A block of queries at a time, whose weights stay in the cache; what causality hides is never computed.
    """
    B, H, T, K = q.shape
    recorded = weights is not None
    if mask is not None or forked.is_set() or not dheads.dtype is q.dtype is FLOAT32 or (recorded and T > QUERIES):
        return backward.attention_backward(dheads, q, k, v, scale, weights, mask)
    dq, dk, dv = (np.empty((B, T, H, K), np.float32).swapaxes(1, 2) for _ in range(3))  # as merge_heads wants them
    share_out(partial(_attend_backward, dheads, q, k, v, np.float32(scale), weights, dq, dk, dv), B * H)
    return dq, dk, dv


def _attend_backward(dheads, q, k, v, scale, recorded, dq, dk, dv, first, last):
    """attention_backward of the heads from first to last, counted through the batch."""
    H, T = q.shape[1:3]
    step = min(T, QUERIES)
    for some in heads_at_a_time(first, last, H, 2 * step * T):
        n = dq[some].shape[:2]
        buffers = np.empty((2, math.prod(n) * step * T), np.float32)
        for start in reversed(range(0, T, step)):
            stop = min(start + step, T)
            queries, keys = (*some, slice(start, stop)), (*some, slice(0, stop))  # as far as the last query sees
            weights, dscores = (part_of(buffer, (*n, stop - start, stop)) for buffer in buffers)
            if recorded is None:
                np.matmul(q[queries], k[keys].swapaxes(-1, -2), out=weights)
                causal_softmax(_by_head(weights), start, 0, scale)
            else:
                weights = recorded[some]
            np.matmul(dheads[queries], v[keys].swapaxes(-1, -2), out=dscores)  # dweights, so far
            _softmax_backward(_by_head(dscores), _by_head(weights), start, scale)
            np.matmul(dscores, k[keys], out=dq[queries])
            if stop == T:  # these see all keys; to what they give them the others add
                np.matmul(dscores.swapaxes(-1, -2), q[queries], out=dk[keys])
                np.matmul(weights.swapaxes(-1, -2), dheads[queries], out=dv[keys])
            else:
                dk[keys] += dscores.swapaxes(-1, -2) @ q[queries]
                dv[keys] += weights.swapaxes(-1, -2) @ dheads[queries]


def _by_head(scores):
    return scores.reshape(-1, *scores.shape[2:])


@kernel("void(f4[:,:,::1], f4[:,:,::1], i8, f4)", parallel=False)
def _softmax_backward(dy, y, first, scale):
    """dy = y (dy - sum_j dy_j y_j) scale in place;  dy, y [H, T, S], the queries at positions first, first + 1, ..."""
    for h in range(dy.shape[0]):
        for t in range(dy.shape[1]):
            seen = min(first + t + 1, dy.shape[2])
            dy_row, y_row = dy[h, t, :seen], y[h, t, :seen]
            common = np.float32(0)
            for s in range(dy_row.size):
                common += dy_row[s] * y_row[s]
            for s in range(dy_row.size):
                dy_row[s] = y_row[s] * (dy_row[s] - common) * scale
            dy[h, t, seen:] = 0


# ---------------------------------------------------------------- embedding


def embedding_backward(dx, ids, dwte, dwpe):
    """x[b, t] = wte[ids[b, t]] + wpe[t];  adds to dwte and dwpe."""
    if not (suits(dx) and suits(dwte)):
        return backward.embedding_backward(dx, ids, dwte, dwpe)
    _add_rows(dx.reshape(-1, dx.shape[-1]), np.ascontiguousarray(ids, np.int64).reshape(-1), dwte)
    dwpe[: ids.shape[1]] += dx.sum(axis=0)


@kernel("void(f4[:,::1], i8[::1], f4[:,::1])", parallel=False)
def _add_rows(rows, places, out):
    """out[places[r]] += rows[r], as np.add.at, number by number."""
    for r in range(places.size):
        row, place = rows[r], out[places[r]]
        for i in range(row.size):
            place[i] += row[i]


# ---------------------------------------------------------------- loss and AdamW


def cross_entropy(logits, targets, count):
    """The sum of -log softmax(logits)[target] / count, and its gradient in the place of the logits."""
    if not suits(logits):
        return loss.cross_entropy(logits, targets, count)
    losses, share = np.zeros(len(logits)), np.float32(1 / count)
    targets = np.ascontiguousarray(np.where(targets == loss.IGNORED, -1, targets), np.int64)
    by_rows(lambda some: _cross_entropy(logits[some], targets[some], share, losses[some]), logits)
    return float(losses.sum()) / count, logits


@kernel("void(f4[:,::1], i8[::1], f4, f8[::1])", parallel=False)
def _cross_entropy(logits, targets, share, losses):
    """Row by row, each of which stays in the cache from its maximum to its gradient."""
    for r in range(targets.size):
        x = logits[r]
        if targets[r] < 0:
            x[:] = 0
            continue
        target = np.uint64(targets[r])
        logit = x[target]
        largest, total = softmax_in_place(x, np.float32(1))
        losses[r] = np.log(np.float64(total)) + np.float64(largest) - np.float64(logit)
        for i in range(x.size):
            x[i] *= share
        x[target] -= share


def adamw_update_all(parameters, lr, betas, eps, t):
    """AdamW for every (p, g, m, v, weight_decay), see optimizer.py.

    The cores share the parameters, large ones in pieces: to wake them for each costs a small model more than it saves.
    """
    beta1, beta2 = betas
    pieces = []
    for p, g, m, v, weight_decay in parameters:
        same_order = p.flags.forc and p.strides == g.strides == m.strides == v.strides
        arrays = [array.ravel(order="K") for array in (p, g, m, v)] if same_order else []  # views, in memory's order
        if not arrays or not all(suits(flat) for flat in arrays):
            adamw.adamw_update(p, g, m, v, lr, betas, eps, weight_decay, t)
            continue
        factors = (1 - beta1, beta2, 1 - lr * weight_decay, lr / (1 - beta1**t), 1 / math.sqrt(1 - beta2**t), eps)
        factors = np.array(factors, np.float32)
        for start in range(0, p.size, SMALL):
            pieces.append([*(flat[start : start + SMALL] for flat in arrays), factors])

    def work(first, last):
        for piece in pieces[first:last]:
            _adamw_update(*piece)

    share_out(work, len(pieces))


@kernel("void(f4[::1], f4[::1], f4[::1], f4[::1], f4[::1])", parallel=False, fastmath=EXACT)
def _adamw_update(p, g, m, v, factors):
    """One pass: each number is read and written once, where NumPy goes through memory with every operation."""
    new1, beta2, keep, step, correction, eps = factors
    for i in range(p.size):
        m[i] += new1 * (g[i] - m[i])
        v[i] = beta2 * v[i] + (np.float32(1) - beta2) * (g[i] * g[i])
        p[i] = keep * p[i] - step * m[i] / (np.sqrt(v[i]) * correction + eps)
