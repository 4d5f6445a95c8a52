"""Labels show every character of a token, and none that a terminal would obey."""

from minigpt.looking.labels import token_label, token_texts


def test_invisible_characters_become_signs():
    assert token_label(" a\n") == "␣a↵"
    assert token_label("\x1b[2J\r\n\ta\r") == "␛[2J↵⇥a␍"


def test_the_text_of_each_token(bundled):
    _, tokenizer = bundled
    assert token_texts(tokenizer, tokenizer.encode("Once upon")) == ["Once", " upon"]
