"""Measure minigpt beside the programs its users would otherwise pick, on the same GPT-2 small.

    python peers.py prepare DIR                  # once: makes the model in every peer's format (about 2 GB)
    python peers.py compare DIR --work decode    # peers and minigpt in turn, R rounds, with ratios
    python peers.py one DIR --work decode --peer hf-f32      # one measurement, as a JSON line

works   decode    ms per new token after a 32-token prompt, one sequence
        decode900 the same after a 900-token prompt
        prefill   ms until the logits of the last of 900 prompt tokens
        batch4    ms per step, 4 sampled sequences from one 32-token prompt (top_k 50)
        beam4     ms per step, beam search with 4 beams from a 32-token prompt
        start     ms from process start to the first greedy token of a 32-token prompt (imports and loading counted)
        train     ms per optimiser step, batch 4 x 64 tokens, AdamW, no dropout
peers   hf-f32 hf-bf16 ct2-f32 ct2-i8 lc-f32 lc-f16 lc-q8_0 minigpt-f32 minigpt-bf16 minigpt-i8   (each only does the works it can)

The weights are random (seeded): speed does not depend on their values. Every process is held to THREADS threads.
Needs, beside minigpt: torch==2.13.0 transformers ctranslate2 llama-cpp-python gguf safetensors numpy.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time

THREADS = int(os.environ.get("THREADS", "2"))
HERE = os.path.dirname(os.path.abspath(__file__))
PEERS = {
    "decode": [
        "hf-f32",
        "ct2-f32",
        "lc-f32",
        "minigpt-f32",
        "hf-bf16",
        "lc-f16",
        "minigpt-bf16",
        "ct2-i8",
        "lc-q8_0",
        "minigpt-i8",
    ],
    "decode900": ["hf-f32", "ct2-f32", "lc-f32", "minigpt-f32", "lc-q8_0", "minigpt-i8"],
    "prefill": ["hf-f32", "ct2-f32", "lc-f32", "minigpt-f32", "ct2-i8", "lc-q8_0", "minigpt-i8"],
    "batch4": ["hf-f32", "ct2-f32", "minigpt-f32", "ct2-i8", "minigpt-i8"],
    "beam4": ["hf-f32", "ct2-f32", "minigpt-f32", "ct2-i8", "minigpt-i8"],
    "start": ["hf-f32", "ct2-f32", "lc-f32", "minigpt-f32"],
    "train": ["hf-f32", "minigpt-f32"],
}


# ---------------------------------------------------------------- the model, in every peer's format
def prepare(d):
    import numpy as np
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config())
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.ndim == 2 and not name.startswith(("transformer.wte", "transformer.wpe")):
                p.mul_(2.0)
            if name.endswith("bias"):
                p.normal_(0, 0.02)
    model.save_pretrained(f"{d}/hf")
    for f in ("vocab.json", "merges.txt"):
        shutil.copy(os.path.join(HERE, "data", "gpt2-tokenizer", f), f"{d}/hf/{f}")
    for name, q in (("ct2-f32", None), ("ct2-i8", "int8")):
        cmd = ["ct2-transformers-converter", "--model", f"{d}/hf", "--output_dir", f"{d}/{name}", "--force"]
        subprocess.run(cmd + (["--quantization", q] if q else []), check=True)
    write_gguf(d, np)


def write_gguf(d, np):
    import gguf
    from safetensors.numpy import load_file

    sd = {k.removeprefix("transformer."): v for k, v in load_file(f"{d}/hf/model.safetensors").items()}
    vocab = json.load(open(f"{d}/hf/vocab.json", encoding="utf-8"))
    merges = open(f"{d}/hf/merges.txt", encoding="utf-8").read().split("\n")[1:]
    tokens = sorted(vocab, key=vocab.get)
    names = {
        "ln_1": "attn_norm",
        "attn.c_attn": "attn_qkv",
        "attn.c_proj": "attn_output",
        "ln_2": "ffn_norm",
        "mlp.c_fc": "ffn_up",
        "mlp.c_proj": "ffn_down",
    }
    for q in ("f32", "f16", "q8_0"):
        w = gguf.GGUFWriter(f"{d}/lc-{q}.gguf", "gpt2")
        w.add_block_count(12)
        w.add_context_length(1024)
        w.add_embedding_length(768)
        w.add_feed_forward_length(3072)
        w.add_head_count(12)
        w.add_layer_norm_eps(1e-5)
        w.add_tokenizer_model("gpt2")
        w.add_tokenizer_pre("gpt-2")
        w.add_token_list(tokens)
        w.add_token_types([1] * len(tokens))
        w.add_token_merges([m for m in merges if m])
        w.add_bos_token_id(50256)
        w.add_eos_token_id(50256)

        def add(name, a, matrix=True):
            a = np.ascontiguousarray(a, dtype=np.float32)
            if a.ndim == 1 or not matrix or q == "f32":
                w.add_tensor(name, a)
            elif q == "f16":
                w.add_tensor(name, a.astype(np.float16))
            else:
                t = gguf.GGMLQuantizationType.Q8_0
                w.add_tensor(name, gguf.quants.quantize(a, t), raw_dtype=t)

        add("token_embd.weight", sd["wte.weight"])
        add("output.weight", sd["wte.weight"])
        add("position_embd.weight", sd["wpe.weight"], matrix=False)
        add("output_norm.weight", sd["ln_f.weight"])
        add("output_norm.bias", sd["ln_f.bias"])
        for i in range(12):
            for ours, theirs in names.items():
                a = sd[f"h.{i}.{ours}.weight"]
                add(f"blk.{i}.{theirs}.weight", a.T if a.ndim == 2 else a)
                add(f"blk.{i}.{theirs}.bias", sd[f"h.{i}.{ours}.bias"])
        w.write_header_to_file()
        w.write_kv_data_to_file()
        w.write_tensors_to_file()
        w.close()


# ---------------------------------------------------------------- one measurement
def prompt(work):
    n = 900 if work in ("prefill", "decode900") else 32
    import random

    r = random.Random(0)
    return [r.randrange(50000) for _ in range(n)]


def best(f, repeats=3):
    return min(f() for _ in range(repeats))


def seconds(f):
    t = time.perf_counter()
    f()
    return time.perf_counter() - t


def per_step(generate, steps):
    """Time a whole generation of 1 token and of 1 + steps tokens; the difference is the cost of the steps."""
    generate(4)
    return (
        1e3 * (best(lambda: seconds(lambda: generate(1 + steps))) - best(lambda: seconds(lambda: generate(1)))) / steps
    )


def measure_hf(d, work, kind):
    import torch

    torch.set_num_threads(THREADS)
    from transformers import GPT2Config, GPT2LMHeadModel

    if work == "train":
        model = GPT2LMHeadModel(GPT2Config(resid_pdrop=0, embd_pdrop=0, attn_pdrop=0))
        opt = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
        x = torch.randint(0, 50257, (4, 64))

        def step():
            model(x, labels=x).loss.backward()
            opt.step()
            opt.zero_grad()

        step()
        step()
        return 1e3 * best(lambda: seconds(step), 4)
    model = GPT2LMHeadModel.from_pretrained(f"{d}/hf", dtype=torch.bfloat16 if kind == "bf16" else torch.float32).eval()
    x = torch.tensor([prompt(work)])
    opts = {
        "batch4": {"do_sample": True, "num_return_sequences": 4, "top_k": 50},
        "beam4": {"num_beams": 4, "do_sample": False},
    }.get(work, {"do_sample": False})
    with torch.no_grad():

        def gen(n):
            return model.generate(x, max_new_tokens=n, min_new_tokens=n, pad_token_id=0, **opts)

        if work == "start":
            return gen(1)
        if work == "prefill":
            gen(1)
            return 1e3 * best(lambda: seconds(lambda: model(x, use_cache=True, logits_to_keep=1)))
        if work in ("decode", "decode900"):  # a bare loop: generate() itself costs time

            def loop(n):
                out = model(x, use_cache=True, logits_to_keep=1)
                past = out.past_key_values
                for _ in range(n - 1):
                    y = out.logits[:, -1:].argmax(-1)
                    out = model(y, past_key_values=past, use_cache=True)

            return per_step(loop, 48)
        return per_step(gen, 48)


def measure_ct2(d, work, kind):
    import ctranslate2

    g = ctranslate2.Generator(
        f"{d}/ct2-{kind}", compute_type="int8" if kind == "i8" else "float32", intra_threads=THREADS
    )
    vocab = json.load(open(f"{d}/hf/vocab.json", encoding="utf-8"))
    names = sorted(vocab, key=vocab.get)
    toks = [names[i] for i in prompt(work)]
    opts = {"batch4": {"num_hypotheses": 4, "sampling_topk": 50}, "beam4": {"beam_size": 4}}.get(
        work, {"sampling_topk": 1}
    )

    def gen(n):
        return g.generate_batch(
            [toks], max_length=n, min_length=n, include_prompt_in_result=False, end_token=[], **opts
        )

    if work == "start":
        return gen(1)
    if work == "prefill":
        gen(1)
        return 1e3 * best(lambda: seconds(lambda: gen(1)))
    return per_step(gen, 48)


def measure_lc(d, work, kind):
    import llama_cpp
    import numpy as np

    m = llama_cpp.Llama(
        f"{d}/lc-{kind}.gguf", n_ctx=1024, n_threads=THREADS, n_threads_batch=THREADS, n_batch=1024, verbose=False
    )

    def gen(n):
        m.reset()
        m.eval(prompt(work))
        for _ in range(n - 1):
            y = int(np.argmax(np.ctypeslib.as_array(m._ctx.get_logits(), shape=(50257,))))
            m.eval([y])

    if work == "start":
        return gen(1)
    if work == "prefill":
        gen(1)
        return 1e3 * best(lambda: seconds(lambda: gen(1)))
    return per_step(gen, 48)


def measure_minigpt(d, work, kind):
    import numpy as np

    from minigpt import GPT2

    x = np.array([prompt(work)])
    if work == "train":
        from minigpt import GPT2Config
        from minigpt.training import AdamW, loss_and_grads

        model = GPT2.random(GPT2Config(), seed=0)
        opt = AdamW(model.params, lr=1e-4)
        ids = np.random.default_rng(0).integers(0, 50257, (4, 65))

        def step():
            _, grads = loss_and_grads(model, ids[:, :-1], ids[:, 1:])
            opt.step(grads)

        step()
        step()
        return 1e3 * best(lambda: seconds(step), 4)
    how = {"f32": {}, "bf16": {"dtype": "bfloat16"}, "i8": {"quantize": "int8"}}[kind]
    model = GPT2.from_pretrained(f"{d}/hf", threads=THREADS, **how)
    opts = {
        "batch4": {"do_sample": True, "num_return_sequences": 4, "top_k": 50, "seed": 0},
        "beam4": {"num_beams": 4},
    }.get(work, {})

    def gen(n):
        return model.generate(x, max_new_tokens=n, eos_token_id=None, **opts)

    if work == "start":
        return gen(1)
    if work == "prefill":
        gen(1)
        return 1e3 * best(lambda: seconds(lambda: gen(1)))
    return per_step(gen, 48)


def one(d, work, peer):
    family, _, kind = peer.partition("-")
    return {"hf": measure_hf, "ct2": measure_ct2, "lc": measure_lc, "minigpt": measure_minigpt}[family](d, work, kind)


# ---------------------------------------------------------------- side by side
def ours(peer):
    """The minigpt of a peer's precision."""
    kind = peer.partition("-")[2]
    return "minigpt-" + {"i8": "i8", "q8_0": "i8", "f16": "bf16", "bf16": "bf16"}.get(kind, "f32")


def compare(d, work, peers, rounds):
    got = {p: [] for p in peers}
    env = dict(
        os.environ, OMP_NUM_THREADS=str(THREADS), OPENBLAS_NUM_THREADS=str(THREADS), NUMBA_NUM_THREADS=str(THREADS)
    )
    for _ in range(rounds):
        for p in peers:
            t = time.perf_counter()
            r = subprocess.run(
                [sys.executable, os.path.abspath(__file__), "one", d, "--work", work, "--peer", p],
                capture_output=True,
                text=True,
                env=env,
            )
            wall = 1e3 * (time.perf_counter() - t)
            if r.returncode:
                got.pop(p)
                peers = [q for q in peers if q != p]
                print(f"{p}: failed: {r.stderr.strip().splitlines()[-1][:200] if r.stderr.strip() else r.returncode}")
                continue
            got[p].append(wall if work == "start" else json.loads(r.stdout.strip().splitlines()[-1])["ms"])
    print(
        f"work {work}: ms, best and median of {rounds} rounds; ratio = peer / minigpt of the same precision, median over rounds"
    )
    for p, v in got.items():
        if not v:
            continue
        mine = got.get(ours(p))
        ratio = (
            f"{statistics.median(a / b for a, b in zip(v, mine, strict=False)):6.2f}x"
            if mine and not p.startswith("minigpt")
            else ""
        )
        print(f"  {p:12s} {min(v):9.2f} {statistics.median(v):9.2f}   {ratio}")
    return got


if __name__ == "__main__":
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("what", choices=["prepare", "compare", "one"])
    ap.add_argument("dir")
    ap.add_argument("--work", choices=PEERS, default="decode")
    ap.add_argument("--peer", default="minigpt-f32")
    ap.add_argument("--peers", nargs="*")
    ap.add_argument("--rounds", type=int, default=3)
    a = ap.parse_args()
    if a.what == "prepare":
        prepare(a.dir)
    elif a.what == "one":
        ms = one(a.dir, a.work, a.peer)
        print(json.dumps({"peer": a.peer, "work": a.work, "ms": None if a.work == "start" else ms}))
    else:
        compare(a.dir, a.work, a.peers or PEERS[a.work], a.rounds)
