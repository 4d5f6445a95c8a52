"""Training: the loss, its gradients by hand, and what makes the parameters better with them."""

from minigpt.training.backward import IGNORED
from minigpt.training.loss import loss_and_grads
from minigpt.training.optimizer import AdamW, clip_by_global_norm, learning_rate

__all__ = ["IGNORED", "AdamW", "clip_by_global_norm", "learning_rate", "loss_and_grads"]
