"""Loading a model changes nothing of the process; tune_process does, because it is asked to."""

import subprocess
import sys

import pytest

from minigpt.ops import threads

# A process that reports its BLAS threads, its switch interval and every call of mallopt.
REPORT = """
import ctypes, sys
calls = []
real = ctypes.CDLL(None).mallopt if sys.platform == "linux" else None
class Watched(ctypes.CDLL):
    def __getattr__(self, name):
        if name == "mallopt":
            return lambda *arguments: calls.append(arguments)
        return super().__getattr__(name)
ctypes.CDLL = Watched
from minigpt.ops import threads
def state():
    blas = threads.openblas()
    return (blas.get_threads() if blas else None), sys.getswitchinterval(), len(calls)
"""


def report(script):
    result = subprocess.run([sys.executable, "-c", REPORT + script], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


@pytest.mark.parametrize("ops", ["plain", "jit", "auto"])
def test_loading_and_running_a_model_leaves_the_process_as_it_was(ops):
    script = f"""
import numpy as np
threads.openblas() and threads.openblas().set_threads(1)  # the host's own choice
sys.setswitchinterval(0.003)
before = state()
from minigpt import GPT2, GPT2Config
from minigpt.training import loss_and_grads
model = GPT2.from_pretrained("stories", ops={ops!r})
model.generate([1, 2, 3], max_new_tokens=3)
large = GPT2.random(GPT2Config(n_layer=2, n_head=4, n_embd=256), ops={ops!r})
large(np.arange(200))
large.ops.ready()
large(np.arange(200))
loss_and_grads(model, [[1, 2, 3]] * 2, [[2, 3, 4]] * 2)
print(state() == before, before, state())
"""
    (line,) = report(script)
    assert line.startswith("True"), line


def test_a_tuned_process():
    blas, interval, calls = eval(report("from minigpt.ops import tune_process\ntune_process(1)\nprint(state())")[0])
    assert blas in (1, None) and interval == pytest.approx(0.005)
    assert calls == (3 if sys.platform == "linux" else 0)


def test_threads_are_set_when_they_are_asked_for():
    blas, *_ = eval(report("from minigpt import GPT2\nGPT2.from_pretrained('stories', threads=1)\nprint(state())")[0])
    assert blas in (1, None)
    with pytest.raises(ValueError, match="threads must be an integer from 1 to"):
        threads.set_threads(0)
