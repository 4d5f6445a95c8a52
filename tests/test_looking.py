"""Looking inside: what is shown is what the model does, by other ways to compute it."""

import io
import json
import string
import subprocess
import sys
from functools import partial
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from reference import assert_close, configs, lively_model, models, random_ids

import minigpt
from minigpt import GPT2, ContextLengthError, GPT2Config, Tokenizer
from minigpt.bundled import DEFAULT_MODEL
from minigpt.generation.sampling import log_softmax
from minigpt.looking import ablate_heads, attention_maps, beam_tree, logit_lens, loss_curves, patch, show
from minigpt.looking.patching import put
from minigpt.looking.pixels import as_characters, as_png, pooled
from minigpt.looking.source import source
from minigpt.looking.tokens import readable
from minigpt.model import transformer_block
from minigpt.ops import plain
from minigpt.ops.jit.layer_norm import layer_norm_kernel
from minigpt.params import flatten
from minigpt.run import Run
from minigpt.trace import activation_names

ROOT = Path(__file__).parents[1]
LETTERS = string.ascii_letters + string.digits
TEXT = "Once upon a time there was a clever girl named Alice.\n"


@pytest.fixture(scope="module")
def stories():
    return GPT2.from_pretrained(DEFAULT_MODEL), Tokenizer.from_pretrained(DEFAULT_MODEL)


def letters_of(model):
    """A tokenizer for a random model: a letter a token."""
    return Tokenizer.of_characters(LETTERS[: model.config.vocab_size])


def random_text(model, length, seed=0):
    return letters_of(model).decode(random_ids(model, length, seed))


def model_of_letters(**options):
    config = GPT2Config(**{"n_layer": 3, "n_head": 2, "n_embd": 8, "vocab_size": 30, "n_positions": 16} | options)
    return lively_model(config, seed=3)


def labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


# ---------------------------------------------------------------- attention maps


@given(models(), st.integers(1, 16))
def test_attention_maps_are_the_weights_of_every_head(model, length):
    tokenizer, text = letters_of(model), random_text(model, length)
    maps = attention_maps(model, tokenizer, text)
    config, trace = model.config, {}
    model(tokenizer.encode(text), trace=trace)
    assert maps.tokens == list(text)
    assert maps.weights.shape == (config.n_layer, config.n_head, length, length)
    for layer in range(config.n_layer):
        assert np.array_equal(maps.weights[layer], trace[f"h.{layer}.attn.weights"][0])
    assert np.allclose(maps.weights.sum(axis=-1), 1, rtol=0, atol=1e-12) and not np.triu(maps.weights, 1).any()


def test_attention_maps_are_drawn_of_all_heads_of_a_block_and_of_one(stories):
    maps = attention_maps(*stories, TEXT)
    L, H, _, _ = maps.weights.shape
    every = maps.plot().axes
    assert len(every) == L * H
    assert np.array_equal(every[H + 2].images[0].get_array(), maps.weights[1, 2])
    block = [axes for axes in maps.plot(layer=2).axes if axes.axison]
    assert [axes.get_title() for axes in block] == [f"block 2, head {head}" for head in range(H)]
    (one,) = maps.plot(layer=np.int64(1), head=3).axes
    assert np.array_equal(one.images[0].get_array(), maps.weights[1, 3])
    expected = [readable(token) for token in maps.tokens]
    assert labels(one.xaxis) == labels(one.yaxis) == expected
    assert expected[:2] == ["Once", "␣upon"] and expected[-1] == "↵"
    assert readable("\x1b[2J\r\n\ta\r") == "␛[2J↵⇥a␍"  # no terminal obeys it


@pytest.mark.parametrize(("place", "sentence"), [
    ({"layer": 4}, "layer must be from 0 to 3, not 4"),
    ({"layer": -1}, "layer must be from 0 to 3, not -1"),
    ({"layer": 0, "head": 4}, "head must be from 0 to 3, not 4"),
    ({"head": 1}, "head needs a layer"),
])  # fmt: skip
def test_maps_that_are_not_there(stories, place, sentence):
    with pytest.raises(ValueError, match=sentence):
        attention_maps(*stories, "Once").plot(**place)


def test_an_attention_without_a_tap_has_no_maps(stories):
    model, tokenizer = stories
    with pytest.raises(ValueError, match="does not tap its weights"):
        attention_maps(model.with_ops(attention=lambda q, k, v: v), tokenizer, "Once")


def test_a_dollar_is_no_formula():
    tokenizer = Tokenizer.of_characters("$x_")
    figure = attention_maps(model_of_letters(vocab_size=3), tokenizer, "$x_$").plot(0, 0)
    assert labels(figure.axes[0].xaxis) == list("$x_$")
    assert not any(label.get_parse_math() for label in figure.axes[0].get_xticklabels())


def test_many_tokens_share_few_labels(stories):
    (one,) = attention_maps(*stories, TEXT * 6).plot(0, 0).axes
    assert 10 < len(labels(one.xaxis)) <= 60 < one.images[0].get_array().shape[0]


# ---------------------------------------------------------------- logit lens


@given(models(), st.integers(1, 12))
def test_the_lens_is_layer_norm_and_head_of_every_stream(model, length):
    tokenizer, text = letters_of(model), random_text(model, length)
    lens = logit_lens(model, tokenizer, text)
    trace = {}
    logits = model(tokenizer.encode(text), trace=trace)
    assert np.array_equal(lens.logits[-1], logits)
    params = model.params
    head = params.get("lm_head", params["wte"])["weight"]
    streams = [trace["embed"], *(trace[f"h.{layer}.resid"] for layer in range(model.config.n_layer))]
    assert len(lens.logits) == len(streams)
    for row, x in zip(lens.logits, streams, strict=True):
        expected = plain.layer_norm(x[0], **params["ln_f"], eps=model.config.layer_norm_epsilon) @ head.T
        assert_close(row, expected, 1e-12)


@pytest.mark.parametrize("kind", ["plain", "jit"])
def test_the_lens_ends_exactly_with_the_logits_of_the_bundled_model(kind, stories):
    model, tokenizer = GPT2.from_pretrained(DEFAULT_MODEL, ops=kind), stories[1]
    trace = {}
    model(tokenizer.encode(TEXT), trace=trace)
    assert np.array_equal(logit_lens(model, tokenizer, TEXT).logits[-1], trace["logits"][0])


def test_the_lens_names_the_most_probable_tokens(stories):
    model, tokenizer = stories
    lens = logit_lens(model, tokenizer, TEXT)
    for row, best in zip(lens.logits, lens.top(3), strict=True):
        probs = plain.softmax(row[-1])
        ids = np.argsort(-probs)[:3]
        assert best == [(tokenizer.decode([i]), float(probs[i])) for i in ids]
    assert lens.top(2, position=0)[0] == [(tokenizer.decode([i]), p) for i, p in two_best(lens.logits[0, 0])]
    axes = lens.plot(last=4).axes[0]
    assert labels(axes.xaxis) == [readable(token) for token in lens.tokens[-4:]]
    written = [text.get_text() for text in axes.texts]
    assert written[-1] == readable(lens.top()[-1][0][0])[:10] and len(written) == 4 * len(lens.logits)


def two_best(logits):
    probs = plain.softmax(logits)
    return [(i, float(probs[i])) for i in np.argsort(-probs)[:2]]


# ---------------------------------------------------------------- ablation


@given(models(), st.integers(1, 8), st.data())
def test_an_ablated_head_is_one_whose_rows_of_c_proj_are_0(model, length, data):
    tokenizer, text = letters_of(model), random_text(model, length)
    ids, config = tokenizer.encode(text), model.config
    answer = data.draw(st.sampled_from(LETTERS[: config.vocab_size]))
    ablation = ablate_heads(model, tokenizer, text, answer)

    def logprob():
        return log_softmax(model(ids)[-1])[tokenizer.token_id(answer)]

    before = logprob()
    assert ablation.effect.shape == (config.n_layer, config.n_head)
    assert abs(ablation.logprob - before) < 1e-9
    layer, head = data.draw(st.integers(0, config.n_layer - 1)), data.draw(st.integers(0, config.n_head - 1))
    K = config.head_size
    model.params["h"][layer]["attn"]["c_proj"]["weight"][head * K : (head + 1) * K] = 0
    assert abs(ablation.effect[layer, head] - (logprob() - before)) < 1e-9 * max(1, abs(before))


def test_ablation_is_drawn(stories):
    ablation = ablate_heads(*stories, TEXT, "She")
    axes = ablation.plot().axes[0]
    assert np.array_equal(axes.images[0].get_array(), ablation.effect)
    assert axes.texts[5].get_text() == f"{ablation.effect[1, 1]:.2f}"


# ---------------------------------------------------------------- patching


@given(models(), st.integers(2, 7), st.data())
def test_patching_puts_the_clean_stream_in_and_goes_on(model, length, data):
    """Against the blocks themselves, run by hand from the place of the patch on."""
    tokenizer, config = letters_of(model), model.config
    clean, corrupted = random_text(model, length, 0), random_text(model, length, 1)
    traces = {clean: {}, corrupted: {}}
    for text, trace in traces.items():
        model(tokenizer.encode(text), trace=trace)
    at_clean, at_corrupted = (
        traces[text]["logits"][0, -1, 2] - traces[text]["logits"][0, -1, 5] for text in (clean, corrupted)
    )
    assume(at_clean != at_corrupted)
    result = patch(model, tokenizer, clean, corrupted, *map(tokenizer.decode, ([2], [5])))
    assert result.effect.shape == (config.n_layer, length)
    assert (result.clean_difference, result.corrupted_difference) == (at_clean, at_corrupted)
    assert np.array_equal(result.effect, (result.difference - at_corrupted) / (at_clean - at_corrupted))

    layer, t = data.draw(st.integers(0, config.n_layer - 1)), data.draw(st.integers(0, length - 1))
    x = traces[corrupted][f"h.{layer}.resid"].copy()
    x[0, t] = traces[clean][f"h.{layer}.resid"][0, t]
    for i in range(layer + 1, config.n_layer):
        x = transformer_block(x, **model.params["h"][i], run=Run(config).in_block(i))
    x = plain.layer_norm(x[0, -1], **model.params["ln_f"], eps=config.layer_norm_epsilon)
    logits = model.params.get("lm_head", model.params["wte"])["weight"] @ x
    assert abs(result.difference[layer, t] - (logits[2] - logits[5])) < 1e-9 * np.abs(logits).max()


@given(configs(), st.integers(0, 10**6), st.data())
def test_patching_a_run_with_its_own_value_changes_nothing(config, seed, data):
    """Not even the last bit, in either precision."""
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    model = lively_model(config, seed, dtype)
    ids, trace = random_ids(model, 6, seed), {}
    logits = model(ids, trace=trace)
    name = data.draw(st.sampled_from(activation_names(config.n_layer)))
    position = data.draw(st.integers(0, 5) | st.just(slice(None)))
    assert np.array_equal(model(ids, edit={name: put(trace[name], position)}), logits)


PATCHABLE = [name.removeprefix("h.0.") for name in activation_names(1) if name.startswith("h.0.")]


@pytest.mark.parametrize("activation", PATCHABLE)
def test_before_the_first_difference_there_is_nothing_to_patch(activation, stories):
    """There the two runs have the same values: an effect of exactly 0. And the first difference has one."""
    corrupted = TEXT.replace("girl", "boy")
    result = patch(*stories, TEXT, corrupted, "She", "He", activation)
    first = result.clean_tokens.index(" girl")
    assert not result.effect[:, :first].any() and np.abs(result.effect[0, first:]).max() > 1e-5
    assert result.clean_difference > 0 > result.corrupted_difference


@given(models(), st.integers(2, 7), st.integers(0, 10**6))
def test_the_whole_clean_stream_of_any_block_gives_the_clean_logits(model, length, seed):
    clean, corrupted = random_ids(model, length, seed), random_ids(model, length, seed + 1)
    trace = {}
    logits = model(clean, trace=trace)
    for layer in range(model.config.n_layer):
        name = f"h.{layer}.resid"
        assert np.array_equal(model(corrupted, edit={name: put(trace[name], slice(None))}), logits)


def test_the_last_stream_of_the_last_token_is_all_that_the_answer_hangs_on(stories):
    result = patch(*stories, TEXT, TEXT.replace("girl", "boy"), "She", "He")
    assert result.effect[-1, -1] == 1 and result.difference[-1, -1] == result.clean_difference
    assert not result.effect[-1, :-1].any()
    axes = result.plot().axes[0]
    assert np.array_equal(axes.images[0].get_array(), result.effect)
    assert "␣girl/␣boy" in labels(axes.xaxis) and "␣Alice" in labels(axes.xaxis)
    assert labels(axes.yaxis) == [f"h.{layer}.resid" for layer in range(4)]


def test_what_cannot_be_patched(stories):
    clean = "Once upon a time there was a girl"
    for others, sentence in (
        ((clean, f"{clean}.", "She", "He"), r"clean has \d+ tokens, corrupted \d+"),
        ((clean, clean, "She", "He"), "clean and corrupted have the same difference"),
        ((clean, clean, "She ran", "He"), "answer must be one token, but 'She ran' is 2: 'She', ' ran'"),
        ((clean, clean, "She", ""), "wrong must be one token, but '' is 0: nothing$"),
        ((clean, clean, "She", "She"), "answer and wrong are the same token"),
        ((clean, clean, "aunt", "He"), "answer must be one token.*; ' aunt', with the space before it, is one"),
        ((clean, clean, "She", "He", "residual"), "activation must be one of a block's, ln_1, attn.q.*not 'residual'"),
        (("", "", "She", "He"), "the text is empty"),
    ):
        with pytest.raises(ValueError, match=sentence):
            patch(*stories, *others)


@pytest.mark.parametrize("look", [
    attention_maps,
    logit_lens,
    partial(ablate_heads, answer="She"),
    partial(patch, corrupted=TEXT * 30, answer="She", wrong="He"),
    beam_tree,
    lambda model, tokenizer, text: minigpt.step(model, text, tokenizer),
])  # fmt: skip
def test_no_text_and_too_long_a_text(look, stories):
    with pytest.raises(ValueError, match="the text is empty"):
        look(*stories, "")
    with pytest.raises(ContextLengthError, match="256 positions"):
        look(*stories, TEXT * 30)


# ---------------------------------------------------------------- beams


@given(st.integers(2, 4), st.integers(1, 4), st.integers(0, 10**6), st.booleans())
def test_a_beam_tree_is_the_beam_search(num_beams, steps, seed, has_end):
    """By going through every continuation at every step, without a cache."""
    model = model_of_letters(vocab_size=12, eos_token_id=4 if has_end else None, bos_token_id=None)
    tokenizer, text = letters_of(model), random_text(model, 3, seed)
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


def test_no_lines_of_a_beam_tree_cross(stories):
    tree = beam_tree(*stories, "Once upon a time there was a", num_beams=4, steps=6)
    heights = tree.heights()
    for step in range(1, 7):
        row = sorted((i for i, node in enumerate(tree.nodes) if node.step == step), key=heights.get)
        parents = [heights[tree.nodes[i].parent] for i in row]
        assert parents == sorted(parents) and len({heights[i] for i in row}) == len(row)
    (axes,) = tree.plot().axes
    written = {text.get_text() for text in axes.texts}
    assert f"{readable(tree.nodes[0].token)}  {np.exp(tree.nodes[0].logprob):.2f}" in written
    assert len(axes.texts) == len(tree.nodes) + 1 and len(axes.lines) == len(tree.nodes)


def test_what_is_no_beam_search(stories):
    for options in ({"num_beams": 1}, {"num_beams": 2.0}, {"steps": 0}):
        with pytest.raises(ValueError, match=f"{next(iter(options))} must be an integer, at least"):
            beam_tree(*stories, "Once", **options)
    with pytest.raises(ValueError, match="watch is for beam search"):
        stories[0].generate([1], watch=print)


# ---------------------------------------------------------------- loss curves


def test_loss_curves_of_a_training_and_its_plot(tmp_path):
    (tmp_path / "text.txt").write_text("the cat sat on the mat.\n" * 80, encoding="utf-8")
    options = ["--out", str(tmp_path / "out"), "--text", str(tmp_path / "text.txt"), "--preset", "nano"]
    options += ["--steps", "5", "--eval-every", "2", "--ops", "plain", "--plot", str(tmp_path / "loss.png")]
    result = subprocess.run([sys.executable, "-m", "minigpt.cli", "train", *options], capture_output=True, timeout=100)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")
    log = tmp_path / "out" / "log.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    curves = loss_curves(tmp_path / "out")
    assert curves.steps == [1, 2, 3, 4, 5] and curves.losses == [line["loss"] for line in lines]
    assert curves.validation_steps == [2, 4, 5]
    assert curves.validation_losses == [lines[i]["validation_loss"] for i in (1, 3, 4)]
    losses, validation = curves.plot().axes[0].lines
    assert list(losses.get_ydata()) == curves.losses and list(validation.get_xdata()) == [2, 4, 5]

    with log.open("a") as file:
        file.write('{"step": 6, "lo')  # as a running training writes it
    assert loss_curves(str(tmp_path / "out")) == curves


def test_no_loss_curves(tmp_path):
    with pytest.raises(ValueError, match="has no log of a training"):
        loss_curves(tmp_path)
    (tmp_path / "log.jsonl").write_text('{"step": 1')
    with pytest.raises(ValueError, match="there is no step in log.jsonl"):
        loss_curves(tmp_path)


# ---------------------------------------------------------------- show


def test_show_prints_a_source_with_its_place(capsys):
    show(plain.softmax, GPT2.with_ops)
    out = capsys.readouterr().out
    place, _, rest = out.partition("\n")
    file, line = place.split(", line ")
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    assert file == "minigpt/ops/plain.py" and lines[int(line) - 1] == "def softmax(x, axis=-1):"
    assert rest.startswith("\ndef softmax(x, axis=-1):\n") and "    return exp_x / exp_x.sum(axis=axis" in rest
    assert "\ndef with_ops(self, **functions):\n    " in out  # of a method, not indented


def test_sources_of_what_is_wrapped():
    assert source(partial(partial(plain.softmax), axis=0)) == source(plain.softmax)
    assert source(layer_norm_kernel).place.startswith("minigpt/ops/jit/layer_norm.py, line ")
    assert source(GPT2).text.startswith("class GPT2:") and source(plain).place == "minigpt/ops/plain.py, line 1"


@pytest.mark.parametrize("thing", [len, np.exp, 3, "softmax"])
def test_what_has_no_source(thing):
    with pytest.raises(ValueError, match="has no Python source"):
        show(thing)


def test_show_in_a_notebook(monkeypatch):
    import IPython
    import IPython.display

    shown = []
    monkeypatch.setattr(IPython, "get_ipython", lambda: type("Shell", (), {"kernel": True}))
    monkeypatch.setattr(IPython.display, "display", shown.append)
    show(plain.softmax)
    page = shown[0]._repr_html_()
    assert "minigpt/ops/plain.py, line " in page and "color: #" in page and "softmax" in page
    monkeypatch.setitem(sys.modules, "pygments", None)
    assert "<pre>def softmax(x, axis=-1):" in source(plain.softmax)._repr_html_()


# ---------------------------------------------------------------- step


@given(models(dtype="float32"), st.integers(1, 12))
def test_steps_are_the_activations_with_the_lines_that_made_them(model, length):
    text = random_text(model, length)
    steps = minigpt.step(model, text, letters_of(model))
    trace = {}
    model(letters_of(model).encode(text), trace=trace)
    assert [step.name for step in steps] == activation_names(model.config.n_layer)
    for step in steps:
        assert np.array_equal(step.array, trace[step.name]) and step.shape == trace[step.name].shape
        lines = (ROOT / step.file).read_text(encoding="utf-8").splitlines()
        source = step.source.splitlines()
        found = [line.strip() for line in lines[step.line - 1 : step.line - 1 + len(source)]]
        assert found == [line.strip() for line in source]
        assert (
            f'{step.name.rpartition(".")[2]}"' in step.source
            and "tap(" in step.source
            and step.formula
            and step.meaning
        )
    assert steps["embed"].source.startswith('x = params["wte"]["weight"][ids] + params["wpe"]')
    assert "x) + self_attention(" in steps["h.0.resid_mid"].source
    assert "x + feed_forward(" in steps["h.0.resid"].source
    assert steps["h.0.attn.weights"].file == "minigpt/ops/plain.py"
    assert steps["h.0.mlp.act"].formula == f"{model.config.activation_function}(mlp.pre)"


def test_the_line_of_an_attention_of_ones_own(stories):
    def attention(q, k, v, tap):
        scores = q @ k.swapaxes(-1, -2)
        scores = tap("scores", scores)
        return v

    model, _ = stories
    steps = minigpt.step(model.with_ops(attention=attention), "Once upon")  # which still knows its tokenizer
    assert steps.tokens == ["Once", " upon"]
    scores = steps["h.1.attn.scores"]
    assert scores.source == 'scores = q @ k.swapaxes(-1, -2)\nscores = tap("scores", scores)'
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    assert ROOT / scores.file == Path(
        __file__
    )  # from the project's root, or from that of the disk if minigpt is installed
    assert lines[scores.line - 1].strip() == "scores = q @ k.swapaxes(-1, -2)"
    with pytest.raises(KeyError, match="no activation is called 'h.1.attn.weights'"):
        steps["h.1.attn.weights"]


def test_the_scale_of_the_scores_is_said():
    for options, formula in (
        ({}, "q kᵀ / √K"),
        ({"scale_attn_weights": False}, "q kᵀ · 1"),
        ({"scale_attn_by_inverse_layer_idx": True}, "q kᵀ · 0.1667"),  # 1/√4 / 3
    ):
        model = model_of_letters(**options)
        steps = minigpt.step(model, "abc", letters_of(model))
        assert steps["h.2.attn.scores"].formula == formula
    assert steps["logits"].formula == "ln_f wteᵀ" and steps[-1] is steps["logits"] and len(steps[:3]) == 3


def test_a_step_finds_model_and_tokenizer_by_name(stories):
    by_name, given = minigpt.step(DEFAULT_MODEL, "Once upon a time"), minigpt.step(stories[0], "Once upon a time")
    assert by_name.tokens == given.tokens == ["Once", " upon", " a", " time"]
    assert by_name.next_tokens == given.next_tokens
    probs = plain.softmax(stories[0](stories[1].encode("Once upon a time"))[-1])
    assert given.next_tokens[0] == (stories[1].decode([probs.argmax()]), float(probs.max()))
    with pytest.raises(ValueError, match="not loaded by a name.*give tokenizer"):
        minigpt.step(model_of_letters(), "abc")


def test_steps_as_text(stories):
    steps = minigpt.step(*stories[:1], "Once upon a time")
    text = str(steps)
    names = [step.name for step in steps]
    shown = [name for name in names if f"\n{name}  [" in text]
    assert shown == [name for name in names if name.startswith("h.0.") or "." not in name]
    assert [f"\nh.{i}  14 activations as in h.0" in text for i in range(4)] == [False, True, True, True]
    second = steps.as_text(layer=2)
    assert "\nh.2.attn.q  [1, 4, 4, 32]" in second and "\nh.0.attn.q" not in second
    everything = steps.as_text(everything=True)
    assert all(f"\n{name}  [" in everything for name in names)
    for step in steps:
        assert all(part in everything for part in (step.formula, step.meaning, f"{step.file}:{step.line}"))
    with pytest.raises(ValueError, match="layer must be from 0 to 3, not 4"):
        steps.as_text(layer=4)


def test_pictures_of_a_step_have_a_row_a_token_and_a_part_a_head(stories):
    steps = minigpt.step(*stories[:1], TEXT)
    weights = steps["h.0.attn.weights"]
    rows = [line.split("│") for line in weights.picture(most_rows=3).split("\n")]
    assert [row[0].strip() for row in rows] == [readable(token) for token in steps.tokens[-3:]]
    for i, row in enumerate(rows):
        assert row[1:-1] == [as_characters(w[i - 3], weights.largest, False) for w in weights.array[0]]
    assert len(steps["embed"].picture().split("\n")) == 5


def test_steps_as_a_page(stories):
    steps = minigpt.step(*stories[:1], "Once <b> upon")
    page = steps._repr_html_()
    assert "<code>&lt;</code>" in page and "<b> upon" not in page
    assert page.count("<details") == 4 and page.count("<details open>") == 1
    assert all(f"<code>{step.name}</code>" in page for step in steps)
    assert page.count("data:image/png;base64,") == sum(len(step.panels) for step in steps)
    assert page.count("<div") == page.count("</div>")


def test_the_command_step():
    run = partial(subprocess.run, capture_output=True, text=True, encoding="utf-8", timeout=100)
    command = [sys.executable, "-m", "minigpt.cli", "step"]
    steps = minigpt.step(DEFAULT_MODEL, "Once upon")
    assert run([*command, "Once upon"]).stdout == f"{steps}\n"
    assert run([*command, "-", "--layer", "3"], input="Once upon\n").stdout == f"{steps.as_text(3)}\n"
    assert run([*command, "Once upon", "--all"]).stdout == f"{steps.as_text(everything=True)}\n"
    fields = json.loads(run([*command, "Once upon", "--json"]).stdout)
    assert [step["name"] for step in fields["steps"]] == [step.name for step in steps]
    assert fields["steps"][1]["source"] == steps[1].source and fields["tokens"] == ["Once", " upon"]
    for arguments, sentence in (
        ([""], "the text is empty"),
        (["a", "--layer", "4"], "layer must be from 0 to 3, not 4"),
    ):
        result = run([*command, *arguments])
        assert result.returncode == 2 and result.stdout == "" and sentence in result.stderr
        assert result.stderr.count("\n") == 1


# ---------------------------------------------------------------- pictures


def test_pixels_are_the_numbers():
    matrix = np.array([[1.0, 0.0, -1.0], [0.5, -0.5, np.nan], [2.0, -2.0, 0.01]])
    image = matplotlib.image.imread(io.BytesIO(as_png(matrix, 1.0)))
    assert image.shape[:2] == (3, 3)
    red, white, blue = image[0, 2, :3], image[0, 1, :3], image[0, 0, :3]
    assert (white == 1).all() and red.argmax() == 0 and blue.argmax() == 2
    assert np.allclose(image[1, 0, :3], (white + blue) / 2, atol=0.01)
    assert np.allclose(image[1, 1, :3], (white + red) / 2, atol=0.01)
    assert (image[1, 2, :3] == 1).all()  # what is no number is white
    assert (image[2, 0, :3] == blue).all() and (image[2, 1, :3] == red).all() and (image[2, 2, :3] == 1).all()


def test_bars_are_the_numbers():
    assert as_characters(np.array([-1, -0.6, 0.0, 0.6, 1.0]), 1.0) == "▁▂▅▇█"
    assert as_characters(np.array([0, 0.01, 0.25, 0.5, 1.0]), 1.0, signed=False) == "  ▂▄█"
    with np.errstate(all="raise"):
        assert as_characters(np.zeros(2), 0.0, signed=False) == "  "
        assert as_characters(np.zeros(2), 0.0) == "▅▅"
        assert as_png(np.zeros((1, 2)), 0.0).startswith(b"\x89PNG")


@given(st.integers(1, 40), st.integers(1, 20))
def test_fewer_columns_keep_the_greatest_numbers(n, columns):
    matrix = np.random.default_rng(n).normal(size=(3, n))
    small = pooled(matrix, columns)
    assert small.shape == (3, min(n, columns))
    assert np.array_equal(np.abs(small).max(axis=1), np.abs(matrix).max(axis=1)) and np.isin(small, matrix).all()
    if columns < n:
        firsts = [np.flatnonzero(matrix[0] == value)[0] for value in small[0]]
        assert firsts == sorted(firsts)


def test_figures_show_themselves_without_pyplot():
    program = """
import sys, minigpt.looking
assert not {"matplotlib", "IPython"} & set(sys.modules), "imported without need"
from IPython.core.formatters import DisplayFormatter
from minigpt import GPT2, Tokenizer
from minigpt.bundled import DEFAULT_MODEL
model, tokenizer = GPT2.from_pretrained(DEFAULT_MODEL), Tokenizer.from_pretrained(DEFAULT_MODEL)
figure = minigpt.looking.attention_maps(model, tokenizer, "Once upon").plot()
formats, _ = DisplayFormatter().format(figure)
assert formats["image/png"].startswith(b"\\x89PNG"), formats
assert "matplotlib.pyplot" not in sys.modules, "pyplot keeps figures"
sys.modules["matplotlib.figure"] = None
try:
    minigpt.looking.attention_maps(model, tokenizer, "Once upon").plot()
except ImportError as error:
    print(error)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100)
    assert (result.stdout, result.stderr) == ("pictures need matplotlib: pip install matplotlib\n", "")


def test_looking_leaves_the_model_as_it_was(stories):
    model, tokenizer = stories
    before = {name: array.copy() for name, array in flatten(model.params).items()}
    operations, logits = model.ops, model(tokenizer.encode(TEXT))
    logit_lens(model, tokenizer, TEXT)
    ablate_heads(model, tokenizer, TEXT, "She")
    patch(model, tokenizer, TEXT, TEXT.replace("girl", "boy"), "She", "He")
    assert all(np.array_equal(array, before[name]) for name, array in flatten(model.params).items())
    assert np.array_equal(model(tokenizer.encode(TEXT)), logits) and model.ops is operations
