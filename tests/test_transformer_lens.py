"""The experiments of minigpt.looking give TransformerLens' numbers, on the same random GPT-2.

`pytest -m transformer_lens` runs these tests. They need `pip install transformer-lens==4.3.0` and no network: without
it they fail rather than pass by. minigpt/looking/README.md has the table of names that `test_activations` compares.
"""

import re
from pathlib import Path

import numpy as np
import pytest
from letter_models import letter_tokenizer
from reference import in_torch, lively_model

from minigpt import GPT2Config
from minigpt.activations import activation_names
from minigpt.looking import (
    ablate_heads,
    ablate_layers,
    activation_statistics,
    head_scores,
    logit_lens,
    patch,
    patch_heads,
)

pytestmark = pytest.mark.transformer_lens

README = Path(__file__).parents[1] / "minigpt" / "looking" / "README.md"
CONFIG = GPT2Config(40, 64, n_embd=24, n_layer=3, n_head=4, initializer_range=0.2, bos_token_id=0, eos_token_id=0)
CLEAN, CORRUPTED, ANSWER, WRONG = "kabcdefabg", "kabcxefabg", "d", "x"
TOLERANCE = 1e-9  # share of the largest number; both compute in float64
FLOAT32 = 1e-6  # for what TransformerLens stores in single precision


@pytest.fixture(scope="module")
def model():
    return lively_model(CONFIG, seed=0, dtype="float64")


@pytest.fixture(scope="module")
def tokenizer(model):
    return letter_tokenizer(model)


@pytest.fixture(scope="module")
def bridge(model, tokenizer, tmp_path_factory):
    """The same model in TransformerLens, with the same tokens."""
    from transformer_lens import TransformerBridge
    from transformers import PreTrainedTokenizerFast

    folder = str(tmp_path_factory.mktemp("letters"))
    tokenizer.save_pretrained(folder)
    letters = PreTrainedTokenizerFast(
        tokenizer_file=f"{folder}/tokenizer.json", name_or_path=folder, bos_token="a", eos_token="a", pad_token="a"
    )
    letters.save_pretrained(folder)
    twin = in_torch(model)
    twin.set_attn_implementation("eager")
    return TransformerBridge.boot_transformers(folder, hf_model=twin, tokenizer=letters, device="cpu", dtype=twin.dtype)


def assert_equal(ours, theirs, tolerance=TOLERANCE):
    theirs = theirs.detach().numpy() if hasattr(theirs, "detach") else np.asarray(theirs)
    assert ours.shape == theirs.shape
    assert np.isfinite(theirs).all()
    difference = np.abs(ours - theirs).max()
    assert difference <= tolerance * np.abs(theirs).max(), difference


def tokens(tokenizer, text):
    import torch

    return torch.tensor([tokenizer.encode(text)])


def names_in_the_readme():
    """Return the pairs of names in the README's table: minigpt's with `i` for the block, and TransformerLens'."""
    rows = re.findall(r"^\| `([\w.]+)` \| `([\w.]+)` \|", README.read_text(encoding="utf-8"), re.MULTILINE)
    return dict(rows)


def test_the_table_has_every_activation():
    assert [name.replace("h.i.", "h.0.") for name in names_in_the_readme()] == activation_names(1)


def test_activations(model, tokenizer, bridge):
    trace = {}
    model(tokenizer.encode(CLEAN), trace=trace)
    _, cache = bridge.run_with_cache(tokens(tokenizer, CLEAN))
    for ours, theirs in names_in_the_readme().items():
        for layer in range(CONFIG.n_layer if ".i." in ours + theirs else 1):
            found = trace[ours.replace(".i.", f".{layer}.")]
            expected = cache[theirs.replace(".i.", f".{layer}.")].detach().numpy()
            if re.search(r"attn\.(q|k|v|heads)$", ours):
                expected = expected.swapaxes(1, 2)  # theirs are [B, T, H, K]
            if ours.endswith("scores"):  # theirs are masked
                visible = np.isfinite(expected) & (expected > -1e30)
                assert np.array_equal(visible[0, 0], np.tri(len(CLEAN), dtype=bool))
                found, expected = found[visible], expected[visible]
            assert_equal(found, expected)


def test_head_scores(model, tokenizer, bridge):
    """With all tokens different, detect_head's score is a sum over the same pairs, divided by all T rows."""
    from transformer_lens.head_detector import detect_head

    n, texts = 12, []

    class Listening(type(model)):
        def __call__(self, ids, **options):
            texts.append(tokenizer.decode(ids))
            return super().__call__(ids, **options)

    scores = head_scores(Listening(model.config, model.params, "plain"), n, n_sequences=3)
    bridge.cfg.default_prepend_bos = False
    rows = {"induction": n, "duplicate_token": n, "previous_token": 2 * n - 1}  # how many rows have such a pair
    for score, count in rows.items():
        theirs = detect_head(bridge, texts, f"{score}_head").numpy() * 2 * n / count
        assert_equal(getattr(scores, score), theirs, FLOAT32)


def test_head_scores_by_the_main_demos_recipe(model, tokenizer, bridge):
    """The demo averages the diagonal of A at offset 1 - n, which has one entry more: A[n - 1, 0] at its beginning."""
    n, seen = 12, []

    class Listening(type(model)):
        def __call__(self, ids, **options):
            seen.append(ids)
            return super().__call__(ids, **options)

    import torch

    scores = head_scores(Listening(model.config, model.params, "plain"), n, n_sequences=4)
    _, cache = bridge.run_with_cache(torch.from_numpy(np.array(seen)))
    for layer in range(CONFIG.n_layer):
        stripe = cache["pattern", layer].diagonal(dim1=-2, dim2=-1, offset=1 - n)  # [B, H, n + 1]
        assert_equal(scores.induction[layer], stripe[..., 1:].mean(dim=(0, 2)))


def hooked_logprob(bridge, tokenizer, name, edit):
    """Return log P(ANSWER | CLEAN) with edit(activation) on a hook."""

    def hook(activation, hook):
        edit(activation)
        return activation

    logits = bridge.run_with_hooks(tokens(tokenizer, CLEAN), fwd_hooks=[(name, hook)])
    return logits[0, -1].log_softmax(-1)[tokenizer.encode(ANSWER)[0]].item()


@pytest.mark.parametrize("mean_over", [None, ["hijk", "abcabcabc"]], ids=["zero", "mean"])
def test_ablation(mean_over, model, tokenizer, bridge):
    heads = ablate_heads(model, tokenizer, CLEAN, ANSWER, mean_over=mean_over)
    layers = ablate_layers(model, tokenizer, CLEAN, ANSWER, mean_over=mean_over)
    caches = [bridge.run_with_cache(tokens(tokenizer, text))[1] for text in mean_over or []]

    def mean(name):
        import torch

        return torch.cat([cache[name][0] for cache in caches]).mean(dim=0) if caches else None

    whole = hooked_logprob(bridge, tokenizer, "blocks.0.attn.hook_z", lambda activation: None)
    assert abs(heads.baseline - whole) < 1e-5 * abs(whole)
    without_head, without_layer = np.zeros_like(heads.effect), np.zeros_like(layers.effect)
    for layer in range(CONFIG.n_layer):
        name = f"blocks.{layer}.attn.hook_z"
        z = mean(name)
        for head in range(CONFIG.n_head):

            def remove_head(activation, head=head, z=z):
                activation[:, :, head] = 0 if z is None else z[head]

            without_head[layer, head] = hooked_logprob(bridge, tokenizer, name, remove_head)
        for column, part in enumerate(("hook_attn_out", "hook_mlp_out")):
            out = mean(f"blocks.{layer}.{part}")

            def remove(activation, out=out):
                activation[...] = 0 if out is None else out

            without_layer[layer, column] = hooked_logprob(bridge, tokenizer, f"blocks.{layer}.{part}", remove)
    assert_equal(heads.effect, without_head - whole)
    assert_equal(layers.effect, without_layer - whole)


@pytest.fixture(scope="module")
def their_patching(tokenizer, bridge):
    """Return a function that runs one of TransformerLens' patching functions on the two texts: effects as a tensor."""
    answer, wrong = tokenizer.encode(ANSWER)[0], tokenizer.encode(WRONG)[0]

    def difference(logits):
        return logits[0, -1, answer] - logits[0, -1, wrong]

    clean_logits, cache = bridge.run_with_cache(tokens(tokenizer, CLEAN))
    corrupted = tokens(tokenizer, CORRUPTED)
    at_clean, at_corrupted = difference(clean_logits), difference(bridge(corrupted))

    def metric(logits):
        return (difference(logits) - at_corrupted) / (at_clean - at_corrupted)

    return lambda function: function(bridge, corrupted, cache, metric)


def test_patching_by_layer_and_position(model, tokenizer, their_patching):
    from transformer_lens import patching

    for activation, function in (
        # Their hook_resid_mid is the input of ln2 alone: the stream goes on unpatched beside the MLP. That is our ln_2.
        ("ln_2", patching.get_act_patch_resid_mid),
        ("attn.out", patching.get_act_patch_attn_out),
        ("mlp.out", patching.get_act_patch_mlp_out),
    ):
        ours = patch(model, tokenizer, CLEAN, CORRUPTED, ANSWER, WRONG, activation)
        assert_equal(ours.effect, their_patching(function), FLOAT32)
    # Theirs is the stream before each block, ours after it.
    ours = patch(model, tokenizer, CLEAN, CORRUPTED, ANSWER, WRONG, "resid")
    assert_equal(ours.effect[:-1], their_patching(patching.get_act_patch_resid_pre)[1:], FLOAT32)


def test_patching_by_head(model, tokenizer, their_patching):
    from transformer_lens import patching

    for activation, function in (
        ("attn.heads", patching.get_act_patch_attn_head_out_all_pos),
        ("attn.q", patching.get_act_patch_attn_head_q_all_pos),
        ("attn.k", patching.get_act_patch_attn_head_k_all_pos),
        ("attn.v", patching.get_act_patch_attn_head_v_all_pos),
        ("attn.weights", patching.get_act_patch_attn_head_pattern_all_pos),
    ):
        ours = patch_heads(model, tokenizer, CLEAN, CORRUPTED, ANSWER, WRONG, activation)
        assert_equal(ours.effect, their_patching(function), FLOAT32)


def test_logit_lens(model, tokenizer, bridge):
    lens = logit_lens(model, tokenizer, CLEAN)
    logits, cache = bridge.run_with_cache(tokens(tokenizer, CLEAN))
    for layer in range(CONFIG.n_layer):
        assert_equal(lens.logits[layer], bridge.unembed(bridge.ln_final(cache["resid_pre", layer]))[0])
    assert_equal(lens.logits[-1], logits[0])


def test_statistics(model, tokenizer, bridge):
    import torch

    texts = [CLEAN, "hgfedcba", "zyx"]
    found = activation_statistics(model, tokenizer, texts)
    caches = [bridge.run_with_cache(tokens(tokenizer, text))[1] for text in texts]
    for layer in range(CONFIG.n_layer):
        for ours, theirs in (("mlp.act", "mlp.hook_post"), ("resid", "hook_resid_post"), ("attn.heads", "attn.hook_z")):
            values = torch.cat([cache[f"blocks.{layer}.{theirs}"][0] for cache in caches])
            statistics = found[f"h.{layer}.{ours}"]
            assert_equal(statistics.mean, values.mean(dim=0))
            assert_equal(statistics.std, values.std(dim=0, correction=0))
            assert_equal(statistics.min, values.amin(dim=0))
            assert_equal(statistics.max, values.amax(dim=0))


def test_steering(model, tokenizer, bridge):
    from minigpt.looking import steer, steering_direction

    positive, negative = ["abcd", "abx"], ["hgfe", "ihj"]
    direction = steering_direction(model, tokenizer, positive, negative, layer=1, position=-1)
    name = "blocks.1.hook_resid_post"
    ends = [
        [bridge.run_with_cache(tokens(tokenizer, t))[1][name][0, -1] for t in side] for side in (positive, negative)
    ]
    vector = sum(ends[0]) / 2 - sum(ends[1]) / 2
    assert_equal(direction.vector, vector)
    logits = bridge.run_with_hooks(tokens(tokenizer, CLEAN), fwd_hooks=[(name, lambda x, hook: x + 2 * vector)])
    steering = steer(model, tokenizer, CLEAN, direction, 2, max_new_tokens=1)
    assert_equal(steering.steered_logprobs, logits[0, -1].log_softmax(-1))
