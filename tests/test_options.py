"""The options of generation: their checks, and the ids that come from the model's configuration."""

import numpy as np
import pytest
from reference import lively_model
from transformers_generation import TINY_CONFIG

from minigpt import GPT2Config


@pytest.fixture
def model():
    return lively_model(TINY_CONFIG, seed=0)


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        ({"max_new_tokens": -1}, "max_new_tokens must be an integer, at least 0, not -1"),
        ({"max_new_tokens": 2.0}, "max_new_tokens must be an integer"),
        (
            {"temperature": 0.0},
            "temperature must be a number from 1e-6 to 1e6 .greedy search is do_sample=False., not 0.0",
        ),
        ({"temperature": float("nan")}, "temperature must be a number from"),
        ({"top_k": -1}, "top_k must be an integer, at least 0"),
        ({"top_p": 1.5}, "top_p must be a number from 0 to 1"),
        ({"min_p": -0.1}, "min_p must be a number from 0 to 1"),
        ({"typical_p": "x"}, "typical_p must be a number from 0 to 1"),
        ({"repetition_penalty": 0}, "repetition_penalty must be a number from 0.01 to 100"),
        ({"no_repeat_ngram_size": -1}, "no_repeat_ngram_size must be an integer"),
        ({"num_beams": 0}, "num_beams must be an integer, at least 1"),
        ({"early_stopping": "always"}, "early_stopping must be True, False or"),
        ({"length_penalty": float("inf")}, "length_penalty must be a number from -10 to 10"),
        ({"seed": -1}, "seed must be an integer, at least 0, or None"),
        ({"cache_dtype": "bfloat16"}, 'cache_dtype must be "float16", or None .the model.s dtype., not .bfloat16.'),
        ({"do_sample": "no"}, "do_sample must be True or False, not 'no'"),
        ({"eos_token_id": "abc"}, "eos_token_id must be an id, a list of ids or None"),
        ({"eos_token_id": [1.5]}, "eos_token_id must be an id, a list of ids or None"),
        ({"pad_token_id": 1.7}, "pad_token_id must be an id, not 1.7"),
        ({"num_return_sequences": 2}, "greedy search has one result"),
        ({"num_return_sequences": 3, "num_beams": 2}, "num_return_sequences = 3 needs as many beams"),
        (
            {"num_return_sequences": 3, "num_beams": 2, "do_sample": True},
            "num_return_sequences = 3 needs as many beams",
        ),
        ({"prompt_lookup_num_tokens": 0}, "prompt_lookup_num_tokens must be an integer, at least 1, not 0"),
        ({"prompt_lookup_num_tokens": 2.5}, "prompt_lookup_num_tokens must be an integer, at least 1, not 2.5"),
        ({"max_matching_ngram_size": 0}, "max_matching_ngram_size must be an integer, at least 1, not 0"),
        ({"num_beams": 60, "eos_token_id": list(range(50))}, "too much for 50 tokens"),
    ],
)
def test_bad_options(model, bad, sentence):
    with pytest.raises(ValueError, match=sentence):
        model.generate([1, 2], **bad)


def test_an_unknown_option_is_named(model):
    with pytest.raises(TypeError, match="top_kk"):
        model.generate([1, 2], top_kk=3)


def test_padding_is_always_an_id_of_the_vocabulary():
    # As in Chinese GPT-2 models: the config has the ids of the English one, beyond its smaller vocabulary.
    config = GPT2Config(vocab_size=50, n_positions=24, n_embd=12, n_layer=1, n_head=3, initializer_range=0.5)
    assert config.eos_token_id == 50256
    model = lively_model(config, seed=0)
    assert model.generate([[1, 2], [3]], max_new_tokens=3)[1, 0] == 0
    end = int(model.generate([1, 2], max_new_tokens=1)[0, -1])
    ended = model.generate([[1, 2], [3, 4]], max_new_tokens=9, eos_token_id=[50256, end], do_sample=True, seed=1)
    assert ended.max() < 50
    with pytest.raises(ValueError, match="pad_token_id must be an id in the vocabulary of 50, not 50256"):
        model.generate([1, 2], pad_token_id=50256)


def test_eos_token_id_may_be_an_array(model):
    ended = model.generate([1, 2], max_new_tokens=9, eos_token_id=np.arange(50))
    assert ended.shape == (1, 3)
