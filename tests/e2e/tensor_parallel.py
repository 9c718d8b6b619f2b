"""Greedy tokens of one engine, for ``test_tensor_parallel.py``; writes them as JSON.

Usage: python tensor_parallel.py MODEL TENSOR_PARALLEL PIPELINE_PARALLEL OUT < PROMPTS
"""

import json
import sys
from pathlib import Path

TOKENS = 24


def main() -> None:
    from vllm import LLM, SamplingParams

    model, tensor, pipeline = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    llm = LLM(
        model,
        tensor_parallel_size=tensor,
        pipeline_parallel_size=pipeline,
        dtype="float32",
        max_model_len=1024,
        max_num_seqs=16,
        # So that a long prompt needs several steps.
        max_num_batched_tokens=128,
    )
    prompts = [{"prompt_token_ids": prompt} for prompt in json.load(sys.stdin)]
    greedy = SamplingParams(temperature=0, max_tokens=TOKENS, ignore_eos=True)
    outputs = llm.generate(prompts, greedy)
    tokens = [list(output.outputs[0].token_ids) for output in outputs]
    Path(sys.argv[4]).write_text(json.dumps(tokens))


if __name__ == "__main__":
    main()
