"""The references of exercises: what they ask for is what minigpt and PyTorch compute."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from minigpt import GPT2, Tokenizer, bpe, model
from minigpt.config import GPT2Config
from minigpt.exercises import EXERCISES
from minigpt.exercises.drawing import drawn_inputs
from minigpt.generation import sampling, speculative
from minigpt.looking import edited, head_scores, patch
from minigpt.ops import plain
from minigpt.run import Run
from minigpt.trace import Tap
from minigpt.training import backward
from minigpt.training.adamw import adamw_update
from minigpt.training.loss import IGNORED, cross_entropy


def inside_a_block(function, n_head):
    """Return the library's function with a run, which stands where a student's has n_head."""

    def with_run(x, *params):
        return function(x, *params, Run(GPT2Config(n_embd=x.shape[-1], n_head=n_head)).in_block(0))

    return with_run


def library_gpt2(ids, params, n_head, trace=None):
    (V, D), P = params["wte"]["weight"].shape, len(params["wpe"]["weight"])
    config = GPT2Config(vocab_size=V, n_positions=P, n_embd=D, n_head=n_head, n_layer=max(1, len(params["h"])))
    return model.gpt2(ids[None], params, Run(config, tap=Tap(trace)))[0]


def library_embeddings(ids, wte, wpe):
    trace, D = {}, wte.shape[1]
    ln_f = {"weight": np.ones(D), "bias": np.zeros(D)}
    library_gpt2(ids, {"wte": {"weight": wte}, "wpe": {"weight": wpe}, "h": [], "ln_f": ln_f}, 1, trace)
    return trace["embed"][0]


def library_scores(q, k):
    trace = {}
    plain.attention(q[None, None], k[None, None], k[None, None], tap=Tap(trace))
    return trace["scores"][0, 0]


def library_beam_step(scores, logprobs, n):
    sums = scores[:, None] + logprobs
    places = sampling.top_indices(sums.ravel(), n)
    return places // sums.shape[1], places % sums.shape[1], sums.ravel()[places]


def library_bpe_merge(ids, pair, new_id):
    left, right = pair
    pieces = bpe.merge([(i,) for i in ids], ((left,), (right,)))
    return [new_id if len(piece) == 2 else piece[0] for piece in pieces]


def library_layer_norm_backward(dy, x, weight, eps):
    dweight, dbias = np.zeros_like(weight), np.zeros_like(weight)
    return backward.layer_norm_backward(dy, x, weight, dweight, dbias, eps), dweight, dbias


def library_adamw(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    w, m, v = w.copy(), m.copy(), v.copy()
    adamw_update(w, grad, m, v, lr, (beta1, beta2), eps, weight_decay, t)
    return w, m, v


def library_induction_score(weights):
    H, T, _ = weights.shape
    one_block = GPT2.random(GPT2Config(T, T, n_embd=H, n_layer=1, n_head=H), dtype="float64")
    with_weights = edited(one_block, {"h.0.attn.weights": lambda _: weights[None]})
    return head_scores(with_weights, T // 2, n_sequences=1).induction[0]


def library_logit_attribution(parts, ln_f, direction, eps):
    """A part's own layer norm divides by the sigma of the whole stream if its eps is what its variance lacks of it."""
    held = parts.sum(axis=0).var() + eps
    normed = [plain.layer_norm(part, ln_f["weight"], np.zeros(len(part)), eps=held - part.var()) for part in parts]
    return np.array(normed) @ direction


class Replayed(GPT2):
    """A model of one block whose calls return prepared logits, one after the other."""

    def __init__(self, runs):
        super().__init__(GPT2Config(n_embd=1, n_layer=1, n_head=1), {})
        self.runs = iter(runs)

    def __call__(self, ids, trace=None, edit=None):
        if trace is not None:
            trace["h.0.resid"] = None
        return next(self.runs)


def library_patching_effect(clean, corrupted, patched, answer, wrong):
    text = "a" * len(patched)  # a run is patched at each token
    runs = Replayed([clean, corrupted, *patched])
    difference = {"metric": lambda logits: logits[-1, answer] - logits[-1, wrong]}
    return patch(runs, Tokenizer.of_characters("a"), text, text, **difference).effect[0]


# Of those exercises whose reference is not the library's function itself.
IN_MINIGPT = {
    "bpe_merge": library_bpe_merge,
    "embeddings": library_embeddings,
    "scores": library_scores,
    "split_heads": model.split_heads,
    "merge_heads": model.merge_heads,
    "self_attention": lambda x, c_attn, c_proj, n_head: inside_a_block(model.self_attention, n_head)(x, c_attn, c_proj),
    "feed_forward": inside_a_block(model.feed_forward, 1),
    "transformer_block": lambda x, *params: inside_a_block(model.transformer_block, params[-1])(x, *params[:-1]),
    "gpt2": library_gpt2,
    "temperature": lambda logits, t: plain.softmax(sampling.temperature(logits, t)),
    "top_k": lambda logits, k: sampling.top_k(logits[None], k)[0],
    "top_p": lambda logits, p: sampling.top_p(logits[None], p)[0],
    "beam_step": library_beam_step,
    "cross_entropy": lambda logits, targets: cross_entropy(logits.copy(), targets, (targets != IGNORED).sum())[0],
    "softmax_backward": backward.softmax_backward,
    "layer_norm_backward": library_layer_norm_backward,
    "attention_backward": lambda dheads, q, k, v: backward.attention_backward(dheads, q, k, v, q.shape[-1] ** -0.5),
    "adamw": library_adamw,
    "induction_score": library_induction_score,
    "logit_attribution": library_logit_attribution,
    "patching_effect": library_patching_effect,
    "accept": speculative.accept,
}


@pytest.mark.parametrize("name", IN_MINIGPT)
def test_references_are_what_the_library_computes(name):
    exercise = EXERCISES[name]
    for _, arguments in drawn_inputs(exercise):
        found, expected = exercise.reference(*arguments), IN_MINIGPT[name](*arguments)
        for one, other in zip(found, expected, strict=True) if exercise.returns else [(found, expected)]:
            assert np.shape(one) == np.shape(other)
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)


def leaf(array):
    return torch.tensor(array, requires_grad=True)


def torch_cross_entropy(logits, targets):
    return (F.cross_entropy(torch.tensor(logits), torch.tensor(targets)),)


def torch_softmax_backward(dy, y):
    with np.errstate(divide="ignore"):
        x = leaf(np.log(y))  # the softmax of which is y
    return torch.autograd.grad(x.softmax(-1), x, torch.tensor(dy))


def torch_layer_norm_backward(dy, x, weight, eps):
    x, weight, bias = leaf(x), leaf(weight), leaf(np.zeros_like(weight))
    y = F.layer_norm(x, weight.shape, weight, bias, eps)
    return torch.autograd.grad(y, (x, weight, bias), torch.tensor(dy))


def torch_attention_backward(dheads, q, k, v):
    q, k, v = leaf(q), leaf(k), leaf(v)
    return torch.autograd.grad(F.scaled_dot_product_attention(q, k, v, is_causal=True), (q, k, v), torch.tensor(dheads))


def torch_adamw(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    w = leaf(w.copy())
    optimizer = torch.optim.AdamW([w], lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay, foreach=False)
    state = {"step": torch.tensor(float(t - 1)), "exp_avg": torch.tensor(m), "exp_avg_sq": torch.tensor(v)}
    optimizer.state[w] = state
    w.grad = torch.tensor(grad)
    optimizer.step()
    return w, state["exp_avg"], state["exp_avg_sq"]


IN_TORCH = {
    "cross_entropy": torch_cross_entropy,
    "softmax_backward": torch_softmax_backward,
    "layer_norm_backward": torch_layer_norm_backward,
    "attention_backward": torch_attention_backward,
    "adamw": torch_adamw,
}


def test_attributions_and_what_the_bias_adds_are_the_logit():
    for _, (parts, ln_f, direction, eps) in drawn_inputs(EXERCISES["logit_attribution"]):
        logit = plain.layer_norm(parts.sum(axis=0), **ln_f, eps=eps) @ direction
        attributions = EXERCISES["logit_attribution"].reference(parts, ln_f, direction, eps)
        assert abs(attributions.sum() + ln_f["bias"] @ direction - logit) < 1e-9 * max(1, np.abs(attributions).max())


@pytest.mark.parametrize("name", IN_TORCH)
def test_references_on_learning_are_pytorchs(name):
    exercise = EXERCISES[name]
    for _, arguments in drawn_inputs(exercise):
        found = exercise.reference(*arguments)
        for one, other in zip(found if exercise.returns else (found,), IN_TORCH[name](*arguments), strict=True):
            one, other = np.asarray(one), other.detach().numpy()
            assert one.shape == other.shape
            assert np.abs(one - other).max(initial=0) <= 1e-9 * max(1.0, np.abs(other).max(initial=0))
