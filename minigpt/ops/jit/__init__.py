"""The operations of plain.py, compiled by Numba for float32: the same names, arguments and results.

Two kinds of work take the time. A new token multiplies one vector by every matrix: each weight is read from memory once
and used once, so memory sets the pace, and the kernels read the weights in order, in as few bits as they are stored in.
A long prompt multiplies hundreds of vectors: arithmetic sets the pace. For float32, BLAS, which NumPy calls, comes
closest to what the processor can do. For 8 and 16 bits processors have instructions of their own, which BLAS does not
use and Numba does not find: tile.py keeps a product in registers and calls them.

    registers.py        registers and instructions as functions that kernels call
    dot_products.py     which instructions these are, by the processor
    tile.py             the inner loop of a product with a panel of packed weights (minigpt/ops/packed.py)

Each module has an operation and the kernels that compute it. A function whose name ends in _kernel is compiled for one
signature. Where the kernels do not apply (float64, another memory layout, attention that is traced), plain.py computes.
Importing this package compiles the kernels, or reads them from Numba's cache on disk; the first product with packed
weights does so with theirs. R counts the rows of a matrix.
"""

from minigpt.ops.jit.attention import attention
from minigpt.ops.jit.gelu import gelu, gelu_new, relu
from minigpt.ops.jit.layer_norm import layer_norm
from minigpt.ops.jit.linear import linear
from minigpt.ops.jit.softmax import softmax

__all__ = ["attention", "gelu", "gelu_new", "layer_norm", "linear", "relu", "softmax"]
