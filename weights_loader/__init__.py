"""From the name or folder of a GPT-2 checkpoint to named NumPy arrays, and back to files.

It knows the hub, the file formats, and the names that GPT-2's files give to their tensors. It does not know what the
model computes with them.

    hub.py      the folder of a checkpoint: a local one, the hub's cache, or a download
    answers.py  bounds for what a hub may answer
    layout.py   the files of a checkpoint and the tensors that must be in them
    tensors.py  safetensors files as NumPy arrays
    reading.py  the small files, and what all errors become
    files.py    writing a file by rename
"""

from weights_loader.files import write_file
from weights_loader.hub import locate_config, locate_tokenizer, locate_weights, verify_cached
from weights_loader.layout import read_config, read_parameters, write_checkpoint
from weights_loader.reading import CheckpointError, checkpoint_errors, read_bytes, read_json
from weights_loader.tensors import BFLOAT16, read_metadata, stored_tensors, write_tensors

__all__ = [
    "BFLOAT16",
    "CheckpointError",
    "checkpoint_errors",
    "locate_config",
    "locate_tokenizer",
    "locate_weights",
    "read_bytes",
    "read_config",
    "read_json",
    "read_metadata",
    "read_parameters",
    "stored_tensors",
    "verify_cached",
    "write_checkpoint",
    "write_file",
    "write_tensors",
]
