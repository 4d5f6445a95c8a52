"""One setting for all threads; several Python threads at once; forks."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from minigpt import GPT2, GPT2Config, Tokenizer
from minigpt.ops import threads
from minigpt.ops.jit.parallel import FINE, parallel_for


def test_threads():
    usable = threads.usable_cpus()
    before = threads.get_threads()
    try:
        for n in (1, usable):
            threads.set_threads(n)
            assert threads.get_threads() == n
            model = GPT2.random(GPT2Config(n_layer=2, n_head=2, n_embd=64), ops="jit")
            assert np.isfinite(model(np.arange(20))).all()
        for bad in (0, usable + 1, 1.5, True, "2"):
            with pytest.raises(ValueError, match=f"threads must be an integer from 1 to {usable}"):
                GPT2.from_pretrained("stories", threads=bad)
    finally:
        threads.set_threads(before)


@pytest.mark.skipif(threads.usable_cpus() < 2, reason="one core has nobody to take its parts")
def test_a_core_that_is_late_leaves_its_parts_to_others():
    n, done, others_are_done = 60, [], threading.Event()

    def work(start, stop):
        if start == 0:
            assert others_are_done.wait(60), "the other parts waited for the first one"
        done.append((start, stop))
        if sum(stop - start for start, stop in done) == n - n // (2 * FINE):
            others_are_done.set()

    before = threads.get_threads()
    try:
        threads.set_threads(2)
        parallel_for(work, n, FINE)
    finally:
        threads.set_threads(before)
    assert sorted(done) == [(i, i + 10) for i in range(0, n, 10)] and done[-1] == (0, 10)


def test_one_setting_governs_numba_and_blas():
    if threads.openblas() is None:
        pytest.skip("NumPy's BLAS is not OpenBLAS here")
    script = f"""
import numba, numpy as np, threading
from minigpt.ops import jit
from minigpt.ops.threads import blas_on_one_thread, openblas, set_threads
in_blas = openblas().get_threads
x, w = np.ones((64, 256), np.float32), np.ones((256, 256), np.float32).T
def here():
    jit.linear(x[:1], w)  # by a kernel
    print(numba.get_num_threads(), in_blas())
for n in {list(range(1, threads.usable_cpus() + 1))}:
    set_threads(n)
    here()
    other = threading.Thread(target=here)
    other.start(), other.join()
    jit.linear(x, w)  # by BLAS, on our threads, which leaves its own number as it was
    print(n, in_blas())
    with blas_on_one_thread() as shares:
        print(shares, in_blas() * n)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    found = [[int(x) for x in line.split()] for line in result.stdout.splitlines()]
    assert found == [[n, n] for n in range(1, threads.usable_cpus() + 1) for _ in range(4)]


@pytest.mark.parametrize("chosen", [{}, {"GOMP_SPINCOUNT": "17"}])
def test_waiting_threads_soon_sleep(chosen):
    script = "import os; from minigpt.ops import jit; print(os.environ.get('GOMP_SPINCOUNT'))"
    environment = {
        name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    }
    environment |= {"OMP_DISPLAY_ENV": "verbose"} | chosen  # libgomp prints its settings when it is loaded
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    if "GOMP_" not in result.stderr:
        pytest.skip("Numba's threads are not libgomp's here")
    assert f"GOMP_SPINCOUNT = '{chosen.get('GOMP_SPINCOUNT', '4000')}'" in result.stderr
    assert result.stdout.strip() == chosen.get("GOMP_SPINCOUNT", "None")  # as before, for what the program starts later


def test_several_threads_generate_at_once():
    model = GPT2.from_pretrained("stories", ops="jit")
    ids = Tokenizer.from_pretrained("stories").encode("Once upon a time")
    expected = model.generate(ids, max_new_tokens=30)
    results = [None] * 6

    def work(i):
        results[i] = model.generate(ids, max_new_tokens=30)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    [w.start() for w in workers]
    [w.join() for w in workers]
    assert all(np.array_equal(result, expected) for result in results)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_after_a_fork():
    script = """
import os
from minigpt import GPT2
model = GPT2.from_pretrained("stories", ops="jit")
parent = model.generate(list(range(20)), max_new_tokens=20).tolist()
pid = os.fork()
if pid == 0:
    os._exit(0 if model.generate(list(range(20)), max_new_tokens=20).tolist() == parent else 1)
assert os.waitpid(pid, 0)[1] == 0
assert model.generate(list(range(20)), max_new_tokens=20).tolist() == parent
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
