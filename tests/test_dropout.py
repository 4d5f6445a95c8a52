"""Dropout."""

import numpy as np
from reference import random_ids

from minigpt import GPT2, GPT2Config
from minigpt.training import loss_and_grads

CONFIG = {"n_layer": 2, "n_head": 2, "n_embd": 6, "vocab_size": 11, "n_positions": 8, "initializer_range": 0.5}


def test_dropout_drops_its_share_and_only_when_asked():
    model = GPT2.random(GPT2Config(**CONFIG), ops="plain")
    inputs, targets = random_ids(model, (2, 4, 8))
    plain, again = (loss_and_grads(model, inputs, targets)[0] for _ in range(2))
    dropped, same, other = (
        loss_and_grads(model, inputs, targets, dropout=0.5, rng=np.random.default_rng(seed))[0] for seed in (1, 1, 2)
    )
    assert plain == again and dropped == same and len({plain, dropped, other}) == 3
