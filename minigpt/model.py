"""GPT-2 (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"): the forward pass.

    B batch    T tokens    S visible tokens             V vocabulary    L layers
    D width    H heads     K = D / H, width of a head   F width of the MLP

`params` is the official checkpoint as nested dicts, params["h"][0]["attn"]["c_attn"]["weight"]; each function takes its
part by the official names. `run` (run.py) is everything that is not mathematics: its operations are the formulas of
ops/plain.py or the kernels of ops/jit, and run.tap("name", x) returns x, after recording or editing it if asked.
"""

from dataclasses import replace

import numpy as np

from minigpt.bundled import bundled_folder
from minigpt.config import ACTIVATION_FUNCTIONS, GPT2Config
from minigpt.generation.search import generate, stream
from minigpt.ops import choose_ops, replace_ops, set_threads
from minigpt.params import checked_format, random_params, read_params, write_params
from minigpt.run import Run, checked_ids


def gpt2(ids, params, run):
    """The forward pass: token ids [B, T] -> logits [B, T, V], whose softmax is the probability of the next token."""
    x = params["wte"]["weight"][ids] + params["wpe"]["weight"][run.positions(ids)]
    x = run.tap("embed", x)  # [B, T, D]: the residual stream, a vector for each token, to which every block adds

    for layer, block in enumerate(params["h"]):
        x = transformer_block(x, **block, run=run.in_block(layer))

    x = run.tap("ln_f", run.layer_norm(x, **params["ln_f"]))
    head = params.get("lm_head", params["wte"])  # tied: the table that reads tokens also predicts them, [V, D]
    return run.tap("logits", run.linear(x, head["weight"].T))


def transformer_block(x, ln_1, attn, ln_2, mlp, run):
    """Attention, then the MLP: each reads the normalised stream and adds to the stream;  x [B, T, D] -> [B, T, D]."""
    normed = run.tap("ln_1", run.layer_norm(x, **ln_1))
    x = run.tap("resid_mid", run.needed(x) + self_attention(normed, **attn, run=run))

    normed = run.tap("ln_2", run.layer_norm(x, **ln_2))
    return run.tap("resid", x + feed_forward(normed, **mlp, run=run))


def self_attention(x, c_attn, c_proj, run):
    """Each token gathers from itself and from the tokens before it;  x [B, T, D] -> [B, T, D]."""
    q, k, v = split_qkv(run.linear(x, **c_attn))  # what a token looks for, is found by, hands on: [B, T, D]
    q = run.tap("attn.q", split_heads(q, run.n_head))  # [B, H, T, K]
    k = run.tap("attn.k", split_heads(k, run.n_head))
    v = run.tap("attn.v", split_heads(v, run.n_head))
    k, v = run.remember(k, v)  # [B, H, S, K]: a cache puts those of earlier tokens first

    heads = run.tap("attn.heads", run.attention(q, k, v))  # [B, H, T, K]
    return run.tap("attn.out", run.linear(merge_heads(heads), **c_proj))


def feed_forward(x, c_fc, c_proj, run):
    """The MLP works on each token by itself: widen, bend, narrow;  x [B, T, D] -> [B, T, D]."""
    x = run.tap("mlp.pre", run.linear(x, **c_fc))  # [B, T, F]
    x = run.tap("mlp.act", run.activation(x))
    return run.tap("mlp.out", run.linear(x, **c_proj))


def split_qkv(x):
    """[B, T, 3 D] -> three of [B, T, D]."""
    D = x.shape[-1] // 3
    return x[..., :D], x[..., D : 2 * D], x[..., 2 * D :]


def split_heads(x, n_head):
    """[B, T, H K] -> [B, H, T, K]: head h gets the h-th K numbers of each token."""
    B, T, D = x.shape
    return x.reshape(B, T, n_head, D // n_head).swapaxes(1, 2)


def merge_heads(x):
    """[B, H, T, K] -> [B, T, H K], the reverse of split_heads."""
    B, H, T, K = x.shape
    return x.swapaxes(1, 2).reshape(B, T, H * K)


class GPT2:
    """A GPT-2: a configuration, a parameter tree, and the operations to run it with.

    >>> model = GPT2.from_pretrained("gpt2")
    >>> logits = model(ids)                              # ids [T] or [B, T] -> [T, V] or [B, T, V]
    >>> ids = model.generate(ids, max_new_tokens=40)
    """

    def __init__(self, config, params, ops="plain", name=None):
        self.config = config
        self.params = params
        self.ops = choose_ops(ops, config)
        self.name = name  # the name given to from_pretrained; Tokenizer.from_pretrained takes it, too

    @classmethod
    def random(cls, config=None, seed=0, dtype="float32", ops="auto"):
        """Return an untrained GPT-2, with parameters drawn as in the paper. config defaults to GPT-2 small."""
        config = config or GPT2Config()
        return cls(config, random_params(config, seed, checked_format(dtype)[0]), ops)

    @classmethod
    def from_pretrained(
        cls, name, *, ops="auto", quantize=None, dtype=None, threads=None, revision=None, local_files_only=False
    ):
        """Return a trained GPT-2 by name: a bundled model's, a folder's, or the hub's ("gpt2", "user/model").

        A model of the hub is downloaded once and then read from the cache; local_files_only never uses the network.
        ops: "plain", "jit" or "auto", see ops.choose_ops. quantize="int8" keeps every matrix in 8 bits,
        dtype="bfloat16" in 16; both compute in float32. By default matrices that the file has in int8 or bfloat16 stay
        so, and all others become float32. threads: use this many cores from now on, in the whole process. Raises
        weights_loader.CheckpointError, which says what is wrong with the files and what to do.
        """
        import weights_loader  # here, because reading files is slow to import and GPT2.random needs none

        dtype, quantize = checked_format(dtype, quantize)
        folder = bundled_folder(name) or weights_loader.locate_weights(name, revision, local_files_only)
        config = GPT2Config.from_pretrained(folder)
        ops = choose_ops(ops, config)
        if threads is not None:
            set_threads(threads)
        params = read_params(folder, config, dtype, quantize)
        # A head in the file that differs from wte is not tied, whatever the configuration says.
        return cls(replace(config, tie_word_embeddings="lm_head" not in params), params, ops, name)

    def save_pretrained(self, folder, metadata=None, half=False):
        """Write config.json and model.safetensors, which from_pretrained and transformers load.

        metadata: a dict of texts for the file's header. half: round unpacked numbers to float16, half the size. A
        quantized model becomes model.int8.safetensors, which only minigpt reads. Raises ValueError for numbers too
        large for float16.
        """
        write_params(folder, self.config, self.params, metadata, half)

    def with_ops(self, **functions):
        """Return the same model with some operations replaced, as in with_ops(attention=f). See ops.replace_ops."""
        for name in set(functions) & set(ACTIVATION_FUNCTIONS) - {self.config.activation_function}:
            raise ValueError(f"this model does not use {name}; its activation is {self.config.activation_function}")
        return GPT2(self.config, self.params, replace_ops(self.ops, **functions), self.name)

    @property
    def dtype(self):
        """The dtype of the computation: float64 or float32; weights in 8 or 16 bits are computed in float32."""
        return self.params["wte"]["weight"].dtype

    def __call__(self, ids, *, attention_mask=None, cache=None, trace=None, edit=None, last_only=False):
        """Return the logits of ids [T] or [B, T] of integers: [T, V] or [B, T, V], in the model's dtype.

        attention_mask [B, T] is 0 for padding at the left of shorter sequences (its logits mean nothing) and 1 for
        text. cache, a KVCache, holds the earlier tokens and gains these. trace, a dict, receives every activation by
        name. edit, a dict of name to function, replaces activations: {"h.3.attn.out": np.zeros_like}. last_only:
        return the logits of the last token alone. Raises ContextLengthError for more than n_positions tokens,
        ValueError for other bad input.
        """
        ids = checked_ids(ids, self.config)
        batch = np.atleast_2d(ids)
        run = Run.begin(self, batch.shape, attention_mask, cache, trace, edit, last_only)
        logits = gpt2(batch, self.params, run)
        run.end(batch.shape[1])
        return logits if ids.ndim == 2 else logits[0]

    def generate(self, ids, **options):
        """Continue prompts; return int64 [N, T + new tokens]. Options: see minigpt.generation.generate."""
        return generate(self, ids, **options)

    def stream(self, ids, **options):
        """Continue one prompt, yielding each new id as it is found. Options as for generate."""
        return stream(self, ids, **options)
