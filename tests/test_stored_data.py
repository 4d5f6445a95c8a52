"""The data of a training in its folder."""

import subprocess
import sys

import numpy as np
import pytest
from reference import SHAKESPEARE
from trainings import assert_same_state, small_settings, write_pairs

from minigpt import GPT2
from minigpt.training.data import TextBatches
from minigpt.training.trainer import Training


def test_the_token_file_is_the_text(tmp_path, training_text):
    other = tmp_path / "other.txt"
    other.write_text("a log.", encoding="utf-8")
    training = Training.start(
        tmp_path / "out", small_settings(training_text, text=[str(training_text), str(other)], tokenizer="bpe:270")
    )
    tokens = np.concatenate([training.batches.tokens, training.validation.tokens])
    assert training.tokenizer.decode(tokens) == training_text.read_text() + "<|endoftext|>a log."
    assert len(training.batches.tokens) == int(len(tokens) * 0.9)
    inputs, targets = training.batches.draw(3)
    assert inputs.shape == targets.shape == (4, 16) and np.array_equal(inputs[:, 1:], targets[:, :-1])
    assert not np.array_equal(inputs, training.batches.draw(4)[0])
    # Every place can be drawn, the last one too.
    batches = TextBatches(np.arange(20), 4, 16, 0)
    assert {row[0] for number in range(30) for row in batches.draw(number)[0]} == {0, 1, 2, 3}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_a_disk_that_is_full_while_tokens_are_written(tmp_path, training_text):
    code = f"""
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
sys.argv = ["minigpt", "train", "--text", {str(training_text)!r}, "--out", {str(tmp_path / "out")!r}, "--block-size", "16"]
from minigpt.cli import main
main()
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 2 and "minigpt: [Errno 27] File too large: " in result.stderr, result.stderr
    assert "tokens.bin" in result.stderr and not list((tmp_path / "out").glob(".*"))


def test_resuming_pairs_needs_nothing_outside_the_folder(tmp_path):
    path = write_pairs(tmp_path / "pairs.jsonl", [(f"{n}+1", str(n + 1)) for n in range(30)])
    chosen = {"init": SHAKESPEARE, "text": (), "data": str(path), "steps": 4, "eval_every": 2}
    whole = Training.start(tmp_path / "whole", small_settings(path, **chosen))
    whole.run()
    stopped = Training.start(tmp_path / "stopped", small_settings(path, **chosen))
    stopped.run_one = stopped.train_step

    def train_step():
        if stopped.step == 1:
            stopped.stop_requested.set()
        return stopped.run_one()

    stopped.train_step = train_step
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    path.write_text('{"prompt": "another", "completion": "file"}\n')
    Training.resume(tmp_path / "stopped").run()
    assert_same_state(tmp_path / "whole", tmp_path / "stopped")
    # It has learnt to end with a token that the model's config.json does not call the end.
    assert GPT2.from_pretrained(SHAKESPEARE).config.eos_token_id is None
    assert GPT2.from_pretrained(str(tmp_path / "whole")).config.eos_token_id == 0
