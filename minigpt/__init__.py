"""GPT-2 from scratch in NumPy: to read, to run, to take apart. Start with minigpt/model.py."""

import importlib

_HOMES = {
    "GPT2": "minigpt.model",
    "ContextLengthError": "minigpt.run",
    "GPT2Config": "minigpt.config",
    "KVCache": "minigpt.cache",
    "Tokenizer": "minigpt.tokenizer",
    "GenerationConfig": "minigpt.generation.options",
    "generate_text": "minigpt.generation.text",
    "step": "minigpt.looking.stepping",
    "ops": "minigpt.ops",
}
__all__ = list(_HOMES)
__version__ = "0.1.0"


def __getattr__(name):
    # Names are imported when first used: the command line's --help must not wait for NumPy.
    if name not in _HOMES:
        raise AttributeError(f"module 'minigpt' has no attribute {name!r}")
    module = importlib.import_module(_HOMES[name])
    return module if name == "ops" else getattr(module, name)


def __dir__():
    return sorted([*globals(), *_HOMES])
