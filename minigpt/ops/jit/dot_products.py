"""How processors multiply bytes: four products and their sum in one place of a register, as LLVM builds them.

    total[j] + sum over n < 4 of x[4 j + n] w[4 j + n],   j < 16;  total int32, x unsigned bytes, w signed bytes

vpdpbusd of AVX-512 does it in one instruction for the whole register; other processors need a few for each half or
quarter of it. x has `bits` bits: where the sum of two products must fit into 16 bits, or x be signed, these are 7.
Intel's AMX multiplies many rows by instructions of its own: see amx.py.
"""

import ctypes
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from llvmlite import ir
from llvmlite.binding import llvm_version_info
from numba.core import cgutils
from numba.core.registry import cpu_target

INT8, INT16, INT32 = ir.IntType(8), ir.IntType(16), ir.IntType(32)
# LLVM takes the bytes of vpdpbusd as bytes since version 22, before as integers of 32 bits.
VNNI_TAKES_BYTES = llvm_version_info[0] >= 22


def call(builder, name, result, *arguments):
    function_type = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), arguments)


def _part(builder, register, first, n):
    """Return n of the 16 integers of a register, from `first` on."""
    places = ir.Constant(ir.VectorType(INT32, n), list(range(first, first + n)))
    return builder.shuffle_vector(register, ir.Constant(register.type, ir.Undefined), places)


def _join(builder, left, right):
    """Return two vectors as one."""
    n = 2 * left.type.count
    return builder.shuffle_vector(left, right, ir.Constant(ir.VectorType(INT32, n), list(range(n))))


def _as_bytes(builder, vector):
    return builder.bitcast(vector, ir.VectorType(INT8, 4 * vector.type.count))


def _in_halves(add_products, smallest):
    """Return add_products for 16 integers, made of those for `smallest`, as many as a register of the processor has."""

    def build(builder, total, x, w):
        n = total.type.count
        if n == smallest:
            return add_products(builder, total, x, w)
        halves = (
            build(builder, *(_part(builder, value, first, n // 2) for value in (total, x, w))) for first in (0, n // 2)
        )
        return _join(builder, *halves)

    return build


def _vpdpbusd(builder, total, x, w):
    """AVX-512 VNNI and AVX-VNNI: one instruction."""
    if VNNI_TAKES_BYTES:
        x, w = _as_bytes(builder, x), _as_bytes(builder, w)
    return call(builder, f"llvm.x86.avx512.vpdpbusd.{32 * total.type.count}", total.type, total, x, w)


def _vpmaddubsw(builder, total, x, w):
    """AVX2: sums of two products in 16 bits, then sums of two of these."""
    pairs = ir.VectorType(INT16, 2 * total.type.count)
    sums = call(builder, "llvm.x86.avx2.pmadd.ub.sw", pairs, _as_bytes(builder, x), _as_bytes(builder, w))
    ones = ir.Constant(pairs, [1] * pairs.count)
    return builder.add(total, call(builder, "llvm.x86.avx2.pmadd.wd", total.type, sums, ones))


def _sdot(builder, total, x, w):
    """ARM: one instruction for signed bytes, which bytes of 7 bits are, too."""
    x, w = _as_bytes(builder, x), _as_bytes(builder, w)
    return call(builder, "llvm.aarch64.neon.sdot.v4i32.v16i8", total.type, total, x, w)


def _any_processor(builder, total, x, w):
    """Sums of two products of integers of 16 bits, an instruction that most have, then sums of two of these."""
    wide = ir.VectorType(INT16, 4 * total.type.count)
    x, w = builder.zext(_as_bytes(builder, x), wide), builder.sext(_as_bytes(builder, w), wide)
    even, odd = (builder.mul(_every_second(builder, x, n), _every_second(builder, w, n)) for n in (0, 1))
    pairs = builder.add(even, odd)
    return builder.add(total, builder.add(_every_second(builder, pairs, 0), _every_second(builder, pairs, 1)))


def _every_second(builder, vector, first):
    """Return every second integer, as 32 bits."""
    places = list(range(first, vector.type.count, 2))
    undefined = ir.Constant(vector.type, ir.Undefined)
    chosen = builder.shuffle_vector(vector, undefined, ir.Constant(ir.VectorType(INT32, len(places)), places))
    wide = ir.VectorType(INT32, len(places))
    return chosen if chosen.type == wide else builder.sext(chosen, wide)


class _BFloat(ir.Type):
    """LLVM's bfloat, which llvmlite lacks."""

    def __str__(self):
        return "bfloat"

    def __eq__(self, other):
        return isinstance(other, _BFloat)

    def __hash__(self):
        return hash("bfloat")


def vdpbf16ps(builder, total, x, w):
    """AVX-512 BF16: total[j] + the sum of two products of bfloat16; denormal numbers count as 0."""
    pairs = ir.VectorType(_BFloat(), 32)
    x, w = builder.bitcast(x, pairs), builder.bitcast(w, pairs)
    return call(builder, "llvm.x86.avx512bf16.dpbf16ps.512", total.type, total, x, w)


@dataclass(frozen=True)
class DotProduct:
    """One way to multiply.

    name: LLVM's name of the feature that the processor must have, or "generic". bits: of x. build: a function as above.
    is_fast: whether it multiplies four times as fast as the processor multiplies float32.
    """

    name: str
    bits: int
    build: Callable
    is_fast: bool


DOT_PRODUCTS = {
    dot_product.name: dot_product
    for dot_product in (
        DotProduct("amx-int8", 8, _vpdpbusd, True),  # of many rows by amx.py, of a few as the next
        DotProduct("avx512vnni", 8, _vpdpbusd, True),
        DotProduct("avxvnni", 8, _in_halves(_vpdpbusd, 8), True),
        DotProduct("avx2", 7, _in_halves(_vpmaddubsw, 8), False),
        DotProduct("dotprod", 7, _in_halves(_sdot, 4), True),
        DotProduct("generic", 8, _any_processor, False),
    )
}


def has(feature):
    """Return whether the processor for which Numba compiles has a feature of this name in LLVM."""
    _, _, features = cpu_target.target_context.codegen().magic_tuple()
    return f"+{feature}" in features.split(",")


@cache
def amx_is_allowed():
    """Ask the system to let this process use AMX, as Linux demands. Return whether it does."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    arch_prctl, request_permission, tile_data = 158, 0x1023, 18
    return ctypes.CDLL(None).syscall(arch_prctl, request_permission, tile_data) == 0


def available():
    """Return the names of the dot products of bytes that the processor has, the fastest first."""
    names = [name for name in DOT_PRODUCTS if name == "generic" or has(name)]
    return [name for name in names if name != "amx-int8" or amx_is_allowed()]


def choose():
    """Return the fastest DotProduct, or that of the environment variable MINIGPT_DOT_PRODUCT. Raises ValueError."""
    names = available()
    name = os.environ.get("MINIGPT_DOT_PRODUCT") or names[0]
    if name not in names:
        raise ValueError(f"MINIGPT_DOT_PRODUCT must be one of {', '.join(names)} on this processor, not {name!r}")
    return DOT_PRODUCTS[name]


def follows_from_the_processor():
    """Return whether the processor alone decides what choose returns: kernels compiled for it can be kept on disk."""
    return "MINIGPT_DOT_PRODUCT" not in os.environ and has("amx-int8") == ("amx-int8" in available())
