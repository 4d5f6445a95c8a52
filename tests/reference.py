"""The same model in PyTorch, and how near is near enough."""

from pathlib import Path

import numpy as np
import torch
import transformers
from hypothesis import strategies as st

from minigpt import GPT2, GPT2Config
from minigpt.params import flatten

SHAKESPEARE = str(Path(__file__).parent / "data" / "shakespeare")  # a checkpoint that PyTorch made


def assert_close(ours, theirs, tolerance):
    """The largest difference is at most `tolerance` times the largest value."""
    theirs = theirs.detach().numpy() if isinstance(theirs, torch.Tensor) else theirs
    assert ours.shape == theirs.shape
    assert np.isfinite(ours).all()
    difference, largest = np.abs(ours - theirs).max(initial=0), np.abs(theirs).max(initial=0)
    assert difference <= tolerance * largest, f"differs by {difference:.3g} of {largest:.3g}"


def in_torch(model):
    """A minigpt model as transformers' GPT2LMHeadModel with the same parameters, in the same dtype."""
    fields = {name: value for name, value in model.config.to_dict().items() if name != "architectures"}
    config = transformers.GPT2Config(**fields, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0)
    twin = transformers.GPT2LMHeadModel(config).to(getattr(torch, str(model.dtype))).eval()
    tensors = {
        (name if name.startswith("lm_head") else f"transformer.{name}"): torch.from_numpy(np.array(array))
        for name, array in flatten(model.params).items()
    }
    missing, unexpected = twin.load_state_dict(tensors, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}
    twin.tie_weights()
    return twin


def torch_logits(twin, ids, **options):
    with torch.no_grad():
        return twin(torch.from_numpy(np.asarray(ids)), **options).logits


@st.composite
def configs(draw, min_head_size=1, **fixed):
    """Small configurations with every switch in every position. The weights are large, so that mistakes show."""
    n_head = draw(st.integers(1, 4))
    options = {
        "vocab_size": draw(st.integers(24, 60)),
        "n_positions": draw(st.integers(16, 32)),
        "n_head": n_head,
        "n_embd": n_head * draw(st.integers(min_head_size, 9)),
        "n_layer": draw(st.integers(1, 4)),
        "n_inner": draw(st.none() | st.integers(1, 70)),
        "activation_function": draw(st.sampled_from(["gelu_new", "gelu", "relu"])),
        "layer_norm_epsilon": draw(st.sampled_from([1e-5, 1e-3, 0.1])),
        "scale_attn_weights": draw(st.booleans()),
        "scale_attn_by_inverse_layer_idx": draw(st.booleans()),
        "tie_word_embeddings": draw(st.booleans()),
        "initializer_range": 0.5,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    return GPT2Config(**(options | fixed))


def lively_model(config, seed, dtype="float64"):
    """A random model whose biases and layer norms are not the trivial ones of a fresh model."""
    model = GPT2.random(config, seed, dtype)
    rng = np.random.default_rng(seed + 1)
    for name, array in flatten(model.params).items():
        if array.ndim == 1:
            array += rng.normal(0, 0.5, array.shape).astype(array.dtype)
            assert name.split(".")[-1] in ("weight", "bias")
    return model


@st.composite
def models(draw, dtype="float64", **options):
    return lively_model(draw(configs(**options)), draw(st.integers(0, 10**6)), dtype)


def random_ids(model, shape, seed=0):
    return np.random.default_rng(seed).integers(0, model.config.vocab_size, shape)


TINY = GPT2Config(vocab_size=50, n_positions=24, n_embd=12, n_layer=3, n_head=3, initializer_range=0.5, eos_token_id=0)
