"""The exercises from a linear layer to the whole of GPT-2: linear, gelu, layer_norm, mlp, block, gpt2.

For each one: the reference, the inputs that are drawn, the mistakes that people make, and then EXERCISES. Letters for
sizes: B batch, T tokens, D width, H heads, K = D / H the width of a head, F width of the MLP, V vocabulary,
P positions.
"""

import numpy as np
from hypothesis import strategies as st

from minigpt import model
from minigpt.config import GPT2Config
from minigpt.exercises.attention import (
    FEW,
    NEVER,
    PERHAPS,
    SEEDS,
    SIZE,
    SMALL,
    WHOLE,
    halves,
    multi_head_attention,
    multi_head_overflows,
    multi_head_without_mask,
    random_linear,
    shapes,
    texts,
)
from minigpt.exercises.exercise import Exercise, Mistake, Probe, arrays, large_input, numbers, sizes, small_integers
from minigpt.ops import plain
from minigpt.run import Run

ZERO, ONE = st.just(0.0), st.just(1.0)
AXES = st.integers(0, 2)  # before the last one


def where_float32_is_enough(reference, inputs):
    """Inputs for which a solution in single precision is right too.

    A layer norm stretches a nearly constant vector, and with it the error that rounding has left there: up to 300
    times. Such inputs would tell a right solution in float32 from one in float64, and nothing else.
    """

    def is_enough(arguments):
        exact = reference(*arguments)
        return np.allclose(reference(*in_float32(arguments)), exact, rtol=0, atol=2e-6 * max(1, np.abs(exact).max()))

    return inputs.filter(is_enough)


def where_eps_does_not_count(reference, without_eps, inputs):
    """Inputs for which a solution without eps is right too: what goes wrong there is something else."""

    def is_nothing(arguments):
        exact = reference(*arguments)
        with np.errstate(all="ignore"):
            return np.allclose(without_eps(*arguments), exact, rtol=0, atol=1e-5 * np.abs(exact).max())

    return inputs.filter(is_nothing)


def in_float32(arguments):
    """The same arguments with every array of floats in single precision, in dicts and lists too."""
    if isinstance(arguments, dict):
        return {name: in_float32(value) for name, value in arguments.items()}
    if isinstance(arguments, list | tuple):
        return type(arguments)(map(in_float32, arguments))
    if isinstance(arguments, np.ndarray) and arguments.dtype == np.float64:
        return arguments.astype(np.float32)
    return arguments


# ---------------------------------------------------------------- linear


@st.composite
def linear_inputs(draw, axes=AXES, square=False, x=WHOLE, weight=WHOLE, bias=WHOLE):
    """x [.., in] with some axes before the last, weight [in, out], bias [out]."""
    n_in = draw(sizes(2, 4) if square else sizes())
    n_out = n_in if square else draw(sizes())
    before = [draw(sizes(1, 3)) for _ in range(draw(axes))]
    return (
        draw(arrays(*before, n_in, elements=x)),
        draw(arrays(n_in, n_out, elements=weight)),
        draw(arrays(n_out, elements=bias)),
    )


def weight_transposed(x, weight, bias):
    return x @ weight.T + bias


def bias_forgotten(x, weight, bias):
    return x @ weight


def bias_twice(x, weight, bias):
    return x @ weight + 2 * bias


def bias_subtracted(x, weight, bias):
    return x @ weight - bias


def bias_multiplied(x, weight, bias):
    return (x @ weight) * bias


def only_bias(x, weight, bias):
    return np.zeros((*x.shape[:-1], len(bias))) + bias


def bias_once_for_each_input(x, weight, bias):
    return (x[..., None] * weight + bias).sum(axis=-2)


def mean_of_products(x, weight, bias):
    return x @ weight / len(weight) + bias


# ---------------------------------------------------------------- gelu


def any_shape(elements):
    return st.tuples(shapes(1, 3).flatmap(lambda shape: arrays(*shape, elements=elements)))


ROOT = np.sqrt(2 / np.pi)


def half_and_tanh(x, u):
    """The formula with another u inside the tanh."""
    return 0.5 * x * (1 + np.tanh(u))


def square_in_place_of_cube(x):
    return half_and_tanh(x, ROOT * (x + 0.044715 * x**2))


def cube_forgotten(x):
    return half_and_tanh(x, ROOT * x)


def root_of_2_by_pi_forgotten(x):
    return half_and_tanh(x, x + 0.044715 * x**3)


def fraction_without_root(x):
    return half_and_tanh(x, 2 / np.pi * (x + 0.044715 * x**3))


def root_of_2_alone(x):
    return half_and_tanh(x, np.sqrt(2) / np.pi * (x + 0.044715 * x**3))


def root_for_x_alone(x):
    return half_and_tanh(x, ROOT * x + 0.044715 * x**3)


def coefficient_cubed(x):
    return half_and_tanh(x, ROOT * (x + (0.044715 * x) ** 3))


def coefficient_rounded(x):
    return half_and_tanh(x, ROOT * (x + 0.0447 * x**3))


def root_rounded(x):
    return half_and_tanh(x, 0.798 * (x + 0.044715 * x**3))


def coefficient_for_both(x):
    return half_and_tanh(x, ROOT * 0.044715 * (x + x**3))


def gelu_by_sigmoid(x):
    return x / (1 + np.exp(-1.702 * x))


def silu(x):
    return x / (1 + np.exp(-x))


def half_forgotten(x):
    return 2 * plain.gelu_new(x)


def factor_x_forgotten(x):
    return 0.5 * (1 + np.tanh(ROOT * (x + 0.044715 * x**3)))


def one_forgotten(x):
    return plain.gelu_new(x) - 0.5 * x


# ---------------------------------------------------------------- layer norm


WIDTH = sizes(2, 4)  # with D = 1 nothing is left of x
HALVES = st.integers(-8, 8).map(lambda n: n / 2)


@st.composite
def vectors_to_norm(draw, axes=AXES, D=WIDTH, x=WHOLE, weight=WHOLE, bias=WHOLE, eps=(1e-5, 0.5, 2.0)):
    """x [.., D], weight [D], bias [D], eps.

    x of whole numbers or halves: its variance is 0 or so large that rounding in single precision does no harm.
    """
    D = draw(D)
    before = [draw(sizes(1, 3)) for _ in range(draw(axes))]
    x = draw(arrays(*before, D, elements=x))
    return x, draw(arrays(D, elements=weight)), draw(arrays(D, elements=bias)), draw(st.sampled_from(eps))


def centred(x):
    return x - x.mean(axis=-1, keepdims=True)


def variance(x):
    return x.var(axis=-1, keepdims=True)


def eps_outside_root(x, weight, bias, eps):
    return centred(x) / (np.sqrt(variance(x)) + eps) * weight + bias


def roots_added(x, weight, bias, eps):
    return centred(x) / (np.sqrt(variance(x)) + np.sqrt(eps)) * weight + bias


def eps_squared(x, weight, bias, eps):
    return centred(x) / np.sqrt(variance(x) + eps**2) * weight + bias


def eps_forgotten(x, weight, bias, eps):
    return centred(x) / np.sqrt(variance(x)) * weight + bias


def eps_always_the_same(x, weight, bias, eps):
    return plain.layer_norm(x, weight, bias, 1e-5)


def unbiased_variance(x, weight, bias, eps):
    squares = np.square(centred(x)).sum(axis=-1, keepdims=True)
    return centred(x) / np.sqrt(squares / (x.shape[-1] - 1) + eps) * weight + bias


def divided_by_variance(x, weight, bias, eps):
    return centred(x) / (variance(x) + eps) * weight + bias


def not_divided(x, weight, bias, eps):
    return centred(x) * weight + bias


def mean_not_subtracted(x, weight, bias, eps):
    return x / np.sqrt(variance(x) + eps) * weight + bias


def rms_norm(x, weight, bias, eps):
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps) * weight + bias


def over_all_numbers(x, weight, bias, eps):
    return (x - x.mean()) / np.sqrt(x.var() + eps) * weight + bias


def over_first_axis(x, weight, bias, eps):
    return (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + eps) * weight + bias


def weight_and_bias_exchanged(x, weight, bias, eps):
    return plain.layer_norm(x, bias, weight, eps)


def norm_weight_forgotten(x, weight, bias, eps):
    return plain.layer_norm(x, 1, bias, eps)


def norm_bias_forgotten(x, weight, bias, eps):
    return plain.layer_norm(x, weight, 0, eps)


def weight_and_bias_forgotten(x, weight, bias, eps):
    return plain.layer_norm(x, 1, 0, eps)


def bias_before_weight(x, weight, bias, eps):
    return (plain.layer_norm(x, 1, 0, eps) + bias) * weight


def weight_plus_1(x, weight, bias, eps):
    return plain.layer_norm(x, 1 + weight, bias, eps)


# ---------------------------------------------------------------- the MLP


def mlp(x, c_fc, c_proj, activation=plain.gelu_new):
    """c_proj(gelu_new(c_fc(x))), the mlp of model.py without its tap."""
    return plain.linear(activation(plain.linear(x, **c_fc)), **c_proj)


@st.composite
def mlp_inputs(draw, far_right=False, projected=True):
    """x [B, T, D], c_fc, c_proj. far_right: GELU changes nothing there. Not projected: c_proj is the identity."""
    B, T, D, F = draw(st.tuples(sizes(1, 2), sizes(1, 3), sizes(), sizes(1, 5)))
    F = F if projected else D
    rng = draw(SEEDS)
    x, c_fc = draw(arrays(B, T, D, elements=SMALL)), random_linear(rng, D, F)
    if far_right:
        x, c_fc["weight"] = np.abs(x), np.abs(c_fc["weight"])
        c_fc["bias"] += draw(st.sampled_from([8, 40]))
    c_proj = random_linear(rng, F, D) if projected else {"weight": np.eye(D), "bias": np.zeros(D)}
    return x, c_fc, c_proj


@st.composite
def enlarged_activations(draw):
    """x where the formulas of GELU differ most; c_fc changes nothing, and c_proj multiplies by 64."""
    B, T, D = draw(st.tuples(sizes(1, 2), sizes(1, 3), sizes()))
    c_fc, c_proj = ({"weight": factor * np.eye(D), "bias": np.zeros(D)} for factor in (1.0, 64.0))
    return draw(arrays(B, T, D, elements=st.integers(-20, -12).map(lambda n: n / 8))), c_fc, c_proj


def mlp_with_relu(x, c_fc, c_proj):
    return mlp(x, c_fc, c_proj, plain.relu)


def mlp_with_erf(x, c_fc, c_proj):
    return mlp(x, c_fc, c_proj, plain.gelu)


def mlp_with_sigmoid(x, c_fc, c_proj):
    return mlp(x, c_fc, c_proj, gelu_by_sigmoid)


def mlp_with_tanh_alone(x, c_fc, c_proj):
    return mlp(x, c_fc, c_proj, np.tanh)


def mlp_without_activation(x, c_fc, c_proj):
    return plain.linear(plain.linear(x, **c_fc), **c_proj)


def activation_at_the_end(x, c_fc, c_proj):
    return plain.gelu_new(plain.linear(plain.linear(x, **c_fc), **c_proj))


def activation_twice(x, c_fc, c_proj):
    return plain.gelu_new(mlp(x, c_fc, c_proj))


def activation_first(x, c_fc, c_proj):
    return plain.linear(plain.linear(plain.gelu_new(x), **c_fc), **c_proj)


def bias_of_c_fc_forgotten(x, c_fc, c_proj):
    return mlp(x, {"weight": c_fc["weight"]}, c_proj)


def bias_of_c_fc_after_activation(x, c_fc, c_proj):
    return plain.linear(plain.gelu_new(x @ c_fc["weight"]) + c_fc["bias"], **c_proj)


def bias_of_c_proj_forgotten(x, c_fc, c_proj):
    return mlp(x, c_fc, {"weight": c_proj["weight"]})


def biases_forgotten(x, c_fc, c_proj):
    return mlp(x, {"weight": c_fc["weight"]}, {"weight": c_proj["weight"]})


def stream_added_to_mlp(x, c_fc, c_proj):
    return x + mlp(x, c_fc, c_proj)


# ---------------------------------------------------------------- the block


def block(x, params, n_head):
    """transformer_block of model.py, without what serves cache, padding and trace."""
    config = GPT2Config(n_embd=x.shape[-1], n_head=n_head)
    return model.transformer_block(x, **params, run=Run(config).in_block(0))


def attention_part(x, params, n_head):
    """What attention adds to the stream, of a stream that has been normalised or not."""
    return multi_head_attention(x, **params["attn"], n_head=n_head)


def norm(x, params, eps=1e-5):
    return plain.layer_norm(x, **params, eps=eps)


TINY = st.integers(-8, 8).map(lambda n: n / 1024)  # squares of the size of eps


def random_block(rng, D, F):
    """The parameters of a block."""
    return {
        "ln_1": random_norm(rng, D),
        "attn": {"c_attn": random_linear(rng, D, 3 * D), "c_proj": random_linear(rng, D, D)},
        "ln_2": random_norm(rng, D),
        "mlp": {"c_fc": random_linear(rng, D, F), "c_proj": random_linear(rng, F, D)},
    }


def random_norm(rng, D):
    """Weight and bias of a layer norm, the weight positive as after training."""
    return {"weight": halves(rng, 1, 4, D), "bias": halves(rng, -2, 2, D)}


# H and K, the simplest first. With D = 2 a layer norm leaves nothing but 1 and -1.
HEADS = st.sampled_from([(1, 3), (2, 2), (3, 1)])


def with_sharp_attention(block):
    """A block's parameters with q and k so large that scores lie hundreds apart."""
    D = len(block["ln_1"]["bias"])
    for part in block["attn"]["c_attn"].values():
        part[..., : 2 * D] *= 16
    return block


@st.composite
def streams_and_block(draw, T=FEW, elements=SMALL, attention=True, mlp=True, sharp=False):
    """x [B, T, D], params, n_head. Without attention or MLP, its c_proj is 0 so that it adds nothing."""
    B, T, (H, K), F = draw(sizes(1, 2)), draw(T), draw(HEADS), draw(sizes(1, 3))
    D = H * K
    params = random_block(draw(SEEDS), D, F)
    if sharp:
        with_sharp_attention(params)
    for part, wanted in (("attn", attention), ("mlp", mlp)):
        if not wanted:
            params[part]["c_proj"] = {"weight": np.zeros_like(params[part]["c_proj"]["weight"]), "bias": np.zeros(D)}
    return draw(arrays(B, T, D, elements=elements)), params, H


def norm_after_the_sum(x, params, n_head):
    x = norm(x + attention_part(x, params, n_head), params["ln_1"])
    return norm(x + mlp(x, **params["mlp"]), params["ln_2"])


def norm_of_the_parts(x, params, n_head):
    x = x + norm(attention_part(x, params, n_head), params["ln_1"])
    return x + norm(mlp(x, **params["mlp"]), params["ln_2"])


def norms_forgotten(x, params, n_head):
    x = x + attention_part(x, params, n_head)
    return x + mlp(x, **params["mlp"])


def first_norm_forgotten(x, params, n_head):
    x = x + attention_part(x, params, n_head)
    return x + mlp(norm(x, params["ln_2"]), **params["mlp"])


def second_norm_forgotten(x, params, n_head):
    x = x + attention_part(norm(x, params["ln_1"]), params, n_head)
    return x + mlp(x, **params["mlp"])


def norms_exchanged(x, params, n_head):
    return block(x, {**params, "ln_1": params["ln_2"], "ln_2": params["ln_1"]}, n_head)


def first_norm_twice(x, params, n_head):
    return block(x, {**params, "ln_2": params["ln_1"]}, n_head)


def second_norm_twice(x, params, n_head):
    return block(x, {**params, "ln_1": params["ln_2"]}, n_head)


def both_sums_forgotten(x, params, n_head):
    x = attention_part(norm(x, params["ln_1"]), params, n_head)
    return mlp(norm(x, params["ln_2"]), **params["mlp"])


def first_sum_forgotten(x, params, n_head):
    x = attention_part(norm(x, params["ln_1"]), params, n_head)
    return x + mlp(norm(x, params["ln_2"]), **params["mlp"])


def second_sum_forgotten(x, params, n_head):
    x = x + attention_part(norm(x, params["ln_1"]), params, n_head)
    return mlp(norm(x, params["ln_2"]), **params["mlp"])


def normalised_stream_goes_on(x, params, n_head):
    x = norm(x, params["ln_1"])
    x = norm(x + attention_part(x, params, n_head), params["ln_2"])
    return x + mlp(x, **params["mlp"])


def stream_before_attention_goes_on(x, params, n_head):
    attended = x + attention_part(norm(x, params["ln_1"]), params, n_head)
    return x + mlp(norm(attended, params["ln_2"]), **params["mlp"])


def mlp_reads_attention_alone(x, params, n_head):
    attended = attention_part(norm(x, params["ln_1"]), params, n_head)
    return x + attended + mlp(norm(attended, params["ln_2"]), **params["mlp"])


def side_by_side(x, params, n_head):
    attended = attention_part(norm(x, params["ln_1"]), params, n_head)
    return x + attended + mlp(norm(x, params["ln_2"]), **params["mlp"])


def mlp_first(x, params, n_head):
    x = x + mlp(norm(x, params["ln_2"]), **params["mlp"])
    return x + attention_part(norm(x, params["ln_1"]), params, n_head)


def stream_added_twice(x, params, n_head):
    return x + block(x, params, n_head)


def other_block(x, params, n_head, attention=multi_head_attention, activation=plain.gelu_new, eps=1e-5):
    """The block with another attention, activation or eps."""
    x = x + attention(norm(x, params["ln_1"], eps), **params["attn"], n_head=n_head)
    return x + mlp(norm(x, params["ln_2"], eps), **params["mlp"], activation=activation)


def block_without_mask(x, params, n_head):
    return other_block(x, params, n_head, attention=multi_head_without_mask)


def block_overflows(x, params, n_head):
    return other_block(x, params, n_head, attention=multi_head_overflows)


def block_with_one_head(x, params, n_head):
    return block(x, params, 1)


def block_with_relu(x, params, n_head):
    return other_block(x, params, n_head, activation=plain.relu)


def block_with_erf(x, params, n_head):
    return other_block(x, params, n_head, activation=plain.gelu)


def block_without_eps(x, params, n_head):
    return other_block(x, params, n_head, eps=0)


def block_with_eps_of_1e_6(x, params, n_head):
    return other_block(x, params, n_head, eps=1e-6)


def block_with_eps_of_1e_8(x, params, n_head):
    return other_block(x, params, n_head, eps=1e-8)


def block_with_eps_of_1e_12(x, params, n_head):
    return other_block(x, params, n_head, eps=1e-12)


# ---------------------------------------------------------------- the whole model


def gpt2(ids, params, n_head):
    """gpt2 of model.py for one text, without what serves cache, padding and trace."""
    (V, D), P = params["wte"]["weight"].shape, len(params["wpe"]["weight"])
    config = GPT2Config(vocab_size=V, n_positions=P, n_embd=D, n_head=n_head, n_layer=max(1, len(params["h"])))
    return model.gpt2(ids[None], params, Run(config))[0]


N_LAYER = st.integers(0, 3)


@st.composite
def texts_and_models(draw, T=SIZE, n_layer=N_LAYER, positions=True, tiny=False, sharp=False, full=NEVER):
    """ids [T], params, n_head. Without positions, wpe is 0. tiny: eps counts in the layer norms of the embeddings."""
    (ids, V, P), (H, K), F, rng = draw(texts(T, full)), draw(HEADS), draw(sizes(1, 2)), draw(SEEDS)
    D = H * K
    params = {
        "wte": {"weight": halves(rng, -4, 4, V, D)},
        "wpe": {"weight": halves(rng, -2, 2, P, D) * positions},
        "h": [random_block(rng, D, F) for _ in range(draw(n_layer))],
        "ln_f": random_norm(rng, D),
    }
    if tiny:
        params["wte"]["weight"] /= 512
        params["wpe"]["weight"] /= 512
        params["wte"]["weight"][0] = 0  # a constant vector, where no positions are added
    if sharp:
        params["h"] = [with_sharp_attention(block) for block in params["h"]]
    return ids, params, H


def large_text_and_model(rng):
    params = {
        "wte": {"weight": halves(rng, -4, 4, 30, 8)},
        "wpe": {"weight": halves(rng, -2, 2, 32, 8)},
        "h": [random_block(rng, 8, 12)],
        "ln_f": random_norm(rng, 8),
    }
    return rng.integers(0, 30, 16), params, 2


def embedded(ids, params):
    return params["wte"]["weight"][ids] + params["wpe"]["weight"][: len(ids)]


def through_blocks(x, params, n_head):
    for each in params["h"]:
        x = block(x[None], each, n_head)[0]
    return x


def read_out(x, params, eps=1e-5):
    return norm(x, params["ln_f"], eps) @ params["wte"]["weight"].T


def other_gpt2(ids, params, n_head, eps=1e-5, **other):
    """The model with another eps, in its blocks too, or with another attention in them."""
    x = embedded(ids, params)
    for each in params["h"]:
        x = other_block(x[None], each, n_head, eps=eps, **other)[0]
    return read_out(x, params, eps)


def model_without_eps(ids, params, n_head):
    return other_gpt2(ids, params, n_head, eps=0)


def model_with_eps_of_1e_6(ids, params, n_head):
    return other_gpt2(ids, params, n_head, eps=1e-6)


def model_with_eps_of_1e_8(ids, params, n_head):
    return other_gpt2(ids, params, n_head, eps=1e-8)


def model_with_eps_of_1e_12(ids, params, n_head):
    return other_gpt2(ids, params, n_head, eps=1e-12)


def model_without_mask(ids, params, n_head):
    return other_gpt2(ids, params, n_head, attention=multi_head_without_mask)


def model_overflows(ids, params, n_head):
    return other_gpt2(ids, params, n_head, attention=multi_head_overflows)


def last_norm_forgotten(ids, params, n_head):
    return through_blocks(embedded(ids, params), params, n_head) @ params["wte"]["weight"].T


def last_norm_before_blocks(ids, params, n_head):
    x = norm(embedded(ids, params), params["ln_f"])
    return through_blocks(x, params, n_head) @ params["wte"]["weight"].T


def with_positions(ids, params, n_head, positions):
    """The model with other positions than 0 to T - 1."""
    x = params["wte"]["weight"][ids] + params["wpe"]["weight"][positions]
    return read_out(through_blocks(x, params, n_head), params)


def model_positions_from_1(ids, params, n_head):
    return with_positions(ids, params, n_head, np.arange(1, len(ids) + 1))


def model_positions_by_ids(ids, params, n_head):
    return with_positions(ids, params, n_head, ids)


def model_first_position_for_all(ids, params, n_head):
    return with_positions(ids, params, n_head, 0)


def positions_forgotten(ids, params, n_head):
    return read_out(through_blocks(params["wte"]["weight"][ids], params, n_head), params)


def head_not_transposed(ids, params, n_head):
    return norm(through_blocks(embedded(ids, params), params, n_head), params["ln_f"]) @ params["wte"]["weight"]


def no_block(ids, params, n_head):
    return gpt2(ids, {**params, "h": []}, n_head)


def first_block_only(ids, params, n_head):
    return gpt2(ids, {**params, "h": params["h"][:1]}, n_head)


def last_block_only(ids, params, n_head):
    return gpt2(ids, {**params, "h": params["h"][-1:]}, n_head)


def first_block_for_all(ids, params, n_head):
    return gpt2(ids, {**params, "h": params["h"][:1] * len(params["h"])}, n_head)


def last_block_forgotten(ids, params, n_head):
    return gpt2(ids, {**params, "h": params["h"][:-1]}, n_head)


def blocks_from_the_last(ids, params, n_head):
    return gpt2(ids, {**params, "h": params["h"][::-1]}, n_head)


def embeddings_added_to_every_block(ids, params, n_head):
    x = embedded(ids, params)
    for each in params["h"]:
        x = x + block(x[None], each, n_head)[0]
    return read_out(x, params)


def norm_after_every_block(ids, params, n_head):
    x = embedded(ids, params)
    for each in params["h"]:
        x = norm(block(x[None], each, n_head)[0], params["ln_f"])
    return x @ params["wte"]["weight"].T


def probabilities(ids, params, n_head):
    return plain.softmax(gpt2(ids, params, n_head))


def logprobs(ids, params, n_head):
    return np.log(plain.softmax(gpt2(ids, params, n_head)))


def last_token_only(ids, params, n_head):
    return gpt2(ids, params, n_head)[-1]


def batch_of_one(ids, params, n_head):
    return gpt2(ids, params, n_head)[None]


def vectors_returned(ids, params, n_head):
    return norm(through_blocks(embedded(ids, params), params, n_head), params["ln_f"])


def model_with_one_head(ids, params, n_head):
    return gpt2(ids, params, 1)


# ---------------------------------------------------------------- the exercises


EXERCISES = [
    Exercise(
        name="linear",
        signature="linear(x, weight, bias)",
        task="y = x weight + bias, of every vector along the last axis; there may be any number of axes before it. x "
        "[.., in], weight [in, out], bias [out] > [.., out].",
        reference=plain.linear,
        probes=(
            Probe(
                "The bias is 0 here and weight is square, so it is about the product: output o is the sum over i of "
                "x[i] weight[i, o].",
                linear_inputs(axes=st.just(0), square=True, bias=ZERO),
            ),
            Probe(
                "The bias is 0 here and x is a single vector: output o is the sum over i of x[i] weight[i, o].",
                linear_inputs(axes=st.just(0), bias=ZERO),
            ),
            Probe(
                "All weights are 0 here, so the result must be the bias, once for every vector of x.",
                linear_inputs(weight=ZERO),
            ),
            Probe(
                "Product and bias were right by themselves; with both, or with several vectors in x, they are not.",
                linear_inputs(),
            ),
            Probe(
                "These are inputs of all kinds, drawn at random; the numbers are no longer whole.",
                linear_inputs(axes=st.integers(0, 3), x=numbers(), weight=numbers(), bias=numbers()),
            ),
        ),
        mistakes=(
            Mistake(
                weight_transposed,
                "You use weight transposed. GPT-2 stores its weights [in, out], so it is x weight; in PyTorch's Linear "
                "they are [out, in].",
            ),
            Mistake(bias_forgotten, "The bias is missing: y = x weight + bias."),
            Mistake(bias_twice, "You add the bias twice; it is added once, to the sum."),
            Mistake(bias_subtracted, "You subtract the bias; it is added."),
            Mistake(bias_multiplied, "You multiply with the bias; it is added."),
            Mistake(only_bias, "Your result does not depend on x: it is the bias alone. y = x weight + bias."),
            Mistake(
                bias_once_for_each_input,
                "You add the bias to every product, so it counts as often as there are inputs. It is added once, to "
                "their sum.",
            ),
            Mistake(mean_of_products, "You take the mean of the products x[i] weight[i, o]. It is their sum."),
        ),
    ),
    Exercise(
        name="gelu",
        signature="gelu(x)",
        task="gelu(x) = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), of every number of an array of any shape.",
        reference=plain.gelu_new,
        probes=(
            Probe(
                "These numbers are far right of 0. There the tanh is 1, so the result must be x itself, nearly: look "
                "at x/2 (1 + ..).",
                any_shape(numbers(5, 8)),
            ),
            Probe(
                "These numbers are far left of 0. There the tanh is -1, so the result must be 0, nearly: look at (1 + "
                "..).",
                any_shape(numbers(-8, -5)),
            ),
            Probe(
                "These numbers are near 0, where x^3 is very small: gelu(x) is x/2 (1 + tanh(sqrt(2/pi) x)), nearly. "
                "Look at sqrt(2/pi).",
                any_shape(numbers(-1, 1)),
            ),
            Probe(
                "These numbers are between -3 and -1. There the cubic term counts, and there the formulas that go by "
                "the name of GELU differ most. Results are compared to six digits: if yours differ only in the last of "
                "these, you have rounded 0.044715 or sqrt(2/pi).",
                any_shape(numbers(-3, -1)),
                tolerance=2e-6,
            ),
            Probe("These are numbers of all kinds, drawn at random.", any_shape(numbers(-8, 8))),
            Probe(
                "These numbers are as large as 40, where the result is x or 0. If yours is NaN or 0, exp of a large "
                "number became inf, or inf / inf: np.tanh knows how to do it.",
                any_shape(numbers(-40, 40)),
            ),
        ),
        mistakes=(
            Mistake(
                plain.gelu,
                "Your formula is the one with erf. It differs from the asked one in the fourth decimal: GPT-2 was "
                "trained with tanh(sqrt(2/pi) (x + 0.044715 x^3)).",
            ),
            Mistake(
                gelu_by_sigmoid,
                "Your formula is x sigmoid(1.702 x), a rougher approximation. GPT-2 was trained with the one with "
                "tanh.",
            ),
            Mistake(silu, "Your formula is x sigmoid(x), which is called SiLU or swish. GELU is the one with tanh."),
            Mistake(plain.relu, "Your function is max(x, 0), a ReLU. GELU is smooth: see the formula with tanh."),
            Mistake(
                half_forgotten, "Your results are twice as large as they should be: x/2 (1 + tanh(..)), not x (..)."
            ),
            Mistake(
                factor_x_forgotten,
                "The factor x is missing before the bracket: x/2 (1 + tanh(..)), not 1/2 (1 + tanh(..)).",
            ),
            Mistake(one_forgotten, "The 1 is missing in the bracket: x/2 (1 + tanh(..)), not x/2 tanh(..)."),
            Mistake(
                square_in_place_of_cube,
                "You have x^2 in place of x^3. The term must have the sign of x.",
            ),
            Mistake(
                cube_forgotten,
                "The cubic term is missing: inside the tanh stands x + 0.044715 x^3, not x alone.",
            ),
            Mistake(
                root_of_2_by_pi_forgotten,
                "The factor sqrt(2/pi) inside the tanh is missing.",
            ),
            Mistake(
                fraction_without_root,
                "The root is missing: the factor inside the tanh is sqrt(2/pi), not 2/pi.",
            ),
            Mistake(
                root_of_2_alone,
                "Your root is of 2 alone. The factor inside the tanh is sqrt(2/pi), the root of the fraction.",
            ),
            Mistake(
                root_for_x_alone,
                "Your factor sqrt(2/pi) belongs to x only. It stands before the bracket, so it belongs to both x and "
                "0.044715 x^3.",
            ),
            Mistake(
                coefficient_cubed,
                "You raise 0.044715 to the third power too. It is 0.044715 times x^3.",
            ),
            Mistake(
                coefficient_rounded,
                "Your factor of x^3 is 0.0447, which is rounded: the whole number is 0.044715. GPT-2 was trained with "
                "it, and its results differ in the sixth digit.",
            ),
            Mistake(
                root_rounded,
                "Your factor sqrt(2/pi) is 0.798, which is rounded. Let NumPy compute the root.",
            ),
            Mistake(
                coefficient_for_both,
                "Your factor 0.044715 belongs to x as well. It stands before x^3 only.",
            ),
        ),
    ),
    Exercise(
        name="layer_norm",
        signature="layer_norm(x, weight, bias, eps)",
        task="layer_norm(x) = (x - mean(x)) / sqrt(var(x) + eps) * weight + bias, of every vector along the last axis. "
        "var is the mean of the squared distances from the mean (with 1/D). x [.., D], weight [D], bias [D] > [.., D].",
        reference=plain.layer_norm,
        probes=(
            Probe(
                "Weight is 1, bias is 0, eps is very small and x is one vector: the result must have mean 0 and "
                "variance 1 (or be all 0, if x is constant).",
                vectors_to_norm(axes=st.just(0), weight=ONE, bias=ZERO, eps=(1e-10,)),
            ),
            Probe(
                "Weight is 1 and bias is 0, but eps is as large as 2. It is added to the variance, before the root is "
                "taken.",
                vectors_to_norm(axes=st.just(0), weight=ONE, bias=ZERO, eps=(0.5, 2.0)),
            ),
            Probe(
                "All normalising was right; now weight and bias are at work: first times weight, then plus bias, "
                "number by number.",
                vectors_to_norm(axes=st.just(0)),
            ),
            Probe(
                "One vector was right, several are not: every vector has a mean and a variance of its own, along the "
                "last axis.",
                vectors_to_norm(axes=st.integers(1, 2)),
            ),
            Probe(
                "These are inputs of all kinds, drawn at random; the numbers are no longer whole.",
                vectors_to_norm(axes=st.integers(0, 3), D=sizes(1, 5), x=HALVES, weight=numbers(), bias=numbers()),
            ),
        ),
        mistakes=(
            Mistake(
                eps_outside_root,
                "You add eps after taking the root. It stands inside, next to the variance: sqrt(var(x) + eps).",
            ),
            Mistake(
                roots_added,
                "You take the root of the variance and that of eps, and add them. First the sum, then one root: "
                "sqrt(var(x) + eps).",
            ),
            Mistake(eps_squared, "You square eps. It is added to the variance as it is: sqrt(var(x) + eps)."),
            Mistake(
                eps_forgotten,
                "You do not use eps. Without it a constant vector, whose variance is 0, gives 0 / 0 = NaN.",
            ),
            Mistake(eps_always_the_same, "Your eps is always 1e-5. Take the one that is given."),
            Mistake(
                unbiased_variance,
                "Your variance divides by D - 1, as for a sample. Here it is the mean of the squares, divided by D.",
            ),
            Mistake(
                divided_by_variance,
                "You divide by the variance. It is the root of it, the standard deviation: sqrt(var(x) + eps).",
            ),
            Mistake(not_divided, "You subtract the mean but do not divide by sqrt(var(x) + eps)."),
            Mistake(
                mean_not_subtracted,
                "You divide x as it is. The mean is subtracted above the line as well: (x - mean(x)) / sqrt(var(x) + "
                "eps).",
            ),
            Mistake(
                rms_norm,
                "You leave the mean where it is and divide by the root of the mean square: that is RMS norm, of later "
                "models. Here the mean is subtracted, above the line and in the variance.",
            ),
            Mistake(
                over_all_numbers,
                "You take one mean and one variance of all numbers. Every vector has its own, along the last axis.",
            ),
            Mistake(
                over_first_axis,
                "Your mean and variance run along the first axis. They are those of each vector: along the last axis.",
            ),
            Mistake(weight_and_bias_exchanged, "Weight and bias have changed places: times weight, plus bias."),
            Mistake(norm_weight_forgotten, "You do not multiply by weight: (..) * weight + bias."),
            Mistake(norm_bias_forgotten, "You do not add the bias: (..) * weight + bias."),
            Mistake(
                weight_and_bias_forgotten, "You normalise, but weight and bias are not used: (..) * weight + bias."
            ),
            Mistake(bias_before_weight, "You add the bias before multiplying. First times weight, then plus bias."),
            Mistake(weight_plus_1, "You multiply by 1 + weight. GPT-2 multiplies by weight."),
        ),
    ),
    Exercise(
        name="mlp",
        signature="mlp(x, c_fc, c_proj)",
        task="mlp(x) = gelu(x W_fc + b_fc) W_proj + b_proj, each token by itself. c_fc has weight [D, F] and bias [F], "
        "c_proj weight [F, D] and bias [D], both dicts. x [B, T, D] > [B, T, D].",
        reference=mlp,
        probes=(
            Probe(
                "Everything inside the GELU is far right of 0 here, where it changes nothing. So it is about the two "
                "linear layers and their biases.",
                mlp_inputs(far_right=True),
            ),
            Probe(
                "c_proj changes nothing here, so the result must be gelu(x W_fc + b_fc). Without GELU all was right: "
                "look at which function it is, and that it comes after the first layer.",
                mlp_inputs(projected=False),
            ),
            Probe(
                "c_fc changes nothing here, and c_proj multiplies by 64: the result must be 64 gelu(x). That makes a "
                "small difference in the formula of GELU visible: look at its numbers.",
                enlarged_activations(),
            ),
            Probe("These are inputs of all kinds, drawn at random.", mlp_inputs()),
        ),
        mistakes=(
            Mistake(mlp_with_relu, "Your function in the middle is a ReLU. GPT-2 has GELU there."),
            Mistake(
                mlp_with_erf,
                "Your GELU is the one with erf; GPT-2 was trained with the formula with tanh (gelu_new).",
            ),
            Mistake(mlp_with_sigmoid, "Your GELU is x sigmoid(1.702 x); GPT-2 has the formula with tanh."),
            Mistake(
                mlp_with_tanh_alone, "Your function in the middle is tanh alone. It is GELU, which has a tanh inside."
            ),
            Mistake(
                mlp_without_activation,
                "There is no GELU between the two layers. Without it two linear layers are no more than one.",
            ),
            Mistake(
                activation_at_the_end,
                "Your GELU comes after the second layer. It stands between the two.",
            ),
            Mistake(activation_twice, "You apply GELU after the second layer too. It stands between the two only."),
            Mistake(activation_first, "You apply GELU to x, before the first layer. It stands between the two."),
            Mistake(bias_of_c_fc_forgotten, "The bias of c_fc is missing: gelu(x W_fc + b_fc)."),
            Mistake(
                bias_of_c_fc_after_activation,
                "You add the bias of c_fc after the GELU. It belongs inside: gelu(x W_fc + b_fc).",
            ),
            Mistake(bias_of_c_proj_forgotten, "The bias of c_proj is missing, the last term of the formula."),
            Mistake(biases_forgotten, "Both biases are missing. A linear layer is x weight + bias."),
            Mistake(
                stream_added_to_mlp,
                "You add x to the result. That is right in the block, and is done there, outside this function.",
            ),
        ),
        uses=("minigpt.ops.plain.linear", "minigpt.ops.plain.gelu_new"),
    ),
    Exercise(
        name="block",
        signature="block(x, params, n_head)",
        task="x = x + attention(ln_1(x)), then x = x + mlp(ln_2(x)); attention is multi-head and causal, eps of both "
        "layer norms is 1e-5. params is that of one block, a dict of ln_1, attn (c_attn, c_proj), ln_2, mlp (c_fc, "
        "c_proj). x [B, T, D] > [B, T, D].",
        reference=block,
        probes=(
            Probe(
                "Both c_proj are 0 here, so attention and MLP add nothing: the result must be x, unchanged.",
                streams_and_block(attention=False, mlp=False),
            ),
            Probe(
                "The c_proj of attention is 0 here, so it adds nothing: the result must be x + mlp(ln_2(x)).",
                where_float32_is_enough(block, streams_and_block(attention=False)),
            ),
            Probe(
                "The numbers of x are so small that eps counts in the layer norms, and attention adds nothing: eps is "
                "1e-5, added to the variance.",
                where_float32_is_enough(block, streams_and_block(elements=TINY, attention=False)),
            ),
            Probe(
                "The MLP adds nothing here (its c_proj is 0) and there is one token: the result must be x + "
                "attention(ln_1(x)), in which attention is v and its projection.",
                where_eps_does_not_count(
                    block,
                    block_without_eps,
                    where_float32_is_enough(block, streams_and_block(T=st.just(1), mlp=False)),
                ),
            ),
            Probe(
                "One token again, with numbers in x that are so small that eps counts in ln_1: eps is 1e-5, added to "
                "the variance.",
                where_float32_is_enough(block, streams_and_block(T=st.just(1), elements=TINY, mlp=False)),
            ),
            Probe(
                "The MLP adds nothing here (its c_proj is 0): the result must be x + attention(ln_1(x)). With one "
                "token all was right, so look at what happens between tokens.",
                where_float32_is_enough(block, streams_and_block(T=sizes(2, 3), mlp=False)),
            ),
            Probe(
                "q and k are large here, and scores hundreds apart: the softmax must subtract the maximum of each row "
                "before exp, and what is hidden with -100 can be above what is not: it is -inf that hides.",
                where_float32_is_enough(block, streams_and_block(T=sizes(2, 3), mlp=False, sharp=True)),
            ),
            Probe(
                "Each half was right by itself. Here both are at work: the second one begins with what the first one "
                "has made of x.",
                where_float32_is_enough(block, streams_and_block()),
            ),
            large_input(lambda rng: (small_integers(rng, 1, 24, 8), random_block(rng, 8, 12), 2)),
        ),
        mistakes=(
            Mistake(
                norm_after_the_sum,
                "You normalise after each sum, as the transformer of 2017 and GPT-1 did. In GPT-2 the stream itself is "
                "never normalised; attention and MLP get a normalised copy: x + attention(ln_1(x)).",
            ),
            Mistake(
                norm_of_the_parts,
                "You normalise what attention and MLP give. It is what they get: x + attention(ln_1(x)), x + "
                "mlp(ln_2(x)).",
            ),
            Mistake(norms_forgotten, "There are no layer norms: attention gets ln_1(x), the MLP ln_2(x)."),
            Mistake(first_norm_forgotten, "Attention gets x as it is. It should get ln_1(x)."),
            Mistake(second_norm_forgotten, "The MLP gets the stream as it is. It should get ln_2 of it."),
            Mistake(
                norms_exchanged, "The layer norms have changed places: ln_1 goes with attention, ln_2 with the MLP."
            ),
            Mistake(first_norm_twice, "You use ln_1 for both. The MLP has a layer norm of its own, ln_2."),
            Mistake(second_norm_twice, "You use ln_2 for both. Attention has a layer norm of its own, ln_1."),
            Mistake(
                both_sums_forgotten,
                "You replace the stream. Attention and MLP add to it: x + attention(ln_1(x)), then x + mlp(ln_2(x)).",
            ),
            Mistake(
                first_sum_forgotten,
                "You replace the stream with what attention gives. It is added: x + attention(ln_1(x)).",
            ),
            Mistake(
                second_sum_forgotten,
                "You return what the MLP gives. It is added to the stream: x + mlp(ln_2(x)).",
            ),
            Mistake(
                normalised_stream_goes_on,
                "You add to the normalised stream. The stream that goes on is x itself; only what attention and MLP "
                "get is normalised.",
            ),
            Mistake(
                stream_before_attention_goes_on,
                "Your last sum starts from the x that came in, so what attention added is lost. It starts from the "
                "stream after attention.",
            ),
            Mistake(
                mlp_reads_attention_alone,
                "Your MLP gets what attention added, normalised. It should get the whole stream, ln_2(x + "
                "attention(ln_1(x))).",
            ),
            Mistake(
                side_by_side,
                "Your MLP gets the x that came in, as if it stood beside attention; some later models do that. In "
                "GPT-2 it reads the stream after attention has added to it.",
            ),
            Mistake(mlp_first, "You do the MLP first. Attention comes first, then the MLP."),
            Mistake(stream_added_twice, "You add x once more at the end. It is in the stream already."),
            Mistake(
                block_without_mask,
                "Your tokens see later ones: there is no causal mask in the attention.",
            ),
            Mistake(
                block_overflows,
                "The softmax in your attention takes exp of scores as they are, which is inf for large ones, and inf / "
                "inf is NaN. Subtract each row's maximum first.",
            ),
            Mistake(
                block_with_one_head,
                "You attend once over the whole width. There are n_head heads of K = D / n_head numbers.",
            ),
            Mistake(
                block_without_eps,
                "Your layer norms have no eps. Without it a constant vector gives 0 / 0 = NaN; it is 1e-5, added to "
                "the variance.",
            ),
            Mistake(block_with_eps_of_1e_6, "The eps of your layer norms is 1e-6. GPT-2 was trained with 1e-5."),
            Mistake(block_with_eps_of_1e_8, "The eps of your layer norms is 1e-8. GPT-2 was trained with 1e-5."),
            Mistake(block_with_eps_of_1e_12, "The eps of your layer norms is 1e-12. GPT-2 was trained with 1e-5."),
            Mistake(block_with_relu, "Your MLP has a ReLU. GPT-2 has GELU there."),
            Mistake(block_with_erf, "Your GELU is the one with erf; GPT-2 was trained with the formula with tanh."),
        ),
        uses=(
            "minigpt.ops.plain.layer_norm",
            "minigpt.ops.plain.linear",
            "minigpt.ops.plain.gelu_new",
            "minigpt.ops.plain.attention",
            "minigpt.ops.plain.softmax",
            "minigpt.model.split_heads",
            "minigpt.model.merge_heads",
        ),
    ),
    Exercise(
        name="gpt2",
        signature="gpt2(ids, params, n_head)",
        task="x = wte[ids] + wpe[0..T-1]; then every block of params['h'] in order; then ln_f (eps 1e-5); logits = x "
        "wte^T. params is a dict of wte (weight [V, D]), wpe (weight [P, D]), h (a list of any number of blocks), "
        "ln_f. ids [T] of integers > logits [T, V].",
        reference=gpt2,
        probes=(
            Probe(
                "There are no blocks here, and all position vectors are 0. What is left: token vectors, the last layer "
                "norm ln_f, and the head, whose weight is wte again, transposed.",
                where_eps_does_not_count(
                    gpt2,
                    model_without_eps,
                    where_float32_is_enough(gpt2, texts_and_models(n_layer=st.just(0), positions=False)),
                ),
            ),
            Probe(
                "There are no blocks here either, and the token vectors are so small that eps counts in ln_f: eps is "
                "1e-5, added to the variance.",
                where_float32_is_enough(gpt2, texts_and_models(n_layer=st.just(0), positions=False, tiny=True)),
            ),
            Probe(
                "There are no blocks here. Without positions all was right: position t has the vector wpe[t], counted "
                "from 0, which is added to that of the token.",
                where_float32_is_enough(gpt2, texts_and_models(n_layer=st.just(0))),
            ),
            Probe(
                "One block and one token: embeddings and head were right, so look at the block.",
                where_float32_is_enough(gpt2, texts_and_models(T=st.just(1), n_layer=st.just(1))),
            ),
            Probe(
                "One block and several tokens: with one token all was right, so look at the attention between tokens, "
                "its mask and its heads.",
                where_float32_is_enough(gpt2, texts_and_models(T=sizes(2, 3), n_layer=st.just(1))),
            ),
            Probe(
                "One block, in which q and k are large and scores hundreds apart: the softmax must subtract the "
                "maximum of each row before exp, and what is hidden with -100 can be above what is not: it is -inf "
                "that hides.",
                where_float32_is_enough(gpt2, texts_and_models(T=sizes(2, 3), n_layer=st.just(1), sharp=True)),
            ),
            Probe(
                "Two blocks: one was right. Each has parameters of its own, and the second one gets what the first one "
                "returns.",
                where_float32_is_enough(gpt2, texts_and_models(T=sizes(1, 3), n_layer=st.just(2))),
            ),
            Probe(
                "These are models and texts of all kinds, drawn at random.",
                where_float32_is_enough(gpt2, texts_and_models(full=PERHAPS)),
            ),
            large_input(large_text_and_model),
        ),
        mistakes=(
            Mistake(
                last_norm_forgotten,
                "The last layer norm is missing: between the last block and the head stands ln_f.",
            ),
            Mistake(
                last_norm_before_blocks,
                "You apply ln_f before the blocks. It stands after the last one, before the head.",
            ),
            Mistake(
                norm_after_every_block,
                "You apply ln_f after every block. It stands once, after the last one.",
            ),
            Mistake(
                positions_forgotten,
                "The vectors of the positions are missing: x = wte[ids] + wpe[0..T-1].",
            ),
            Mistake(
                model_positions_from_1,
                "You count positions from 1. The first token has position 0: wpe[0].",
            ),
            Mistake(
                model_positions_by_ids,
                "You look up wpe with the ids of the tokens. A position's vector depends on the place t alone: wpe[t].",
            ),
            Mistake(
                model_first_position_for_all,
                "Every token of yours gets the vector of position 0. The token at place t gets wpe[t].",
            ),
            Mistake(
                head_not_transposed,
                "Your head is wte as it is. A token's logit is the product of the stream with that token's row: x "
                "wte^T.",
            ),
            Mistake(vectors_returned, "You return the stream after ln_f. The head is missing: logits = x wte^T."),
            Mistake(no_block, "Your blocks have no effect on the result. Each one takes x and returns the next x."),
            Mistake(
                first_block_only, "Only your first block has an effect. Every block gets what the one before returns."
            ),
            Mistake(
                last_block_only,
                "Only your last block has an effect: each one of yours starts from the embeddings. Every block gets "
                "what the one before returns.",
            ),
            Mistake(last_block_forgotten, "Your last block has no effect. All blocks of params['h'] are run."),
            Mistake(
                first_block_for_all,
                "All your blocks have the parameters of the first. Block i has those of params['h'][i].",
            ),
            Mistake(blocks_from_the_last, "You run the blocks from the last to the first. The first one comes first."),
            Mistake(
                embeddings_added_to_every_block,
                "You add x to what a block returns. It is in there already: a block returns the whole stream.",
            ),
            Mistake(probabilities, "You return probabilities. Logits are what comes before the softmax: x wte^T."),
            Mistake(logprobs, "You return logarithms of probabilities. Logits are what comes before: x wte^T."),
            Mistake(
                last_token_only,
                "You return the logits of the last token only. There are logits for every token: [T, V].",
            ),
            Mistake(batch_of_one, "You return a batch of one text, [1, T, V]. Asked is [T, V]."),
            Mistake(
                model_with_one_head,
                "Your blocks attend once over the whole width. There are n_head heads of K = D / n_head numbers.",
            ),
            Mistake(
                model_without_mask,
                "The tokens in your blocks see later ones: there is no causal mask in the attention.",
            ),
            Mistake(
                model_overflows,
                "The softmax in your blocks takes exp of scores as they are, which is inf for large ones, and inf / "
                "inf is NaN. Subtract each row's maximum first.",
            ),
            Mistake(
                model_without_eps,
                "Your layer norms have no eps. Without it a constant vector gives 0 / 0 = NaN; it is 1e-5, added to "
                "the variance.",
            ),
            Mistake(model_with_eps_of_1e_6, "The eps of your layer norms is 1e-6. GPT-2 was trained with 1e-5."),
            Mistake(model_with_eps_of_1e_8, "The eps of your layer norms is 1e-8. GPT-2 was trained with 1e-5."),
            Mistake(model_with_eps_of_1e_12, "The eps of your layer norms is 1e-12. GPT-2 was trained with 1e-5."),
        ),
        uses=(
            "minigpt.ops.plain.layer_norm",
            "minigpt.ops.plain.linear",
            "minigpt.ops.plain.gelu_new",
            "minigpt.ops.plain.attention",
            "minigpt.ops.plain.softmax",
            "minigpt.model.split_heads",
            "minigpt.model.merge_heads",
        ),
    ),
]
