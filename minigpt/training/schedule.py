"""How the learning rate changes during a training."""

import math


def learning_rate(step: int, steps: int, lr: float, min_lr: float, warmup: int) -> float:
    """Return the learning rate of a step, counted from 0: up linearly for `warmup` steps, then down to
    min_lr along half a cosine."""
    if step < warmup:
        return lr * (step + 1) / (warmup + 1)
    progress = min(1.0, (step - warmup) / max(1, steps - warmup))
    return min_lr + 0.5 * (1 + math.cos(math.pi * progress)) * (lr - min_lr)
