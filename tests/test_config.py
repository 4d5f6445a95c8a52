"""The configuration: its counts, and what no model can have."""

import pytest
import transformers

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


def test_real_configurations_load():
    """Fields as the config.json files of well-known checkpoints have them."""
    official = {
        "activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1,
        "bos_token_id": 50256, "embd_pdrop": 0.1, "eos_token_id": 50256, "initializer_range": 0.02,
        "layer_norm_epsilon": 1e-05, "model_type": "gpt2", "n_ctx": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12,
        "n_positions": 1024, "resid_pdrop": 0.1, "summary_activation": None, "summary_first_dropout": 0.1,
        "summary_proj_to_labels": True, "summary_type": "cls_index", "summary_use_proj": True,
        "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}}, "vocab_size": 50257,
    }  # fmt: skip
    assert GPT2Config.from_dict(official) == GPT2Config()
    chinese = official | {"vocab_size": 21128, "tokenizer_class": "BertTokenizer", "output_past": True}
    assert GPT2Config.from_dict(chinese).vocab_size == 21128
    cerebras = official | {"activation_function": "gelu", "n_inner": 3072, "n_positions": 2048, "torch_dtype": "float16",
                           "scale_attn_weights": True, "use_cache": True, "reorder_and_upcast_attn": False}  # fmt: skip
    assert GPT2Config.from_dict(cerebras).activation_function == "gelu"
    crfm = official | {"scale_attn_by_inverse_layer_idx": True, "reorder_and_upcast_attn": True, "_name_or_path": "x"}
    assert GPT2Config.from_dict(crfm).scale_attn_by_inverse_layer_idx
    assert GPT2Config.from_dict(transformers.GPT2Config().to_dict() | {"add_cross_attention": False}) == GPT2Config()
