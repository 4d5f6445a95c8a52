"""The loss and its gradient by a kernel."""

import numpy as np

from minigpt.ops.jit.arrays import is_kernel_ready
from minigpt.ops.jit.compile import kernel
from minigpt.ops.jit.parallel import parallel_for_rows
from minigpt.ops.jit.softmax import softmax_in_place
from minigpt.training import loss as plain


def cross_entropy(logits, targets, count):
    """Return the sum of -log softmax(logits)[target] / count, and its gradient in the place of the logits."""
    if not is_kernel_ready(logits):
        return plain.cross_entropy(logits, targets, count)
    losses, share = np.zeros(len(logits)), np.float32(1 / count)
    targets = np.ascontiguousarray(np.where(targets == plain.IGNORED, -1, targets), np.int64)
    parallel_for_rows(lambda x, t, losses: cross_entropy_kernel(x, t, share, losses), logits, targets, losses)
    return float(losses.sum()) / count, logits


@kernel("void(f4[:,::1], i8[::1], f4, f8[::1])", parallel=False)
def cross_entropy_kernel(logits, targets, share, losses):
    """Row by row: each stays in the cache from its maximum to its gradient. A target below 0 does not count."""
    for r in range(targets.size):
        x = logits[r]
        if targets[r] < 0:
            x[:] = 0
            continue
        target = np.uint64(targets[r])
        logit = x[target]
        largest, total = softmax_in_place(x, np.float32(1))
        losses[r] = np.log(np.float64(total)) + np.float64(largest) - np.float64(logit)
        for i in range(x.size):
            x[i] *= share
        x[target] -= share
