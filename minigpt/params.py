"""What a GPT-2 is made of: its configuration and its parameters, under the names of the official files."""

import math
from dataclasses import asdict, dataclass, fields

import numpy as np

from minigpt.ops.packed import BFloat16Matrix, Int8Matrix, PackedMatrix, transposed

ACTIVATIONS = ("gelu_new", "gelu", "relu")
DTYPES = ("float32", "float64", "bfloat16")
PACKED = {"bfloat16": BFloat16Matrix, "int8": Int8Matrix}
# GPT-2 xl has 1.6e9 parameters in 48 layers; beyond these a configuration is a mistake and is refused unallocated.
MOST_PARAMETERS, MOST_LAYERS = 10**11, 10**4


@dataclass(frozen=True)
class GPT2Config:
    """The sizes and switches of a GPT-2, named as in config.json. The defaults are GPT-2 small (124M parameters).

    Raises ValueError for values that no model can have, naming the field.
    """

    vocab_size: int = 50257
    n_positions: int = 1024  # the longest sequence, the context
    n_embd: int = 768  # D, the width of the residual stream
    n_layer: int = 12
    n_head: int = 12
    n_inner: int | None = None  # width inside the MLP; None means 4 * n_embd
    activation_function: str = "gelu_new"
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02
    scale_attn_weights: bool = True  # divide the scores by sqrt(K)
    scale_attn_by_inverse_layer_idx: bool = False  # divide the scores of layer i, counted from 1, by i
    reorder_and_upcast_attn: bool = False  # attention in float32 at least, as all of minigpt computes anyway
    tie_word_embeddings: bool = True  # the head is wte; otherwise it has a matrix of its own, lm_head
    bos_token_id: int | None = 50256
    eos_token_id: int | list[int] | None = 50256
    pad_token_id: int | None = None

    def __post_init__(self):
        for name in ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head"):
            _require(_is_int(getattr(self, name)) and getattr(self, name) > 0, name, self, "a positive integer")
        _require(all(map(_is_int, self.eos_token_ids)), "eos_token_id", self, "an id, a list of ids or null")
        for name in ("bos_token_id", "pad_token_id"):
            _require(getattr(self, name) is None or _is_int(getattr(self, name)), name, self, "an id or null")
        inner = self.n_inner
        _require(inner is None or (_is_int(inner) and inner > 0), "n_inner", self, "a positive integer or null")
        for name in ("layer_norm_epsilon", "initializer_range"):
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            _require(number and 0 < value < math.inf, name, self, "a positive number")
        for field in fields(self):
            if field.type is bool:
                _require(isinstance(getattr(self, field.name), bool), field.name, self, "true or false")
        _require(
            self.activation_function in ACTIVATIONS, "activation_function", self, f"one of {', '.join(ACTIVATIONS)}"
        )
        if self.n_embd % self.n_head:
            raise ValueError(f"n_embd = {self.n_embd} cannot be split evenly over n_head = {self.n_head} heads")
        if self.parameter_count() > MOST_PARAMETERS or self.n_layer > MOST_LAYERS:
            raise ValueError(
                f"the configuration asks for {self.parameter_count():,} parameters (n_layer = {self.n_layer}, "
                f"n_embd = {self.n_embd}, vocab_size = {self.vocab_size}, n_positions = {self.n_positions}); "
                f"minigpt refuses more than {MOST_PARAMETERS:,}, or {MOST_LAYERS:,} layers"
            )

    @classmethod
    def from_pretrained(cls, name, revision=None, offline=False):
        """The configuration of a checkpoint, by the names that GPT2.from_pretrained takes. Fetches no weights.

        Raises weights_loader.CheckpointError.
        """
        import weights_loader
        from minigpt.bundled import bundled_folder

        folder = bundled_folder(name) or weights_loader.locate_config(name, revision, offline)
        values = weights_loader.read_config(folder)
        try:
            return cls.from_dict(values)
        except ValueError as error:
            raise weights_loader.CheckpointError(f"{folder}: config.json: {error}") from error

    @classmethod
    def from_dict(cls, values):
        """The configuration in a config.json's dict.

        A setting that could change the result and that minigpt does not know is a ValueError, never ignored.
        """
        kind = values.get("model_type", "gpt2")
        if kind != "gpt2":
            raise ValueError(f"this is a model of type {kind!r}, not a GPT-2")
        known = {field.name for field in fields(cls)}
        for name, value in values.items():
            # A setting that is empty, false or null is switched off.
            if value and name not in known and name not in WITHOUT_EFFECT:
                raise ValueError(
                    f"unknown setting {name!r}: {value!r}; minigpt does not honour it. "
                    "If it does not change the model's output, delete it from the file"
                )
        return cls(**{name: value for name, value in values.items() if name in known})

    def to_dict(self):
        """A dict for config.json that transformers reads back."""
        return {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"} | asdict(self)

    def attention_scale(self, layer):
        """What the scores of a block's attention are multiplied with."""
        scale = self.head_size**-0.5 if self.scale_attn_weights else 1.0
        return scale / (layer + 1) if self.scale_attn_by_inverse_layer_idx else scale

    @property
    def head_size(self):
        """K, the width of one head."""
        return self.n_embd // self.n_head

    @property
    def eos_token_ids(self):
        """All ids that end a text, as a list."""
        if self.eos_token_id is None:
            return []
        return self.eos_token_id if isinstance(self.eos_token_id, list) else [self.eos_token_id]

    def shapes(self):
        """The shape of every parameter by its official name, in the order of the forward pass."""
        shapes = {"wte.weight": (self.vocab_size, self.n_embd), "wpe.weight": (self.n_positions, self.n_embd)}
        for i in range(self.n_layer):
            shapes |= {f"h.{i}.{name}": shape for name, shape in self._block_shapes().items()}
        shapes |= {"ln_f.weight": (self.n_embd,), "ln_f.bias": (self.n_embd,)}
        if not self.tie_word_embeddings:
            shapes["lm_head.weight"] = (self.vocab_size, self.n_embd)
        return shapes

    def _block_shapes(self):
        # Matrices are stored [in, out]: y = x @ weight + bias.
        D = self.n_embd
        F = self.n_inner or 4 * D
        return {
            "ln_1.weight": (D,),
            "ln_1.bias": (D,),
            "attn.c_attn.weight": (D, 3 * D),
            "attn.c_attn.bias": (3 * D,),
            "attn.c_proj.weight": (D, D),
            "attn.c_proj.bias": (D,),
            "ln_2.weight": (D,),
            "ln_2.bias": (D,),
            "mlp.c_fc.weight": (D, F),
            "mlp.c_fc.bias": (F,),
            "mlp.c_proj.weight": (F, D),
            "mlp.c_proj.bias": (D,),
        }

    def parameter_count(self):
        """How many numbers the model learns. A tied head counts once."""
        block = sum(math.prod(shape) for shape in self._block_shapes().values())
        embeddings = (self.vocab_size * (1 if self.tie_word_embeddings else 2) + self.n_positions) * self.n_embd
        return embeddings + self.n_layer * block + 2 * self.n_embd


def random_params(config, seed=0, dtype="float32"):
    """A parameter tree as it is before training (Radford et al. 2019, section 2.3).

    Matrices and embeddings are drawn from N(0, initializer_range^2), biases are 0 and layer norms the identity. The two
    projections of each block that add to the residual stream are scaled by 1/sqrt(2 n_layer), so that the stream's
    variance does not grow with depth. The same seed gives the same values in every dtype, but for bfloat16's rounding.
    """
    rng = np.random.default_rng(seed)
    arrays = {}
    for name, shape in config.shapes().items():
        if name.endswith("bias"):
            array = np.zeros(shape, np.float32)
        elif len(shape) == 1:
            array = np.ones(shape, np.float32)
        else:
            std = config.initializer_range
            if name.endswith("c_proj.weight"):
                std /= math.sqrt(2 * config.n_layer)
            array = np.float32(std) * rng.standard_normal(shape, np.float32)
        arrays[name] = _laid_out(name, array, dtype)
    return nest(arrays)


def read_params(folder, config, dtype=None, quantize=None):
    """The parameter tree of a checkpoint in a folder, see GPT2.from_pretrained.

    Raises weights_loader.CheckpointError.
    """
    import weights_loader

    def convert(tensor):
        if tensor.dtype == "I8" and dtype is None:
            turned = not _is_embedding(tensor.name)
            integers, scales = tensor.read_stored(), tensor.scale.read().ravel()
            matrix = Int8Matrix(transposed(integers) if turned else integers, scales)
            return matrix.T if turned else matrix
        form = quantize or dtype or ("bfloat16" if tensor.dtype == "BF16" else "float32")
        return _laid_out(tensor.name, tensor.read("float64" if form == "float64" else "float32"), form)

    try:
        return nest(weights_loader.read_parameters(folder, config.shapes(), convert))
    except weights_loader.CheckpointError:
        raise
    except ValueError as error:
        raise weights_loader.CheckpointError(f"{folder}: {error}") from error


def write_params(folder, config, params, metadata=None, half=False):
    """Write a checkpoint, see GPT2.save_pretrained; packed matrices as they are packed. Raises ValueError."""
    import weights_loader

    arrays = {}
    for name, array in flatten(params).items():
        if isinstance(array, Int8Matrix):
            scales = array.scales[:, None]
            arrays[f"{name}_scale"] = scales.T if array.turned else scales
        if isinstance(array, PackedMatrix):
            array = array.stored.T if array.turned else array.stored
            array = array.view(weights_loader.BFLOAT16) if array.dtype == np.uint16 else array
        elif half:
            if abs(array).max() > np.finfo(np.float16).max:
                raise ValueError(f"{name} has numbers beyond {np.finfo(np.float16).max}, the greatest of float16")
            array = array.astype(np.float16)
        arrays[name] = array
    weights_loader.save(folder, config.to_dict(), arrays, metadata)


def checked_format(dtype, quantize=None):
    """The two ways to say how weights are kept, dtype as its name or None. Raises ValueError."""
    name = dtype if dtype is None else str(getattr(dtype, "__name__", dtype))  # "float32", np.float32, np.dtype(...)
    if name not in (None, *DTYPES):
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, not {name!r}")
    if quantize not in (None, "int8"):
        raise ValueError(f"quantize must be None or int8, not {quantize!r}")
    if quantize and name not in (None, "float32"):  # float32 is what 8 bits are computed with
        raise ValueError(f"quantize and dtype say different things: choose {quantize} or {name}")
    return name, quantize


def _laid_out(name, array, form):
    """An array of the official shape as it is kept: float32, float64, or packed in bfloat16 or int8.

    Of every matrix the weights of one output lie side by side in memory: computing an output reads them in order.
    Vectors and positions are few and stay float32.
    """
    if array.ndim < 2 or name == "wpe.weight":
        return array.astype("float64" if form == "float64" else "float32", copy=False)
    rows = array if _is_embedding(name) else transposed(array)
    rows = PACKED[form].pack(rows) if form in PACKED else rows.astype(form, copy=False)
    return rows if _is_embedding(name) else rows.T


def _is_embedding(name):
    return name in ("wte.weight", "lm_head.weight")  # [V, D]: a row a token. All other matrices are [in, out]


def nest(arrays):
    """{"h.0.ln_1.weight": a} as the tree {"h": [{"ln_1": {"weight": a}}]}, for h[0]["ln_1"]["weight"]."""
    tree = {}
    for name, array in arrays.items():
        *path, last = name.split(".")
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[last] = array
    blocks = tree["h"]
    tree["h"] = [blocks[str(i)] for i in range(len(blocks))]
    return tree


def flatten(tree, prefix=""):
    """The reverse of nest: {"h.0.ln_1.weight": a, ...}."""
    if not isinstance(tree, dict | list):
        return {prefix: tree}
    children = tree.items() if isinstance(tree, dict) else enumerate(tree)
    arrays = {}
    for name, child in children:
        arrays |= flatten(child, f"{prefix}.{name}" if prefix else str(name))
    return arrays


def zeros_like(tree):
    """A tree of zeros like this one, each array laid out in memory as there."""

    def zeros(array):  # not np.zeros_like, which writes the zeros: the system gives memory that has them
        return np.zeros(array.shape, array.dtype, order="F" if array.flags.fnc else "C")

    return nest({name: zeros(array) for name, array in flatten(tree).items()})


def _is_int(value):
    return isinstance(value, int) and not isinstance(value, bool)


def _require(condition, name, config, expected):
    if not condition:
        raise ValueError(f"{name} must be {expected}, not {getattr(config, name)!r}")


# Settings of real config.json files that do not change what the forward pass computes: bookkeeping, dropout (which is
# for training), other heads, and defaults of transformers' generate (ours has its own arguments).
# fmt: off
WITHOUT_EFFECT = {
    "_attn_implementation_autoset", "_name_or_path", "_num_labels", "architectures", "attention_dropout",
    "attn_pdrop", "auto_map", "bad_words_ids", "begin_suppress_tokens", "chunk_size_feed_forward",
    "cross_attention_hidden_size", "decoder_start_token_id", "diversity_penalty", "do_sample", "dtype",
    "early_stopping", "embd_pdrop", "encoder_no_repeat_ngram_size", "exponential_decay_length_penalty",
    "finetuning_task", "forced_bos_token_id", "forced_eos_token_id", "gradient_checkpointing", "id2label",
    "is_decoder", "keys_to_ignore_at_inference", "label2id", "length_penalty", "max_length", "min_length",
    "model_type", "n_ctx", "no_repeat_ngram_size", "num_beam_groups", "num_beams", "num_labels",
    "num_return_sequences", "output_attentions", "output_hidden_states", "output_past", "output_scores",
    "predict_special_tokens", "prefix", "problem_type", "remove_invalid_values", "repetition_penalty",
    "resid_pdrop", "return_dict", "return_dict_in_generate", "sep_token_id", "summary_activation",
    "summary_first_dropout", "summary_proj_to_labels", "summary_type", "summary_use_proj", "suppress_tokens",
    "task_specific_params", "temperature", "tf_legacy_loss", "tokenizer_class", "top_k", "top_p", "torch_dtype",
    "torchscript", "transformers_version", "typical_p", "unk_token_id", "use_bfloat16", "use_cache",
}
# fmt: on
