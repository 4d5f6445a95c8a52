"""Right solutions of layer_norm_backward, in the ways that people write it."""

import math

import numpy as np


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


RIGHT = [
    layer_norm_backward_in_numpy,
    layer_norm_backward_step_by_step,
    layer_norm_backward_in_loops,
    layer_norm_backward_with_jacobian,
    layer_norm_backward_in_float32,
]
