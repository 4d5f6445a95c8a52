"""The official weights, where a user has them (pytest -m official): published outputs, reproduced.

Where the numbers come from: tests/data/official-gpt2-outputs, computed with PyTorch; the others are published outputs of
the official models.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from minigpt import GPT2, Tokenizer
from minigpt.generation.sampling import log_softmax
from minigpt.ops import plain

pytestmark = pytest.mark.official

KNOWN = Path(__file__).parent / "data" / "official-gpt2-outputs" / "gpt2-small.safetensors"


@pytest.fixture(scope="module")
def gpt2():
    return GPT2.from_pretrained("gpt2")


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.from_pretrained("gpt2")


@pytest.mark.parametrize("i", range(3))
def test_logits_and_attention(gpt2, tokenizer, i):
    with safe_open(KNOWN, framework="numpy") as known:
        prompt = json.loads(known.metadata()["prompts"])[i]
        ids, logits, attention = (known.get_tensor(f"{i}.{name}") for name in ("ids", "logits", "attention"))
    assert tokenizer.encode(prompt) == ids.ravel().tolist()
    trace = {}
    # These were computed with the exact GELU, not with the tanh formula that GPT-2 was trained with.
    ours = gpt2.with_ops(gelu_new=plain.gelu)(ids.ravel(), trace=trace)[-1]
    assert np.abs(ours - logits.ravel()).max() < 1e-4 * np.abs(logits).max()
    for layer in range(12):
        weights = trace[f"h.{layer}.attn.weights"][0]
        assert np.abs(weights - attention[layer].reshape(weights.shape)).max() < 1e-4


def test_greedy_continuations(gpt2, tokenizer):
    ids = tokenizer.encode("Alan Turing theorized that computers would one day become")
    expected = (
        "262 749 3665 8217 319 262 5440 13 198 198 464 3644 318 257 4572 326 460 1620 3716 16765 11 290 340 460 1620 777 "
        "16765 287 257 835 326 318 845 2092 284 262 1692 3632 13 198"
    )
    assert gpt2.generate(ids, max_new_tokens=40)[0, len(ids) :].tolist() == [int(i) for i in expected.split()]

    expected = "464 3290 373 1043 287 257 2214 1474 262 16246 286 2688 290 2688 27262 13 198 198 464 3290"
    assert gpt2.generate([464, 3290], max_new_tokens=18)[0].tolist() == [int(i) for i in expected.split()]

    ids = tokenizer.encode("I enjoy walking with my cute dog")
    text = tokenizer.decode(gpt2.generate(ids, max_new_tokens=50 - len(ids))[0, len(ids) :])
    again = "I'm not sure if I'll"
    assert (
        text == f", but {again} ever be able to walk with my dog. {again} ever be able to walk with my dog.\n\n{again}"
    )


def test_next_tokens_and_their_logits(gpt2, tokenizer):
    logits = gpt2(tokenizer.encode("One two three four"))[-1]
    assert logits.argmax() == 1936 and abs(logits.max() - -69.4948) < 1e-4 * 70
    assert np.abs(gpt2([50256])[0, :3] - [-43.4317, -39.8364, -43.0659]).max() < 1e-4 * 45

    ids = tokenizer.encode("Today is")
    for token_id, logprob in ((262, -1.414), (1110, -2.609), (618, -2.010), (356, -1.859), (460, -2.508)):
        logprobs = log_softmax(gpt2(ids)[-1])
        assert logprobs.argmax() == token_id and abs(logprobs.max() - logprob) < 1e-3
        ids.append(token_id)


def test_ten_training_steps():
    """The losses that karpathy/llm.c, test_gpt2.c publishes: AdamW on one batch of 4 x 64 tokens."""
    from minigpt.training import AdamW, loss_and_grads

    known = json.loads((KNOWN.parent / "ten-training-steps.json").read_text())
    model, tokens = GPT2.from_pretrained("gpt2", ops="jit"), np.array(known["tokens"])
    optimizer = AdamW(model.params, known["lr"], known["betas"], known["eps"], known["weight_decay"], model.ops)
    losses = []
    for _ in known["losses"]:
        loss, grads = loss_and_grads(model, tokens[:256].reshape(4, 64), tokens[1:257].reshape(4, 64))
        optimizer.step(grads)
        losses.append(loss)
    assert np.allclose(losses, known["losses"], rtol=0, atol=1e-3)


def test_distilgpt2():
    ids = Tokenizer.from_pretrained("distilgpt2").encode("One two three four five six seven eight nine ten eleven")
    logits = GPT2.from_pretrained("distilgpt2")(ids)[-1]
    assert logits.argmax() == 14104 and abs(logits.max() - -48.7065) < 1e-4 * 50
