"""Text to token ids and back, with the tokenizers library. How they work inside is another module's story."""

import json
from pathlib import Path


class Tokenizer:
    """The tokenizer of a checkpoint.

    >>> tokenizer = Tokenizer.from_pretrained("gpt2")
    >>> tokenizer.encode("Hello world")
    [15496, 995]
    """

    def __init__(self, backend):
        self.backend = backend  # a tokenizers.Tokenizer

    @classmethod
    def from_pretrained(cls, name, *, revision=None, local_files_only=False):
        """The tokenizer of a model, by the names that GPT2.from_pretrained takes.

        Reads tokenizer.json, or vocab.json and merges.txt (byte-level BPE), or vocab.txt (WordPiece, as Chinese GPT-2
        have). Raises weights_loader.CheckpointError.
        """
        import weights_loader
        from minigpt.bundled import bundled_folder

        folder = bundled_folder(name) or weights_loader.locate_tokenizer(name, revision, local_files_only)
        try:
            return cls(_read_backend(Path(folder)))
        except weights_loader.CheckpointError:
            raise
        except Exception as error:  # the library raises plain Exception for anything wrong in a file
            raise weights_loader.CheckpointError(f"the tokenizer in {folder} cannot be read: {error}") from error

    @classmethod
    def of_characters(cls, characters):
        """A tokenizer whose tokens are these characters, in their order."""
        import tokenizers

        backend = tokenizers.Tokenizer(tokenizers.models.WordLevel({c: i for i, c in enumerate(sorted(characters))}))
        backend.pre_tokenizer = tokenizers.pre_tokenizers.Split(tokenizers.Regex(r"[\s\S]"), "isolated")
        backend.decoder = tokenizers.decoders.Fuse()
        return cls(backend)

    def __len__(self):
        return self.backend.get_vocab_size()

    def encode(self, text, add_special_tokens=False):
        """The ids of a text, a list of int.

        add_special_tokens adds those that some put around a text ([CLS] and [SEP] of WordPiece; GPT-2 has none).
        Raises ValueError for a character that a tokenizer of characters does not have.
        """
        try:
            return self.backend.encode(text, add_special_tokens=add_special_tokens).ids
        except Exception as error:  # the library raises nothing else
            unknown = next((c for c in text if self.backend.token_to_id(c) is None), None)
            if "[UNK]" not in str(error) or unknown is None:
                raise
            raise ValueError(f"the tokenizer has no token for the character {unknown!r}") from error

    def decode(self, ids, skip_special_tokens=False):
        """The text of ids. Bytes that are no valid UTF-8, such as half a character, become U+FFFD."""
        return self.backend.decode([int(i) for i in ids], skip_special_tokens=skip_special_tokens)

    def batch_decode(self, rows, skip_special_tokens=False):
        """The texts of several rows of ids, [N, T] or a list of lists."""
        return [self.decode(row, skip_special_tokens) for row in rows]

    def pieces(self, ids):
        """Each id's entry in the vocabulary, as it is written there (in byte-level BPE a space is Ġ)."""
        return [self.backend.id_to_token(int(i)) for i in ids]

    def token_id(self, piece):
        """The id of an entry of the vocabulary, or None."""
        return self.backend.token_to_id(piece)

    def save_pretrained(self, folder):
        """Write tokenizer.json, which from_pretrained and transformers load back."""
        from weights_loader import write_file

        write_file(Path(folder) / "tokenizer.json", lambda path: self.backend.save(str(path)))

    def text_stream(self, skip_special_tokens=True, after=()):
        """A TextStream: ids in, one at a time, whole characters out. after: ids of the text before, already shown."""
        return TextStream(self.backend, skip_special_tokens, after)


class TextStream:
    """Decodes ids as they come. Never gives out half a character: Chinese and emoji span several tokens.

    All that `add` and `finish` return, put together, is what `decode` makes of all the ids.
    """

    def __init__(self, backend, skip_special_tokens, after):
        from tokenizers.decoders import DecodeStream

        self.backend = backend
        self.skip_special_tokens = skip_special_tokens
        self.stream = DecodeStream(skip_special_tokens=skip_special_tokens)
        self.ids = []
        self.length = 0  # of the text given out
        self.ahead = ""
        for token_id in after:
            self.add(token_id)
        # Of the text before, what looks like half a character and so still waits in the stream, but has been shown.
        self.ahead = self.finish()
        self.length += len(self.ahead)

    def add(self, token_id):
        """The text that this id completes; "" while a character is incomplete."""
        self.ids.append(int(token_id))
        text = self.stream.step(self.backend, self.ids[-1]) or ""
        if text:
            text, self.ahead = text.removeprefix(self.ahead), ""
        self.length += len(text)
        return text

    def finish(self):
        """The text of what is left: bytes that no id completed, as U+FFFD."""
        return self.backend.decode(self.ids, skip_special_tokens=self.skip_special_tokens)[self.length :]


def _read_backend(folder):
    import tokenizers

    if (folder / "tokenizer.json").exists():
        backend = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        backend.no_truncation()
        backend.no_padding()
        return backend
    options = _read_json(folder / "tokenizer_config.json")
    if (folder / "vocab.json").exists():
        backend = tokenizers.ByteLevelBPETokenizer(
            str(folder / "vocab.json"),
            str(folder / "merges.txt"),
            add_prefix_space=options.get("add_prefix_space", False),
        )._tokenizer
        specials = ["<|endoftext|>"]
    else:
        backend = tokenizers.BertWordPieceTokenizer(
            str(folder / "vocab.txt"),
            lowercase=options.get("do_lower_case", True),
            strip_accents=options.get("strip_accents"),
            handle_chinese_chars=options.get("tokenize_chinese_chars", True),
        )._tokenizer
        specials = ["[UNK]", "[SEP]", "[CLS]", "[PAD]", "[MASK]"]
    # In the text these stand for themselves and are never split.
    backend.add_special_tokens([piece for piece in specials if backend.token_to_id(piece) is not None])
    added = sorted(_read_json(folder / "added_tokens.json").items(), key=lambda item: item[1])
    for piece, token_id in added:
        if piece not in specials:  # which adding once more would make an ordinary token
            backend.add_tokens([piece])
        if backend.token_to_id(piece) != token_id:
            raise ValueError(f"added_tokens.json gives {piece!r} the id {token_id}, but the next free id is another")
    return backend


def _read_json(path):
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
