"""GPT-2 from scratch in NumPy: to read, to run, to take apart. Start with minigpt/model.py."""

import importlib
import sys

__version__ = "0.1.0"  # pyproject.toml reads it from here

# Names are imported when they are first used, because the command line's --help must not wait for NumPy. Editors and
# type checkers read __init__.pyi instead.
_MODULES = {
    "GPT2": "minigpt.gpt2",
    "ContextLengthError": "minigpt.run",
    "GPT2Config": "minigpt.config",
    "KVCache": "minigpt.cache",
    "Tokenizer": "minigpt.tokenizer",
    "GenerationConfig": "minigpt.generation.options",
    "Trace": "minigpt.trace",
    "generate_text": "minigpt.generation.text",
    "step": "minigpt.looking.stepping",
    "CheckpointError": "weights_loader.reading",
    "ops": "minigpt.ops",
}
__all__ = list(_MODULES)


def __getattr__(name):
    if name not in _MODULES:
        raise AttributeError(f"module 'minigpt' has no attribute {name!r}")
    module = importlib.import_module(_MODULES[name])
    return module if name == "ops" else getattr(module, name)


def _show_live(steps):
    """Show the result of step in a notebook as a page."""
    importlib.import_module("minigpt.page.widget").show_live(steps)


# In a notebook IPython has been imported already. It takes the name of a class that is not imported yet.
if "IPython" in sys.modules and (_shell := sys.modules["IPython"].get_ipython()):
    _shell.display_formatter.ipython_display_formatter.for_type_by_name("minigpt.looking.stepping", "Steps", _show_live)


def __dir__():
    return sorted([*globals(), *_MODULES])
