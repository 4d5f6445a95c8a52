"""The compiled operations against the formulas: drawn shapes, layouts and values; threads, forks, and no cache on disk."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from reference import configs, lively_model, random_ids

from minigpt import GPT2, GPT2Config, KVCache, Tokenizer, ops
from minigpt.ops import jit, plain, threads
from minigpt.ops.packed import BFloat16Matrix, Int8Matrix
from minigpt.params import flatten, zeros_like
from minigpt.training import IGNORED, backward, loss_and_grads, optimizer
from minigpt.training import jit as training

LAYOUTS = ("as it is", "strided", "backwards", "read-only", "unaligned", "fortran")


def laid_out(x, layout):
    """The same numbers, lying otherwise in memory."""
    if layout == "strided":
        wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
        wide[..., ::2] = x
        return wide[..., ::2]
    if layout == "backwards":
        return np.ascontiguousarray(x[::-1])[::-1]
    if layout == "unaligned":
        shifted = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
        shifted[...] = x
        return shifted
    x = np.asfortranarray(x) if layout == "fortran" else x.copy()
    x.flags.writeable = layout != "read-only"
    return x


def draw_array(data, shape, kind="normal"):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    x = rng.standard_normal(shape).astype(np.float32)
    if kind == "huge":
        x *= np.float32(1e15)
    elif kind == "denormal":
        x *= np.float32(1e-39)
    elif kind in ("inf", "NaN") and x.size:
        x.flat[data.draw(st.integers(0, x.size - 1))] = np.inf if kind == "inf" else np.nan
    return laid_out(x, data.draw(st.sampled_from(LAYOUTS)))


kinds = st.sampled_from(("normal", "huge", "denormal", "inf", "NaN"))


def assert_same(ours, theirs, scale):
    """Equal but for the rounding of float32; inf and NaN at the same places. scale: the size of what was added up."""
    assert ours.dtype == theirs.dtype == np.float32 and ours.shape == theirs.shape
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    with np.errstate(invalid="ignore", over="ignore"):
        near = np.abs(ours.astype(float) - theirs) <= 4e-6 * np.asarray(scale, float) + 1e-37
    assert (same | near).all()


def quiet(function, *arguments):
    with np.errstate(all="ignore"):
        return function(*arguments)


@given(data=st.data(), kind=kinds, activation=st.sampled_from(("gelu_new", "gelu", "relu")))
def test_activations(data, kind, activation):
    x = draw_array(data, data.draw(st.sampled_from([(1,), (3, 5), (2, 3, 17), (1, 1000), (0, 4)])), kind)
    assert_same(getattr(jit, activation)(x), quiet(getattr(plain, activation), x), np.abs(x))


def test_activations_over_the_whole_range_and_shared_out():
    x = np.linspace(-100, 100, jit.SMALL + 3, dtype=np.float32).reshape(-1, 1)
    for name in ("gelu_new", "gelu"):
        assert_same(getattr(jit, name)(x), getattr(plain, name)(x), np.abs(x) * 0.2)
    assert np.abs(jit.gelu_new(x) - plain.gelu(x)).max() > 1e-4  # the two are told apart


def test_exp():
    x = np.linspace(-87, 0, 100_001, dtype=np.float32)
    got = jit.softmax(np.stack([x, np.zeros_like(x)], axis=-1))
    exact = np.exp(x.astype(float)) / (1 + np.exp(x.astype(float)))
    assert (np.abs(got[:, 0] - exact) <= 3e-7 * exact).all()


@given(data=st.data(), kind=kinds)
def test_softmax(data, kind):
    x = draw_array(data, data.draw(st.sampled_from([(1,), (4, 7), (2, 3, 33), (1, 1000)])), kind)
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    assert_same(jit.softmax(x, axis), quiet(plain.softmax, x, axis), 1)


@given(data=st.data(), kind=kinds, eps=st.sampled_from([1e-5, 0.1]))
def test_layer_norm(data, kind, eps):
    D = data.draw(st.sampled_from([1, 2, 7, 64, 768]))
    x = draw_array(data, (data.draw(st.sampled_from([1, 3, 400])), D), kind)
    weight, bias = draw_array(data, D), draw_array(data, D)
    scale = np.abs(weight) * np.sqrt(D) + np.abs(bias)
    assert_same(jit.layer_norm(x, weight, bias, eps), quiet(plain.layer_norm, x, weight, bias, eps), scale)


SIZES = st.sampled_from([1, 2, 3, 16, 33, 130])


WIDER_TOO = st.sampled_from([1, 2, 3, 16, 33, 130, jit.WIDE, jit.WIDE + 5])


@given(data=st.data(), kind=kinds, rows=st.integers(0, 10), n_in=WIDER_TOO, n_out=SIZES, bias=st.booleans())
def test_linear(data, kind, rows, n_in, n_out, bias):
    x, weight = draw_array(data, (rows, n_in), kind), draw_array(data, (n_in, n_out))
    b = draw_array(data, n_out) if bias else None
    with np.errstate(all="ignore"):
        scale = np.abs(x).astype(float) @ np.abs(weight) + 10
    theirs = quiet(plain.linear, x, weight, b)
    if kind in ("inf", "NaN"):  # BLAS itself may make NaN of inf, and inf of NaN, by the order of its sums
        assert np.array_equal(np.isfinite(jit.linear(x, weight, b)), np.isfinite(theirs))
    else:
        assert_same(jit.linear(x, weight, b), theirs, scale)


@given(
    data=st.data(), rows=st.integers(1, 10), n_in=SIZES, n_out=SIZES, form=st.sampled_from([BFloat16Matrix, Int8Matrix])
)
def test_linear_with_packed_weights(data, rows, n_in, n_out, form):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    matrix = rng.standard_normal((n_out, n_in)).astype(np.float32)
    weight, bias = form.pack(matrix).T, rng.standard_normal(n_out).astype(np.float32)
    x = draw_array(data, (rows, n_in))
    dense = np.asarray(weight)
    assert dense.shape == weight.shape == (n_in, n_out) and dense.dtype == np.float32
    assert_same(x @ weight, x @ dense, np.abs(x) @ np.abs(dense))
    scale = np.abs(x) @ np.abs(dense) + np.abs(bias)
    if form is Int8Matrix:  # x is rounded to integers of at most 16 bits; each is off by half a step at most
        limit = min(32767, (2**31 - 1) // weight.largest_sum)
        half_step = np.abs(x).max(axis=1, keepdims=True) / limit / 2
        error = np.abs(jit.linear(x, weight, bias) - (x.astype(float) @ dense + bias))
        assert (error <= half_step * np.abs(dense).sum(axis=0) * 1.001 + 4e-6 * scale).all()
    else:
        assert_same(jit.linear(x, weight, bias), plain.linear(x, dense, bias), scale)


@pytest.mark.parametrize("kind", ["inf", "NaN", "denormal"])
def test_linear_in_8_bits_of_what_has_no_scale(kind):
    x = np.ones((2, 8), np.float32)
    x[0, 3] = {"inf": np.inf, "NaN": np.nan, "denormal": 1e-40}[kind]
    x[1] = x[0] if kind != "denormal" else 1e-40
    weight = Int8Matrix.pack(np.random.default_rng(0).standard_normal((5, 8)).astype(np.float32)).T
    assert_same(jit.linear(x, weight), quiet(plain.linear, x, weight), np.abs(x).max())


def test_sums_in_8_bits_never_overflow():
    n_in = 2**17  # 127 * 32767 * 2^17 is far beyond 32 bits
    weight = Int8Matrix.pack(np.ones((3, n_in), np.float32)).T
    assert jit.linear(np.ones((1, n_in), np.float32), weight)[0].tolist() == pytest.approx([n_in] * 3, rel=1e-2)


@given(data=st.data(), kind=kinds, B=st.integers(1, 3), H=st.integers(1, 3), T=st.sampled_from([1, 2, 5, 130, 300]))
def test_attention(data, kind, B, H, T):
    K = data.draw(st.sampled_from([1, 8, 64]))
    S = T + data.draw(st.sampled_from([0, 0, 1, 7]))
    q, k, v = (draw_array(data, (B, H, n, K), kind) for n in (T, S, S))
    padding = data.draw(st.none() | st.lists(st.integers(0, S - 1), min_size=B, max_size=B).map(np.array))
    if kind in ("inf", "NaN", "huge"):
        k = np.ones_like(k)  # q k^T in plain would otherwise be inf - inf by the order of its sums
    theirs = quiet(plain.attention, q, k, v, None, padding)
    ours = jit.attention(q, k, v, None, padding)
    if kind in ("inf", "NaN", "huge"):
        return assert_finite_where_finite(ours, theirs, padding, q, v)
    # A score is rounded by some 1e-7 of the sum of its terms, and its weight by as much.
    sharpness = 1 + np.abs(q).max() * np.abs(k).max() * K**0.5
    assert_same(ours, theirs, np.abs(v).max() * sharpness)


def assert_finite_where_finite(ours, theirs, padding, q, v):
    # plain multiplies values that nobody sees with weights of 0, which makes NaN of inf; the kernels never look at them.
    assert ours.shape == theirs.shape
    assert np.isfinite(ours)[np.isfinite(theirs)].all()
    if np.isfinite(v).all():
        assert np.array_equal(np.isfinite(ours), np.isfinite(theirs))


@given(config=configs(), seed=st.integers(0, 99), form=st.sampled_from(["float32", "bfloat16"]))
def test_models(config, seed, form):
    model = lively_model(config, seed=seed, dtype=form)
    fast, slow = (GPT2(model.config, model.params, ops) for ops in (jit, plain))
    ids = random_ids(model, (2, 9))
    mask = np.arange(9) >= np.array([[0], [3]])
    logits = slow(ids, attention_mask=mask)
    assert np.abs(fast(ids, attention_mask=mask) - logits)[mask].max() <= 1e-4 * np.abs(logits).max()
    cache = KVCache(config, 2)
    fast(ids[:, :5], attention_mask=mask[:, :5], cache=cache)
    for t in range(5, 9):
        step = fast(ids[:, t : t + 1], cache=cache)
    assert np.abs(step[:, 0] - logits[:, -1]).max() <= 1e-4 * np.abs(logits).max()


# ---------------------------------------------------------------- threads and processes


def test_threads():
    usable = threads._usable_cpus()
    before = threads.get_threads()
    try:
        for n in (1, usable):
            threads.set_threads(n)
            assert threads.get_threads() == n
            model = GPT2.random(GPT2Config(n_layer=2, n_head=2, n_embd=64), ops="jit")
            assert np.isfinite(model(np.arange(20))).all()
        for bad in (0, usable + 1, 1.5, True, "2"):
            with pytest.raises(ValueError, match=f"threads must be an integer from 1 to {usable}"):
                GPT2.from_pretrained("stories", threads=bad)
    finally:
        threads.set_threads(before)


def test_one_setting_governs_numba_and_blas():
    blas = threads._blas_function()
    if blas is None:
        pytest.skip("NumPy's BLAS is not OpenBLAS here")
    script = f"""
import ctypes, numba, numpy as np, threading
from minigpt.ops import jit
from minigpt.ops.threads import set_threads, blas_on_one_thread
in_blas = ctypes.CDLL({threads._blas_library()!r}).{blas.__name__.replace("set_", "get_")}
x, w = np.ones((64, 256), np.float32), np.ones((256, 256), np.float32).T
def here():
    jit.linear(x[:1], w)  # by a kernel
    print(numba.get_num_threads(), in_blas())
for n in {list(range(1, threads._usable_cpus() + 1))}:
    set_threads(n)
    here()
    other = threading.Thread(target=here)
    other.start(), other.join()
    jit.linear(x, w)  # by BLAS, on our threads, which leaves its own number as it was
    print(n, in_blas())
    with blas_on_one_thread() as shares:
        print(shares, in_blas() * n)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    found = [[int(x) for x in line.split()] for line in result.stdout.splitlines()]
    assert found == [[n, n] for n in range(1, threads._usable_cpus() + 1) for _ in range(4)]


def test_several_threads_generate_at_once():
    model = GPT2.from_pretrained("stories", ops="jit")
    ids = Tokenizer.from_pretrained("stories").encode("Once upon a time")
    expected = model.generate(ids, max_new_tokens=30)
    results = [None] * 6

    def work(i):
        results[i] = model.generate(ids, max_new_tokens=30)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    [w.start() for w in workers]
    [w.join() for w in workers]
    assert all(np.array_equal(result, expected) for result in results)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_after_a_fork():
    script = """
import os
from minigpt import GPT2
model = GPT2.from_pretrained("stories", ops="jit")
parent = model.generate(list(range(20)), max_new_tokens=20).tolist()
pid = os.fork()
if pid == 0:
    os._exit(0 if model.generate(list(range(20)), max_new_tokens=20).tolist() == parent else 1)
assert os.waitpid(pid, 0)[1] == 0
assert model.generate(list(range(20)), max_new_tokens=20).tolist() == parent
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no /proc on this system")
def test_without_a_place_for_the_cache():
    script = """
import minigpt.ops.jit as jit, numpy as np
assert jit.gelu_new(np.ones(3, np.float32)).shape == (3,)
"""
    environment = {**os.environ, "NUMBA_CACHE_DIR": "/proc/no/place"}
    result = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr


def test_auto_never_waits():
    # A child without a cache on disk: the first tokens come from the plain operations, the later ones from the kernels.
    script = """
import os, sys, tempfile, time
os.environ["NUMBA_CACHE_DIR"] = tempfile.mkdtemp()
from minigpt import GPT2, GPT2Config
from minigpt.ops import plain
config = GPT2Config(n_layer=2, n_head=4, n_embd=256)
model = GPT2.random(config)
model.generate([1, 2, 3], max_new_tokens=1)
assert "numba" not in sys.modules, "the first token waited for Numba"
start = time.perf_counter()
model.generate([1, 2, 3], max_new_tokens=4)
assert model.ops.linear is plain.linear, "the next tokens waited for the compiler"
model.ops.wait_until_ready()
assert model.ops.linear.__module__ == "minigpt.ops.jit"
assert GPT2.random(GPT2Config(n_layer=1, n_head=2, n_embd=8)).ops is plain
"""
    environment = {**os.environ, "MINIGPT_OPS": ""}
    result = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr


@given(data=st.data(), B=st.integers(1, 2), T=st.sampled_from([1, 128, 129, 300]), past=st.sampled_from([0, 5]))
def test_attention_before_the_kernels_are_ready(data, B, T, past):
    waiting = ops._WhenReady(GPT2Config())
    waiting._thread = threading.current_thread()  # as if they were being imported
    q, k, v = (draw_array(data, (B, 2, n, 4)) for n in (T, T + past, T + past))
    padding = data.draw(st.none() | st.lists(st.integers(0, T + past - 1), min_size=B, max_size=B).map(np.array))
    theirs = plain.attention(q, k, v, 0.3, padding)
    assert_same(waiting.attention(q, k, v, 0.3, padding), theirs, np.abs(v).max() * 20)


def test_a_program_that_ends_does_not_wait_for_the_compiler():
    script = """
import os, tempfile, time
os.environ["NUMBA_CACHE_DIR"] = tempfile.mkdtemp()
from minigpt import GPT2, GPT2Config
GPT2.random(GPT2Config(n_layer=1, n_head=4, n_embd=256)).generate([1], max_new_tokens=3)
"""
    environment = {**os.environ, "MINIGPT_OPS": ""}
    result = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0 and result.stderr == "", result.stderr


def test_unknown_ops():
    for build in (
        lambda: GPT2.random(GPT2Config(n_layer=1), ops="fast"),
        lambda: GPT2.from_pretrained("stories", ops=3),
    ):
        with pytest.raises(ValueError, match='^ops must be "plain", "jit" or "auto"'):
            build()


def test_the_environment_decides_what_auto_is(monkeypatch):
    tiny = GPT2Config(n_layer=1, n_head=2, n_embd=8)
    for value, expected in (("", plain), ("auto", plain), ("plain", plain), ("jit", jit)):
        monkeypatch.setenv("MINIGPT_OPS", value)
        assert GPT2.random(tiny).ops is expected
        assert GPT2.random(tiny, ops="plain").ops is plain
    monkeypatch.setenv("MINIGPT_OPS", "fast")
    with pytest.raises(ValueError, match="^MINIGPT_OPS must be .* not 'fast'"):
        GPT2.random(tiny)


# ---------------------------------------------------------------- training


def in_float64(*arrays):
    return [array.astype(np.float64) for array in arrays]


def assert_near(ours, exact, tolerance=2e-6):
    """Equal to the same computed in float64 by the formulas, but for float32's rounding of numbers of size 1 and more."""
    assert ours.dtype == np.float32 and exact.dtype == np.float64 and ours.shape == exact.shape
    assert np.abs(ours - exact).max() <= tolerance * max(1, np.abs(exact).max())


@given(data=st.data(), B=st.integers(1, 3), T=st.integers(1, 700), n_in=st.integers(1, 40), n_out=st.integers(1, 1100))
def test_linear_backward(data, B, T, n_in, n_out):
    dy, x = draw_array(data, (B, T, n_out)), draw_array(data, (B, T, n_in))
    weight = draw_array(data, (n_out, n_in)).T
    before = [np.ones((n_out, n_in), np.float32).T, np.ones(n_out, np.float32)]
    dweight, dbias = before[0].copy(order="F"), before[1].copy()
    dx = training.linear_backward(dy, x, weight, dweight, dbias)
    exact = in_float64(*before)
    assert_near(dx, backward.linear_backward(*in_float64(dy, x, weight), *exact))
    assert_near(dweight, exact[0], 1e-5)
    assert_near(dbias, exact[1], 1e-5)


@given(data=st.data(), rows=st.integers(1, 9), D=st.integers(1, 300))
@example(data=None, rows=1100, D=300)  # shared out
def test_layer_norm_backward(data, rows, D):
    def draw(*shape):
        return draw_array(data, shape) if data else np.random.default_rng(D).standard_normal(shape).astype(np.float32)

    dy, x, weight = draw(rows, D), draw(rows, D), draw(D)
    sums, exact = [np.ones(D, np.float32), np.ones(D, np.float32)], [np.ones(D), np.ones(D)]
    dx = training.layer_norm_backward(dy, x, weight, *sums, 1e-3)
    expected = backward.layer_norm_backward(*in_float64(dy, x, weight), *exact, 1e-3)
    # What dn has in common with n and the constant vector goes away: the rounding is that of dn / s.
    size = np.abs(dy * weight).max(axis=-1, keepdims=True) / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-3)
    assert (np.abs(dx - expected) <= 4e-6 * size + 1e-30).all()
    for ours, sum_ in zip(sums, exact, strict=True):
        assert_near(ours, sum_, 1e-5)


@pytest.mark.parametrize("name", ["gelu_new", "gelu", "relu"])
def test_activations_backward(name):
    x = np.concatenate([np.linspace(-12, 12, 400_000), [-1e20, -200, -0.0, 0.0, 200, 1e20, 1e-30]]).astype(np.float32)
    dy = np.linspace(-2, 3, x.size).astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        ours = getattr(training, f"{name}_backward")(dy, x)
        exact = getattr(backward, f"{name}_backward")(*in_float64(dy, x))
    far = np.abs(x) > 1e9  # where the formula itself has inf - inf
    assert_near(ours[~far], exact[~far], 2e-6)


@given(data=st.data(), B=st.integers(1, 5), H=st.integers(1, 3), T=st.integers(1, 300), K=st.integers(1, 9))
def test_attention_backward(data, B, H, T, K):
    dheads, q, k, v = (draw_array(data, (B, T, H, K)).swapaxes(1, 2) for _ in range(4))
    recorded = {}
    heads = training.attention(q, k, v, 0.7, None, recorded.__setitem__)
    assert_near(heads, plain.attention(*in_float64(q, k, v), 0.7))
    assert (T <= training.QUERIES) == bool(recorded)
    expected = backward.attention_backward(*in_float64(dheads, q, k, v), 0.7)
    for weights in (None, recorded.get("weights")):  # computed again, and recorded
        ours = training.attention_backward(dheads, q, k, v, 0.7, weights)
        for gradient, exact in zip(ours, expected, strict=True):
            assert_near(gradient, exact, 2e-5)


@given(data=st.data(), N=st.integers(1, 40), V=st.integers(1, 70))
@example(data=None, N=600, V=500)  # shared out
def test_cross_entropy(data, N, V):
    rng = np.random.default_rng(N * V)
    logits = draw_array(data, (N, V)) if data else rng.standard_normal((N, V)).astype(np.float32)
    logits = logits.copy() * 20
    targets = np.where(rng.random(N) < 0.3, IGNORED, rng.integers(0, V, N))
    exact_loss, exact = backward.cross_entropy(logits.astype(np.float64), targets, 7)
    loss, dlogits = training.cross_entropy(logits, targets, 7)
    assert dlogits is logits
    assert loss == pytest.approx(exact_loss, rel=1e-6, abs=1e-6)
    assert np.abs(dlogits - exact).max() <= 1e-6


@given(data=st.data(), shapes=st.lists(st.sampled_from([(5,), (7, 3), (2**18 + 1,), (2**19,)]), max_size=4))
def test_adamw_update(data, shapes):
    parameters, expected = [], []
    for shape in shapes:
        p, g, m = (draw_array(data, shape) for _ in range(3))
        p, m, v = p.copy(order="K"), m.copy(order="K"), np.square(draw_array(data, shape))  # orders differ: p's counts
        decay = data.draw(st.sampled_from([0, 0.1]))
        parameters.append((p, g, m, v, decay))
        expected.append((*in_float64(p, g, m, v), decay))
    training.adamw_update_all(parameters, 0.1, (0.9, 0.99), 1e-8, 3)
    optimizer.adamw_update_all(expected, 0.1, (0.9, 0.99), 1e-8, 3)
    for ours, exact in zip(parameters, expected, strict=True):
        for array, exact_array in zip(ours[:4], exact[:4], strict=True):
            assert_near(array, exact_array)


@settings(deadline=None)
@given(
    config=configs(min_head_size=8, initializer_range=0.1),
    B=st.integers(1, 5),
    dropout=st.sampled_from([0, 0.2]),
    seed=st.integers(0, 99),
)
def test_loss_and_grads(config, B, dropout, seed):
    """Compiled, in float32, on two threads: those of the formulas in float64."""
    exact = lively_model(config, seed)
    compiled = GPT2(config, lively_model(config, seed, "float32").params, jit)
    ids = random_ids(exact, (2, B, min(9, config.n_positions)), seed)
    if dropout:  # the parts of a batch draw masks of their own: one part
        ids = ids[:, :1]
    rngs = [np.random.default_rng(seed) for _ in range(2)]
    ours = zeros_like(compiled.params)
    loss, same = loss_and_grads(compiled, *ids, grads=ours, dropout=dropout, rng=rngs[0])
    assert same is ours
    expected_loss, expected = loss_and_grads(exact, *ids, dropout=dropout, rng=rngs[1])
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    largest = max(np.abs(gradient).max() for gradient in flatten(expected).values())
    for gradient, other in zip(flatten(ours).values(), flatten(expected).values(), strict=True):
        assert np.abs(gradient - other).max() <= 2e-5 * largest
