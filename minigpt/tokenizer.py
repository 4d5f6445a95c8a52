"""Text to token ids and back, with the tokenizers library. bpe.py shows how such a tokenizer works.

The library is imported inside functions: importing minigpt must stay fast.
"""

import contextlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import weights_loader
from minigpt.bundled import bundled_folder
from minigpt.checks import is_integer, list_of, require_bool, require_integer, require_path, require_text, shown
from minigpt.files import write_file
from minigpt.tokenizer_files import read_backend
from weights_loader import CheckpointError, checkpoint_errors

if TYPE_CHECKING:
    import tokenizers


class UnknownCharacterError(ValueError):
    """A character of the text has no token."""


class Tokenizer:
    """The tokenizer of a checkpoint.

    >>> tokenizer = Tokenizer.from_pretrained("gpt2")
    >>> tokenizer.encode("Hello world")
    [15496, 995]
    """

    def __init__(self, backend: "tokenizers.Tokenizer"):
        self.backend = backend

    @classmethod
    def from_pretrained(
        cls, name: str | Path, *, revision: str | None = None, local_files_only: bool = False
    ) -> "Tokenizer":
        """Load the tokenizer of a model, by any name that GPT2.from_pretrained takes.

        Reads tokenizer.json, or vocab.json and merges.txt (byte-level BPE), or vocab.txt (WordPiece, as in Chinese
        GPT-2 models). Raises weights_loader.CheckpointError.
        """
        folder = bundled_folder(name) or weights_loader.locate_tokenizer(name, revision, local_files_only)
        with checkpoint_errors(f"the tokenizer in {folder} cannot be read"):
            tokenizer = cls(read_backend(Path(folder)))
            with contextlib.suppress(UnknownCharacterError):
                tokenizer.decode(tokenizer.encode("a b"))  # some faults show only now
        return tokenizer

    @classmethod
    def of_characters(cls, characters: Iterable[str], special_tokens: Iterable[str] = ()) -> "Tokenizer":
        """Make a tokenizer whose tokens are these characters, in sorted order, and then the special tokens."""
        import tokenizers

        characters = (
            list(characters) if isinstance(characters, str) else list_of("characters", characters, "characters")
        )
        for character in characters:
            require_text("characters", character)
        backend = tokenizers.Tokenizer(tokenizers.models.WordLevel({c: i for i, c in enumerate(sorted(characters))}))
        backend.pre_tokenizer = tokenizers.pre_tokenizers.Split(tokenizers.Regex(r"[\s\S]"), "isolated")
        backend.decoder = tokenizers.decoders.Fuse()
        backend.add_special_tokens(list_of("special_tokens", special_tokens, "a list of texts"))
        return cls(backend)

    def __len__(self) -> int:
        return self.backend.get_vocab_size()

    def __repr__(self) -> str:
        return f"<Tokenizer: {type(self.backend.model).__name__}, {len(self):,} tokens>"

    def __call__(self, text: str | list[str], add_special_tokens: bool = False) -> dict[str, list]:
        """Return {"input_ids": ..., "attention_mask": ...} of a text, or lists of both of several texts.

        model.generate(**tokenizer(texts)) continues them.
        """
        if isinstance(text, str):
            ids = self.encode(text, add_special_tokens)
            return {"input_ids": ids, "attention_mask": [1] * len(ids)}
        rows = [self.encode(each, add_special_tokens) for each in list_of("text", text, "a str or a list of texts")]
        return {"input_ids": rows, "attention_mask": [[1] * len(row) for row in rows]}

    @property
    def vocab_size(self) -> int:
        """The number of entries of the vocabulary, without tokens that were added to it; len counts these, too."""
        return self.backend.get_vocab_size(with_added_tokens=False)

    @property
    def eos_token_id(self) -> int | None:
        """The id of <|endoftext|>, or None."""
        return self.token_id("<|endoftext|>")

    def get_vocab(self) -> dict[str, int]:
        """Return the id of every token."""
        return self.backend.get_vocab()

    def tokenize(self, text: str) -> list[str]:
        """Return the tokens of a text, as they are written in the vocabulary."""
        return self.convert_ids_to_tokens(self.encode(text))

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        """Return the ids of a text.

        add_special_tokens adds the tokens that some tokenizers put around a text ([CLS] and [SEP] in WordPiece;
        none in GPT-2). Raises ValueError for a character that a tokenizer of characters does not have, TypeError for
        what is no text.
        """
        if isinstance(text, list | tuple):
            raise TypeError(f"text must be a str, not {type(text).__name__}; tokenizer([...]) takes several texts")
        require_text("text", text)
        require_bool("add_special_tokens", add_special_tokens)
        try:
            with checkpoint_errors("the tokenizer's files may be damaged: this text cannot be encoded"):
                return self.backend.encode(text, add_special_tokens=add_special_tokens).ids
        except CheckpointError as error:
            unknown = next((c for c in text if self.backend.token_to_id(c) is None), None)
            if "[UNK]" not in str(error) or unknown is None:
                raise
            raise UnknownCharacterError(f"the tokenizer has no token for the character {unknown!r}") from error

    def decode(self, ids: int | Iterable[int], skip_special_tokens: bool = False) -> str:
        """Return the text of ids. Bytes that are not valid UTF-8, such as half a character, become U+FFFD.

        Raises ValueError for what is no id of this vocabulary.
        """
        ids = self._checked_ids(ids)
        require_bool("skip_special_tokens", skip_special_tokens)
        with checkpoint_errors("the tokenizer's files may be damaged: these ids cannot be decoded"):
            return self.backend.decode(ids, skip_special_tokens=skip_special_tokens)

    def token_text(self, token_id: int) -> str:
        """Return the text of one id; for an id without a token, as a padded vocabulary has, ""."""
        return self.backend.decode([int(token_id)], skip_special_tokens=False)

    def batch_decode(self, rows: np.ndarray | Iterable[Iterable[int]], skip_special_tokens: bool = False) -> list[str]:
        """Return the texts of several rows of ids, [N, T] or a list of lists."""
        return [self.decode(row, skip_special_tokens) for row in list_of("rows", rows, "several rows of ids")]

    def convert_ids_to_tokens(self, ids: int | Iterable[int]) -> str | list[str]:
        """Return an id's entry in the vocabulary, as it is written there (in byte-level BPE a space is Ġ), or several.

        Raises ValueError for what is no id of this vocabulary.
        """
        tokens = [self.backend.id_to_token(i) for i in self._checked_ids(ids)]
        return tokens[0] if is_integer(ids) else tokens

    def _checked_ids(self, ids):
        """Return ids as a list of ints. Raises ValueError unless each is in the vocabulary."""
        ids = [ids] if is_integer(ids) else list_of("ids", ids, "an id or a list of ids")
        for i in ids:
            if not is_integer(i):
                hint = "; batch_decode takes several rows" if isinstance(i, list | tuple | np.ndarray) else ""
                raise ValueError(f"ids must be integers, not {shown(i)}{hint}")
            if not 0 <= i < 2**32 or self.backend.id_to_token(int(i)) is None:
                raise ValueError(f"ids: the vocabulary of {len(self)} tokens has no id {shown(i)}")
        return [int(i) for i in ids]

    def token_id(self, piece: str) -> int | None:
        """Return the id of an entry of the vocabulary, or None."""
        require_text("piece", piece)
        return self.backend.token_to_id(piece)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write tokenizer.json, which from_pretrained and transformers load back.

        tokenizer_config.json tells transformers to take it as it is: by the model's kind, it would expect byte-level
        BPE, and give other ids for any other tokenizer.
        """
        require_path("folder", folder)
        config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
        if self.eos_token_id is not None:
            config["eos_token"] = "<|endoftext|>"
        text = json.dumps(config, indent=2) + "\n"
        write_file(Path(folder) / "tokenizer_config.json", lambda path: path.write_text(text, encoding="utf-8"))
        write_file(Path(folder) / "tokenizer.json", lambda path: self.backend.save(str(path)))

    def text_stream(self, skip_special_tokens: bool = True, after: Iterable[int] = ()) -> "TextStream":
        """Return a TextStream: it turns ids into whole characters. after: the ids of text already shown."""
        return TextStream(self.backend, skip_special_tokens, after)


class TextStream:
    """Decode ids as they come, never half a character: Chinese characters and emoji can span several tokens.

    The concatenated results of `add` and `finish` equal `decode` of all the ids.
    """

    def __init__(self, backend, skip_special_tokens, after):
        from tokenizers.decoders import DecodeStream

        self.backend = backend
        self.skip_special_tokens = skip_special_tokens
        self.stream = DecodeStream(skip_special_tokens=skip_special_tokens)
        self.context, self.ids = [], []  # the ids of the last text returned, and those since: no others are kept
        self.shown_early = ""
        for token_id in after:
            self.add(token_id)
        # The end of the earlier text may look like half a character. The stream holds it back, but it has been shown.
        self.shown_early = self.finish()

    def add(self, token_id: int) -> str:
        """Return the text that this id completes; "" while a character is incomplete."""
        require_integer("token_id", token_id, 0, 2**32 - 1)
        self.ids.append(int(token_id))
        text = self.stream.step(self.backend, self.ids[-1]) or ""
        if text:
            text, self.shown_early = text.removeprefix(self.shown_early), ""
            self.context, self.ids = self.ids, []
        return text

    def finish(self) -> str:
        """Return the rest of the text: bytes that no id completed, as U+FFFD."""
        before, whole = (
            self.backend.decode(ids, skip_special_tokens=self.skip_special_tokens)
            for ids in (self.context, self.context + self.ids)
        )
        return whole[len(before) :].removeprefix(self.shown_early)
