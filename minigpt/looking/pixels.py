"""Small pictures of numbers without matplotlib: a number as a character of a terminal, or as a pixel of a web page."""

import base64
import struct
import zlib
from itertools import pairwise

import numpy as np

BARS = " ▁▂▃▄▅▆▇█"
SHADES = 32  # on either side of white
RED, WHITE, BLUE = np.array([[178, 24, 43], [255, 255, 255], [33, 102, 172]])


def pooled(matrix, columns):
    """Fewer columns: of each stretch the number with the greatest absolute value, [T, N] > [T, at most columns].

    Not the mean, in which the few large numbers that an activation has would disappear.
    """
    N = matrix.shape[1]
    if columns >= N:
        return matrix
    edges = np.arange(columns + 1) * N // columns
    stretches = [matrix[:, start:end] for start, end in pairwise(edges)]
    greatest = [np.abs(stretch).argmax(axis=1, keepdims=True) for stretch in stretches]
    return np.concatenate([np.take_along_axis(s, i, axis=1) for s, i in zip(stretches, greatest, strict=True)], axis=1)


def as_characters(row, largest, signed=True):
    """A row of numbers as bars: from -largest ▁ to largest █ or, not signed, from 0, a space, to largest."""
    share = np.clip(np.nan_to_num(row / (largest or 1)), -1, 1)
    heights = 1 + np.minimum((share + 1) * 4, 7).astype(int) if signed else np.ceil(share * 8 - 0.5).astype(int)
    return "".join(BARS[height] for height in heights)


def as_png(matrix, largest, signed=True):
    """A matrix as a PNG, a pixel a number: 0 is white, largest blue, -largest red; the bytes."""
    share = np.clip(np.nan_to_num(matrix / (largest or 1)), -1, 1)
    pixels = np.rint(share * SHADES + SHADES).astype(np.uint8)  # indices in the palette
    fade = np.linspace(0, 1, SHADES + 1)[:, None]
    palette = np.concatenate([RED + (WHITE - RED) * fade, (WHITE + (BLUE - WHITE) * fade)[1:]])
    height, width = matrix.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)  # every row begins with how it is filtered: 0, not at all
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),  # 8 bits a pixel, 3: of a palette
        (b"PLTE", np.rint(palette).astype(np.uint8).tobytes()),
        (b"IDAT", zlib.compress(rows, 9)),
        (b"IEND", b""),
    )
    checked = [struct.pack(">I", len(d)) + kind + d + struct.pack(">I", zlib.crc32(kind + d)) for kind, d in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(checked)


def as_image(matrix, largest, width, height, signed=True):
    """A matrix as an HTML image of that size, whose data stand in the page itself.

    Enlarged here: Jupyter strikes image-rendering from a notebook that it does not trust, and would blur it.
    """
    rows, columns = (np.arange(size) * n // size for size, n in zip((height, width), matrix.shape, strict=True))
    data = base64.b64encode(as_png(matrix[rows][:, columns], largest, signed)).decode()
    style = f"width:{width}px; height:{height}px; image-rendering:pixelated; border:1px solid #ddd; margin:0"
    return f'<img alt="" src="data:image/png;base64,{data}" style="{style}">'
