"""The loss that training reduces: how much the next token surprises the model."""

import numpy as np

IGNORED = -100  # a target that does not count, as in PyTorch


def cross_entropy(logits, targets, count):
    """loss = sum_n -log softmax(logits[n])[targets[n]] / count;  logits [N, V], targets [N] -> loss, dlogits [N, V].

    dlogits[n, v] = (softmax(logits[n])[v] - (1 if v is the target else 0)) / count
    replaces the logits in their array: with a vocabulary of 50,257 a second one would be the largest array of all. Rows
    whose target is IGNORED add nothing and have gradient 0. The sum is kept in float64.
    """
    total = 0.0
    for row, target in zip(logits, targets, strict=True):
        if target == IGNORED:
            row[:] = 0
            continue
        row -= row.max()
        logit = row[target]
        np.exp(row, out=row)
        sum_exp = row.sum()
        total += float(np.log(sum_exp) - logit)
        row /= sum_exp * count
        row[target] -= 1 / count
    return total / count, logits
