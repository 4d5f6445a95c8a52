"""The number of cores that the operations use: one setting for NumPy's BLAS and for Numba's kernels."""

import ctypes
import os
from collections.abc import Callable
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minigpt.checks import is_integer, shown

_chosen = []  # the number that set_threads set last; empty before its first call


def set_threads(n: int | None = None) -> None:
    """Use n threads from now on, in the whole process; by default, default_threads(). Raises ValueError."""
    usable = usable_cpus()
    if n is not None and not (is_integer(n) and 1 <= n <= usable):
        raise ValueError(f"threads must be an integer from 1 to {usable}, the number of usable CPUs, not {shown(n)}")
    _chosen[:] = [default_threads() if n is None else int(n)]
    blas = openblas()
    if blas is not None:
        blas.set_threads(_chosen[0])


def get_threads() -> int:
    """Return the number of threads that the operations use."""
    return _chosen[0] if _chosen else default_threads()


@cache
def default_threads() -> int:
    """Return the number of physical cores that this process may use.

    Two threads on one core would share its arithmetic and its cache. OMP_NUM_THREADS, if it is set, and a container's
    limit are upper bounds.
    """
    bounds = [usable_cpus(), _physical_cores(), _container_cpus()]
    if os.environ.get("OMP_NUM_THREADS", "").isdecimal():
        bounds.append(int(os.environ["OMP_NUM_THREADS"]))
    return max(1, min(bounds))


@contextmanager
def blas_on_one_thread():
    """Have every call of BLAS compute on the thread that calls it. Yield the number of threads that should call it."""
    blas = openblas()
    if blas is None:  # Another BLAS shares its work among the cores itself.
        yield 1
        return
    before = blas.get_threads()
    blas.set_threads(1)
    try:
        yield get_threads()
    finally:
        blas.set_threads(_chosen[0] if _chosen else before)


def usable_cpus() -> int:
    """Return the number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _physical_cores():
    """Count cores from Linux's lists of the CPUs that share one; elsewhere every CPU counts as a core."""
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    cores = set()
    for cpu in usable:
        siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        cores.add(siblings.read_text() if siblings.exists() else cpu)
    return len(cores)


def _container_cpus():
    """Return a container's share of the CPUs, rounded; without a limit, all usable ones."""
    limit = Path("/sys/fs/cgroup/cpu.max")  # "quota period" in microseconds, or "max period"
    quota, _, period = limit.read_text().partition(" ") if limit.exists() else ("max", "", "")
    return usable_cpus() if quota == "max" else max(1, round(int(quota) / int(period)))


class OpenBLAS(NamedTuple):
    """The library's functions that set and return its number of threads."""

    set_threads: Callable
    get_threads: Callable


@cache
def openblas() -> OpenBLAS | None:
    """Return NumPy's OpenBLAS, or None if NumPy uses another BLAS, as on macOS."""
    path = _openblas_path()
    library = ctypes.CDLL(path) if path else None  # NumPy has loaded it: this is the same library
    for prefix in ("scipy_openblas", "openblas"):
        if hasattr(library, f"{prefix}_set_num_threads64_"):
            return OpenBLAS(*(getattr(library, f"{prefix}_{do}_num_threads64_") for do in ("set", "get")))
    return None


def _openblas_path():
    """Return the path of the OpenBLAS that comes with NumPy's wheels, or None."""
    numpy_folder = Path(np.__file__).parent
    folders = (numpy_folder.parent / "numpy.libs", numpy_folder / ".dylibs")
    return next((str(path) for folder in folders for path in folder.glob("*openblas*")), None)
