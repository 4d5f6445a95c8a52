"""Functions that are right on most inputs: none passes."""

import re

import numpy as np
import pytest
from exercise_helpers import right_softmax, unwatched
from right_solutions import RIGHT

from minigpt.exercises import EXERCISES
from minigpt.exercises.checking import examine


def one_maximum(logits, targets):
    counted = targets != -100
    shifted = logits - logits.max()
    probabilities = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    return -np.log(probabilities[counted, targets[counted]]).mean()


def softmax_from(origin):
    """A softmax that subtracts origin(row) in place of the maximum."""

    def softmax(x):
        if x.ndim > 1:
            return np.array([softmax(row) for row in x])
        with np.errstate(all="ignore"):
            e = np.exp(x - origin(x))
            return e / e.sum()

    return softmax


def top_p_from(origin):
    def top_p(logits, p):
        probabilities = softmax_from(origin)(logits)
        order = np.argsort(-logits)
        kept = order[: np.searchsorted(np.cumsum(probabilities[order]), p) + 1]
        return np.where(np.isin(np.arange(len(logits)), kept), logits, -np.inf)

    return top_p


def lowest(row):
    return row[np.isfinite(row)].min()


def middle(row):
    return row[np.isfinite(row)].mean()


def heads_with(q, k, v, hidden=-np.inf, softmax=right_softmax, visible=None):
    visible = np.tri(q.shape[-2], k.shape[-2], k.shape[-2] - q.shape[-2]) if visible is None else visible
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    return softmax(np.where(visible, scores, hidden if hidden == -np.inf else scores + hidden)) @ v


def multi_head_with(**options):
    def self_attention(x, c_attn, c_proj, n_head):
        q, k, v = np.split(x @ c_attn["weight"] + c_attn["bias"], 3, axis=-1)
        heads = heads_with(*(RIGHT["split_heads"][1](part, n_head) for part in (q, k, v)), **options)
        return RIGHT["merge_heads"][1](heads) @ c_proj["weight"] + c_proj["bias"]

    return self_attention


def block_with(eps=1e-5, **options):
    attention, feed_forward, norm = multi_head_with(**options), RIGHT["feed_forward"][1], RIGHT["layer_norm"][1]
    eps_1, eps_2 = eps if isinstance(eps, tuple) else (eps, eps)

    def transformer_block(x, ln_1, attn, ln_2, mlp, n_head):
        x = x + attention(norm(x, **ln_1, eps=eps_1), **attn, n_head=n_head)
        return x + feed_forward(norm(x, **ln_2, eps=eps_2), **mlp)

    return transformer_block


def gpt2_with(eps=1e-5, last_eps=1e-5, **options):
    def gpt2(ids, params, n_head):
        x = params["wte"]["weight"][ids] + params["wpe"]["weight"][: len(ids)]
        for each in params["h"]:
            x = block_with(eps, **options)(x[None], **each, n_head=n_head)[0]
        return RIGHT["layer_norm"][1](x, **params["ln_f"], eps=last_eps) @ params["wte"]["weight"].T

    return gpt2


def cached_with(window=None, **options):
    def cached_attention(q, k, v, k_cache, v_cache):
        k, v = np.concatenate([k_cache, k], axis=1), np.concatenate([v_cache, v], axis=1)
        T, S = q.shape[1], k.shape[1]
        visible = np.tri(T, S, S - T) - (np.tri(T, S, S - T - window) if window else 0)
        return heads_with(q, k, v, visible=visible, **options), k, v

    return cached_attention


def mlp_with(gelu):
    def feed_forward(x, c_fc, c_proj):
        return gelu(x @ c_fc["weight"] + c_fc["bias"]) @ c_proj["weight"] + c_proj["bias"]

    return feed_forward


def right_gelu(x, coefficient=0.044715):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + coefficient * x**3)))


def plain_exp(x):
    return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)


def hidden_at(low):
    """cached_attention with that number in place of -inf."""

    def cached_attention(q, k, v, k_cache, v_cache):
        k, v = np.concatenate([k_cache, k], axis=1), np.concatenate([v_cache, v], axis=1)
        visible = np.tri(q.shape[1], k.shape[1], k.shape[1] - q.shape[1])
        return right_softmax(np.where(visible, q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1]), low)) @ v, k, v

    return cached_attention


def attention_backward_with(hidden=-np.inf, softmax=right_softmax):
    def attention_backward(dheads, q, k, v):
        T, K = q.shape[-2:]
        scores = np.where(np.tri(T, dtype=bool), q @ k.swapaxes(-1, -2) / np.sqrt(K), hidden)
        weights = softmax(scores)
        dweights = dheads @ v.swapaxes(-1, -2)
        dscores = weights * (dweights - (weights * dweights).sum(-1, keepdims=True)) / np.sqrt(K)
        return dscores @ k, dscores.swapaxes(-1, -2) @ q, weights.swapaxes(-1, -2) @ dheads

    return attention_backward


def on_whole_numbers(name):
    """A right solution that forgets what is after the point."""

    def function(*arguments):
        return RIGHT[name][1](*(np.trunc(a) if isinstance(a, np.ndarray) else a for a in arguments))

    return function


def own_tanh(x):
    u = np.exp(2 * np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))
    return x / 2 * (1 + (u - 1) / (u + 1))


def merge_but(same, kept=lambda i: True):
    """bpe_merge that compares pairs by `same`, and drops ids that are not kept."""

    def bpe_merge(ids, pair, new_id):
        merged, i = [], 0
        while i < len(ids):
            found = i + 1 < len(ids) and same((ids[i], ids[i + 1]), pair)
            merged.append(new_id if found else ids[i])
            i += 2 if found else 1
        return [i for i in merged if kept(i)]

    return bpe_merge


def top_k_from(lowest):
    """The k-th highest by taking the highest k times, each taken one becoming `lowest`."""

    def top_k(logits, k):
        rest = logits.copy()
        for _ in range(min(k, len(rest))):
            at = rest.argmax()
            kth, rest[at] = logits[at], lowest
        return np.where(logits >= kth, logits, -np.inf)

    return top_k


def beam_step_from(lowest):
    def beam_step(scores, logprobs, n):
        sums = (scores[:, None] + logprobs).ravel()
        places = []
        for _ in range(n):
            places.append(int(sums.argmax()))
            sums[places[-1]] = lowest
        beams, tokens = np.divmod(places, logprobs.shape[1])
        return beams, tokens, scores[beams] + logprobs[beams, tokens]

    return beam_step


def of_few_axes(dy, y):
    subscripts = {1: "i,i->", 2: "ni,ni->n", 3: "bni,bni->bn"}[y.ndim]
    return y * (dy - np.einsum(subscripts, dy, y)[..., None])


def divides_by_probabilities(dy, y):
    g = dy * y
    return y * (g / y - g.sum(-1, keepdims=True))


def softmax_low(x):
    return right_softmax(np.where(np.isneginf(x), -500, x))


def trains_on_four_ids(ids, n_merges):
    return RIGHT["bpe_train"][0](ids, n_merges) if len(ids) > 3 else []


def trains_on_pairs_without_0(ids, n_merges):
    return [pair for pair in RIGHT["bpe_train"][0](ids, n_merges) if all(pair)]


def with_a_position_to_spare(ids, wte, wpe):
    return wte[ids] + wpe[np.minimum(np.arange(len(ids)), len(wpe) - 2)]


def induction_score_of_few(weights):
    n = weights.shape[1] // 2
    t = np.arange(n, min(2 * n, n + 8))
    return weights[:, t, t - n + 1].sum(axis=1) / n


NEARLY = {
    **{f"cached_attention, {low} for -inf": ("cached_attention", hidden_at(low), "") for low in (-30, -100, -1e3)},
    **{f"attention_backward, {low}": ("attention_backward", attention_backward_with(low), "") for low in (-20, -100)},
    "attention_backward, no maximum": (
        "attention_backward",
        attention_backward_with(softmax=plain_exp),
        "exp of scores",
    ),
    **{
        f"{name}, whole numbers": (name, on_whole_numbers(name), "")
        for name in (
            "embeddings",
            "linear",
            "layer_norm",
            "scores",
            "attention_head",
            "attention",
            "cached_attention",
            "attention_backward",
            "softmax",
            "gelu",
            "top_k",
            "patching_effect",
        )
    },
    "gelu, a tanh that overflows": ("gelu", own_tanh, "not a number"),
    "gelu, nothing beyond 8": ("gelu", lambda x: right_gelu(np.clip(x, -8, 8)), ""),
    "feed_forward, a tanh that overflows": ("feed_forward", mlp_with(own_tanh), "not a number"),
    "bpe_merge, without 0": ("bpe_merge", merge_but(lambda a, b: a == b, kept=bool), ""),
    "bpe_merge, the same objects": ("bpe_merge", merge_but(lambda a, b: a[0] is b[0] and a[1] is b[1]), ""),
    "bpe_merge, one number": ("bpe_merge", merge_but(lambda a, b: a[0] * 256 + a[1] == b[0] * 256 + b[1]), ""),
    "bpe_train, four ids": ("bpe_train", trains_on_four_ids, ""),
    "bpe_train, without 0": ("bpe_train", trains_on_pairs_without_0, ""),
    "softmax, -500 for -inf": ("softmax", softmax_low, ""),
    "top_k, from -100": ("top_k", top_k_from(-100), ""),
    "beam_step, from -100": ("beam_step", beam_step_from(-100), ""),
    "embeddings, P > T": ("embeddings", with_a_position_to_spare, ""),
    "softmax_backward, three axes": ("softmax_backward", of_few_axes, ""),
    "softmax_backward, divides": ("softmax_backward", divides_by_probabilities, "not a number"),
    "cross_entropy, one maximum for all rows": ("cross_entropy", one_maximum, "own maximum|rounded to 0"),
    "softmax, minus the minimum": ("softmax", softmax_from(lowest), "subtract the minimum|not a number"),
    "softmax, minus the mean": ("softmax", softmax_from(middle), "subtract the mean|not a number"),
    "temperature, minus the minimum": ("temperature", lambda x, t: softmax_from(min)(x / t), "smallest logit"),
    "temperature, minus the mean": ("temperature", lambda x, t: softmax_from(np.mean)(x / t), "the mean"),
    "temperature, minus the first": ("temperature", lambda x, t: softmax_from(lambda x: x[0])(x / t), "the first"),
    "top_p, minus the minimum": ("top_p", top_p_from(lowest), ""),
    "top_p, minus the mean": ("top_p", top_p_from(middle), ""),
    "self_attention, no maximum": ("self_attention", multi_head_with(softmax=plain_exp), "exp of scores"),
    "self_attention, -100": ("self_attention", multi_head_with(hidden=-100), ""),
    "transformer_block, no maximum": ("transformer_block", block_with(softmax=plain_exp), "exp of scores"),
    "transformer_block, -100": ("transformer_block", block_with(hidden=-100), ""),
    "gpt2, no maximum": ("gpt2", gpt2_with(softmax=plain_exp), "exp of scores"),
    "gpt2, -100": ("gpt2", gpt2_with(hidden=-100), ""),
    "cached_attention, no maximum": ("cached_attention", cached_with(softmax=plain_exp), "exp of scores"),
    "cached_attention, -20": ("cached_attention", cached_with(hidden=-20), ""),
    "cached_attention, -100": ("cached_attention", cached_with(hidden=-100), ""),
    "cached_attention, few tokens": ("cached_attention", cached_with(window=8), ""),
    "causal_mask, few tokens": ("causal_mask", lambda T: np.tri(T, dtype=bool) & ~np.tri(T, k=-12, dtype=bool), ""),
    "scores, few tokens": ("scores", lambda q, k: q @ k.T / np.sqrt(q.shape[1]) * (len(q) <= 4), ""),
    "feed_forward, 0.0447": ("feed_forward", mlp_with(lambda x: right_gelu(x, 0.0447)), ""),
    "gpt2, eps of 1e-6": ("gpt2", gpt2_with(1e-6, 1e-6), "eps of your layer norms is 1e-6"),
    "induction_score, few tokens": ("induction_score", induction_score_of_few, ""),
    "induction_score, half of the weights": (
        "induction_score",
        lambda weights: RIGHT["induction_score"][0](np.where(weights > 0.5, weights, 0)),
        "",
    ),
    "logit_attribution, eps of 1e-5": (
        "logit_attribution",
        lambda parts, ln_f, direction, eps: RIGHT["logit_attribution"][0](parts, ln_f, direction, 1e-5),
        "eps",
    ),
    "logit_attribution, bias for a weight": (
        "logit_attribution",
        lambda parts, ln_f, *others: RIGHT["logit_attribution"][0](parts, {"weight": ln_f["bias"]}, *others),
        "",
    ),
    "patching_effect, one run": (
        "patching_effect",
        lambda clean, corrupted, patched, *ids: RIGHT["patching_effect"][0](clean, corrupted, patched[:1], *ids),
        "",
    ),
    "gpt2, no eps": ("gpt2", gpt2_with(0, 0), "no eps"),
}


@pytest.mark.parametrize("nearly", NEARLY)
def test_what_is_nearly_right_does_not_pass(nearly):
    name, function, words = NEARLY[nearly]
    result = examine(EXERCISES[name], unwatched(function), shrink=False)
    assert not result.passed and re.search(words, result.verdict), result
    assert len(str(result)) < 5000


@pytest.mark.parametrize(
    ("name", "function", "words"),
    [
        ("transformer_block", block_with(eps=(1e-6, 1e-5)), "eps counts in ln_1"),
        ("gpt2", gpt2_with(last_eps=1e-6), "eps counts in ln_f"),
        (
            "layer_norm",
            lambda x, w, b, eps: (
                (x - x.mean(-1, keepdims=True)) / np.sqrt(np.maximum(x.var(-1, keepdims=True), eps)) * w + b
            ),
            "It is added to the variance",
        ),
    ],
)
def test_where_to_look_for_an_eps(name, function, words):
    result = examine(EXERCISES[name], unwatched(function), shrink=False)
    assert words in dict(result.details)["where to look"], result
