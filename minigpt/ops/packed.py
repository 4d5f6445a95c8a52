"""Matrices of weights in fewer bits than float32, because decoding waits for memory to deliver the weights.

A packed matrix takes the place of a NumPy array of float32: it has `shape`, `T` and `dtype`, m[ids] are float32 rows,
and x @ m works. The model's products unpack it a block at a time; those in ops/jit do not unpack it at all for
a few rows of x.
"""

import numpy as np

UNPACKED_BLOCK_SIZE = 2**21  # numbers unpacked at a time: 8 MB, which stay in the cache until the product reads them


def transposed_copy(matrix):
    """Return a C-contiguous copy of the transpose."""
    result = np.empty(matrix.shape[::-1], matrix.dtype)
    # In strips that fit in the CPU cache: NumPy's own transposed copy jumps through memory.
    for start in range(0, len(matrix), 64):
        result[:, start : start + 64] = matrix[start : start + 64].T
    return result


class PackedMatrix:
    """The base of the packed formats. `stored` [out, in]: the weights of one output are contiguous in memory.

    The matrix is `stored` itself (the embeddings: a token's row is also its output in the head) or, if `is_transposed`,
    its transpose [in, out], which linear takes.
    """

    __array_ufunc__ = None  # This makes NumPy leave x @ m to __rmatmul__.
    dtype = np.dtype("float32")  # of the results; the weights are stored in fewer bits
    ndim = 2

    def __init__(self, stored, is_transposed=False):
        self.stored = stored
        self.is_transposed = is_transposed

    def unpack(self, rows):
        """Return some rows of `stored` as float32; rows is a slice or an array of indices."""
        raise NotImplementedError

    def _view(self, is_transposed):
        return type(self)(self.stored, is_transposed)

    @property
    def shape(self):
        return self.stored.shape[::-1] if self.is_transposed else self.stored.shape

    @property
    def T(self):
        return self._view(not self.is_transposed)

    @property
    def nbytes(self):
        return self.stored.nbytes

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, ids):
        return np.asarray(self)[ids] if self.is_transposed else self.unpack(ids)

    def __array__(self, dtype=None, copy=None):
        if copy is False:
            raise ValueError("a packed matrix cannot become an array without a copy, because it must be unpacked")
        whole = self.unpack(slice(None))
        return np.asarray(whole.T if self.is_transposed else whole, dtype)

    def __rmatmul__(self, x):
        """Return x @ m;  x [..., in] -> [..., out], float32."""
        if not self.is_transposed:
            return x @ np.asarray(self)
        y = np.empty((*x.shape[:-1], self.shape[1]), self.dtype)
        for block in self.blocks():
            y[..., block] = x @ self.unpack(block).T
        return y

    def blocks(self):
        """Return slices of the rows of `stored`, each small enough to be unpacked at once."""
        n, step = self.stored.shape[0], max(1, UNPACKED_BLOCK_SIZE // self.stored.shape[1])
        return [slice(start, min(start + step, n)) for start in range(0, n, step)]


class BFloat16Matrix(PackedMatrix):
    """bfloat16 is the upper half of a float32: its range, with 8 bits of precision. stored: uint16 [out, in]."""

    @classmethod
    def pack(cls, matrix):
        """Round float32 [out, in] to the nearest bfloat16, ties to even. NaN stays NaN."""
        stored = np.empty(matrix.shape, np.uint16)
        packed = cls(stored)
        for block in packed.blocks():
            bits = matrix[block].view(np.uint32)
            rounded = bits + 0x7FFF + ((bits >> 16) & 1) >> 16
            # Rounding up would turn the NaNs with the highest bits into other numbers.
            stored[block] = np.where(np.isnan(matrix[block]), bits >> 16 | 0x40, rounded)
        return packed

    def unpack(self, rows):
        return (self.stored[rows].astype(np.uint32) << 16).view(np.float32)


class Int8Matrix(PackedMatrix):
    """w[o, i] = scales[o] stored[o, i], stored an int8 from -127 to 127;  stored [out, in], scales float32 [out].

    All weights of an output have one scale, so that a product is a sum of integers, multiplied by the scale once.
    """

    def __init__(self, stored, scales, is_transposed=False):
        super().__init__(stored, is_transposed)
        self.scales = scales
        # The largest sum of |stored| over a row: a bound for the sums of integers in a product.
        self.max_row_sum = max(
            (int(np.abs(stored[block], dtype=np.int32).sum(axis=1).max()) for block in self.blocks()), default=0
        )

    @classmethod
    def pack(cls, matrix):
        """Scale every row of float32 [out, in] so that its largest weight becomes 127, and round. Raises ValueError."""
        stored, scales = np.empty(matrix.shape, np.int8), np.empty(len(matrix), np.float32)
        for block in PackedMatrix(stored).blocks():
            largest = np.abs(matrix[block]).max(axis=1)
            if not np.isfinite(largest).all():
                raise ValueError("weights that are not finite cannot be quantized: the model is damaged")
            # Denormal scales have too few bits: quotients by them could leave the range of an int8.
            scales[block] = np.maximum(largest / 127, np.finfo(np.float32).tiny)
            stored[block] = np.rint(matrix[block] / scales[block, None])
        return cls(stored, scales)

    def unpack(self, rows):
        return self.stored[rows] * self.scales[rows][..., None]

    def _view(self, is_transposed):
        matrix = object.__new__(Int8Matrix)  # without __init__, which would compute max_row_sum again
        matrix.__dict__.update(self.__dict__, is_transposed=is_transposed)
        return matrix

    @property
    def nbytes(self):
        return self.stored.nbytes + self.scales.nbytes
