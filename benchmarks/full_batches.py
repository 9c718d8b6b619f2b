"""An offline engine that decodes as many sequences as one asks for, all at once."""

import time
from pathlib import Path
from typing import Any

PROMPT_TOKENS = 32


def engine(model: Path, max_sequences: int, **options: Any) -> Any:
    """vLLM with random weights (``tiled_weights`` must be found) and nothing cached."""
    from vllm import LLM

    return LLM(
        str(model),
        skip_tokenizer_init=True,
        load_format="tiled",
        dtype="bfloat16",
        max_model_len=1024,
        max_num_seqs=max_sequences,
        max_num_batched_tokens=max(2048, PROMPT_TOKENS * max_sequences),
        enable_prefix_caching=False,
        seed=0,
        **options,
    )


def generate(llm: Any, count: int, tokens: int) -> float:
    """Seconds in which ``count`` sequences get ``tokens`` tokens each."""
    from vllm import SamplingParams

    prompts = [{"prompt_token_ids": [1000 + i] * PROMPT_TOKENS} for i in range(count)]
    sampling = SamplingParams(temperature=0, max_tokens=tokens, ignore_eos=True, detokenize=False)
    begun = time.perf_counter()
    llm.generate(prompts, sampling, use_tqdm=False)
    return time.perf_counter() - begun
