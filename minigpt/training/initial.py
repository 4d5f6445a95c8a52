"""The model and the tokenizer that a training begins with: loaded, or random with a new tokenizer."""

import tempfile
from dataclasses import replace
from pathlib import Path

from minigpt.bpe import BPE, train_bpe
from minigpt.config import GPT2Config
from minigpt.gpt2 import GPT2
from minigpt.tokenizer import Tokenizer
from minigpt.training.data import end_of_text
from minigpt.training.pieces import text_pieces

SEPARATOR = "<|endoftext|>"  # between texts, one token in every tokenizer


def initial_model(settings):
    """Return the model and the tokenizer to begin with. Raises ValueError, weights_loader.CheckpointError."""
    return _loaded_model(settings) if settings.init else _random_model(settings)


def _loaded_model(settings):
    model = GPT2.from_pretrained(settings.init, ops=settings.ops, dtype="float32")
    tokenizer = Tokenizer.from_pretrained(settings.init)
    if settings.block_size > model.config.n_positions:
        raise ValueError(f"block size {settings.block_size}: the model has {model.config.n_positions} positions")
    end = end_of_text(model.config, tokenizer)
    if settings.data and end is not None and end not in model.config.eos_token_ids:
        # The model learns to end with this token, so generation has to stop at it.
        model.config = replace(model.config, eos_token_id=end)
    return model, tokenizer


def _random_model(settings):
    tokenizer = _new_tokenizer(settings)
    end = tokenizer.eos_token_id
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=settings.block_size,
        n_layer=settings.n_layer,
        n_head=settings.n_head,
        n_embd=settings.n_embd,
        initializer_range=settings.initializer_range,
        bos_token_id=end,
        eos_token_id=end,
    )
    return GPT2.random(config, settings.seed, ops=settings.ops), tokenizer


def _new_tokenizer(settings):
    kind, _, size = settings.tokenizer.partition(":")
    if kind == "gpt2":
        return Tokenizer.from_pretrained("gpt2")
    if kind not in ("char", "bpe") or (kind == "bpe") != size.isdecimal():
        raise ValueError(f"tokenizer must be char, gpt2 or bpe:SIZE, not {settings.tokenizer!r}")
    if not settings.text:
        raise ValueError("pairs need a model to begin with (init), or the tokenizer gpt2")
    if kind == "char":
        characters, has_separator = set(), False
        for path in settings.text:
            before = ""
            for piece in text_pieces(path):
                texts = (before + piece).split(SEPARATOR)
                has_separator |= len(texts) > 1
                before = texts.pop()
                characters.update(*texts, before[: 1 - len(SEPARATOR)])
                before = before[1 - len(SEPARATOR) :]  # may be the beginning of a separator
            characters.update(before)
        if not characters:
            raise ValueError(f"{', '.join(settings.text)}: there is no text")
        return Tokenizer.of_characters(characters, [SEPARATOR] if has_separator else [])
    with tempfile.TemporaryDirectory() as folder:
        BPE(*train_bpe([Path(path) for path in settings.text], int(size))).save_pretrained(folder)
        return Tokenizer.from_pretrained(folder)
