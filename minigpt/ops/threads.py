"""How many cores the operations use: one number for NumPy's BLAS and for Numba's kernels together."""

import ctypes
import os
from collections.abc import Callable
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minigpt.checks import is_integer

_chosen = []  # the number that set_threads was called with last


def set_threads(n=None):
    """Use n threads from now on, in the whole process; by default default_threads(). Raises ValueError."""
    usable = _usable_cpus()
    if n is not None and not (is_integer(n) and 1 <= n <= usable):
        raise ValueError(f"threads must be an integer from 1 to {usable}, the CPUs that we may use, not {n!r}")
    _chosen[:] = [default_threads() if n is None else int(n)]
    if _blas() is not None:
        _blas().set_threads(_chosen[0])


def get_threads():
    """Return the number of threads that the operations use."""
    return _chosen[0] if _chosen else default_threads()


@cache
def default_threads():
    """The physical cores that this process may use: two threads of one core share its arithmetic and its cache.

    OMP_NUM_THREADS, where it is set, and a container's share of the CPUs are upper bounds.
    """
    bounds = [_usable_cpus(), _physical_cores(), _container_cpus()]
    if os.environ.get("OMP_NUM_THREADS", "").isdecimal():
        bounds.append(int(os.environ["OMP_NUM_THREADS"]))
    return max(1, min(bounds))


@contextmanager
def blas_on_one_thread():
    """Inside, every call of BLAS computes on the thread that calls it. Yield the number of such threads to use."""
    blas = _blas()
    if blas is None:  # another BLAS, which spreads its work itself
        yield 1
        return
    before = blas.get_threads()
    blas.set_threads(1)
    try:
        yield get_threads()
    finally:
        blas.set_threads(_chosen[0] if _chosen else before)


def _usable_cpus():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _physical_cores():
    """Linux names each core by the CPUs that share it; elsewhere every CPU counts as a core."""
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    cores = set()
    for cpu in usable:
        siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        cores.add(siblings.read_text() if siblings.exists() else cpu)
    return len(cores)


def _container_cpus():
    limit = Path("/sys/fs/cgroup/cpu.max")  # "quota period" in microseconds, or "max period"
    quota, _, period = limit.read_text().partition(" ") if limit.exists() else ("max", "", "")
    return _usable_cpus() if quota == "max" else max(1, round(int(quota) / int(period)))


class _OpenBLAS(NamedTuple):
    set_threads: Callable
    get_threads: Callable


@cache
def _blas():
    """Return NumPy's OpenBLAS, or None if NumPy uses another BLAS, as on macOS."""
    path = _blas_library()
    library = ctypes.CDLL(path) if path else None  # it is loaded already: this is the same library, not another
    for prefix in ("scipy_openblas", "openblas"):
        if hasattr(library, f"{prefix}_set_num_threads64_"):
            return _OpenBLAS(*(getattr(library, f"{prefix}_{do}_num_threads64_") for do in ("set", "get")))
    return None


def _blas_library():
    numpy_folder = Path(np.__file__).parent
    folders = (numpy_folder.parent / "numpy.libs", numpy_folder / ".dylibs")
    return next((str(path) for folder in folders for path in folder.glob("*openblas*")), None)
