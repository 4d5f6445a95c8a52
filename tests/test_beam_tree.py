"""The tree against a beam search that goes through every continuation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from letter_models import letter_model, letter_tokenizer, random_text

from minigpt.generation.sampling import log_softmax
from minigpt.looking import beam_tree
from minigpt.looking.labels import token_label


@given(st.integers(2, 4), st.integers(1, 4), st.integers(0, 10**6), st.booleans())
def test_a_beam_tree_is_the_beam_search(num_beams, steps, seed, has_end):
    """The expected nodes come from trying every continuation at every step, without a cache."""
    model = letter_model(vocab_size=12, eos_token_id=4 if has_end else None, bos_token_id=None)
    tokenizer, text = letter_tokenizer(model), random_text(model, 3, seed)
    ids = tokenizer.encode(text)
    tree = beam_tree(model, tokenizer, text, num_beams, steps)
    result = model.generate(ids, num_beams=num_beams, max_new_tokens=steps)[0, 3:].tolist()
    assert [tree.nodes[i].ids[-1] for i in tree.best] == result == list(tree.nodes[tree.best[-1]].ids)
    assert tree.text == tokenizer.decode(result) and tree.nodes[tree.best[-1]].state == "finished"

    kept, score = [()], {(): 0.0}
    for step in range(1, max(node.step for node in tree.nodes) + 1):
        nodes = [node for node in tree.nodes if node.step == step]
        every = {}
        for beam in kept:
            logprobs = log_softmax(model([*ids, *beam])[-1])
            every |= {(*beam, token): (score[beam] + logprob, logprob) for token, logprob in enumerate(logprobs)}
        ranked = sorted(every, key=lambda new: -every[new][0])
        assert [node.ids for node in nodes] == ranked[: len(nodes)] and len(nodes) >= num_beams
        ends = {new for new in every if (has_end and new[-1] == 4) or step == steps}
        kept = [new for new in ranked if new not in ends][:num_beams]
        for rank, node in enumerate(nodes):
            assert np.allclose((node.score, node.logprob), every[node.ids], rtol=0, atol=1e-9)
            assert node.token == tokenizer.decode(node.ids[-1:])
            assert (tree.nodes[node.parent].ids if node.parent is not None else ()) == node.ids[:-1]
            finished = node.ids in ends and rank < num_beams
            assert node.state == ("kept" if node.ids in kept else "finished" if finished else "dropped")
        score = {new: every[new][0] for new in every}


def test_no_lines_of_a_beam_tree_cross(bundled):
    tree = beam_tree(*bundled, "Once upon a time there was a", num_beams=4, steps=6)
    heights = tree.heights()
    for step in range(1, 7):
        row = sorted((i for i, node in enumerate(tree.nodes) if node.step == step), key=heights.get)
        parents = [heights[tree.nodes[i].parent] for i in row]
        assert parents == sorted(parents) and len({heights[i] for i in row}) == len(row)
    (axes,) = tree.plot().axes
    written = {text.get_text() for text in axes.texts}
    assert f"{token_label(tree.nodes[0].token)}  {np.exp(tree.nodes[0].logprob):.2f}" in written
    assert len(axes.texts) == len(tree.nodes) + 1 and len(axes.lines) == len(tree.nodes)


def test_arguments_that_are_not_a_beam_search(bundled):
    for options in ({"num_beams": 1}, {"num_beams": 2.0}, {"steps": 0}):
        with pytest.raises(ValueError, match=f"{next(iter(options))} must be an integer, at least"):
            beam_tree(*bundled, "Once", **options)
    with pytest.raises(ValueError, match="watch is for beam search"):
        bundled[0].generate([1], watch=print)
