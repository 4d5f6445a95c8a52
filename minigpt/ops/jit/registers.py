"""Registers of the processor, and its dot products of short numbers, as functions that kernels can call.

Numba compiles loops over numbers, and LLVM makes vector instructions of them. It does not find the instructions that
multiply numbers of 8 or 16 bits and add them up in one step; so kernels that need them work with whole registers. A
register is a value: 16 integers of 32 bits, or 16 floats. Each function here is one instruction, or the few that stand
for it; x and w are any bytes, of which a register takes 64. Arrays are contiguous; i counts their elements in memory.

    integer_zeros(), float_zeros()      sixteen times 0
    load(w, i)                          the 64 bytes from w[i] on, as integers
    load_floats(array, i)               array[i], ..., array[i + 15]
    load_row(x, s, i)                   x[s, i], ..., x[s, i + 15] of float32, or of float16 in an array of uint16
    repeat(x, i)                        the 4 bytes from x[i] on, sixteen times
    add_byte_products(total, x, w)      total[j] + sum over n < 4 of x[4 j + n] w[4 j + n]: see dot_products.py
    add_bfloat16_products(total, x, w)  total[j] + sum over n < 2 of x[2 j + n] w[2 j + n]: see HAS_BFLOAT16_PRODUCTS
    lower(w), upper(w)                  the first and the second bfloat16 of each pair as a float
    low_nibbles(w), high_nibbles(w)     the lower and the upper 4 bits of each byte, as bytes from 0 to 15
    to_floats(total)                    the same numbers as floats
    multiply(x, w)                      x[j] w[j], floats
    add_products(total, x, w)           total[j] + x[j] w[j], floats
    sum_of(x)                           x[0] + ... + x[15], floats
    add(a, b)                           a[j] + b[j], floats
    store(array, i, register)           array[i], ..., array[i + 15] = register
    prefetch(array, i)                  nothing yet, but memory begins to deliver the bytes around array[i]
"""

import platform

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

from minigpt.ops.jit import dot_products

BYTE_PRODUCT = dot_products.choose()
HAS_BFLOAT16_PRODUCTS = dot_products.has("avx512bf16")
HAS_FLOAT16 = dot_products.has("f16c") or platform.machine() in ("arm64", "aarch64")  # makes floats of float16
INT32, FLOAT = ir.IntType(32), ir.FloatType()
VECTORS = {"integers": ir.VectorType(INT32, 16), "floats": ir.VectorType(FLOAT, 16)}


class Register(types.Type):
    """The type of a register in Numba. content: "integers" or "floats"."""

    def __init__(self, content):
        self.content = content
        super().__init__(f"Register({content})")


@register_model(Register)
class _RegisterModel(models.PrimitiveModel):
    def __init__(self, manager, register):
        super().__init__(manager, register, VECTORS[register.content])


INTEGERS, FLOATS = Register("integers"), Register("floats")


def _address(context, builder, signature, arguments, of):
    """Return the address of element arguments[1] of the array arguments[0], as that of something of this type."""
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    return builder.bitcast(builder.gep(array.data, [arguments[1]]), of.as_pointer())


def instruction(result, build, *registers):
    """Return the intrinsic of an instruction from registers to a register; build(builder, *vectors) -> vector."""

    def generate(context, builder, signature, arguments):
        return build(builder, *arguments)

    # An intrinsic has the parameters of its function, one for each argument.
    if len(registers) == 0:
        return intrinsic(lambda typing_context: (result(), generate))
    if len(registers) == 1:
        return intrinsic(lambda typing_context, a: (result(*registers), generate))
    if len(registers) == 2:
        return intrinsic(lambda typing_context, a, b: (result(*registers), generate))
    return intrinsic(lambda typing_context, a, b, c: (result(*registers), generate))


def _everywhere(number):
    return ir.Constant(VECTORS["integers"], [number] * 16)


def _shifted_left(builder, w):
    return builder.shl(w, _everywhere(16))


def _upper_half(builder, w):
    return builder.and_(w, _everywhere(0xFFFF0000))


def _low_nibbles(builder, w):
    return builder.and_(w, _everywhere(0x0F0F0F0F))


def _high_nibbles(builder, w):
    return _low_nibbles(builder, builder.lshr(w, _everywhere(4)))


def _as_floats(bits):
    return lambda builder, w: builder.bitcast(bits(builder, w), VECTORS["floats"])


def _multiply_add(builder, total, x, w):
    return builder.fadd(total, builder.fmul(x, w, flags=("contract",)), flags=("contract",))


def _multiply_add_pairs(builder, total, x, w):
    """As vdpbf16ps of dot_products.py, by the float32 whose upper halves the bfloat16 are."""
    for bits in (_shifted_left, _upper_half):
        half = _as_floats(bits)
        total = _multiply_add(builder, total, half(builder, x), half(builder, w))
    return total


integer_zeros = instruction(INTEGERS, lambda builder: ir.Constant(VECTORS["integers"], None))
float_zeros = instruction(FLOATS, lambda builder: ir.Constant(VECTORS["floats"], None))
add_byte_products = instruction(INTEGERS, BYTE_PRODUCT.build, INTEGERS, INTEGERS, INTEGERS)
_build_bfloat16_products = dot_products.vdpbf16ps if HAS_BFLOAT16_PRODUCTS else _multiply_add_pairs
add_bfloat16_products = instruction(FLOATS, _build_bfloat16_products, FLOATS, INTEGERS, INTEGERS)
multiply = instruction(FLOATS, lambda builder, x, w: builder.fmul(x, w), FLOATS, FLOATS)
add_products = instruction(FLOATS, _multiply_add, FLOATS, FLOATS, FLOATS)
add = instruction(FLOATS, lambda builder, a, b: builder.fadd(a, b), FLOATS, FLOATS)
lower = instruction(FLOATS, _as_floats(_shifted_left), INTEGERS)
upper = instruction(FLOATS, _as_floats(_upper_half), INTEGERS)
low_nibbles = instruction(INTEGERS, _low_nibbles, INTEGERS)
high_nibbles = instruction(INTEGERS, _high_nibbles, INTEGERS)
to_floats = instruction(FLOATS, lambda builder, total: builder.sitofp(total, VECTORS["floats"]), INTEGERS)


def _load(register):
    def generate(context, builder, signature, arguments):
        return builder.load(_address(context, builder, signature, arguments, VECTORS[register.content]), align=1)

    return intrinsic(lambda typing_context, array, i: (register(array, types.intp), generate))


load, load_floats = _load(INTEGERS), _load(FLOATS)


def _address_in_row(context, builder, signature, arguments, of):
    """Return the address of x[s, i] for arguments x, s, i, as that of something of this type. Rows are contiguous."""
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    stride = builder.extract_value(array.strides, 0)
    row = cgutils.pointer_add(builder, array.data, builder.mul(arguments[1], stride))
    return builder.bitcast(builder.gep(row, [arguments[2]]), of.as_pointer())


@intrinsic
def load_row(typing_context, x, s, i):
    def generate(context, builder, signature, arguments):
        element = FLOAT if signature.args[0].dtype == types.float32 else ir.HalfType()
        address = _address_in_row(context, builder, signature, arguments, ir.VectorType(element, 16))
        numbers = builder.load(address, align=1)
        return numbers if element == FLOAT else builder.fpext(numbers, VECTORS["floats"])

    return FLOATS(x, types.intp, types.intp), generate


@intrinsic
def sum_of(typing_context, x):
    def generate(context, builder, signature, arguments):
        function_type = ir.FunctionType(FLOAT, [FLOAT, VECTORS["floats"]])
        add_up = cgutils.get_or_insert_function(builder.module, function_type, "llvm.vector.reduce.fadd.v16f32")
        return builder.call(add_up, [FLOAT(0), *arguments], fastmath=("reassoc",))

    return types.float32(x), generate


@intrinsic
def prefetch(typing_context, array, i):
    def generate(context, builder, signature, arguments):
        address = _address(context, builder, signature, arguments, ir.IntType(8))
        function_type = ir.FunctionType(ir.VoidType(), [address.type, INT32, INT32, INT32])
        fetch = builder.module.declare_intrinsic("llvm.prefetch", [address.type], function_type)
        builder.call(fetch, [address, INT32(0), INT32(3), INT32(1)])  # to read it, into the nearest cache, as data
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


def _repeat(register, element):
    def generate(context, builder, signature, arguments):
        one = builder.load(_address(context, builder, signature, arguments, element), align=1)
        undefined = ir.Constant(ir.VectorType(element, 16), ir.Undefined)
        first = builder.insert_element(undefined, one, INT32(0))
        return builder.shuffle_vector(first, undefined, ir.Constant(VECTORS["integers"], [0] * 16))

    return intrinsic(lambda typing_context, array, i: (register(array, types.intp), generate))


repeat, repeat_float = _repeat(INTEGERS, INT32), _repeat(FLOATS, FLOAT)


@intrinsic
def store(typing_context, array, i, register):
    def generate(context, builder, signature, arguments):
        address = _address(context, builder, signature, arguments, VECTORS[register.content])
        builder.store(arguments[2], address, align=1)
        return context.get_dummy_value()

    return types.void(array, types.intp, register), generate
