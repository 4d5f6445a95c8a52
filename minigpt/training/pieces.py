"""Texts in pieces that can be encoded one by one: they may be larger than memory, or one line without a space."""

import codecs

from minigpt.tokenizer import UnknownCharacterError

PIECE_BYTES = 2**16  # of a file to read at a time: with a megabyte the tokenizer is half as fast
CONTEXT = 128  # characters on either side of a cut that decide whether it changes the tokens
MAX_TRIES = 30  # places to try, of those at a space and of all


def text_pieces(path, tokenizer=None, n_bytes=PIECE_BYTES):
    """Yield the text of a file in pieces, see cut_up. Raises ValueError if it is not UTF-8."""
    return cut_up(_decoded(path, n_bytes), tokenizer)


def cut_up(chunks, tokenizer=None):
    """Yield a text that comes in chunks in pieces that have, one by one, the tokens of the whole text.

    Without a tokenizer a piece is a chunk. Of a word of more than CONTEXT characters, such as DNA, the tokens at a cut
    may differ: byte-level BPE would need all of it to know them.
    """
    rest = ""
    for chunk in chunks:
        rest += chunk
        if cut := len(rest) if tokenizer is None else _find_cut(rest, tokenizer, len(chunk)):
            yield rest[:cut]
            rest = rest[cut:]
    if rest:
        yield rest


def chunks_of(text):
    """Yield a text in chunks for cut_up."""
    for start in range(0, len(text), PIECE_BYTES):
        yield text[start : start + PIECE_BYTES]


def _find_cut(text, tokenizer, n_new):
    """Return where to cut a text, as near to its end as possible, or 0 to wait for more of it."""
    last = len(text) - CONTEXT
    first = max(1, last - n_new)
    spaces = [i for i in range(last, first, -1) if text[i] in " \n" and not text[i - 1].isspace()]
    anywhere = range(last, CONTEXT, -1)
    for cut in (*spaces[:MAX_TRIES], *anywhere[:MAX_TRIES]):
        if _is_harmless(text, cut, tokenizer):
            return cut
    return last if len(text) > 4 * PIECE_BYTES else 0


def _is_harmless(text, cut, tokenizer):
    """Return whether the tokens around a cut are the same with it and without it.

    That depends on the kind of tokenizer: on what separates words, on added tokens that have a space in them or take
    the spaces beside them, on a space that is put before a text. So we ask the tokenizer.
    """
    left, right = text[max(0, cut - CONTEXT) : cut], text[cut : cut + CONTEXT]
    try:
        return tokenizer.encode(left) + tokenizer.encode(right) == tokenizer.encode(left + right)
    except UnknownCharacterError:  # whoever encodes the piece will say so
        return True


def _decoded(path, n_bytes):
    """Yield the text of a UTF-8 file, without a byte order mark. Raises ValueError."""
    decoder, n_read = codecs.getincrementaldecoder("utf-8")(), 0
    is_beginning = True
    with open(path, "rb") as file:
        chunk = None
        while chunk != b"":
            chunk = file.read(n_bytes)
            if n_read == 0:
                require_no_utf16(path, chunk)
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                # error.object is this chunk, after what the decoder kept of earlier ones.
                wrong = n_read + len(chunk) - len(error.object) + error.start
                raise ValueError(f"{path} is not UTF-8 text (byte {wrong})") from error
            n_read += len(chunk)
            if text and is_beginning:
                text, is_beginning = text.removeprefix("\ufeff"), False
            yield text


def require_no_utf16(path, beginning):
    """Raise ValueError if the first bytes of a file say that it is UTF-16, as some Windows programs save texts."""
    if beginning.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError(f"{path} is UTF-16 text: save it as UTF-8")
