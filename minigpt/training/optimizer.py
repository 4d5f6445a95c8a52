"""Update parameters by their gradients: AdamW and clipping, for any tree of arrays."""

import math

import numpy as np

from minigpt.checks import is_number, require, require_number, require_type
from minigpt.ops import Operations, formulas
from minigpt.params import flatten, zeros_like
from minigpt.training.backend import training_operations


class AdamW:
    """Adam with decoupled weight decay (Kingma and Ba 2014; Loshchilov and Hutter 2019): the formula is in adamw.py.

    Dividing by the root of v gives every parameter steps of about lr, whatever the size of its gradient. Only matrices
    decay, the embeddings among them, not biases and layer norms, as in GPT-1 (Radford et al. 2018) and nanoGPT.

    params: nested dicts or lists of float arrays, which `step` changes in place. ops: the model's operations,
    model.ops; if they are compiled, so is the update, for float32. By default the formula computes it. Raises
    ValueError for a parameter that is not a float array.
    """

    def __init__(
        self,
        params: dict | list,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        ops: Operations = formulas,
    ):
        require_type("params", params, (dict, list), "a tree of arrays")
        require_number("lr", lr, 0, 1e30, "a number, at least 0")
        require_number("eps", eps, 0, 1, "a number from 0 to 1")
        require_number("weight_decay", weight_decay, 0, 1e30, "a number, at least 0")
        is_valid = (
            isinstance(betas, tuple | list) and len(betas) == 2 and all(is_number(b) and 0 <= b < 1 for b in betas)
        )
        require(is_valid, "betas", betas, "two numbers from 0 to below 1")
        self.params = flatten(params)
        for name, p in self.params.items():
            if not isinstance(p, np.ndarray) or p.dtype.kind != "f":
                found = p.dtype if isinstance(p, np.ndarray) else type(p).__name__
                raise ValueError(f"parameter {name!r} must be a NumPy array of floats, not {found}")
        self.lr = lr
        self.betas = betas
        self.eps = eps
        self.weight_decay = weight_decay
        self.m = flatten(zeros_like(params))
        self.v = flatten(zeros_like(params))
        self.t = 0
        self.ops = ops

    def step(self, grads: dict | list, lr: float | None = None) -> None:
        """Change the parameters in place by their gradients, a tree like params, with this step's learning rate."""
        grads = flatten(grads)
        if grads.keys() != self.params.keys():
            name = min(grads.keys() ^ self.params.keys())
            raise ValueError(f"the gradients must form a tree like the parameters; {name!r} is in only one of them")
        self.t += 1
        lr = self.lr if lr is None else lr
        parameters = [
            (p, grads[name], self.m[name], self.v[name], self.weight_decay if p.ndim > 1 else 0.0)
            for name, p in self.params.items()
        ]
        training_operations(self.ops.ready()).adamw_update_all(parameters, lr, self.betas, self.eps, self.t)


def clip_by_global_norm(grads: dict | list, max_norm: float) -> float:
    """Scale all gradients in place so that their joint norm is at most max_norm; return the norm before.

    norm = sqrt(sum of the squares of all gradients): the direction stays (Pascanu et al. 2013, algorithm 1).
    """
    require_number("max_norm", max_norm, 0, 1e30, "a number, at least 0")
    arrays = flatten(grads).values()
    for array in arrays:
        require(isinstance(array, np.ndarray) and array.dtype.kind == "f", "grads", array, "a tree of arrays of floats")
    # BLAS sums each array in its own dtype. order="K" makes a view in memory order, not a copy.
    norm = math.sqrt(sum(float(np.dot(a, a)) for a in (array.ravel(order="K") for array in arrays)))
    if norm > max_norm:
        for array in arrays:
            array *= max_norm / (norm + 1e-6)
    return norm
