"""Memory while a text goes on and on."""

import os
import subprocess
import sys

import pytest


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="memory is read from /proc")
@pytest.mark.parametrize("n_tokens", [2_000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_memory_does_not_grow_with_the_tokens(n_tokens):
    script = f"""
import re
from minigpt import GPT2
def memory():
    return int(re.search(r"VmRSS:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
model = GPT2.from_pretrained("stories", threads=1)
options = dict(max_new_tokens={n_tokens}, slide=True, do_sample=True, seed=0, eos_token_id=None)
for n, _ in enumerate(model.stream([1, 2, 3], **options)):
    if n == 500:
        before = memory()
print(memory() - before)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    # The context of 256 tokens was full by then. In kB; keys and values of a token are 4 kB, ten times as much.
    assert int(result.stdout) < 0.4 * (n_tokens - 500)
