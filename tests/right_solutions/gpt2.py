"""Right solutions of gpt2, in the ways that people write it."""

import numpy as np

from minigpt.ops import plain
from right_solutions.layer_norm import norm_by_elements, norm_by_product, norm_in_float32, norm_with_var
from right_solutions.transformer_block import (
    block_by_einsum,
    block_by_elements,
    block_in_float32,
    block_of_operations,
    block_vectorised,
    in_float32,
)


def gpt2_with(block, norm):
    """gpt2 by a block and a layer norm."""

    def gpt2(ids, params, n_head):
        wte = params["wte"]["weight"]
        x = wte[ids][None] + params["wpe"]["weight"][: len(ids)]
        for each in params["h"]:
            x = block(x, **each, n_head=n_head)
        return norm(x[0], params["ln_f"]["weight"], params["ln_f"]["bias"], 1e-5) @ wte.T

    return gpt2


def gpt2_by_elements(ids, params, n_head):
    """Every token is read anew with all before it, as if it were the last."""
    wte, wpe = params["wte"]["weight"], params["wpe"]["weight"]
    logits = []
    for n in range(1, len(ids) + 1):
        x = np.array([[[wte[i, d] + wpe[t, d] for d in range(wte.shape[1])] for t, i in enumerate(ids[:n])]])
        for each in params["h"]:
            x = block_by_elements(x, **each, n_head=n_head)
        last = norm_by_elements(x[0, -1], params["ln_f"]["weight"], params["ln_f"]["bias"], 1e-5)
        logits.append([sum(last * row) for row in wte])
    return np.array(logits)


def gpt2_in_float32(ids, params, n_head):
    params = in_float32(params)
    return gpt2_with(block_in_float32, norm_in_float32)(ids, params, n_head)


RIGHT = [
    gpt2_by_elements,
    gpt2_with(block_vectorised, norm_with_var),
    gpt2_with(block_by_einsum, norm_by_product),
    gpt2_in_float32,
    gpt2_with(block_of_operations, plain.layer_norm),
]
