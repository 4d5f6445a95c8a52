"""The set "auto": the formulas at first, the kernels as soon as they are compiled."""

import threading
from functools import update_wrapper, wraps

import numpy as np

from minigpt.ops import plain
from minigpt.ops.operations import RESULT_SHAPES, Operations, untapped
from minigpt.ops.process import short_switch_interval

MIN_KERNEL_PARAMETERS = 10_000_000  # with fewer parameters, starting the kernels costs more than they gain
MAX_SHORT_PROMPT = 128  # tokens; a longer prompt is worth starting the kernels at once
QUERY_BLOCK = 128  # queries of a long prompt whose attention the formula computes together


class AutoOperations(Operations):
    """The plain operations, until the kernels have been imported in the background.

    The import begins with the second forward pass: importing Numba earlier would delay the first token. A prompt longer
    than MAX_SHORT_PROMPT starts it in the first one. The kernels take over between two operations.
    """

    def __init__(self, config):
        super().__init__("auto", {name: Forwarded(self, name) for name in RESULT_SHAPES})
        self.config = config
        self.attention = self._attention
        self.linear = self._linear
        self.current = Operations.of_module("plain", plain)
        self._lock = threading.Lock()
        self._thread = None
        self._attentions_left = config.n_layer  # calls of attention in the first forward pass
        self._weights = {}  # the type of packed weights to a matrix of it

    def __reduce__(self):
        return AutoOperations, (self.config,)  # a copy of a thread cannot be had: a copy of the set begins anew

    def start(self):
        """Begin to import the kernels in the background, once."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._import, name="minigpt kernels")
                self._thread.start()

    def ready(self):
        """Wait for the kernels and return them, or the formulas if they cannot be imported."""
        self.start()
        self._thread.join()
        return self.current

    @wraps(plain.attention)
    def _attention(self, q, k, v, scale=None, padding=None, tap=untapped):
        self._attentions_left -= 1
        T = q.shape[2]
        if self._thread is None and (self._attentions_left < 0 or T > MAX_SHORT_PROMPT):
            self.start()
        if self.current.compiled or tap is not untapped or T <= MAX_SHORT_PROMPT:
            return self.current.attention(q, k, v, scale, padding, tap)
        return attention_in_blocks(q, k, v, scale, padding)

    @wraps(plain.linear)
    def _linear(self, x, weight, bias=None):
        if not isinstance(weight, np.ndarray) and not self.current.compiled:
            self._weights[type(weight)] = weight
        return self.current.linear(x, weight, bias)

    def _import(self):
        try:
            with short_switch_interval():
                from minigpt.ops import jit  # here, because importing Numba takes half a second

                for weight in list(self._weights.values()):  # the first product imports the kernels of a format
                    jit.linear(np.zeros((1, weight.shape[0]), np.float32), weight)
        except ImportError:  # this machine has no Numba
            return
        except Exception:
            if threading.main_thread().is_alive():
                raise
            return  # the program ended while the kernels were compiled
        self.current = Operations.of_module("jit", jit, compiled=True)


class Forwarded:
    """An operation that is computed by the set that is current at the call."""

    def __init__(self, operations, name):
        update_wrapper(self, getattr(plain, name))
        self.operations = operations
        self.name = name

    def __call__(self, *arguments, **named):
        return getattr(self.operations.current, self.name)(*arguments, **named)


def attention_in_blocks(q, k, v, scale=None, padding=None):
    """Compute plain.attention a block of queries at a time;  q, k, v as there -> [B, H, T, K].

    The formula makes arrays [B, H, T, S]. A block of queries takes less memory, and needs only the keys that it sees.
    """
    T, S = q.shape[2], k.shape[2]
    heads = []
    for start in range(0, T, QUERY_BLOCK):
        stop = min(start + QUERY_BLOCK, T)
        seen = S - T + stop
        heads.append(plain.attention(q[:, :, start:stop], k[:, :, :seen], v[:, :, :seen], scale, padding))
    return np.concatenate(heads, axis=2)
