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
from minigpt.ops.packed import UNPACKED_BLOCK_SIZE, BFloat16Matrix, Int8Matrix, PackedMatrix
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


def test_int8_refuses_weights_that_are_not_finite():
    with pytest.raises(ValueError, match="weights that are not finite cannot be quantized"):
        Int8Matrix.pack(np.array([[1.0, np.nan]], np.float32))


def test_a_packed_matrix_is_like_an_array():
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((UNPACKED_BLOCK_SIZE // 512 + 3, 512)).astype(np.float32)  # more than one block
    for packed in (Int8Matrix.pack(matrix), BFloat16Matrix.pack(matrix)):
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
@pytest.mark.parametrize("options", [{"quantize": "int8"}, {"dtype": "bfloat16"}])
def test_a_packed_model_computes_with_its_packed_weights(folder, ops, options):
    model = GPT2.from_pretrained(folder, ops=ops, **options)
    packed = {name for name, array in flatten(model.params).items() if isinstance(array, PackedMatrix)}
    matrices = {name for name, shape in CONFIG.shapes().items() if len(shape) == 2}
    assert packed == matrices - {"wpe.weight"}
    dense = GPT2.from_pretrained(folder, ops="plain")
    for name, array in flatten(model.params).items():
        *path, last = name.split(".")
        node = dense.params
        for part in path:
            node = node[int(part) if part.isdigit() else part]
        assert 0 <= np.abs(np.asarray(array) - node[last]).max() < 0.01 * np.abs(node[last]).max()
        node[last] = np.ascontiguousarray(array)
    ids = random_ids(model, (2, 9))
    tolerance = 1e-3 if "quantize" in options and ops == "jit" else 1e-5
    for inputs in (ids, ids[:1, :3]):  # by BLAS, then by the kernels for a few rows
        logits = dense(inputs)
        assert np.abs(model(inputs) - logits).max() <= tolerance * np.abs(logits).max()
    assert model.generate(ids, max_new_tokens=4, num_beams=2).shape == (2, 13)


@pytest.mark.parametrize("options", [{"quantize": "int8"}, {"dtype": "bfloat16"}])
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
    wte, packed_wte = dense.params["wte"]["weight"], np.asarray(packed.params["wte"]["weight"])
    assert wte.dtype == np.float64 and np.abs(wte - packed_wte).max() <= 1e-7 * np.abs(wte).max()
    size = [
        sum(path.stat().st_size for path in (tmp_path / name).glob("*.safetensors")) for name in ("packed", "float32")
    ]
    assert size[0] < 0.75 * size[1]


def test_transformers_reads_our_bfloat16_and_refuses_our_int8(folder, tmp_path):
    model = GPT2.from_pretrained(folder, dtype="bfloat16")
    model.save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    assert stored["transformer.h.0.mlp.c_fc.weight"].dtype == torch.bfloat16
    ids = random_ids(model, (1, 7))
    twin = GPT2LMHeadModel.from_pretrained(tmp_path, dtype=torch.float32).eval()
    with torch.no_grad():
        theirs = twin(torch.from_numpy(ids)).logits.numpy()
    assert np.abs(model(ids) - theirs).max() <= 1e-5 * np.abs(theirs).max()

    GPT2.from_pretrained(folder, quantize="int8").save_pretrained(tmp_path)
    assert not (tmp_path / "model.safetensors").exists()  # saving removes the bfloat16 file of before
    with pytest.raises(OSError, match="no file named model.safetensors"):
        GPT2LMHeadModel.from_pretrained(tmp_path)
    model.save_pretrained(tmp_path)
    assert not (tmp_path / "model.int8.safetensors").exists()


def test_integers_without_their_scale(folder, tmp_path):
    from safetensors.torch import save_file

    GPT2.from_pretrained(folder, quantize="int8").save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.int8.safetensors")
    for wrong in (None, torch.ones(7, 1)):
        name = "transformer.h.1.mlp.c_fc.weight_scale"
        tensors.pop(name, None)
        save_file(tensors | ({} if wrong is None else {name: wrong}), tmp_path / "model.int8.safetensors")
        with pytest.raises(
            CheckpointError, match="'h.1.mlp.c_fc.weight' has 8-bit integers, but no h.1.mlp.c_fc.weight_scale"
        ):
            GPT2.from_pretrained(tmp_path)


def test_quantizing_damaged_weights_names_the_folder(tmp_path):
    model = lively_model(CONFIG, 1, "float32")
    model.params["h"][0]["mlp"]["c_fc"]["weight"][0, 0] = np.inf
    model.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=f"{tmp_path}: weights that are not finite"):
        GPT2.from_pretrained(tmp_path, quantize="int8")


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
    with pytest.raises(ValueError, match="activations must be None, bfloat16 or int8, not 'int4'"):
        GPT2.from_pretrained(folder, activations="int4")


def test_choosing_two_ways_to_keep_weights(folder):
    with pytest.raises(ValueError, match="choose int8 or float64"):
        GPT2.from_pretrained(folder, quantize="int8", dtype="float64")
    with pytest.raises(ValueError, match="quantize must be None or int8, not 'int4'"):
        GPT2.from_pretrained(folder, quantize="int4")
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
