"""One step of AdamW, as formulas."""

import math

import numpy as np


def adamw_update_all(parameters, lr, betas, eps, t):
    """Update every parameter by one step of AdamW, given as (p, g, m, v, weight_decay)."""
    for p, g, m, v, weight_decay in parameters:
        adamw_update(p, g, m, v, lr, betas, eps, weight_decay, t)


def adamw_update(p, g, m, v, lr, betas, eps, weight_decay, t):
    """Update one parameter by one step of AdamW; p, g, m, v of one shape. p, m and v change in place.

    m = beta1 m + (1 - beta1) g                    the gradient's running mean
    v = beta2 v + (1 - beta2) g^2                  the running mean of its square
    p = p (1 - lr weight_decay) - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)

    t counts the steps from 1. m and v begin at 0; 1 - beta^t corrects for that. Kingma and Ba 2014, algorithm 1;
    Loshchilov and Hutter 2019, algorithm 2.
    """
    beta1, beta2 = betas
    m += (1 - beta1) * (g - m)
    v *= beta2
    v += (1 - beta2) * (g * g)
    p *= 1 - lr * weight_decay
    p -= lr / (1 - beta1**t) * m / (np.sqrt(v) / math.sqrt(1 - beta2**t) + eps)
