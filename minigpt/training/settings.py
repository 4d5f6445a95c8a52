"""The settings of a training and their presets. The command line makes its options from these fields.

It imports nothing slow: `minigpt train --help` reads this file.
"""

from dataclasses import dataclass, field, fields, replace

from minigpt.checks import is_id, is_number, require


def _setting(default, help, **option):
    """Return a field with its help. `metavar` and `choices` say how its option is written on the command line."""
    return field(default=default, metadata={"help": help, **option})


@dataclass(frozen=True)
class Settings:
    """What a training does. The defaults are nanoGPT's CPU run on the works of Shakespeare, see its README."""

    text: tuple[str, ...] = _setting((), "A text to train on. May be given several times.", metavar="PATH")
    data: str | None = _setting(
        None,
        'Train on the lines {"prompt": ..., "completion": ...} of this file, in place of text: only completions count.',
        metavar="PATH",
    )
    validation: str | None = _setting(
        None, "Measure on this file, of the same kind. Default: the last tenth of the data.", metavar="PATH"
    )
    init: str | None = _setting(None, "Begin with this model instead of a random one: fine-tuning.", metavar="MODEL")
    tokenizer: str = _setting("char", "The tokenizer of a random model.", metavar="char|bpe:SIZE|gpt2")
    n_layer: int = _setting(4, "Number of blocks of a random model.")
    n_head: int = _setting(4, "Number of attention heads of a random model.")
    n_embd: int = _setting(128, "Width of a random model's residual stream.")
    initializer_range: float = _setting(
        0.02,
        "Standard deviation of a random model's matrices. GPT-2's 0.02 suits a width of 768; a narrow model learns "
        "sooner with 1/sqrt(width).",
    )
    block_size: int = _setting(64, "Tokens in a sequence.")
    batch_size: int = _setting(12, "Sequences in a batch.")
    steps: int = _setting(2000, "Number of training steps.")
    lr: float = _setting(1e-3, "Highest learning rate.")
    min_lr: float = _setting(1e-4, "Learning rate at the end.")
    warmup: int = _setting(100, "Steps of linear warm-up to the highest learning rate.")
    beta2: float = _setting(0.99, "AdamW's beta2: how long it remembers squared gradients.")
    weight_decay: float = _setting(0.1, "Weight decay, on matrices only.")
    grad_clip: float = _setting(1.0, "Clip the gradient's norm to this.")
    grad_accum: int = _setting(1, "Batches whose gradients are added up in one step.")
    dtype: str = _setting(
        "float32",
        "bfloat16: round what the large products multiply; sums and parameters stay in float32 (default).",
        choices=("float32", "bfloat16"),
    )
    dropout: float = _setting(0.0, "Share of the activations that dropout sets to 0.")
    eval_every: int = _setting(250, "Steps between measurements; the training is saved at each of them.")
    eval_batches: int = _setting(20, "Batches in a measurement.")
    sample_tokens: int = _setting(0, "Print a text of this many tokens at each measurement.")
    seed: int = _setting(0, "The same seed and threads give the same model, bit for bit.")
    threads: int | None = _setting(None, "Number of cores to use. Default: all physical ones.")
    ops: str = _setting("jit", "plain: NumPy formulas; jit (default): compiled kernels.", choices=("plain", "jit"))

    def __post_init__(self):
        for each in fields(self):
            self._require_kind(each.name, each.type, getattr(self, each.name))
        if bool(self.text) == bool(self.data):
            raise ValueError("a training needs either text or data, pairs of prompt and completion")
        positive = ("n_layer", "n_head", "n_embd", "block_size", "batch_size", "steps", "grad_accum", "eval_every")
        for name in (*positive, "eval_batches", "lr", "grad_clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        for name in ("min_lr", "warmup", "weight_decay", "sample_tokens", "seed"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be below 0, not {getattr(self, name)}")
        for name in ("dropout", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be from 0 to below 1, not {getattr(self, name)}")
        if self.min_lr > self.lr:
            raise ValueError(f"min_lr, the learning rate at the end, is {self.min_lr}: above lr, {self.lr}")

    @staticmethod
    def _require_kind(name, kind, value):
        """Raise ValueError unless a setting's value is of its field's type."""
        if kind is int or (kind == int | None and value is not None):
            require(is_id(value), name, value, "an integer")
        elif kind is float:
            require(is_number(value), name, value, "a number")
        elif kind is str or (kind == str | None and value is not None):
            require(isinstance(value, str), name, value, "a text")
        elif kind == tuple[str, ...]:
            is_valid = isinstance(value, tuple | list) and all(isinstance(text, str) for text in value)
            require(is_valid, name, value, "a list of texts")

    @classmethod
    def from_preset(cls, preset: str | None = None, **options) -> "Settings":
        """Return the settings of a preset with some of them replaced. Without a name: finetune with init, else char.

        Some defaults depend on the options: min_lr is a tenth of a given lr, the warm-up is at most a tenth
        of the steps, and a block is at most as long as the context of the model to begin with.
        """
        values = PRESETS[preset or ("finetune" if options.get("init") else "char")] | options
        if "lr" in options:
            values["min_lr"] = options.get("min_lr", values["lr"] / 10)
        settings = cls(**values)
        if "warmup" not in options:
            settings = replace(settings, warmup=min(settings.warmup, settings.steps // 10))
        if "block_size" not in options and settings.init:
            from minigpt.config import GPT2Config  # imported here because it needs NumPy

            n_positions = GPT2Config.from_pretrained(settings.init).n_positions
            settings = replace(settings, block_size=min(settings.block_size, n_positions))
        return settings


# Settings that only shape a random model: they have no effect with init.
RANDOM_MODEL_SETTINGS = ("tokenizer", "n_layer", "n_head", "n_embd", "initializer_range")

PRESETS = {
    "nano": {"n_layer": 2, "n_embd": 64, "block_size": 32, "batch_size": 16, "steps": 1000, "lr": 2e-3},
    "char": {},
    "gpt2": {
        "tokenizer": "gpt2", "n_layer": 12, "n_head": 12, "n_embd": 768, "block_size": 1024, "batch_size": 4,
        "grad_accum": 8, "lr": 6e-4, "min_lr": 6e-5, "warmup": 200, "beta2": 0.95,
    },
    # A trained model is near its best: a few small steps are enough.
    "finetune": {
        "block_size": 128, "batch_size": 4, "steps": 200, "lr": 5e-5, "min_lr": 5e-6, "warmup": 10, "eval_every": 50,
        "beta2": 0.95,
    },
}  # fmt: skip
