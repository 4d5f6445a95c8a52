"""A file appears whole or not at all."""

import subprocess
import sys

import pytest
from checkpoints import TINY_CONFIG, assert_same_model
from reference import lively_model

from minigpt import GPT2


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_saving_over_itself_and_failing_to_save(tmp_path):
    model = lively_model(TINY_CONFIG, seed=0, dtype="float32")
    model.save_pretrained(tmp_path)
    loaded = GPT2.from_pretrained(tmp_path)
    loaded.save_pretrained(tmp_path)
    assert_same_model(GPT2.from_pretrained(tmp_path), model)

    # A limit on the size of files acts like a full disk. The old files stay, and no part of a new one is left.
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    script = f"""
import resource, signal
from minigpt import GPT2
model = GPT2.from_pretrained({str(tmp_path)!r})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    model.save_pretrained({str(tmp_path)!r})
except OSError as error:
    print("OSError:", error)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "OSError:" in result.stdout and "model.safetensors" in result.stdout, result.stderr
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
