"""Convert hf/ to OpenVINO's format in three precisions, with optimum-intel and nncf: python export_openvino.py DIR.

It runs in an environment of its own, because optimum-intel needs an older transformers than minigpt's tests.
"""

import shutil
import sys

import nncf
import numpy as np
import openvino
from optimum.intel import OVModelForCausalLM

N_CALIBRATION_PROMPTS = 8


def export(folder):
    """Write ov-f32/, ov-i8/ (weights in 8 bits) and ov-a8/ (weights and activations in 8 bits)."""
    for name, in_8_bits in (("ov-f32", False), ("ov-i8", True)):
        model = OVModelForCausalLM.from_pretrained(f"{folder}/hf", export=True, compile=False, load_in_8bit=in_8_bits)
        model.save_pretrained(f"{folder}/{name}")
    export_a8(folder)


def export_a8(folder):
    """Quantize ov-f32/ with activations, for which nncf takes the scales from prompts, but not inside the attention.

    There OpenVINO has one operation with the cache, which works on numbers that are not quantized only.
    """
    model = openvino.Core().read_model(f"{folder}/ov-f32/openvino_model.xml")
    prompts = np.random.default_rng(0).integers(0, 50257, (N_CALIBRATION_PROMPTS, 1, 256))
    quantized = nncf.quantize(
        model,
        nncf.Dataset(prompts, model_inputs),
        subset_size=N_CALIBRATION_PROMPTS,
        model_type=nncf.ModelType.TRANSFORMER,
        ignored_scope=nncf.IgnoredScope(types=["ScaledDotProductAttention"]),
    )
    openvino.save_model(quantized, f"{folder}/ov-a8/openvino_model.xml", compress_to_fp16=False)
    for file in ("config.json", "generation_config.json"):
        shutil.copy(f"{folder}/ov-f32/{file}", f"{folder}/ov-a8/{file}")


def model_inputs(ids):
    """Return the inputs of the model for a prompt [1, T] without a past."""
    return {
        "input_ids": ids,
        "attention_mask": np.ones_like(ids),
        "position_ids": np.arange(ids.shape[1])[None],
        "beam_idx": np.zeros(1, np.int32),
    }


if __name__ == "__main__":
    export(sys.argv[1])
