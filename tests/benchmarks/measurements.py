"""One measurement of one program, in milliseconds; see peers.py."""

import json
import os
import random
import time
from pathlib import Path

import numpy as np

THREADS = int(os.environ.get("THREADS", "2"))
N_STEPS = 48  # new tokens whose mean time is measured


def measure(folder, work, peer):
    """Return the ms of a peer for a work. For "start" the caller measures the whole process, and this returns None."""
    program, _, precision = peer.partition("-")
    measures = {"hf": measure_hf, "ct2": measure_ct2, "lc": measure_llama_cpp, "minigpt": measure_minigpt}
    return measures[program](folder, work, precision)


def prompt_ids(work):
    rng = random.Random(0)
    return [rng.randrange(50000) for _ in range(900 if work in ("prefill", "decode900") else 32)]


def seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def best_ms(function, n_repeats=3):
    return 1e3 * min(seconds(function) for _ in range(n_repeats))


def measure_generation(generate, work):
    """Measure generate(n), which continues the prompt of a work by n tokens: the prompt alone, or ms per step.

    The time of a step is the difference between 1 + N_STEPS tokens and 1 token.
    """
    if work == "start":
        generate(1)
        return None
    if work == "prefill":
        generate(1)
        return best_ms(lambda: generate(1))
    generate(4)
    return (best_ms(lambda: generate(1 + N_STEPS)) - best_ms(lambda: generate(1))) / N_STEPS


def measure_steps(step):
    """Measure a training step, after two that warm up."""
    step()
    step()
    return best_ms(step, 4)


def measure_hf(folder, work, precision):
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.set_num_threads(THREADS)
    if work == "train":
        model = GPT2LMHeadModel(GPT2Config(resid_pdrop=0, embd_pdrop=0, attn_pdrop=0))
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
        ids = torch.randint(0, 50257, (4, 64))

        def step():
            model(ids, labels=ids).loss.backward()
            optimizer.step()
            optimizer.zero_grad()

        return measure_steps(step)

    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    model = GPT2LMHeadModel.from_pretrained(f"{folder}/hf", dtype=dtype).eval()
    ids = torch.tensor([prompt_ids(work)])
    options = {
        "batch4": {"do_sample": True, "num_return_sequences": 4, "top_k": 50},
        "beam4": {"num_beams": 4, "do_sample": False},
    }.get(work, {"do_sample": False})

    def by_generate(n):
        model.generate(ids, max_new_tokens=n, min_new_tokens=n, pad_token_id=0, **options)

    def by_bare_loop(n):  # generate itself costs time
        output = model(ids, use_cache=True, logits_to_keep=1)
        past = output.past_key_values
        for _ in range(n - 1):
            next_ids = output.logits[:, -1:].argmax(-1)
            output = model(next_ids, past_key_values=past, use_cache=True)

    with torch.no_grad():
        generate = by_bare_loop if work in ("decode", "decode900", "prefill") else by_generate
        return measure_generation(generate, work)


def measure_ct2(folder, work, precision):
    import ctranslate2

    compute_type = "int8" if precision == "i8" else "float32"
    generator = ctranslate2.Generator(f"{folder}/ct2-{precision}", compute_type=compute_type, intra_threads=THREADS)
    vocab = json.loads(Path(f"{folder}/hf/vocab.json").read_text(encoding="utf-8"))
    tokens = sorted(vocab, key=vocab.get)
    prompt = [tokens[i] for i in prompt_ids(work)]
    options = {"batch4": {"num_hypotheses": 4, "sampling_topk": 50}, "beam4": {"beam_size": 4}}
    options = options.get(work, {"sampling_topk": 1})

    def generate(n):
        generator.generate_batch(
            [prompt], max_length=n, min_length=n, include_prompt_in_result=False, end_token=[], **options
        )

    return measure_generation(generate, work)


def measure_llama_cpp(folder, work, precision):
    import llama_cpp

    model = llama_cpp.Llama(
        f"{folder}/lc-{precision}.gguf",
        n_ctx=1024,
        n_threads=THREADS,
        n_threads_batch=THREADS,
        n_batch=1024,
        verbose=False,
    )

    def generate(n):
        model.reset()
        model.eval(prompt_ids(work))
        for _ in range(n - 1):
            logits = np.ctypeslib.as_array(model._ctx.get_logits(), shape=(50257,))
            model.eval([int(np.argmax(logits))])

    return measure_generation(generate, work)


def measure_minigpt(folder, work, precision):
    from minigpt import GPT2, GPT2Config
    from minigpt.ops import tune_process

    tune_process(THREADS, training=work == "train")
    if work == "train":
        from minigpt.training import AdamW, loss_and_grads

        model = GPT2.random(GPT2Config(), seed=0)
        optimizer = AdamW(model.params, lr=1e-4, ops=model.ops)
        ids = np.random.default_rng(0).integers(0, 50257, (4, 65))

        def step():
            _, grads = loss_and_grads(model, ids[:, :-1], ids[:, 1:])
            optimizer.step(grads)

        return measure_steps(step)

    precision, _, cache = precision.partition("-")
    storage = {
        "f32": {},
        "bf16": {"dtype": "bfloat16"},
        "a16": {"dtype": "bfloat16", "activations": "bfloat16"},
        "i8": {"quantize": "int8"},
        "a8": {"quantize": "int8", "activations": "int8"},
        "i4": {"quantize": "int4"},
    }[precision]
    model = GPT2.from_pretrained(f"{folder}/hf", threads=THREADS, **storage)
    ids = np.array([prompt_ids(work)])
    options = {
        "batch4": {"do_sample": True, "num_return_sequences": 4, "top_k": 50, "seed": 0},
        "beam4": {"num_beams": 4},
    }.get(work, {})
    options |= {"cache_dtype": "float16"} if cache == "c16" else {}
    return measure_generation(lambda n: model.generate(ids, max_new_tokens=n, eos_token_id=None, **options), work)
