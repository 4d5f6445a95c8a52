"""Measure minigpt beside the programs that its users would otherwise choose, on the same GPT-2 small.

    python tests/benchmarks/peers.py prepare DIR                          once: write the model for every peer, 4 GB
    python tests/benchmarks/peers.py compare DIR --work decode            measure the peers in turn, with ratios
    python tests/benchmarks/peers.py one DIR --work decode --peer hf-f32  one measurement, as a line of JSON

works   decode      ms per new token after a prompt of 32 tokens, one sequence
        decode900   the same after a prompt of 900 tokens
        prefill     ms until the logits of the last one of 900 prompt tokens
        batch4      ms per step, 4 sampled sequences from one prompt of 32 tokens (top_k 50)
        beam4       ms per step, beam search with 4 beams from a prompt of 32 tokens
        start       ms from the start of a process to its first greedy token after 32; it imports and loads the model
        train       ms per optimiser step, batch 4 x 64 tokens, AdamW, no dropout
        train2x512  the same, batch 2 x 512 tokens

A peer is a program and how it computes: its weights in 32, 16, 8 or 4 bits, or what measure_PROGRAM.py says.

program                                precisions                               pip install
hf       transformers on PyTorch       f32 bf16 amp compile amp_compile         torch transformers
ct2      CTranslate2                   f32 i8                                   ctranslate2
lc       llama.cpp                     f32 f16 q8_0 q4_0                        llama-cpp-python gguf
ov       OpenVINO                      f32 bf16 i8 a8                           openvino-genai
ort      ONNX Runtime                  f32 i8                                   onnxruntime onnx onnxscript
minigpt                                f32 c16 bf16 a16 i8 a8 i4                minigpt

All of them go into one environment; torch.compile needs a C++ compiler there. pip compiles llama.cpp for the processor of
the machine, with cmake. GCC 12 drops stores which set up AMX, and llama.cpp then fails with an illegal instruction on a
processor that has it: set CMAKE_ARGS="-DCMAKE_CXX_FLAGS='-fno-tree-dse -fno-dse'" for pip.

Only the conversion for OpenVINO needs an older transformers, and so another environment: `pip install torch nncf
"optimum-intel[openvino]"` there, and set OPTIMUM_PYTHON to its python for `prepare`. A program that is not installed is
left out, and a line says so; --peers that name it are an error.

The weights are random (seeded), because speed does not depend on their values. Every process uses THREADS threads, an
environment variable, 2 by default.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time

from formats import prepare
from measurements import MODULES, THREADS, measure

PEERS = {
    "decode": [
        "hf-f32", "hf-compile", "ct2-f32", "lc-f32", "ov-f32", "ort-f32", "minigpt-f32", "hf-bf16", "lc-f16", "ov-bf16",
        "minigpt-bf16", "ct2-i8", "lc-q8_0", "ov-i8", "ov-a8", "ort-i8", "minigpt-i8", "lc-q4_0",
        "minigpt-i4",
    ],
    "decode900": [
        "hf-f32", "ct2-f32", "lc-f32", "ov-f32", "ort-f32", "minigpt-f32", "minigpt-c16", "hf-bf16", "lc-f16",
        "ov-bf16", "minigpt-bf16", "ct2-i8", "lc-q8_0", "ov-i8", "ov-a8", "ort-i8", "minigpt-i8", "lc-q4_0",
        "minigpt-i4",
    ],
    "prefill": [
        "hf-f32", "ct2-f32", "lc-f32", "ov-f32", "ort-f32", "minigpt-f32", "hf-bf16", "hf-amp", "lc-f16", "ov-bf16",
        "minigpt-bf16", "minigpt-a16", "ct2-i8", "lc-q8_0", "ov-i8", "ov-a8", "ort-i8", "minigpt-i8", "minigpt-a8",
        "lc-q4_0", "minigpt-i4",
    ],
    "batch4": [
        "hf-f32", "ct2-f32", "ov-f32", "minigpt-f32", "hf-bf16", "ov-bf16", "minigpt-bf16", "ct2-i8", "ov-i8", "ov-a8",
        "minigpt-i8",
    ],
    "beam4": [
        "hf-f32", "ct2-f32", "ov-f32", "minigpt-f32", "hf-bf16", "ov-bf16", "minigpt-bf16", "ct2-i8", "ov-i8", "ov-a8",
        "minigpt-i8",
    ],
    "start": ["hf-f32", "ct2-f32", "lc-f32", "ov-f32", "ort-f32", "minigpt-f32"],
    "train": ["hf-f32", "hf-compile", "minigpt-f32", "hf-amp", "hf-amp_compile", "minigpt-bf16"],
    "train2x512": ["hf-f32", "hf-compile", "minigpt-f32", "hf-amp", "hf-amp_compile", "minigpt-bf16"],
}  # fmt: skip
MINIGPT_PRECISIONS = {  # of minigpt, by that of another program; the first one that is measured counts
    "f32": ["f32"], "compile": ["f32"], "bf16": ["bf16"], "f16": ["bf16"], "amp": ["a16", "bf16"],
    "amp_compile": ["a16", "bf16"], "i8": ["i8"], "q8_0": ["i8"], "a8": ["a8", "i8"], "q4_0": ["i4"],
}  # fmt: skip
PACKAGES = {"hf": "transformers", "ct2": "ctranslate2", "lc": "llama_cpp", "ov": "openvino_genai", "ort": "onnxruntime"}


def installed_programs():
    """Return the programs that can be imported, and print a line for every other one."""
    missing = {program for program, package in PACKAGES.items() if importlib.util.find_spec(package) is None}
    for program in sorted(missing):
        print(f"{program}: not installed: {PACKAGES[program]} cannot be imported")
    return [program for program in MODULES if program not in missing]


def compare(folder, work, peers, n_rounds):
    """Measure every peer once a round, each time in a process of its own, and print times and ratios."""
    times = {peer: [] for peer in peers}
    # Every program chooses its kernels by the processor: no setting for OpenBLAS, which is NumPy's, decides for it.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS_")}
    environment |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), str(THREADS))
    for _ in range(n_rounds):
        for peer in list(times):
            command = [sys.executable, os.path.abspath(__file__), "one", folder, "--work", work, "--peer", peer]
            start = time.perf_counter()
            result = subprocess.run(command, capture_output=True, text=True, env=environment)
            process_ms = 1e3 * (time.perf_counter() - start)
            if result.returncode:
                del times[peer]
                reason = result.stderr.strip().splitlines() or [str(result.returncode)]
                print(f"{peer}: failed: {reason[-1][:200]}")
                continue
            times[peer].append(process_ms if work == "start" else json.loads(result.stdout.splitlines()[-1])["ms"])
    print(
        f"work {work}: ms, best and median of {n_rounds} rounds; ratio = peer / minigpt of the same precision, "
        "median over rounds"
    )
    for peer, ms in times.items():
        program, _, precision = peer.partition("-")
        ratio = ""
        same = [f"minigpt-{ours}" for ours in MINIGPT_PRECISIONS.get(precision, []) if f"minigpt-{ours}" in times]
        if same and program != "minigpt":
            ratio = f"{statistics.median(a / b for a, b in zip(ms, times[same[0]], strict=False)):6.2f}x"
        print(f"  {peer:14s} {min(ms):9.2f} {statistics.median(ms):9.2f}   {ratio}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["prepare", "compare", "one"])
    parser.add_argument("folder")
    parser.add_argument("--work", choices=PEERS, default="decode")
    parser.add_argument("--peer", default="minigpt-f32")
    parser.add_argument("--peers", nargs="*")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.command == "one":
        ms = measure(arguments.folder, arguments.work, arguments.peer)
        print(json.dumps({"peer": arguments.peer, "work": arguments.work, "ms": ms}))
        return
    programs = installed_programs()
    if arguments.command == "prepare":
        prepare(arguments.folder, programs)
        return
    for peer in arguments.peers or []:
        if peer.partition("-")[0] not in programs:
            parser.error(f"{peer} cannot be measured: its program is unknown or not installed")
    peers = arguments.peers or [peer for peer in PEERS[arguments.work] if peer.partition("-")[0] in programs]
    compare(arguments.folder, arguments.work, peers, arguments.rounds)


if __name__ == "__main__":
    main()
