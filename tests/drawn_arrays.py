"""Float32 arrays drawn in every memory layout and with every kind of number, and how nearly two results must agree."""

import numpy as np
from hypothesis import strategies as st

LAYOUTS = ("as it is", "strided", "backwards", "read-only", "unaligned", "fortran", "with room")


def laid_out(x, layout):
    """Return the same numbers in another memory layout."""
    if layout == "strided":
        wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
        wide[..., ::2] = x
        return wide[..., ::2]
    if layout == "backwards":
        return np.ascontiguousarray(x[::-1])[::-1]
    if layout == "unaligned":
        shifted = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
        shifted[...] = x
        return shifted
    if layout == "with room":  # as in a cache, after whose rows there are any numbers
        axis = max(0, x.ndim - 2)
        room = np.full([n + 5 * (i == axis) for i, n in enumerate(x.shape)], np.nan, x.dtype)
        rows = room[(*[slice(None)] * axis, slice(x.shape[axis]))]
        rows[...] = x
        return rows
    x = np.asfortranarray(x) if layout == "fortran" else x.copy()
    x.flags.writeable = layout != "read-only"
    return x


def draw_array(data, shape, kind="normal"):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    x = rng.standard_normal(shape).astype(np.float32)
    if kind == "huge":
        x *= np.float32(1e15)
    elif kind == "denormal":
        x *= np.float32(1e-39)
    elif kind in ("inf", "NaN") and x.size:
        x.flat[data.draw(st.integers(0, x.size - 1))] = np.inf if kind == "inf" else np.nan
    return laid_out(x, data.draw(st.sampled_from(LAYOUTS)))


kinds = st.sampled_from(("normal", "huge", "denormal", "inf", "NaN"))


def assert_same(ours, theirs, scale):
    """Equal except for the rounding of float32; inf and NaN at the same places. scale: the size of the terms added up."""
    assert ours.dtype == theirs.dtype == np.float32 and ours.shape == theirs.shape
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    with np.errstate(invalid="ignore", over="ignore"):
        near = np.abs(ours.astype(float) - theirs) <= 4e-6 * np.asarray(scale, float) + 1e-37
    assert (same | near).all()


def quiet(function, *arguments):
    with np.errstate(all="ignore"):
        return function(*arguments)
