"""Pictures have the numbers that they are drawn from."""

import io

import matplotlib.image
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minigpt.looking.pixels import as_characters, as_png, max_abs_pool


def test_pixels_are_the_numbers():
    matrix = np.array([[1.0, 0.0, -1.0], [0.5, -0.5, np.nan], [2.0, -2.0, 0.01]])
    image = matplotlib.image.imread(io.BytesIO(as_png(matrix, 1.0)))
    assert image.shape[:2] == (3, 3)
    red, white, blue = image[0, 2, :3], image[0, 1, :3], image[0, 0, :3]
    assert (white == 1).all() and red.argmax() == 0 and blue.argmax() == 2
    assert np.allclose(image[1, 0, :3], (white + blue) / 2, atol=0.01)
    assert np.allclose(image[1, 1, :3], (white + red) / 2, atol=0.01)
    assert (image[1, 2, :3] == 1).all()  # what is no number is white
    assert (image[2, 0, :3] == blue).all() and (image[2, 1, :3] == red).all() and (image[2, 2, :3] == 1).all()


def test_bars_are_the_numbers():
    assert as_characters(np.array([-1, -0.6, 0.0, 0.6, 1.0]), 1.0) == "▁▂▅▇█"
    assert as_characters(np.array([0, 0.01, 0.25, 0.5, 1.0]), 1.0, signed=False) == "  ▂▄█"
    with np.errstate(all="raise"):
        assert as_characters(np.zeros(2), 0.0, signed=False) == "  "
        assert as_characters(np.zeros(2), 0.0) == "▅▅"
        assert as_png(np.zeros((1, 2)), 0.0).startswith(b"\x89PNG")


@given(st.integers(1, 40), st.integers(1, 20))
def test_fewer_columns_keep_the_numbers_of_largest_absolute_value(n, columns):
    matrix = np.random.default_rng(n).normal(size=(3, n))
    small = max_abs_pool(matrix, columns)
    assert small.shape == (3, min(n, columns))
    assert np.array_equal(np.abs(small).max(axis=1), np.abs(matrix).max(axis=1)) and np.isin(small, matrix).all()
    if columns < n:
        firsts = [np.flatnonzero(matrix[0] == value)[0] for value in small[0]]
        assert firsts == sorted(firsts)
