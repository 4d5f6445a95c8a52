"""The choice of operations, and the set that begins with the formulas and goes on with the kernels."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from drawn_arrays import assert_same, draw_array
from hypothesis import given
from hypothesis import strategies as st

from minigpt import GPT2, GPT2Config
from minigpt.ops import formulas, jit, plain
from minigpt.ops.auto import AutoOperations
from minigpt.ops.operations import RESULT_SHAPES


@pytest.mark.slow
def test_auto_never_waits():
    # A child without a cache on disk: the first tokens come from the plain operations, the later ones from the kernels.
    script = """
import os, sys, tempfile, time
os.environ["NUMBA_CACHE_DIR"] = tempfile.mkdtemp()
from minigpt import GPT2, GPT2Config
from minigpt.ops import formulas, plain
config = GPT2Config(n_layer=2, n_head=4, n_embd=256)
model = GPT2.random(config)
model.generate([1, 2, 3], max_new_tokens=1)
assert "numba" not in sys.modules, "the first token waited for Numba"
start = time.perf_counter()
model.generate([1, 2, 3], max_new_tokens=4)
assert model.ops.current.linear is plain.linear, "the next tokens waited for the compiler"
kernels = model.ops.ready()
assert kernels.compiled and kernels.linear.__module__ == "minigpt.ops.jit.linear"
assert model.ops.current is kernels
formats = {f"minigpt.ops.jit.{name}" for name in ("int8", "int4", "bfloat16")}
assert not formats & sys.modules.keys(), "kernels were compiled that no weights here need"
with tempfile.TemporaryDirectory() as folder:
    model.save_pretrained(folder)
    packed = GPT2.from_pretrained(folder, quantize="int8")
packed.generate([1, 2, 3], max_new_tokens=1)
packed.ops.ready()
assert formats & sys.modules.keys() == {"minigpt.ops.jit.int8"}
assert GPT2.random(GPT2Config(n_layer=1, n_head=2, n_embd=8)).ops is formulas
"""
    environment = {**os.environ, "MINIGPT_OPS": ""}
    result = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr


@given(data=st.data(), B=st.integers(1, 2), T=st.sampled_from([1, 128, 129, 300]), past=st.sampled_from([0, 5]))
def test_attention_before_the_kernels_are_ready(data, B, T, past):
    waiting = AutoOperations(GPT2Config())
    waiting._thread = threading.current_thread()  # as if they were being imported
    q, k, v = (draw_array(data, (B, 2, n, 4)) for n in (T, T + past, T + past))
    padding = data.draw(st.none() | st.lists(st.integers(0, T + past - 1), min_size=B, max_size=B).map(np.array))
    theirs = plain.attention(q, k, v, 0.3, padding)
    assert_same(waiting.attention(q, k, v, 0.3, padding), theirs, np.abs(v).max() * 20)


def test_a_program_that_ends_does_not_wait_for_the_compiler():
    script = """
import os, tempfile, time
os.environ["NUMBA_CACHE_DIR"] = tempfile.mkdtemp()
from minigpt import GPT2, GPT2Config
GPT2.random(GPT2Config(n_layer=1, n_head=4, n_embd=256)).generate([1], max_new_tokens=3)
"""
    environment = {**os.environ, "MINIGPT_OPS": ""}
    result = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0 and result.stderr == "", result.stderr


def test_unknown_ops():
    for build in (
        lambda: GPT2.random(GPT2Config(n_layer=1), ops="fast"),
        lambda: GPT2.from_pretrained("stories", ops=3),
    ):
        with pytest.raises(ValueError, match='^ops must be "plain", "jit" or "auto"'):
            build()


def test_the_environment_decides_what_auto_is(monkeypatch):
    tiny = GPT2Config(n_layer=1, n_head=2, n_embd=8)
    for value, expected in (("", plain), ("auto", plain), ("plain", plain), ("jit", jit)):
        monkeypatch.setenv("MINIGPT_OPS", value)
        assert GPT2.random(tiny).ops.functions() == {name: getattr(expected, name) for name in RESULT_SHAPES}
        assert GPT2.random(tiny, ops="plain").ops is formulas
    monkeypatch.setenv("MINIGPT_OPS", "fast")
    with pytest.raises(ValueError, match="^MINIGPT_OPS must be .* not 'fast'"):
        GPT2.random(tiny)
