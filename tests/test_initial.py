"""The model and the tokenizer that a training begins with."""

import numpy as np
import pytest
from reference import SHAKESPEARE
from trainings import small_settings

from minigpt import GPT2, Tokenizer
from minigpt.training.initial import initial_model
from minigpt.training.trainer import Training


def test_how_large_a_random_model_begins(tmp_path, training_text):
    training = Training.start(tmp_path / "out", small_settings(training_text, n_embd=64, initializer_range=0.1))
    assert training.model.config.initializer_range == 0.1
    assert abs(training.model.params["wpe"]["weight"].std() / 0.1 - 1) < 0.1


def test_a_model_to_begin_with_comes_with_its_tokenizer(training_text):
    model, tokenizer = initial_model(small_settings(training_text, init=SHAKESPEARE))
    assert np.array_equal(model.params["wte"]["weight"], GPT2.from_pretrained(SHAKESPEARE).params["wte"]["weight"])
    assert tokenizer.encode("To be") == Tokenizer.from_pretrained(SHAKESPEARE).encode("To be")


def test_a_tokenizer_of_another_model(tmp_path, training_text, shakespeare, gpt2_tokenizer):
    shakespeare.save_pretrained(tmp_path / "model")
    gpt2_tokenizer.save_pretrained(tmp_path / "model")
    with pytest.raises(ValueError, match="50257 tokens, the model a vocabulary of 1024"):
        Training.start(tmp_path / "out", small_settings(training_text, init=str(tmp_path / "model")))
