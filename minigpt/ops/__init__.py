"""The operations of the forward pass, as sets that can replace one another.

plain.py        the operations as NumPy formulas: read these
operations.py   what a set of operations is
jit/            the same operations compiled by Numba
auto.py         the set that begins with the formulas and continues with the kernels
replace.py      a set with operations of your own
packed.py       matrices in 4, 8 and 16 bits
threads.py      how many cores the operations use
process.py      settings of the whole process, made only on request
"""

import os

from minigpt.checks import require, shown
from minigpt.ops import plain
from minigpt.ops.auto import MIN_KERNEL_PARAMETERS, AutoOperations
from minigpt.ops.operations import Operations
from minigpt.ops.process import tune_process
from minigpt.ops.replace import replace_ops
from minigpt.ops.threads import get_threads, set_threads

__all__ = ["Operations", "choose_ops", "formulas", "get_threads", "plain", "replace_ops", "set_threads", "tune_process"]

formulas = Operations.of_module("plain", plain)


def choose_ops(ops, config):
    """Return the set of operations of this name, for a model of this configuration; a set is returned as it is.

    "plain": NumPy. "jit": Numba; compiles its kernels first if they are not in the cache on disk. "auto": plain for a
    small model; for others jit, without waiting for it: the plain operations serve until the kernels are ready. The
    environment variable MINIGPT_OPS=plain or jit overrides "auto". Raises ValueError for another name.
    """
    if isinstance(ops, Operations):
        return ops
    require(isinstance(ops, str), "ops", ops, '"plain", "jit" or "auto"')
    choice = (os.environ.get("MINIGPT_OPS") or "auto") if ops == "auto" else ops
    if choice == "auto":
        return AutoOperations(config) if config.parameter_count() >= MIN_KERNEL_PARAMETERS else formulas
    if choice == "plain":
        return formulas
    if choice == "jit":
        from minigpt.ops import jit  # here, because importing Numba takes half a second

        return Operations.of_module("jit", jit, compiled=True)
    raise ValueError(
        f'{"ops" if choice == ops else "MINIGPT_OPS"} must be "plain", "jit" or "auto", not {shown(choice)}'
    )
