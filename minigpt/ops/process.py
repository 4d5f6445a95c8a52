"""Settings of the whole process that make minigpt faster. minigpt changes no process without being asked.

The command line and the trainer call `tune_process`, because their process is minigpt's own. In a notebook, or in a
program that embeds minigpt, call it yourself.
"""

import contextlib
import ctypes
import sys
import threading

from minigpt.ops.threads import set_threads

_tuned = threading.Event()


def tune_process(threads=None, *, training=False):
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
    # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_ARENA_MAX: all threads can reuse memory that one of them frees.
    settings = ((-3, 2**25), (-1, 2**27), (-8, 1))
    if everything:
        settings = ((-4, 0), (-1, 2**31 - 1), (-8, 1))  # M_MMAP_MAX: no array gets a mapping of its own
    for parameter, value in settings:
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
