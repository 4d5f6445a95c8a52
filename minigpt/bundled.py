"""The model that comes with minigpt: it writes the stories of minigpt/stories and needs no download."""

from pathlib import Path

from minigpt.checks import require_path

DEFAULT_MODEL = "stories"


def bundled_folder(name):
    """Return the folder of the bundled model of that name, or None. A checkpoint in a folder of that name wins."""
    require_path("name", name)
    if name != DEFAULT_MODEL or (Path(name) / "config.json").exists():
        return None
    return Path(__file__).parent / "stories" / "model"
