"""The texts and models that the functions of looking take."""

import copy


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
    tokens = ", ".join(repr(tokenizer.decode([token_id])) for token_id in ids) or "nothing"
    hint = ""
    if text and len(tokenizer.encode(f" {text}")) == 1:
        hint = f"; {' ' + text!r}, with the space before it, is one"
    raise ValueError(f"{argument} must be one token, but {text!r} is {len(ids)}: {tokens}{hint}")


def with_fixed_ops(model):
    """Return the model with operations that do not change between two runs, so that both agree to the last bit.

    With ops="auto", a large model changes from the formulas to the kernels as soon as these are compiled.
    """
    fixed = copy.copy(model)  # keeps the edits of an edited model
    fixed.ops = model.ops.ready()
    return fixed
