"""Small pictures of numbers without matplotlib: characters in a terminal, pixels in a web page."""

import base64
import struct
import zlib
from itertools import pairwise

import numpy as np

BARS = " ▁▂▃▄▅▆▇█"
N_SHADES = 32  # on either side of white
RED, WHITE, BLUE = np.array([[178, 24, 43], [255, 255, 255], [33, 102, 172]])


def max_abs_pool(matrix, n_columns):
    """Reduce the columns: keep the number of largest absolute value of each group, [T, N] -> [T, min(N, n_columns)].

    A mean would hide the few large numbers that an activation has.
    """
    return max_abs_cells(matrix, n_columns)[0]


def max_abs_cells(rows, n_cells):
    """Split the last axis into cells: the number of largest absolute value of each, and where it is.

    rows [..., N] -> numbers [..., min(N, n_cells)] in the dtype of rows, and their columns in it, int32. Of equally
    large ones the first is taken; NaN is passed over.
    """
    N = rows.shape[-1]
    n_cells = min(N, n_cells)
    sizes = np.abs(rows)
    sizes[np.isnan(sizes)] = -1
    edges = np.arange(n_cells + 1) * N // n_cells
    columns = np.stack([start + sizes[..., start:end].argmax(axis=-1) for start, end in pairwise(edges)], axis=-1)
    return np.take_along_axis(rows, columns, axis=-1), columns.astype(np.int32)


def as_characters(row, largest, signed=True):
    """Return a row of numbers as bars, from ▁ for -largest (if not signed, a space for 0) to █ for largest."""
    share = np.clip(np.nan_to_num(row / (largest or 1)), -1, 1)
    heights = 1 + np.minimum((share + 1) * 4, 7).astype(int) if signed else np.ceil(share * 8 - 0.5).astype(int)
    return "".join(BARS[height] for height in heights)


def as_png(matrix, largest, signed=True):
    """Return a matrix as the bytes of a PNG, one pixel per number: white is 0, blue `largest`, red -`largest`."""
    share = np.clip(np.nan_to_num(matrix / (largest or 1)), -1, 1)
    pixels = np.rint(share * N_SHADES + N_SHADES).astype(np.uint8)  # indices in the palette
    fade = np.linspace(0, 1, N_SHADES + 1)[:, None]
    palette = np.concatenate([RED + (WHITE - RED) * fade, (WHITE + (BLUE - WHITE) * fade)[1:]])
    height, width = matrix.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)  # each row begins with its filter: 0 is none
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),  # 8 bits a pixel, colour type 3: a palette
        (b"PLTE", np.rint(palette).astype(np.uint8).tobytes()),
        (b"IDAT", zlib.compress(rows, 9)),
        (b"IEND", b""),
    )
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def as_html_image(matrix, largest, width, height, signed=True):
    """Return a matrix as an HTML image of this size, with its data in the page itself.

    The pixels are enlarged here because Jupyter removes image-rendering from a notebook that it does not trust, and
    would blur them.
    """
    rows, columns = (np.arange(size) * n // size for size, n in zip((height, width), matrix.shape, strict=True))
    data = base64.b64encode(as_png(matrix[rows][:, columns], largest, signed)).decode()
    style = f"width:{width}px; height:{height}px; image-rendering:pixelated; border:1px solid #ddd; margin:0"
    return f'<img alt="" src="data:image/png;base64,{data}" style="{style}">'
