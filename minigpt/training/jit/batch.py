"""A batch shared among the cores."""

from minigpt.ops.jit.parallel import outer_parallel_for
from minigpt.params import flatten, zeros_like


def share_batch(work, inputs, targets, grads, rng):
    """Return the sum of work(inputs, targets, grads, rng) over parts of the batch, one part per core.

    work adds to the tree grads, unless that is None. Waking the other cores for every operation costs a small model
    more than it saves: here they wake once per step. Each core has its own gradients, which are added in the order of
    the batch, so that the result is always the same. For a large model they would need too much memory.
    """
    trees, losses, rngs = {0: grads}, {}, rng.spawn(len(inputs)) if rng else [None] * len(inputs)

    def part(first, last):
        if first:
            trees[first] = grads and zeros_like(grads)
        losses[first] = work(inputs[first:last], targets[first:last], trees[first], rngs[first])

    outer_parallel_for(part, len(inputs))
    sums, *others = (flatten(trees[first] or {}) for first in sorted(trees))
    for name, other in ((name, other) for tree in others for name, other in tree.items()):
        sums[name] += other
    return sum(losses[first] for first in sorted(losses))
