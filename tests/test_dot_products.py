"""The dot products of bytes that processors have, against integers of NumPy, and those of others, as machine code."""

from functools import cache

import llvmlite.binding as llvm
import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llvmlite import ir

from minigpt.ops.jit import amx, dot_products
from minigpt.ops.jit.dot_products import DOT_PRODUCTS, has
from minigpt.ops.jit.registers import (
    HAS_BFLOAT16_PRODUCTS,
    INTEGERS,
    add_bfloat16_products,
    float_zeros,
    high_nibbles,
    instruction,
    load,
    low_nibbles,
    store,
)
from minigpt.ops.jit.tile import make_large_tile
from minigpt.ops.packed import BFloat16Matrix, Int8Matrix


def runs_here(name):
    # AVX-512 has the instruction of AVX-VNNI, too.
    return name in dot_products.available() or (name == "avxvnni" and has("avx512vnni") and has("avx512vl"))


def compiled(name):
    add_products = instruction(INTEGERS, DOT_PRODUCTS[name].build, INTEGERS, INTEGERS, INTEGERS)

    @numba.njit
    def add(total, x, w, result):
        store(result, 0, add_products(load(total, 0), load(x, 0), load(w, 0)))

    return add


FUNCTIONS = {name: compiled(name) for name in DOT_PRODUCTS if runs_here(name)}


@pytest.mark.parametrize("name", FUNCTIONS)
@given(data=st.data())
def test_four_products_of_bytes_and_their_sum(name, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    end = 2 ** DOT_PRODUCTS[name].bits
    x = rng.choice([0, 1, end - 1], 64) if data.draw(st.booleans()) else rng.integers(0, end, 64)
    w = rng.choice([-127, 127, 0], 64) if data.draw(st.booleans()) else rng.integers(-127, 128, 64)
    total = rng.integers(-(2**30), 2**30, 16)
    result = np.empty(16, np.int32)
    FUNCTIONS[name](total.astype(np.int32), x.astype(np.uint8), w.astype(np.int8), result)
    assert np.array_equal(result, total + (x * w).reshape(16, 4).sum(axis=1))
    nibbles, w = rng.integers(0, 16, 64), rng.choice([-128, 127, 0], 64)  # as for weights in 4 bits
    FUNCTIONS[name](total.astype(np.int32), nibbles.astype(np.uint8), w.astype(np.int8), result)
    assert np.array_equal(result, total + (nibbles * w).reshape(16, 4).sum(axis=1))


def test_halves_of_bytes():
    @numba.njit
    def split(w, result):
        low, high = low_nibbles(load(w, 0)), high_nibbles(load(w, 0))
        store(result[0], 0, low)
        store(result[1], 0, high)

    w, result = np.random.default_rng(0).integers(0, 256, 64).astype(np.uint8), np.empty((2, 16), np.int32)
    split(w, result)
    low, high = result
    assert np.array_equal(low.view(np.uint8), w % 16) and np.array_equal(high.view(np.uint8), w // 16)


@pytest.mark.skipif(not HAS_BFLOAT16_PRODUCTS, reason="this processor has no products of bfloat16")
@given(seed=st.integers(0, 2**32))
def test_two_products_of_bfloat16_and_their_sum(seed):
    @numba.njit
    def add(x, w, result):
        store(result, 0, add_bfloat16_products(float_zeros(), load(x, 0), load(w, 0)))

    x, w = (BFloat16Matrix.pack(m.astype(np.float32)) for m in np.random.default_rng(seed).standard_normal((2, 1, 32)))
    result = np.empty(16, np.float32)
    add(*(m.stored.view(np.uint8)[0] for m in (x, w)), result)
    exact = (np.asarray(x, float) * np.asarray(w, float)).reshape(16, 2).sum(axis=1)
    assert np.abs(result - exact).max() <= 1e-6 * np.abs(exact).max()


def test_the_environment_chooses(monkeypatch):
    monkeypatch.delenv("MINIGPT_DOT_PRODUCT", raising=False)
    assert dot_products.choose().name == dot_products.available()[0]
    monkeypatch.setenv("MINIGPT_DOT_PRODUCT", "generic")
    assert dot_products.choose().name == "generic"
    monkeypatch.setenv("MINIGPT_DOT_PRODUCT", "sdot")
    with pytest.raises(ValueError, match="MINIGPT_DOT_PRODUCT must be one of .*generic on this processor, not 'sdot'"):
        dot_products.choose()


@pytest.mark.skipif("amx-int8" not in dot_products.available(), reason="this processor has no AMX")
@given(seed=st.integers(0, 2**32), n_tiles=st.integers(1, 3))
def test_large_tiles(seed, n_tiles):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 256, (16, 64 * n_tiles), np.uint8)
    w = Int8Matrix.of_rows(rng.integers(-127, 128, (64, 64 * n_tiles), np.int8), np.ones(64, np.float32))
    sums = np.empty((16, 64), np.int32)
    multiply_large_tile(amx.add_byte_products)(x, w.panels.array.ravel(), sums)
    assert np.array_equal(sums, x.astype(int) @ w.stored.T.astype(int))

    x, w = (BFloat16Matrix.pack(rng.standard_normal((n, 32 * n_tiles), np.float32)) for n in (16, 64))
    sums = np.empty((16, 64), np.float32)
    multiply_large_tile(amx.add_bfloat16_products)(x.stored.view(np.uint8), w.panels.array.view(np.uint8).ravel(), sums)
    exact = np.asarray(x, float) @ np.asarray(w, float).T
    assert np.abs(sums - exact).max() <= 1e-6 * np.abs(exact).max()


@cache
def multiply_large_tile(add_products):
    return make_large_tile(add_products)


def test_without_permission_amx_is_not_used(monkeypatch):
    monkeypatch.delenv("MINIGPT_DOT_PRODUCT", raising=False)
    monkeypatch.setattr(dot_products, "has", lambda name: name in ("amx-int8", "avx512vnni"))
    monkeypatch.setattr(dot_products, "amx_is_allowed", lambda: True)
    assert dot_products.choose().name == "amx-int8"
    assert dot_products.follows_from_the_processor()
    monkeypatch.setattr(dot_products, "amx_is_allowed", lambda: False)
    assert dot_products.choose().name == "avx512vnni"
    assert not dot_products.follows_from_the_processor()  # kernels on disk may use AMX


TARGETS = {
    "dotprod": ("aarch64-unknown-linux-gnu", "sdot", 4),
    "generic": ("x86_64-unknown-linux-gnu", "pmaddwd", 8),
    "avx512vnni": ("x86_64-unknown-linux-gnu", "vpdpbusd", 1),
    "avxvnni": ("x86_64-unknown-linux-gnu", "vpdpbusd", 2),
    "avx2": ("x86_64-unknown-linux-gnu", "vpmaddubsw", 2),
}


@pytest.mark.parametrize("name", TARGETS)
def test_the_machine_code(name):
    triple, instruction, times = TARGETS[name]
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    module, vector = ir.Module(), ir.VectorType(ir.IntType(32), 16)
    pointers = [vector.as_pointer()] * 3
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), pointers), "add")
    builder = ir.IRBuilder(function.append_basic_block())
    builder.store(DOT_PRODUCTS[name].build(builder, *map(builder.load, function.args)), function.args[0])
    builder.ret_void()
    features = "+sse4.1" if name == "generic" else f"+{name}"
    machine = llvm.Target.from_triple(triple).create_target_machine(features=features, opt=3)
    assembly = machine.emit_assembly(llvm.parse_assembly(str(module)))
    assert instruction in assembly
    assert times is None or assembly.count(instruction) == times
