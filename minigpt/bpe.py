"""Byte-level byte pair encoding (BPE) by hand: how text becomes GPT-2's tokens, and how such tokens are found.

A model needs a fixed set of tokens, but texts have endlessly many words. BPE (Sennrich, Haddow and Birch 2016, section
3.2) lets a text decide which strings deserve a token. Start with the bytes of its words, find the most frequent pair of
neighbours, make it one token everywhere, and repeat until the vocabulary is full. Frequent words end as one token, rare
ones as several, and since every byte is a token, every text can be encoded (Radford et al. 2019, section 2.2). What is
learnt is the ordered list of merges; encoding replays them on a new text.

In reading order: bytes as characters; pre-tokens, which no merge crosses; training; encoding, decoding and files.
"""

import heapq
import json
import os
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, pairwise
from pathlib import Path
from unicodedata import category

from minigpt.checks import is_integer, is_one_of, list_of, require, require_path, require_text, shown
from minigpt.files import write_file
from minigpt.tokenizer import Tokenizer

READ_SIZE = 1 << 16  # characters read from a file at a time
MAX_CACHED_WORDS = 1 << 12  # pre-tokens whose ids are remembered: most of a text is the same few words

# Not every byte is text, but GPT-2's files are: they write every byte as a visible character. The bytes that are
# visible in Latin-1 stand for themselves; the others, in order, become the characters from U+0100 on, so that a space
# is Ġ and a newline Ċ. The order of this table gives the bytes their ids 0 to 255 in GPT-2: ! comes first.
_visible = [byte for byte in range(256) if chr(byte).isprintable() and chr(byte) != " "]
_invisible = [byte for byte in range(256) if byte not in _visible]
BYTE_CHARACTERS = {byte: chr(byte) for byte in _visible} | {byte: chr(256 + n) for n, byte in enumerate(_invisible)}
SINGLE_BYTES = [bytes([byte]) for byte in BYTE_CHARACTERS]


def in_characters(token: bytes) -> str:
    """Return a token's bytes as GPT-2's files write them: b" hi" is "Ġhi"."""
    return "".join(BYTE_CHARACTERS[byte] for byte in token)


@lru_cache(maxsize=1)
def pre_token_pattern():
    r"""GPT-2's pattern: contractions; letters, numbers or other symbols, with a space before them if any; white space.

    '(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+

    The last alternative but one leaves the last of several spaces to the following word. Python's re has no \p{L}
    and \p{N}, the letters and numbers of all alphabets. They come from unicodedata, whose Unicode version depends on
    Python's (14 in Python 3.11; later additions count as symbols). And \s is Unicode's white space, to which Python
    adds the separators U+001C to U+001F.
    """
    categories = "".join([category(character)[0] for character in map(chr, range(sys.maxunicode + 1))])

    def characters(kind):
        runs = re.finditer(f"{kind}+", categories)
        return "".join(f"{chr(run.start())}-{chr(run.end() - 1)}" for run in runs)

    L, N, s = characters("L"), characters("N"), r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
    return re.compile(rf"'(?:[sdmt]|ll|ve|re)| ?[{L}]+| ?[{N}]+| ?[^{s}{L}{N}]+|[{s}]+(?![^{s}])|[{s}]+")


def pre_tokens(chunks: Iterable[str], special_tokens: Sequence[str] = ()) -> Iterator[str]:
    """Yield the pre-tokens of a text that comes in chunks, cut anywhere; joined, they give the text.

    Special tokens stay whole; where several begin, the longest wins. Only as much of the text is held back as later
    chunks can change: a word may continue, "'" may become "'ll", "<|end" a special token. Raises ValueError for a
    chunk that is not text (TypeError if it is no str).
    """
    word, no_match = pre_token_pattern(), "(?!)"
    complete = "|".join(re.escape(s) for s in sorted(special_tokens, key=len, reverse=True)) or no_match
    special, longest = re.compile(complete), max(map(len, special_tokens), default=0)

    def begun(text, start):
        """Return where the end of a text, from start, may be the beginning of a special token; else its length."""
        places = range(max(start, len(text) - longest + 1), len(text))
        return next((at for at in places if any(s.startswith(text[at:]) for s in special_tokens)), len(text))

    text = ""  # held back so far
    for chunk in chain(chunks, [None]):
        is_last = chunk is None
        text += "" if is_last else _checked_text(chunk)
        start, end = 0, len(text) if is_last else begun(text, 0)
        for match in special.finditer(text):
            if match.start() >= end:  # perhaps the beginning of a longer one: wait for the next chunk
                break
            yield from word.findall(text, start, match.start())
            yield match[0]
            start = match.end()
            end = len(text) if is_last else begun(text, start)
        for match in word.finditer(text, start, end):
            # Two more characters settle a match: one shows that a run ends, and "'l" needs two to rule out "'ll".
            if match.end() + 2 > end and not is_last:
                break
            yield match[0]
            start = match.end()
        text = text[start:]


def _checked_text(text, name="text"):
    require_text(name, text)
    return text


def _checked_special_tokens(special_tokens):
    if special_tokens is None or isinstance(special_tokens, str):
        special_tokens = [special_tokens] if special_tokens else []
    texts = list_of("special_tokens", special_tokens, "a list of texts")
    for special in texts:
        if len(_checked_text(special, "special_tokens").encode()) < 2:
            raise ValueError(f"a special token must have at least two bytes (each byte is a token), not {special!r}")
    return list(dict.fromkeys(texts))


def train_bpe(
    text_or_path: str | Path | list[str | Path],
    vocab_size: int,
    special_tokens: Iterable[str] = ("<|endoftext|>",),
    ties: str = "bytes",
) -> tuple[dict[int, bytes], list[tuple[bytes, bytes]]]:
    """Learn a vocabulary from a text: return vocab {id: bytes}, and merges [(bytes, bytes)] in order.

    text_or_path: a text, a pathlib.Path to a UTF-8 file, or a list of these. A file may be larger than memory: only the
    counts of its pre-tokens are kept. Special tokens in the text are not learnt from, and nothing is merged across
    them. vocab_size counts everything: the special tokens have the first ids, then the 256 bytes in the order of
    BYTE_CHARACTERS, then the merges. There are fewer merges if the text runs out of pairs.

    ties: which of several most frequent pairs is merged. "bytes": the greatest, as pairs of byte strings compare.
    "tokenizers": the one with the smallest ids, as in the tokenizers library, whose trainer gives these ids and merges.
    Raises ValueError.
    """
    special_tokens = _checked_special_tokens(special_tokens)
    tokens = [*(special.encode() for special in special_tokens), *SINGLE_BYTES]
    if not is_integer(vocab_size) or vocab_size < len(tokens):
        smallest = f"{len(tokens)} (256 bytes, {len(special_tokens)} special tokens)"
        raise ValueError(f"vocab_size must be an integer, at least {smallest}, not {shown(vocab_size)}")
    require(is_one_of(ties, ("bytes", "tokenizers")), "ties", ties, '"bytes" or "tokenizers"')
    counts = Counter()
    for each in text_or_path if isinstance(text_or_path, list) else [text_or_path]:
        counts.update(pre_tokens(_read_chunks(each), special_tokens))
    for special in special_tokens:
        del counts[special]
    counts = {word.encode(): count for word, count in counts.items()}
    merges = learn_merges(counts, vocab_size - len(tokens), ties)
    return dict(enumerate([*tokens, *(left + right for left, right in merges)])), merges


def _read_chunks(text_or_path):
    if isinstance(text_or_path, str):
        if os.path.isfile(text_or_path):
            raise ValueError(f"{text_or_path!r} is a file: give pathlib.Path({text_or_path!r}) to read it")
        yield text_or_path
        return
    require_path("text_or_path", text_or_path)
    try:
        with Path(text_or_path).open(encoding="utf-8-sig", newline="") as file:  # newline="" keeps \r\n as it is
            while chunk := file.read(READ_SIZE):
                yield chunk
    except UnicodeDecodeError as error:
        raise ValueError(f"{text_or_path} must be a text in UTF-8: {error}") from error


def learn_merges(counts, n_merges, ties="bytes"):
    """Learn at most n_merges merges [(bytes, bytes)] from words {bytes: count}; ties as in train_bpe.

    A merge changes only the words that contain its pair. So the words of each pair are remembered, and pairs are
    counted once and then corrected: counting all words again for every merge would give the same result, hundreds of
    times slower.
    """
    words = [[bytes([byte]) for byte in word] for word in counts]
    word_counts = list(counts.values())
    pair_counts, words_with = Counter(), defaultdict(set)
    for i, tokens in enumerate(words):
        for pair in pairwise(tokens):
            pair_counts[pair] += word_counts[i]
            words_with[pair].add(i)

    tie_order = {}  # among equally frequent pairs, the queue returns the one whose tokens come first in this order

    def add_token(token):
        # Negating makes greater bytes come first; the 1 at the end puts b"ab" before b"a".
        tie_order[token] = len(tie_order) if ties == "tokenizers" else (*(-byte for byte in token), 1)

    def entry(pair):
        return -pair_counts[pair], tie_order[pair[0]], tie_order[pair[1]], pair

    for token in SINGLE_BYTES:
        add_token(token)
    queue = [entry(pair) for pair in pair_counts]
    heapq.heapify(queue)
    merges = []
    while queue and len(merges) < n_merges:
        count, _, _, pair = heapq.heappop(queue)
        if pair_counts[pair] != -count:
            continue  # this entry is out of date; the pair is in the queue again with its new count
        merges.append(pair)
        add_token(pair[0] + pair[1])
        changes = Counter()
        for i in words_with.pop(pair):
            for old in pairwise(words[i]):
                changes[old] -= word_counts[i]
            words[i] = merge(words[i], pair)
            for new in pairwise(words[i]):
                changes[new] += word_counts[i]
                words_with[new].add(i)
        for changed, change in changes.items():
            pair_counts[changed] += change
            if change and pair_counts[changed]:
                heapq.heappush(queue, entry(changed))
    return merges


def merge(tokens: list[bytes], pair: tuple[bytes, bytes]) -> list[bytes]:
    """Return the tokens with every two neighbours that are `pair` joined into one, from left to right."""
    left, right = pair
    merged = []
    for token in tokens:
        # A token just merged is longer than left, so it is never taken for left: in "aaa" the last one stays alone.
        if token == right and merged and merged[-1] == left:
            merged[-1] = left + right
        else:
            merged.append(token)
    return merged


class BPE:
    """A byte-level BPE tokenizer.

    >>> bpe = BPE(*train_bpe(Path("shakespeare.txt"), 1000))
    >>> bpe.decode(bpe.encode("To be, or not to be"))
    'To be, or not to be'

    vocab {id: bytes} and merges [(bytes, bytes)] are those of train_bpe. special_tokens: texts that are always one
    token; those that the vocabulary lacks get the next free ids. By default they are the entries of the vocabulary that
    are neither a byte nor made by a merge. Raises ValueError.
    """

    def __init__(
        self,
        vocab: dict[int, bytes],
        merges: Iterable[tuple[bytes, bytes]],
        special_tokens: Iterable[str] | None = None,
    ):
        is_valid = isinstance(vocab, dict) and all(is_integer(i) and isinstance(b, bytes) for i, b in vocab.items())
        require(is_valid, "vocab", vocab, "a dict of bytes by id")
        self.vocab = dict(vocab)
        self.merges = [tuple(list_of("merges", pair, "pairs of bytes")) for pair in list_of("merges", merges, "pairs")]
        is_valid = all(len(pair) == 2 and all(isinstance(part, bytes) for part in pair) for pair in self.merges)
        require(is_valid, "merges", merges, "pairs of bytes")
        self.ids = {token: i for i, token in self.vocab.items()}
        self.rank = {pair: rank for rank, pair in enumerate(self.merges)}
        self.cache = {}
        ordinary = {*SINGLE_BYTES, *(left + right for left, right in self.merges)}
        if len(self.ids) < len(self.vocab):
            raise ValueError("the vocabulary has the same bytes under two ids")
        if missing := ordinary - self.ids.keys():
            raise ValueError(f"the vocabulary lacks {min(missing)!r}; it needs every byte and every merge's result")
        if special_tokens is None:
            special_tokens = [token.decode() for token in self.ids if token not in ordinary]
        self.special_tokens = _checked_special_tokens(special_tokens)
        for token in (special.encode() for special in self.special_tokens):
            if token in ordinary:
                raise ValueError(f"the special token {token.decode()!r} is an ordinary token of this vocabulary")
            self.vocab[self.ids.setdefault(token, max(self.vocab) + 1)] = token

    def __len__(self) -> int:
        return len(self.vocab)

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text. Raises ValueError for half a surrogate pair."""
        return list(self.encode_iterable([text]))

    def encode_iterable(self, chunks: Iterable[str]) -> Iterator[int]:
        """Yield the ids of a text that comes in chunks, cut anywhere, such as the lines of an open file.

        Only a chunk and the longest pre-token are held in memory.
        """
        special_ids = {special: [self.ids[special.encode()]] for special in self.special_tokens}
        for word in pre_tokens(chunks, self.special_tokens):
            yield from special_ids.get(word) or self._word_ids(word)

    def _word_ids(self, word):
        if word not in self.cache:
            if len(self.cache) >= MAX_CACHED_WORDS:
                self.cache.clear()
            *_, (_, tokens) = self.merge_steps(word)
            self.cache[word] = [self.ids[token] for token in tokens]
        return self.cache[word]

    def merge_steps(self, word: str) -> Iterator[tuple[int | None, list[bytes]]]:
        """Yield (None, the bytes of a pre-token), then for every merge (its rank, the tokens after it).

        The next merge is always the one learnt first, not the one that gives the longest token. So a word ends in the
        same tokens as in training.
        """
        tokens = [bytes([byte]) for byte in word.encode()]
        yield None, tokens
        while ranks := [self.rank[pair] for pair in pairwise(tokens) if pair in self.rank]:
            tokens = merge(tokens, self.merges[min(ranks)])
            yield min(ranks), tokens

    def show(self, text: str) -> str:
        """Return lines that show how a text becomes tokens: each pre-token, its tokens after every merge, its ids.

        A line has the rank of a merge and the tokens after it, in BYTE_CHARACTERS: a space is Ġ.
        """
        lines = []
        for word in pre_tokens([text], self.special_tokens):
            lines.append(repr(word))
            if word in self.special_tokens:
                lines.append(f"     id  {self.ids[word.encode()]}")
                continue
            for rank, tokens in self.merge_steps(word):
                lines.append(f"{'' if rank is None else rank:>7}  {' '.join(map(in_characters, tokens))}")
            lines.append(f"    ids  {' '.join(map(str, self._word_ids(word)))}")
        return "\n".join(lines)

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids. Bytes that are not valid UTF-8, such as half a character, become U+FFFD."""
        ids = list_of("ids", ids, "a list of ids")
        for i in ids:
            require(is_integer(i), "ids", i, "integers")
        try:
            return b"".join([self.vocab[int(i)] for i in ids]).decode(errors="replace")
        except KeyError as error:
            raise ValueError(f"ids: there is no id {error} in this vocabulary of {len(self)} tokens") from None

    @classmethod
    def from_pretrained(cls, name: str | Path, *, revision: str | None = None, local_files_only: bool = False) -> "BPE":
        """Load the tokenizer of a model, by any name that GPT2.from_pretrained takes.

        Raises weights_loader.CheckpointError if there is none, ValueError if it is not of GPT-2's kind.
        """
        tokenizer = Tokenizer.from_pretrained(name, revision=revision, local_files_only=local_files_only)
        content = json.loads(tokenizer.backend.to_str())
        model, split, added = content["model"], content["pre_tokenizer"] or {}, content["added_tokens"]
        kind = (
            model["type"],
            content["normalizer"],
            split.get("type"),
            split.get("use_regex"),
            model.get("ignore_merges"),
        )
        if kind != ("BPE", None, "ByteLevel", True, False) or split["add_prefix_space"]:
            raise ValueError(f"the tokenizer of {name} is not byte-level BPE like GPT-2's")
        vocab = model["vocab"] | {special["content"]: special["id"] for special in added}
        try:
            return cls(*_from_characters(vocab, model["merges"]), [special["content"] for special in added])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"the tokenizer of {name} is not byte-level BPE like GPT-2's: {error}") from error

    def save_pretrained(self, folder: str | Path) -> None:
        """Write vocab.json, merges.txt and added_tokens.json (the special tokens), as other libraries read them.

        Raises ValueError if the folder has a tokenizer.json, which others would read instead.
        """
        folder, special = Path(folder), {special.encode(): special for special in self.special_tokens}
        vocab = {special.get(token) or in_characters(token): i for i, token in self.vocab.items()}
        if len(vocab) < len(self):
            raise ValueError("a special token is written as vocab.json writes an ordinary one: give it another name")
        if (folder / "tokenizer.json").exists():
            raise ValueError(f"{folder} has a tokenizer.json, which would be read first: delete it or save elsewhere")
        merges = [f"{in_characters(left)} {in_characters(right)}\n" for left, right in self.merges]
        for file, content in (
            ("vocab.json", json.dumps(vocab, ensure_ascii=False)),
            ("merges.txt", "".join(["#version: 0.2\n", *merges])),
            ("added_tokens.json", json.dumps({text: vocab[text] for text in special.values()}, ensure_ascii=False)),
        ):
            write_file(folder / file, lambda path, content=content: path.write_text(content, encoding="utf-8"))


def _from_characters(vocab, merges):
    """Turn {token: id} and pairs of tokens in BYTE_CHARACTERS into vocab {id: bytes} and merges [(bytes, bytes)]."""
    bytes_of = {character: byte for byte, character in BYTE_CHARACTERS.items()}
    ordinary = {*bytes_of, *(left + right for left, right in merges)}
    tokens = {token: bytes(map(bytes_of.get, token)) if token in ordinary else token.encode() for token in vocab}
    return {i: tokens[token] for token, i in vocab.items()}, [(tokens[left], tokens[right]) for left, right in merges]
