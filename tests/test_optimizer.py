"""AdamW and clipping against PyTorch's, for any tree of arrays."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from reference import assert_close, in_torch, lively_model, random_ids

from minigpt import GPT2Config
from minigpt.params import flatten
from minigpt.training import AdamW, clip_by_global_norm, learning_rate, loss_and_grads

CONFIG = {"n_layer": 2, "n_head": 2, "n_embd": 6, "vocab_size": 11, "n_positions": 8, "initializer_range": 0.5}


def test_ten_steps_equal_pytorch():
    model = lively_model(GPT2Config(**CONFIG), 0)
    twin = in_torch(model)
    named = dict(twin.named_parameters())
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in named.values() if p.ndim > 1], "weight_decay": 0.1},
            {"params": [p for p in named.values() if p.ndim == 1], "weight_decay": 0.0},
        ],
        betas=(0.9, 0.95),
    )
    ours = AdamW(model.params, betas=(0.9, 0.95), weight_decay=0.1)
    for step in range(10):
        inputs, targets = random_ids(model, (2, 3, 7), step)
        lr = learning_rate(step, 10, 1e-2, 1e-3, 3)
        _, grads = loss_and_grads(model, inputs, targets)
        norm = clip_by_global_norm(grads, 0.5)
        ours.step(grads, lr)
        optimizer.zero_grad()
        logits = twin(torch.from_numpy(inputs)).logits
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.from_numpy(targets).flatten()).backward()
        assert norm == pytest.approx(torch.nn.utils.clip_grad_norm_(twin.parameters(), 0.5).item(), rel=1e-7)
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.step()
    for name, array in flatten(model.params).items():
        # A key's bias has no gradient but rounding, which Adam's division makes as large as any step.
        if not name.endswith("c_attn.bias"):
            assert_close(array, named[f"transformer.{name}"], 1e-7)


def draw_trees(shape_of_tree, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape) for shape in shape_of_tree]


@pytest.mark.parametrize(
    "nested",
    [
        lambda a, b, c: {"encoder": {"weight": a, "bias": b}, "scale": c},
        lambda a, b, c: [a, [b, c]],
        lambda a, b, c: {"layers": [{"w": a}, {"w": b}], "last": [c]},
    ],
)
def test_any_nested_tree_is_optimised_as_in_pytorch(nested):
    shapes = [(3, 4), (5,), (2, 2)]
    arrays, gradients = draw_trees(shapes), draw_trees(shapes, seed=1)
    theirs = [torch.from_numpy(array.copy()).requires_grad_() for array in arrays]
    optimizer = torch.optim.AdamW([{"params": [p], "weight_decay": 0.1 if p.ndim > 1 else 0.0} for p in theirs], lr=0.1)
    ours = AdamW(nested(*arrays), lr=0.1, weight_decay=0.1)
    for _ in range(3):
        clipped = [gradient.copy() for gradient in gradients]
        for p, gradient in zip(theirs, gradients, strict=True):
            p.grad = torch.from_numpy(gradient.copy())
        norm = clip_by_global_norm(nested(*clipped), 1.0)
        assert norm == pytest.approx(torch.nn.utils.clip_grad_norm_(theirs, 1.0).item(), rel=1e-7)
        ours.step(nested(*clipped))
        optimizer.step()
    for array, p in zip(arrays, theirs, strict=True):
        assert_close(array, p, 1e-9)


def test_parameters_that_are_no_arrays_of_floats_are_refused_by_name():
    with pytest.raises(ValueError, match=r"parameter 'a.0' must be a NumPy array of floats, not int64"):
        AdamW({"a": [np.arange(3)]})
    with pytest.raises(ValueError, match=r"parameter 'b' must be a NumPy array of floats, not float"):
        AdamW({"b": 1.5})


def test_gradients_of_another_tree_are_refused():
    optimizer = AdamW({"a": np.ones(2)})
    with pytest.raises(ValueError, match="'b' is in only one of them"):
        optimizer.step({"a": np.ones(2), "b": np.ones(2)})


def test_the_result_does_not_depend_on_what_is_imported():
    script = """
import sys
import numpy as np
if sys.argv[1] == "yes":
    import minigpt.ops.jit, minigpt.training.jit
from minigpt.training import AdamW
rng = np.random.default_rng(0)
p = rng.standard_normal((7, 9)).astype(np.float32)
optimizer = AdamW([p])
for _ in range(5):
    optimizer.step([rng.standard_normal((7, 9)).astype(np.float32)])
print(p.tobytes().hex())
"""
    results = [
        subprocess.run([sys.executable, "-c", script, imported], capture_output=True, text=True, check=True).stdout
        for imported in ("yes", "no")
    ]
    assert results[0] == results[1] and results[0]
