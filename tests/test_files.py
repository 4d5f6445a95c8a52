"""A file appears whole or not at all."""

import errno
import os
import subprocess
import sys

import pytest
from checkpoints import TINY_CONFIG, assert_same_model
from reference import lively_model

from minigpt import GPT2
from minigpt.files import write_file


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


def test_a_link_stays_a_link(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    write_file(link, lambda partial: partial.write_text("new"))
    assert link.is_symlink() and target.read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "target"]


@pytest.mark.skipif(sys.platform == "win32", reason="reads the flags of a file as Unix has them")
def test_a_file_that_is_flushed_is_open_for_writing(tmp_path, monkeypatch):
    import fcntl

    flushed = []
    monkeypatch.setattr(os, "fsync", lambda file: flushed.append(fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE))
    write_file(tmp_path / "file", lambda partial: partial.write_text("text"))
    assert flushed == [os.O_RDWR] and (tmp_path / "file").read_text() == "text"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes in folders")
def test_what_is_no_file_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(OSError, match=f"{name} is not a file: choose another name"):
            write_file(tmp_path / name, lambda partial: partial.write_text("new"))
    assert (tmp_path / "pipe").is_fifo() and (tmp_path / "folder").is_dir()
    assert len(list(tmp_path.iterdir())) == 2


def test_an_error_names_the_file(tmp_path):
    def full(partial):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left on device: .*big.html"):
        write_file(tmp_path / "big.html", full)
    assert not list(tmp_path.iterdir())
