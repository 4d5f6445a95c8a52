"""What is installed: every package and its data, under one version."""

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
from helpers import run

import minigpt

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_pyproject_lists_every_package():
    # minigpt.notebooks lies in notebooks/, where setuptools would not find it: so the list is written by hand.
    folders = {path.parent for top in ("minigpt", "weights_loader") for path in (ROOT / top).rglob("__init__.py")}
    packages = {".".join(folder.relative_to(ROOT).parts) for folder in folders} | {"minigpt.notebooks"}
    assert sorted(packages) == PYPROJECT["tool"]["setuptools"]["packages"]


def test_pyproject_lists_every_file_that_is_not_python():
    # What a program needs from an installed minigpt. The READMEs are for readers of the repository.
    patterns = PYPROJECT["tool"]["setuptools"]["package-data"]
    places = {package: ROOT / package.replace(".", "/") for package in patterns} | {
        "minigpt.notebooks": ROOT / "notebooks"
    }
    listed = {path for package, globs in patterns.items() for glob in globs for path in places[package].glob(glob)}
    found = {path for top in ("minigpt", "weights_loader", "notebooks") for path in (ROOT / top).rglob("*.*")}
    found = {path for path in found if path.suffix not in (".py", ".md") and path.is_file()}
    assert listed == {path for path in found if not {"__pycache__", ".ipynb_checkpoints"} & set(path.parts)}


def test_one_version():
    assert PYPROJECT["tool"]["setuptools"]["dynamic"] == {"version": {"attr": "minigpt.__version__"}}
    assert run("--version").stdout.strip().endswith(minigpt.__version__)
    changes = (ROOT / ".github" / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (\S+)", changes, re.MULTILINE)[1] == minigpt.__version__
    try:
        installed = importlib.metadata.distribution("minigpt")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("minigpt is not installed")
    assert installed.version == minigpt.__version__
