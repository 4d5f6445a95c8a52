"""The parameter tree: drawn as in the paper, counted, nested and flattened."""

import numpy as np
import pytest
from reference import TINY

from minigpt import GPT2, GPT2Config
from minigpt.params import flatten, nest, zeros_like


def test_random_parameters_are_drawn_as_in_the_paper():
    config = GPT2Config(vocab_size=500, n_positions=100, n_embd=64, n_layer=8, n_head=4, tie_word_embeddings=False)
    params = flatten(GPT2.random(config, seed=3).params)
    assert {name: a.shape for name, a in params.items()} == config.shapes()
    assert sum(a.size for a in params.values()) == config.parameter_count()
    for name, array in params.items():
        assert array.dtype == np.float32
        if name.endswith("bias"):
            assert (array == 0).all()
        elif array.ndim == 1:
            assert (array == 1).all()
        else:
            std = 0.02 / (2 * 8) ** 0.5 if name.endswith("c_proj.weight") else 0.02
            assert abs(array.std() / std - 1) < 0.05
            assert abs(array.mean()) < std * 4 / array.size**0.5
    again = flatten(GPT2.random(config, seed=3, dtype="float64").params)
    assert all(np.array_equal(again[name], array) for name, array in params.items())
    other = flatten(GPT2.random(config, seed=4).params)
    assert not np.array_equal(other["wte.weight"], params["wte.weight"])


def test_unknown_dtype():
    with pytest.raises(ValueError, match="dtype must be one of float32, float64, bfloat16, not 'float16'"):
        GPT2.random(TINY, dtype="float16")


def test_trees_of_any_form():
    tree = {"a": [np.ones((2, 3), np.float32), {"b": np.asfortranarray(np.ones((4, 5)))}], "c": np.ones(2)}
    zeros = zeros_like(tree)
    assert list(flatten(zeros)) == list(flatten(tree)) == ["a.0", "a.1.b", "c"]
    for name, array in flatten(zeros).items():
        like = flatten(tree)[name]
        assert not array.any() and (array.shape, array.dtype, array.strides) == (like.shape, like.dtype, like.strides)
    assert flatten(nest({"h.0.w": 1, "h.1.w": 2, "x": 3})) == {"h.0.w": 1, "h.1.w": 2, "x": 3}
