"""Weights in fewer bits: packing, models that keep them, files with them, and what they cost in accuracy."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from reference import SHAKESPEARE, lively_model, random_ids
from safetensors.torch import load_file
from transformers import GPT2LMHeadModel

from minigpt import GPT2, GPT2Config, Tokenizer
from minigpt.bench import agreement
from minigpt.ops.jit.registers import HAS_BFLOAT16_PRODUCTS
from minigpt.ops.packed import SCALE_GROUP, UNPACKED_BLOCK_SIZE, BFloat16Matrix, Int4Matrix, Int8Matrix, PackedMatrix
from minigpt.params import flatten
from weights_loader import CheckpointError

CONFIG = GPT2Config(vocab_size=50, n_positions=16, n_embd=24, n_layer=2, n_head=3, bos_token_id=None, eos_token_id=None)
HELDOUT = Path(__file__).parent / "data" / "shakespeare-heldout.txt"


@pytest.fixture
def folder(tmp_path):
    lively_model(CONFIG, seed=3, dtype="float32").save_pretrained(tmp_path / "float32")
    return tmp_path / "float32"


any_float32 = hnp.arrays(np.uint32, (3, 5)).map(lambda bits: bits.view(np.float32))


@given(x=any_float32)
def test_bfloat16_rounds_as_pytorch_does(x):
    with np.errstate(invalid="ignore"):
        ours = BFloat16Matrix.pack(x).unpack(slice(None))
    theirs = torch.from_numpy(x).bfloat16().float().numpy()
    assert np.array_equal(ours, theirs, equal_nan=True)


@given(x=hnp.arrays(np.float32, (4, 7), elements=st.floats(-1e6, 1e6, width=32)))
@example(x=np.full((4, 7), 7.89e-42, np.float32))
def test_int8_is_off_by_half_a_step_at_most(x):
    packed = Int8Matrix.pack(x)
    largest = np.abs(x).max(axis=1, keepdims=True)
    assert (np.abs(packed.unpack(slice(None)) - x) <= largest / 127 * 0.5001 + 1e-38).all()
    assert np.abs(packed.stored.astype(int)).max() <= 127
    assert packed.sums[:4].tolist() == packed.stored.sum(axis=1, dtype=int).tolist()


@pytest.mark.parametrize("form", [Int8Matrix, Int4Matrix])
def test_weights_that_are_not_finite_are_refused(form):
    with pytest.raises(ValueError, match="weights that are not finite cannot be quantized"):
        form.pack(np.array([[1.0, np.nan]], np.float32))


def in_groups(x):
    """Return x [out, in], filled up with zeros, as [out, groups, 32]."""
    n_groups = -(-x.shape[1] // 64) * 2
    return np.pad(x, ((0, 0), (0, n_groups * SCALE_GROUP - x.shape[1]))).reshape(len(x), n_groups, SCALE_GROUP)


@given(x=hnp.arrays(np.float32, (3, 70), elements=st.floats(-1e6, 1e6, width=32)))
@example(x=np.full((3, 70), 7.89e-42, np.float32))
@example(x=np.full((3, 70), 3e-38, np.float32))
@example(x=np.full((3, 70), -3.3e38, np.float32))
def test_int4_rounds_to_the_nearest_of_16_multiples(x):
    packed = Int4Matrix.pack(x)
    scales = packed.scales.unpack(slice(None)).astype(float)
    multiples = scales[:, :, None, None] * np.arange(-8, 8)
    nearest = np.abs(in_groups(x)[..., None] - multiples).min(axis=-1)
    errors = np.abs(in_groups(packed.unpack(slice(None)).astype(float)) - in_groups(x))
    largest = np.abs(in_groups(x)).max(axis=2, keepdims=True)
    assert (errors <= nearest + 1e-6 * largest + 1e-37).all()
    simplest = largest / 7  # the scale with which nothing is clipped; bfloat16 rounds ours by 1/256 at most
    most = np.sqrt(in_groups(x).shape[2]) * (simplest / 2 + largest / 256)
    assert (np.sqrt((errors**2).sum(axis=2)) <= most[..., 0] + 1e-36).all()


def test_the_scales_of_int4_are_searched():
    x = np.random.default_rng(0).standard_normal((64, 256)).astype(np.float32)
    groups = in_groups(x).astype(float)
    places = np.abs(groups).argmax(axis=2)[..., None]

    def error(smallest):
        """Return the squared error of each group where its largest weight is divided by its scale to give `smallest`."""
        scales = np.take_along_axis(groups, places, axis=2) / smallest
        return ((np.rint(groups / scales).clip(-8, 7) * scales - groups) ** 2).sum(axis=2)

    ours = ((np.asarray(Int4Matrix.pack(x)) - x) ** 2).sum()
    assert ours < 0.95 * error(-8).sum()
    assert ours < 1.02 * np.min([error(smallest) for smallest in np.arange(-11, -5, 0.05)], axis=0).sum()


def test_the_bytes_of_int4():
    x = np.zeros((2, 40), np.float32)
    x[0, :32] = 0.25 * np.arange(-8, 8).repeat(2)
    x[1, 39] = 1
    packed = Int4Matrix.pack(x)
    assert np.array_equal(np.asarray(packed), x)
    assert packed.stored.shape == (2, 32) and packed.scales.shape == (2, 2)
    assert packed.stored[0, :16].tolist() == [(8 + i // 2) << 4 | i // 2 for i in range(16)]
    assert (packed.stored[1, :16] == 0x88).all() and packed.scales.unpack(slice(None))[1, 0] == 0
    assert Int4Matrix.pack(np.ones((64, 1024), np.float32)).nbytes == 64 * 1024 // 32 * 18


def test_a_packed_matrix_is_like_an_array():
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((UNPACKED_BLOCK_SIZE // 512 + 3, 512)).astype(np.float32)  # more than one block
    for packed in (Int8Matrix.pack(matrix), BFloat16Matrix.pack(matrix), Int4Matrix.pack(matrix)):
        dense = np.asarray(packed)
        assert len(packed.blocks()) == 2 and packed.nbytes < 0.6 * matrix.nbytes
        assert packed.shape == dense.shape and packed.T.shape == dense.T.shape and len(packed.T) == 512
        assert np.array_equal(np.asarray(packed.T), dense.T) and np.array_equal(np.asarray(packed.T.T), dense)
        ids = np.array([[3, 1], [0, 3]])
        assert np.array_equal(packed[ids], dense[ids]) and np.array_equal(packed.T[ids], dense.T[ids])
        x = rng.standard_normal((2, 3, 512)).astype(np.float32)
        assert np.abs(x @ packed.T - x @ dense.T).max() < 1e-4
        y = rng.standard_normal((2, len(matrix))).astype(np.float32)
        assert np.abs(y @ packed - y @ dense).max() < 1e-3


@pytest.mark.parametrize("ops", ["plain", "jit"])
@pytest.mark.parametrize("options", [{"quantize": "int8"}, {"quantize": "int4"}, {"dtype": "bfloat16"}])
def test_a_packed_model_computes_with_its_packed_weights(folder, ops, options):
    model = GPT2.from_pretrained(folder, ops=ops, **options)
    form = {"int8": Int8Matrix, "int4": Int4Matrix, "bfloat16": BFloat16Matrix}[next(iter(options.values()))]
    packed = {name for name, array in flatten(model.params).items() if isinstance(array, form)}
    matrices = {name for name, shape in CONFIG.shapes().items() if len(shape) == 2}
    assert packed == matrices - {"wpe.weight"}
    dense = GPT2.from_pretrained(folder, ops="plain")
    for name, array in flatten(model.params).items():
        *path, last = name.split(".")
        node = dense.params
        for part in path:
            node = node[int(part) if part.isdigit() else part]
        coarsest = 1 / 7 if isinstance(array, Int4Matrix) else 0.01
        assert 0 <= np.abs(np.asarray(array) - node[last]).max() < coarsest * np.abs(node[last]).max()
        node[last] = np.ascontiguousarray(array)
    ids = random_ids(model, (2, 9))
    # The kernels round the inputs of products with integers.
    tolerance = {"int8": 1e-3, "int4": 2e-2}.get(options.get("quantize"), 1e-5) if ops == "jit" else 1e-5
    for inputs in (ids, ids[:1, :3]):  # by BLAS, then by the kernels for a few rows
        logits = dense(inputs)
        assert np.abs(model(inputs) - logits).max() <= tolerance * np.abs(logits).max()
    assert model.generate(ids, max_new_tokens=4, num_beams=2).shape == (2, 13)


@pytest.mark.parametrize("options", [{"quantize": "int8"}, {"quantize": "int4"}, {"dtype": "bfloat16"}])
@pytest.mark.parametrize("tied", [True, False])
def test_saved_and_loaded_back(options, tied, tmp_path):
    model = lively_model(GPT2Config(**{**vars(CONFIG), "tie_word_embeddings": tied}), 5, "float32")
    model.save_pretrained(tmp_path / "float32")
    packed = GPT2.from_pretrained(tmp_path / "float32", **options)
    packed.save_pretrained(tmp_path / "packed")
    again = GPT2.from_pretrained(tmp_path / "packed")
    assert again.config == packed.config
    for (name, ours), theirs in zip(flatten(again.params).items(), flatten(packed.params).values(), strict=True):
        assert type(ours) is type(theirs), name
        assert np.array_equal(np.asarray(ours), np.asarray(theirs)), name
        if isinstance(ours, PackedMatrix):
            assert ours.panels.array.flags.c_contiguous and ours.stored.dtype == theirs.stored.dtype
    ids = random_ids(model, (1, 9))
    assert np.array_equal(again(ids), packed(ids))
    dense = GPT2.from_pretrained(tmp_path / "packed", dtype="float64")  # unpacked, on request
    for (name, ours), theirs in zip(flatten(dense.params).items(), flatten(packed.params).values(), strict=True):
        assert ours.dtype == np.float64, name
        assert np.abs(ours - np.asarray(theirs)).max() <= 1e-7 * np.abs(ours).max(), name
    size = [
        sum(path.stat().st_size for path in (tmp_path / name).glob("*.safetensors")) for name in ("packed", "float32")
    ]
    assert size[0] < 0.75 * size[1]


def test_transformers_reads_our_bfloat16_and_refuses_our_integers(folder, tmp_path):
    model = GPT2.from_pretrained(folder, dtype="bfloat16")
    model.save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    assert stored["transformer.h.0.mlp.c_fc.weight"].dtype == torch.bfloat16
    ids = random_ids(model, (1, 7))
    twin = GPT2LMHeadModel.from_pretrained(tmp_path, dtype=torch.float32).eval()
    with torch.no_grad():
        theirs = twin(torch.from_numpy(ids)).logits.numpy()
    assert np.abs(model(ids) - theirs).max() <= 1e-5 * np.abs(theirs).max()

    for form in ("int8", "int4"):
        GPT2.from_pretrained(folder, quantize=form).save_pretrained(tmp_path)
        # Saving removes the file of before.
        assert [path.name for path in tmp_path.glob("*.safetensors")] == [f"model.{form}.safetensors"]
        with pytest.raises(OSError, match="no file named model.safetensors"):
            GPT2LMHeadModel.from_pretrained(tmp_path)
    model.save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.glob("*.safetensors")] == ["model.safetensors"]


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ("int8", "8-bit integers, but no h.1.mlp.c_fc.weight_scale of one number per row or column"),
        ("int4", "4-bit integers, but no h.1.mlp.c_fc.weight_scale of one number per 32 of them"),
    ],
)
def test_integers_without_their_scale(form, error, folder, tmp_path):
    from safetensors.torch import save_file

    GPT2.from_pretrained(folder, quantize=form).save_pretrained(tmp_path)
    file = f"model.{form}.safetensors"
    tensors = load_file(tmp_path / file)
    right = tensors["transformer.h.1.mlp.c_fc.weight_scale"]
    for wrong in (None, torch.ones(7, 1), torch.ones(1)):
        name = "transformer.h.1.mlp.c_fc.weight_scale"
        tensors.pop(name, None)
        save_file(tensors | ({} if wrong is None else {name: wrong}), tmp_path / file)
        with pytest.raises(CheckpointError, match=f"'h.1.mlp.c_fc.weight' has {error}"):
            GPT2.from_pretrained(tmp_path)
    save_file(tensors | {name: right}, tmp_path / file)
    narrow = GPT2Config(**{**vars(CONFIG), "n_inner": 40})
    (tmp_path / "config.json").write_text(json.dumps(narrow.to_dict()))
    with pytest.raises(
        CheckpointError, match=r"'h.0.mlp.c_fc.weight' has shape \[.*\], but config.json requires \[24, 40\]"
    ):
        GPT2.from_pretrained(tmp_path)


@pytest.mark.parametrize("form", ["int8", "int4"])
def test_integers_with_scales_of_their_inputs(form, folder, tmp_path):
    from safetensors.torch import save_file

    GPT2.from_pretrained(folder, quantize=form).save_pretrained(tmp_path)
    file, name = tmp_path / f"model.{form}.safetensors", "transformer.h.1.mlp.c_fc.weight"
    tensors, rng = load_file(file), np.random.default_rng(0)
    if form == "int8":
        integers, scales = rng.integers(-127, 128, (24, 96)).astype(np.int8), rng.random((24, 1), np.float32)
        expected = integers * scales
    else:
        integers, scales = rng.integers(0, 256, (24, 64)).astype(np.uint8), rng.random((24, 4), np.float32)
        groups = integers.reshape(24, 4, 16).astype(int)
        expected = (np.concatenate([groups % 16, groups // 16], axis=2) - 8) * scales[..., None]
        expected = expected.reshape(24, 128)[:, :96]
    save_file(tensors | {name: torch.from_numpy(integers), f"{name}_scale": torch.from_numpy(scales)}, file)
    matrix = np.asarray(GPT2.from_pretrained(tmp_path).params["h"][1]["mlp"]["c_fc"]["weight"])
    coarsest = 1 / 127 if form == "int8" else 1 / 7
    assert np.abs(matrix - expected).max() < coarsest * np.abs(expected).max()
    exact = GPT2.from_pretrained(tmp_path, dtype="float32").params["h"][1]["mlp"]["c_fc"]["weight"]
    assert np.abs(exact - expected).max() < 1e-6 * np.abs(expected).max()


def test_quantizing_damaged_weights_names_the_folder(tmp_path):
    model = lively_model(CONFIG, 1, "float32")
    model.params["h"][0]["mlp"]["c_fc"]["weight"][0, 0] = np.inf
    model.save_pretrained(tmp_path)
    for form in ("int8", "int4"):
        with pytest.raises(CheckpointError, match=f"{tmp_path}: weights that are not finite"):
            GPT2.from_pretrained(tmp_path, quantize=form)


@pytest.mark.parametrize("options", [{"quantize": "int8"}, {"dtype": "bfloat16"}])
def test_activations_in_the_format_of_the_weights(folder, options):
    (form,) = options.values()
    rounds = GPT2.from_pretrained(folder, ops="jit", **options, activations=form)
    exact = GPT2.from_pretrained(folder, ops="jit", **options)
    ids = random_ids(exact, (2, 9))
    difference = np.abs(rounds(ids) - exact(ids)).max() / np.abs(exact(ids)).max()
    assert difference < 0.05 and (difference > 1e-4 or (form == "bfloat16" and not HAS_BFLOAT16_PRODUCTS))
    assert np.array_equal(rounds(ids[:1, :8]), exact(ids[:1, :8]))  # few tokens are computed exactly


def test_activations_in_another_format(folder):
    with pytest.raises(ValueError, match="activations in int8 need weights in int8: choose these, too"):
        GPT2.from_pretrained(folder, activations="int8", dtype="bfloat16")
    with pytest.raises(ValueError, match="activations in bfloat16 need weights in bfloat16: choose these, too"):
        GPT2.from_pretrained(folder, activations="bfloat16", quantize="int4")
    with pytest.raises(ValueError, match="activations must be None, bfloat16 or int8, not 'int4'"):
        GPT2.from_pretrained(folder, activations="int4")


def test_choosing_two_ways_to_keep_weights(folder):
    with pytest.raises(ValueError, match="choose int8 or float64"):
        GPT2.from_pretrained(folder, quantize="int8", dtype="float64")
    with pytest.raises(ValueError, match="quantize must be None, int8 or int4, not 'int2'"):
        GPT2.from_pretrained(folder, quantize="int2")
    eight_bits, explicit = (GPT2.from_pretrained(folder, quantize="int8", **o) for o in ({}, {"dtype": "float32"}))
    assert (explicit([1, 2, 3]) == eight_bits([1, 2, 3])).all() and explicit.dtype == np.float32


def test_bfloat16_in_a_file_stays_so(folder, tmp_path):
    tensors = {n: t.bfloat16() for n, t in load_file(folder / "model.safetensors").items()}
    from safetensors.torch import save_file

    (tmp_path / "config.json").write_text(json.dumps(CONFIG.to_dict()))
    save_file(tensors, tmp_path / "model.safetensors")
    kept, widened = GPT2.from_pretrained(tmp_path), GPT2.from_pretrained(tmp_path, dtype="float32")
    assert isinstance(kept.params["h"][1]["attn"]["c_proj"]["weight"], BFloat16Matrix)
    assert isinstance(widened.params["h"][1]["attn"]["c_proj"]["weight"], np.ndarray)
    ids = random_ids(kept, (1, 9))
    assert np.abs(kept(ids) - widened(ids)).max() <= 1e-5 * np.abs(widened(ids)).max()


def test_other_bits_than_those_of_the_file(folder, tmp_path):
    in_float32, four_bits = GPT2.from_pretrained(folder), GPT2.from_pretrained(folder, quantize="int4")
    four_bits.save_pretrained(tmp_path / "int4")
    eight_bits = GPT2.from_pretrained(tmp_path / "int4", quantize="int8")
    again = GPT2.from_pretrained(tmp_path / "int4", quantize="int4")
    name = "h.1.mlp.c_proj.weight"
    matrices = [flatten(model.params)[name] for model in (in_float32, four_bits, eight_bits, again)]
    assert [type(matrix) for matrix in matrices] == [np.ndarray, Int4Matrix, Int8Matrix, Int4Matrix]
    exact, *packed = map(np.asarray, matrices)
    assert np.array_equal(packed[0], packed[2])
    assert 0 < np.abs(packed[1] - packed[0]).max() < 0.01 * np.abs(exact).max() < np.abs(packed[0] - exact).max()


@pytest.mark.parametrize("ops", ["plain", "jit"])
def test_what_8_bits_cost(ops, shakespeare):
    ids = Tokenizer.from_pretrained(SHAKESPEARE).encode(HELDOUT.read_text(encoding="utf-8"))[:6000]
    quantized = GPT2.from_pretrained(SHAKESPEARE, ops=ops, quantize="int8")
    got = agreement(quantized, shakespeare, ids)
    assert got.tokens == 5999
    assert 25 < got.perplexity_float32 < 30  # a model that has learnt nothing would have 1024
    assert abs(got.perplexity / got.perplexity_float32 - 1) < 0.005
    assert got.same_top_token > 0.95
    # The bound detects coarser weights: 4 bits exceed it.
    for array in flatten(quantized.params).values():
        if isinstance(array, Int8Matrix):
            coarse = Int8Matrix.of_rows((np.rint(array.stored / 16) * 16).astype(np.int8), array.scales)
            array.panels, array.sums = coarse.panels, coarse.sums
    assert agreement(quantized, shakespeare, ids).perplexity / got.perplexity_float32 - 1 > 0.02


def test_what_4_bits_cost(shakespeare):
    ids = Tokenizer.from_pretrained(SHAKESPEARE).encode(HELDOUT.read_text(encoding="utf-8"))[:6000]
    quantized = GPT2.from_pretrained(SHAKESPEARE, ops="jit", quantize="int4")
    got = agreement(quantized, shakespeare, ids)
    assert abs(got.perplexity / got.perplexity_float32 - 1) < 0.01
    assert got.same_top_token > 0.86
    # The bounds detect one scale for a whole output in place of one for 32 weights.
    for block in quantized.params["h"]:
        for branch in (block["attn"]["c_attn"], block["attn"]["c_proj"], block["mlp"]["c_fc"], block["mlp"]["c_proj"]):
            exact = np.asarray(branch["weight"].T)
            scales = np.abs(exact).max(axis=1, keepdims=True) / 7
            branch["weight"] = np.ascontiguousarray((np.rint(exact / scales) * scales).T)
    coarse = agreement(quantized, shakespeare, ids)
    assert coarse.perplexity / got.perplexity_float32 - 1 > 0.01 and coarse.same_top_token < 0.86
