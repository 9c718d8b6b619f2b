"""The demo model and its prompts, as the tests with a real engine use them."""

import json
from pathlib import Path

from hetctl.model.tiny import write_tiny
from vllm_hetero.kernels import ensure_kernels

PROMPTS = Path(__file__).parent.parent / "prompts.json"


def write_demo_model(folder: Path) -> Path:
    """Write the demo model and make sure that CPU ranks find their kernels."""
    ensure_kernels()
    write_tiny(folder)
    return folder


def demo_prompts(model: Path) -> list[list[int]]:
    """Sixteen prompts of mixed length, in token ids."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    entries = json.loads(PROMPTS.read_text(encoding="utf-8"))
    return [tokenizer.encode(entry["prompt"]).ids for entry in entries]
