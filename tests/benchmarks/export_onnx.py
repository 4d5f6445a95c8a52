"""Convert hf/ to ONNX in float32, and with weights and activations in 8 bits (dynamic quantization)."""

import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from transformers import DynamicCache, GPT2LMHeadModel


class WithCache(torch.nn.Module):
    """GPT-2 as a function of new tokens and of the keys and values of earlier ones.

    The output matrix is a copy of the token embedding's, transposed: ONNX Runtime rounds it to 8 bits like the others,
    and leaves the embedding in float32.
    """

    def __init__(self, model):
        super().__init__()
        self.model = model.transformer
        self.head = torch.nn.Parameter(model.lm_head.weight.T.clone(memory_format=torch.contiguous_format))

    def forward(self, ids, past):
        """Return the logits of the last token and the new cache;  ids [B, T], past 2 x n_layer [B, H, S, K]."""
        cache = DynamicCache(list(zip(past[::2], past[1::2], strict=True)))
        output = self.model(ids, past_key_values=cache, use_cache=True)
        present = [array for layer in output.past_key_values.layers for array in (layer.keys, layer.values)]
        return output.last_hidden_state[:, -1] @ self.head, present


def export(folder):
    """Write ort-f32.onnx and ort-i8.onnx."""
    model = GPT2LMHeadModel.from_pretrained(f"{folder}/hf").eval()
    config = model.config
    n_arrays = 2 * config.n_layer
    past = [torch.zeros(2, config.n_head, 7, config.n_embd // config.n_head) for _ in range(n_arrays)]
    ids = torch.zeros(2, 5, dtype=torch.int64)
    any_length = torch.export.Dim.AUTO
    program = torch.onnx.export(
        WithCache(model).eval(),
        (ids, past),
        dynamic_shapes=({0: any_length, 1: any_length}, [{0: any_length, 2: any_length}] * n_arrays),
        input_names=["ids", *(f"past_{i}" for i in range(n_arrays))],
        output_names=["logits", *(f"present_{i}" for i in range(n_arrays))],
        dynamo=True,
    )
    program.save(f"{folder}/ort-f32.onnx")
    quantize_dynamic(
        f"{folder}/ort-f32.onnx",
        f"{folder}/ort-i8.onnx",
        op_types_to_quantize=["MatMul"],
        per_channel=True,
        weight_type=QuantType.QInt8,
    )
