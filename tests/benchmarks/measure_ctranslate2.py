"""CTranslate2: f32, i8 (weights and activations in 8 bits)."""

import json
from pathlib import Path

import ctranslate2
from measurements import THREADS, measure_generation, prompt_ids

GENERATION_OPTIONS = {"batch4": {"num_hypotheses": 4, "sampling_topk": 50}, "beam4": {"beam_size": 4}}


def measure(folder, work, precision):
    compute_type = "int8" if precision == "i8" else "float32"
    generator = ctranslate2.Generator(f"{folder}/ct2-{precision}", compute_type=compute_type, intra_threads=THREADS)
    vocab = json.loads(Path(f"{folder}/hf/vocab.json").read_text(encoding="utf-8"))
    tokens = sorted(vocab, key=vocab.get)
    prompt = [tokens[i] for i in prompt_ids(work)]
    options = GENERATION_OPTIONS.get(work, {"sampling_topk": 1})

    def generate(n):
        generator.generate_batch(
            [prompt], max_length=n, min_length=n, include_prompt_in_result=False, end_token=[], **options
        )

    return measure_generation(generate, work)
