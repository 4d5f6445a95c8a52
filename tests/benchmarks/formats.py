"""The same random GPT-2 small in the format of every peer."""

import json
import shutil
import subprocess
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


def prepare(folder):
    """Write the model for transformers and minigpt (hf/), CTranslate2 (ct2-*/) and llama.cpp (lc-*.gguf)."""
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
    for name, options in (("ct2-f32", []), ("ct2-i8", ["--quantization", "int8"])):
        command = ["ct2-transformers-converter", "--model", f"{folder}/hf", "--output_dir", f"{folder}/{name}"]
        subprocess.run([*command, "--force", *options], check=True)
    write_gguf(folder)


def write_gguf(folder):
    """Convert hf/ to llama.cpp's format in four precisions."""
    import gguf
    from safetensors.numpy import load_file

    stored = load_file(f"{folder}/hf/model.safetensors")
    arrays = {name.removeprefix("transformer."): array for name, array in stored.items()}
    vocab = json.loads(Path(f"{folder}/hf/vocab.json").read_text(encoding="utf-8"))
    merges = Path(f"{folder}/hf/merges.txt").read_text(encoding="utf-8").split("\n")[1:]
    for precision in ("f32", "f16", "q8_0", "q4_0"):
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

        table = "q8_0" if precision == "q4_0" else precision  # as minigpt, which keeps it in 8 bits
        add_array(writer, "token_embd.weight", arrays["wte.weight"], table)
        add_array(writer, "output.weight", arrays["wte.weight"], table)
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
