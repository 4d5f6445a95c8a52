"""Right solutions of adamw, in the ways that people write it."""

import math

import numpy as np


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


RIGHT = [adamw_in_numpy, adamw_in_loops, adamw_with_corrected_rate, adamw_in_float32]
