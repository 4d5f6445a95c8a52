"""Training: the loss, its gradients by hand, and the optimizer that updates the parameters with them."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minigpt.training.gradients import loss_and_grads
    from minigpt.training.loss import IGNORED
    from minigpt.training.optimizer import AdamW, clip_by_global_norm
    from minigpt.training.schedule import learning_rate

_HOMES = {
    "IGNORED": "minigpt.training.loss",
    "loss_and_grads": "minigpt.training.gradients",
    "AdamW": "minigpt.training.optimizer",
    "clip_by_global_norm": "minigpt.training.optimizer",
    "learning_rate": "minigpt.training.schedule",
}
__all__ = ["IGNORED", "AdamW", "clip_by_global_norm", "learning_rate", "loss_and_grads"]


def __getattr__(name):
    # Names are imported when first used: `minigpt train --help` reads settings.py and must not wait for NumPy.
    if name not in _HOMES:
        raise AttributeError(f"module 'minigpt.training' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__():
    return sorted([*globals(), *_HOMES])
