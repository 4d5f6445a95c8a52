"""Exercise gpt2, notebook 05: the whole model."""

from functools import partial

import numpy as np
from hypothesis import strategies as st

from minigpt.exercises.catalogue.embeddings import texts
from minigpt.exercises.catalogue.transformer_block import (
    HEADS,
    norm,
    norm_in_steps,
    random_block,
    random_norm,
    transformer_block,
    transformer_block_in_steps,
    with_sharp_attention,
)
from minigpt.exercises.catalogue.transformer_block import exercise as block_exercise
from minigpt.exercises.drawing import (
    generators,
    halves,
    large_input,
    sizes,
    where_eps_does_not_count,
    where_float32_is_enough,
)
from minigpt.exercises.exercise import Exercise, Probe
from minigpt.exercises.placing import require_shape
from minigpt.ops import plain


def gpt2(ids, params, n_head, eps=1e-5):
    """Embeddings, every block, ln_f, and wte again as the head. Another eps is for the known mistakes."""
    block = partial(transformer_block, eps=eps)
    return read_out(through_blocks(embedded(ids, params), params, n_head, block), params, eps)


def embedded(ids, params):
    """Return the embeddings [T, D]."""
    return params["wte"]["weight"][ids] + params["wpe"]["weight"][: len(ids)]


def through_blocks(x, params, n_head, block=transformer_block):
    """Return the stream after all blocks. block: the function that each of them is."""
    for parameters in params["h"]:
        x = block(x[None], **parameters, n_head=n_head)[0]
    return x


def read_out(x, params, eps=1e-5):
    """Return the logits."""
    return norm(x, params["ln_f"], eps) @ params["wte"]["weight"].T


@st.composite
def texts_and_models(
    draw, T=sizes(), n_layer=st.integers(0, 3), positions=True, tiny=False, sharp=False, full=st.just(False)
):
    """Draw ids [T], params and n_head. Without positions wpe is 0. tiny: eps counts in the embeddings' layer norm."""
    (ids, V, P), (H, K), F, rng = draw(texts(T, full)), draw(HEADS), draw(sizes(1, 2)), draw(generators())
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
    """Return a large input."""
    params = {
        "wte": {"weight": halves(rng, -4, 4, 30, 8)},
        "wpe": {"weight": halves(rng, -2, 2, 32, 8)},
        "h": [random_block(rng, 8, 12)],
        "ln_f": random_norm(rng, 8),
    }
    return rng.integers(0, 30, 16), params, 2


def sound_inputs(**options):
    """Return a strategy for models for which a solution in single precision is right too."""
    return where_float32_is_enough(gpt2, texts_and_models(**options))


def gpt2_in_model(model, function):
    """Put the function in the place of the whole forward pass."""
    V = len(model.params["wte"]["weight"])
    return lambda ids, trace: require_shape(function(ids, model.params, model.config.n_head), (len(ids), V))


exercise = Exercise(
    name="gpt2",
    notebook="05_gpt2",
    order=1,
    signature="gpt2(ids, params, n_head)",
    task="x = wte[ids] + wpe[0..T-1]; then every block of params['h'] in order; then ln_f (eps 1e-5); logits = x "
    "wte^T. params is a dict of wte (weight [V, D]), wpe (weight [P, D]), h (a list of any number of blocks), ln_f. "
    "ids [T] of integers -> logits [T, V].",
    reference=gpt2,
    probes=(
        Probe(
            "There are no blocks, and all position vectors are 0. What is left: token vectors, the last layer norm "
            "ln_f, and the head, whose weight is wte again, transposed.",
            where_eps_does_not_count(gpt2, partial(gpt2, eps=0), sound_inputs(n_layer=st.just(0), positions=False)),
        ),
        Probe(
            "There are no blocks, and the token vectors are so small that eps counts in ln_f: eps is 1e-5, added to "
            "the variance.",
            sound_inputs(n_layer=st.just(0), positions=False, tiny=True),
        ),
        Probe(
            "There are no blocks. Without positions all was right: position t has the vector wpe[t], counted from 0, "
            "which is added to that of the token.",
            sound_inputs(n_layer=st.just(0)),
        ),
        Probe(
            "One block and one token. Embeddings and head were right, so look at the block.",
            sound_inputs(T=st.just(1), n_layer=st.just(1)),
        ),
        Probe(
            "One block and several tokens. With one token all was right, so look at the attention between tokens, its "
            "mask and its heads.",
            sound_inputs(T=sizes(2, 3), n_layer=st.just(1)),
        ),
        Probe(
            "One block, in which q and k are large and scores hundreds apart. The softmax must subtract the maximum of "
            "each row before exp, and a score hidden with -100 can be above a visible one: hide with -inf.",
            sound_inputs(T=sizes(2, 3), n_layer=st.just(1), sharp=True),
        ),
        Probe(
            "Two blocks. With one all was right: each has its own parameters, and the second gets the result of the "
            "first.",
            sound_inputs(T=sizes(1, 3), n_layer=st.just(2)),
        ),
        Probe(
            "Models and texts of all kinds, drawn at random.",
            sound_inputs(full=st.booleans()),
        ),
        large_input(large_text_and_model),
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
    in_model=gpt2_in_model,
)


@exercise.formulation
def gpt2_in_steps(ids, params, n_head):
    wte = params["wte"]["weight"]
    wpe = params["wpe"]["weight"]
    x = wte[ids] + wpe[: len(ids)]
    for block in params["h"]:
        x = block_in_steps(x, block, n_head)
    x = norm_in_steps(x, params["ln_f"])
    return x @ wte.swapaxes(-1, -2)


def block_in_steps(x, block, n_head):
    return transformer_block_in_steps(x[None], **block, n_head=n_head)[0]


@exercise.mistake("The last layer norm is missing: apply ln_f between the last block and the head.")
def last_norm_forgotten(ids, params, n_head):
    return through_blocks(embedded(ids, params), params, n_head) @ params["wte"]["weight"].T


@exercise.mistake("You apply ln_f before the blocks. Apply it after the last one, before the head.")
def last_norm_before_blocks(ids, params, n_head):
    x = norm(embedded(ids, params), params["ln_f"])
    return through_blocks(x, params, n_head) @ params["wte"]["weight"].T


@exercise.mistake("You apply ln_f after every block. Apply it once, after the last one.")
def norm_after_every_block(ids, params, n_head):
    x = embedded(ids, params)
    for block in params["h"]:
        x = norm(transformer_block(x[None], **block, n_head=n_head)[0], params["ln_f"])
    return x @ params["wte"]["weight"].T


@exercise.mistake("The vectors of the positions are missing: x = wte[ids] + wpe[0..T-1].")
def positions_forgotten(ids, params, n_head):
    return read_out(through_blocks(params["wte"]["weight"][ids], params, n_head), params)


def with_positions(ids, params, n_head, positions):
    """Return the logits with other positions than 0 to T - 1."""
    x = params["wte"]["weight"][ids] + params["wpe"]["weight"][positions]
    return read_out(through_blocks(x, params, n_head), params)


@exercise.mistake("You count positions from 1. The first token has position 0: wpe[0].")
def model_positions_from_1(ids, params, n_head):
    return with_positions(ids, params, n_head, np.arange(1, len(ids) + 1))


@exercise.mistake(
    "You look up wpe with the ids of the tokens. The vector of a position depends on the place t alone: wpe[t]."
)
def model_positions_by_ids(ids, params, n_head):
    return with_positions(ids, params, n_head, ids)


@exercise.mistake("You give every token the vector of position 0. The token at place t gets wpe[t].")
def model_first_position_for_all(ids, params, n_head):
    return with_positions(ids, params, n_head, 0)


@exercise.mistake(
    "You use wte as the head without transposing it. A token's logit is the product of the stream with that token's "
    "row: x wte^T."
)
def head_not_transposed(ids, params, n_head):
    return norm(through_blocks(embedded(ids, params), params, n_head), params["ln_f"]) @ params["wte"]["weight"]


@exercise.mistake("You return the stream after ln_f. The head is missing: logits = x wte^T.")
def vectors_returned(ids, params, n_head):
    return norm(through_blocks(embedded(ids, params), params, n_head), params["ln_f"])


@exercise.mistake("Your blocks have no effect on the result. Each block takes x and returns the next x.")
def no_block(ids, params, n_head):
    return gpt2(ids, {**params, "h": []}, n_head)


@exercise.mistake("Only your first block has an effect. Every block gets the result of the one before.")
def first_block_only(ids, params, n_head):
    return gpt2(ids, {**params, "h": params["h"][:1]}, n_head)


@exercise.mistake(
    "Only your last block has an effect, because each of your blocks starts from the embeddings. Every block gets the "
    "result of the one before."
)
def last_block_only(ids, params, n_head):
    return gpt2(ids, {**params, "h": params["h"][-1:]}, n_head)


@exercise.mistake("Your last block has no effect. Run all blocks of params['h'].")
def last_block_forgotten(ids, params, n_head):
    return gpt2(ids, {**params, "h": params["h"][:-1]}, n_head)


@exercise.mistake("All your blocks have the parameters of the first one. Block i has those of params['h'][i].")
def first_block_for_all(ids, params, n_head):
    return gpt2(ids, {**params, "h": params["h"][:1] * len(params["h"])}, n_head)


@exercise.mistake("You run the blocks from the last to the first. Begin with the first.")
def blocks_from_the_last(ids, params, n_head):
    return gpt2(ids, {**params, "h": params["h"][::-1]}, n_head)


@exercise.mistake("You return probabilities. Logits come before the softmax: x wte^T.")
def probabilities(ids, params, n_head):
    return plain.softmax(gpt2(ids, params, n_head))


@exercise.mistake("You return logarithms of probabilities. Logits come before that: x wte^T.")
def logprobs(ids, params, n_head):
    return np.log(plain.softmax(gpt2(ids, params, n_head)))


@exercise.mistake("You return only the logits of the last token. Return those of every token: [T, V].")
def last_token_only(ids, params, n_head):
    return gpt2(ids, params, n_head)[-1]


@exercise.mistake("You return a batch of one text, [1, T, V]. Return [T, V].")
def batch_of_one(ids, params, n_head):
    return gpt2(ids, params, n_head)[None]


@exercise.mistake(
    "Your layer norms have no eps. Without it a constant vector gives 0 / 0 = NaN. It is 1e-5, added to the variance."
)
def model_without_eps(ids, params, n_head):
    return gpt2(ids, params, n_head, eps=0)


@exercise.mistake("The eps of your layer norms is 1e-6. GPT-2 was trained with 1e-5.")
def model_with_eps_of_1e_6(ids, params, n_head):
    return gpt2(ids, params, n_head, eps=1e-6)


@exercise.mistake("The eps of your layer norms is 1e-8. GPT-2 was trained with 1e-5.")
def model_with_eps_of_1e_8(ids, params, n_head):
    return gpt2(ids, params, n_head, eps=1e-8)


@exercise.mistake("The eps of your layer norms is 1e-12. GPT-2 was trained with 1e-5.")
def model_with_eps_of_1e_12(ids, params, n_head):
    return gpt2(ids, params, n_head, eps=1e-12)


def with_block(block):
    """Return a model whose blocks are those of a wrong solution of transformer_block."""

    def model(ids, params, n_head):
        return read_out(through_blocks(embedded(ids, params), params, n_head, block), params)

    return model


for known in block_exercise.mistakes:
    if "eps" not in known.hint:  # one eps is for the whole model, above
        exercise.mistake(f"In your blocks: {known.hint}")(with_block(known.function))
