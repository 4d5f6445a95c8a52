"""transformers on PyTorch.

f32, bf16: weights in this precision; amp: float32 weights, computing in bfloat16 (autocast); compile, amp_compile: the
same as f32 and amp through torch.compile, which needs a C++ compiler.
"""

import torch
from measurements import N_STEPS, THREADS, TRAINING_BATCHES, measure_generation, measure_training, prompt_ids
from transformers import GPT2Config, GPT2LMHeadModel, StaticCache

GENERATION_OPTIONS = {
    "batch4": {"do_sample": True, "num_return_sequences": 4, "top_k": 50},
    "beam4": {"num_beams": 4, "do_sample": False},
    "start": {"do_sample": False},
}


def measure(folder, work, precision):
    torch.set_num_threads(THREADS)
    if work in TRAINING_BATCHES:
        return measure_training_step(work, precision)
    with torch.no_grad(), autocast(precision):
        return measure_generation(generation(folder, work, precision), work)


def autocast(precision):
    return torch.autocast("cpu", torch.bfloat16, enabled=precision.startswith("amp"))


def measure_training_step(work, precision):
    model = GPT2LMHeadModel(GPT2Config(resid_pdrop=0, embd_pdrop=0, attn_pdrop=0))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    ids = torch.randint(0, 50257, TRAINING_BATCHES[work])
    forward = torch.compile(model) if precision.endswith("compile") else model

    def step():
        with autocast(precision):
            loss = forward(ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return measure_training(step)


def generation(folder, work, precision):
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    model = GPT2LMHeadModel.from_pretrained(f"{folder}/hf", dtype=dtype).eval()
    ids = torch.tensor([prompt_ids(work)])
    forward = torch.compile(model) if precision.endswith("compile") else model

    def by_generate(n):
        model.generate(ids, max_new_tokens=n, min_new_tokens=n, pad_token_id=0, **GENERATION_OPTIONS[work])

    def by_bare_loop(n):  # generate itself costs time
        cache = None
        if forward is not model:  # in a cache of fixed length every token has the same shapes: one compiled program
            cache = StaticCache(model.config, max_cache_len=ids.shape[1] + 1 + N_STEPS)
        output = model(ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        for _ in range(n - 1):
            next_ids = output.logits[:, -1:].argmax(-1)
            output = forward(next_ids, past_key_values=output.past_key_values, use_cache=True)

    return by_generate if work in GENERATION_OPTIONS else by_bare_loop
