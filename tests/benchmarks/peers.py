"""Measure minigpt beside the programs that its users would otherwise choose, on the same GPT-2 small.

    python tests/benchmarks/peers.py prepare DIR                          once: write the model for every peer, 2 GB
    python tests/benchmarks/peers.py compare DIR --work decode            measure the peers in turn, with ratios
    python tests/benchmarks/peers.py one DIR --work decode --peer hf-f32  one measurement, as a line of JSON

works   decode     ms per new token after a prompt of 32 tokens, one sequence
        decode900  the same after a prompt of 900 tokens
        prefill    ms until the logits of the last one of 900 prompt tokens
        batch4     ms per step, 4 sampled sequences from one prompt of 32 tokens (top_k 50)
        beam4      ms per step, beam search with 4 beams from a prompt of 32 tokens
        start      ms from the start of a process to its first greedy token after 32; it imports and loads the model
        train      ms per optimiser step, batch 4 x 64 tokens, AdamW, no dropout
peers   hf-f32 hf-bf16 ct2-f32 ct2-i8 lc-f32 lc-f16 lc-q8_0 minigpt-f32 minigpt-bf16 minigpt-a16 minigpt-i8 minigpt-a8
        (transformers, CTranslate2, llama.cpp, minigpt; each does only the works that it can; a16 and a8: activations
        in the format of the weights, bfloat16 or int8; -c16 after it: keys and values in float16, as llama.cpp has them)

The weights are random (seeded), because speed does not depend on their values. Every process uses THREADS threads, an
environment variable, 2 by default. Beside minigpt's test extra this needs ctranslate2, llama-cpp-python and gguf.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

from formats import prepare
from measurements import THREADS, measure

PEERS = {
    "decode": [
        "hf-f32", "ct2-f32", "lc-f32", "minigpt-f32", "hf-bf16", "lc-f16", "minigpt-bf16", "ct2-i8", "lc-q8_0",
        "minigpt-i8",
    ],
    "decode900": ["hf-f32", "ct2-f32", "lc-f32", "minigpt-f32", "minigpt-f32-c16", "lc-q8_0", "minigpt-i8", "minigpt-i8-c16"],
    "prefill": [
        "hf-f32", "ct2-f32", "lc-f32", "minigpt-f32", "hf-bf16", "minigpt-bf16", "minigpt-a16", "ct2-i8", "lc-q8_0",
        "minigpt-i8", "minigpt-a8",
    ],
    "batch4": ["hf-f32", "ct2-f32", "minigpt-f32", "ct2-i8", "minigpt-i8"],
    "beam4": ["hf-f32", "ct2-f32", "minigpt-f32", "ct2-i8", "minigpt-i8"],
    "start": ["hf-f32", "ct2-f32", "lc-f32", "minigpt-f32"],
    "train": ["hf-f32", "minigpt-f32"],
}  # fmt: skip
MINIGPT_PRECISIONS = {"i8": "i8", "q8_0": "i8", "f16": "bf16", "bf16": "bf16", "f32": "f32"}


def compare(folder, work, peers, n_rounds):
    """Measure every peer once a round, each time in a process of its own, and print times and ratios."""
    times = {peer: [] for peer in peers}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), str(THREADS))
    for _ in range(n_rounds):
        for peer in list(times):
            command = [sys.executable, os.path.abspath(__file__), "one", folder, "--work", work, "--peer", peer]
            start = time.perf_counter()
            result = subprocess.run(command, capture_output=True, text=True, env=os.environ | threads)
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
        minigpt_ms = times.get(f"minigpt-{MINIGPT_PRECISIONS.get(precision)}")
        ratio = ""
        if minigpt_ms and program != "minigpt":
            ratio = f"{statistics.median(a / b for a, b in zip(ms, minigpt_ms, strict=False)):6.2f}x"
        print(f"  {peer:12s} {min(ms):9.2f} {statistics.median(ms):9.2f}   {ratio}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["prepare", "compare", "one"])
    parser.add_argument("folder")
    parser.add_argument("--work", choices=PEERS, default="decode")
    parser.add_argument("--peer", default="minigpt-f32")
    parser.add_argument("--peers", nargs="*")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.command == "prepare":
        prepare(arguments.folder)
    elif arguments.command == "one":
        ms = measure(arguments.folder, arguments.work, arguments.peer)
        print(json.dumps({"peer": arguments.peer, "work": arguments.work, "ms": ms}))
    else:
        compare(arguments.folder, arguments.work, arguments.peers or PEERS[arguments.work], arguments.rounds)
