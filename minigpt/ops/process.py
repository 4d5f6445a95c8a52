"""Settings of the whole process that make minigpt faster. minigpt changes no process without being asked.

The command line and the trainer call `tune_process`, because their process is minigpt's own. In a notebook, or in a
program that embeds minigpt, call it yourself.
"""

import contextlib
import ctypes
import sys
import threading

from minigpt.ops.threads import set_threads

# Parameters of mallopt(3), by their numbers in malloc.h.
M_TRIM_THRESHOLD = -1  # bytes of free memory at the end of the heap that are kept
M_MMAP_THRESHOLD = -3  # bytes from which on an array gets a mapping of its own, which is given back at once
M_MMAP_MAX = -4  # how many such mappings there may be
M_ARENA_MAX = -8  # how many heaps: with one, memory that one thread frees serves the others, too

_tuned = threading.Event()


def tune_process(threads: int | None = None, *, training: bool = False) -> None:
    """Set up this process for speed: BLAS's threads, the allocator, and thread switches while kernels are imported.

    threads: the number of cores to use, by default all physical ones that the process may use. training: keep all
    freed memory, not only 128 MB, since every step allocates the same large arrays. Speeds that minigpt reports are
    measured with these settings. Raises ValueError for a number of threads that the process does not have.
    """
    set_threads(threads)
    keep_freed_memory(everything=training)
    _tuned.set()


def keep_freed_memory(everything=False):
    """Have the GNU C library keep freed memory for the next array: up to 128 MB of it, or everything.

    By default it returns large arrays to the system at once, and the system clears new memory page by page. That takes
    a tenth of the time of a long prompt, and of a training step, whose arrays have the same sizes every time.
    """
    if sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"):
        return
    settings = {M_MMAP_THRESHOLD: 2**25, M_TRIM_THRESHOLD: 2**27, M_ARENA_MAX: 1}
    if everything:
        settings = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: 2**31 - 1, M_ARENA_MAX: 1}
    for parameter, value in settings.items():
        ctypes.CDLL(None).mallopt(parameter, value)


@contextlib.contextmanager
def short_switch_interval():
    """Switch threads 20 times as often inside the block, if the process is tuned.

    By default Python switches every 5 ms: each of a token's hundreds of small operations would wait that long for the
    thread that imports the kernels.
    """
    if not _tuned.is_set():
        yield
        return
    interval = sys.getswitchinterval()
    sys.setswitchinterval(interval / 20)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
