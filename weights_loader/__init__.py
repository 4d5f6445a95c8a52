"""From the name or folder of a GPT-2 checkpoint to named NumPy arrays. Knows files, formats and the hub, no model."""

from weights_loader.files import write_file
from weights_loader.hub import locate_config, locate_tokenizer, locate_weights
from weights_loader.layout import read_config, read_parameters, save, write_tensors
from weights_loader.tensors import BFLOAT16, CheckpointError, read_metadata, stored_tensors

__all__ = [
    "BFLOAT16",
    "CheckpointError",
    "locate_config",
    "locate_tokenizer",
    "locate_weights",
    "read_config",
    "read_metadata",
    "read_parameters",
    "save",
    "stored_tensors",
    "write_file",
    "write_tensors",
]
