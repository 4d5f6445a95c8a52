"""Random models that read and write letters: a tokenizer for each, in which a letter is a token."""

import string

from reference import lively_model, random_ids

from minigpt import GPT2Config, Tokenizer

LETTERS = string.ascii_letters + string.digits


def letter_tokenizer(model):
    return Tokenizer.of_characters(LETTERS[: model.config.vocab_size])


def random_text(model, length, seed=0):
    return letter_tokenizer(model).decode(random_ids(model, length, seed))


def letter_model(**options):
    config = GPT2Config(**{"n_layer": 3, "n_head": 2, "n_embd": 8, "vocab_size": 30, "n_positions": 16} | options)
    return lively_model(config, seed=3)


def axis_labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]
