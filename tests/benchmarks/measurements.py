"""One measurement of one program, in milliseconds; see peers.py. measure_PROGRAM.py runs the program."""

import importlib
import os
import random
import time

THREADS = int(os.environ.get("THREADS", "2"))
N_STEPS = 48  # new tokens whose mean time is measured
MODULES = {
    "hf": "measure_transformers",
    "ct2": "measure_ctranslate2",
    "lc": "measure_llama_cpp",
    "ov": "measure_openvino",
    "ort": "measure_onnxruntime",
    "minigpt": "measure_minigpt",
}
TRAINING_BATCHES = {"train": (4, 64), "train2x512": (2, 512)}  # sequences x tokens


def measure(folder, work, peer):
    """Return the ms of a peer for a work. For "start" the caller measures the whole process, and this returns None."""
    program, _, precision = peer.partition("-")
    return importlib.import_module(MODULES[program]).measure(folder, work, precision)


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


def measure_training(step):
    """Measure a training step, after two that warm up."""
    step()
    step()
    return best_ms(step, 4)
