"""The models that come with minigpt, so that it runs without a download.

shakespeare: 957,184 parameters, trained on the works of Shakespeare (public domain).
"""

from pathlib import Path

DEFAULT_MODEL = "shakespeare"


def bundled_folder(name):
    """The folder of the bundled model of that name, or None. A checkpoint in a folder of that name comes first."""
    if name != "shakespeare" or (Path(name) / "config.json").exists():
        return None
    return Path(__file__).parent / "shakespeare"
