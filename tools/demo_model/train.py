"""Make the demo model again: ``python tools/demo_model/train.py OUT_FOLDER``.

Trains on one thread from a fixed seed (about eight minutes), rounds the weights to
bfloat16, and writes the model folder. ``docs/demo-model.md`` has the result.
"""

import math
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import corpus
import tokenizer as demo_tokenizer
import torch
from transformers import LlamaConfig, LlamaForCausalLM

STEPS = 600
LEARNING_RATE = 3e-3
WARMUP_STEPS = 40
TOKENS_PER_STEP = 2048
# The first words of a prompt have the least context to decide by, so many windows are
# short; the long ones teach the positions that a long prompt reaches.
WINDOWS = (24, 512, 96, 1024, 24, 96, 2048)


def configuration() -> LlamaConfig:
    """Eight layers for uneven pipelines; four heads of 64 for tensor parallelism to four.

    Head size and the multiples of 64 are what vLLM's CPU and GPU attention and the packed
    CPU GEMMs take. The head is untied, so that the last stage has weights of its own.
    """
    return LlamaConfig(
        vocab_size=demo_tokenizer.VOCABULARY,
        hidden_size=192,
        intermediate_size=384,
        num_hidden_layers=8,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=demo_tokenizer.MAX_LENGTH,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )


def batches(sections: list[list[int]]) -> Iterator[torch.Tensor]:
    """Windows into the text of all sections, which starts again after its end.

    Every second window starts where a section does, the others start anywhere.
    """
    order = random.Random(0)
    once = [token for section in sections for token in section]
    starts = [sum(map(len, sections[:i])) for i in range(len(sections))]
    text = once * (1 + max(WINDOWS) // len(once) + 1)
    for step in range(STEPS):
        length = WINDOWS[step % len(WINDOWS)]
        rows = []
        for row in range(TOKENS_PER_STEP // length):
            start = order.randrange(len(once)) if row % 2 else order.choice(starts)
            rows.append(text[start : start + length + 1])
        yield torch.tensor(rows)


def rate(step: int) -> float:
    """Linear warm-up, then a cosine down to nothing."""
    if step < WARMUP_STEPS:
        return LEARNING_RATE * (step + 1) / WARMUP_STEPS
    return LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * step / STEPS))


def train(model: LlamaForCausalLM, sections: list[list[int]]) -> None:
    """Minimise the cross-entropy; prints the mean loss of the last windows now and then."""
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=0.01)
    recent: list[float] = []
    started = time.monotonic()
    for step, rows in enumerate(batches(sections)):
        for group in optimizer.param_groups:
            group["lr"] = rate(step)
        logits = model(rows[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        recent = [*recent[1 - len(WINDOWS) :], loss.item()]
        if step % 30 == 29 or step == STEPS - 1:
            elapsed = time.monotonic() - started
            print(f"step {step + 1}: loss {sum(recent) / len(recent):.3f}, {elapsed:.0f} s")
            sys.stdout.flush()


def main() -> None:
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    torch.manual_seed(0)
    texts = corpus.sections()
    tokenizer = demo_tokenizer.train(texts)
    tokens = [tokenizer(text)["input_ids"] for text in texts]
    tokens[-1].append(tokenizer.eos_token_id)
    model = LlamaForCausalLM(configuration())
    print(
        f"{sum(map(len, tokens))} tokens, {sum(p.numel() for p in model.parameters())} parameters"
    )
    train(model, tokens)
    model.to(torch.bfloat16).save_pretrained(folder)
    demo_tokenizer.save(tokenizer, folder)


if __name__ == "__main__":
    main()
