"""Training: the loss, its gradients by hand, and the optimizer that makes the parameters better with them."""

from minigpt.training.gradients import loss_and_grads
from minigpt.training.loss import IGNORED
from minigpt.training.optimizer import AdamW, clip_by_global_norm
from minigpt.training.schedule import learning_rate

__all__ = ["IGNORED", "AdamW", "clip_by_global_norm", "learning_rate", "loss_and_grads"]
