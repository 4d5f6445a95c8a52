"""The configuration of a GPT-2, named as in config.json."""

import math
from dataclasses import asdict, dataclass, fields

import numpy as np

from minigpt.checks import MAX_INTEGER, is_id, is_integer, is_number, is_one_of, require, require_type, shown

ACTIVATION_FUNCTIONS = ("gelu_new", "gelu", "relu")
# GPT-2 xl has 1.6e9 parameters in 48 layers. A configuration beyond these limits is a mistake, and is refused before
# anything is allocated.
MAX_PARAMETERS, MAX_LAYERS = 10**11, 10**4


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
    reorder_and_upcast_attn: bool = False  # attention in float32 at least, which minigpt always uses
    tie_word_embeddings: bool = True  # the head is wte; otherwise it has a matrix of its own, lm_head
    bos_token_id: int | None = 50256
    eos_token_id: int | list[int] | None = 50256
    pad_token_id: int | None = None

    def __post_init__(self):
        for name, value in vars(self).items():
            if isinstance(value, np.generic):  # products of np.int8 would overflow
                object.__setattr__(self, name, value.item())
        for name in ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head"):
            _require(_is_size(getattr(self, name)), name, self, "a positive integer")
        _require(all(map(is_id, self.eos_token_ids)), "eos_token_id", self, "an id, a list of ids or null")
        for name in ("bos_token_id", "pad_token_id"):
            _require(getattr(self, name) is None or is_id(getattr(self, name)), name, self, "an id or null")
        inner = self.n_inner
        _require(inner is None or _is_size(inner), "n_inner", self, "a positive integer or null")
        for name in ("layer_norm_epsilon", "initializer_range"):
            value = getattr(self, name)
            _require(is_number(value) and 0 < value < math.inf, name, self, "a positive number")
        for field in fields(self):
            if field.type is bool:
                _require(isinstance(getattr(self, field.name), bool), field.name, self, "true or false")
        _require(
            is_one_of(self.activation_function, ACTIVATION_FUNCTIONS),
            "activation_function",
            self,
            f"one of {', '.join(ACTIVATION_FUNCTIONS)}",
        )
        if self.n_embd % self.n_head:
            raise ValueError(f"n_embd = {self.n_embd} cannot be split evenly over n_head = {self.n_head} heads")
        if self.parameter_count() > MAX_PARAMETERS or self.n_layer > MAX_LAYERS:
            raise ValueError(
                f"the configuration asks for {self.parameter_count():,} parameters (n_layer = {self.n_layer}, "
                f"n_embd = {self.n_embd}, vocab_size = {self.vocab_size}, n_positions = {self.n_positions}); "
                f"minigpt refuses more than {MAX_PARAMETERS:,}, or {MAX_LAYERS:,} layers"
            )

    @classmethod
    def from_pretrained(cls, name: str, *, revision: str | None = None, local_files_only: bool = False) -> "GPT2Config":
        """Return the configuration of a checkpoint, by the names that GPT2.from_pretrained takes. Fetches no weights.

        Raises weights_loader.CheckpointError.
        """
        import weights_loader
        from minigpt.bundled import bundled_folder

        folder = bundled_folder(name) or weights_loader.locate_config(name, revision, local_files_only)
        values = weights_loader.read_config(folder)
        with weights_loader.checkpoint_errors(f"{folder}: config.json"):
            return cls.from_dict(values)

    @classmethod
    def from_dict(cls, values):
        """Return the configuration in a config.json's dict.

        Raises ValueError for a setting that could change the result and that minigpt does not know.
        """
        require_type("values", values, dict, "the dict of a config.json")
        kind = values.get("model_type", "gpt2")
        if kind != "gpt2":
            raise ValueError(f"this is a model of type {shown(kind)}, not a GPT-2")
        known = {field.name for field in fields(cls)}
        for name, value in values.items():
            # A setting that is empty, false or null is switched off.
            if value and name not in known and name not in SETTINGS_WITHOUT_EFFECT:
                raise ValueError(
                    f"unknown setting {shown(name)}: {shown(value)}; minigpt does not honour it. "
                    "If it does not change the model's output, delete it from the file"
                )
        return cls(**{name: value for name, value in values.items() if name in known})

    def to_dict(self):
        """Return a dict for config.json that transformers reads back."""
        values = {name: getattr(value, "tolist", lambda v=value: v)() for name, value in asdict(self).items()}
        return {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"} | values

    def attention_scale(self, layer):
        """Return the factor by which a block multiplies its attention scores."""
        scale = self.head_size**-0.5 if self.scale_attn_weights else 1.0
        return scale / (layer + 1) if self.scale_attn_by_inverse_layer_idx else scale

    @property
    def head_size(self):
        """K, the width of one head."""
        return self.n_embd // self.n_head

    @property
    def mlp_width(self):
        """F, the width inside the MLP."""
        return self.n_inner or 4 * self.n_embd

    def first_in_vocabulary(self, *ids):
        """Return the first of the ids that the vocabulary has, or None.

        Some configurations keep GPT-2's ids with a smaller vocabulary.
        """
        return next((i for i in ids if i is not None and 0 <= i < self.vocab_size), None)

    @property
    def beginning_token_id(self):
        """The id that begins a text: bos_token_id, or else an id that ends texts; None if there is neither."""
        return self.first_in_vocabulary(self.bos_token_id, *self.eos_token_ids)

    @property
    def eos_token_ids(self):
        """All ids that end a text, as a list."""
        if self.eos_token_id is None:
            return []
        return self.eos_token_id if isinstance(self.eos_token_id, list) else [self.eos_token_id]

    def shapes(self):
        """Return the shape of every parameter by official name, in the order of the forward pass."""
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
        F = self.mlp_width
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
        """Return the number of parameters. A tied head counts once."""
        block = sum(math.prod(shape) for shape in self._block_shapes().values())
        embeddings = (self.vocab_size * (1 if self.tie_word_embeddings else 2) + self.n_positions) * self.n_embd
        return embeddings + self.n_layer * block + 2 * self.n_embd


def _require(condition, name, config, expected):
    require(condition, name, getattr(config, name), expected)


def _is_size(value):
    return is_integer(value) and 0 < value <= MAX_INTEGER


# Settings of real config.json files that do not change what the forward pass computes: bookkeeping, dropout (which is
# for training), other heads, and defaults of transformers' generate (ours has its own arguments).
# fmt: off
SETTINGS_WITHOUT_EFFECT = {
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
