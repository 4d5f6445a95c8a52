"""How Numba compiles the kernels: their common options, and the cache on disk."""

import threading
import warnings
from functools import cache
from pathlib import Path

import numba

from minigpt.ops.jit import dot_products

if numba.config.DISABLE_JIT:
    raise ImportError("NUMBA_DISABLE_JIT switches off the compiler of the kernels")

# What LLVM may do with floats. NaN and inf keep their meaning; only sums that may be reordered are vectorised.
FIXED_ORDER = {"nsz", "contract"}
ANY_ORDER = FIXED_ORDER | {"reassoc"}


def inlined(fastmath):
    """Compile a function that only kernels call.

    Division by zero gives inf, as in NumPy: a check for it would prevent vectorising.
    """
    return numba.njit(fastmath=fastmath, error_model="numpy")


@cache
def _warn_of_damage():
    folder = numba.config.CACHE_DIR or Path(__file__).parent / "__pycache__"
    warnings.warn(f"compiled kernels in {folder} are damaged and not used: delete that folder", stacklevel=2)


def kernel(signature, parallel=True, fastmath=ANY_ORDER):
    """Compile a function for the one signature that it is called with, and cache it on disk if possible.

    Numba compiles a kernel again when the kernel's own file has changed. After changing an inlined function in another
    file, delete the __pycache__ folders of the files that use it.
    """

    def compiled(function):
        if not threading.main_thread().is_alive():
            raise ImportError("the program is ending: no more kernels are compiled")
        options = {"parallel": parallel, "fastmath": fastmath, "nogil": True, "error_model": "numpy"}
        is_cached = dot_products.follows_from_the_processor()  # the cache knows nothing else
        try:
            return numba.njit(signature, cache=is_cached, **options)(function)
        except (RuntimeError, OSError):  # The cache cannot be written: compile for this process alone.
            return numba.njit(signature, **options)(function)
        except Exception:  # What Numba reads from a damaged file can fail in any way, and would fail in every run.
            result = numba.njit(signature, **options)(function)  # raises, too, if it is the function that is at fault
            _warn_of_damage()
            return result

    return compiled
