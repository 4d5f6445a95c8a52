"""ONNX Runtime: f32, i8 (weights and activations in 8 bits)."""

import numpy as np
import onnxruntime
from measurements import THREADS, measure_generation, prompt_ids


def measure(folder, work, precision):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(f"{folder}/ort-{precision}.onnx", options)
    output_names = [output.name for output in session.get_outputs()]
    empty = onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros((1, 12, 0, 64), np.float32))

    def generate(n):
        ids, past = [prompt_ids(work)], [empty] * 24
        for _ in range(n):
            binding = session.io_binding()  # without it, the cache would be copied twice a token
            binding.bind_cpu_input("ids", np.array(ids))
            for i, array in enumerate(past):
                binding.bind_ortvalue_input(f"past_{i}", array)
            for name in output_names:
                binding.bind_output(name)
            session.run_with_iobinding(binding)
            logits, *past = binding.get_outputs()
            ids = [[int(logits.numpy().argmax())]]

    return measure_generation(generate, work)
