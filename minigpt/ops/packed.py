"""Matrices of weights in fewer bits than float32: decoding is as fast as memory delivers the weights.

A packed matrix stands where a NumPy array of float32 stood: it has `shape`, `T` and `dtype`, m[ids] are float32 rows,
and x @ m works. It is unpacked a block at a time, never as a whole; ops/jit.py has products that do not unpack at all.
"""

import numpy as np

BLOCK = 2**21  # numbers to unpack at a time: 8 MB, which stay in the cache until the product has used them


def transposed(matrix):
    """A copy of the transpose, the rows of the result one after the other in memory."""
    result = np.empty(matrix.shape[::-1], matrix.dtype)
    for start in range(0, len(matrix), 64):  # in strips that the cache holds; NumPy's own copy goes back and forth
        result[:, start : start + 64] = matrix[start : start + 64].T
    return result


class PackedMatrix:
    """What the packed formats share. `stored` [out, in]: the weights of one output lie side by side.

    The matrix is `stored` itself (the embeddings: a token's row is also its output in the head) or, with `turned`, its
    transpose [in, out], as linear takes it.
    """

    __array_ufunc__ = None  # so that x @ m, with x a NumPy array, comes to __rmatmul__
    dtype = np.dtype("float32")  # what it computes in
    ndim = 2

    def __init__(self, stored, turned=False):
        self.stored, self.turned = stored, turned

    def unpack(self, rows):
        """Some rows of `stored` as float32; rows a slice or an array of indices."""
        raise NotImplementedError

    def _with(self, turned):
        return type(self)(self.stored, turned)

    @property
    def shape(self):
        return self.stored.shape[::-1] if self.turned else self.stored.shape

    @property
    def T(self):
        return self._with(not self.turned)

    @property
    def nbytes(self):
        return self.stored.nbytes

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, ids):
        return np.asarray(self)[ids] if self.turned else self.unpack(ids)

    def __array__(self, dtype=None, copy=None):
        if copy is False:
            raise ValueError("a packed matrix becomes an array only by being unpacked")
        whole = self.unpack(slice(None))
        return np.asarray(whole.T if self.turned else whole, dtype)

    def __rmatmul__(self, x):
        """x @ m;  x [.., in] > [.., out], float32."""
        if not self.turned:
            return x @ np.asarray(self)
        y = np.empty((*x.shape[:-1], self.shape[1]), self.dtype)
        for block in self.blocks():
            y[..., block] = x @ self.unpack(block).T
        return y

    def blocks(self):
        """Slices of the rows of `stored`, few enough to unpack at a time."""
        n, step = self.stored.shape[0], max(1, BLOCK // self.stored.shape[1])
        return [slice(start, min(start + step, n)) for start in range(0, n, step)]


class BFloat16Matrix(PackedMatrix):
    """bfloat16 is the upper half of a float32: its range, with 8 bits of precision. stored: uint16 [out, in]."""

    @classmethod
    def pack(cls, matrix):
        """float32 [out, in], rounded to the nearest bfloat16, ties to even. NaN stays NaN."""
        stored = np.empty(matrix.shape, np.uint16)
        packed = cls(stored)
        for block in packed.blocks():
            bits = matrix[block].view(np.uint32)
            rounded = bits + 0x7FFF + ((bits >> 16) & 1) >> 16
            # Rounding up would carry the last NaNs over to another number.
            stored[block] = np.where(np.isnan(matrix[block]), bits >> 16 | 0x40, rounded)
        return packed

    def unpack(self, rows):
        return (self.stored[rows].astype(np.uint32) << 16).view(np.float32)


class Int8Matrix(PackedMatrix):
    """w[o, i] = scales[o] stored[o, i], stored an int8 from -127 to 127;  stored [out, in], scales float32 [out].

    One scale for all the weights of an output, so that a product is a sum of integers, multiplied once at its end.
    """

    def __init__(self, stored, scales, turned=False):
        super().__init__(stored, turned)
        self.scales = scales
        # The largest sum of |stored| over a row bounds what a sum of products can reach.
        self.largest_sum = max(
            (int(np.abs(stored[b], dtype=np.int32).sum(axis=1).max()) for b in self.blocks()), default=0
        )

    @classmethod
    def pack(cls, matrix):
        """float32 [out, in] with every row scaled so that its largest weight becomes 127. Raises ValueError."""
        stored, scales = np.empty(matrix.shape, np.int8), np.empty(len(matrix), np.float32)
        for block in PackedMatrix(stored).blocks():
            largest = np.abs(matrix[block]).max(axis=1)
            if not np.isfinite(largest).all():
                raise ValueError("weights that are not finite cannot be quantized: the model is damaged")
            # Denormal scales have too few bits: what they scaled would leave the range of an int8.
            scales[block] = np.maximum(largest / 127, np.finfo(np.float32).tiny)
            stored[block] = np.rint(matrix[block] / scales[block, None])
        return cls(stored, scales)

    def unpack(self, rows):
        return self.stored[rows] * self.scales[rows][..., None]

    def _with(self, turned):
        matrix = object.__new__(Int8Matrix)
        matrix.__dict__.update(self.__dict__, turned=turned)
        return matrix

    @property
    def nbytes(self):
        return self.stored.nbytes + self.scales.nbytes
