"""GPT2: a model to load, call, generate with, edit and save. What it computes stands in model.py."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from minigpt import summary
from minigpt.bundled import bundled_folder
from minigpt.cache import KVCache
from minigpt.checks import require, require_bool, require_integer, require_path, require_type
from minigpt.config import ACTIVATION_FUNCTIONS, GPT2Config
from minigpt.generation.output import GenerateOutput
from minigpt.generation.search import generate, stream
from minigpt.model import gpt2
from minigpt.ops import Operations, choose_ops, replace_ops, set_threads
from minigpt.params import checked_format, random_params, read_params, write_params
from minigpt.run import Run, checked_ids


class GPT2:
    """A GPT-2: a configuration, a parameter tree, and the operations to run it with.

    >>> model = GPT2.from_pretrained("gpt2")
    >>> logits = model(ids)                              # ids [T] or [B, T] -> [T, V] or [B, T, V]
    >>> ids = model.generate(ids, max_new_tokens=40)
    """

    def __init__(self, config: GPT2Config, params: dict, ops: str | Operations = "plain", name: str | None = None):
        require_type("config", config, GPT2Config, "a GPT2Config")
        require_type("params", params, dict, "a parameter tree")
        self.config = config
        self.params = params
        self.ops = choose_ops(ops, config)
        self.name = name  # the name given to from_pretrained; Tokenizer.from_pretrained takes it, too

    @classmethod
    def random(
        cls,
        config: GPT2Config | None = None,
        seed: int = 0,
        dtype: DTypeLike = "float32",
        ops: str | Operations = "auto",
    ) -> "GPT2":
        """Return an untrained GPT-2, with parameters drawn as in the paper. config defaults to GPT-2 small."""
        config = GPT2Config() if config is None else config
        require_type("config", config, GPT2Config, "a GPT2Config")
        require_integer("seed", seed, 0)
        return cls(config, random_params(config, seed, checked_format(dtype)[0]), ops)

    @classmethod
    def from_pretrained(
        cls,
        name: str,
        *,
        ops: str | Operations = "auto",
        quantize: str | None = None,
        dtype: DTypeLike | None = None,
        activations: str | None = None,
        threads: int | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
    ) -> "GPT2":
        """Return a trained GPT-2 by name: a bundled model's, a folder's, or the hub's ("gpt2", "user/model").

        A model of the hub is downloaded once and then read from the cache; local_files_only never uses the network.
        ops: "plain", "jit" or "auto", see ops.choose_ops. quantize="int8" keeps every matrix in 8 bits, "int4" in 4,
        dtype="bfloat16" in 16; they compute in float32. By default a matrix keeps the file's 4, 8 or 16 bits;
        everything else becomes float32. A file in float32 is mapped into memory, copy-on-write, not read: while the
        model is in use, replace the file, as save_pretrained does, but do not overwrite it in place.
        activations="int8" or "bfloat16", that of the weights: the kernels also round what is multiplied with them in a
        prompt of more than 8 tokens, which is faster and less exact. threads: use this many cores from now on, in the
        whole process. Raises weights_loader.CheckpointError, which says what is wrong with the files and what to do.
        """
        import weights_loader  # here, because reading files is slow to import and GPT2.random needs none

        dtype, quantize = checked_format(dtype, quantize, activations)
        folder = bundled_folder(name) or weights_loader.locate_weights(name, revision, local_files_only)
        config = GPT2Config.from_pretrained(folder)
        ops = choose_ops(ops, config)
        if threads is not None:
            set_threads(threads)
        params = read_params(folder, config, dtype, quantize, activations)
        # A head in the file that differs from wte is not tied, whatever the configuration says.
        return cls(replace(config, tie_word_embeddings="lm_head" not in params), params, ops, name)

    def save_pretrained(self, folder: str | Path, metadata: dict[str, str] | None = None, half: bool = False) -> None:
        """Write config.json and model.safetensors, which from_pretrained and transformers load.

        metadata: a dict of texts for the file's header. half: round unpacked numbers to float16, half the size. A
        quantized model becomes model.int8.safetensors or model.int4.safetensors, which only minigpt reads. Raises
        ValueError for numbers too large for float16.
        """
        require_path("folder", folder)
        require_bool("half", half)
        is_valid = metadata is None or (
            isinstance(metadata, dict) and all(isinstance(text, str) for item in metadata.items() for text in item)
        )
        require(is_valid, "metadata", metadata, "a dict of texts")
        write_params(folder, self.config, self.params, metadata, half)

    def with_ops(self, **functions: Callable) -> "GPT2":
        """Return the same model with some operations replaced, as in with_ops(attention=f). See ops.replace_ops."""
        used = self.config.activation_function
        if unused := (functions.keys() & ACTIVATION_FUNCTIONS) - {used}:
            raise ValueError(f"this model does not use {min(unused)}; its activation is {used}")
        return GPT2(self.config, self.params, replace_ops(self.ops, **functions), self.name)

    def num_parameters(self) -> int:
        """Return the number of parameters; a head that is tied to the embeddings counts once."""
        return self.config.parameter_count()

    def __repr__(self) -> str:
        return summary.as_text(self)

    def _repr_html_(self) -> str:
        return summary.as_html(self)

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the computation: float64 or float32; weights in 4, 8 or 16 bits are computed in float32."""
        return self.params["wte"]["weight"].dtype

    def __call__(
        self,
        ids: ArrayLike,
        *,
        attention_mask: ArrayLike | None = None,
        cache: KVCache | None = None,
        trace: dict[str, np.ndarray] | None = None,
        edit: dict[str, Callable[[np.ndarray], np.ndarray]] | None = None,
        last_only: bool = False,
    ) -> np.ndarray:
        """Return the logits of ids [T] or [B, T] of integers: [T, V] or [B, T, V], in the model's dtype.

        attention_mask [B, T] is 0 for padding at the left of shorter sequences (its logits mean nothing) and 1 for
        text. cache, a KVCache, holds the earlier tokens and gains these. trace, a dict, receives every activation by
        name; a minigpt.Trace only some. edit, a dict of name to function, replaces activations:
        {"h.3.attn.out": np.zeros_like}.
        last_only: return the logits of the last token alone. Raises ContextLengthError for more than n_positions
        tokens, ValueError for other bad input.
        """
        ids = checked_ids(ids, self.config)
        batch = ids if ids.ndim == 2 else ids[None]
        run = Run.begin(self, batch.shape, attention_mask, cache, trace, edit, last_only)
        logits = gpt2(batch, self.params, run)
        run.finish(batch.shape[1])
        return logits if ids.ndim == 2 else logits[0]

    def generate(self, ids: ArrayLike | list[list[int]] | None = None, **options: Any) -> np.ndarray | GenerateOutput:
        """Continue prompts: int64 [N, T + new tokens], prompts included. Options: see minigpt.generation.generate."""
        return generate(self, ids, **options)

    def stream(self, ids: ArrayLike, **options: Any) -> Iterator[int]:
        """Continue one prompt, yielding each new id as it is found. Options as for generate."""
        return stream(self, ids, **options)
