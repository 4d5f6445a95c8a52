"""Pools of words: what the grammar can draw for a role such as the hero."""


class Word:
    """An entry of a pool: its texts by attribute ("name" is the word itself), and its lists of further words by name.

    Two words are equal only if they are the same entry.
    """

    def __init__(self, texts, lists=()):
        self.texts = texts
        self.lists = dict(lists)
        self.peers = [self]  # all words that can replace it

    def __repr__(self):
        return self.texts["name"]


def pool_from_table(columns, table):
    """Return a pool from a table: a line for each word, with bars between the columns. [spots] holds a list.

    Every list of a column must have the same length, so that the number of choices never depends on the word. Raises
    ValueError.
    """
    columns = columns.split()
    words = []
    for line in filter(str.strip, table.splitlines()):
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) != len(columns):
            raise ValueError(f"{len(cells)} cells for {len(columns)} columns: {line.strip()}")
        row = dict(zip(columns, cells, strict=True))
        lists = {column[1:-1]: _words(cell.split(",")) for column, cell in row.items() if column[0] == "["}
        words.append(Word({column: cell for column, cell in row.items() if column[0] != "["}, lists))
    for name in words[0].lists:
        if len({len(word.lists[name]) for word in words}) > 1:
            raise ValueError(f"the lists of [{name}] differ in length")
        entries = [entry for word in words for entry in word.lists[name]]
        for entry in entries:
            entry.peers = entries
    return merge_pools(words)


def pool_from_names(text):
    """Return a pool of words that have nothing but a name, from a text with commas between them."""
    return merge_pools(_words(text.split(",")))


def merge_pools(*pools):
    """Return one pool of all the words."""
    words = [word for pool in pools for word in pool]
    for word in words:
        word.peers = words
    return words


def _words(texts):
    return [Word({"name": " ".join(text.split())}) for text in texts]
