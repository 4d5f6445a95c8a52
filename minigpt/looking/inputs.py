"""The texts and models that the functions of looking take."""

import copy

from minigpt.checks import is_integer, require_integer


def encode_text(tokenizer, text):
    """Return the ids of a text, a list of int. Raises ValueError for a text without a token."""
    ids = tokenizer.encode(text)
    if not ids:
        raise ValueError("the text is empty: there is nothing to look at without at least one token")
    return ids


def single_token_id(tokenizer, text, argument):
    """Return the id of a text that is one token. Raises ValueError, naming the argument."""
    ids = tokenizer.encode(text)
    if len(ids) == 1:
        return ids[0]
    tokens = ", ".join(repr(tokenizer.token_text(token_id)) for token_id in ids) or "nothing"
    hint = ""
    if text and len(tokenizer.encode(f" {text}")) == 1:
        hint = f"; {' ' + text!r}, with the space before it, is one"
    raise ValueError(f"{argument} must be one token, but {text!r} is {len(ids)}: {tokens}{hint}")


def token_id_of(tokenizer, token, argument, vocab_size):
    """Return the id of a token that is given as its text or as an id. Raises ValueError, naming the argument."""
    if is_integer(token):
        require_integer(argument, token, 0, vocab_size - 1)
        return int(token)
    if not isinstance(token, str):
        raise ValueError(f"{argument} must be the text of a token or an id, not {token!r}")
    return single_token_id(tokenizer, token, argument)


def with_fixed_ops(model):
    """Return the model with operations that do not change between two runs, so that both agree to the last bit.

    With ops="auto", a large model changes from the formulas to the kernels as soon as these are compiled.
    """
    fixed = copy.copy(model)  # keeps the edits of an edited model
    fixed.ops = model.ops.ready()
    return fixed
