"""From gradients to better parameters: AdamW, clipping, and the learning rate's course."""

import math
import sys

import numpy as np

from minigpt.params import flatten, zeros_like
from minigpt.training.backward import operations


class AdamW:
    """Adam with decoupled weight decay (Kingma and Ba 2014, algorithm 1; Loshchilov and Hutter 2019, algorithm 2).

    m = beta1 m + (1 - beta1) g                    the gradient's running mean
    v = beta2 v + (1 - beta2) g^2                  and that of its square
    p = p (1 - lr weight_decay) - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)

    Dividing by the root gives every parameter steps of about lr whatever the size of its gradient. m and v begin at 0;
    1 - beta^t makes up for it. As in GPT-1's training (Radford et al. 2018) and nanoGPT's only matrices decay, the
    embeddings among them, not biases and layer norms. ops: the model's set of operations; None: the kernel if
    another part of the program has loaded the kernels, else this formula.
    """

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01, ops=None):
        self.params, self.lr, self.betas, self.eps, self.weight_decay = flatten(params), lr, betas, eps, weight_decay
        self.m, self.v = flatten(zeros_like(params)), flatten(zeros_like(params))
        self.t = 0
        self.ops = ops

    def step(self, grads, lr=None):
        """Change the parameters in place by their gradients, with this step's learning rate."""
        self.t += 1
        lr = self.lr if lr is None else lr
        grads = flatten(grads)
        parameters = [
            (p, grads[name], self.m[name], self.v[name], self.weight_decay if p.ndim > 1 else 0.0)
            for name, p in self.params.items()
        ]
        ops = operations(self.ops or sys.modules.get("minigpt.ops.jit"))
        getattr(ops, "adamw_update_all", adamw_update_all)(parameters, lr, self.betas, self.eps, self.t)


def adamw_update_all(parameters, lr, betas, eps, t):
    """One step of AdamW for every parameter, given as (p, g, m, v, weight_decay)."""
    for p, g, m, v, weight_decay in parameters:
        adamw_update(p, g, m, v, lr, betas, eps, weight_decay, t)


def adamw_update(p, g, m, v, lr, betas, eps, weight_decay, t):
    """One step of AdamW, see there, for one parameter; p, m and v change in place."""
    beta1, beta2 = betas
    m += (1 - beta1) * (g - m)
    v *= beta2
    v += (1 - beta2) * (g * g)
    p *= 1 - lr * weight_decay
    p -= lr / (1 - beta1**t) * m / (np.sqrt(v) / math.sqrt(1 - beta2**t) + eps)


def clip_by_global_norm(grads, max_norm):
    """Scale all gradients in place so that their common length is at most max_norm; returns the length before.

    norm = sqrt(sum of the squares of all gradients): the direction stays (Pascanu et al. 2013, algorithm 1).
    """
    arrays = flatten(grads).values()
    # Each array's sum in its own dtype, by BLAS; a view in memory's order, as dot wants it.
    norm = math.sqrt(sum(float(np.dot(a, a)) for a in (array.ravel(order="K") for array in arrays)))
    if norm > max_norm:
        for array in arrays:
            array *= max_norm / (norm + 1e-6)
    return norm


def learning_rate(step, steps, lr, min_lr, warmup):
    """Up in a straight line for `warmup` steps, then down to min_lr along half a cosine; step counts from 0."""
    if step < warmup:
        return lr * (step + 1) / (warmup + 1)
    progress = min(1.0, (step - warmup) / max(1, steps - warmup))
    return min_lr + 0.5 * (1 + math.cos(math.pi * progress)) * (lr - min_lr)
