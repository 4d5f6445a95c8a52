"""minigpt: f32, bf16, i8, i4 name the format of the weights; a16 and a8 also round the activations, c16 the cache.

A training step keeps its weights in float32; bf16 rounds what it multiplies.
"""

import numpy as np
from measurements import THREADS, TRAINING_BATCHES, measure_generation, measure_training, prompt_ids

from minigpt import GPT2, GPT2Config
from minigpt.ops import tune_process

WEIGHTS = {
    "f32": {},
    "bf16": {"dtype": "bfloat16"},
    "a16": {"dtype": "bfloat16", "activations": "bfloat16"},
    "i8": {"quantize": "int8"},
    "a8": {"quantize": "int8", "activations": "int8"},
    "i4": {"quantize": "int4"},
    "c16": {},
}
CACHES = {"c16": {"cache_dtype": "float16"}}
GENERATION_OPTIONS = {
    "batch4": {"do_sample": True, "num_return_sequences": 4, "top_k": 50, "seed": 0},
    "beam4": {"num_beams": 4},
}


def measure(folder, work, precision):
    tune_process(THREADS, training=work in TRAINING_BATCHES)
    if work in TRAINING_BATCHES:
        return measure_training_step(work, precision)
    model = GPT2.from_pretrained(f"{folder}/hf", threads=THREADS, **WEIGHTS[precision])
    ids = np.array([prompt_ids(work)])
    options = GENERATION_OPTIONS.get(work, {}) | CACHES.get(precision, {})
    return measure_generation(lambda n: model.generate(ids, max_new_tokens=n, eos_token_id=None, **options), work)


def measure_training_step(work, precision):
    from minigpt.training import AdamW, loss_and_grads  # here, because the work "start" must not wait for it

    model = GPT2.random(GPT2Config(), seed=0)
    optimizer = AdamW(model.params, lr=1e-4, ops=model.ops)
    n_sequences, n_tokens = TRAINING_BATCHES[work]
    ids = np.random.default_rng(0).integers(0, 50257, (n_sequences, n_tokens + 1))

    products = {"f32": None, "bf16": "bfloat16"}[precision]

    def step():
        _, grads = loss_and_grads(model, ids[:, :-1], ids[:, 1:], dtype=products)
        optimizer.step(grads)

    return measure_training(step)
