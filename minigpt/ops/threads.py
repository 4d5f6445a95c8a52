"""How many cores the operations use: one number for NumPy's BLAS and for Numba's kernels together."""

import ctypes
import os
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np

_setting = []  # what set_threads was told last


def set_threads(n=None):
    """Use n threads from now on, in the whole process; None: default_threads(). Raises ValueError."""
    usable = _usable_cpus()
    if n is not None and not (isinstance(n, int) and not isinstance(n, bool) and 1 <= n <= usable):
        raise ValueError(f"threads must be an integer from 1 to {usable}, the CPUs that we may use, not {n!r}")
    _setting[:] = [default_threads() if n is None else n]
    set_blas_threads = _blas_function()
    if set_blas_threads is not None:
        set_blas_threads(_setting[0])


def get_threads():
    """The number of threads in use."""
    if not _setting:
        set_threads()
    return _setting[0]


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
    """Inside, every call of BLAS computes on the thread that calls it. Gives the number of such threads to use."""
    set_blas_threads = _blas_function()
    if set_blas_threads is None:  # another BLAS, which spreads its work itself
        yield 1
        return
    set_blas_threads(1)
    try:
        yield get_threads()
    finally:
        set_blas_threads(get_threads())


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


@cache
def _blas_function():
    """The function of NumPy's OpenBLAS that sets its number of threads, or None (another BLAS, as on macOS)."""
    path = _blas_library()
    blas = ctypes.CDLL(path) if path else None  # loaded already: this is the same one, not another
    for name in ("scipy_openblas_set_num_threads64_", "openblas_set_num_threads64_"):
        if hasattr(blas, name):
            return getattr(blas, name)
    return None


def _blas_library():
    numpy_folder = Path(np.__file__).parent
    folders = (numpy_folder.parent / "numpy.libs", numpy_folder / ".dylibs")
    return next((str(path) for folder in folders for path in folder.glob("*openblas*")), None)
