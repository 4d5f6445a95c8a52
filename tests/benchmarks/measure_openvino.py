"""OpenVINO's generation (openvino-genai).

f32: computing in float32; bf16: in bfloat16, which OpenVINO chooses by itself where the processor has AMX; i8: weights
in 8 bits; a8: weights and activations in 8 bits.
"""

import numpy as np
import openvino
import openvino_genai
from measurements import THREADS, measure_generation, prompt_ids

MODELS = {"f32": "ov-f32", "bf16": "ov-f32", "i8": "ov-i8", "a8": "ov-a8"}
PROPERTIES = {"f32": {"INFERENCE_PRECISION_HINT": "f32"}, "bf16": {"INFERENCE_PRECISION_HINT": "bf16"}}
GENERATION_OPTIONS = {
    "batch4": {"do_sample": True, "num_return_sequences": 4, "top_k": 50},
    "beam4": {"num_beams": 4},
}


def measure(folder, work, precision):
    pipeline = openvino_genai.LLMPipeline(
        f"{folder}/{MODELS[precision]}",
        "CPU",
        INFERENCE_NUM_THREADS=THREADS,
        ATTENTION_BACKEND="SDPA",  # the other one keeps prompts, and would compute ours only once
        **PROPERTIES.get(precision, {}),
    )
    ids = openvino.Tensor(np.array([prompt_ids(work)]))
    options = GENERATION_OPTIONS.get(work, {})

    def generate(n):
        pipeline.generate(ids, max_new_tokens=n, ignore_eos=True, **options)

    return measure_generation(generate, work)
