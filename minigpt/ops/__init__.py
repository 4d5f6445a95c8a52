"""The operations that the forward pass is made of, as sets that can be exchanged.

`plain` holds them as NumPy formulas, `jit` the same compiled. `choose_ops` finds a set by its name, `replace_ops` makes
one with some operations replaced by functions of your own.
"""

import ctypes
import inspect
import math
import os
import sys
import threading
from functools import cache, partial

import numpy as np

from minigpt.ops import plain
from minigpt.ops.threads import get_threads, set_threads
from minigpt.trace import checked_result, untapped

# From this many parameters on the kernels gain more than their start costs.
LARGE = 10_000_000
LONG = 128  # tokens of a prompt

# The operations, and the shape that each one's result must have.
RESULT_SHAPES = {
    "softmax": lambda x: x.shape,
    "gelu_new": lambda x: x.shape,
    "gelu": lambda x: x.shape,
    "relu": lambda x: x.shape,
    "layer_norm": lambda x, weight, bias, eps: x.shape,
    "linear": lambda x, weight, bias=None: (*x.shape[:-1], weight.shape[1]),
    "attention": lambda q, k, v: q.shape,
}


def choose_ops(name, config, threads=None):
    """The set of operations of that name for a model of that configuration. Raises ValueError.

    "plain": NumPy. "jit": Numba; compiles its kernels first if they are not in the cache on disk. "auto": plain for a
    small model; for others jit, without waiting for it: the plain operations serve until the kernels are ready. The
    environment's MINIGPT_OPS decides what "auto" is. threads: see GPT2.from_pretrained.
    """
    set_threads(threads) if threads is not None else get_threads()  # which sets the default, if none is set
    keep_freed_memory()
    choice = os.environ.get("MINIGPT_OPS") or "auto" if name == "auto" else name
    if choice == "auto":
        return _WhenReady(config) if config.parameter_count() >= LARGE else plain
    if choice == "plain":
        return plain
    if choice == "jit":
        from minigpt.ops import jit

        return jit
    raise ValueError(f'{"ops" if choice == name else "MINIGPT_OPS"} must be "plain", "jit" or "auto", not {choice!r}')


def ready(ops):
    """A set of operations as it is when its kernels are ready, for those who would rather wait."""
    if not isinstance(ops, _WhenReady):
        return ops
    ops.wait_until_ready()
    return ops._ops


@cache
def keep_freed_memory(all_of_it=False):
    """Have the GNU C library keep freed memory for the next array, up to 128 MB of it or, for training, all.

    It gives large arrays back to the system at once, and new memory has to be cleared page by page: a tenth of the time
    of a long prompt, and of a training step, whose gradients and activations have the same sizes every time.
    """
    if sys.platform == "linux" and hasattr(ctypes.CDLL(None), "mallopt"):
        # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_ARENA_MAX: what one thread gives back another can take.
        settings = ((-3, 2**25), (-1, 2**27), (-8, 1))
        if all_of_it:
            settings = ((-4, 0), (-1, 2**31 - 1), (-8, 1))  # M_MMAP_MAX: nothing is mapped for itself
        for parameter, value in settings:
            ctypes.CDLL(None).mallopt(parameter, value)


class _WhenReady:
    """The plain operations, until jit has been imported in the background.

    The import begins with the second forward pass, when the first token is out: importing Numba before would take the
    processor from what everybody waits for. A long prompt is worth it at once.
    """

    def __init__(self, config):
        self._ops = plain
        self._lock = threading.Lock()
        self._thread = None
        self._attentions_left = config.n_layer

    def attention(self, q, k, v, scale=None, padding=None, tap=untapped):
        self._attentions_left -= 1
        T, S = q.shape[2], k.shape[2]
        if self._thread is None and (self._attentions_left < 0 or T > LONG):
            self.start()
        if self._ops is not plain or tap is not untapped or T <= LONG:
            return self._ops.attention(q, k, v, scale, padding, tap)
        # The formula makes arrays [B, H, T, S]. A block of queries at a time needs less memory, and only what it sees.
        heads = []
        for start in range(0, T, LONG):
            stop = min(start + LONG, T)
            seen = S - T + stop
            heads.append(plain.attention(q[:, :, start:stop], k[:, :, :seen], v[:, :, :seen], scale, padding))
        return np.concatenate(heads, axis=2)

    def start(self):
        """Begin to import the kernels, if nobody has."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._import, name="minigpt kernels")
                self._thread.start()

    def wait_until_ready(self):
        """Return when the kernels are ready, or cannot be."""
        self.start()
        self._thread.join()

    def _import(self):
        # The interpreter changes threads every 5 ms: a token's hundreds of small steps would each wait that long.
        interval = sys.getswitchinterval()
        sys.setswitchinterval(interval / 20)
        try:
            from minigpt.ops import jit
        except ImportError:  # no Numba on this machine
            return
        except Exception:
            if threading.main_thread().is_alive():
                raise
            return  # the program ended while the kernels were compiled
        finally:
            sys.setswitchinterval(interval)
        self._ops = jit

    def __getattr__(self, name):
        return getattr(self._ops, name)


class _Replaced:
    """A set of operations with some of them replaced: `replaced` has the names of all that are."""

    def __init__(self, ops, functions, names):
        self._ops = ops
        self.replaced = (*getattr(ops, "replaced", ()), *names)
        self.__dict__.update(functions)

    def __getattr__(self, name):
        return getattr(self._ops, name)


def replace_ops(ops, **functions):
    """The set `ops` with some operations replaced, by name.

    Functions are called with positional arguments: softmax(x), gelu(x), layer_norm(x, weight, bias, eps),
    linear(x, weight, bias) where bias may be None, attention(q, k, v). An attention with parameters called scale,
    padding or tap receives them too; a model or batch that needs what it does not take is refused. A replaced softmax
    works inside the attention of plain. Results are converted to the dtype of the first argument. Raises ValueError
    for a name that is no operation, and when called for a result of another shape than it must have.
    """
    for name in functions:
        if name not in RESULT_SHAPES:
            raise ValueError(f"there is no operation {name!r}; the operations are {', '.join(RESULT_SHAPES)}")
    changed = {name: _checked(name, function) for name, function in functions.items()}
    if "attention" in functions:
        changed["attention"] = _with_full_arguments(functions["attention"])
    if "softmax" in functions:
        if "attention" in (*functions, *getattr(ops, "replaced", ())):
            raise ValueError("softmax works inside minigpt's attention, which is replaced by one that does not call it")
        changed["attention"] = partial(plain.attention, softmax=changed["softmax"])
    if hasattr(ops, "start"):
        ops.start()  # a replaced attention would never do so
    return _Replaced(ops, changed, functions)


def _checked(name, function):
    def checked(x, *others, **named):
        arguments = (x, *others, *named.values())  # the forward pass names weight, bias and eps, in this order
        expected = RESULT_SHAPES[name](*arguments)
        if name == "linear" and len(arguments) == 2:
            arguments = (*arguments, None)
        return checked_result(f"the replaced {name}", function(*arguments), expected, x.dtype)

    return checked


def _with_full_arguments(attention):
    """A function of (q, k, v) and perhaps some of scale, padding, tap, as one that is called with all of them."""
    parameters = inspect.signature(attention).parameters
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())

    def adapted(q, k, v, scale, padding, tap):
        options = {"scale": scale, "padding": padding, "tap": tap}
        options = {name: value for name, value in options.items() if takes_all or name in parameters}
        if "scale" not in options and not math.isclose(scale, q.shape[-1] ** -0.5):
            raise ValueError("this model does not scale scores by 1/sqrt(K): attention must take a parameter `scale`")
        if "padding" not in options and padding is not None:
            raise ValueError("prompts of different lengths in one batch: attention must take a parameter `padding`")
        return checked_result("the replaced attention", attention(q, k, v, **options), q.shape, q.dtype)

    return adapted
