"""When a text is finished, for every kind of search."""

import inspect

import numpy as np

from minigpt.checks import list_functions, list_texts


def finished_rows(sequences, options, stopping_criteria=()):
    """Return which sequences end with an end-of-text id, or are finished for a criterion;  [N, T] -> bool [N]."""
    finished = (sequences[:, -1:] == np.array(options.eos_token_id, np.int64)).any(axis=1)
    for criterion in stopping_criteria:
        finished |= np.asarray(criterion(sequences), bool)
    return finished


def list_criteria(stopping_criteria=None, stop_strings=None, tokenizer=None):
    """Return the criteria as functions of the sequences. Raises ValueError.

    stopping_criteria: a function or several. stop_strings: a text or several, which end a text that contains them.
    """
    criteria = [_of_sequences(criterion) for criterion in list_functions("stopping_criteria", stopping_criteria)]
    strings = list_texts("stop_strings", stop_strings)
    if not strings:
        return criteria
    if tokenizer is None:
        raise ValueError("stop_strings need the tokenizer, too: generate(ids, stop_strings=..., tokenizer=tokenizer)")
    return [*criteria, ends_with_a_string(strings, tokenizer)]


def _of_sequences(criterion):
    """Return the criterion, or one that gives it None for the scores that those of Hugging Face take, too."""
    try:
        kinds = [p for p in inspect.signature(criterion).parameters.values() if p.default is p.empty]
    except ValueError:  # a function in C has no signature
        return criterion
    positional = [p for p in kinds if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return criterion if len(positional) < 2 else lambda sequences: criterion(sequences, None)


def ends_with_a_string(strings, tokenizer):
    """Return the criterion that a string has been completed by the last token."""
    n_tokens = max(len(string.encode()) for string in strings) + 4  # a token has a byte at least, a character 4 at most

    def criterion(sequences):
        finished = []
        for row in sequences[:, -n_tokens:]:
            before, text = tokenizer.decode(row[:-1]).rstrip("\ufffd"), tokenizer.decode(row)
            finished.append(any(string in text[max(0, len(before) - len(string) + 1) :] for string in strings))
        return finished

    return criterion
