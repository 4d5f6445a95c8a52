"""A training in its folder: whenever it stops, and whatever fails, it can go on."""

import os
import re

import pytest
from trainings import assert_same_state, small_settings

from minigpt import GPT2, GPT2Config, Tokenizer
from minigpt.training.trainer import Training


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda text: text.replace('"threads": 1', '"threads": 999'),
            "this training used 999 threads, but threads must",
        ),
        (lambda text: text[:50], "training.json is not what a training wrote: "),
        (lambda text: text.replace('"seed"', '"sead"'), "training.json is not what a training wrote: "),
    ],
)
def test_settings_that_do_not_fit(tmp_path, training_text, change, sentence):
    Training.start(tmp_path / "out", small_settings(training_text))
    path = tmp_path / "out" / "training.json"
    path.write_text(change(path.read_text()))
    with pytest.raises(ValueError, match=re.escape(sentence)):
        Training.resume(tmp_path / "out")


def test_a_folder_with_a_model_is_not_overwritten(tmp_path, training_text):
    model = tmp_path / "model"
    GPT2.random(GPT2Config(n_layer=1, n_head=1, n_embd=4, vocab_size=99, n_positions=16)).save_pretrained(model)
    Tokenizer.of_characters(set(training_text.read_text())).save_pretrained(model)
    (model / "tokens.bin").touch()
    before = {path.name: path.read_bytes() for path in model.iterdir()}
    with pytest.raises(ValueError, match="has a model, which training would overwrite"):
        Training.start(model, small_settings(training_text, init=str(model)))
    (model / "tokens.bin").unlink()
    with pytest.raises(ValueError, match="has a model, which training would overwrite"):
        Training.start(model, small_settings(training_text))
    del before["tokens.bin"]
    assert {path.name: path.read_bytes() for path in model.iterdir()} == before


def test_full_disk(tmp_path, training_text, monkeypatch):
    """Whichever write fails: what was saved before is still there, and goes on to the same end."""
    Training.start(tmp_path / "whole", small_settings(training_text)).run()
    for failing in range(1, 12):
        folder = tmp_path / f"full{failing}"
        training = Training.start(folder, small_settings(training_text))
        replace, writes = os.replace, []

        def no_room(source, target, replace=replace, writes=writes, failing=failing):
            writes.append(target)
            if len(writes) == failing:
                raise OSError(28, "No space left on device")
            replace(source, target)

        monkeypatch.setattr(os, "replace", no_room)
        with pytest.raises(
            OSError, match=r"stopped at step \d+: .*No space.*; --resume continues from step (0|4|8|12)$"
        ):
            training.run()
        monkeypatch.setattr(os, "replace", replace)
        assert not list(folder.rglob(".*"))
        (folder / "last" / ".optimizer-8.safetensors.1.partial").touch()  # as if it had been killed, too
        Training.resume(folder).run()
        assert_same_state(tmp_path / "whole", folder)
        assert not list(folder.rglob(".*"))


def test_a_start_that_was_killed_starts_again(tmp_path, training_text, monkeypatch):
    """Whichever file it was about to write."""
    Training.start(tmp_path / "whole", small_settings(training_text)).run()
    write, failing = os.replace, 0
    while True:
        failing += 1
        folder, left = tmp_path / f"killed{failing}", [failing]

        def killed(source, target, left=left):
            left[0] -= 1
            if left[0] == 0:
                raise SystemExit
            write(source, target)

        monkeypatch.setattr(os, "replace", killed)
        try:
            Training.start(folder, small_settings(training_text))
            break
        except SystemExit:
            monkeypatch.setattr(os, "replace", write)
            assert not (folder / "training.json").exists()
            Training.start(folder, small_settings(training_text)).run()
            assert_same_state(tmp_path / "whole", folder)
    assert failing > 6
