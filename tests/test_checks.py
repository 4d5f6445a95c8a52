"""The checks of arguments that many modules share."""

import numpy as np
import pytest

from minigpt.checks import is_integer, is_number, require_integer, require_text, shown


def test_integers():
    assert all(map(is_integer, (0, -3, np.int64(2), np.uint8(1))))
    assert not any(map(is_integer, (True, np.bool_(True), 1.0, "1", None, np.float32(1))))


def test_numbers():
    assert all(map(is_number, (0, 1.5, np.float32(1), np.int8(1))))
    assert not any(map(is_number, (True, np.bool_(False), "1", None, 1j)))


def test_require_integer_says_what_it_wants():
    require_integer("n", np.int64(3), 1, 3)
    with pytest.raises(ValueError, match=r"n must be an integer, at least 1, not 0"):
        require_integer("n", 0, 1)
    with pytest.raises(ValueError, match=r"n must be an integer, from 1 to 3, not True"):
        require_integer("n", True, 1, 3)


def test_a_long_value_is_shown_in_part():
    assert shown("a\nb") == "'a\\nb'" and shown(np.arange(3)) == "array([0, 1, 2])"
    for value in ("x" * 10**5, 10**4000, 10**5000, np.zeros((30, 30))):
        assert len(shown(value)) <= 80 and "\n" not in shown(value)


def test_a_text_without_utf8():
    require_text("text", "é 🤖")
    with pytest.raises(ValueError, match=r"text has U\+D800 at character 1: half a surrogate pair"):
        require_text("text", "a\ud800")
    with pytest.raises(TypeError, match="text must be a str, not bytes"):
        require_text("text", b"a")
