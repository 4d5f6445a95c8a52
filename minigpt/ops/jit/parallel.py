"""Share work among the cores, by Numba's threads or by our own, never by both at once."""

import os
import threading
from concurrent import futures

import numba

from minigpt.ops.threads import blas_on_one_thread, get_threads

MIN_PARALLEL_SIZE = 2**18  # numbers; for fewer, waking another thread costs more than it saves
FINE = 3  # parts per core, for work whose small parts cost nothing
SPIN_COUNT = 4000  # looks of a waiting thread of libgomp for new work, of 15 to 55 nanoseconds each, before it sleeps

# The threads of kernels do not survive a fork, so a forked child computes with the plain operations.
forked = threading.Event()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forked.set)

_all_cores = threading.Lock()  # Work that uses all cores runs one at a time: two at once would slow each other down.
_workers = futures.ThreadPoolExecutor(os.cpu_count())  # It starts its threads when the first work is submitted.


class _ThreadState(threading.local):
    numba_threads = None  # Numba keeps its number of threads per Python thread.
    single_threaded = False


_state = _ThreadState()


def start_numba_threads():
    """Start the threads of Numba, which wait for work awake for some 0.1 ms and then asleep.

    Between two kernels of a token Python takes less than that. By default the threads of libgomp, which Numba uses,
    stay awake for up to 20 ms. If other programs need the cores, too, one thread then spins on a core while the thread
    that it waits for has none: with eight programs on two cores, a new token took some 50 times as long.
    """
    is_chosen = os.environ.keys() & {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}
    if not is_chosen:
        os.environ["GOMP_SPINCOUNT"] = str(SPIN_COUNT)  # libgomp reads it once, when Numba loads it
    numba.get_num_threads()
    if not is_chosen:
        del os.environ["GOMP_SPINCOUNT"]


start_numba_threads()


def is_single_threaded():
    """Return whether this thread computes one part of an outer_parallel_for, so that it must not use other cores."""
    return _state.single_threaded


def run_on_all_cores(parallel_kernel, *arguments):
    """Call a kernel that was compiled with parallel=True, on the number of threads that is set."""
    with _all_cores:
        if _state.numba_threads != get_threads():
            numba.set_num_threads(min(get_threads(), numba.config.NUMBA_NUM_THREADS))
            _state.numba_threads = get_threads()
        return parallel_kernel(*arguments)


def parallel_for(work, n, parts_per_core=1):
    """Call work(start, stop) on parts of range(n), which the cores take one after the other; for work that calls BLAS.

    With several parts per core (FINE), a core that is slower, or busy with another program, takes fewer of them; but
    BLAS is slower with small parts.

    BLAS itself computes on one thread meanwhile. After a product its own threads spin for a tenth of a second, waiting
    for the next one, on the cores that the kernels need: a new token after a prompt took up to eight times as long.
    """
    if _state.single_threaded or not n:
        return work(0, n)
    with _all_cores, blas_on_one_thread() as threads:
        n_parts = min(n, threads * parts_per_core) if threads > 1 else 1
        parts = iter([(n * i // n_parts, n * (i + 1) // n_parts) for i in range(n_parts)])

        def work_off():
            for part in parts:  # one iterator for all threads: each takes the next part that is left
                work(*part)

        others = [_workers.submit(work_off) for _ in range(min(threads, n_parts) - 1)]
        try:
            work_off()
        finally:
            futures.wait(others)
        for other in others:
            other.result()


def outer_parallel_for(work, n):
    """Like parallel_for, for work that calls operations: within a part, they compute on the part's own thread."""

    def on_one_thread(start, stop):
        _state.single_threaded = True
        try:
            work(start, stop)
        finally:
            _state.single_threaded = False

    parallel_for(on_one_thread, n)


def parallel_for_rows(work, x, *others):
    """Call work(x, *others), arrays of as many rows: on a part per core if x has MIN_PARALLEL_SIZE numbers or more."""
    if x.size < MIN_PARALLEL_SIZE:
        work(x, *others)
    else:
        parallel_for(lambda start, stop: work(*(array[start:stop] for array in (x, *others))), len(x))
