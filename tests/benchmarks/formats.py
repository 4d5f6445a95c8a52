"""The same random GPT-2 small in the format of every peer."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

VOCABULARY = Path(__file__).parents[1] / "data" / "gpt2-tokenizer"
LLAMA_CPP_NAMES = {
    "ln_1": "attn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "ln_2": "ffn_norm",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}


def prepare(folder, programs):
    """Write the model in hf/, for transformers and minigpt, and in the formats of these programs."""
    write_hf(folder)
    writers = {"ct2": write_ct2, "lc": write_gguf, "ov": write_openvino, "ort": write_onnx}
    for program in programs:
        if program in writers:
            writers[program](folder)


def write_hf(folder):
    """Make the model and write it to hf/."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config())
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2 and not name.startswith(("transformer.wte", "transformer.wpe")):
                parameter.mul_(2.0)
            if name.endswith("bias"):
                parameter.normal_(0, 0.02)
    model.save_pretrained(f"{folder}/hf")
    for file in ("vocab.json", "merges.txt"):
        shutil.copy(VOCABULARY / file, f"{folder}/hf/{file}")


def write_ct2(folder):
    """Convert hf/ to CTranslate2's format in two precisions."""
    for name, options in (("ct2-f32", []), ("ct2-i8", ["--quantization", "int8"])):
        command = [sys.executable, "-m", "ctranslate2.converters.transformers", "--model", f"{folder}/hf"]
        subprocess.run([*command, "--output_dir", f"{folder}/{name}", "--force", *options], check=True)


def write_openvino(folder):
    """Convert hf/ to OpenVINO's format, in the environment of optimum-intel."""
    if "OPTIMUM_PYTHON" not in os.environ:
        print("ov: not prepared: OPTIMUM_PYTHON is not set")
        return
    script = Path(__file__).with_name("export_openvino.py")
    subprocess.run([os.environ["OPTIMUM_PYTHON"], script, folder], check=True)


def write_onnx(folder):
    """Convert hf/ to ONNX."""
    import export_onnx

    export_onnx.export(folder)


def write_gguf(folder, precisions=("f32", "f16", "q8_0", "q4_0")):
    """Convert hf/ to llama.cpp's format. In q4_0 the embedding and the output matrix, which are one array, are q8_0."""
    import gguf
    from safetensors.numpy import load_file

    stored = load_file(f"{folder}/hf/model.safetensors")
    arrays = {name.removeprefix("transformer."): array for name, array in stored.items()}
    vocab = json.loads(Path(f"{folder}/hf/vocab.json").read_text(encoding="utf-8"))
    merges = Path(f"{folder}/hf/merges.txt").read_text(encoding="utf-8").split("\n")[1:]
    for precision in precisions:
        writer = gguf.GGUFWriter(f"{folder}/lc-{precision}.gguf", "gpt2")
        writer.add_block_count(12)
        writer.add_context_length(1024)
        writer.add_embedding_length(768)
        writer.add_feed_forward_length(3072)
        writer.add_head_count(12)
        writer.add_layer_norm_eps(1e-5)
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("gpt-2")
        writer.add_token_list(sorted(vocab, key=vocab.get))
        writer.add_token_types([1] * len(vocab))
        writer.add_token_merges([merge for merge in merges if merge])
        writer.add_bos_token_id(50256)
        writer.add_eos_token_id(50256)

        add_array(writer, "token_embd.weight", arrays["wte.weight"], precision)
        add_array(writer, "output.weight", arrays["wte.weight"], precision)
        add_array(writer, "position_embd.weight", arrays["wpe.weight"], "f32")
        add_array(writer, "output_norm.weight", arrays["ln_f.weight"], "f32")
        add_array(writer, "output_norm.bias", arrays["ln_f.bias"], "f32")
        for layer in range(12):
            for official, name in LLAMA_CPP_NAMES.items():
                weight = arrays[f"h.{layer}.{official}.weight"]
                add_array(writer, f"blk.{layer}.{name}.weight", weight.T, precision)
                add_array(writer, f"blk.{layer}.{name}.bias", arrays[f"h.{layer}.{official}.bias"], "f32")
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def add_array(writer, name, array, precision):
    """Add an array to a GGUF file: matrices in this precision, vectors in float32."""
    import gguf

    array = np.ascontiguousarray(array, dtype=np.float32)
    if array.ndim == 1 or precision == "f32":
        writer.add_tensor(name, array)
    elif precision == "f16":
        writer.add_tensor(name, array.astype(np.float16))
    else:
        kind = gguf.GGMLQuantizationType[precision.upper()]
        writer.add_tensor(name, gguf.quants.quantize(array, kind), raw_dtype=kind)
