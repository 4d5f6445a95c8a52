"""The data of a training in its folder: stored when it starts, read again whenever it is resumed.

A text is stored as token ids, pairs as a copy of their file: a resumed training reads nothing outside its folder.
"""

import shutil

from minigpt.files import write_file
from minigpt.training.data import PairBatches, TextBatches, end_of_text, read_pairs, read_tokens, write_tokens

TOKENS_FILE, VALIDATION_TOKENS_FILE = "tokens.bin", "validation.bin"
PAIRS_FILE, VALIDATION_PAIRS_FILE = "data.jsonl", "validation.jsonl"


def has_data(folder):
    """Return whether a training has stored its data in the folder."""
    return any((folder / name).exists() for name in (TOKENS_FILE, PAIRS_FILE))


def store_data(folder, settings, model, tokenizer):
    """Write the texts or pairs of these settings into the folder. Raises ValueError, OSError."""
    if settings.data:
        _copy(settings.data, folder / PAIRS_FILE)
        if settings.validation:
            _copy(settings.validation, folder / VALIDATION_PAIRS_FILE)
        return
    write_tokens(settings.text, tokenizer, end_of_text(model.config, tokenizer), folder / TOKENS_FILE)
    if settings.validation:
        write_tokens([settings.validation], tokenizer, None, folder / VALIDATION_TOKENS_FILE)


def open_batches(folder, settings, model, tokenizer):
    """Return the batches to train on and those to measure on. Raises ValueError."""
    open_kind = _open_pairs if settings.data else _open_texts
    return open_kind(folder, settings, model.config, tokenizer)


def _open_pairs(folder, settings, config, tokenizer):
    end, beginning = end_of_text(config, tokenizer), config.beginning_token_id

    def read(name, original):
        return read_pairs(folder / name, tokenizer, end, settings.block_size, beginning, display_name=original)

    pairs = read(PAIRS_FILE, settings.data)
    if settings.validation:
        held_out = read(VALIDATION_PAIRS_FILE, settings.validation)
    else:
        n_held_out = max(1, len(pairs) // 10)
        pairs, held_out = pairs[:-n_held_out], pairs[-n_held_out:]
    return (
        PairBatches(pairs, settings.batch_size * settings.grad_accum, settings.seed),
        PairBatches(held_out, settings.batch_size, settings.seed),
    )


def _open_texts(folder, settings, config, tokenizer):
    tokens = read_tokens(folder / TOKENS_FILE, tokenizer)
    if settings.validation:
        held_out = read_tokens(folder / VALIDATION_TOKENS_FILE, tokenizer)
    else:
        n = int(len(tokens) * 0.9)
        tokens, held_out = tokens[:n], tokens[n:]
    end = end_of_text(config, tokenizer)
    return (
        TextBatches(
            tokens,
            settings.batch_size * settings.grad_accum,
            settings.block_size,
            settings.seed,
            "the text to train on",
            end,
        ),
        TextBatches(held_out, settings.batch_size, settings.block_size, settings.seed, "the text to measure on", end),
    )


def _copy(source, target):
    write_file(target, lambda partial: shutil.copyfile(source, partial))
