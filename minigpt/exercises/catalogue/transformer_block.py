"""Exercise transformer_block, notebook 04: attention and MLP on the residual stream."""

from functools import partial

import numpy as np
from hypothesis import strategies as st

from minigpt.exercises.catalogue.feed_forward import feed_forward, feed_forward_in_steps
from minigpt.exercises.catalogue.self_attention import (
    multi_head_overflows,
    multi_head_without_mask,
    self_attention,
    self_attention_in_steps,
)
from minigpt.exercises.drawing import (
    arrays,
    generators,
    halves,
    large_input,
    random_linear,
    sizes,
    small_integers,
    where_eps_does_not_count,
    where_float32_is_enough,
    whole_numbers,
)
from minigpt.exercises.exercise import Exercise, Probe
from minigpt.exercises.placing import part_of_blocks
from minigpt.ops import plain


def transformer_block(x, ln_1, attn, ln_2, mlp, n_head, attention=self_attention, activation=plain.gelu_new, eps=1e-5):
    """x + attention(ln_1(x)), then x + mlp(ln_2(x)). The parameters after n_head are for the known mistakes."""
    x = x + attention(norm(x, ln_1, eps), **attn, n_head=n_head)
    return x + feed_forward(norm(x, ln_2, eps), **mlp, activation=activation)


def norm(x, params, eps=1e-5):
    return plain.layer_norm(x, **params, eps=eps)


NUMBERS_NEAR_ROOT_OF_EPS = st.integers(-8, 8).map(lambda n: n / 1024)  # eps is 1e-5


def random_block(rng, D, F):
    """Return the parameters of a block."""
    return {
        "ln_1": random_norm(rng, D),
        "attn": {"c_attn": random_linear(rng, D, 3 * D), "c_proj": random_linear(rng, D, D)},
        "ln_2": random_norm(rng, D),
        "mlp": {"c_fc": random_linear(rng, D, F), "c_proj": random_linear(rng, F, D)},
    }


def random_norm(rng, D):
    """Return weight and bias of a layer norm, the weight positive as after training."""
    return {"weight": halves(rng, 1, 4, D), "bias": halves(rng, -2, 2, D)}


# H and K, the simplest first. With D = 2 a layer norm leaves nothing but 1 and -1.
HEADS = st.sampled_from([(1, 3), (2, 2), (3, 1)])


def with_sharp_attention(block):
    """Return a block's parameters with q and k so large that scores lie hundreds apart."""
    D = len(block["ln_1"]["bias"])
    for part in block["attn"]["c_attn"].values():
        part[..., : 2 * D] *= 16
    return block


@st.composite
def streams_and_block(draw, T=sizes(1, 3), elements=whole_numbers(-2, 2), attention=True, mlp=True, sharp=False):
    """Draw x [B, T, D], ln_1, attn, ln_2, mlp and n_head. attention, mlp: if False, its c_proj is 0."""
    B, T, (H, K), F = draw(sizes(1, 2)), draw(T), draw(HEADS), draw(sizes(1, 3))
    D = H * K
    params = random_block(draw(generators()), D, F)
    if sharp:
        with_sharp_attention(params)
    for part, wanted in (("attn", attention), ("mlp", mlp)):
        if not wanted:
            params[part]["c_proj"] = {"weight": np.zeros_like(params[part]["c_proj"]["weight"]), "bias": np.zeros(D)}
    return draw(arrays(B, T, D, elements=elements)), *params.values(), H


def sound_inputs(**options):
    """Return a strategy for blocks for which a solution in single precision is right too."""
    return where_float32_is_enough(transformer_block, streams_and_block(**options))


exercise = Exercise(
    name="transformer_block",
    notebook="04_block",
    order=5,
    signature="transformer_block(x, ln_1, attn, ln_2, mlp, n_head)",
    task="x = x + attention(ln_1(x)), then x = x + mlp(ln_2(x)). Attention is causal, with n_head heads; eps of both "
    "layer norms is 1e-5. The parameters of the parts are dicts: ln_1 and ln_2 have weight and bias, attn has c_attn "
    "and c_proj, mlp has c_fc and c_proj. x [B, T, D] -> [B, T, D].",
    reference=transformer_block,
    probes=(
        Probe(
            "Both c_proj are 0, so attention and MLP add nothing: the result must be x, unchanged.",
            sound_inputs(attention=False, mlp=False),
        ),
        Probe(
            "The c_proj of attention is 0, so it adds nothing: the result must be x + mlp(ln_2(x)).",
            sound_inputs(attention=False),
        ),
        Probe(
            "The numbers of x are so small that eps counts in the layer norms, and attention adds nothing. eps is "
            "1e-5, added to the variance.",
            sound_inputs(elements=NUMBERS_NEAR_ROOT_OF_EPS, attention=False),
        ),
        Probe(
            "The MLP adds nothing (its c_proj is 0) and there is one token: the result must be x + "
            "attention(ln_1(x)), where attention is v and its projection.",
            where_eps_does_not_count(
                transformer_block, partial(transformer_block, eps=0), sound_inputs(T=st.just(1), mlp=False)
            ),
        ),
        Probe(
            "One token again, with numbers so small that eps counts in ln_1: eps is 1e-5, added to the variance.",
            sound_inputs(T=st.just(1), elements=NUMBERS_NEAR_ROOT_OF_EPS, mlp=False),
        ),
        Probe(
            "The MLP adds nothing (its c_proj is 0): the result must be x + attention(ln_1(x)). With one token all "
            "was right, so look at what happens between tokens.",
            sound_inputs(T=sizes(2, 3), mlp=False),
        ),
        Probe(
            "q and k are large here, and scores hundreds apart. The softmax must subtract the maximum of each row "
            "before exp, and a score hidden with -100 can be above a visible one: hide with -inf.",
            sound_inputs(T=sizes(2, 3), mlp=False, sharp=True),
        ),
        Probe(
            "Each half was right alone. Here both count: the second half begins with the result of the first.",
            sound_inputs(),
        ),
        large_input(lambda rng: (small_integers(rng, 1, 24, 8), *random_block(rng, 8, 12).values(), 2)),
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
    in_model=part_of_blocks(
        lambda layer: f"h.{layer - 1}.resid" if layer else "embed",
        "resid",
        lambda function, x, block, n_head: function(
            x, block["ln_1"], block["attn"], block["ln_2"], block["mlp"], n_head
        ),
    ),
)


@exercise.formulation
def transformer_block_in_steps(x, ln_1, attn, ln_2, mlp, n_head):
    normed = norm_in_steps(x, ln_1)
    x = x + self_attention_in_steps(normed, attn["c_attn"], attn["c_proj"], n_head)
    normed = norm_in_steps(x, ln_2)
    return x + feed_forward_in_steps(normed, mlp["c_fc"], mlp["c_proj"])


def norm_in_steps(x, ln):
    mean = x.mean(axis=-1, keepdims=True)
    variance = x.var(axis=-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-5) * ln["weight"] + ln["bias"]


@exercise.mistake(
    "You normalise after each sum, as the transformer of 2017 and GPT-1 did. In GPT-2 the stream itself is never "
    "normalised; attention and MLP get a normalised copy: x + attention(ln_1(x))."
)
def norm_after_the_sum(x, ln_1, attn, ln_2, mlp, n_head):
    x = norm(x + self_attention(x, **attn, n_head=n_head), ln_1)
    return norm(x + feed_forward(x, **mlp), ln_2)


@exercise.mistake(
    "You normalise the outputs of attention and MLP. Normalise their inputs: x + attention(ln_1(x)), x + mlp(ln_2(x))."
)
def norm_of_the_parts(x, ln_1, attn, ln_2, mlp, n_head):
    x = x + norm(self_attention(x, **attn, n_head=n_head), ln_1)
    return x + norm(feed_forward(x, **mlp), ln_2)


@exercise.mistake("There are no layer norms. Attention gets ln_1(x), the MLP gets ln_2(x).")
def norms_forgotten(x, ln_1, attn, ln_2, mlp, n_head):
    x = x + self_attention(x, **attn, n_head=n_head)
    return x + feed_forward(x, **mlp)


@exercise.mistake("You give x itself to attention. Give it ln_1(x).")
def first_norm_forgotten(x, ln_1, attn, ln_2, mlp, n_head):
    x = x + self_attention(x, **attn, n_head=n_head)
    return x + feed_forward(norm(x, ln_2), **mlp)


@exercise.mistake("You give the stream itself to the MLP. Give it ln_2 of the stream.")
def second_norm_forgotten(x, ln_1, attn, ln_2, mlp, n_head):
    x = x + self_attention(norm(x, ln_1), **attn, n_head=n_head)
    return x + feed_forward(x, **mlp)


@exercise.mistake("You exchange the layer norms: ln_1 belongs to attention, ln_2 to the MLP.")
def norms_exchanged(x, ln_1, attn, ln_2, mlp, n_head):
    return transformer_block(x, ln_2, attn, ln_1, mlp, n_head)


@exercise.mistake("You use ln_1 twice. The MLP has its own layer norm, ln_2.")
def first_norm_twice(x, ln_1, attn, ln_2, mlp, n_head):
    return transformer_block(x, ln_1, attn, ln_1, mlp, n_head)


@exercise.mistake("You use ln_2 twice. Attention has its own layer norm, ln_1.")
def second_norm_twice(x, ln_1, attn, ln_2, mlp, n_head):
    return transformer_block(x, ln_2, attn, ln_2, mlp, n_head)


@exercise.mistake("You replace the stream. Attention and MLP add to it: x + attention(ln_1(x)), then x + mlp(ln_2(x)).")
def both_sums_forgotten(x, ln_1, attn, ln_2, mlp, n_head):
    x = self_attention(norm(x, ln_1), **attn, n_head=n_head)
    return feed_forward(norm(x, ln_2), **mlp)


@exercise.mistake("You replace the stream by the output of attention. Add it: x + attention(ln_1(x)).")
def first_sum_forgotten(x, ln_1, attn, ln_2, mlp, n_head):
    x = self_attention(norm(x, ln_1), **attn, n_head=n_head)
    return x + feed_forward(norm(x, ln_2), **mlp)


@exercise.mistake("You return the output of the MLP. Add it to the stream: x + mlp(ln_2(x)).")
def second_sum_forgotten(x, ln_1, attn, ln_2, mlp, n_head):
    x = x + self_attention(norm(x, ln_1), **attn, n_head=n_head)
    return feed_forward(norm(x, ln_2), **mlp)


@exercise.mistake("You add to the normalised stream. Add to x itself; only attention and MLP get a normalised copy.")
def normalised_stream_goes_on(x, ln_1, attn, ln_2, mlp, n_head):
    x = norm(x, ln_1)
    x = norm(x + self_attention(x, **attn, n_head=n_head), ln_2)
    return x + feed_forward(x, **mlp)


@exercise.mistake(
    "Your last sum starts from the original x, so what attention added is lost. Start from the stream after attention."
)
def stream_before_attention_goes_on(x, ln_1, attn, ln_2, mlp, n_head):
    attended = x + self_attention(norm(x, ln_1), **attn, n_head=n_head)
    return x + feed_forward(norm(attended, ln_2), **mlp)


@exercise.mistake(
    "Your MLP gets only what attention added, normalised. Give it the whole stream: ln_2(x + attention(ln_1(x)))."
)
def mlp_reads_attention_alone(x, ln_1, attn, ln_2, mlp, n_head):
    attended = self_attention(norm(x, ln_1), **attn, n_head=n_head)
    return x + attended + feed_forward(norm(attended, ln_2), **mlp)


@exercise.mistake(
    "Your MLP gets the original x, in parallel with attention; some later models do that. In GPT-2 it reads the stream "
    "to which attention has added."
)
def side_by_side(x, ln_1, attn, ln_2, mlp, n_head):
    attended = self_attention(norm(x, ln_1), **attn, n_head=n_head)
    return x + attended + feed_forward(norm(x, ln_2), **mlp)


@exercise.mistake("You apply the MLP first. Attention comes first, then the MLP.")
def mlp_first(x, ln_1, attn, ln_2, mlp, n_head):
    x = x + feed_forward(norm(x, ln_2), **mlp)
    return x + self_attention(norm(x, ln_1), **attn, n_head=n_head)


@exercise.mistake("You add x once more at the end. The stream already contains it.")
def stream_added_twice(x, ln_1, attn, ln_2, mlp, n_head):
    return x + transformer_block(x, ln_1, attn, ln_2, mlp, n_head)


@exercise.mistake("Your tokens see later ones: attention has no causal mask.")
def block_without_mask(x, ln_1, attn, ln_2, mlp, n_head):
    return transformer_block(x, ln_1, attn, ln_2, mlp, n_head, attention=multi_head_without_mask)


@exercise.mistake(
    "The softmax of your attention takes exp of scores as they are, which is inf for large ones, and inf / inf is NaN. "
    "Subtract each row's maximum first."
)
def block_overflows(x, ln_1, attn, ln_2, mlp, n_head):
    return transformer_block(x, ln_1, attn, ln_2, mlp, n_head, attention=multi_head_overflows)


@exercise.mistake("You attend once over the whole width. There are n_head heads of K = D / n_head numbers.")
def block_with_one_head(x, ln_1, attn, ln_2, mlp, n_head):
    return transformer_block(x, ln_1, attn, ln_2, mlp, 1)


@exercise.mistake(
    "Your layer norms have no eps. Without it a constant vector gives 0 / 0 = NaN. It is 1e-5, added to the variance."
)
def block_without_eps(x, ln_1, attn, ln_2, mlp, n_head):
    return transformer_block(x, ln_1, attn, ln_2, mlp, n_head, eps=0)


@exercise.mistake("The eps of your layer norms is 1e-6. GPT-2 was trained with 1e-5.")
def block_with_eps_of_1e_6(x, ln_1, attn, ln_2, mlp, n_head):
    return transformer_block(x, ln_1, attn, ln_2, mlp, n_head, eps=1e-6)


@exercise.mistake("The eps of your layer norms is 1e-8. GPT-2 was trained with 1e-5.")
def block_with_eps_of_1e_8(x, ln_1, attn, ln_2, mlp, n_head):
    return transformer_block(x, ln_1, attn, ln_2, mlp, n_head, eps=1e-8)


@exercise.mistake("The eps of your layer norms is 1e-12. GPT-2 was trained with 1e-5.")
def block_with_eps_of_1e_12(x, ln_1, attn, ln_2, mlp, n_head):
    return transformer_block(x, ln_1, attn, ln_2, mlp, n_head, eps=1e-12)


@exercise.mistake("Your MLP has a ReLU. GPT-2 has GELU there.")
def block_with_relu(x, ln_1, attn, ln_2, mlp, n_head):
    return transformer_block(x, ln_1, attn, ln_2, mlp, n_head, activation=plain.relu)


@exercise.mistake("Your GELU is the formula with erf. GPT-2 was trained with the formula with tanh.")
def block_with_erf(x, ln_1, attn, ln_2, mlp, n_head):
    return transformer_block(x, ln_1, attn, ln_2, mlp, n_head, activation=plain.gelu)
