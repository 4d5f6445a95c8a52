"""Right solutions of softmax_backward, in the ways that people write it."""

import numpy as np


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


RIGHT = [
    softmax_backward_in_numpy,
    softmax_backward_with_jacobian,
    softmax_backward_in_loops,
    softmax_backward_in_float32,
]
