"""The options of generation: their checks, and the ids that come from the model's configuration."""

import inspect

import numpy as np
import pytest
import transformers
from reference import lively_model
from transformers import TextStreamer
from transformers_generation import TINY_CONFIG

from minigpt import GenerationConfig, GPT2Config
from minigpt.generation import generate
from minigpt.generation.options import ARGUMENTS, ELSEWHERE


@pytest.fixture
def model():
    return lively_model(TINY_CONFIG, seed=0)


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        ({"max_new_tokens": -1}, "max_new_tokens must be an integer, at least 0, not -1"),
        ({"max_new_tokens": 2.0}, "max_new_tokens must be an integer"),
        ({"max_length": 2}, "max_length = 2 leaves no room: the prompt alone has 2 tokens"),
        ({"max_length": 0}, "max_length must be an integer, at least 1, not 0"),
        ({"min_new_tokens": -1}, "min_new_tokens must be an integer, at least 0"),
        ({"min_length": 30}, "at least 28 new tokens are asked for, and at most 20"),
        ({"epsilon_cutoff": 2}, "epsilon_cutoff must be a number from 0 to 1"),
        ({"eta_cutoff": "x"}, "eta_cutoff must be a number from 0 to 1"),
        ({"suppress_tokens": 3}, "suppress_tokens must be a list of ids, or None, not 3"),
        ({"suppress_tokens": [50]}, "suppress_tokens has 50, which is no id in the vocabulary of 50"),
        ({"bad_words_ids": [3]}, "bad_words_ids must be a list of lists of ids"),
        ({"bad_words_ids": [[]]}, "bad_words_ids must be a list of lists of ids"),
        ({"bad_words_ids": [[3, -1]]}, "bad_words_ids has -1, which is no id in the vocabulary of 50"),
        ({"renormalize_logits": 1}, "renormalize_logits must be True or False"),
        ({"logits_processor": 1}, "logits_processor must be a function or a list of functions"),
        ({"logits_processor": lambda ids, scores: scores[0]}, "a logits_processor must return scores of shape .1, 50."),
        ({"stopping_criteria": [1]}, "stopping_criteria must be a function or a list of functions, not 1"),
        ({"stop_strings": "a"}, "stop_strings need the tokenizer, too"),
        ({"stop_strings": [""], "tokenizer": 1}, "stop_strings must be a text or a list of texts, none of them empty"),
        ({"input_ids": [1]}, "give the ids of the prompt, as the first argument or as input_ids"),
        ({"use_cache": False}, "generation always keeps keys and values .use_cache=True.; model.ids. computes without"),
        ({"output_scores": True}, "output_scores and output_logits need return_dict_in_generate=True"),
        ({"output_scores": True, "return_dict_in_generate": True, "num_beams": 2}, "scores are kept in greedy search"),
        ({"streamer": print}, "streamer must be an object with put and end, not <built-in function print>"),
        ({"streamer": TextStreamer(None), "num_beams": 2}, "a streamer cannot show beams"),
        ({"eos_token_id": 2**70}, "eos_token_id must be an id, a list of ids or None"),
        ({"top_p": 0.5j}, "top_p must be a number from 0 to 1, or None, not 0.5j"),
        ({"epsilon_cutoff": 10**400}, "epsilon_cutoff must be a number from 0 to 1, or None, not 1000.* [.]{3} 0000"),
        ({"attention_mask": [["a", "b"]]}, "attention_mask must be an array .B, T. of 0 and 1, not"),
        ({"attention_mask": [[np.nan, 1.0]]}, "attention_mask must be an array .B, T. of 0 and 1, not"),
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


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("top_kk", "there is no option top_kk; did you mean top_k?"),
        ("temperatur", "there is no option temperatur; did you mean temperature?"),
        ("stoping_criteria", "there is no option stoping_criteria; did you mean stopping_criteria?"),
        ("xyz", "there is no option xyz; the options are max_new_tokens, max_length, "),
        ("penalty_alpha", "minigpt has no option penalty_alpha: typical_p, "),
        ("num_beam_groups", "minigpt has no option num_beam_groups: num_return_sequences"),
        ("generation_config", "minigpt has no option generation_config: give its fields as options"),
    ],
)
def test_an_unknown_option_is_named(model, name, sentence):
    for call in (model.generate, model.stream):
        with pytest.raises(ValueError) as caught:
            call([1, 2], **{name: 3})
        assert str(caught.value).startswith(sentence)


def test_arguments_of_generate():
    parameters = inspect.signature(generate).parameters.keys()
    assert set(ARGUMENTS) == parameters - {"model", "ids", "options"}


def test_every_option_of_transformers_is_known(model):
    known = vars(GenerationConfig()).keys() | inspect.signature(generate).parameters.keys() | ELSEWHERE.keys()
    # What configures how transformers runs, not what it generates.
    machinery = {
        "assistant_confidence_threshold", "assistant_early_exit", "assistant_ensemble_weight", "assistant_lookbehind",
        "bos_token_id", "cache_config", "cache_implementation", "compile_config", "continuous_batching_config", "decoder_start_token_id",
        "disable_compile", "dola_layers", "encoder_no_repeat_ngram_size", "encoder_repetition_penalty",
        "forced_bos_token_id", "is_assistant", "low_memory", "max_cache_len", "num_assistant_tokens", "num_assistant_tokens_schedule",
        "prefill_chunk_size", "remove_invalid_values", "speculation_type", "target_lookbehind", "token_healing", "transformers_version", "use_mtp",
    }  # fmt: skip
    theirs = {name for name in vars(transformers.GenerationConfig()) if not name.startswith("_")}
    assert theirs - known - machinery == set()


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
