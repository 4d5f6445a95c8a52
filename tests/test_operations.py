"""What a set of operations says of itself, and which gradients follow from it."""

import subprocess
import sys

import numpy as np
import pytest

from minigpt import GPT2, GPT2Config
from minigpt.ops import choose_ops, formulas, plain
from minigpt.ops.operations import RESULT_SHAPES, Operations
from minigpt.training.backend import PLAIN_TRAINING, training_operations

CONFIG = GPT2Config(n_layer=1, n_head=2, n_embd=8)


def test_formulas_and_kernels_have_the_same_operations():
    kernels = choose_ops("jit", CONFIG)
    assert (formulas.name, formulas.compiled, kernels.name, kernels.compiled) == ("plain", False, "jit", True)
    assert formulas.functions().keys() == kernels.functions().keys() == RESULT_SHAPES.keys()
    assert formulas.functions() == {name: getattr(plain, name) for name in RESULT_SHAPES}
    assert formulas.ready() is formulas and kernels.ready() is kernels


def test_gradients_follow_the_operations():
    kernels = training_operations(choose_ops("jit", CONFIG))
    assert training_operations(formulas) is PLAIN_TRAINING
    for name in vars(PLAIN_TRAINING):
        assert callable(getattr(kernels, name)), name


def test_a_set_or_its_name_makes_a_model():
    params = GPT2.random(CONFIG).params
    own = Operations("own", formulas.functions() | {"softmax": lambda x, axis=-1: x})
    assert GPT2(CONFIG, params).ops is formulas
    assert GPT2(CONFIG, params, "jit").ops.compiled
    assert GPT2(CONFIG, params, own).ops is own
    with pytest.raises(ValueError, match='ops must be "plain", "jit" or "auto", not 3'):
        GPT2(CONFIG, params, 3)


def test_formulas_import_no_kernels():
    script = """
import sys
from minigpt import GPT2
from minigpt.training import AdamW, loss_and_grads
model = GPT2.from_pretrained("stories", ops="plain")
loss, grads = loss_and_grads(model, [[1, 2]], [[2, 3]])
AdamW(model.params, ops=model.ops).step(grads)
assert "numba" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_model_on_its_own_set_of_operations_uses_it():
    model = GPT2.random(CONFIG, ops="plain")
    zero = Operations("zero", formulas.functions() | {"attention": lambda q, k, v, *_: np.zeros_like(q)})
    own = GPT2(CONFIG, model.params, zero)
    assert not np.array_equal(own([1, 2]), model([1, 2]))
