"""The inner loop of a product of some rows with a panel of weights, whose sums stay in the processor's registers."""

from minigpt.ops.jit import amx
from minigpt.ops.jit.compile import ANY_ORDER, inlined
from minigpt.ops.jit.registers import BYTE_PRODUCT, load, prefetch, repeat, store
from minigpt.ops.packed import PANEL

HAS_AMX = BYTE_PRODUCT.name == "amx-int8"
HAS_WIDE_REGISTERS = HAS_AMX or BYTE_PRODUCT.name == "avx512vnni"  # 32 of 64 bytes; others have 16 or 32 of at most 32
TILE = 4 if HAS_WIDE_REGISTERS else 2  # rows
CACHE_LINE = 64  # bytes
LARGE_TILE = amx.ROWS if HAS_AMX else TILE  # rows, for products of many
# Of many rows, a block goes through all panels before the next one does. AMX multiplies as fast as the cache delivers a
# panel, so it uses each for more rows; with 64, the outputs stay in the cache.
ROW_BLOCK = 256 if HAS_AMX else 64
AHEAD = 2048  # bytes of a panel between what is multiplied and what memory begins to deliver
MAX_FINE_ROWS = 8  # rows of x that are never rounded: memory sets the pace of so few, and exactness costs nothing


@inlined(ANY_ORDER)
def fetch(panel, i, size):
    """Have memory deliver `size` bytes from panel[i + AHEAD] on; after the end of a panel, those of the next one.

    A processor fetches by itself what a loop reads in order. The order in a panel is not plain enough for all of them:
    an AMD Zen 3 took up to three times as long for a row without this.
    """
    for line in range(0, size, CACHE_LINE):
        prefetch(panel, i + AHEAD + line)


def make_multiply_tile(zeros, add_products):
    """Return the inner loop for one kind of number. zeros, add_products: those of registers.py."""
    return (make_wide_tile if HAS_WIDE_REGISTERS else make_narrow_tile)(zeros, add_products)


def make_wide_tile(zeros, add_products):
    @inlined(ANY_ORDER)
    def add_row(totals, x, w):
        """Add the products of a group of one row with that of a panel: 64 outputs in four registers."""
        return (
            add_products(totals[0], x, w[0]),
            add_products(totals[1], x, w[1]),
            add_products(totals[2], x, w[2]),
            add_products(totals[3], x, w[3]),
        )

    @inlined(ANY_ORDER)
    def multiply_tile(x, panel, sums):
        """sums[r, o] = sum_i x[r, i] w[o, i];  x [4, bytes], panel [64 bytes] -> sums [4, 64], 32 bits each.

        Sixteen registers hold the sums until they are complete. Four more hold a group of the panel, which is read once
        and multiplied with all rows; so the processor multiplies nearly all the time.

                          panel:   w[0]   w[1]   w[2]   w[3]
            repeat(x0, i)        a[0]   a[1]   a[2]   a[3]
            repeat(x1, i)        b[0]   b[1]   b[2]   b[3]
            repeat(x2, i)        c[0]   c[1]   c[2]   c[3]
            repeat(x3, i)        d[0]   d[1]   d[2]   d[3]
        """
        nothing = (zeros(), zeros(), zeros(), zeros())
        a, b, c, d = nothing, nothing, nothing, nothing
        x0, x1, x2, x3 = x[0], x[1], x[2], x[3]
        for i in range(0, x.shape[1], 4):
            group = 64 * i
            fetch(panel, group, 4 * PANEL)
            w = load(panel, group), load(panel, group + 64), load(panel, group + 128), load(panel, group + 192)
            a = add_row(a, repeat(x0, i), w)
            b = add_row(b, repeat(x1, i), w)
            c = add_row(c, repeat(x2, i), w)
            d = add_row(d, repeat(x3, i), w)
        for j in range(4):
            store(sums[0], 16 * j, a[j])
            store(sums[1], 16 * j, b[j])
            store(sums[2], 16 * j, c[j])
            store(sums[3], 16 * j, d[j])

    return multiply_tile


def make_narrow_tile(zeros, add_products):
    @inlined(ANY_ORDER)
    def multiply_tile(x, panel, sums):
        """The same for two rows, x [2, bytes] -> sums [2, 64], a half of the panel at a time: a quarter of the sums."""
        x0, x1 = x[0], x[1]
        for half in range(2):
            a0, a1, b0, b1 = zeros(), zeros(), zeros(), zeros()
            for i in range(0, x.shape[1], 4):
                group = 64 * i + 128 * half
                if half == 0:
                    fetch(panel, group, 4 * PANEL)
                w0, w1 = load(panel, group), load(panel, group + 64)
                once, again = repeat(x0, i), repeat(x1, i)
                a0, a1 = add_products(a0, once, w0), add_products(a1, once, w1)
                b0, b1 = add_products(b0, again, w0), add_products(b1, again, w1)
            store(sums[0], 32 * half, a0)
            store(sums[0], 32 * half + 16, a1)
            store(sums[1], 32 * half, b0)
            store(sums[1], 32 * half + 16, b1)

    return multiply_tile


def make_multiply_large_tile(zeros, add_products, add_amx_products):
    """Return the inner loop for LARGE_TILE rows. add_amx_products: that of amx.py."""
    return make_large_tile(add_amx_products) if HAS_AMX else make_multiply_tile(zeros, add_products)


def make_large_tile(add_products):
    shapes = amx.TILE_SHAPES

    @inlined(ANY_ORDER)
    def multiply_tile(x, panel, sums):
        """The same for 16 rows, x [16, bytes], the bytes a multiple of 64 -> sums [16, 64]."""
        amx.begin(shapes)
        amx.clear_sums()
        for i in range(0, x.shape[1], 64):
            add_products(x, i, panel, 64 * i)
        amx.store_sums(sums)
        amx.end()

    return multiply_tile
