"""Texts as the tokens that everything here is labelled with."""

from minigpt.model import GPT2


def encode(tokenizer, text):
    """The ids of a text, a list of int. Raises ValueError for a text without a token."""
    ids = tokenizer.encode(text)
    if not ids:
        raise ValueError("the text is empty: there is nothing to look at without at least one token")
    return ids


def token_texts(tokenizer, ids):
    """The text of each id, a list. Half a character is U+FFFD."""
    return [tokenizer.decode([token_id]) for token_id in ids]


def single_token(tokenizer, text, argument):
    """The id of a text that is one token. Raises ValueError, naming the argument."""
    ids = tokenizer.encode(text)
    if len(ids) == 1:
        return ids[0]
    pieces = ", ".join(map(repr, token_texts(tokenizer, ids))) or "nothing"
    hint = ""
    if text and len(tokenizer.encode(f" {text}")) == 1:
        hint = f"; {' ' + text!r}, with the space before it, is one"
    raise ValueError(f"{argument} must be one token, but {text!r} is {len(ids)}: {pieces}{hint}")


def readable(text):
    """A token's text as a label: what cannot be seen becomes a sign. A space is ␣, a line break ↵, a tab ⇥."""
    text = text.replace(" ", "␣").replace("\r\n", "↵").replace("\n", "↵").replace("\t", "⇥")
    return "".join(chr(0x2400 + ord(c)) if ord(c) < 32 else c for c in text)  # ␛ for an escape, which a terminal obeys


def settled(model):
    """The model with operations that stay what they are: two runs of it agree to the last bit.

    Those of ops="auto" change for a large model from the formulas to the kernels as soon as these are ready.
    """
    return GPT2(model.config, model.params, model.ops.ready(), model.name)
