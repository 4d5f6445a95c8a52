"""Measure how fast a model runs, beside what the machine allows.

A roofline (Williams et al. 2009): a new token reads every weight once, so it cannot be faster than memory is read; a
prompt multiplies every weight with every token, so it cannot be faster than BLAS multiplies.
"""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import numpy as np

from minigpt.cache import KVCache
from minigpt.generation.sampling import log_softmax
from minigpt.gpt2 import GPT2
from minigpt.ops.threads import get_threads
from minigpt.params import flatten

PROMPT_LENGTHS = (32, 128, 512, 900)
NEW_TOKENS = 16  # after each prompt; the median of their times is reported


@dataclass(frozen=True)
class Measurement:
    """One line of the table. bound: the most that the machine reaches, in the same unit as achieved."""

    work: str
    tokens: int
    milliseconds: float
    tokens_per_second: float
    achieved: float
    bound: float
    unit: str  # GB/s or GFLOP/s

    @property
    def share(self):
        """achieved / bound."""
        return self.achieved / self.bound


def bench(model: GPT2, lengths: Sequence[int] = PROMPT_LENGTHS) -> list[Measurement]:
    """Measure reading a prompt of each length, and a new token after it, for one sequence."""
    lengths = [n for n in lengths if n + NEW_TOKENS <= model.config.n_positions] or [model.config.n_positions // 2]
    gigabytes, gigaflops = streaming_read(), blas_product()
    ids = np.random.default_rng(0).integers(0, model.config.vocab_size, max(lengths))
    model.ops.ready()
    model(ids[:2], last_only=True)  # warm up: one-time work happens here
    prompts, tokens = [], []
    for n in lengths:
        seconds, cache = [], None
        for _ in range(3):
            del cache
            cache = KVCache(model.config, 1, n + NEW_TOKENS, model.dtype)
            seconds.append(_seconds(lambda n=n, cache=cache: model(ids[:n], cache=cache, last_only=True)))
        best = min(seconds)
        prompts.append(
            Measurement("prompt", n, best * 1e3, n / best, prompt_flops(model, n) / best / 1e9, gigaflops, "GFLOP/s")
        )
        steps = [_seconds(lambda cache=cache: model(ids[:1], cache=cache, last_only=True)) for _ in range(NEW_TOKENS)]
        step = float(np.median(steps))
        read = (weight_bytes(model) + cache_bytes(model, n + NEW_TOKENS // 2)) / step / 1e9
        tokens.append(Measurement("new token", n, step * 1e3, 1 / step, read, gigabytes, "GB/s"))
    return prompts + tokens


def weight_bytes(model):
    """Return the bytes of weights that a new token reads: all but the tables in which it looks up one row."""
    head = "wte.weight" if model.config.tie_word_embeddings else "lm_head.weight"
    lookups = {"wte.weight", "wpe.weight"} - {head}
    return sum(array.nbytes for name, array in flatten(model.params).items() if name not in lookups)


def cache_bytes(model, n_tokens):
    """Return the bytes of keys and values that a new token reads after n_tokens."""
    return 2 * model.config.n_layer * model.config.n_embd * n_tokens * model.dtype.itemsize


def prompt_flops(model, n_tokens):
    """Return the multiplications and additions of a prompt: two per block weight and token; the head once.

    Attention multiplies each query by the keys before it, on average half of them, and its weights by the values.
    """
    shapes = [array.shape for block in model.params["h"] for array in flatten(block).values()]
    blocks = sum(shape[0] * shape[1] for shape in shapes if len(shape) == 2)
    attention = 2 * 2 * n_tokens * n_tokens / 2 * model.config.n_embd * model.config.n_layer
    return 2 * blocks * n_tokens + attention + 2 * model.config.vocab_size * model.config.n_embd


@dataclass(frozen=True)
class Agreement:
    """How well a model with packed weights predicts a text, beside the same model in float32."""

    tokens: int
    perplexity: float
    perplexity_float32: float
    same_top_token: float  # share of the positions at which both have the same most probable token


def agreement(model: GPT2, in_float32: GPT2, ids: Sequence[int]) -> Agreement:
    """Compare a model with `in_float32` on a text, a list of ids, read in windows of the whole context."""
    losses, same_top = [], []
    for start in range(0, len(ids) - 1, model.config.n_positions):
        window = np.asarray(ids[start : start + model.config.n_positions + 1])
        places = np.arange(len(window) - 1)
        logprobs = [log_softmax(each(window[:-1]).astype(np.float64)) for each in (model, in_float32)]
        losses.append([-row[places, window[1:]] for row in logprobs])
        same_top.append(logprobs[0].argmax(axis=-1) == logprobs[1].argmax(axis=-1))
    ours, theirs = np.exp(np.concatenate(losses, axis=1).mean(axis=1))
    same_top = np.concatenate(same_top)
    return Agreement(len(same_top), float(ours), float(theirs), float(same_top.mean()))


def streaming_read(n_bytes=2**29):
    """Return the GB/s at which all threads together read, in order, an array too large for any cache."""
    array = np.ones(n_bytes // 4, np.float32)
    parts = np.array_split(array, get_threads())
    with ThreadPoolExecutor(len(parts)) as pool:
        return n_bytes / min(_seconds(lambda: list(pool.map(np.max, parts))) for _ in range(5)) / 1e9


def blas_product(size=1536):
    """Return the GFLOP/s of NumPy's matrix product, float32."""
    a, b = np.ones((2, size, size), np.float32)
    out = np.empty_like(a)
    return 2 * size**3 / min(_seconds(lambda: np.matmul(a, b, out=out)) for _ in range(5)) / 1e9


def _seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def as_table(measurements):
    """Return the measurements as lines of text."""
    header = f"{'work':<10} {'tokens':>6} {'ms':>9} {'tokens/s':>9} {'achieved':>17} {'bound':>17} {'share':>6}"
    lines = [
        f"{m.work:<10} {m.tokens:>6} {m.milliseconds:>9.2f} {m.tokens_per_second:>9.1f} "
        f"{m.achieved:>9.1f} {m.unit:<7} {m.bound:>9.1f} {m.unit:<7} {m.share:>6.0%}"
        for m in measurements
    ]
    return "\n".join([header, *lines])


def as_dicts(measurements):
    """Return the measurements for JSON."""
    return [asdict(m) | {"share": m.share} for m in measurements]


def plot(measurements, path):
    """Draw the measurements and their bounds to a file. Needs matplotlib."""
    from minigpt.looking.figures import new_figure, save_figure

    figure = new_figure(10, 4)
    for axis, work in zip(figure.subplots(1, 2), ("prompt", "new token"), strict=True):
        of_work = [m for m in measurements if m.work == work]
        axis.plot([m.tokens for m in of_work], [m.achieved for m in of_work], "o-", label="minigpt")
        axis.axhline(of_work[0].bound, linestyle="--", color="grey", label="this machine")
        axis.set(title=work, xlabel="tokens in the context", ylabel=of_work[0].unit, ylim=(0, None))
        axis.legend()
    save_figure(figure, path)
