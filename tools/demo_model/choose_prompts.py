"""Choose the prompts of the end-to-end tests: ``choose_prompts.py MODEL_FOLDER OUT.json``.

For each length, of some passages of the corpus that start with a sentence, the one whose
greedy continuation has the largest smallest margin between the best and the second score.
Everything is computed in float32 on the CPU.
"""

import json
import random
import re
import sys
from pathlib import Path

import corpus
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

LENGTHS = (1, 2, 3, 5, 8, 12, 17, 24, 33, 48, 65, 100, 150, 250, 400, 700)
CONTINUATION = 48
CANDIDATES = 24


def continuation(model: torch.nn.Module, prompt: list[int]) -> tuple[list[int], float]:
    """The greedy continuation and its smallest margin in logits; -1 when the text ends."""
    tokens = model.generate(
        torch.tensor([prompt]), do_sample=False, max_new_tokens=CONTINUATION, eos_token_id=None
    )[0]
    best = model(tokens[None]).logits[0, len(prompt) - 1 : -1].topk(2).values
    new = tokens[len(prompt) :].tolist()
    return new, -1.0 if 0 in new else float((best[:, 0] - best[:, 1]).min())


def passages(tokenizer: PreTrainedTokenizerBase, length: int) -> list[list[int]]:
    """Token runs of this length that start with a sentence, in random order."""
    text = "".join(corpus.sections())
    starts = [0] + [match.end() for match in re.finditer(r"\.\s+", text)]
    found = set()
    for start in starts:
        # No token has more than some twenty characters.
        run = tokenizer(text[start : start + 20 * length + 40])["input_ids"][:length]
        # The text is what travels to a server, so it must give these tokens again.
        if len(run) == length and tokenizer(tokenizer.decode(run))["input_ids"] == run:
            found.add(tuple(run))
    runs = [list(run) for run in sorted(found)]
    return random.Random(length).sample(runs, min(CANDIDATES, len(runs)))


@torch.inference_mode()
def main() -> None:
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
    model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32).eval()
    prompts = []
    for length in LENGTHS:
        runs = [(run, *continuation(model, run)) for run in passages(tokenizer, length)]
        margins = sorted(margin for _, _, margin in runs)
        run, new, margin = max(runs, key=lambda found: found[2])
        text = tokenizer.decode(new)
        entry = {"tokens": length, "prompt": tokenizer.decode(run), "greedy": text}
        prompts.append({**entry, "greedy_ids": new, "min_margin": round(margin, 2)})
        middle = margins[len(margins) // 2]
        print(f"{length:4} tokens: {margin:.2f}, median of candidates {middle:.2f}", flush=True)
    Path(sys.argv[2]).write_text(json.dumps(prompts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
