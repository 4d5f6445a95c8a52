"""The model that comes with minigpt, so that it runs without a download: it tells stories/."""

from pathlib import Path

DEFAULT_MODEL = "stories"


def bundled_folder(name):
    """The folder of the bundled model of that name, or None. A checkpoint in a folder of that name comes first."""
    if name != DEFAULT_MODEL or (Path(name) / "config.json").exists():
        return None
    return Path(__file__).parent / "stories" / "model"
