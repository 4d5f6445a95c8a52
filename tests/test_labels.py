"""Labels show every character of a token, and none that a terminal would obey."""

from minigpt.looking.labels import token_label, token_texts, wrap


def test_invisible_characters_become_signs():
    assert token_label(" a\n") == "␣a↵"
    assert token_label("\x1b[2J\r\n\ta\r") == "␛[2J↵⇥a␍"


def test_the_text_of_each_token(bundled):
    _, tokenizer = bundled
    assert token_texts(tokenizer, tokenizer.encode("Once upon")) == ["Once", " upon"]


def test_only_long_lines_are_broken_and_only_between_words():
    short, code = "  two  spaces ", "x" * 120
    assert wrap(f"{short}\n\n{code}\n") == f"{short}\n\n{code}\n"
    text = " ".join(["well-known"] * 30)
    lines = wrap(text).split("\n")
    assert " ".join(lines) == text and max(map(len, lines)) <= 100 and len(lines) == 4
    assert wrap("a b", width=2) == "a\nb"
