"""The tokenizer in a folder, as the tokenizers library runs it: from tokenizer.json, or from older files.

Older folders have vocab.json and merges.txt (byte-level BPE) or vocab.txt (WordPiece), and say in up to three other
files which tokens are added to the vocabulary or special. The rules are those of transformers.
"""

import re

from weights_loader import CheckpointError, read_bytes, read_json

# The library makes room for as many tokens as the largest id says: 2^31 - 1 would take 24 seconds and 8 GB.
MAX_ID = 10**7
DIGITS_AS_ZEROS = bytes.maketrans(b"123456789", b"000000000")
NAMED_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
BYTE_LEVEL_SPECIALS = dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>")
WORD_PIECE_SPECIALS = {name: f"[{name[:-6].upper()}]" for name in NAMED_TOKENS[2:]}


def read_backend(folder):
    """Return the tokenizers.Tokenizer of the files in a folder, a Path. Raises CheckpointError, and what it raises."""
    from tokenizers import Tokenizer

    if (folder / "tokenizer.json").exists():
        backend = Tokenizer.from_buffer(_checked_json(folder / "tokenizer.json"))
        backend.no_truncation()
        backend.no_padding()
        return backend
    settings = _read_optional(folder / "tokenizer_config.json")
    if (folder / "vocab.json").exists():
        backend = _byte_level_bpe(folder, settings)
        add_tokens(backend, folder, settings, BYTE_LEVEL_SPECIALS)
    else:
        backend = _word_piece(folder, settings)
        add_tokens(backend, folder, settings, WORD_PIECE_SPECIALS)
    return backend


def _checked_json(path):
    """Return the bytes of a tokenizer.json. Raises CheckpointError for a number that would exhaust the memory."""
    data = read_bytes(path)
    if _may_have_long_number(data):  # reading all of it twice would take half as long again
        values = read_json(path)
        for ignored in ("truncation", "padding"):
            values.pop(ignored, None)
        _require_small_integers(values, path)
    return data


def _may_have_long_number(data):
    """Return whether eight digits stand where JSON may have a number, not inside a word."""
    runs = re.finditer(b"0" * 8, data.translate(DIGITS_AS_ZEROS))
    before = (data[max(0, run.start() - 9) : run.start()].rstrip(b" \t\r\n-")[-1:] for run in runs)
    return any(character in b":[," for character in before)


def _require_small_integers(value, path):
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            _require_small_integers(inner, path)
    elif isinstance(value, int) and abs(value) > MAX_ID:
        raise CheckpointError(f"{path} has the number {value}; ids and sizes may be at most {MAX_ID:,}")


def _read_optional(path):
    return read_json(path) if path.exists() else {}


def _byte_level_bpe(folder, settings):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    vocab = read_json(folder / "vocab.json")
    _require_small_integers(vocab, folder / "vocab.json")
    lines = read_bytes(folder / "merges.txt").decode().replace("\r\n", "\n").split("\n")
    merges = [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]
    backend = Tokenizer(models.BPE(vocab, merges, continuing_subword_prefix="", end_of_word_suffix=""))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=settings.get("add_prefix_space", False))
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.ByteLevel(trim_offsets=False)
    return backend


def _word_piece(folder, settings):
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    words = read_bytes(folder / "vocab.txt").decode().splitlines()
    vocab = {word.rstrip(): i for i, word in enumerate(words)}
    backend = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(
        lowercase=settings.get("do_lower_case", True),
        strip_accents=settings.get("strip_accents"),
        handle_chinese_chars=settings.get("tokenize_chinese_chars", True),
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    for piece in ("[UNK]", "[SEP]", "[CLS]"):
        if piece not in vocab:
            raise ValueError(f"vocab.txt has no {piece}")
    ends = [(piece, vocab[piece]) for piece in ("[SEP]", "[CLS]")]
    backend.post_processor = processors.BertProcessing(*ends)
    backend.decoder = decoders.WordPiece()
    return backend


def add_tokens(backend, folder, settings, defaults):
    """Add the tokens that the files of a folder add to the vocabulary or call special, in transformers' order.

    settings: tokenizer_config.json; with added_tokens_decoder, it says everything. Otherwise special_tokens_map.json
    names special tokens, and added_tokens.json has the ids of added ones. defaults: the special tokens of this kind of
    tokenizer by name, which count if the vocabulary has them.
    """
    ids = {}
    if "added_tokens_decoder" in settings:
        ids = {fields["content"]: int(i) for i, fields in settings["added_tokens_decoder"].items()}
        added = {fields["content"]: _added_token(fields) for fields in settings["added_tokens_decoder"].values()}
    else:
        settings = settings | _read_optional(folder / "special_tokens_map.json")
        ids = _read_optional(folder / "added_tokens.json")
    known = {name: token for name, token in defaults.items() if backend.token_to_id(token) is not None}
    named = [_added_token(token, special=True) for token in _special_tokens(known | settings)]
    special = {token.content for token in named}
    if "added_tokens_decoder" in settings:
        for token in added.values():
            token.special = token.special or token.content in special
    else:
        from tokenizers import AddedToken

        added = {text: AddedToken(text, normalized=text not in special, special=text in special) for text in ids}
    in_order = sorted(added, key=ids.get)
    backend.add_tokens([*(added[text] for text in in_order), *(token for token in named if token.content not in added)])
    for text, token_id in ids.items():
        if backend.token_to_id(text) != token_id:
            raise ValueError(f"the files give {text!r} the id {token_id}, but the next free id is another")


def _special_tokens(settings):
    """Return what the settings call special: bos_token and the like, a text or the fields of a token, and lists."""
    names = [*NAMED_TOKENS, *(name for name in settings if name.endswith("_token") and name not in NAMED_TOKENS)]
    tokens = [settings[name] for name in names if isinstance(settings.get(name), str | dict)]
    for name in ("additional_special_tokens", "extra_special_tokens"):
        more = settings.get(name) or []
        tokens += more.values() if isinstance(more, dict) else more
    return tokens


def _added_token(fields, special=None):
    """Return the AddedToken of a text, or of the fields that a file gives it."""
    from tokenizers import AddedToken

    if isinstance(fields, str):
        return AddedToken(fields, special=special)
    names = ("lstrip", "rstrip", "single_word", "normalized", "special")
    fields = {name: fields[name] for name in names if name in fields} | {"content": fields["content"]}
    return AddedToken(**fields | ({} if special is None else {"special": special}))
