"""Byte-level byte pair encoding (BPE) by hand: how text becomes GPT-2's tokens, and how such tokens are found.

A model wants a fixed set of tokens; texts have endlessly many words. BPE (Sennrich, Haddow and Birch 2016, section 3.2)
lets a text decide which strings deserve a token. Begin with the bytes of its words, find the pair of neighbours that
occurs most often, make it one token everywhere, and repeat until the vocabulary is full. Frequent words end as one
token, rare ones as several, and since every byte is a token, no text is impossible (Radford et al. 2019, section 2.2).
What is learnt is the list of merges in their order; encoding replays them on a new text.

In reading order: bytes as characters; pre-tokens, which no merge crosses; training; encoding, decoding and files.
"""

import heapq
import json
import os
import re
import sys
from collections import Counter, defaultdict
from functools import lru_cache
from itertools import chain, pairwise
from pathlib import Path
from unicodedata import category

READ_SIZE = 1 << 16  # characters of a file that are read at a time
CACHE_SIZE = 1 << 12  # pre-tokens whose ids are remembered: most of a text is the same few words

# Not all bytes are text, and GPT-2's files are: in them every byte is a character that can be seen. Those that can be
# seen in Latin-1 are themselves; the others, in their order, are the characters from U+0100 on, so that a space is Ġ
# and a new line Ċ. In the order of this table bytes have the ids 0 to 255 in GPT-2: ! comes first.
_visible = [byte for byte in range(256) if chr(byte).isprintable() and chr(byte) != " "]
_others = [byte for byte in range(256) if byte not in _visible]
BYTE_CHARACTERS = {byte: chr(byte) for byte in _visible} | {byte: chr(256 + n) for n, byte in enumerate(_others)}
SINGLE_BYTES = [bytes([byte]) for byte in BYTE_CHARACTERS]


def in_characters(token):
    """A token's bytes as GPT-2's files write them: b" hi" is "Ġhi"."""
    return "".join(BYTE_CHARACTERS[byte] for byte in token)


# ---------------------------------------------------------------- pre-tokens


@lru_cache(maxsize=1)
def pre_token_pattern():
    r"""GPT-2's pattern: contractions; letters, numbers or other symbols, each with a space before them; white space.

    '(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+

    By the last but one, the last of several spaces stays with the word that follows. Python's re has no \p{L} and
    \p{N}, the letters and numbers of all alphabets: they come from unicodedata, which knows the Unicode of the time of
    this Python (14 in Python 3.11; what was added later counts as symbols). And \s is Unicode's white space, to which
    Python adds the separators U+001C to U+001F.
    """
    categories = "".join([category(character)[0] for character in map(chr, range(sys.maxunicode + 1))])

    def characters(kind):
        runs = re.finditer(f"{kind}+", categories)
        return "".join(f"{chr(run.start())}-{chr(run.end() - 1)}" for run in runs)

    L, N, s = characters("L"), characters("N"), r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
    return re.compile(rf"'(?:[sdmt]|ll|ve|re)| ?[{L}]+| ?[{N}]+| ?[^{s}{L}{N}]+|[{s}]+(?![^{s}])|[{s}]+")


def pre_tokens(chunks, special_tokens=()):
    """Yield the pre-tokens of a text that comes in chunks, wherever these are cut; joined, they are the text.

    Special tokens come out whole, the longest of those that begin at one place. No more of the text is kept than later
    chunks may change: a word may go on, "'" may become "'ll", "<|end" a special token. Raises ValueError for a chunk
    that is no text.
    """
    word, nothing = pre_token_pattern(), "(?!)"
    whole = "|".join(re.escape(s) for s in sorted(special_tokens, key=len, reverse=True)) or nothing
    begun = "|".join(re.escape(s[:n]) for s in special_tokens for n in range(1, len(s))) or nothing
    whole_or_begun, whole = re.compile(rf"(?:{begun})\Z|({whole})"), re.compile(f"({whole})")

    text = ""  # what is not yet given out
    for chunk in chain(chunks, [None]):
        is_last = chunk is None
        text += "" if is_last else _checked_text(chunk)
        start, end = 0, len(text)
        for special in (whole if is_last else whole_or_begun).finditer(text):
            if special[1] is None:
                end = special.start()
                break
            yield from word.findall(text, start, special.start())
            yield special[1]
            start = special.end()
        for match in word.finditer(text, start, end):
            # Two more characters settle a match: one shows that a run ends, and "'l" takes two to be no "'ll".
            if match.end() + 2 > end and not is_last:
                break
            yield match[0]
            start = match.end()
        text = text[start:]


def _checked_text(text):
    if not isinstance(text, str):
        raise ValueError(f"a text must be a str, not {type(text).__name__}")
    if half := re.search("[\ud800-\udfff]", text):
        raise ValueError(f"U+{ord(half[0]):X} at character {half.start()} is half a surrogate pair, which has no UTF-8")
    return text


def _checked_special_tokens(special_tokens):
    special_tokens = [special_tokens] if isinstance(special_tokens, str) else list(dict.fromkeys(special_tokens or ()))
    for special in special_tokens:
        if len(_checked_text(special).encode()) < 2:
            raise ValueError(f"a special token must have two bytes at least (each byte is a token), not {special!r}")
    return special_tokens


# ---------------------------------------------------------------- training


def train_bpe(text_or_path, vocab_size, special_tokens=("<|endoftext|>",), ties="bytes"):
    """Learn a vocabulary from a text: vocab {id: bytes}, and merges [(bytes, bytes)] in their order.

    text_or_path: a text, or a pathlib.Path to a file in UTF-8, which may be larger than memory: of it, only the counts
    of its pre-tokens are kept; or a list of these. Special tokens in the text are not learnt from, and nothing is
    merged across them. vocab_size counts everything: the special tokens have the first ids, then the 256 bytes in the
    order of BYTE_CHARACTERS, then the merges. There are fewer merges if the text runs out of pairs.

    ties: which of several most frequent pairs is merged. "bytes": the greatest, as pairs of byte strings compare.
    "tokenizers": the one of the smallest ids, as in the tokenizers library, whose trainer gives these ids and merges.
    Raises ValueError.
    """
    special_tokens = _checked_special_tokens(special_tokens)
    tokens = [*(special.encode() for special in special_tokens), *SINGLE_BYTES]
    if not isinstance(vocab_size, int) or vocab_size < len(tokens):
        smallest = f"{len(tokens)} (256 bytes, {len(special_tokens)} special tokens)"
        raise ValueError(f"vocab_size must be an integer, at least {smallest}, not {vocab_size!r}")
    counts = Counter()
    for each in text_or_path if isinstance(text_or_path, list) else [text_or_path]:
        counts.update(pre_tokens(_chunks(each), special_tokens))
    for special in special_tokens:
        del counts[special]
    counts = {word.encode(): count for word, count in counts.items()}
    merges = learn_merges(counts, vocab_size - len(tokens), ties)
    return dict(enumerate([*tokens, *(left + right for left, right in merges)])), merges


def _chunks(text_or_path):
    if isinstance(text_or_path, str):
        if os.path.isfile(text_or_path):
            raise ValueError(f"{text_or_path!r} is a file: give pathlib.Path({text_or_path!r}) to read it")
        yield text_or_path
        return
    try:
        with Path(text_or_path).open(encoding="utf-8", newline="") as file:  # newline: \r\n stays what it is
            while chunk := file.read(READ_SIZE):
                yield chunk
    except UnicodeDecodeError as error:
        raise ValueError(f"{text_or_path} must be a text in UTF-8: {error}") from error


def learn_merges(counts, n_merges, ties="bytes"):
    """The merges [(bytes, bytes)] that words {bytes: how often} ask for, at most n_merges; ties as in train_bpe.

    Only words that contain the pair change with a merge. So each pair knows its words, and pairs are counted once and
    then corrected: counting all words again for every merge would give the same, hundreds of times slower.
    """
    if ties not in ("bytes", "tokenizers"):
        raise ValueError(f'ties must be "bytes" or "tokenizers", not {ties!r}')
    words = [[bytes([byte]) for byte in word] for word in counts]
    times = list(counts.values())
    pair_counts, words_with = Counter(), defaultdict(set)
    for i, pieces in enumerate(words):
        for pair in pairwise(pieces):
            pair_counts[pair] += times[i]
            words_with[pair].add(i)

    places = {}  # among equals the queue gives out the pair of the smaller places

    def add_token(token):
        # Negated, greater bytes are smaller; the 1 behind them puts b"ab" before b"a".
        places[token] = len(places) if ties == "tokenizers" else (*(-byte for byte in token), 1)

    def entry(pair):
        return -pair_counts[pair], places[pair[0]], places[pair[1]], pair

    for token in SINGLE_BYTES:
        add_token(token)
    queue = [entry(pair) for pair in pair_counts]
    heapq.heapify(queue)
    merges = []
    while queue and len(merges) < n_merges:
        count, _, _, pair = heapq.heappop(queue)
        if pair_counts[pair] != -count:
            continue  # it has changed since, and stands in the queue once more
        merges.append(pair)
        add_token(pair[0] + pair[1])
        changes = Counter()
        for i in words_with.pop(pair):
            for old in pairwise(words[i]):
                changes[old] -= times[i]
            words[i] = merge(words[i], pair)
            for new in pairwise(words[i]):
                changes[new] += times[i]
                words_with[new].add(i)
        for changed, change in changes.items():
            pair_counts[changed] += change
            if change and pair_counts[changed]:
                heapq.heappush(queue, entry(changed))
    return merges


def merge(pieces, pair):
    """The pieces (a list of bytes) with every two neighbours that are `pair` made one, from left to right."""
    left, right = pair
    merged = []
    for piece in pieces:
        # A piece just merged is longer than left and never taken for it: of "aaa" the last stays alone.
        if piece == right and merged and merged[-1] == left:
            merged[-1] = left + right
        else:
            merged.append(piece)
    return merged


# ---------------------------------------------------------------- encoding, decoding and files


class BPE:
    """A byte-level BPE tokenizer.

    >>> bpe = BPE(*train_bpe(Path("shakespeare.txt"), 1000))
    >>> bpe.decode(bpe.encode("To be, or not to be"))
    'To be, or not to be'

    vocab {id: bytes} and merges [(bytes, bytes)] are those of train_bpe. special_tokens: texts that are one token
    wherever they stand, with the next free ids if the vocabulary lacks them; None: what in the vocabulary is neither a
    byte nor made by a merge. Raises ValueError.
    """

    def __init__(self, vocab, merges, special_tokens=None):
        self.vocab, self.merges = dict(vocab), [tuple(pair) for pair in merges]
        self.ids = {token: i for i, token in self.vocab.items()}
        self.rank = {pair: rank for rank, pair in enumerate(self.merges)}
        self.cache = {}
        ordinary = {*SINGLE_BYTES, *(left + right for left, right in self.merges)}
        if len(self.ids) < len(self.vocab):
            raise ValueError("the vocabulary has the same bytes under two ids")
        if missing := ordinary - self.ids.keys():
            raise ValueError(f"the vocabulary lacks {min(missing)!r}; it needs every byte and all that merges make")
        if special_tokens is None:
            special_tokens = [token.decode() for token in self.ids if token not in ordinary]
        self.special_tokens = _checked_special_tokens(special_tokens)
        for token in (special.encode() for special in self.special_tokens):
            if token in ordinary:
                raise ValueError(f"the special token {token.decode()!r} is an ordinary token of this vocabulary")
            self.vocab[self.ids.setdefault(token, max(self.vocab) + 1)] = token

    def __len__(self):
        return len(self.vocab)

    def encode(self, text):
        """The ids of a text, a list of int. Raises ValueError for half a surrogate pair."""
        return list(self.encode_iterable([text]))

    def encode_iterable(self, chunks):
        """Yield the ids of a text that comes in chunks, such as the lines of an open file, wherever it is cut.

        No more is in memory than a chunk and the longest pre-token.
        """
        special_ids = {special: [self.ids[special.encode()]] for special in self.special_tokens}
        for word in pre_tokens(chunks, self.special_tokens):
            yield from special_ids.get(word) or self._word_ids(word)

    def _word_ids(self, word):
        if word not in self.cache:
            if len(self.cache) >= CACHE_SIZE:
                self.cache.clear()
            *_, (_, pieces) = self.merge_steps(word)
            self.cache[word] = [self.ids[piece] for piece in pieces]
        return self.cache[word]

    def merge_steps(self, word):
        """Yield (None, a pre-token's bytes), then for every merge (its rank, the pieces that are left).

        Always the merge that was learnt first, not the one that gives the longest token: so a word ends in the pieces
        in which training left it.
        """
        pieces = [bytes([byte]) for byte in word.encode()]
        yield None, pieces
        while ranks := [self.rank[pair] for pair in pairwise(pieces) if pair in self.rank]:
            pieces = merge(pieces, self.merges[min(ranks)])
            yield min(ranks), pieces

    def show(self, text):
        """How a text becomes tokens, to be printed: for every pre-token its pieces, merge by merge, and their ids.

        A line has the rank of a merge and the pieces after it, in BYTE_CHARACTERS: a space is Ġ.
        """
        lines = []
        for word in pre_tokens([text], self.special_tokens):
            lines.append(repr(word))
            if word in self.special_tokens:
                lines.append(f"     id  {self.ids[word.encode()]}")
                continue
            for rank, pieces in self.merge_steps(word):
                lines.append(f"{'' if rank is None else rank:>7}  {' '.join(map(in_characters, pieces))}")
            lines.append(f"    ids  {' '.join(map(str, self._word_ids(word)))}")
        return "\n".join(lines)

    def decode(self, ids):
        """The text of ids. Bytes that are no valid UTF-8, such as half a character, become U+FFFD."""
        try:
            return b"".join([self.vocab[int(i)] for i in ids]).decode(errors="replace")
        except KeyError as error:
            raise ValueError(f"there is no id {error} in this vocabulary of {len(self)} tokens") from None

    @classmethod
    def from_files(cls, vocab_json, merges_txt, special_tokens=None):
        """From GPT-2's two files: vocab.json {token: id}, and merges.txt with a merge a line. Raises ValueError.

        Both are written in BYTE_CHARACTERS, but special tokens as they are.
        """
        lines = Path(merges_txt).read_text(encoding="utf-8").split("\n")
        has_version = lines[0].startswith("#version")  # only there: merges may begin with #, too
        merges = [line.split(" ") for line in lines[has_version:] if line]
        vocab = json.loads(Path(vocab_json).read_text(encoding="utf-8"))
        try:
            return cls(*_from_characters(vocab, merges), special_tokens)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{vocab_json} and {merges_txt} are not a vocabulary as GPT-2's: {error}") from error

    @classmethod
    def from_pretrained(cls, name, *, revision=None, local_files_only=False):
        """The tokenizer of a model, by the names that GPT2.from_pretrained takes, with the files that Tokenizer reads.

        Raises weights_loader.CheckpointError if there is none, ValueError if it is not of GPT-2's kind.
        """
        from minigpt.tokenizer import Tokenizer

        found = json.loads(
            Tokenizer.from_pretrained(name, revision=revision, local_files_only=local_files_only).backend.to_str()
        )
        model, split, added = found["model"], found["pre_tokenizer"] or {}, found["added_tokens"]
        kind = (
            model["type"],
            found["normalizer"],
            split.get("type"),
            split.get("use_regex"),
            model.get("ignore_merges"),
        )
        if kind != ("BPE", None, "ByteLevel", True, False) or split["add_prefix_space"]:
            raise ValueError(f"the tokenizer of {name} is not byte-level BPE as GPT-2's")
        vocab = model["vocab"] | {special["content"]: special["id"] for special in added}
        return cls(*_from_characters(vocab, model["merges"]), [special["content"] for special in added])

    def save(self, folder):
        """Write vocab.json, merges.txt and added_tokens.json (the special tokens): others read the same ids from them.

        Raises ValueError if the folder has a tokenizer.json, which others would read in their place.
        """
        from weights_loader import write_file

        folder, special = Path(folder), {special.encode(): special for special in self.special_tokens}
        vocab = {special.get(token) or in_characters(token): i for i, token in self.vocab.items()}
        if len(vocab) < len(self):
            raise ValueError("a special token is written as vocab.json writes an ordinary one: name it otherwise")
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
    """vocab {id: bytes} and merges [(bytes, bytes)] from {token: id} and pairs of tokens in BYTE_CHARACTERS."""
    bytes_of = {character: byte for byte, character in BYTE_CHARACTERS.items()}
    ordinary = {*bytes_of, *(left + right for left, right in merges)}
    tokens = {token: bytes(map(bytes_of.get, token)) if token in ordinary else token.encode() for token in vocab}
    if len(set(vocab.values())) < len(vocab):
        raise ValueError("two tokens have the same id")
    return {i: tokens[token] for token, i in vocab.items()}, [(tokens[left], tokens[right]) for left, right in merges]
