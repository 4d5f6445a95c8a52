"""Intel's AMX: registers of 16 rows of 64 bytes, called tiles, and an instruction that multiplies two of them.

One instruction multiplies 16 rows of x with 16 outputs of a panel, 64 bytes of each: as much as 64 instructions of
AVX-512. A processor has eight tiles. Four hold the sums of 16 rows with the 64 outputs of a panel:

                     panel, 16 groups:   outputs 0 to 15   16 to 31   32 to 47   48 to 63
    x, 16 rows of 64 bytes:                   tile 0        tile 1     tile 2     tile 3

    begin(TILE_SHAPES)                      before the first of these instructions in a thread
    clear_sums()                            tiles 0 to 3 = 0
    add_byte_products(x, i, panel, j)       tiles 0 to 3 += x[:, i : i + 64] times the 16 groups from panel[j] on;
                                            x unsigned bytes, panel signed ones
    add_bfloat16_products(x, i, panel, j)   the same for pairs of bytes that are bfloat16; denormal ones count as 0
    store_sums(sums)                        sums [16, 64] = tiles 0 to 3
    end()                                   after the last one: the system need not save the tiles any more
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from minigpt.ops.jit.dot_products import call

ROWS = 16
X, WEIGHTS = 4, 5  # the numbers of the tiles that hold a part of x and of the panel, two more follow


def _tile_shapes():
    """Return what begin loads: every tile has 16 rows of 64 bytes (Intel's manual, instruction LDTILECFG)."""
    shapes = np.zeros(64, np.uint8)
    shapes[0] = 1  # the only kind of tiles that there is
    shapes[16:32].view(np.uint16)[:] = 64  # bytes in a row
    shapes[48:56] = ROWS
    return shapes


TILE_SHAPES = _tile_shapes()

INT8, INT64, VOID = ir.IntType(8), ir.IntType(64), ir.VoidType()


def _tile_number(n):
    return ir.Constant(INT8, n)


def _instructions(n_arguments, build):
    """Return the intrinsic of some instructions with this number of arguments: arrays and places in them."""

    def generate(context, builder, signature, arguments):
        arrays = [
            context.make_array(kind)(context, builder, value) if isinstance(kind, types.Array) else value
            for kind, value in zip(signature.args, arguments, strict=True)
        ]
        build(builder, *arrays)
        return context.get_dummy_value()

    if n_arguments == 0:
        return intrinsic(lambda typing_context: (types.void(), generate))
    if n_arguments == 1:
        return intrinsic(lambda typing_context, a: (types.void(a), generate))
    return intrinsic(lambda typing_context, a, i, b, j: (types.void(a, types.intp, b, types.intp), generate))


def _address(builder, array, *place):
    return builder.bitcast(builder.gep(array.data, place), INT8.as_pointer())


def _begin(builder, shapes):
    call(builder, "llvm.x86.ldtilecfg", VOID, _address(builder, shapes, INT64(0)))


def _end(builder):
    call(builder, "llvm.x86.tilerelease", VOID)


def _clear_sums(builder):
    for part in range(4):
        call(builder, "llvm.x86.tilezero", VOID, _tile_number(part))


def _add_products(name):
    def build(builder, x, i, panel, j):
        stride = builder.extract_value(x.strides, 0)
        call(builder, "llvm.x86.tileloadd64", VOID, _tile_number(X), _address(builder, x, i), stride)
        for part in range(4):
            address = _address(builder, panel, builder.add(j, INT64(64 * part)))
            weights = WEIGHTS + part % 3
            call(builder, "llvm.x86.tileloadd64", VOID, _tile_number(weights), address, INT64(256))
            call(builder, name, VOID, _tile_number(part), _tile_number(X), _tile_number(weights))

    return build


def _store_sums(builder, sums):
    for part in range(4):
        address = _address(builder, sums, INT64(16 * part))
        call(builder, "llvm.x86.tilestored64", VOID, _tile_number(part), address, INT64(256))


begin = _instructions(1, _begin)
end = _instructions(0, _end)
clear_sums = _instructions(0, _clear_sums)
add_byte_products = _instructions(4, _add_products("llvm.x86.tdpbusd"))
add_bfloat16_products = _instructions(4, _add_products("llvm.x86.tdpbf16ps"))
store_sums = _instructions(1, _store_sums)
