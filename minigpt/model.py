"""GPT-2 (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"), the whole of it.

Read `gpt2` from top to bottom; it calls the functions above it. Text goes in as token ids. Each token becomes a vector,
its place in the residual stream, [B, T, D]. Every block adds to the stream twice: attention brings in what earlier
tokens have to say, the MLP works on each token by itself. At the end the stream is compared with every token of the
vocabulary: the logits, whose softmax is the probability of the next token.

B batch, T tokens, D width, H heads, K = D / H width of a head, S tokens that can be seen, V vocabulary, F width of the
MLP. `ops` holds the operations (softmax, gelu, layer_norm, linear, attention; `ops/plain.py` has their formulas), and
`tap(name, activation)` is called with every activation: it returns it unchanged, unless someone is recording or editing
(`trace.py`). Parameters are nested dicts in the names of the official files: h[0]["attn"]["c_attn"]["weight"]. There,
wte and wpe are the embeddings of tokens and positions, ln a layer norm, c_attn makes q, k and v, c_proj projects back
to the stream, c_fc ("fully connected") widens, lm_head is the head. `**c_attn` passes its weight= and bias=.
"""

from dataclasses import replace

import numpy as np

from minigpt.config import ACTIVATION_FUNCTIONS, GPT2Config
from minigpt.ops import choose_ops, plain, replace_ops
from minigpt.params import checked_format, random_params, read_params, write_params
from minigpt.trace import Tap, activation_names, below, untapped


def split_heads(x, n_head):
    """[B, T, H K] > [B, H, T, K]: head h has the h-th stretch of K numbers of each token."""
    B, T, D = x.shape
    return x.reshape(B, T, n_head, D // n_head).swapaxes(1, 2)


def merge_heads(x):
    """[B, H, T, K] > [B, T, H K], the reverse of split_heads."""
    B, H, T, K = x.shape
    return x.swapaxes(1, 2).reshape(B, T, H * K)


def self_attention(x, attn, layer, config, ops, cache, padding, tap, wanted):
    """What the last `wanted` tokens gather from themselves and those before;  x [B, T, D] > [B, wanted, D]."""
    D = config.n_embd
    qkv = ops.linear(x, **attn["c_attn"])  # [B, T, 3 D]
    q = tap("q", split_heads(qkv[:, -wanted:, :D], config.n_head))  # [B, H, wanted, K]
    k = tap("k", split_heads(qkv[..., D : 2 * D], config.n_head))  # [B, H, T, K]
    v = tap("v", split_heads(qkv[..., 2 * D :], config.n_head))  # [B, H, T, K]
    if cache is not None:
        k, v = cache.append(layer, k, v)  # [B, H, S, K], the tokens before included

    heads = tap("heads", ops.attention(q, k, v, config.attention_scale(layer), padding, tap))
    return tap("out", ops.linear(merge_heads(heads), **attn["c_proj"]))  # [B, wanted, D]


def mlp(x, c_fc, c_proj, activation, ops, tap):
    """Each token by itself: widen, bend, narrow;  x [B, T, D] > [B, T, D]."""
    x = tap("pre", ops.linear(x, **c_fc))  # [B, T, F]
    x = tap("act", activation(x))  # [B, T, F]
    return tap("out", ops.linear(x, **c_proj))  # [B, T, D]


def transformer_block(x, block, layer, config, ops, cache, padding, tap, wanted):
    """Attention, then MLP, each on the normalised stream and each added to it;  x [B, T, D] > [B, wanted, D]."""
    eps = config.layer_norm_epsilon
    activation = getattr(ops, config.activation_function)

    normed = tap("ln_1", ops.layer_norm(x, **block["ln_1"], eps=eps))
    attended = self_attention(normed, block["attn"], layer, config, ops, cache, padding, below(tap, "attn."), wanted)
    x = x[:, -wanted:] + attended
    x = tap("resid_mid", x)

    normed = tap("ln_2", ops.layer_norm(x, **block["ln_2"], eps=eps))
    x = x + mlp(normed, **block["mlp"], activation=activation, ops=ops, tap=below(tap, "mlp."))
    return tap("resid", x)


def gpt2(ids, params, config, ops, cache=None, padding=None, tap=untapped, last_only=False):
    """The forward pass: ids [B, T] of integers > logits [B, T, V].

    With a cache, ids are the tokens after those that it holds. padding [B] counts the positions at the left of each
    sequence that hold no text: sequences of different lengths are aligned at the right, where they go on. last_only
    computes the logits of the last token alone, [B, 1, V]: generation needs no others. Then the last block answers for
    that token only; of the other tokens it takes keys and values.
    """
    past = 0 if cache is None else cache.length
    positions = past + np.arange(ids.shape[1])  # [T]
    if padding is not None:
        positions = np.maximum(positions - padding[:, None], 0)  # [B, T], counted from each sequence's first real token
    x = params["wte"]["weight"][ids] + params["wpe"]["weight"][positions]  # [B, T, D]
    x = tap("embed", x)

    for layer, block in enumerate(params["h"]):
        wanted = 1 if last_only and layer == config.n_layer - 1 else ids.shape[1]
        x = transformer_block(x, block, layer, config, ops, cache, padding, below(tap, f"h.{layer}."), wanted)

    x = tap("ln_f", ops.layer_norm(x, **params["ln_f"], eps=config.layer_norm_epsilon))
    head = params["wte"] if config.tie_word_embeddings else params["lm_head"]
    # A token's logit is the product of the stream with that token's row of the head, [V, D].
    return tap("logits", ops.linear(x, head["weight"].T))  # [B, T, V]


class ContextLengthError(ValueError):
    """More tokens than the model has positions for."""


class GPT2:
    """A GPT-2: a configuration, a parameter tree, and the operations to run it with.

    >>> model = GPT2.from_pretrained("gpt2")
    >>> logits = model(ids)                                      # ids [T] or [B, T] > [.., T, V]
    >>> ids = model.generate(ids, max_new_tokens=40)
    """

    def __init__(self, config, params, ops=plain, name=None):
        self.config, self.params, self.ops = config, params, ops
        self.name = name  # that from_pretrained found it by, and that Tokenizer.from_pretrained finds its tokenizer by

    @classmethod
    def random(cls, config=None, seed=0, dtype="float32", ops="auto"):
        """A GPT-2 before training, with parameters drawn as in the paper. config defaults to GPT-2 small."""
        config = config or GPT2Config()
        ops = choose_ops(ops, config)
        return cls(config, random_params(config, seed, checked_format(dtype)[0]), ops)

    @classmethod
    def from_pretrained(cls, name, ops="auto", quantize=None, dtype=None, threads=None, revision=None, offline=False):
        """A trained GPT-2 by name: a bundled model's, a folder's, or the hub's ("gpt2", "distilgpt2", "user/model").

        A model of the hub is downloaded once and then read from the cache; offline never looks at the network. ops:
        "plain", "jit" or "auto", see ops.choose_ops. quantize="int8" keeps every matrix in 8 bits, dtype="bfloat16" in
        16; both compute in float32. Without either, matrices that the file has so stay so, and all others become
        float32. threads: the number of cores to use, in the whole process; all physical ones unless told. Raises
        weights_loader.CheckpointError, whose sentence says what is wrong with the files and what to do.
        """
        import weights_loader
        from minigpt.bundled import bundled_folder

        dtype, quantize = checked_format(dtype, quantize)
        folder = bundled_folder(name) or weights_loader.locate_weights(name, revision, offline)
        config = GPT2Config.from_pretrained(folder)
        ops = choose_ops(ops, config, threads)
        params = read_params(folder, config, dtype, quantize)
        # A file's head that differs from its wte is not tied, whatever the configuration says.
        return cls(replace(config, tie_word_embeddings="lm_head" not in params), params, ops, name)

    def save_pretrained(self, folder, metadata=None, half=False):
        """Write config.json and model.safetensors, which from_pretrained and transformers load back.

        metadata: a dict of texts for the file's header. half: numbers that are not packed are rounded to float16, half
        the size. A quantized model becomes model.int8.safetensors, which only minigpt reads. Raises ValueError for
        numbers too great for float16.
        """
        write_params(folder, self.config, self.params, metadata, half)

    def with_ops(self, **functions):
        """The same model with some operations replaced, as in with_ops(attention=f). See ops.replace_ops."""
        for name in set(functions) & set(ACTIVATION_FUNCTIONS) - {self.config.activation_function}:
            raise ValueError(f"this model does not use {name}; its activation is {self.config.activation_function}")
        return GPT2(self.config, self.params, replace_ops(self.ops, **functions), self.name)

    @property
    def dtype(self):
        """What it computes in: float64, or float32, with weights of 8 and 16 bits too."""
        return self.params["wte"]["weight"].dtype

    def __call__(self, ids, *, attention_mask=None, cache=None, trace=None, edit=None, last_only=False):
        """ids [T] or [B, T] of integers > logits [T, V] or [B, T, V], in the model's dtype.

        attention_mask [B, T] has 0 for padding at the left of shorter sequences (its logits mean nothing) and 1 for
        text. cache, a KVCache, holds the tokens before and takes up these. trace, a dict, receives every activation by
        name. edit, a dict of name > function, replaces activations on the way: {"h.3.attn.out": np.zeros_like}.
        Raises ContextLengthError for more than n_positions tokens, ValueError for other bad input.
        """
        ids = self.checked_ids(ids)
        batch = ids if ids.ndim == 2 else ids[None]
        padding = left_padding(attention_mask, batch.shape)
        past = 0 if cache is None else cache.length
        if past + batch.shape[1] > self.config.n_positions:
            raise ContextLengthError(
                f"{past + batch.shape[1]} tokens, but the model has {self.config.n_positions} positions: "
                "shorten the text"
            )
        if cache is not None:
            cache.check_fit(*batch.shape, self.dtype)
            if past == 0:
                cache.padding = padding
            elif padding is not None:
                raise ValueError("attention_mask belongs to the first call with a cache; the cache remembers it")
            padding = cache.padding

        tap = untapped
        if trace is not None or edit:
            unknown = set(edit or ()) - set(activation_names(self.config.n_layer))
            if unknown:
                raise ValueError(
                    f"no activation of a model of {self.config.n_layer} blocks is called {sorted(unknown)[0]!r}; "
                    "minigpt.trace.activation_names lists them"
                )
            tap = Tap(trace, edit)
        logits = gpt2(batch, self.params, self.config, self.ops, cache, padding, tap, last_only)
        if tap is not untapped and tap.unreached:
            raise ValueError(f"{sorted(tap.unreached)[0]!r} was not edited: the replaced attention does not tap it")
        if cache is not None:
            cache.advance(batch.shape[1])
        return logits if ids.ndim == 2 else logits[0]

    def generate(self, ids, **options):
        """Continue prompts; int64 [N, T + new tokens], prompts included. Options: see minigpt.generate.generate."""
        from minigpt.generate import generate

        return generate(self, ids, **options)

    def stream(self, ids, **options):
        """Continue one prompt, yielding each new id as it is found. Options as for generate."""
        from minigpt.generate import stream

        return stream(self, ids, **options)

    def checked_ids(self, ids):
        """ids as an array, [T] or [B, T]. Raises ValueError for what is no text of this model's vocabulary."""
        try:
            ids = np.asarray(ids)
        except ValueError as error:
            raise ValueError(
                "rows of different lengths: pad them at the left and give attention_mask, or let generate do it"
            ) from error
        if not np.issubdtype(ids.dtype, np.integer):
            raise ValueError(f"token ids must be integers, not {ids.dtype} (no tokens at all?)")
        if ids.ndim not in (1, 2) or ids.size == 0:
            raise ValueError(f"token ids must be [T] or [B, T] with at least one token, not of shape {ids.shape}")
        if ids.min() < 0 or ids.max() >= self.config.vocab_size:
            bad = ids.min() if ids.min() < 0 else ids.max()
            raise ValueError(f"token id {bad} is outside the vocabulary of {self.config.vocab_size}: another model's?")
        return ids


def left_padding(attention_mask, shape):
    """How many zeros each row of a mask [B, T] starts with: int [B], or None if there are none at all."""
    if attention_mask is None:
        return None
    mask = np.asarray(attention_mask) != 0
    mask = mask[None] if mask.ndim == 1 else mask
    if mask.shape != shape:
        raise ValueError(f"attention_mask has shape {mask.shape}, the ids have {shape}")
    padding = (~mask).sum(axis=1)
    if not np.array_equal(mask, np.arange(shape[1]) >= padding[:, None]) or (padding == shape[1]).any():
        raise ValueError(
            "attention_mask must be zeros, then at least one 1, then only ones: padding stands at the left"
        )
    return padding if padding.any() else None
