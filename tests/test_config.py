"""The configuration: its counts, and what no model can have."""

import pytest

from minigpt import GPT2Config


@pytest.mark.parametrize(
    ("n_layer", "n_head", "n_embd", "parameters"),
    [
        (12, 12, 768, 124_439_808),
        (24, 16, 1024, 354_823_168),
        (36, 20, 1280, 774_030_080),
        (48, 25, 1600, 1_557_611_200),
        (6, 12, 768, 81_912_576),
    ],
)
def test_parameter_counts_of_the_official_models(n_layer, n_head, n_embd, parameters):
    assert GPT2Config(n_layer=n_layer, n_head=n_head, n_embd=n_embd).parameter_count() == parameters


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"n_embd": 10, "n_head": 3}, "n_embd = 10 cannot be split evenly over n_head = 3"),
        ({"n_layer": 0}, "n_layer must be a positive integer, not 0"),
        ({"n_layer": "12"}, "n_layer must be a positive integer, not '12'"),
        ({"n_positions": 1.5}, "n_positions must be a positive integer"),
        ({"n_inner": -1}, "n_inner must be a positive integer or null"),
        ({"layer_norm_epsilon": 0}, "layer_norm_epsilon must be a positive number"),
        ({"layer_norm_epsilon": float("inf")}, "layer_norm_epsilon must be a positive number"),
        ({"layer_norm_epsilon": float("nan")}, "layer_norm_epsilon must be a positive number"),
        ({"activation_function": "swish"}, "activation_function must be one of gelu_new, gelu, relu, not 'swish'"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings must be true or false"),
        ({"eos_token_id": "end"}, "eos_token_id must be an id, a list of ids or null"),
        ({"n_layer": 10**12}, "asks for .* parameters .* refuses more than 100,000,000,000"),
        ({"n_embd": 12 * 10**9}, "refuses more than"),
    ],
)
def test_impossible_configurations(fields, sentence):
    with pytest.raises(ValueError, match=sentence):
        GPT2Config(**fields)
