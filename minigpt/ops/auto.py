"""The set "auto": the formulas at first, the kernels as soon as Numba has them ready."""

import threading
from functools import wraps

import numpy as np

from minigpt.ops import plain
from minigpt.ops.operations import RESULT_SHAPES, Operations, untapped
from minigpt.ops.process import short_switch_interval

MIN_KERNEL_PARAMETERS = 10_000_000  # parameters from which on the kernels gain more than their start costs
LONG_PROMPT_TOKENS = 128  # tokens; a longer prompt is worth the start of the kernels at once


class AutoOperations(Operations):
    """The plain operations, until the kernels have been imported in the background.

    The import begins with the second forward pass: importing Numba earlier would delay the first token. A prompt longer
    than LONG_PROMPT_TOKENS starts it in the first one. The kernels take over between two operations.
    """

    def __init__(self, config):
        super().__init__("auto", {name: self._forwarded(name) for name in RESULT_SHAPES})
        self.attention = self._attention
        self.current = Operations.of_module("plain", plain)
        self._lock = threading.Lock()
        self._thread = None
        self._attentions_left = config.n_layer  # in the first forward pass

    def start(self):
        """Begin to import the kernels, unless that has begun."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._import, name="minigpt kernels")
                self._thread.start()

    def ready(self):
        """Return the kernels when they are imported; the formulas if they cannot be."""
        self.start()
        self._thread.join()
        return self.current

    def _forwarded(self, name):
        @wraps(getattr(plain, name))
        def forwarded(*arguments, **named):
            return getattr(self.current, name)(*arguments, **named)

        return forwarded

    @wraps(plain.attention)
    def _attention(self, q, k, v, scale=None, padding=None, tap=untapped):
        self._attentions_left -= 1
        T = q.shape[2]
        if self._thread is None and (self._attentions_left < 0 or T > LONG_PROMPT_TOKENS):
            self.start()
        if self.current.compiled or tap is not untapped or T <= LONG_PROMPT_TOKENS:
            return self.current.attention(q, k, v, scale, padding, tap)
        return attention_in_blocks(q, k, v, scale, padding)

    def _import(self):
        try:
            with short_switch_interval():
                from minigpt.ops import jit  # here, because importing Numba takes half a second
        except ImportError:  # this machine has no Numba
            return
        except Exception:
            if threading.main_thread().is_alive():
                raise
            return  # the program ended while the kernels were compiled
        self.current = Operations.of_module("jit", jit, compiled=True)


def attention_in_blocks(q, k, v, scale=None, padding=None):
    """plain.attention of a long prompt, a block of queries at a time;  q, k, v as there -> [B, H, T, K].

    The formula makes arrays [B, H, T, S]. A block of queries needs less memory, and only the keys that it sees.
    """
    T, S = q.shape[2], k.shape[2]
    heads = []
    for start in range(0, T, LONG_PROMPT_TOKENS):
        stop = min(start + LONG_PROMPT_TOKENS, T)
        seen = S - T + stop
        heads.append(plain.attention(q[:, :, start:stop], k[:, :, :seen], v[:, :, :seen], scale, padding))
    return np.concatenate(heads, axis=2)
