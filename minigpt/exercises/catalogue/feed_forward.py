"""Exercise feed_forward, notebook 04: the MLP."""

import numpy as np
from hypothesis import strategies as st

from minigpt.exercises.catalogue.gelu import gelu, gelu_by_sigmoid
from minigpt.exercises.drawing import arrays, generators, random_linear, sizes, whole_numbers
from minigpt.exercises.exercise import Exercise, Probe
from minigpt.exercises.placing import part_of_blocks
from minigpt.ops import plain


def feed_forward(x, c_fc, c_proj, activation=plain.gelu_new):
    """c_proj(gelu(c_fc(x))). The last parameter is for the known mistakes."""
    return plain.linear(activation(plain.linear(x, **c_fc)), **c_proj)


@st.composite
def streams_and_layers(draw, far_right=False, projected=True):
    """Draw x [B, T, D], c_fc and c_proj.

    far_right: everything is so far above 0 that GELU changes nothing. projected=False: c_proj is the identity.
    """
    B, T, D, F = draw(st.tuples(sizes(1, 2), sizes(1, 3), sizes(), sizes(1, 5)))
    F = F if projected else D
    rng = draw(generators())
    x, c_fc = draw(arrays(B, T, D, elements=whole_numbers(-2, 2))), random_linear(rng, D, F)
    if far_right:
        x, c_fc["weight"] = np.abs(x), np.abs(c_fc["weight"])
        c_fc["bias"] += draw(st.sampled_from([24, 40]))
    c_proj = random_linear(rng, F, D) if projected else {"weight": np.eye(D), "bias": np.zeros(D)}
    return x, c_fc, c_proj


@st.composite
def enlarged_activations(draw):
    """Draw x where the formulas of GELU differ most; c_fc changes nothing, and c_proj multiplies by 64."""
    B, T, D = draw(st.tuples(sizes(1, 2), sizes(1, 3), sizes()))
    c_fc, c_proj = ({"weight": factor * np.eye(D), "bias": np.zeros(D)} for factor in (1.0, 64.0))
    return draw(arrays(B, T, D, elements=st.integers(-20, -12).map(lambda n: n / 8))), c_fc, c_proj


exercise = Exercise(
    name="feed_forward",
    notebook="04_block",
    order=4,
    signature="feed_forward(x, c_fc, c_proj)",
    task="gelu(x W_fc + b_fc) W_proj + b_proj, for each token by itself. c_fc has weight [D, F] and bias [F], c_proj "
    "has weight [F, D] and bias [D], both as dicts. x [B, T, D] -> [B, T, D].",
    reference=feed_forward,
    probes=(
        Probe(
            "Everything inside the GELU is far above 0, where it changes nothing. So this is about the two linear "
            "layers and their biases.",
            streams_and_layers(far_right=True),
        ),
        Probe(
            "c_proj changes nothing here, so the result must be gelu(x W_fc + b_fc). Where GELU had no effect, all was "
            "right: look at which function you use, and that it comes after the first layer.",
            streams_and_layers(projected=False),
        ),
        Probe(
            "c_fc changes nothing here, and c_proj multiplies by 64: the result must be 64 gelu(x). That makes a "
            "small difference in the formula of GELU visible: look at its numbers.",
            enlarged_activations(),
        ),
        Probe("Inputs of all kinds, drawn at random.", streams_and_layers()),
    ),
    uses=("minigpt.ops.plain.linear", "minigpt.ops.plain.gelu_new"),
    in_model=part_of_blocks(
        lambda layer: f"h.{layer}.ln_2",
        "mlp.out",
        lambda function, x, block, n_head: function(x, block["mlp"]["c_fc"], block["mlp"]["c_proj"]),
    ),
)


@exercise.formulation
def feed_forward_in_steps(x, c_fc, c_proj):
    pre = x @ c_fc["weight"] + c_fc["bias"]
    act = gelu(pre)
    return act @ c_proj["weight"] + c_proj["bias"]


@exercise.mistake("The function between your layers is a ReLU. GPT-2 has GELU there.")
def mlp_with_relu(x, c_fc, c_proj):
    return feed_forward(x, c_fc, c_proj, plain.relu)


@exercise.mistake("Your GELU is the formula with erf. GPT-2 was trained with the formula with tanh (gelu_new).")
def mlp_with_erf(x, c_fc, c_proj):
    return feed_forward(x, c_fc, c_proj, plain.gelu)


@exercise.mistake("Your GELU is x sigmoid(1.702 x). GPT-2 has the formula with tanh.")
def mlp_with_sigmoid(x, c_fc, c_proj):
    return feed_forward(x, c_fc, c_proj, gelu_by_sigmoid)


@exercise.mistake("The function between your layers is tanh alone. Use GELU, which has a tanh inside.")
def mlp_with_tanh_alone(x, c_fc, c_proj):
    return feed_forward(x, c_fc, c_proj, np.tanh)


@exercise.mistake("There is no GELU between your two layers. Without it the two linear layers are equivalent to one.")
def mlp_without_activation(x, c_fc, c_proj):
    return plain.linear(plain.linear(x, **c_fc), **c_proj)


@exercise.mistake("You apply GELU after the second layer. Apply it between the two.")
def activation_at_the_end(x, c_fc, c_proj):
    return plain.gelu_new(plain.linear(plain.linear(x, **c_fc), **c_proj))


@exercise.mistake("You apply GELU after the second layer, too. Apply it only between the two.")
def activation_twice(x, c_fc, c_proj):
    return plain.gelu_new(feed_forward(x, c_fc, c_proj))


@exercise.mistake("You apply GELU to x, before the first layer. Apply it between the two.")
def activation_first(x, c_fc, c_proj):
    return plain.linear(plain.linear(plain.gelu_new(x), **c_fc), **c_proj)


@exercise.mistake("The bias of c_fc is missing: gelu(x W_fc + b_fc).")
def bias_of_c_fc_forgotten(x, c_fc, c_proj):
    return feed_forward(x, {"weight": c_fc["weight"]}, c_proj)


@exercise.mistake("You add the bias of c_fc after the GELU. It belongs inside: gelu(x W_fc + b_fc).")
def bias_of_c_fc_after_activation(x, c_fc, c_proj):
    return plain.linear(plain.gelu_new(x @ c_fc["weight"]) + c_fc["bias"], **c_proj)


@exercise.mistake("The bias of c_proj is missing, the last term of the formula.")
def bias_of_c_proj_forgotten(x, c_fc, c_proj):
    return feed_forward(x, c_fc, {"weight": c_proj["weight"]})


@exercise.mistake("Both biases are missing. A linear layer is x weight + bias.")
def biases_forgotten(x, c_fc, c_proj):
    return feed_forward(x, {"weight": c_fc["weight"]}, {"weight": c_proj["weight"]})


@exercise.mistake("You add x to the result. The transformer block does that, outside this function.")
def stream_added_to_mlp(x, c_fc, c_proj):
    return x + feed_forward(x, c_fc, c_proj)
