"""The settings of a training, their presets, and the options that the command line makes of them."""

import subprocess
import sys
from dataclasses import fields

import pytest
from click.testing import CliRunner
from reference import SHAKESPEARE

from minigpt import GPT2, GPT2Config
from minigpt.cli.train import train
from minigpt.training.settings import PRESETS, RANDOM_MODEL_SETTINGS, Settings


def test_presets_follow_what_is_given(tmp_path, training_text):
    def given(preset=None, **options):
        return Settings.from_preset(preset, text=[str(training_text)], **options)

    assert given() == given("char") and given(init=SHAKESPEARE) == given("finetune", init=SHAKESPEARE)
    assert given(lr=1e-5).min_lr == pytest.approx(1e-6)
    assert given(lr=1e-5, min_lr=1e-5).min_lr == 1e-5 and given().min_lr == 1e-4
    assert given(steps=50).warmup == 5 and given(steps=50, warmup=9).warmup == 9 and given().warmup == 100
    GPT2.random(GPT2Config(n_layer=1, n_head=1, n_embd=4, vocab_size=99, n_positions=16)).save_pretrained(tmp_path)
    assert given(init=str(tmp_path)).block_size == 16 and given(init=str(tmp_path), block_size=8).block_size == 8
    with pytest.raises(ValueError, match=r"min_lr, the learning rate at the end, is 0\.1: above lr"):
        given(min_lr=0.1)


def test_every_setting_is_an_option_with_its_help():
    shown = " ".join(CliRunner().invoke(train, ["--help"], terminal_width=10_000).output.split())
    for field in fields(Settings):
        assert f" --{field.name.replace('_', '-')} " in shown
        assert field.metadata["help"] in shown


def test_options_become_settings_of_their_types(tmp_path, training_text, monkeypatch):
    def start(folder, settings):
        raise ValueError(repr(settings))

    monkeypatch.setattr("minigpt.training.trainer.Training.start", start)
    options = "--out x --text a --text b --steps 7 --lr 0.5 --tokenizer bpe:300 --ops plain --threads 1 --validation c"
    with pytest.raises(ValueError) as error:
        train.main(options.split(), standalone_mode=False)
    assert str(error.value) == repr(
        Settings.from_preset(
            text=("a", "b"), steps=7, lr=0.5, tokenizer="bpe:300", ops="plain", threads=1, validation="c"
        )
    )


def test_names_of_settings_are_names_of_fields():
    names = {field.name for field in fields(Settings)}
    assert names.issuperset(RANDOM_MODEL_SETTINGS)
    assert all(names.issuperset(values) for values in PRESETS.values())


def test_settings_import_nothing_heavy():
    code = "import sys, minigpt.training.settings; print('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
