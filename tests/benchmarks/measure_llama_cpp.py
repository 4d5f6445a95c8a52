"""llama.cpp: f32, f16, q8_0 and q4_0; activations in 8 bits for the last two."""

import llama_cpp
import numpy as np
from measurements import THREADS, measure_generation, prompt_ids


def measure(folder, work, precision):
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
