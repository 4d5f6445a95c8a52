"""Train the small Shakespeare GPT-2 in PyTorch: a checkpoint that minigpt did not make.

    python tests/data/train_shakespeare.py TEXT FOLDER

TEXT is the tinyshakespeare text (public domain). FOLDER gets config.json, tokenizer.json and model.safetensors, in half
precision and with the names and shapes of the official files. It takes about 15 minutes on two cores.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import ByteLevelBPETokenizer
from transformers import GPT2Config, GPT2LMHeadModel

VOCAB_SIZE = 1024
BLOCK_SIZE = 256
BATCH_SIZE = 16
N_STEPS = 3000
END_OF_TEXT = "<|endoftext|>"


def learning_rate(step, peak=2e-3, low=2e-4, warmup=100):
    if step < warmup:
        return peak * (step + 1) / warmup
    return low + (peak - low) * 0.5 * (1 + np.cos(np.pi * (step - warmup) / (N_STEPS - warmup)))


def main(text_file, folder):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    text = Path(text_file).read_text(encoding="utf-8")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)

    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator([text], vocab_size=VOCAB_SIZE, special_tokens=[END_OF_TEXT], show_progress=False)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)

    # The last tenth is for validation. One speech in ten is preceded by an end-of-text token, so that the model learns
    # to begin without a prompt.
    cut = text.rfind("\n\n", 0, len(text) * 9 // 10)
    end_of_text = tokenizer.token_to_id(END_OF_TEXT)

    def encode(part):
        ids = []
        for speech in part.split("\n\n"):
            ids += [end_of_text] if rng.random() < 0.1 else []
            ids += tokenizer.encode(speech + "\n\n").ids
        return torch.tensor(ids)

    train, valid = encode(text[:cut]), encode(text[cut:])
    print(f"{len(train)} training tokens, {len(valid)} validation tokens, {len(text[cut:].encode())} validation bytes")

    config = GPT2Config(
        vocab_size=VOCAB_SIZE, n_positions=BLOCK_SIZE, n_embd=128, n_layer=4, n_head=4,
        resid_pdrop=0.1, embd_pdrop=0.1, attn_pdrop=0.1, bos_token_id=end_of_text, eos_token_id=None,
    )  # fmt: skip
    # No eos_token_id, because another speech follows every speech: generation should not stop at its end.
    model = GPT2LMHeadModel(config)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters")
    decay = [p for p in model.parameters() if p.ndim == 2]
    plain = [p for p in model.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}], betas=(0.9, 0.99), fused=True
    )

    def validation_loss():
        model.eval()
        with torch.no_grad():
            windows = valid[: len(valid) // BLOCK_SIZE * BLOCK_SIZE].view(-1, BLOCK_SIZE)
            losses = [model(rows, labels=rows).loss.item() * len(rows) for rows in windows.split(32)]
        model.train()
        return sum(losses) / len(windows)

    best, best_state = float("inf"), None
    model.train()
    for step in range(N_STEPS):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        starts = rng.integers(0, len(train) - BLOCK_SIZE, BATCH_SIZE)
        rows = torch.stack([train[s : s + BLOCK_SIZE] for s in starts])
        loss = model(rows, labels=rows).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if (step + 1) % 250 == 0:
            current = validation_loss()
            print(f"step {step + 1}: training loss {loss.item():.4f}, validation loss {current:.4f}", flush=True)
            if current < best:
                best, best_state = current, {k: v.clone() for k, v in model.state_dict().items()}

    model.load_state_dict({k: v.half().float() for k, v in best_state.items()})
    print(f"validation loss in half precision: {validation_loss():.4f}")
    tensors = {
        name.removeprefix("transformer."): value.half().contiguous()
        for name, value in model.state_dict().items()
        if name != "lm_head.weight"
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    kept = ["vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "activation_function", "layer_norm_epsilon",
            "bos_token_id", "eos_token_id", "initializer_range", "tie_word_embeddings"]  # fmt: skip
    fields = {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"} | {k: getattr(config, k) for k in kept}
    (folder / "config.json").write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
